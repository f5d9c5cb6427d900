/** Listens for TCP and TLS connections (RFC 3261 §18.2, §26.2.1) and hands them to the pool. */
import { unwatchFile, watchFile } from 'node:fs';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Listener } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import { announced, bindAddress, type Interfaces } from './addresses.js';
import type { Connection } from './connection.js';
import type { ConnectionPool } from './connection-pool.js';
import { listenError } from './listen-error.js';
import type { ListenOptions } from './listen-options.js';
import { tlsFault } from './stream-faults.js';
import { serverTlsOptions } from './tls-options.js';
import { listenerId } from './udp.js';

/** Connections that the kernel completes while this process is busy. */
const BACKLOG = 1024;
/** How often the certificate files are looked at, in milliseconds. */
const CERTIFICATE_POLL_MS = 5_000;

export class StreamListener implements Listener {
  readonly transport: 'tcp' | 'tls';
  readonly host: string;
  /** 4, 6, or 46 for a socket that takes both. */
  readonly family: 4 | 6 | 46;
  readonly #options: ListenOptions;
  #server: Server | undefined;
  /** Does the handshakes of connections that `#server` accepts; it never listens itself. */
  #tls: TlsServer | undefined;
  #pool: ConnectionPool | undefined;
  /** Connections in their handshake, by the peer's address and port: Node names them by nothing else. */
  readonly #handshakes = new Map<string, Connection>();
  #id: string;
  #port = 0;
  #sentBy = '';

  /** `ipv6Only`: leave IPv4 to another listener of the same port. */
  constructor(options: ListenOptions, transport: 'tcp' | 'tls', ipv6Only: boolean) {
    this.#options = options;
    this.transport = transport;
    this.host = bindAddress(options.host);
    this.family = isIP(this.host) !== 6 ? 4 : this.host === '::' && !ipv6Only ? 46 : 6;
    this.#id = listenerId(transport, this.host, options.port);
  }

  get id(): string {
    return this.#id;
  }

  get port(): number {
    return this.#port;
  }

  get sentBy(): string {
    return this.#sentBy;
  }

  /** Rejects with an Error that names this listener and the mend. */
  async start(pool: ConnectionPool): Promise<void> {
    this.#pool = pool;
    const { port } = this.#options;
    try {
      if (this.transport === 'tls') this.#startTls();
      const server = createServer(
        { noDelay: true },
        this.transport === 'tls' ? this.#shakeHands : this.#accept,
      );
      this.#server = server;
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(
          { host: this.host, port, ipv6Only: this.family === 6, backlog: BACKLOG, exclusive: true },
          () => {
            server.off('error', reject);
            // A connection that could not be accepted concerns nobody else.
            server.on('error', () => undefined);
            resolve();
          },
        );
      });
      const bound = server.address();
      this.#port = bound !== null && typeof bound === 'object' ? bound.port : port;
    } catch (error) {
      this.stop();
      throw listenError(this.#id, this.host, port, error);
    }
    this.#id = listenerId(this.transport, this.host, this.#port);
    this.refreshAddress();
  }

  /** Looks which address of this machine is to be announced now. True: another one than before. */
  refreshAddress(interfaces?: Interfaces): boolean {
    const before = this.#sentBy;
    this.#sentBy = announced(this.#options, this.host, this.#port, interfaces);
    return this.#sentBy !== before;
  }

  stop(): void {
    this.#server?.close();
    this.#server = undefined;
    for (const file of this.#files()) unwatchFile(file, this.reloadCertificate);
  }

  readonly #accept = (socket: Socket): void => {
    this.#pool!.accept(socket, this);
  };

  // ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #startTls(): void {
    const tls = createTlsServer(serverTlsOptions(this.#options));
    tls.on('secureConnection', (socket) => this.#secured(socket));
    tls.on('tlsClientError', (error, socket) => this.#refused(error, socket));
    this.#tls = tls;
    // `persistent: false`: a look at a file does not keep the process alive.
    for (const file of this.#files()) {
      watchFile(file, { interval: CERTIFICATE_POLL_MS, persistent: false }, this.reloadCertificate);
    }
  }

  #files(): string[] {
    const { certFile, keyFile, caFile } = this.#options;
    return [certFile, keyFile, caFile].filter((file) => file !== undefined);
  }

  /** Reads the files again. When they are no good the old certificate stays, and a notice says why. */
  readonly reloadCertificate = (): void => {
    if (this.#tls === undefined) return;
    try {
      this.#tls.setSecureContext(serverTlsOptions(this.#options));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const detail = `${this.#id} goes on with its old certificate: ${why}`;
      this.#pool!.sink.onNotice({ kind: 'tls-failure', detail, address: this.host });
    }
  };

  readonly #shakeHands = (socket: Socket): void => {
    const connection = this.#pool!.accept(socket, this);
    if (connection === undefined) return;
    const key = handshakeKey(socket);
    this.#handshakes.set(key, connection);
    socket.once('close', () => {
      if (this.#handshakes.get(key) === connection) this.#handshakes.delete(key);
    });
    this.#tls!.emit('connection', socket);
  };

  #secured(socket: TLSSocket): void {
    const key = handshakeKey(socket);
    const connection = this.#handshakes.get(key);
    this.#handshakes.delete(key);
    if (connection === undefined) socket.destroy();
    else if (this.#options.requestClientCert === true && !socket.authorized) {
      connection.failed(clientFault(socket), socket);
    } else connection.opened(socket);
  }

  #refused(error: Error, socket: TLSSocket): void {
    const connection = this.#handshakes.get(handshakeKey(socket));
    if (connection === undefined) socket.destroy();
    else connection.failed(tlsFault(error), socket);
  }
}

/** Node's own refusal would not say which peer it was, nor why. */
function clientFault(socket: TLSSocket): EngineFault {
  const shown = Object.keys(socket.getPeerCertificate()).length > 0;
  const why = shown
    ? `a certificate that is not valid (${String(socket.authorizationError)})`
    : 'no certificate';
  return { kind: 'tls', reason: 'untrusted', detail: `the client showed ${why}` };
}

function handshakeKey(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}`;
}
