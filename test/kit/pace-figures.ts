/** What INVITEs at a provider say about the pace that they were sent at. */
import { mostWithin } from '../contract/pacing-rig.js';
import type { SentInvite } from './invite-recorder.js';
import type { PlacedCall } from './paced-nodes.js';

export interface PaceFigures {
  readonly sent: number;
  /** The most in any window, and how many the limit allows in one: of a limit below 1, one in 1/limit seconds. */
  readonly most: number;
  readonly allowed: number;
  /** Part of the limit that was used from the first INVITE to the last. */
  readonly use: number;
}

/** Prints figures for people where they were asked for. */
export function show(what: string, rows: readonly object[]): void {
  if (process.env.TRUNKLINE_FIGURES !== '1' && process.env.TRUNKLINE_LONG !== '1') return;
  console.info(what);
  console.table(rows);
}

export function figuresOf(invites: readonly SentInvite[], limit: number): PaceFigures {
  const moments = invites.map(({ at }) => at);
  const allowed = Math.ceil(limit);
  return {
    sent: invites.length,
    most: mostWithin(moments, (1000 * allowed) / limit),
    allowed,
    use: useOf(invites, limit),
  };
}

/** Part of the limit that was used from the first INVITE to the last, counting slots that a busy machine lost. */
export function useOf(invites: readonly SentInvite[], limit: number, lost = 0): number {
  const seconds = (invites.at(-1)!.at - invites[0]!.at) / 1000;
  return (invites.length - 1 + lost) / (limit * seconds);
}

/** By how much the promised starts were missed, as parts of the waits; of calls that waited at least `atLeastMs`. */
export function promiseErrors(
  calls: readonly PlacedCall[],
  invites: readonly SentInvite[],
  atLeastMs = 500,
): number[] {
  const starts = new Map(invites.map(({ callee, at }) => [callee, at]));
  return calls.flatMap(({ callee, placedAt, estimatedStartAt }) => {
    const start = starts.get(callee);
    if (start === undefined || estimatedStartAt === null || start - placedAt < atLeastMs) return [];
    return [Math.abs(start - estimatedStartAt) / (start - placedAt)];
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** How far calls left from where their order puts them: of each, how many places too early or too late. */
export function displacements<T>(sent: readonly T[], fair: readonly T[]): number[] {
  const place = new Map(fair.map((each, i) => [each, i]));
  return sent.map((each, i) => Math.abs(i - (place.get(each) ?? Number.NaN)));
}
