/** The dry run of routing: the same function that routes calls, fed with an INVITE made from a question. */
import type { Snapshot } from '#directory/snapshot.js';
import { type InboundDirectory, routeInbound } from '#routing/inbound.js';
import { isSafeValue } from '#sip/fields.js';
import { fromText, printable, toText } from '#sip/octets.js';
import { parseMessage } from '#sip/parse.js';
import { escapeUser, parseUri } from '#sip/uri.js';
import type { RouteAnswer, RouteQuestion } from './ports.js';

/** What would become of such a call now; a text where the question makes no INVITE. */
export function explainInbound(
  snapshot: Snapshot,
  question: RouteQuestion,
  random: () => number,
): RouteAnswer | string {
  const to = uriOf(question.to);
  if (to === undefined) return 'to: is neither a number nor a SIP URI';
  const from = uriOf(question.from ?? 'anonymous');
  if (from === undefined) return 'from: is neither a number nor a SIP URI';
  const request = parseMessage(
    `INVITE ${to} SIP/2.0\r\nVia: SIP/2.0/UDP explain.invalid;branch=z9hG4bKexplain\r\nMax-Forwards: 70\r\n` +
      `From: <${from}>;tag=explain\r\nTo: <${to}>\r\nCall-ID: explain\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n`,
  );
  if (request.kind !== 'request') return 'to, from: make no INVITE';
  const { source, organizationId, username } = question;
  const part = organizationId === undefined ? snapshot : partOf(snapshot, organizationId);
  const proven = username === undefined ? null : (snapshot.trunkByAuthUser(username) ?? null);
  if (username !== undefined && (proven === null || part.trunk(proven.id) === undefined)) {
    return 'username: is in `inboundAuth` of no trunk';
  }
  const decision = routeInbound(part, request, { address: source, transport: 'udp' }, random, null, proven);
  const refused = decision.kind === 'refuse';
  return {
    direction: 'inbound',
    decision: decision.kind,
    status: refused ? decision.status : null,
    code: refused ? decision.code : null,
    trunkId: decision.trunk?.id ?? null,
    phoneNumberId: decision.number?.id ?? null,
    agentId: decision.agent?.id ?? null,
    did: refused ? null : printable(decision.did),
    endpoints: refused ? [] : decision.endpoints.map(({ uri }) => toText(uri)),
    explanation: decision.explanation,
  };
}

/** `sip:` and `tel:` URIs as they are, anything else as the user part of one. */
function uriOf(text: string): string | undefined {
  const octets = fromText(text.trim());
  if (!isSafeValue(octets) || octets === '') return undefined;
  const uri = /^(sips?|tel):/i.test(octets) ? octets : `sip:${escapeUser(toText(octets))}@explain.invalid`;
  return /[\s<>"]/.test(uri) || parseUri(uri) === undefined ? undefined : uri;
}

/**
 * What an organisation may see of the directory: its own. Calls for its numbers are decided by nothing else, since no other
 * organisation may have them for calls from the same addresses.
 */
function partOf(snapshot: Snapshot, organizationId: string): InboundDirectory {
  const own = <T extends { readonly organizationId: string }>(object: T | undefined): T | undefined =>
    object?.organizationId === organizationId ? object : undefined;
  const trunks = Array.from(snapshot.trunks()).filter((trunk) => own(trunk) !== undefined);
  return {
    trunkCount: trunks.length,
    trunks: () => trunks,
    openTrunks: snapshot.openTrunks.filter((trunk) => own(trunk) !== undefined),
    trunk: (id) => own(snapshot.trunk(id)),
    trunksBySource: (address) => snapshot.trunksBySource(address).filter((trunk) => own(trunk) !== undefined),
    plan: (trunkId) => snapshot.plan(trunkId),
    number: (trunkId, normalised) => own(snapshot.number(trunkId, normalised)),
    numberById: (id) => own(snapshot.numberById(id)),
    numbersAnywhere: (normalised) =>
      snapshot.numbersAnywhere(normalised).filter((number) => own(number) !== undefined),
    agent: (id) => own(snapshot.agent(id)),
    account: (agentId) => (own(snapshot.agent(agentId)) ? snapshot.account(agentId) : undefined),
  };
}
