/**
 * The arithmetic of a pace, pure. Times are milliseconds.
 *
 * What must hold: of the INVITEs in the order in which they really left, the k-th and the (k+N)-th are a second apart,
 * N being the limit (1/limit seconds and N = 1 for limits below 1). A slot is a promise to send in [slot, slot + tolerance],
 * or not at all. So when a slot is given out, each INVITE before it counts as late as it may be: when it left, once that
 * is known, else its slot and the tolerance. Of all those, given out for later moments too, the N-th latest lies a window
 * before the new slot. Then no second has more than N, whoever is late by how much and whoever leaves first: of N+1 in one
 * second, the one whose slot was given last would have seen the N others within a window of its slot. For the same reason a
 * slot that passed unused may be moved to a later moment, as long as no slot has been given out that counts on its having
 * left the window.
 *
 * That alone would let N leave at once, so beside it there is the spacing: GCRA (ITU-T I.371), which with `burst` 1 is even.
 * What is late does not move the slots after it, or each second would end by its latest INVITE. The line stays behind its
 * plan instead, by `CREDIT_MS` at most and only while calls wait, and catches up at `PEAK` times its pace; how far it may
 * is for the window to say.
 */
import type { PaceRule } from './pacer.js';

/** Part of a second that spacing keeps in hand, so that INVITEs which leave a little late move nothing. */
export const GUARD = 0.004;
/** Part of a second that the window keeps in hand, for a network that jitters. */
export const WINDOW_GUARD = 0.003;
/** What is behind its plan catches up by so many times its pace. */
const PEAK = 2;
/** A line that is behind its plan by more forgets the rest. */
export const CREDIT_MS = 200;
/** A slot that has passed by so much is lost: half the spacing, within these bounds. */
const TOLERANCE_MIN_MS = 40;
const TOLERANCE_MAX_MS = 250;

/** A call that is not ready is expected to be, and to go before others, so long after it might have gone. */
export const ASIDE_GRACE_MS = 2_000;

/** What a rule means in milliseconds. */
export interface Pace {
  /** Between two slots at full pace. */
  readonly intervalMs: number;
  /** Between two slots of a line that is behind its plan. */
  readonly peakMs: number;
  readonly burst: number;
  /** So many INVITEs fill a window. */
  readonly windowCount: number;
  readonly windowMs: number;
  /** How late a slot may be used. */
  readonly toleranceMs: number;
}

export function paceOf({ limit, burst }: Pick<PaceRule, 'limit' | 'burst'>): Pace {
  const whole = Math.ceil(limit);
  const intervalMs = (1000 * (1 + GUARD)) / limit;
  const extra = Math.max(1, Math.floor(burst)) - 1;
  return {
    intervalMs,
    peakMs: intervalMs / PEAK,
    burst: extra + 1,
    windowCount: whole + extra,
    windowMs: (1000 * whole * (1 + WINDOW_GUARD)) / limit,
    toleranceMs: Math.min(TOLERANCE_MAX_MS, Math.max(TOLERANCE_MIN_MS, intervalMs / 2)),
  };
}

/** How a provider's refusal is heeded. */
export interface SlowDown {
  /** Each refusal multiplies the pace by this; at least a second lies between two that count. */
  readonly factor: number;
  /** Milliseconds at the lower pace. */
  readonly holdMs: number;
  /** Milliseconds in which it climbs back to full, in steps. */
  readonly recoveryMs: number;
}

export const DEFAULT_SLOW_DOWN: SlowDown = { factor: 0.8, holdMs: 30_000, recoveryMs: 60_000 };

/** However many refusals come: a tenth of the limit is left, or the key would seem dead. */
export const FACTOR_MIN = 0.1;
/** INVITEs that were under way together are refused together; that is one refusal. */
export const SLOW_DOWN_PAUSE_MS = 1_000;
const RECOVERY_STEPS = 6;

/** A pace that was lowered: to which part of the limit, and when. */
export interface Lowered {
  readonly factor: number;
  readonly at: number;
}

/** The part of the limit that a key has now; 1 when nothing is left of what lowered it. */
export function factorNow(
  lowered: Lowered | undefined,
  { holdMs, recoveryMs }: SlowDown,
  now: number,
): number {
  if (lowered === undefined) return 1;
  const climbing = now - lowered.at - holdMs;
  if (climbing < 0) return lowered.factor;
  if (climbing >= recoveryMs) return 1;
  const step = Math.floor((climbing * RECOVERY_STEPS) / recoveryMs) + 1;
  return Math.min(1, lowered.factor + ((1 - lowered.factor) * step) / (RECOVERY_STEPS + 1));
}

/** What a refusal makes of it; the same object when it does not count. */
export function lower(lowered: Lowered | undefined, slowDown: SlowDown, now: number): Lowered {
  if (lowered !== undefined && now - lowered.at < SLOW_DOWN_PAUSE_MS) return lowered;
  return { factor: Math.max(FACTOR_MIN, factorNow(lowered, slowDown, now) * slowDown.factor), at: now };
}
