/**
 * The hunt: which outcome of an attempt sends the call on to the next target or way, and which of several failures the
 * caller hears of. Pure.
 *
 * A way is an endpoint of the agent, or a trunk to the callee; its name resolves to several targets (RFC 3263).
 *
 * - Next target, then next way: nothing was heard at all (fault, or silence past the attempt time-out), or 503
 *   (RFC 3263 §4.3: "a 503 error response or a transport failure of some sort").
 * - 408, 500, 502, 504, or what `failoverStatuses` says. From an agent: next way, since its other addresses would say
 *   the same. From a provider: next target, since each is a machine of its own; but not once the callee has rung, for
 *   then it is the callee who did not answer.
 * - Nothing further: every other answer. 486, 487, 600 and 603 never, whatever `failoverStatuses` says.
 * - A way that rang out, or said 100 and then nothing, has answered the INVITE: it holds the call, so the hunt ends with
 *   it. Ringing every endpoint in turn would leave the caller waiting a multiple of the ring time, and a second INVITE
 *   might ring the callee twice.
 */
import type { EngineFault } from '#engine/faults.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import { isSafeValue } from '#sip/fields.js';
import type { SipResponse } from '#sip/message.js';
import { type Octets, printable } from '#sip/octets.js';
import { SAYING_WHY, saidWhy as saidWhyIn } from '#sip/reason.js';
import { reasonPhrase } from '#sip/status.js';
import { q850In, q850OfCode, q850OfStatus } from './causes.js';

export const DEFAULT_FAILOVER_STATUSES: ReadonlySet<number> = new Set([408, 500, 502, 503, 504]);

/** Someone was there and said no, or the caller did. */
const NEVER_FAILOVER: ReadonlySet<number> = new Set([486, 487, 600, 603]);

/** The statuses of a trunk as a set, without those that never send a call on. */
export function failoverSet(statuses: readonly number[]): ReadonlySet<number> {
  return new Set(statuses.filter((status) => !NEVER_FAILOVER.has(status)));
}

/** Who is called: a voice agent at its endpoints, or a telephone behind providers. */
export type Called = 'agent' | 'callee';

export type Onward = 'next-target' | 'next-way' | 'stop';

/** `rung`: a provisional response of this attempt was passed on. */
export function afterResponse(
  status: number,
  failover: ReadonlySet<number>,
  called: Called,
  rung: boolean,
): Onward {
  if (!failover.has(status)) return 'stop';
  if (called === 'callee') return rung ? 'stop' : 'next-target';
  return status === 503 ? 'next-target' : 'next-way';
}

/** `heard`: there was some response to this attempt. */
export function afterFault(fault: EngineFault, heard: boolean): Onward {
  switch (fault.kind) {
    case 'refused':
    case 'unreachable':
    case 'tls':
    case 'flow-lost':
      return heard ? 'stop' : 'next-target';
    case 'timeout':
      return heard || fault.heard ? 'stop' : 'next-target';
    // Ours, not the other side's: the next target would meet the same.
    case 'capacity':
    case 'engine-down':
    case 'cancelled':
    case 'glare':
      return 'stop';
  }
}

/** The target itself is dead, as opposed to who is behind it saying no. */
export function quarantines(fault: EngineFault): boolean {
  return (
    fault.kind === 'refused' ||
    fault.kind === 'unreachable' ||
    fault.kind === 'tls' ||
    fault.kind === 'timeout' ||
    fault.kind === 'flow-lost'
  );
}

/** What a caller is told when the call was not taken. */
export interface Failure {
  readonly status: number;
  /** Reason phrase. */
  readonly phrase: string;
  readonly code: ReasonCode;
  readonly q850: number;
  readonly detail: string;
  /** The callee's own answer, whose header fields and body go along. */
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

/** A final answer as the caller gets it: mostly as it is. */
export function failureOf(response: SipResponse, called: Called): Failure {
  const { status } = response;
  const answered =
    `the ${called === 'agent' ? 'agent' : 'provider'} answered ${status} ${printable(response.reason, 80)}`.trimEnd();
  const why = saidWhy(response, called);
  const detail = why === null ? answered : `${answered}: ${why}`;
  // The caller can do nothing about them, and they do not mean the callee.
  if (called === 'callee' && (status === 401 || status === 407)) {
    return ownFailure('trunk_credentials_rejected', detail);
  }
  const busy = status === 486 || status === 600;
  const code: ReasonCode =
    called === 'agent' ? (busy ? 'agent_busy' : 'agent_rejected') : busy ? 'callee_busy' : 'callee_rejected';
  const q850 = q850In(response.headers) ?? q850OfStatus(status);
  const told = toldStatus(status);
  // Where another status stands in for the peer's, the peer's phrase would contradict it.
  if (told !== status) {
    return { status: told, phrase: reasonPhrase(told), code, q850, detail, response: null, retryAfter: 0 };
  }
  return { status, phrase: sendablePhrase(response), code, q850, detail, response, retryAfter: 0 };
}

/**
 * What a rejection says beyond its status and phrase: the header fields in which peers give their reason, and what the
 * gateway made of it where that is not what the status asks for. For people, so escaped and bounded.
 */
export function saidWhy({ status, headers }: SipResponse, called: Called): string | null {
  const said: string[] = [];
  if (status < 400) said.push('the gateway follows no redirections');
  else if (called === 'agent' && (status === 401 || status === 407)) {
    said.push(
      'the gateway has no password for an endpoint: let it take calls from the address of the gateway',
    );
  }
  said.push(...saidWhyIn(headers));
  if (status < 400 && headers.has('contact')) {
    said.push(`Contact: ${printable(headers.get('contact') ?? '')}`);
  }
  return said.length === 0 ? null : said.join('; ');
}

/** The code stands for a final answer of the other side, not for a failure on the way to it. */
export function isAnswerOfCallee(code: ReasonCode): boolean {
  return (
    code === 'agent_rejected' || code === 'agent_busy' || code === 'callee_rejected' || code === 'callee_busy'
  );
}

const TOO_FAST = /\bCPS limit exceeded|calls[ -]per[ -]second (?:limit )?exceeded/i;

/**
 * The provider takes fewer calls per second than it got. Some say so (Twilio: "Trunk CPS limit exceeded"), in a 5xx's
 * phrase or in Reason or Warning; others answer 503.
 * @param plain a 503 without such words counts
 */
export function isPaceRefusal(response: SipResponse, plain: boolean): boolean {
  const { status, headers } = response;
  if (status < 500 || status > 599) return false;
  return (
    (plain && status === 503) ||
    TOO_FAST.test(response.reason) ||
    SAYING_WHY.some(([key]) => headers.has(key) && headers.all(key).some((value) => TOO_FAST.test(value)))
  );
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
  // Redirection is not followed, and its Contact would show what is behind the gateway.
  if (status < 400) return 480;
  // The challenge is meant for the gateway; relayed, it would ask the caller for his credentials.
  if (status === 401 || status === 407) return 480;
  // §16.7 step 6: "a proxy which receives a 503 (Service Unavailable) response SHOULD NOT forward it upstream unless
  // it can determine that any subsequent requests it might proxy will also generate a 503": the carrier would take the
  // whole gateway for overloaded because of one peer.
  if (status === 503) return 500;
  return status;
}

/** A fault as the caller is told of it. */
export function failureOfFault(fault: EngineFault, called: Called): Failure {
  const unreachable = called === 'agent' ? 'agent_unreachable' : 'trunk_unreachable';
  switch (fault.kind) {
    case 'timeout':
      return ownFailure(
        silenceCode(called),
        fault.heard ? `silence after a provisional response: ${fault.detail}` : fault.detail,
      );
    case 'refused':
    case 'unreachable':
    case 'flow-lost':
      return ownFailure(unreachable, `${fault.kind}: ${fault.detail}`);
    case 'tls':
      return ownFailure(unreachable, `TLS ${fault.reason}: ${fault.detail}`);
    case 'capacity':
      return ownFailure('capacity', fault.detail, RETRY_AFTER_SECONDS);
    case 'engine-down':
      return ownFailure('draining', fault.detail, RETRY_AFTER_SECONDS);
    case 'cancelled':
    case 'glare':
      return ownFailure('internal_error', `${fault.kind}: ${fault.detail}`);
  }
}

/** Nothing was said to the INVITE. */
export function silenceCode(called: Called): ReasonCode {
  return called === 'agent' ? 'no_answer' : 'provider_silent';
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
  if (!isAnswerOfCallee(failure.code)) return 9;
  return failure.status >= 600 ? 0 : Math.floor(failure.status / 100);
}
