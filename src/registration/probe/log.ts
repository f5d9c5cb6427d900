/** The steps of one probe as they are taken, and the time that is left for more. */
import type { Clock } from '#lib/clock.js';
import { CallbackTimer } from '#lib/clock.js';
import type { VerdictCode } from '../verdict.js';
import type { Fact, ProbeStep, StageName } from './report.js';

/** What one stage may take, and all of them together; milliseconds. */
const STAGE_MS = 5_000;
const WHOLE_MS = 30_000;

export interface StepResult {
  readonly outcome: ProbeStep['outcome'];
  readonly detail: string;
  readonly code?: VerdictCode | null | undefined;
  readonly status?: number | undefined;
  /** Default: from the beginning of the step to now. */
  readonly durationMs?: number | undefined;
  readonly facts?: { readonly [name: string]: Fact } | undefined;
}

export class StepLog {
  readonly steps: ProbeStep[] = [];
  readonly clock: Clock;
  readonly startedAt: string;
  readonly #start: number;

  constructor(clock: Clock) {
    this.clock = clock;
    this.#start = clock.now();
    this.startedAt = new Date(clock.wallNow()).toISOString();
  }

  /** Milliseconds since the probe began. */
  now(): number {
    return tenth(this.clock.now() - this.#start);
  }

  /** What the next stage may take; 0 when the whole probe has had its time. */
  get budgetMs(): number {
    return Math.max(0, Math.min(STAGE_MS, WHOLE_MS - this.now()));
  }

  /** Notes a step that began at `atMs` and ends now. */
  note(stage: StageName, subject: string, atMs: number, result: StepResult): void {
    this.steps.push({
      stage,
      subject,
      outcome: result.outcome,
      code: result.code ?? null,
      atMs,
      durationMs: result.outcome === 'skip' ? 0 : tenth(result.durationMs ?? this.now() - atMs),
      status: result.status ?? null,
      detail: result.detail,
      facts: result.facts ?? {},
    });
  }

  skip(stage: StageName, subject: string, detail: string): void {
    this.note(stage, subject, this.now(), { outcome: 'skip', detail });
  }
}

/** Milliseconds as a report shows them. */
export function tenth(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}

/** Resolves with what `start` hands over, or with `late` when nothing came in `ms`; what comes later is dropped. */
export function within<T>(
  clock: Clock,
  ms: number,
  late: T,
  start: (done: (value: T) => void) => void,
): Promise<T> {
  return new Promise((resolve) => {
    const timer = new CallbackTimer(() => resolve(late));
    clock.arm(timer, ms);
    start((value) => {
      clock.disarm(timer);
      resolve(value);
    });
  });
}
