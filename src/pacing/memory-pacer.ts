/**
 * The pacer of a node that is alone: the lines are in its memory. Also the stand-in of a node whose Redis is gone, with
 * its share of each limit.
 */
import type { Clock } from '#lib/clock.js';
import { MemoryLine } from './memory-line.js';
import type { PaceObserver } from './observer.js';
import type { Pace, SlowDown } from './pace.js';
import type { LineView, Orphan, PaceRule, Pacer, Ticket, TicketEvents, TicketRequest } from './pacer.js';

export interface MemoryPacerOptions {
  /** With a tick that suits the fastest line: `FINE_TICK_MS`. */
  readonly clock: Clock;
  readonly observer: PaceObserver;
  /** null: a provider's refusals change nothing. */
  readonly slowDown?: SlowDown | null | undefined;
  /** How long a line gives nothing after it appeared, since others may have used it just before. Default: 0. */
  readonly delayMs?: ((pace: Pace) => number) | undefined;
}

/** Lines without calls are forgotten after that, when there are many. */
const IDLE_MS = 600_000;
const LINES_KEPT = 1_000;

export class MemoryPacer implements Pacer {
  readonly shared = false;
  /** Never called: nobody else dies. */
  onOrphan: ((orphan: Orphan) => void) | undefined;
  readonly #options: MemoryPacerOptions;
  readonly #lines = new Map<string, MemoryLine>();
  #stopped = false;

  constructor(options: MemoryPacerOptions) {
    this.#options = options;
  }

  /** Calls that wait, of all lines. */
  get waitingCount(): number {
    let count = 0;
    for (const line of this.#lines.values()) count += line.waitingCount;
    return count;
  }

  enqueue(request: TicketRequest, events: TicketEvents): Ticket {
    return this.#line(request.rule).enqueue(request, events, this.#stopped ? 'shutdown' : undefined);
  }

  slowDown(rule: PaceRule): void {
    this.#line(rule).slowDown();
  }

  async line(key: string, limit: number): Promise<LineView> {
    return this.#lines.get(key)?.view() ?? emptyLine(key, limit);
  }

  health(): { readonly ok: boolean; readonly detail: string } {
    return { ok: true, detail: 'this node paces alone, in memory' };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const line of this.#lines.values()) line.stop();
  }

  #line(rule: PaceRule): MemoryLine {
    let line = this.#lines.get(rule.key);
    if (line === undefined) {
      if (this.#lines.size >= LINES_KEPT) this.#forgetIdle();
      line = new MemoryLine(rule, this.#options);
      this.#lines.set(rule.key, line);
    }
    line.rule(rule);
    return line;
  }

  #forgetIdle(): void {
    const now = this.#options.clock.now();
    for (const [key, line] of this.#lines) if (line.idleSince < now - IDLE_MS) this.#lines.delete(key);
  }
}

/** A line that nobody has used yet. */
export function emptyLine(key: string, limit: number): LineView {
  return {
    key,
    waiting: [],
    sentLastMinute: 0,
    waitP50Ms: null,
    waitP95Ms: null,
    pace: limit,
    refusedByProvider: 0,
    slotsLost: 0,
  };
}
