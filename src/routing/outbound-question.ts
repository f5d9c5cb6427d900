/** What an agent asks with its INVITE. Whether it may have it is `routeOutbound`'s question. */
import type { Agent } from '#directory/agent.js';
import { isNumberLike } from '#directory/number-format.js';
import { splitList } from '#sip/lists.js';
import type { SipRequest } from '#sip/message.js';
import { type NameAddr, parseNameAddr } from '#sip/name-addr.js';
import { fromText, type Octets, toText } from '#sip/octets.js';
import { parseUri, unescapeUser } from '#sip/uri.js';
import type { OutboundQuestion } from './outbound-decision.js';

/**
 * The callee is the user of the Request-URI. A number in From, or in P-Preferred-Identity or P-Asserted-Identity where
 * From has none, is the one to show, with the name beside it. An agent that names itself (by its id, its digest user
 * or the user of an endpoint) asks for none: it is shown by its own number. Other header fields cross with the call.
 */
export function outboundQuestion(request: SipRequest, agent: Agent): OutboundQuestion {
  const shown = shownBy(request, agent);
  const name = shown?.address.displayName;
  const destUser = request.headers.get('x-dest-user');
  return {
    agentId: agent.id,
    to: toText(request.uri),
    from: shown?.number,
    displayName: name === undefined ? undefined : toText(name),
    privacy: privacyIn(request),
    xDestUser: destUser === undefined ? undefined : toText(destUser).trim(),
  };
}

interface Shown {
  readonly number: string;
  readonly address: Pick<NameAddr, 'displayName'>;
}

function shownBy(request: SipRequest, agent: Agent): Shown | undefined {
  const number = numberIn(request.from.uri, agent);
  if (number !== undefined) return { number, address: request.from };
  for (const field of ['p-preferred-identity', 'p-asserted-identity']) {
    for (const value of request.headers.all(field)) {
      // RFC 3325 §9.1: two values at most, a SIP and a tel URI.
      for (const entry of splitList(value)) {
        const address = parseNameAddr(entry);
        const asserted = address === undefined ? undefined : numberIn(address.uri, agent);
        if (address !== undefined && asserted !== undefined) return { number: asserted, address };
      }
    }
  }
  return undefined;
}

function numberIn(text: Octets, agent: Agent): string | undefined {
  const user = userIn(text);
  return user === undefined || !isNumberLike(user) || names(agent, user) ? undefined : user;
}

function userIn(text: Octets): string | undefined {
  const user = parseUri(text)?.user;
  // RFC 3261 §19.1.6: parameters of a telephone-subscriber stand in the user part.
  return user === undefined ? undefined : unescapeUser(user).split(';', 1)[0];
}

function names(agent: Agent, user: string): boolean {
  if (user === agent.id || user === agent.inboundAuth?.username) return true;
  return agent.endpoints.some(({ uri }) => userIn(fromText(uri)) === user);
}

/** RFC 3323 §4.2: `none` asks for nothing to be withheld. An anonymous From asks by itself (§4.1). */
function privacyIn(request: SipRequest): boolean | undefined {
  const user = userIn(request.from.uri)?.toLowerCase();
  if (user === 'anonymous' || parseUri(request.from.uri)?.host === 'anonymous.invalid') return true;
  const values = request.headers.all('privacy').flatMap((value) => value.toLowerCase().split(/[;,]/));
  const asked = values.map((value) => value.trim());
  if (asked.includes('none')) return false;
  return asked.some((value) => value === 'id' || value === 'user' || value === 'header') ? true : undefined;
}
