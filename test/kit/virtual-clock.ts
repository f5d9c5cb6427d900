/** A clock that stands still until a test advances it: 32 seconds of SIP timers in microseconds. */
import type { Clock, Timer } from '#lib/clock.js';
import { TICK_MS, TimerWheel } from '#lib/wheel.js';

const WALL_START = Date.UTC(2030, 0, 1);

/** The same wheel as in production, so a timer fires up to one tick (10 ms unless told otherwise) after its delay and never before. */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #wheel: TimerWheel;

  constructor(tickMs = TICK_MS) {
    this.#wheel = new TimerWheel(
      { now: () => this.#now, wallNow: () => WALL_START + this.#now },
      null,
      tickMs,
    );
  }

  now(): number {
    return this.#now;
  }

  wallNow(): number {
    return WALL_START + this.#now;
  }

  get armedCount(): number {
    return this.#wheel.armedCount;
  }

  arm(timer: Timer, delayMs: number): void {
    this.#wheel.arm(timer, delayMs);
  }

  disarm(timer: Timer): void {
    this.#wheel.disarm(timer);
  }

  /** Lets `ms` pass. Timers fire in order, each seeing the time at which it is due. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (
      let next = this.#wheel.nextWakeMs;
      next !== undefined && next <= end;
      next = this.#wheel.nextWakeMs
    ) {
      this.#now = Math.max(this.#now, next);
      this.#wheel.run();
    }
    this.#now = end;
  }

  /** Advances until `condition` holds, at most by `limitMs`; tells whether it came to hold. */
  advanceUntil(condition: () => boolean, limitMs: number): boolean {
    const end = this.#now + limitMs;
    while (!condition()) {
      const next = this.#wheel.nextWakeMs;
      if (next === undefined || next > end) return false;
      this.#now = Math.max(this.#now, next);
      this.#wheel.run();
    }
    return true;
  }
}
