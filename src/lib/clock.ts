/**
 * Time, passed in. Every room that waits takes a `Clock`; only this file and the wheel behind it touch the
 * machine's timers, so a test runs the 32 seconds of RFC 3261 timer B in microseconds.
 */
export interface Clock {
  /** Monotonic time in milliseconds. Only differences mean something. */
  now(): number;
  /** Wall-clock time in milliseconds since 1970-01-01T00:00:00Z. */
  wallNow(): number;
  /** Fires `timer` once, not earlier than `delayMs` from now. A timer already armed is moved. */
  arm(timer: Timer, delayMs: number): void;
  /** Takes `timer` off the clock. Harmless when it is not armed. */
  disarm(timer: Timer): void;
}

/**
 * Something that is woken by a clock. It carries its own place on the timing wheel, so that arming one allocates
 * nothing: extend it where a timer exists per transaction, use `CallbackTimer` elsewhere.
 */
export abstract class Timer {
  /** Wheel links. They belong to the clock that the timer is armed on. */
  next: Timer | null = null;
  prev: Timer | null = null;
  dueTick = -1;

  abstract fire(): void;

  get armed(): boolean {
    return this.dueTick >= 0;
  }
}

/** A timer that calls a function. */
export class CallbackTimer extends Timer {
  readonly #callback: () => void;

  constructor(callback: () => void) {
    super();
    this.#callback = callback;
  }

  fire(): void {
    this.#callback();
  }
}
