/**
 * Redis's steady time (see pace-script.ts) on this node's monotonic clock. Each answer says what time it was there; the
 * one that came fastest says it best. So a moment of Redis comes here never too early, and late by the fastest way.
 */

/** The two clocks drift apart by some microseconds per second, so old answers are forgotten. */
const SPAN_MS = 15_000;
/** Less is not worth a word. */
const BETTER_MS = 0.5;
/** So many answers before an expectation is worth something. */
const ENOUGH = 3;

export class SteadyTime {
  #epoch = -1;
  #samples = 0;
  /** Smallest difference of this span and of the one before it. */
  #best = Number.POSITIVE_INFINITY;
  #before = Number.POSITIVE_INFINITY;
  #spanStart = 0;

  /**
   * An answer arrived.
   * @param v Redis's steady time in it
   * @param now this node's monotonic time
   * @returns 'new' where all moments have moved, 'better' where earlier ones were thought later than they were
   */
  heard(v: number, epoch: number, now: number): 'same' | 'better' | 'new' {
    if (epoch < this.#epoch) return 'same';
    const isNew = epoch > this.#epoch;
    const known = Math.min(this.#best, this.#before);
    if (epoch > this.#epoch) {
      this.#epoch = epoch;
      this.#samples = 0;
      this.#best = Number.POSITIVE_INFINITY;
      this.#before = Number.POSITIVE_INFINITY;
      this.#spanStart = now;
    } else if (now - this.#spanStart > SPAN_MS) {
      this.#before = this.#best;
      this.#best = Number.POSITIVE_INFINITY;
      this.#spanStart = now;
    }
    this.#samples++;
    this.#best = Math.min(this.#best, now - v);
    if (isNew) return 'new';
    return this.#best < known - BETTER_MS ? 'better' : 'same';
  }

  /** Nothing is known any more: another Redis answers. */
  forget(): void {
    this.#epoch = -1;
    this.#samples = 0;
  }

  /** When a moment of Redis's is here. */
  local(v: number): number {
    return v + Math.min(this.#best, this.#before);
  }

  /** Redis's time now, never less than it is; undefined while too little is known. */
  expected(now: number): number | undefined {
    return this.#samples < ENOUGH ? undefined : now - Math.min(this.#best, this.#before);
  }
}
