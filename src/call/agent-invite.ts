/** The INVITE to an agent's endpoint, made from the caller's (RFC 3261 §8.1.1, as a new request of ours). */

import type { Agent } from '#directory/agent.js';
import type { OutgoingInviteOptions } from '#engine/engine.js';
import { isSafeValue, isToken } from '#sip/fields.js';
import type { HeaderField } from '#sip/message.js';
import { formatNameAddr } from '#sip/name-addr.js';
import { fromText, type Octets } from '#sip/octets.js';
import { escapeUser, formatUri, hostPort, parseUri, type SipUri } from '#sip/uri.js';
import type { InviteDraft } from './callee.js';
import { allowFor, ExtraHeaders, INVITE, relayed, requireFor, supportedFor } from './header-policy.js';

/** An endpoint's URI, taken apart. */
export interface EndpointAddress {
  readonly uri: SipUri;
  /** As Request-URI: without what a Request-URI may not have (§19.1.1 table 1: `method`, `?headers`). */
  readonly requestUri: Octets;
  /** `host:port` for To. */
  readonly host: Octets;
}

const ADDRESS_MEMO_LIMIT = 10_000;
const addresses = new Map<string, EndpointAddress | null>();

/** Null when the URI is not a SIP one; the directory should not hold any such. */
export function endpointAddress(endpoint: string): EndpointAddress | null {
  const known = addresses.get(endpoint);
  if (known !== undefined) return known;
  if (addresses.size >= ADDRESS_MEMO_LIMIT) addresses.clear();
  const address = takeApart(fromText(endpoint));
  addresses.set(endpoint, address);
  return address;
}

function takeApart(text: Octets): EndpointAddress | null {
  const uri = parseUri(text);
  if (uri === undefined || (uri.scheme !== 'sip' && uri.scheme !== 'sips') || uri.host === '') return null;
  const params = new Map(uri.params);
  params.delete('method');
  return {
    uri,
    requestUri: formatUri({ ...uri, params, headers: undefined }),
    host: hostPort(uri.host, uri.port),
  };
}

interface AgentHeaders {
  readonly fields: readonly HeaderField[];
  /** Canonical keys, so that the caller's fields of these names stay behind. */
  readonly keys: ReadonlySet<string>;
}

const agentHeaders = new WeakMap<Agent, AgentHeaders>();

function headersOf(agent: Agent): AgentHeaders {
  const known = agentHeaders.get(agent);
  if (known !== undefined) return known;
  const fields: HeaderField[] = [];
  for (const [name, text] of agent.headers) {
    const value = fromText(text);
    if (isToken(name) && isSafeValue(value)) fields.push({ name, value });
  }
  const made = { fields, keys: new Set(fields.map(({ name }) => name.toLowerCase())) };
  agentHeaders.set(agent, made);
  return made;
}

const extraHeaders = new WeakMap<readonly string[], ExtraHeaders>();

function extraOf(patterns: readonly string[]): ExtraHeaders | null {
  if (patterns.length === 0) return null;
  let extra = extraHeaders.get(patterns);
  if (extra === undefined) {
    extra = new ExtraHeaders(patterns);
    extraHeaders.set(patterns, extra);
  }
  return extra;
}

export interface AgentInviteInput {
  readonly draft: InviteDraft;
  readonly trunkId: string;
  readonly relayHeaders: readonly string[];
  readonly agent: Agent;
  readonly did: string;
  readonly address: EndpointAddress;
}

const ANONYMOUS = '<sip:anonymous@anonymous.invalid>';

/**
 * Request-URI: the endpoint's. From: the caller's name and URI as the trunk gave them, so that the agent sees who
 * calls. To: the number dialled, at the endpoint's host, so that an agent behind several numbers sees which.
 */
export function agentInvite(input: AgentInviteInput): OutgoingInviteOptions {
  const { agent, address, draft } = input;
  const { request } = draft;
  const own = headersOf(agent);
  const headers: HeaderField[] = [];
  relayed(request, INVITE, headers, extraOf(input.relayHeaders), own.keys.size === 0 ? null : own.keys);
  headers.push({ name: 'Allow', value: allowFor(request.headers, draft.refers) });
  const supported = supportedFor(request.headers, draft.reliable);
  if (supported !== '') headers.push({ name: 'Supported', value: supported });
  const required = requireFor(request.headers);
  if (required !== '') headers.push({ name: 'Require', value: required });
  headers.push({ name: 'X-Trunkline-Call-Id', value: draft.callId });
  if (isSafeValue(request.callId))
    headers.push({ name: 'X-Trunkline-Inbound-Call-Id', value: request.callId });
  const did = fromText(input.did);
  if (isSafeValue(did)) headers.push({ name: 'X-Trunkline-DID', value: did });
  headers.push({ name: 'X-Trunkline-Trunk-Id', value: fromText(input.trunkId) });
  for (const field of own.fields) headers.push(field);
  const from = formatNameAddr({ displayName: request.from.displayName, uri: request.from.uri });
  return {
    uri: address.requestUri,
    target: draft.target,
    from: isSafeValue(from) ? from : ANONYMOUS,
    to: `<sip:${escapeUser(input.did)}@${address.host}>`,
    // §16.6 step 3, which a B2BUA needs as much as a proxy: without it two gateways pass a call round for ever.
    maxForwards: Math.min(request.maxForwards - 1, draft.maxForwards),
    headers,
    body: request.body === '' ? undefined : request.body,
    timeoutMs: draft.timeoutMs,
  };
}
