/** When the next slot of a line is, pure. One such stands behind each line of the pacer in memory. */

import { CREDIT_MS, factorNow, type Lowered, lower, type Pace, paceOf, type SlowDown } from './pace.js';
import type { PaceRule } from './pacer.js';

/** A little more than the window of any limit from one per second up. */
const REMEMBERED_MS = 2_100;

export class Slots {
  readonly #slowDown: SlowDown;
  #limit = 0;
  #burst = 0;
  #pace: Pace = paceOf({ limit: 1, burst: 1 });
  #lowered: Lowered | undefined;
  /** When the latest INVITE left, and how full the bucket of the peak was after it, in slots. */
  #last = Number.NEGATIVE_INFINITY;
  #level = 0;
  /** By the plan, the next one leaves then. */
  #due = Number.NEGATIVE_INFINITY;
  /** Before it, nothing may leave. */
  #notBefore = Number.NEGATIVE_INFINITY;
  /** When the latest INVITEs left, oldest first. */
  #sent: number[] = [];
  #trimAt = 64;
  #before: { readonly last: number; readonly level: number; readonly due: number } | undefined;

  constructor(rule: Pick<PaceRule, 'limit' | 'burst'>, slowDown: SlowDown, now: number) {
    this.#slowDown = slowDown;
    this.rule(rule, now);
  }

  /** No slot before that time. */
  hold(until: number): void {
    this.#notBefore = Math.max(this.#notBefore, until);
  }

  /** From now on these. What has left counts on and what was behind is forgotten, so a change neither resets nor bursts. */
  rule({ limit, burst }: Pick<PaceRule, 'limit' | 'burst'>, now: number): void {
    if (limit === this.#limit && burst === this.#burst) return;
    this.#due = Math.max(this.#due, now);
    this.#limit = limit;
    this.#burst = burst;
    this.#pace = paceOf({ limit, burst });
  }

  get pace(): Pace {
    return this.#pace;
  }

  /** Calls per second, lowered or not. */
  perSecond(now: number): number {
    return this.#limit * factorNow(this.#lowered, this.#slowDown, now);
  }

  intervalMs(now: number): number {
    return this.#pace.intervalMs / factorNow(this.#lowered, this.#slowDown, now);
  }

  /** The earliest time of the next slot; it may have passed. */
  next(now: number): number {
    const { burst, windowCount, windowMs } = this.#pace;
    const interval = this.intervalMs(now);
    const oldest = this.#sent[this.#sent.length - windowCount];
    return Math.max(
      this.#notBefore,
      this.#last + Math.max(0, this.#level - (burst - 1)) * this.#peakMs(now),
      // A plan that was made for a lower limit is not for this one.
      Math.min(this.#due, this.#last + burst * interval) - (burst - 1) * interval,
      oldest === undefined ? Number.NEGATIVE_INFINITY : oldest + windowMs,
    );
  }

  /**
   * Takes the slot that was due at `slot`, for an INVITE that leaves now. Gives the number of slots that passed meanwhile:
   * more than 0 when it was too late.
   * @param since when there was an INVITE that could leave
   */
  take(slot: number, since: number, now: number): number {
    const interval = this.intervalMs(now);
    const late = now - Math.max(slot, since);
    this.#before = { last: this.#last, level: this.#level, due: this.#due };
    this.#level = Math.max(0, this.#level - (now - this.#last) / this.#peakMs(now)) + 1;
    this.#last = now;
    this.#due = Math.max(this.#due, since, now - CREDIT_MS) + interval;
    this.#sent.push(now);
    if (this.#sent.length >= this.#trimAt) this.#trim(now);
    return late > this.#pace.toleranceMs ? Math.max(1, Math.floor(late / interval)) : 0;
  }

  /** When the INVITE of the latest `take` had left for certain: the machine may have been busy with others meanwhile. */
  left(now: number): void {
    this.#last = now;
    this.#sent[this.#sent.length - 1] = now;
  }

  /** The INVITE of the latest `take` did not leave. */
  undo(): void {
    if (this.#before === undefined) return;
    ({ last: this.#last, level: this.#level, due: this.#due } = this.#before);
    this.#before = undefined;
    this.#sent.pop();
  }

  /** The provider refused for speed. Gives the part of the limit that is left, or undefined when this one does not count. */
  lower(now: number): number | undefined {
    const lowered = lower(this.#lowered, this.#slowDown, now);
    if (lowered === this.#lowered) return undefined;
    this.#lowered = lowered;
    return lowered.factor;
  }

  /** True once, when a lowered pace is full again. */
  restored(now: number): boolean {
    if (this.#lowered === undefined || factorNow(this.#lowered, this.#slowDown, now) < 1) return false;
    this.#lowered = undefined;
    return true;
  }

  get lowered(): boolean {
    return this.#lowered !== undefined;
  }

  #peakMs(now: number): number {
    return this.#pace.peakMs / factorNow(this.#lowered, this.#slowDown, now);
  }

  /** By time and not by the limit, which may be raised again at once; and the latest, for limits below 1. */
  #trim(now: number): void {
    const since = now - Math.max(this.#pace.windowMs, REMEMBERED_MS);
    const latest = this.#sent.length - 1;
    this.#sent = this.#sent.filter((moment, n) => moment >= since || n === latest);
    this.#trimAt = 2 * this.#sent.length + 64;
  }
}
