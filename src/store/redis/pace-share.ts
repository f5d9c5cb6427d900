/** A node's calls while Redis is gone and `share` is set: lines in memory, with this node's part of each limit. */
import type { Clock } from '#lib/clock.js';
import { MemoryPacer } from '#pacing/memory-pacer.js';
import type { PaceObserver } from '#pacing/observer.js';
import type { SlowDown } from '#pacing/pace.js';
import type { PaceRule } from '#pacing/pacer.js';
import type { PaceLine } from './pace-line.js';
import type { PaceSeat } from './pace-seat.js';

/** Redis has given no slot for at least so long when the stand-in begins. */
const SILENT_MS = 1_500;

export interface PaceShareOptions {
  readonly clock: Clock;
  readonly observer: PaceObserver;
  readonly slowDown: SlowDown | null;
  /** Nodes seen last, and this one's place among them: they begin one after the other. */
  readonly nodes: number;
  readonly rank: number;
}

export class PaceShare {
  readonly #options: PaceShareOptions;
  readonly #pacer: MemoryPacer;

  constructor(options: PaceShareOptions) {
    this.#options = options;
    const { clock, slowDown, nodes, rank, observer } = options;
    this.#pacer = new MemoryPacer({
      clock,
      slowDown,
      // The calls themselves are reported by their own line.
      observer: { ...silent, slotsLost: (key, count) => observer.slotsLost(key, count) },
      // Redis has been silent for longer than most windows; of slow lines the last slot may still count.
      delayMs: ({ windowMs, intervalMs }) =>
        Math.max(0, windowMs / nodes - SILENT_MS) + (rank * intervalMs) / nodes,
    });
  }

  /** Takes in the calls that may go, those that no other node can have taken over, and limits that have changed. */
  take(lines: Iterable<PaceLine>): void {
    for (const line of lines) {
      const rule = this.#ruleOf(line);
      for (const seat of line.seats.values()) {
        seat.local?.rule(rule);
        if (seat.local === undefined && seat.slot === undefined && !(seat.portable && seat.announced)) {
          this.#enter(line, seat, rule);
        }
      }
    }
  }

  /** They wait for Redis again. */
  giveBack(lines: Iterable<PaceLine>): void {
    for (const line of lines) {
      for (const seat of line.seats.values()) {
        seat.local?.cancel();
        seat.local = undefined;
      }
    }
    void this.stop();
  }

  async stop(): Promise<void> {
    await this.#pacer.stop();
  }

  #ruleOf({ limit: { limit, ...rule } }: PaceLine): PaceRule {
    return { ...rule, limit: limit / this.#options.nodes, maxQueued: Number.POSITIVE_INFINITY };
  }

  #enter(line: PaceLine, seat: PaceSeat, rule: PaceRule): void {
    const ticket = this.#pacer.enqueue(
      {
        ...seat.request,
        rule,
        // Its own timer ends its wait.
        timeoutMs: 2 ** 31,
        leadMs: seat.isReady ? undefined : seat.request.leadMs,
      },
      {
        onPlace: (place) => seat.placed(place),
        onPrepare: () => seat.prepare(),
        onSlot: () => line.slotWithoutRedis(seat),
        onRefused: () => undefined,
      },
    );
    seat.local = ticket;
  }
}

const silent: PaceObserver = {
  callPaced: () => undefined,
  callRefused: () => undefined,
  slotsLost: () => undefined,
  refusedByProvider: () => undefined,
  paceLowered: () => undefined,
  paceRestored: () => undefined,
};
