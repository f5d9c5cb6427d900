/**
 * A SIP peer for tests on a real socket. It sends what it is told, well formed or not, and waits for what it is told;
 * it has no transactions and no timers, so nothing happens that a test has not asked for. Waits are bounded and fail
 * with a list of what came instead.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import {
  type Address,
  compose,
  type HeaderLines,
  hostPort,
  Message,
  newBranch,
  type ResponseOptions,
  response,
  unique,
} from './sip-message.js';

export type PeerTransport = 'udp' | 'tcp' | 'tls';

const WAIT_MS = 10_000;

/** Where octets can be sent to. */
export interface Way {
  send(octets: string): void;
}

/** A message with where it came from. */
export class Received extends Message {
  readonly remote: Address;
  readonly connection: Connection | undefined;
  /** `performance.now()` of its arrival. */
  readonly at = performance.now();

  constructor(raw: string, remote: Address, connection: Connection | undefined) {
    super(raw);
    this.remote = remote;
    this.connection = connection;
  }
}

/** A method, a status, a status with the method of its CSeq (`200 BYE`), or a condition. */
export type Wanted = string | number | ((message: Received) => boolean);

function matches(message: Received, wanted: Wanted): boolean {
  if (typeof wanted === 'function') return wanted(message);
  if (typeof wanted === 'number') return message.status === wanted;
  const [status, method] = wanted.split(' ');
  if (method !== undefined) return message.status === Number(status) && message.cseqMethod === method;
  return message.method === wanted;
}

/** A TCP or TLS connection of a peer, opened by either side. */
export class Connection implements Way {
  readonly socket: Socket;
  readonly remote: Address;
  readonly localPort: number;
  /** CRLF pairs received between messages: answers to keep-alives (RFC 5626 §4.4.1). */
  pongs = 0;
  closed = false;
  /** Octets received, framed or not. */
  bytes = 0;
  readonly #closing: Promise<void>;
  #pending = '';

  constructor(socket: Socket, deliver: (message: Received) => void) {
    this.socket = socket;
    this.remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    this.localPort = socket.localPort ?? 0;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.bytes += chunk.length;
      this.#pending += chunk.toString('latin1');
      this.#frame(deliver);
    });
    this.#closing = new Promise((resolve) => {
      socket.once('close', () => {
        this.closed = true;
        resolve();
      });
    });
    // A reset is an end like any other; `closed` tells.
    socket.on('error', () => undefined);
  }

  send(octets: string): void {
    this.socket.write(octets, 'latin1');
  }

  /** Closes our side; what is unread at the other side stays readable. */
  end(): void {
    this.socket.end();
  }

  /** RST, as a crashed peer. */
  abort(): void {
    this.socket.resetAndDestroy();
  }

  /** Waits until the other side (or we) have closed it. */
  async untilClosed(timeoutMs = WAIT_MS): Promise<void> {
    await bounded(this.#closing, timeoutMs, () => `the connection ${this.localPort} closes`);
  }

  /** Waits for `count` answers to keep-alives. */
  async untilPongs(count: number, timeoutMs = WAIT_MS): Promise<void> {
    await poll(
      () => this.pongs >= count,
      timeoutMs,
      () => `${count} pongs, there are ${this.pongs}`,
    );
  }

  #frame(deliver: (message: Received) => void): void {
    for (;;) {
      while (this.#pending.startsWith('\r\n')) {
        this.#pending = this.#pending.slice(2);
        this.pongs++;
      }
      const end = this.#pending.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(new Message(this.#pending.slice(0, end + 4)).header('Content-Length') || '0');
      const total = end + 4 + length;
      if (this.#pending.length < total) return;
      const raw = this.#pending.slice(0, total);
      this.#pending = this.#pending.slice(total);
      deliver(new Received(raw, this.remote, this));
    }
  }
}

export interface PeerTls {
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** PEM of the authorities that the peer trusts. */
  readonly ca?: string | undefined;
  /** As server: ask for a client certificate and refuse without a good one. */
  readonly requestCert?: boolean | undefined;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
  readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

export interface PeerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Default a free one. */
  readonly port?: number | undefined;
  readonly tls?: PeerTls | undefined;
}

export interface RequestOptions {
  readonly method: string;
  /** Where it will be sent: the default of Request-URI and To. */
  readonly to: Address;
  readonly uri?: string | undefined;
  readonly toUri?: string | undefined;
  readonly toTag?: string | undefined;
  readonly fromUri?: string | undefined;
  readonly fromTag?: string | undefined;
  readonly callId?: string | undefined;
  readonly cseq?: number | undefined;
  readonly branch?: string | undefined;
  /** Whole Via value instead of ours. */
  readonly via?: string | undefined;
  readonly maxForwards?: number | undefined;
  /** URI; '' for none. Default ours. */
  readonly contact?: string | undefined;
  readonly headers?: HeaderLines | undefined;
  readonly body?: string | undefined;
}

export class SipPeer {
  readonly transport: PeerTransport;
  readonly host: string;
  readonly port: number;
  /** Everything received, in order. */
  readonly received: Received[] = [];
  /** Connections that others opened to us. */
  readonly accepted: Connection[] = [];
  /** SNI names that TLS clients asked for. */
  serverNames: string[] = [];
  /** Octets received on UDP. */
  bytes = 0;
  /** Sees each message first; true keeps it from `expect` (a lost packet, or something answered by itself). */
  intercept: ((message: Received) => boolean) | undefined;
  readonly #consumed = new Set<Received>();
  readonly #opened: Connection[] = [];
  readonly #udp: DatagramSocket | undefined;
  readonly #server: Server | undefined;
  readonly #tls: PeerTls;
  #wake: (() => void)[] = [];

  private constructor(
    transport: PeerTransport,
    at: Address,
    tls: PeerTls,
    socket: { udp?: DatagramSocket; server?: Server },
  ) {
    this.transport = transport;
    this.host = at.host;
    this.port = at.port;
    this.#tls = tls;
    this.#udp = socket.udp;
    this.#server = socket.server;
    socket.udp?.on('message', (octets, from) => {
      this.bytes += octets.length;
      this.#deliver(
        new Received(octets.toString('latin1'), { host: from.address, port: from.port }, undefined),
      );
    });
    // Errors of single datagrams (ICMP) are of no interest to a peer.
    socket.udp?.on('error', () => undefined);
    socket.server?.on(transport === 'tls' ? 'secureConnection' : 'connection', (connection: Socket) => {
      this.accepted.push(new Connection(connection, (message) => this.#deliver(message)));
      this.#stir();
    });
  }

  static async open(transport: PeerTransport, options: PeerOptions = {}): Promise<SipPeer> {
    const host = options.host ?? '127.0.0.1';
    const tls = options.tls ?? {};
    if (transport === 'udp') {
      const udp = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4_000_000 });
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind(options.port ?? 0, host, () => resolve());
      });
      return new SipPeer('udp', { host, port: udp.address().port }, tls, { udp });
    }
    const names: string[] = [];
    const server =
      transport === 'tcp'
        ? createServer()
        : createTlsServer({
            cert: tls.cert,
            key: tls.key,
            ca: tls.ca,
            requestCert: tls.requestCert ?? false,
            rejectUnauthorized: tls.requestCert ?? false,
            minVersion: tls.minVersion ?? 'TLSv1.2',
            maxVersion: tls.maxVersion ?? 'TLSv1.3',
            SNICallback: (name, done) => {
              names.push(name);
              done(null);
            },
          });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port ?? 0, host, () => resolve());
    });
    server.on('tlsClientError', () => undefined);
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    const peer = new SipPeer(transport, { host, port }, tls, { server });
    peer.serverNames = names;
    return peer;
  }

  get address(): Address {
    return { host: this.host, port: this.port };
  }

  /** `127.0.0.1:5060`. */
  get hostPort(): string {
    return hostPort(this);
  }

  /** Our Contact URI. */
  get contact(): string {
    const transport = this.transport === 'udp' ? '' : `;transport=${this.transport}`;
    return `sip:peer@${this.hostPort}${transport}`;
  }

  /** Opens a connection from our own host; TLS trusts `tls.ca` only and checks the name `localhost`. */
  async connect(to: Address): Promise<Connection> {
    const { host, port } = to;
    const socket = await new Promise<Socket>((resolve, reject) => {
      const made: Socket =
        this.transport === 'tls'
          ? tlsConnect({ host, port, ...this.#tls, servername: 'localhost' }, () => resolve(made))
          : netConnect({ host, port, localAddress: this.host }, () => resolve(made));
      made.once('error', reject);
    });
    const connection = new Connection(socket, (message) => this.#deliver(message));
    this.#opened.push(connection);
    return connection;
  }

  /** A way to `to`: our socket for UDP, a new connection else. */
  async way(to: Address): Promise<Way> {
    const udp = this.#udp;
    if (udp === undefined) return this.connect(to);
    return {
      send: (octets) => udp.send(Buffer.from(octets, 'latin1'), to.port, to.host),
    };
  }

  /** Sends back the way that `request` came; to the source address and port for UDP. */
  answer(request: Received, octets: string): void {
    if (request.connection !== undefined) request.connection.send(octets);
    else this.#udp?.send(Buffer.from(octets, 'latin1'), request.remote.port, request.remote.host);
  }

  /** Answers with `response`; returns the octets, to be sent again by `answer`. */
  respond(request: Received, status: number, reason: string, options: ResponseOptions = {}): string {
    const octets = response(request, status, reason, options);
    this.answer(request, octets);
    return octets;
  }

  /** Our Via value with rport and a new branch. */
  via(branch = newBranch()): string {
    return `SIP/2.0/${this.transport.toUpperCase()} ${this.hostPort};rport;branch=${branch}`;
  }

  /** The text of a request of ours. */
  request(options: RequestOptions): string {
    const uri = options.uri ?? `sip:test@${hostPort(options.to)}`;
    const toTag = options.toTag ? `;tag=${options.toTag}` : '';
    const contact = options.contact ?? this.contact;
    const headers: (readonly [string, string])[] = [
      ['Via', options.via ?? this.via(options.branch)],
      ['Max-Forwards', String(options.maxForwards ?? 70)],
      ['From', `<${options.fromUri ?? `sip:peer@${this.hostPort}`}>;tag=${options.fromTag ?? unique('f')}`],
      ['To', `<${options.toUri ?? uri}>${toTag}`],
      ['Call-ID', options.callId ?? unique('c')],
      ['CSeq', `${options.cseq ?? 1} ${options.method}`],
    ];
    if (contact !== '') headers.push(['Contact', `<${contact}>`]);
    headers.push(...(options.headers ?? []));
    if (options.body) headers.push(['Content-Type', 'application/sdp']);
    return compose(`${options.method} ${uri} SIP/2.0`, headers, options.body);
  }

  /**
   * Takes the oldest message that is wanted and has not been taken before; waits for it when there is none.
   * Retransmissions (the same octets again) count for `repeated` only.
   */
  async expect(wanted: Wanted, timeoutMs = WAIT_MS): Promise<Received> {
    let found: Received | undefined;
    await this.#until(
      () => {
        found = this.received.find(
          (message) => !this.#consumed.has(message) && !this.#isRepeat(message) && matches(message, wanted),
        );
        return found !== undefined;
      },
      timeoutMs,
      () => `${typeof wanted === 'function' ? wanted.toString() : wanted}`,
    );
    this.#consumed.add(found!);
    return found!;
  }

  /** Waits until the octets of `message` have come `times` times altogether, and returns those. */
  async repeated(message: Message, times: number, timeoutMs = WAIT_MS): Promise<Received[]> {
    const copies = (): Received[] => this.received.filter((other) => other.raw === message.raw);
    await this.#until(
      () => copies().length >= times,
      timeoutMs,
      () => `${message.summary} ${times} times`,
    );
    return copies();
  }

  /** How often something wanted has come, retransmissions included. */
  count(wanted: Wanted): number {
    return this.received.filter((message) => matches(message, wanted)).length;
  }

  /**
   * Waits until the other side has dealt with everything that was sent to it on this way: sends an OPTIONS and waits
   * for its answer, whatever that is. What was to come at once has come by then.
   */
  async fence(to: Address, way?: Way): Promise<void> {
    const callId = unique('fence');
    (way ?? (await this.way(to))).send(this.request({ method: 'OPTIONS', to, callId }));
    await this.expect((message) => message.status >= 200 && message.callId === callId);
  }

  /** Waits for a connection that the other side opens. */
  async connection(index = 0, timeoutMs = WAIT_MS): Promise<Connection> {
    await this.#until(
      () => this.accepted.length > index,
      timeoutMs,
      () => `connection ${index}`,
    );
    return this.accepted[index]!;
  }

  /** Closes every connection, and goes on listening. */
  disconnect(): void {
    for (const connection of [...this.accepted, ...this.#opened]) connection.socket.destroy();
  }

  async close(): Promise<void> {
    this.disconnect();
    if (this.#udp !== undefined) await new Promise<void>((done) => this.#udp!.close(done));
    if (this.#server !== undefined) await new Promise<void>((done) => this.#server!.close(() => done()));
  }

  #isRepeat(message: Received): boolean {
    return this.received.find((other) => other.raw === message.raw) !== message;
  }

  #deliver(message: Received): void {
    if (this.intercept?.(message)) return;
    this.received.push(message);
    this.#stir();
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const go of wake) go();
  }

  async #until(condition: () => boolean, timeoutMs: number, what: () => string): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      const left = deadline - performance.now();
      if (left <= 0) {
        const came = this.received.map((message) => `  ${message.summary}`).join('\n') || '  nothing';
        throw new Error(
          `${this.transport} peer ${this.port} waited ${timeoutMs} ms for ${what()}; it got\n${came}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}

export interface InDialogOptions {
  readonly cseq?: number | undefined;
  readonly branch?: string | undefined;
  readonly contact?: string | undefined;
  readonly headers?: HeaderLines | undefined;
  readonly body?: string | undefined;
}

/** A peer's half of a dialog: what its requests need (RFC 3261 §12.2.1.1). */
export class PeerDialog {
  readonly peer: SipPeer;
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  readonly #local: string;
  readonly #remote: string;
  readonly #target: string;
  readonly #routes: readonly string[];
  #cseq: number;

  private constructor(
    peer: SipPeer,
    parts: {
      callId: string;
      local: string;
      localTag: string;
      remote: string;
      remoteTag: string;
      target: string;
      routes: readonly string[];
      cseq: number;
    },
  ) {
    this.peer = peer;
    this.callId = parts.callId;
    this.localTag = parts.localTag;
    this.remoteTag = parts.remoteTag;
    this.#local = parts.local;
    this.#remote = parts.remote;
    this.#target = parts.target;
    this.#routes = parts.routes;
    this.#cseq = parts.cseq;
  }

  /** Of the caller, from the INVITE that it sent and a response with To tag. */
  static ofCaller(peer: SipPeer, invite: Message, answer: Message): PeerDialog {
    return new PeerDialog(peer, {
      callId: invite.callId,
      local: invite.header('From'),
      localTag: invite.tag('From'),
      remote: answer.header('To'),
      remoteTag: answer.tag('To'),
      target: answer.contactUri,
      routes: answer.all('Record-Route').reverse(),
      cseq: invite.cseq,
    });
  }

  /** Of the callee, from the INVITE that it received and the To tag that it answered with. */
  static ofCallee(peer: SipPeer, invite: Message, toTag = 'uas'): PeerDialog {
    return new PeerDialog(peer, {
      callId: invite.callId,
      local: `${invite.header('To')};tag=${toTag}`,
      localTag: toTag,
      remote: invite.header('From'),
      remoteTag: invite.tag('From'),
      target: invite.contactUri,
      routes: invite.all('Record-Route'),
      cseq: 100,
    });
  }

  /** CSeq of the last request that was built. */
  get cseq(): number {
    return this.#cseq;
  }

  /** Builds a request; ACK and CANCEL need `cseq` (and CANCEL the branch) of their INVITE. */
  request(method: string, options: InDialogOptions = {}): string {
    const cseq = options.cseq ?? ++this.#cseq;
    const headers: (readonly [string, string])[] = [
      ['Via', this.peer.via(options.branch)],
      ['Max-Forwards', '70'],
      ...this.#routes.map((route) => ['Route', route] as const),
      ['From', this.#local],
      ['To', this.#remote],
      ['Call-ID', this.callId],
      ['CSeq', `${cseq} ${method}`],
    ];
    if (method !== 'BYE' && method !== 'ACK' && method !== 'CANCEL') {
      headers.push(['Contact', `<${options.contact ?? this.peer.contact}>`]);
    }
    headers.push(...(options.headers ?? []));
    if (options.body) headers.push(['Content-Type', 'application/sdp']);
    return compose(`${method} ${this.#target} SIP/2.0`, headers, options.body);
  }
}

/** ACK of a final answer other than 2xx, and CANCEL: hop by hop, on the branch of the INVITE (§9.1, §17.1.1.3). */
export function hopByHop(
  method: 'ACK' | 'CANCEL',
  invite: Message,
  to: string,
  headers: HeaderLines = [],
): string {
  return compose(`${method} ${invite.uri} SIP/2.0`, [
    ['Via', invite.header('Via')],
    ['Max-Forwards', '70'],
    ['From', invite.header('From')],
    ['To', to],
    ['Call-ID', invite.callId],
    ['CSeq', `${invite.cseq} ${method}`],
    ...headers,
  ]);
}

async function bounded<T>(promise: Promise<T>, timeoutMs: number, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${timeoutMs} ms until ${what()}.`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function poll(condition: () => boolean, timeoutMs: number, what: () => string): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs} ms for ${what()}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
