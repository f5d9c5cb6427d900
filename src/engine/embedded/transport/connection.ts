/**
 * One TCP or TLS connection, incoming or outgoing, from its first packet to its last: what has to arrive in time,
 * what waits to be sent, and who wants to know when it ends.
 */
import type { Socket } from 'node:net';
import { type Clock, Timer } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import type { Listener, Source, WireTap } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Limits } from '../limits.js';
import { Framer, type FrameSink, type FramingProblem } from './framing.js';
import { codeOf, connectFault, isAlert, tlsFault } from './stream-faults.js';
import type { SendOwner, TransportSink } from './transport.js';

/** RFC 5246 sets no bound; ours. Milliseconds. */
const TLS_HANDSHAKE_TIMEOUT_MS = 10_000;
/** A connection that says nothing for this long is probed by the kernel, so that a peer that vanished is noticed. */
const KEEP_ALIVE_MS = 60_000;
/** What a peer still sends after we have refused its stream is read and thrown away, so that it can read why. */
const LINGER_MS = 250;
/** What is queued gets this long to leave when a connection is ended in order. */
const FLUSH_MS = 1_000;
const LINGER_BYTES = 8 * 1_048_576;

/** `connecting`: TCP. `handshaking`: TLS. `lingering`: refused or ended by us, the last octets are leaving. */
export type ConnectionState = 'connecting' | 'handshaking' | 'open' | 'lingering' | 'closed';

/** A listener as connections know it: what they came in by, or announce when they go out. */
export interface OpenListener extends Listener {
  readonly transport: 'tcp' | 'tls';
  readonly sentBy: string;
  /**
   * Only where no connections are taken: the same place, announced by the port that one of ours has. A peer that looks
   * for a connection to the address in our Contact then finds that one.
   */
  at?(localPort: number): OpenListener;
}

/** Who keeps the connections. */
export interface ConnectionKeeper {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly sink: TransportSink;
  readonly tap: WireTap | undefined;
  /** The connection can carry nothing more; its descriptor may live a moment longer. */
  withdraw(connection: Connection): void;
  /** Its descriptor is gone. */
  remove(connection: Connection): void;
  /** Uncorks the socket when this turn of the event loop is over. */
  flushLater(connection: Connection): void;
}

export class Connection extends Timer implements FrameSink {
  source: Source;
  listener: OpenListener;
  readonly incoming: boolean;
  /** Place in the pool of outgoing connections, '' for incoming ones. */
  readonly poolKey: string;
  /** When something whole came last; on the clock's `now` scale. */
  lastHeard: number;
  state: ConnectionState;

  readonly #keeper: ConnectionKeeper;
  readonly #framer: Framer;
  readonly #owners = new Set<SendOwner>();
  #socket: Socket;
  /** What waits for the connection to open. */
  #waiting: Octets[] = [];
  #waitingBytes = 0;
  #corked = false;
  #heardAnything = false;
  #deadline: number;
  /** When the first octet of an unfinished message came; −1 for none. */
  #partialSince = -1;
  /** Since when the peer has taken nothing of what we send; −1 while it does. */
  #stalledSince = -1;
  #lingeredBytes = 0;
  /** Of the peer, as its last message was screened. One that we called is known. */
  #standing: 'known' | 'stranger' = 'known';

  constructor(
    keeper: ConnectionKeeper,
    socket: Socket,
    source: Source,
    listener: OpenListener,
    incoming: boolean,
    state: ConnectionState,
    poolKey: string,
  ) {
    super();
    this.#keeper = keeper;
    this.#socket = socket;
    this.source = source;
    this.listener = listener;
    this.incoming = incoming;
    this.state = state;
    this.poolKey = poolKey;
    this.#framer = new Framer(keeper.limits, this);
    this.lastHeard = keeper.clock.now();
    this.#deadline =
      this.lastHeard + (state === 'connecting' ? keeper.limits.connectTimeoutMs : TLS_HANDSHAKE_TIMEOUT_MS);
    this.#attach(socket);
    if (state !== 'open') keeper.clock.arm(this, this.#deadline - this.lastHeard);
    else this.#opened();
  }

  get flow(): number {
    return this.source.flow;
  }

  /** It can carry what is sent, now or as soon as it is open. */
  get usable(): boolean {
    return this.state === 'open' || this.state === 'connecting' || this.state === 'handshaking';
  }

  /** Nobody waits for anything on it. */
  get idle(): boolean {
    return this.#owners.size === 0;
  }

  // ── Becoming open ─────────────────────────────────────────────────────────────────────────────────────────────

  #attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
  }

  /** TCP is through; TLS begins. */
  connected(): void {
    if (this.state !== 'connecting') return;
    this.state = 'handshaking';
    this.#deadline = this.#keeper.clock.now() + TLS_HANDSHAKE_TIMEOUT_MS;
    this.#keeper.clock.arm(this, TLS_HANDSHAKE_TIMEOUT_MS);
  }

  /** Ready to carry messages. `secured`: the TLS socket that takes the place of the bare one (incoming). */
  opened(secured?: Socket): void {
    if (this.state !== 'connecting' && this.state !== 'handshaking') {
      secured?.destroy();
      return;
    }
    if (secured !== undefined) this.#attach(secured);
    this.#opened();
  }

  #opened(): void {
    const socket = this.#socket;
    const { clock } = this.#keeper;
    this.state = 'open';
    if (this.listener.at !== undefined && socket.localPort !== undefined) {
      this.listener = this.listener.at(socket.localPort);
      this.source = { ...this.source, listener: this.listener };
    }
    this.lastHeard = clock.now();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    clock.disarm(this);
    this.#watch();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const octets of waiting) this.#write(octets);
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Hands octets over; `owner` hears if the connection ends before it says `forget`. Only while `usable`. */
  send(octets: Octets, owner: SendOwner | null): void {
    if (owner !== null) this.#owners.add(owner);
    if (this.state === 'open') this.#write(octets);
    else if (this.usable) {
      this.#waiting.push(octets);
      this.#waitingBytes += octets.length;
      this.#checkQueue(this.#waitingBytes);
    }
  }

  /** `owner` hears if the connection ends, and until it says `forget` the connection is not idle. */
  watch(owner: SendOwner): void {
    this.#owners.add(owner);
  }

  forget(owner: SendOwner): void {
    this.#owners.delete(owner);
  }

  #write(octets: Octets): void {
    const socket = this.#socket;
    this.#tapped('out', octets);
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
      this.#keeper.flushLater(this);
    }
    if (!socket.write(octets, 'latin1') && this.#stalledSince < 0) {
      this.#stalledSince = this.#keeper.clock.now();
      this.#watch();
    }
    this.#checkQueue(socket.writableLength);
  }

  #checkQueue(bytes: number): void {
    if (bytes <= this.#keeper.limits.sendQueueBytes) return;
    this.#keeper.sink.onNotice({ kind: 'limit', limit: 'sendQueueBytes', source: this.source });
    this.close('the peer does not read what we send', {
      kind: 'flow-lost',
      detail: 'the send queue of the connection is full',
    });
  }

  flush(): void {
    this.#corked = false;
    if (!this.#socket.destroyed) this.#socket.uncork();
  }

  readonly #onDrain = (): void => {
    this.#stalledSince = -1;
  };

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────────────────────────

  readonly #onData = (chunk: Buffer): void => {
    if (this.state !== 'open') {
      this.#lingeredBytes += chunk.length;
      if (this.#lingeredBytes > LINGER_BYTES) this.#socket.destroy();
      return;
    }
    this.#heardAnything = true;
    this.#framer.push(chunk);
    if (this.state !== 'open') return;
    if (!this.#framer.partial) this.#partialSince = -1;
    else if (this.#partialSince < 0) {
      this.#partialSince = this.#keeper.clock.now();
      this.#watch();
    }
  };

  onFrame(bytes: Buffer, start: number, end: number): void {
    const { sink, clock } = this.#keeper;
    this.lastHeard = clock.now();
    // What follows in the same segment is a new message with its own time to arrive.
    this.#partialSince = -1;
    const standing = sink.screen(this.source);
    if (standing === 'drop') return;
    const octets = bytes.toString('latin1', start, end);
    this.#standing = standing;
    this.#tapped('in', octets);
    sink.onMessage(octets, this.source, standing);
  }

  onPing(): void {
    this.lastHeard = this.#keeper.clock.now();
    if (this.state === 'open') this.#write('\r\n');
  }

  onUnframeable(head: Octets, problem: FramingProblem): void {
    const { sink } = this.#keeper;
    const standing = sink.screen(this.source);
    let answer: Octets | undefined;
    if (standing !== 'drop') {
      this.#standing = standing;
      this.#tapped('in', head);
      answer = sink.onUnframeable(head, this.source, problem);
    }
    if (!this.usable) return;
    if (answer !== undefined) this.#write(answer);
    this.#leave(problem.detail, { kind: 'flow-lost', detail: problem.detail });
  }

  #tapped(direction: 'in' | 'out', octets: Octets): void {
    const { address, port } = this.source;
    this.#keeper.tap?.message(direction, octets, this.listener, address, port, this.#standing);
  }

  // ── Ending ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends it now: what has not left is lost. Owners hear `fault`, later. Idempotent. */
  close(reason: string, fault: EngineFault): void {
    if (this.state === 'closed') return;
    this.#retire('closed', reason, fault);
    this.#socket.destroy();
  }

  /**
   * Something went wrong with it; a TLS failure is counted. `secured`: the TLS socket in whose callback we are.
   * It alone may be destroyed there: destroying the socket under it, while OpenSSL is at work, crashes Node.
   */
  failed(fault: EngineFault, secured?: Socket): void {
    if (!this.usable) {
      secured?.destroy();
      return;
    }
    if (secured !== undefined) this.#attach(secured);
    if (fault.kind === 'tls') {
      this.#keeper.sink.onNotice({ kind: 'tls-failure', detail: fault.detail, address: this.source.address });
    }
    this.close(fault.detail, fault);
  }

  /** Ends it after what has been written has left, and at once for one that is not open yet. */
  finish(reason: string, fault: EngineFault): void {
    if (this.state === 'lingering' || this.state === 'closed') return;
    if (this.state !== 'open') {
      this.close(reason, fault);
      return;
    }
    this.#retire('lingering', reason, fault);
    this.flush();
    this.#socket.destroySoon();
    this.#keeper.clock.arm(this, FLUSH_MS);
  }

  /** Says goodbye to a peer that may still be sending: a reset would take our last answer from it. */
  #leave(reason: string, fault: EngineFault): void {
    this.#retire('lingering', reason, fault);
    this.flush();
    this.#socket.end();
    this.#keeper.clock.arm(this, LINGER_MS);
  }

  #retire(state: 'lingering' | 'closed', reason: string, fault: EngineFault): void {
    const { clock, sink } = this.#keeper;
    const known = this.usable;
    this.state = state;
    this.#framer.stop();
    clock.disarm(this);
    this.#waiting = [];
    if (!known) return;
    this.#keeper.withdraw(this);
    sink.onNotice({ kind: 'connection-closed', flow: this.flow, reason, address: this.source.address });
    if (this.#owners.size > 0) process.nextTick(this.#tellOwners, fault);
  }

  /** In a later turn, so that nobody hears of a failure from inside `send`; an owner may have said `forget` by then. */
  readonly #tellOwners = (fault: EngineFault): void => {
    for (const owner of this.#owners) {
      this.#owners.delete(owner);
      owner.sendFailed(fault);
    }
  };

  readonly #onEnd = (): void => {
    if (this.state === 'open')
      this.finish('closed by the peer', { kind: 'flow-lost', detail: 'the peer closed the connection' });
  };

  readonly #onError = (error: Error): void => {
    if (!this.usable) return;
    let fault: EngineFault;
    if (this.state !== 'open') fault = connectFault(error, this.state === 'handshaking');
    // With TLS 1.3 a server that refuses our certificate says so after the handshake.
    else if (isAlert(codeOf(error)) && !this.#heardAnything) fault = tlsFault(error);
    else fault = { kind: 'flow-lost', detail: error.message };
    this.failed(fault);
  };

  readonly #onClose = (): void => {
    if (this.state === 'handshaking') {
      const detail = 'the peer closed the connection during the TLS handshake';
      this.failed({ kind: 'tls', reason: 'other', detail });
    }
    if (this.usable) this.close('closed', { kind: 'flow-lost', detail: 'the connection closed' });
    if (this.state !== 'closed') {
      this.state = 'closed';
      this.#keeper.clock.disarm(this);
    }
    this.#keeper.remove(this);
  };

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sets the clock for whatever has to happen first on an open connection. */
  #watch(): void {
    const { clock, limits } = this.#keeper;
    let due = this.incoming ? this.lastHeard + limits.idleTimeoutMs : Number.POSITIVE_INFINITY;
    if (this.#partialSince >= 0) due = Math.min(due, this.#partialSince + limits.messageTimeoutMs);
    if (this.#stalledSince >= 0) due = Math.min(due, this.#stalledSince + limits.messageTimeoutMs);
    if (due === Number.POSITIVE_INFINITY) return;
    // A clock that is set for something earlier looks again then.
    if (this.armed && this.#deadline <= due) return;
    this.#deadline = due;
    clock.arm(this, due - clock.now());
  }

  override fire(): void {
    const { clock, limits } = this.#keeper;
    const now = clock.now();
    switch (this.state) {
      case 'connecting':
        this.#timedOut(`no connection within ${limits.connectTimeoutMs} ms`);
        return;
      case 'handshaking':
        this.#timedOut(`no TLS handshake within ${TLS_HANDSHAKE_TIMEOUT_MS} ms`);
        return;
      case 'lingering':
        this.#socket.destroy();
        return;
      case 'closed':
        return;
      case 'open':
    }
    if (this.#partialSince >= 0 && now >= this.#partialSince + limits.messageTimeoutMs) {
      this.#expire(`half a message, and no rest within ${limits.messageTimeoutMs} ms`);
    } else if (this.#stalledSince >= 0 && now >= this.#stalledSince + limits.messageTimeoutMs) {
      this.#expire(`the peer took nothing for ${limits.messageTimeoutMs} ms`);
    } else if (this.incoming && now >= this.lastHeard + limits.idleTimeoutMs) {
      if (this.idle) {
        this.finish('idle', { kind: 'flow-lost', detail: 'the connection was idle' });
        return;
      }
      this.lastHeard = now;
      this.#watch();
    } else this.#watch();
  }

  #expire(detail: string): void {
    this.close(detail, { kind: 'flow-lost', detail });
  }

  #timedOut(detail: string): void {
    // TCP was through, so it is not the way that is at fault.
    if (this.state === 'handshaking') this.failed({ kind: 'tls', reason: 'other', detail });
    else this.close(detail, { kind: 'timeout', heard: false, connecting: true, detail });
  }
}
