/**
 * The side that is called, as the driver sees it: by which ways, in which order, with which INVITE. `agent-callee.ts`
 * is a voice agent behind its endpoints, `provider-callee.ts` a telephone behind trunks.
 */
import type { ChallengeMemory, Credentials } from '#auth/challenge-memory.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Trunk } from '#directory/trunk.js';
import type { OutgoingInviteOptions, Target } from '#engine/engine.js';
import type { PaceRule } from '#pacing/pacer.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { CallerRequest } from './caller-leg.js';

/** What the call puts into an INVITE. */
export interface InviteDraft {
  readonly callId: string;
  readonly request: CallerRequest;
  readonly target: Target;
  readonly timeoutMs: number;
  /** Largest Max-Forwards to send. */
  readonly maxForwards: number;
  /** Tell the callee that reliable provisional responses are welcome. */
  readonly reliable: boolean;
  /** Tell an agent that it may ask for transfers. */
  readonly refers: boolean;
}

/** With what challenges of a way are answered. */
export interface Login {
  /** Undefined: none are configured, and the record says that they were asked for. */
  readonly credentials: Credentials | undefined;
  readonly memory: ChallengeMemory;
  /** Challenges answered for one INVITE. */
  readonly mostChallenges: number;
  /** Another realm is answered, and noted; undefined: any is expected. */
  readonly expectedRealm: string | undefined;
}

/** Why a way cannot be tried. */
export interface NoTargets {
  readonly detail: string;
  /** Default: for lack of an address. */
  readonly code?: ReasonCode | undefined;
}

export interface Callee {
  /** The URI called, for records. */
  label(way: number): string;
  /** The trunk of a way; undefined where ways are an agent's endpoints. */
  trunk(way: number): Trunk | undefined;
  /** The number that calls by this way show; undefined like `trunk`. */
  number(way: number): PhoneNumber | undefined;
  /** Calls `done` exactly once, perhaps from inside this call: targets in the order to try, or why there are none. */
  resolve(way: number, done: (result: readonly Target[] | NoTargets) => void): void;
  invite(way: number, draft: InviteDraft): OutgoingInviteOptions;
  /** Undefined: no challenge of this way is answered. */
  login(way: number): Login | undefined;
  /** The line that a call on this way stands in; undefined: none. */
  pace(way: number): PaceRule | undefined;
}
