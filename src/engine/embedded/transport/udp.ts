/**
 * SIP over UDP (RFC 3261 §18). This is where most messages come in and go out, so nothing here is allocated per
 * datagram but the text itself: peers are remembered, and a send without an owner has no callback.
 *
 * On an unconnected socket Linux does not report ICMP "port unreachable", so a peer that is not there shows as
 * silence, and the transaction's timers find out.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIP } from 'node:net';
import type { Octets } from '#sip/octets.js';
import type { Listener, Source, Target, WireTap } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import { announced, bindAddress, type Interfaces, isPort, mapped, unmapped } from './addresses.js';
import { listenError } from './listen-error.js';
import type { ListenOptions } from './listen-options.js';
import type { Outlet, SendOwner, TransportSink } from './transport.js';

/** What the kernel is asked to buffer: half a second at 10,000 messages a second. It grants what it allows. */
const SOCKET_BUFFER_BYTES = 4 * 1_048_576;
/** Datagrams that wait in this process while the kernel's buffer is full; more are dropped, as a network would. */
const SEND_QUEUE_BYTES = 8 * 1_048_576;
/** Asking for the length of that queue costs a tenth of a send, so only every so often. */
const QUEUE_CHECK_SENDS = 64;
/** Peers remembered per socket; a power of two. */
const PEER_SLOTS = 8192;

const CR = 13;
const LF = 10;
/** RFC 5626 §9: STUN on the SIP port is told apart by its first octet, 0 or 1; no SIP message starts below a letter. */
const FIRST_SIP_OCTET = 33;

/**
 * A socket that connects to nobody needs no name service: addresses are literals, and Node's own look-up would
 * cost a thread's turn for each datagram.
 */
type Lookup = NonNullable<Parameters<typeof createSocket>[0] & object>['lookup'];
const literal4 = ((address: string, _family: unknown, done: (e: null, a: string, f: number) => void): void =>
  done(null, address, 4)) as unknown as Lookup;
const literal6 = ((address: string, _family: unknown, done: (e: null, a: string, f: number) => void): void =>
  done(null, mapped(address), 6)) as unknown as Lookup;

/** A remembered peer: the address as the socket spells it, and the Source made of it. */
class Peer {
  readonly raw: string;
  readonly source: Source;

  constructor(raw: string, port: number, listener: Listener) {
    this.raw = raw;
    this.source = { transport: 'udp', address: unmapped(raw), port, listener, flow: 0 };
  }
}

export class UdpListener implements Listener {
  readonly transport = 'udp';
  readonly reliable = false;
  readonly host: string;
  /** 4, 6, or 46 for a socket that takes both. */
  readonly family: 4 | 6 | 46;
  readonly #options: ListenOptions;
  readonly #address: string;
  readonly #tap: WireTap | undefined;
  #socket: Socket | undefined;
  #sink: TransportSink | undefined;
  #id: string;
  #port = 0;
  #sentBy = '';
  /**
   * Direct-mapped: a peer that falls on another's slot takes it. Bounded by construction, and a look-up makes no
   * key. Whoever floods us from many addresses costs the others no more than a fresh Source.
   */
  readonly #peers: (Peer | undefined)[] = new Array<Peer | undefined>(PEER_SLOTS).fill(undefined);
  #sends = 0;
  #congested = false;

  /** `ipv6Only`: leave IPv4 to another listener of the same port. */
  constructor(options: ListenOptions, ipv6Only: boolean, tap?: WireTap | undefined) {
    this.#options = options;
    this.#tap = tap;
    this.#address = bindAddress(options.host);
    this.host = this.#address;
    this.family = isIP(this.#address) !== 6 ? 4 : this.#address === '::' && !ipv6Only ? 46 : 6;
    this.#id = listenerId('udp', this.#address, options.port);
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
  start(sink: TransportSink): Promise<void> {
    const options = {
      recvBufferSize: SOCKET_BUFFER_BYTES,
      sendBufferSize: SOCKET_BUFFER_BYTES,
      ipv6Only: this.family === 6,
    };
    const socket = createSocket(
      this.family === 4
        ? { ...options, type: 'udp4', lookup: literal4 }
        : { ...options, type: 'udp6', lookup: literal6 },
    );
    this.#socket = socket;
    this.#sink = sink;
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void => {
        this.stop();
        reject(listenError(this.#id, this.#address, this.#options.port, cause));
      };
      socket.once('error', failed);
      socket.bind(this.#options.port, this.#address, () => {
        socket.off('error', failed);
        // An error while receiving concerns one datagram; the socket goes on.
        socket.on('error', () => undefined);
        this.#port = socket.address().port;
        this.#id = listenerId('udp', this.#address, this.#port);
        this.refreshAddress();
        socket.on('message', this.#receive);
        resolve();
      });
    });
  }

  /** Looks which address of this machine is to be announced now. True: another one than before. */
  refreshAddress(interfaces?: Interfaces): boolean {
    const before = this.#sentBy;
    this.#sentBy = announced(this.#options, this.#address, this.#port, interfaces);
    return this.#sentBy !== before;
  }

  stop(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    socket.off('message', this.#receive);
    socket.close();
  }

  readonly #receive = (bytes: Buffer, from: RemoteInfo): void => {
    const length = bytes.length;
    let start = 0;
    let first = bytes[0];
    // §7.5: "Implementations processing SIP messages over stream-oriented transports MUST ignore any CRLF appearing
    // before the start-line"; over UDP they are keep-alives, alone or by the habit of streams.
    while (first === CR || first === LF) first = bytes[++start];
    if (first === undefined || first < FIRST_SIP_OCTET) return;
    const source = this.#sourceOf(from.address, from.port);
    const sink = this.#sink!;
    const standing = sink.screen(source);
    if (standing === 'drop') return;
    const octets = bytes.toString('latin1', start, length);
    this.#tap?.message('in', octets, this, source.address, source.port, standing);
    sink.onMessage(octets, source, standing);
  };

  #sourceOf(address: string, port: number): Source {
    let slot = port;
    for (let i = 0; i < address.length; i++) slot = (Math.imul(slot, 31) + address.charCodeAt(i)) | 0;
    slot &= PEER_SLOTS - 1;
    const known = this.#peers[slot];
    if (known !== undefined && known.source.port === port && known.raw === address) return known.source;
    const peer = new Peer(address, port, this);
    this.#peers[slot] = peer;
    return peer.source;
  }

  /** Sends one datagram. `owner` hears, later, when the system refuses it. `standing` is the peer's, for the tap. */
  send(
    octets: Octets,
    address: string,
    port: number,
    owner: SendOwner | null,
    standing: 'known' | 'stranger' = 'known',
  ): void {
    const fault = this.#whyNot(port);
    if (fault !== undefined) {
      if (owner !== null) process.nextTick(() => owner.sendFailed(fault));
      return;
    }
    this.#tap?.message('out', octets, this, address, port, standing);
    const bytes = Buffer.from(octets, 'latin1');
    if (owner === null) this.#socket!.send(bytes, port, address);
    else {
      this.#socket!.send(bytes, port, address, (error) => {
        if (error !== null) owner.sendFailed(sendFault(error, octets.length));
      });
    }
  }

  #whyNot(port: number): EngineFault | undefined {
    if (this.#socket === undefined) return { kind: 'engine-down', detail: `${this.#id} is closed` };
    if (!isPort(port)) return { kind: 'unreachable', detail: `${port} is no port` };
    if ((this.#congested || ++this.#sends % QUEUE_CHECK_SENDS === 0) && this.#isCongested()) {
      return { kind: 'capacity', detail: `more than ${SEND_QUEUE_BYTES} octets wait to leave ${this.#id}` };
    }
    return undefined;
  }

  #isCongested(): boolean {
    const before = this.#congested;
    this.#congested = this.#socket!.getSendQueueSize() > SEND_QUEUE_BYTES;
    if (this.#congested && !before) this.#sink!.onNotice({ kind: 'limit', limit: 'udpSendQueue' });
    return this.#congested;
  }
}

/** The way to a peer by datagrams. */
export class UdpOutlet implements Outlet {
  readonly transport = 'udp';
  readonly reliable = false;
  readonly target: Target;
  readonly listener: UdpListener;

  constructor(target: Target, listener: UdpListener) {
    this.target = target;
    this.listener = listener;
  }

  get sentBy(): string {
    return this.listener.sentBy;
  }

  send(octets: Octets, owner: SendOwner | null): void {
    this.listener.send(octets, this.target.address, this.target.port, owner);
  }

  /** A datagram that has left is nobody's. */
  forget(_owner: SendOwner): void {}
}

/** `udp:127.0.0.1:5060`, `tls:[::1]:5061`. */
export function listenerId(transport: string, address: string, port: number): string {
  return `${transport}:${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function sendFault(error: Error, bytes: number): EngineFault {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  switch (code) {
    case 'ECONNREFUSED':
      return { kind: 'refused', detail: error.message };
    case 'EMSGSIZE':
      return { kind: 'unreachable', detail: `${bytes} octets are too many for one datagram (${code})` };
    case 'ENOBUFS':
    case 'ENOMEM':
      return { kind: 'capacity', detail: error.message };
    case 'ECANCELED':
    case 'ERR_SOCKET_DGRAM_NOT_RUNNING':
      return { kind: 'engine-down', detail: error.message };
    default:
      return { kind: 'unreachable', detail: error.message };
  }
}
