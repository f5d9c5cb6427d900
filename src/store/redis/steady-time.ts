/**
 * Redis's steady time (see pace-script.ts) on this node's monotonic clock. Each answer says what time it was there, at some
 * moment between question and answer; of many, the fastest ones leave little room. So it is known of a moment of Redis's
 * before what time here it cannot have been, and after what time not, however slow the way is.
 */

/** The two clocks drift apart by some microseconds per second, so old answers are forgotten. */
const SPAN_MS = 15_000;
/** So many answers before an expectation is worth something. */
const ENOUGH = 3;

export class SteadyTime {
  #epoch = -1;
  #samples = 0;
  /** Of this span and of the one before it: this node's time is ahead by no more, and by no less. */
  #most = Number.POSITIVE_INFINITY;
  #mostBefore = Number.POSITIVE_INFINITY;
  #least = Number.NEGATIVE_INFINITY;
  #leastBefore = Number.NEGATIVE_INFINITY;
  /** The least is still that of another epoch, which was less. */
  #leastIsOld = false;
  #spanStart = 0;

  /**
   * An answer arrived, or a message.
   * @param v Redis's steady time in it
   * @param now this node's monotonic time
   * @param askedAt the same when the question left; undefined: it was not asked for
   * @returns true where all moments have moved
   */
  heard(v: number, epoch: number, now: number, askedAt: number | undefined): boolean {
    if (epoch < this.#epoch) return false;
    const isNew = epoch > this.#epoch;
    if (isNew) {
      this.#epoch = epoch;
      this.#samples = 0;
      this.#most = Number.POSITIVE_INFINITY;
      this.#mostBefore = Number.POSITIVE_INFINITY;
      this.#leastIsOld = true;
      this.#spanStart = now;
    } else if (now - this.#spanStart > SPAN_MS) {
      this.#mostBefore = this.#most;
      this.#most = Number.POSITIVE_INFINITY;
      this.#leastBefore = this.#least;
      this.#least = Number.NEGATIVE_INFINITY;
      this.#spanStart = now;
    }
    this.#samples++;
    this.#most = Math.min(this.#most, now - v);
    if (askedAt === undefined) return isNew;
    if (this.#leastIsOld) {
      this.#leastIsOld = false;
      this.#least = Number.NEGATIVE_INFINITY;
      this.#leastBefore = Number.NEGATIVE_INFINITY;
    }
    this.#least = Math.max(this.#least, askedAt - v);
    return isNew;
  }

  /** Nothing is known any more: another Redis answers. */
  forget(): void {
    this.#epoch = -1;
    this.#samples = 0;
    this.#least = Number.NEGATIVE_INFINITY;
    this.#leastBefore = Number.NEGATIVE_INFINITY;
  }

  /** When a moment of Redis's has come here for certain. */
  local(v: number): number {
    return v + Math.min(this.#most, this.#mostBefore);
  }

  /** Before that it has not come here. -Infinity: nothing is known. */
  localAtLeast(v: number): number {
    return v + Math.max(this.#least, this.#leastBefore);
  }

  /** Between `local` and `localAtLeast`: about what the fastest way to Redis and back takes. Infinity: nothing is known. */
  get doubtMs(): number {
    if (this.#leastIsOld) return Number.POSITIVE_INFINITY;
    return Math.min(this.#most, this.#mostBefore) - Math.max(this.#least, this.#leastBefore);
  }

  /** Redis's time now, or a little less; undefined while too little is known. */
  expected(now: number): number | undefined {
    return this.#samples < ENOUGH ? undefined : now - Math.min(this.#most, this.#mostBefore);
  }
}
