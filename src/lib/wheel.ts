/**
 * The clock that the gateway runs on: a hashed timing wheel. A bridged call arms some twenty SIP timers and takes
 * most of them off again before they fire; here both cost a few pointer writes, and the machine sees one timer.
 *
 * A timer never fires early. It fires late by at most one tick, usually of 10 ms (and by what the event loop is
 * behind): the shortest SIP timer, T1, is 500 ms, so nothing in RFC 3261 notices.
 */
import { type Clock, Timer } from './clock.js';

export const TICK_MS = 10;

/** A tick for what must come to the millisecond, such as a slot in a line of 400 calls per second. */
export const FINE_TICK_MS = 1;

/**
 * 41 seconds per turn: timers B, F, H, J, L and M (32 s) are met once, when they fire. A longer timer stays in its
 * slot and is passed over once per turn.
 */
const SLOTS = 4096;
const SLOT_MASK = SLOTS - 1;

/** The machine's clocks. */
export interface TimeSource {
  /** Monotonic, milliseconds. */
  now(): number;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  wallNow(): number;
}

/** The one timer of the machine that a wheel uses. A clock that is advanced by hand passes `null` instead. */
export interface Alarm {
  /** Calls `wake` once after about `delayMs`; replaces what was set before. */
  set(delayMs: number, wake: () => void): void;
  cancel(): void;
}

/** Head of a circular list of timers, so that a timer leaves its list without knowing which one it is in. */
class Slot extends Timer {
  constructor() {
    super();
    this.next = this;
    this.prev = this;
  }

  get empty(): boolean {
    return this.next === this;
  }

  append(timer: Timer): void {
    const last = this.prev!;
    last.next = timer;
    timer.prev = last;
    timer.next = this;
    this.prev = timer;
  }

  fire(): void {
    throw new Error('the head of a timer list cannot fire');
  }
}

function unlink(timer: Timer): void {
  timer.prev!.next = timer.next;
  timer.next!.prev = timer.prev;
  timer.next = null;
  timer.prev = null;
}

class MachineAlarm implements Alarm {
  #handle: NodeJS.Timeout | undefined;

  set(delayMs: number, wake: () => void): void {
    clearTimeout(this.#handle);
    this.#handle = setTimeout(wake, delayMs);
  }

  cancel(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }
}

/** The longest delay that `setTimeout` takes without overflowing is 2^31 − 1 ms; the wheel never sleeps a turn. */
const NEVER = Number.POSITIVE_INFINITY;

export class TimerWheel implements Clock {
  readonly #source: TimeSource;
  readonly #alarm: Alarm | null;
  readonly #tickMs: number;
  readonly #slots: readonly Slot[] = Array.from({ length: SLOTS }, () => new Slot());
  /** Timers of the tick being run that have not fired yet. */
  readonly #due = new Slot();
  readonly #wake = (): void => this.run();
  /** The last tick whose slot has been emptied, or is being emptied. */
  #tick: number;
  /** The tick that the alarm is set for. */
  #wakeTick = NEVER;
  #running = false;
  #armed = 0;

  /** `alarm` null: nothing fires until somebody calls `run`. */
  constructor(source: TimeSource, alarm: Alarm | null = new MachineAlarm(), tickMs = TICK_MS) {
    this.#source = source;
    this.#alarm = alarm;
    this.#tickMs = tickMs;
    this.#tick = Math.floor(source.now() / tickMs);
  }

  /** Timers armed now. The machine's timer runs only while this is above 0. */
  get armedCount(): number {
    return this.#armed;
  }

  now(): number {
    return this.#source.now();
  }

  wallNow(): number {
    return this.#source.wallNow();
  }

  /** A delay that is negative or not a number counts as 0. A timer armed by a timer fires in a later tick. */
  arm(timer: Timer, delayMs: number): void {
    const now = this.#source.now();
    if (this.#armed === 0 && !this.#running) this.#tick = Math.floor(now / this.#tickMs);
    // `Math.max` would let NaN through, and a timer at tick NaN never fires.
    const at = delayMs > 0 ? now + delayMs : now;
    const due = Math.max(Math.ceil(at / this.#tickMs), this.#tick + 1);
    if (timer.dueTick >= 0) {
      if (timer.dueTick === due) return;
      unlink(timer);
    } else {
      this.#armed++;
    }
    timer.dueTick = due;
    this.#slots[due & SLOT_MASK]!.append(timer);
    if (due < this.#wakeTick && !this.#running) this.#setAlarm(due, now);
  }

  disarm(timer: Timer): void {
    if (timer.dueTick < 0) return;
    timer.dueTick = -1;
    unlink(timer);
    if (--this.#armed === 0 && !this.#running) this.#cancelAlarm();
  }

  /** Milliseconds on `now()`'s scale when something may be due next; undefined when nothing is armed. */
  get nextWakeMs(): number | undefined {
    const tick = this.#nextOccupiedTick();
    return tick === NEVER ? undefined : tick * this.#tickMs;
  }

  /** Fires, in order of their ticks, all timers that are due. */
  run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      this.#fireDue();
      const reached = Math.floor(this.#source.now() / this.#tickMs);
      while (this.#tick < reached && this.#armed > 0) {
        this.#collect(++this.#tick);
        this.#fireDue();
      }
      if (this.#tick < reached) this.#tick = reached;
    } finally {
      // A timer that throws must not take the others with it: what is left in `#due` goes on at the next wake.
      this.#running = false;
      const next = this.#due.empty ? this.#nextOccupiedTick() : this.#tick;
      if (next === NEVER) this.#cancelAlarm();
      else this.#setAlarm(next, this.#source.now());
    }
  }

  #collect(tick: number): void {
    const slot = this.#slots[tick & SLOT_MASK]!;
    for (let timer = slot.next!; timer !== slot; ) {
      const next = timer.next!;
      if (timer.dueTick <= tick) {
        unlink(timer);
        this.#due.append(timer);
      }
      timer = next;
    }
  }

  #fireDue(): void {
    const due = this.#due;
    while (!due.empty) {
      const timer = due.next!;
      unlink(timer);
      timer.dueTick = -1;
      this.#armed--;
      timer.fire();
    }
  }

  #nextOccupiedTick(): number {
    if (this.#armed === 0) return NEVER;
    let tick = this.#tick + 1;
    while (this.#slots[tick & SLOT_MASK]!.empty) tick++;
    return tick;
  }

  #setAlarm(tick: number, now: number): void {
    this.#wakeTick = tick;
    this.#alarm?.set(Math.max(1, Math.ceil(tick * this.#tickMs - now)), this.#wake);
  }

  #cancelAlarm(): void {
    if (this.#wakeTick === NEVER) return;
    this.#wakeTick = NEVER;
    this.#alarm?.cancel();
  }
}

/** The clock of the running gateway; a gateway has one for SIP, one for pacing and one for the rest. */
export function systemClock(tickMs = TICK_MS): TimerWheel {
  const source = { now: () => performance.now(), wallNow: () => Date.now() };
  return new TimerWheel(source, new MachineAlarm(), tickMs);
}
