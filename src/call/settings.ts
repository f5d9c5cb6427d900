/** What the call room can be told. Times are in milliseconds. */
import { DEFAULT_FAILOVER_STATUSES } from './hunt.js';

export interface CallSettings {
  /** From the INVITE to the answer when the agent rings. Agents and trunks may say otherwise. Default 30 s. */
  readonly ringTimeoutMs: number;
  /**
   * From the INVITE to the first sign of ringing, all attempts together. Default 30 s: no agent, whatever it
   * answers, leaves a caller without a final answer for longer.
   */
  readonly setupTimeoutMs: number;
  /** Silence of one endpoint before the next is tried; the last one has what is left of the set-up time. Default 4 s. */
  readonly attemptTimeoutMs: number;
  /** As `ringTimeoutMs`, for calls to telephones. Trunks may say otherwise. Default 60 s. */
  readonly calleeRingTimeoutMs: number;
  /** Longest wait for slots, all attempts together. Default 60 s. */
  readonly queueTimeoutMs: number;
  /** Calls that may wait in one line. Default 1,000. */
  readonly maxQueued: number;
  /** INVITEs to providers for one call, the repeats of challenged ones not counted. Default 6. */
  readonly maxAttempts: number;
  /** Challenges answered for one INVITE; 3 is the most. Default 3. */
  readonly maxChallenges: number;
  /** A provider's refusal for too many calls per second lowers the key's pace, and the call waits once more. Default true. */
  readonly heedPaceRefusals: boolean;
  /** Longest call, from the answer; 0 for no bound. Default 0. */
  readonly maxDurationMs: number;
  /** Answers after which the next endpoint is tried. Default 408, 500, 502, 503, 504. */
  readonly failoverStatuses: readonly number[];
  /** An agent may transfer its call by REFER. Default true. */
  readonly acceptRefer: boolean;
  /** Calls in progress, all trunks. Default 40,000: a call is two dialogs of the engine's 100,000. */
  readonly maxConcurrentCalls: number;
  /** Largest Max-Forwards sent; what came in counts down from its own. Default 70. */
  readonly maxForwards: number;
  /** Ended calls that `list` and `get` still know. Default 1,000. */
  readonly endedKept: number;
}

export const DEFAULT_CALL_SETTINGS: CallSettings = {
  ringTimeoutMs: 30_000,
  setupTimeoutMs: 30_000,
  attemptTimeoutMs: 4_000,
  calleeRingTimeoutMs: 60_000,
  queueTimeoutMs: 60_000,
  maxQueued: 1_000,
  maxAttempts: 6,
  maxChallenges: 3,
  heedPaceRefusals: true,
  maxDurationMs: 0,
  failoverStatuses: [...DEFAULT_FAILOVER_STATUSES],
  acceptRefer: true,
  maxConcurrentCalls: 40_000,
  maxForwards: 70,
  endedKept: 1_000,
};
