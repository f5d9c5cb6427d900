/** A registration as the API shows it: plain data, all text printable, times ISO 8601 in UTC. */
import type { Verdict, VerdictCode } from './verdict.js';

/** How a registration may stand. */
export const REGISTRATION_STATES = [
  /** Waits for its turn at the start. */
  'idle',
  'registering',
  'registered',
  /** Registered, and a REGISTER is under way. */
  'refreshing',
  /** The last attempt failed in a way that passes; the next one is set. */
  'retrying',
  /** The registrar does not take user and password: tried again slowly, or at once when they change. */
  'auth_rejected',
  /** The registrar refuses for good reasons of its own; tried again slowly. */
  'failed',
  'unregistering',
  'unregistered',
] as const;
export type RegistrationState = (typeof REGISTRATION_STATES)[number];

/** One REGISTER, its challenges answered, to one target. */
export interface RegistrationAttempt {
  readonly at: string;
  /** `udp:192.0.2.1:5060`; '' when the name did not resolve. */
  readonly target: string;
  readonly latencyMs: number;
  readonly status: number | null;
  /** Kind of the fault when there was no answer (`timeout`, `refused`, `tls`…). */
  readonly fault: string | null;
  readonly verdict: VerdictCode;
  /** Of the challenge. */
  readonly realm?: string | undefined;
  readonly algorithm?: string | undefined;
  readonly grantedExpirySeconds?: number | undefined;
  /** Our address as the registrar saw it (`received` and `rport` of Via). */
  readonly natAddress?: string | undefined;
  /** Contacts of the AOR that are not ours. */
  readonly foreignBindings?: number | undefined;
  readonly detail: string;
}

export interface RegistrationView {
  readonly id: string;
  readonly organizationId: string;
  /** `sip:user@domain`. */
  readonly aor: string;
  /** Call-ID of all its REGISTERs (RFC 3261 §10.2). */
  readonly callId: string;
  readonly trunkId: string | null;
  readonly agentId: string | null;
  readonly phoneNumbers: readonly string[];
  readonly state: RegistrationState;
  /** Target in use, `udp:192.0.2.1:5060`. */
  readonly registrar: string | null;
  /** Way of later requests (RFC 3608), as the registrar gave it; empty when it gave none. */
  readonly serviceRoute: readonly string[];
  readonly contact: string;
  readonly expiresAt: string | null;
  readonly nextAttemptAt: string | null;
  readonly lastVerdict: Verdict | null;
  /** Newest last, at most 50. */
  readonly timeline: readonly RegistrationAttempt[];
}
