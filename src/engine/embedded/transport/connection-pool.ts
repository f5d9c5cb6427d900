/**
 * All TCP and TLS connections of the engine: their bounds, and which of them leads to a target (RFC 3261 §18,
 * RFC 5923).
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Clock } from '#lib/clock.js';
import type { Source, Target, WireTap } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Limits } from '../limits.js';
import { isLoopback, isWildcard, unmapped } from './addresses.js';
import { Connection, type ConnectionKeeper, type ConnectionState, type OpenListener } from './connection.js';
import { connectFault } from './stream-faults.js';
import { checkIdentity, type TlsContexts } from './tls-options.js';
import type { TransportSink } from './transport.js';

/** One in so many connections is kept for our own, so that strangers cannot keep us from calling out. */
const RESERVED_FRACTION = 10;

export class ConnectionPool implements ConnectionKeeper {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly sink: TransportSink;
  readonly tap: WireTap | undefined;
  readonly #contexts: TlsContexts;
  readonly #byFlow = new Map<number, Connection>();
  /** Outgoing ones by target and TLS identity. */
  readonly #outgoing = new Map<string, Connection>();
  /** Incoming TCP ones by the peer's address and port. */
  readonly #incoming = new Map<string, Connection>();
  readonly #incomingPerAddress = new Map<string, number>();
  #incomingCount = 0;
  #lastFlow = 0;
  #unflushed: Connection[] = [];
  #emptied: (() => void) | undefined;
  #stopping = false;
  /** Names whose bad certificate has been accepted and reported. */
  readonly #acceptedUnverified = new Set<string>();

  constructor(
    clock: Clock,
    limits: Limits,
    sink: TransportSink,
    contexts: TlsContexts,
    tap: WireTap | undefined,
  ) {
    this.clock = clock;
    this.limits = limits;
    this.sink = sink;
    this.tap = tap;
    this.#contexts = contexts;
  }

  /** Connections that hold a descriptor. */
  get size(): number {
    return this.#byFlow.size;
  }

  /** The connection with this number, if it can still carry something. */
  byFlow(flow: number): Connection | undefined {
    const connection = this.#byFlow.get(flow);
    return connection?.usable ? connection : undefined;
  }

  /** What two targets have in common that may share a connection. */
  poolKey(target: Target, listener: OpenListener): string {
    const { transport, address, port } = target;
    const key = `${transport}|${address}|${port}|${listener.id}`;
    // RFC 5923 §5: a connection stands only for the identity that was verified when it was opened.
    return transport === 'tls' ? `${key}|${this.#contexts.identity(target).key}` : key;
  }

  /** The connection of ours that is open for this key already. */
  opened(poolKey: string): Connection | undefined {
    const connection = this.#outgoing.get(poolKey);
    return connection?.state === 'open' ? connection : undefined;
  }

  /** The connection to send to `target` on: the flow it names, one that leads there, or a new one. */
  way(target: Target, listener: OpenListener, poolKey: string): Connection | EngineFault {
    if (target.flow) {
      const flow = this.byFlow(target.flow);
      if (flow !== undefined && flow.source.transport === target.transport) return flow;
    }
    const outgoing = this.#outgoing.get(poolKey);
    if (outgoing?.usable) return outgoing;
    if (target.transport === 'tcp') {
      const incoming = this.#incoming.get(peerKey(target.address, target.port));
      if (incoming?.usable) return incoming;
    }
    return this.#connect(target, listener, poolKey);
  }

  // ── In ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a connection that a listener accepted; undefined, and the socket destroyed, at a bound. */
  accept(socket: Socket, listener: OpenListener): Connection | undefined {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined || this.#stopping) {
      // It was reset before we looked.
      socket.on('error', () => undefined);
      socket.destroy();
      return undefined;
    }
    const address = unmapped(remoteAddress);
    const ofAddress = this.#incomingPerAddress.get(address) ?? 0;
    const limit = this.#boundMet(ofAddress);
    if (limit !== undefined) {
      this.sink.onNotice({ kind: 'limit', limit, source: sourceOf(address, remotePort, listener, 0) });
      socket.on('error', () => undefined);
      socket.destroy();
      return undefined;
    }
    this.#incomingCount++;
    this.#incomingPerAddress.set(address, ofAddress + 1);
    const state = listener.transport === 'tls' ? 'handshaking' : 'open';
    const connection = this.#add(socket, address, remotePort, listener, true, state, '');
    if (listener.transport === 'tcp') this.#incoming.set(peerKey(address, remotePort), connection);
    return connection;
  }

  #boundMet(ofAddress: number): 'connections' | 'connectionsPerAddress' | undefined {
    const { connections, connectionsPerAddress } = this.limits;
    if (ofAddress >= connectionsPerAddress) return 'connectionsPerAddress';
    if (
      this.size >= connections ||
      this.#incomingCount >= connections - Math.floor(connections / RESERVED_FRACTION)
    ) {
      return 'connections';
    }
    return undefined;
  }

  // ── Out ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #connect(target: Target, listener: OpenListener, poolKey: string): Connection | EngineFault {
    if (this.#stopping) return { kind: 'engine-down', detail: 'the engine is stopping' };
    if (this.size >= this.limits.connections && !this.#makeRoom()) {
      this.sink.onNotice({ kind: 'limit', limit: 'connections' });
      return { kind: 'capacity', detail: `the bound of ${this.limits.connections} connections is reached` };
    }
    let socket: Socket;
    try {
      socket = target.transport === 'tls' ? this.#openTls(target, listener) : this.#openTcp(target, listener);
    } catch (error) {
      // A certificate or key of the trunk that cannot be read.
      const fault = connectFault(
        error instanceof Error ? error : new Error(String(error)),
        target.transport === 'tls',
      );
      if (fault.kind === 'tls')
        this.sink.onNotice({ kind: 'tls-failure', detail: fault.detail, address: target.address });
      return fault;
    }
    const connection = this.#add(socket, target.address, target.port, listener, false, 'connecting', poolKey);
    this.#outgoing.set(poolKey, connection);
    if (target.transport === 'tls') {
      socket.once('connect', () => connection.connected());
      socket.once('secureConnect', () => connection.opened());
    } else socket.once('connect', () => connection.opened());
    return connection;
  }

  #openTcp(target: Target, listener: OpenListener): Socket {
    return connectTcp({
      host: target.address,
      port: target.port,
      ...localAddress(target, listener),
    });
  }

  #openTls(target: Target, listener: OpenListener): Socket {
    const { serverName, sni, verify } = this.#contexts.identity(target);
    const socket = connectTls({
      host: target.address,
      port: target.port,
      ...localAddress(target, listener),
      secureContext: this.#contexts.context(target.tls),
      ...(sni === undefined ? {} : { servername: sni }),
      checkServerIdentity: (_host, certificate) => checkIdentity(serverName, certificate),
      rejectUnauthorized: verify,
    });
    if (!verify) {
      socket.once('secureConnect', () => {
        if (socket.authorized || this.#acceptedUnverified.has(serverName)) return;
        if (this.#acceptedUnverified.size < this.limits.connections) this.#acceptedUnverified.add(serverName);
        const detail = `verification is off: the certificate of ${serverName} was accepted (${String(socket.authorizationError)})`;
        this.sink.onNotice({ kind: 'tls-failure', detail, address: target.address });
      });
    }
    return socket;
  }

  /** At the bound, the outgoing connection that has been silent longest makes way, if nobody waits on it. */
  #makeRoom(): boolean {
    let oldest: Connection | undefined;
    for (const connection of this.#outgoing.values()) {
      if (connection.state !== 'open' || !connection.idle) continue;
      if (oldest === undefined || connection.lastHeard < oldest.lastHeard) oldest = connection;
    }
    if (oldest === undefined) return false;
    const detail = 'made way for another connection';
    oldest.close(detail, { kind: 'flow-lost', detail });
    return true;
  }

  // ── Keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

  #add(
    socket: Socket,
    address: string,
    port: number,
    listener: OpenListener,
    incoming: boolean,
    state: ConnectionState,
    poolKey: string,
  ): Connection {
    const source = sourceOf(address, port, listener, ++this.#lastFlow);
    const connection = new Connection(this, socket, source, listener, incoming, state, poolKey);
    this.#byFlow.set(connection.flow, connection);
    return connection;
  }

  withdraw(connection: Connection): void {
    const { poolKey, source } = connection;
    if (poolKey !== '' && this.#outgoing.get(poolKey) === connection) this.#outgoing.delete(poolKey);
    if (!connection.incoming) return;
    const key = peerKey(source.address, source.port);
    if (this.#incoming.get(key) === connection) this.#incoming.delete(key);
  }

  remove(connection: Connection): void {
    if (!this.#byFlow.delete(connection.flow)) return;
    if (connection.incoming) {
      const { address } = connection.source;
      const left = (this.#incomingPerAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#incomingPerAddress.delete(address);
      else this.#incomingPerAddress.set(address, left);
      this.#incomingCount--;
    }
    if (this.#byFlow.size === 0) this.#emptied?.();
  }

  flushLater(connection: Connection): void {
    if (this.#unflushed.length === 0) process.nextTick(this.#flush);
    this.#unflushed.push(connection);
  }

  /** What one turn of the event loop wrote to a connection leaves in one system call. */
  readonly #flush = (): void => {
    const connections = this.#unflushed;
    this.#unflushed = [];
    for (const connection of connections) connection.flush();
  };

  /** Ends every connection once what is queued has left, at most a second later; `done` when none is left. */
  stop(done: () => void): void {
    this.#stopping = true;
    const detail = 'the engine is stopping';
    for (const connection of this.#byFlow.values())
      connection.finish(detail, { kind: 'engine-down', detail });
    if (this.#byFlow.size === 0) done();
    else this.#emptied = done;
  }
}

function peerKey(address: string, port: number): string {
  return `${address}|${port}`;
}

function sourceOf(address: string, port: number, listener: OpenListener, flow: number): Source {
  return { transport: listener.transport, address, port, listener, flow };
}

/** A listener bound to one address also calls from it: the peer may know us by it. */
function localAddress(target: Target, listener: OpenListener): { readonly localAddress?: string } {
  if (isWildcard(listener.host) || (isLoopback(listener.host) && !isLoopback(target.address))) return {};
  return { localAddress: listener.host };
}
