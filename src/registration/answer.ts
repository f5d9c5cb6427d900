/** What an answer to REGISTER says: the binding granted to us, other bindings, how long to wait, and what kind of outcome it is. */

import type { Exchange } from '#auth/authenticated-request.js';
import type { RequestOutcome } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { optionTags, splitList } from '#sip/lists.js';
import type { SipResponse } from '#sip/message.js';
import { parseNameAddr } from '#sip/name-addr.js';
import { detach, type Octets } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';
import type { Outcome } from './machine.js';
import type { VerdictCode } from './verdict.js';

export interface Binding {
  readonly grantedSeconds: number;
  /** Contacts of the AOR that are not ours. */
  readonly foreign: number;
}

/** Seconds; RFC 3261 §20.19: "a number between 0 and (2**32)-1". */
const EXPIRES_MAX = 2 ** 32 - 1;
const ROUTES_MAX = 8;
const ROUTE_OCTETS_MAX = 1_024;

/**
 * Our binding among those that a 200 lists. It is known by the user part, which is ours alone: registrars and NATs
 * rewrite the rest. Without it the Expires header field counts, then what was asked.
 */
export function bindingIn(response: SipResponse, contactUser: string, askedSeconds: number): Binding {
  let own: number | undefined;
  let foreign = 0;
  const fallback = secondsIn(response.headers.get('expires'));
  // The message's bounds bound this loop; a contact is read further only when it may be ours.
  for (const field of response.headers.all('contact')) {
    for (const value of splitList(field)) {
      const contact = value.includes(contactUser) ? parseNameAddr(value) : undefined;
      if (contact === undefined || parseUri(contact.uri)?.user !== contactUser) foreign++;
      else {
        // After a change of our address there may be two of ours, the old one with 0.
        const seconds = secondsIn(contact.params.get('expires')) ?? fallback ?? askedSeconds;
        own = own === undefined ? seconds : Math.max(own, seconds);
      }
    }
  }
  return { grantedSeconds: own ?? fallback ?? askedSeconds, foreign };
}

/** RFC 3608 §6.1: the route for later requests; empty when there is none, or one that cannot be a route. */
export function serviceRouteIn(response: SipResponse): readonly Octets[] {
  const routes: Octets[] = [];
  for (const field of response.headers.all('service-route')) {
    for (const value of splitList(field)) {
      const route = parseNameAddr(value);
      if (routes.length >= ROUTES_MAX || value.length > ROUTE_OCTETS_MAX || route === undefined) return [];
      if (parseUri(route.uri)?.scheme.startsWith('sip') !== true) return [];
      routes.push(detach(value));
    }
  }
  return routes;
}

/** `more`: there are targets that have not been tried in this round. */
export function outcomeOf(
  outcome: RequestOutcome,
  exchange: Exchange,
  verdict: VerdictCode,
  binding: Binding | null,
  more: boolean,
): Outcome {
  if (outcome.kind === 'fault') {
    return { kind: 'unavailable', more: more && isOfTarget(outcome.fault), retryAfterMs: undefined };
  }
  const { response } = outcome;
  const retryAfterMs = retryAfterIn(response);
  if (binding !== null) return { kind: 'registered', grantedSeconds: binding.grantedSeconds };
  switch (response.status) {
    case 423:
      return { kind: 'brief', minSeconds: secondsIn(response.headers.get('min-expires')) };
    // RFC 5626 §6: the first hop has no outbound; RFC 3261 §21.4.15: an extension of ours is not liked.
    case 439:
      return { kind: 'no-outbound' };
    case 420:
      if (optionTags(response.headers.all('unsupported')).includes('outbound'))
        return { kind: 'no-outbound' };
      return { kind: 'refused', retryAfterMs };
    // A challenge from somewhere else is no verdict on our password.
    case 401:
    case 407:
      return exchange.foreignChallenge || exchange.algorithmUnsupported
        ? { kind: 'refused', retryAfterMs }
        : { kind: 'auth-rejected' };
    // RFC 3263 §4.3: 503 and silence are the server's own; these others too say that this one cannot do it now.
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
      return { kind: 'unavailable', more, retryAfterMs };
  }
  if (verdict === 'auth_rejected') return { kind: 'auth-rejected' };
  if (verdict === 'rate_limited' || (verdict === 'server_error' && response.status >= 500)) {
    return { kind: 'unavailable', more: false, retryAfterMs };
  }
  return { kind: 'refused', retryAfterMs };
}

/** Another target would not meet our own bounds, nor an engine that is down. */
function isOfTarget(fault: EngineFault): boolean {
  return fault.kind !== 'capacity' && fault.kind !== 'engine-down';
}

/** `Retry-After: 120 (I'm in a meeting);duration=3600` (§20.33). */
function retryAfterIn({ headers }: SipResponse): number | undefined {
  const value = headers.get('retry-after');
  const digits = value === undefined ? null : /^\s*(\d{1,10})(?![\d.])/.exec(value);
  return digits === null ? undefined : Number(digits[1]) * 1_000;
}

/** delta-seconds; undefined for anything else. */
function secondsIn(value: Octets | undefined): number | undefined {
  if (value === undefined || !/^\d{1,10}$/.test(value)) return undefined;
  return Math.min(Number(value), EXPIRES_MAX);
}
