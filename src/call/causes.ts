/**
 * Release causes: ITU-T Q.850 for what SIP says, and back. RFC 3398 §7.2.4.1 and §8.2.6.1 give the pairs, RFC 3326
 * and RFC 6432 the header field that carries them.
 */
import type { ReasonCode } from '#routing/refusals.js';
import type { Headers } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { formatReason, parseReason } from '#sip/reason.js';

const INTERWORKING = 127;

/** RFC 3398 §8.2.6.1. Statuses that are missing there take 127 "interworking, unspecified". */
const BY_STATUS: ReadonlyMap<number, number> = new Map([
  [400, 41],
  [401, 21],
  [402, 21],
  [403, 21],
  [404, 1],
  [405, 63],
  [406, 79],
  [407, 21],
  [408, 102],
  [410, 22],
  [415, 79],
  [480, 18],
  [481, 41],
  [482, 25],
  [483, 25],
  [484, 28],
  [485, 1],
  [486, 17],
  [487, 16],
  [488, 31],
  [500, 41],
  [501, 79],
  [502, 38],
  [503, 41],
  [504, 102],
  [600, 17],
  [603, 21],
  [604, 1],
  [606, 31],
]);

/** Our own codes, where the status alone would say too little. */
const BY_CODE: { readonly [code in ReasonCode]?: number } = {
  unknown_source: 21,
  credentials_needed: 21,
  caller_credentials_wrong: 21,
  agent_ambiguous: 21,
  unknown_number: 1,
  number_ambiguous: 1,
  number_without_agent: 20,
  agent_disabled: 20,
  agent_without_endpoints: 20,
  capacity: 42,
  trunk_capacity: 34,
  organization_capacity: 34,
  organization_day_limit: 34,
  trunk_day_limit: 34,
  destination_denied: 57,
  caller_id_refused: 21,
  no_outbound_config: 21,
  not_registered: 38,
  agent_unresolved: 27,
  agent_unreachable: 27,
  held_too_long: 42,
  queue_full: 42,
  trunk_removed: 38,
  trunk_unresolved: 38,
  trunk_unreachable: 38,
  provider_silent: 38,
  provider_cps_exceeded: 42,
  trunk_credentials_rejected: 21,
  callee_busy: 17,
  no_answer: 18,
  ring_timeout: 19,
  caller_cancelled: 16,
  caller_lost: 27,
  caller_timeout: 102,
  normal_clearing: 16,
  transferred: 16,
  no_ack: 102,
  session_failed: 41,
  session_expired: 102,
  max_duration: 31,
  shutdown: 41,
};

/** The Q.850 cause of a SIP status (RFC 3398 §8.2.6.1); 127, interworking, where it has none. */
export function q850OfStatus(status: number): number {
  return BY_STATUS.get(status) ?? INTERWORKING;
}

/** The Q.850 cause of an ending of ours; `status` decides where the reason has no cause of its own. */
export function q850OfCode(code: ReasonCode, status: number): number {
  return BY_CODE[code] ?? q850OfStatus(status);
}

/** The Q.850 cause that a message's Reason header fields name; undefined when they name none. */
export function q850In(headers: Headers): number | undefined {
  if (!headers.has('reason')) return undefined;
  for (const field of headers.all('reason')) {
    for (const reason of parseReason(field)) {
      // Protocol names are tokens, so they compare without case (RFC 3261 §7.3.1). Causes fit in seven bits.
      if (reason.cause !== undefined && reason.cause <= 127 && reason.protocol.toUpperCase() === 'Q.850') {
        return reason.cause;
      }
    }
  }
  return undefined;
}

/** `Q.850;cause=19;text="No answer"` */
export function q850Reason(cause: number, text: string): Octets {
  return formatReason('Q.850', cause, text);
}
