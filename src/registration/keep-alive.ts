/**
 * Keeps the way to a server open and finds out when it is gone or back: CRLF (RFC 5626 §3.5.1) against NATs, OPTIONS
 * for an answer. One watch per connection or, with UDP, per target, however many registrations use it.
 *
 * A watch only suspects. OPTIONS that stay unanswered make one registration ask with a REGISTER, which every registrar
 * answers; only when that fails too, the way counts as gone. A server that was away and answers again may have lost
 * its bindings, so everybody registers anew.
 */
import type { OptionsPing } from '#directory/trunk.js';
import type { Engine, RequestOutcome, Target } from '#engine/engine.js';
import { type Clock, Timer } from '#lib/clock.js';
import { hostPort } from '#sip/uri.js';
import type { Via } from '#sip/via.js';

/** Somebody whose way this is. */
export interface Traveller {
  readonly aor: string;
  readonly registrar: string;
  readonly ping: OptionsPing | undefined;
  /** Asks for a REGISTER, if it makes sense. */
  urge(): void;
}

/** What OPTIONS have found; `unknown` until the first answer, or until so many are missing that it is down. */
export type Health = 'unknown' | 'up' | 'down';

export interface WatchParts {
  readonly engine: Pick<Engine, 'request' | 'keepAlive'>;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** It has come up or gone down, or has been asked once more and is still down. */
  readonly onHealth?: ((watch: Watch) => void) | undefined;
}

/** RFC 5626 §4.4.2: 24 to 29 s, below what NATs forget UDP after. The upper end, before the jitter. */
const KEEP_ALIVE_MS = 29_000;
const DEFAULT_PING: OptionsPing = { intervalSeconds: 25, failAfter: 2, okAfter: 1 };
/** Five transmissions over UDP (0, 0.5, 1.5, 3.5, 7.5 s): without an answer by then, one is missed. */
const ANSWER_WITHIN_MS = 8_000;
/** Who answers this late where somebody waits for the server was not there when the question was sent first. */
const PROMPT_MS = 1_000;
/** Between two moves that are believed: a server that names us differently each time must not keep us busy. */
const MOVE_MS = 30_000;
/** Between two questions while there is no answer; over UDP the transaction itself repeats every 4 s for 32 s. */
const LOOK_AGAIN_MS = 4_000;

export class Watch extends Timer {
  readonly key: string;
  /** For streams with the flow, once there is one. */
  readonly target: Target;
  /** Registered by this way. */
  readonly members = new Set<Traveller>();
  /** Waiting for the server to be back. */
  readonly waiting = new Set<Traveller>();
  readonly #parts: WatchParts;
  /** On the clock. */
  readonly since: number;
  #health: Health = 'unknown';
  /** On the clock. */
  #healthSince: number;
  /** It answers REGISTER and not OPTIONS, so their silence says nothing. */
  #deaf = false;
  #missed = 0;
  #answered = 0;
  #suspected = false;
  #asking = false;
  /** This question has been counted as missed. */
  #counted = false;
  /** This question was not answered promptly. */
  #slow = false;
  #nextPingAt = 0;
  #natAddress = '';
  #movedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(parts: WatchParts, key: string, target: Target) {
    super();
    this.#parts = parts;
    this.key = key;
    this.target = target;
    this.since = parts.clock.now();
    this.#healthSince = this.since;
  }

  get health(): Health {
    return this.#health;
  }

  /** On the clock: since when it is what it is. */
  get healthSince(): number {
    return this.#healthSince;
  }

  /** Questions without an answer in a row. */
  get missed(): number {
    return this.#missed;
  }

  /** Asks for `traveller` too, from now on: as often as the most eager of all wishes. */
  join(traveller: Traveller): void {
    this.members.add(traveller);
    if (this.#closed || this.#asking || this.#missed > 0) return;
    const { clock } = this.#parts;
    const wished = clock.now() + this.#intervalOf(traveller.ping ?? DEFAULT_PING);
    if (!this.armed || wished < this.#nextPingAt) {
      this.#nextPingAt = wished;
      this.#pause();
    }
  }

  get idle(): boolean {
    return this.members.size === 0 && this.waiting.size === 0;
  }

  /** OPTIONS have gone unanswered. */
  get doubtful(): boolean {
    return this.#missed > 0;
  }

  /** A REGISTER was answered: the server is there, whatever it thinks of OPTIONS. */
  confirmed(): void {
    if (this.#missed > 0) this.#deaf = true;
    this.#reset();
    this.#is('up');
  }

  #reset(): void {
    this.#missed = 0;
    this.#answered = 0;
    this.#suspected = false;
  }

  /** @param address ours, as the server saw it in the answer to a REGISTER of `by`, who has told it so already */
  seenAs(address: string, by: Traveller): void {
    if (this.#moved(address)) this.#urge([...this.members, ...this.waiting].filter((each) => each !== by));
  }

  #is(health: Health): void {
    const changed = this.#health !== health;
    if (changed) {
      this.#health = health;
      this.#healthSince = this.#parts.clock.now();
    }
    if (changed || health === 'down') this.#parts.onHealth?.(this);
  }

  /**
   * A REGISTER was not answered: asks whether anybody is there. Who answers then was not away: one account may be
   * ignored where others are served. `refused`: nothing listens there, so who answers later has come back.
   */
  lost(refused: boolean): void {
    if (refused) {
      this.#missed = Math.max(this.#missed, 1);
      this.#answered = 0;
      this.#suspected = true;
    }
    if (refused || this.#deaf) this.#is('down');
    if (this.#asking) return;
    const { clock } = this.#parts;
    this.#nextPingAt = clock.now();
    clock.arm(this, refused ? LOOK_AGAIN_MS : 0);
  }

  close(): void {
    this.#closed = true;
    this.#parts.clock.disarm(this);
  }

  override fire(): void {
    if (this.#closed) return;
    const { clock, engine } = this.#parts;
    if (this.#asking) {
      if (this.#slow) this.#miss();
      else {
        this.#slow = true;
        clock.arm(this, ANSWER_WITHIN_MS - PROMPT_MS);
      }
      return;
    }
    engine.keepAlive?.(this.target);
    if (clock.now() >= this.#nextPingAt) this.#ask();
    else this.#pause();
  }

  #ask(): void {
    const asker = first(this.members) ?? first(this.waiting);
    if (asker === undefined) {
      this.#pause();
      return;
    }
    const { clock, engine } = this.#parts;
    this.#asking = true;
    this.#counted = false;
    this.#slow = false;
    const address = `<${asker.aor}>`;
    clock.arm(this, PROMPT_MS);
    engine.request(
      {
        method: 'OPTIONS',
        uri: asker.registrar,
        target: this.target,
        from: address,
        to: `<${asker.registrar}>`,
      },
      (outcome) => this.#told(outcome),
    );
  }

  #told(outcome: RequestOutcome): void {
    this.#asking = false;
    if (this.#closed) return;
    this.#parts.clock.disarm(this);
    if (outcome.kind === 'response') this.#alive(outcome.response.topVia);
    else if (!this.#counted) this.#miss();
    if (!this.#closed) this.#pause();
  }

  /** Any answer will do. */
  #alive(via: Via): void {
    const moved = this.#moved(natAddressOf(via));
    const away = this.#missed > 0;
    this.#deaf = false;
    if (away) {
      this.#answered++;
      if (this.#answered < this.#ping().okAfter) return;
      this.#reset();
    }
    this.#is('up');
    // Back, or our NAT has given us another address: bindings may lead nowhere.
    if (away || moved) this.#urge([...this.members, ...this.waiting]);
    else if (this.#slow) this.#urge([...this.waiting]);
  }

  /** An answer that does not say where we were seen says nothing about a move. */
  #moved(seen: string): boolean {
    const before = this.#natAddress;
    if (seen === '' || seen === before) return false;
    this.#natAddress = seen;
    const now = this.#parts.clock.now();
    if (before === '' || now < this.#movedAt + MOVE_MS) return false;
    this.#movedAt = now;
    return true;
  }

  #miss(): void {
    this.#counted = true;
    this.#missed++;
    this.#answered = 0;
    const { failAfter } = this.#ping();
    if (this.#missed >= failAfter && !this.#deaf) this.#is('down');
    // A connection that does not carry an answer is doubtful at once; a datagram may be lost.
    const threshold = this.target.transport === 'udp' ? failAfter : 1;
    if (this.#suspected || this.#missed < threshold) return;
    this.#suspected = true;
    first(this.members)?.urge();
  }

  #urge(travellers: readonly Traveller[]): void {
    this.waiting.clear();
    for (const traveller of travellers) traveller.urge();
  }

  #pause(): void {
    const { clock, random } = this.#parts;
    const now = clock.now();
    if (this.#missed > 0) {
      this.#nextPingAt = now;
      clock.arm(this, LOOK_AGAIN_MS);
      return;
    }
    if (this.#nextPingAt <= now) this.#nextPingAt = now + this.#intervalOf(this.#ping());
    const tick = Math.min(KEEP_ALIVE_MS * (0.85 + 0.15 * random()), this.#nextPingAt - now);
    clock.arm(this, tick);
  }

  #intervalOf({ intervalSeconds }: OptionsPing): number {
    return intervalSeconds * 1_000 * (0.85 + 0.15 * this.#parts.random());
  }

  /** The shortest of all who travel this way. */
  #ping(): OptionsPing {
    let shortest: OptionsPing | undefined;
    for (const { ping = DEFAULT_PING } of this.members.size > 0 ? this.members : this.waiting) {
      if (shortest === undefined || ping.intervalSeconds < shortest.intervalSeconds) shortest = ping;
    }
    return shortest ?? DEFAULT_PING;
  }
}

function first<T>(set: ReadonlySet<T>): T | undefined {
  for (const value of set) return value;
  return undefined;
}

/** Our address as the peer saw it (RFC 3581); '' when it does not say. */
export function natAddressOf({ received, rport, host, port }: Via): string {
  if (received === undefined && (rport === undefined || rport === '')) return '';
  const seen = rport !== undefined && /^\d{1,5}$/.test(rport) ? Number(rport) : port;
  return hostPort(received ?? host, seen);
}
