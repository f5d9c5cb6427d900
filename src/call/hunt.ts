/**
 * The hunt: which outcome of an attempt sends the call on to the next target or endpoint, and which of several
 * failures the caller hears of. Pure.
 *
 * An endpoint is an address of the agent; a name among them resolves to several targets (RFC 3263).
 *
 * - Next target, then next endpoint: nothing was heard at all (fault, or silence past the attempt time-out), or 503
 *   (RFC 3263 §4.3: "a 503 error response or a transport failure of some sort").
 * - Next endpoint: 408, 500, 502, 504, or what `failoverStatuses` says. These came from the agent itself, and its other
 *   addresses would say the same.
 * - Nothing further: every other answer. 486, 487, 600 and 603 never, whatever `failoverStatuses` says.
 * - An endpoint that rang out, or said 100 and then nothing, has answered the INVITE: it holds the call, so the hunt
 *   ends with it. Ringing every endpoint in turn would leave the caller waiting a multiple of the ring time.
 */
import type { EngineFault } from '#engine/faults.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import { isSafeValue } from '#sip/fields.js';
import type { SipResponse } from '#sip/message.js';
import { type Octets, printable } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { q850In, q850OfCode, q850OfStatus } from './causes.js';

export const DEFAULT_FAILOVER_STATUSES: ReadonlySet<number> = new Set([408, 500, 502, 503, 504]);

/** Someone was there and said no, or the caller did. */
export const NEVER_FAILOVER: ReadonlySet<number> = new Set([486, 487, 600, 603]);

/** The statuses of a trunk as a set, without those that never send a call on. */
export function failoverSet(statuses: readonly number[]): ReadonlySet<number> {
  return new Set(statuses.filter((status) => !NEVER_FAILOVER.has(status)));
}

export type Onward = 'next-target' | 'next-endpoint' | 'stop';

export function afterResponse(status: number, failover: ReadonlySet<number>): Onward {
  if (!failover.has(status)) return 'stop';
  return status === 503 ? 'next-target' : 'next-endpoint';
}

/** `heard`: the endpoint has sent some response to this attempt. */
export function afterFault(fault: EngineFault, heard: boolean): Onward {
  switch (fault.kind) {
    case 'refused':
    case 'unreachable':
    case 'tls':
    case 'flow-lost':
      return heard ? 'stop' : 'next-target';
    case 'timeout':
      return heard || fault.heard ? 'stop' : 'next-target';
    // Ours, not the agent's: the next target would meet the same.
    case 'capacity':
    case 'engine-down':
    case 'cancelled':
    case 'glare':
      return 'stop';
  }
}

/** The target itself is dead, as opposed to the agent behind it saying no. */
export function quarantines(fault: EngineFault): boolean {
  return (
    fault.kind === 'refused' ||
    fault.kind === 'unreachable' ||
    fault.kind === 'tls' ||
    fault.kind === 'timeout' ||
    fault.kind === 'flow-lost'
  );
}

/** What a caller is told when an agent did not take the call. */
export interface Failure {
  readonly status: number;
  /** Reason phrase. */
  readonly phrase: string;
  readonly code: ReasonCode;
  readonly q850: number;
  readonly detail: string;
  /** The agent's own answer, whose header fields and body go along. */
  readonly response: SipResponse | null;
  /** Seconds for Retry-After; 0 for none. */
  readonly retryAfter: number;
}

/** A failure of ours by its code. */
export function ownFailure(code: ReasonCode, detail: string, retryAfter = 0): Failure {
  const entry = REASONS[code];
  // Codes without a status of their own end calls that are up; before the answer the caller hears "for now not here".
  const status = entry.status === 0 ? 480 : entry.status;
  return {
    status,
    phrase: entry.phrase === '' ? reasonPhrase(status) : entry.phrase,
    code,
    q850: q850OfCode(code, status),
    detail,
    response: null,
    retryAfter,
  };
}

/** An agent's final answer as the caller gets it: mostly as it is. */
export function failureOf(response: SipResponse): Failure {
  const { status } = response;
  const detail = `the agent answered ${status} ${printable(response.reason, 80)}`.trimEnd();
  const code: ReasonCode = status === 486 || status === 600 ? 'agent_busy' : 'agent_rejected';
  const q850 = q850In(response.headers) ?? q850OfStatus(status);
  const told = toldStatus(status);
  // Where another status stands in for the agent's, the agent's phrase would contradict it.
  if (told !== status) {
    return { status: told, phrase: reasonPhrase(told), code, q850, detail, response: null, retryAfter: 0 };
  }
  return { status, phrase: sendablePhrase(response), code, q850, detail, response, retryAfter: 0 };
}

/** The peer's phrase where it can be sent on, else the standard one. */
export function sendablePhrase(response: SipResponse): Octets {
  const { reason } = response;
  return reason !== '' && reason.length <= 200 && isSafeValue(reason)
    ? reason
    : reasonPhrase(response.status);
}

/** The status that the other side is told for an answer of this side. */
export function toldStatus(status: number): number {
  // Redirection is not followed, and its Contact would show where agents live.
  if (status < 400) return 480;
  // The challenge is meant for the gateway, which has no credentials; relayed, it would ask the caller for his.
  if (status === 401 || status === 407) return 480;
  // §16.7 step 6: "a proxy which receives a 503 (Service Unavailable) response SHOULD NOT forward it upstream unless
  // it can determine that any subsequent requests it might proxy will also generate a 503": the carrier would take the
  // whole gateway for overloaded because of one agent.
  if (status === 503) return 500;
  return status;
}

/** A fault as the caller is told of it. */
export function failureOfFault(fault: EngineFault): Failure {
  switch (fault.kind) {
    case 'timeout':
      return ownFailure(
        'no_answer',
        fault.heard ? `silence after a provisional response: ${fault.detail}` : fault.detail,
      );
    case 'refused':
    case 'unreachable':
    case 'flow-lost':
      return ownFailure('agent_unreachable', `${fault.kind}: ${fault.detail}`);
    case 'tls':
      return ownFailure('agent_unreachable', `TLS ${fault.reason}: ${fault.detail}`);
    case 'capacity':
      return ownFailure('capacity', fault.detail, RETRY_AFTER_SECONDS);
    case 'engine-down':
      return ownFailure('draining', fault.detail, RETRY_AFTER_SECONDS);
    case 'cancelled':
    case 'glare':
      return ownFailure('internal_error', `${fault.kind}: ${fault.detail}`);
  }
}

export const RETRY_AFTER_SECONDS = 5;

/**
 * The better of two failures to tell the caller of (§16.7 step 6): a 6xx first, then the lowest class; an answer
 * says more than silence. Of equals the first.
 */
export function better(known: Failure | null, fresh: Failure): Failure {
  return known === null || rank(fresh) < rank(known) ? fresh : known;
}

function rank(failure: Failure): number {
  if (failure.code !== 'agent_rejected' && failure.code !== 'agent_busy') return 9;
  return failure.status >= 600 ? 0 : Math.floor(failure.status / 100);
}
