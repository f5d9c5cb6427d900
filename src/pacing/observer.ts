/** Who is told what lines do: metrics and events. Each node tells of its own calls; sums over nodes are whole. */
import type { PaceRefusal } from './pacer.js';

export interface PaceObserver {
  /** An INVITE left, `waitedMs` after its call had joined the line. */
  callPaced(key: string, waitedMs: number): void;
  callRefused(key: string, why: PaceRefusal): void;
  /** Slots went by unused although calls waited, because this node was late. Where that is safe, others stand for them. */
  slotsLost(key: string, count: number): void;
  refusedByProvider(key: string): void;
  /** Refusals of the provider brought the pace down to so many calls per second. */
  paceLowered(key: string, pace: number): void;
  /** The pace is the limit again. */
  paceRestored(key: string): void;
}
