/**
 * Gives turns: at most so many REGISTERs per second to one server, evenly spaced, first come first served. A start
 * with 10,000 accounts, or a server that comes back, is then a queue and not a storm.
 */
import { type Clock, Timer } from '#lib/clock.js';

export interface Waiter {
  /** Those that share a lane share its rate. */
  readonly lane: string;
  /** Its turn has come. It may not be interested any more. */
  turn(): void;
}

export class Launcher {
  readonly #clock: Clock;
  readonly #lanes = new Map<string, Lane>();
  #intervalMs: number;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#intervalMs = 1_000 / perSecond;
  }

  /** Applies to whoever waits already, too. */
  setRate(perSecond: number): void {
    this.#intervalMs = 1_000 / perSecond;
  }

  /** Calls `waiter.turn()` later, never from inside this call. */
  queue(waiter: Waiter): void {
    this.#lane(waiter.lane).push(waiter);
  }

  /** Requests that left without a turn, the answers to challenges: those who wait make room for them. */
  charge(lane: string, requests: number): void {
    if (requests > 0) this.#lane(lane).charge(requests);
  }

  #lane(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(this, name, this.#clock);
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** A lane without anybody, whose last turn is long enough ago to forget. */
  forget(name: string): void {
    this.#lanes.delete(name);
  }
}

class Lane extends Timer {
  readonly #launcher: Launcher;
  readonly #name: string;
  readonly #clock: Clock;
  #queue: Waiter[] = [];
  #head = 0;
  /** On the clock: when the next turn may be given. */
  #nextAt = 0;

  constructor(launcher: Launcher, name: string, clock: Clock) {
    super();
    this.#launcher = launcher;
    this.#name = name;
    this.#clock = clock;
    this.#nextAt = clock.now();
  }

  push(waiter: Waiter): void {
    this.#queue.push(waiter);
    if (this.#queue.length - this.#head === 1) this.#armForNext();
  }

  charge(requests: number): void {
    this.#nextAt = Math.max(this.#nextAt, this.#clock.now()) + requests * this.#launcher.intervalMs;
    this.#clock.arm(this, this.#nextAt - this.#clock.now());
  }

  override fire(): void {
    const now = this.#clock.now();
    const { intervalMs } = this.#launcher;
    // A late timer may owe several turns, but what was missed while nobody waited, or while the process stood still,
    // is not made up for.
    this.#nextAt = Math.max(this.#nextAt, now - CATCH_UP_MS);
    while (this.#head < this.#queue.length && this.#nextAt <= now) {
      this.#nextAt += intervalMs;
      this.#queue[this.#head++]!.turn();
    }
    if (this.#head < this.#queue.length) {
      this.#compact();
      this.#armForNext();
      return;
    }
    this.#queue = [];
    this.#head = 0;
    if (this.#nextAt <= now) this.#launcher.forget(this.#name);
    else this.#clock.arm(this, this.#nextAt - now);
  }

  #armForNext(): void {
    const now = this.#clock.now();
    if (this.#nextAt < now) this.#nextAt = now;
    this.#clock.arm(this, this.#nextAt - now);
  }

  #compact(): void {
    if (this.#head < COMPACT_AT) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}

const CATCH_UP_MS = 50;
const COMPACT_AT = 1_024;
