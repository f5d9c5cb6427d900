/** What a line remembers for people: INVITEs of the last minute, and how long the latest had waited. */

const SECONDS = 60;
/** The latest waits that count. */
export const WAITS_KEPT = 200;
/** Older waits do not count. */
export const WAITS_MS = 300_000;

interface Wait {
  readonly at: number;
  readonly ms: number;
}

export class LineStats {
  refusedByProvider = 0;
  slotsLost = 0;
  readonly #counts = new Array<number>(SECONDS).fill(0);
  readonly #waits: Wait[] = [];
  /** The second that was counted last, on the scale of `now`. */
  #second = 0;

  sent(now: number, waitedMs: number): void {
    this.#turn(now);
    this.#counts[this.#second % SECONDS]!++;
    this.#waits.push({ at: now, ms: waitedMs });
    if (this.#waits.length > WAITS_KEPT) this.#waits.shift();
  }

  sentLastMinute(now: number): number {
    this.#turn(now);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** The wait that `part` (0 to 1) of the latest calls did not exceed; null when there were none. */
  wait(now: number, part: number): number | null {
    return quantile(
      this.#waits.filter(({ at }) => now - at <= WAITS_MS).map(({ ms }) => ms),
      part,
    );
  }

  #turn(now: number): void {
    const second = Math.floor(now / 1000);
    const passed = Math.min(second - this.#second, SECONDS);
    for (let i = 1; i <= passed; i++) this.#counts[(this.#second + i) % SECONDS] = 0;
    if (passed === SECONDS) this.#counts.fill(0);
    if (second > this.#second) this.#second = second;
  }
}

/** The smallest value that `part` of them do not exceed (nearest rank); null of none. */
export function quantile(values: readonly number[], part: number): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}
