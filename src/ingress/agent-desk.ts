/**
 * Which agent an INVITE comes from, when it is no provider's. An agent is known by where it calls from, or by user and
 * password (`inboundAuth`), which it then must show wherever it calls from.
 */
import type { Agent } from '#directory/agent.js';
import { overlap, parseCidr } from '#directory/cidr.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Trunk } from '#directory/trunk.js';
import type { Source } from '#engine/engine.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest } from '#sip/message.js';
import { fromText, type Octets } from '#sip/octets.js';
import { parseUri, unescapeUser } from '#sip/uri.js';
import type { Login } from './logins.js';

export type Identity =
  | { readonly kind: 'agent'; readonly agent: Agent }
  | { readonly kind: 'challenge'; readonly stale: boolean }
  | {
      readonly kind: 'refuse';
      readonly code: ReasonCode;
      readonly detail: string;
      /** Whose call it would have been. */
      readonly trunk?: Trunk | undefined;
      readonly agent?: Agent | undefined;
    }
  /** No agent: the caller is whoever was found before. */
  | { readonly kind: 'nobody' };

type Known = Pick<Snapshot, 'agentsBySource' | 'hasAuthUsers' | 'trunksBySource'>;

const NOBODY: Identity = { kind: 'nobody' };

/**
 * @param stranger no trunk calls from there. Where one does, an agent must call from the very port of its endpoint, or
 * show user and password: else a number that the trunk does not have would be called at the agent's expense. And where
 * that trunk is another organisation's, only user and password will do: else an agent would be handed what others' callers
 * dialled wrongly.
 */
export function identifyAgent(
  snapshot: Known,
  login: Exclude<Login, { readonly kind: 'trunk' }>,
  request: SipRequest,
  { address, port }: Pick<Source, 'address' | 'port'>,
  stranger: boolean,
): Identity {
  switch (login.kind) {
    case 'agent':
      return login;
    case 'stale':
      return { kind: 'challenge', stale: true };
    case 'wrong': {
      const { detail, trunk, agent } = login;
      return { kind: 'refuse', code: 'caller_credentials_wrong', detail, trunk, agent };
    }
    case 'none':
  }
  const around = snapshot.agentsBySource(address, port);
  const agents = stranger
    ? around
    : around.filter(
        (agent) =>
          answersAt(agent, address, port) &&
          (agent.inboundAuth !== undefined || ofOne([agent, ...snapshot.trunksBySource(address)])),
      );
  const alone = agents.filter(({ inboundAuth }) => inboundAuth === undefined);
  const trusted = ofOne(alone) ? alone : claimants(alone, address, port);
  if (trusted.length === 0 && alone.length > 0 && !snapshot.hasAuthUsers) {
    const detail = `agents of several organisations are known by ${address}, which says nothing then`;
    return { kind: 'refuse', code: 'agent_ambiguous', detail };
  }
  if (trusted.length === 0) {
    // Nobody is known from there, or those who are must show a password.
    return agents.length > 0 || (stranger && snapshot.hasAuthUsers)
      ? { kind: 'challenge', stale: false }
      : NOBODY;
  }
  if (trusted.length === 1) return { kind: 'agent', agent: trusted[0]! };
  const user = userOf(request.from.uri);
  const named = trusted.filter(
    ({ id, endpoints }) => id === user || endpoints.some(({ uri }) => userOf(fromText(uri)) === user),
  );
  if (named.length === 1) return { kind: 'agent', agent: named[0]! };
  return {
    kind: 'refuse',
    code: 'agent_ambiguous',
    detail: `${trusted.length} agents call from ${address}:${port}, and From names none of them: ${ids(trusted)}`,
  };
}

function ofOne(owned: readonly { readonly organizationId: string }[]): boolean {
  return owned.every(({ organizationId }) => organizationId === owned[0]!.organizationId);
}

/**
 * Where several organisations' agents are at an address, those who say that they call from there: of one organisation, or
 * nobody. An endpoint says only where an agent is called. The configuration file goes before what the API wrote.
 */
function claimants(agents: readonly Agent[], address: string, port: number): readonly Agent[] {
  const place = parseCidr(address);
  if (typeof place === 'string') return [];
  const all = agents.filter(({ allowedAddresses }) => allowedAddresses.some((cidr) => overlap(cidr, place)));
  const config = all.filter(({ source }) => source === 'config');
  const found = config.length > 0 ? config : all;
  if (!ofOne(found)) return [];
  const exact = found.filter((agent) => answersAt(agent, address, port));
  return exact.length > 0 ? exact : found;
}

function answersAt({ endpoints }: Agent, address: string, port: number): boolean {
  return endpoints.some((endpoint) => {
    const uri = parseUri(fromText(endpoint.uri));
    return uri?.host === address && (uri.port ?? 5060) === port;
  });
}

const IDS_SHOWN = 5;

function ids(agents: readonly Agent[]): string {
  const shown = agents.slice(0, IDS_SHOWN).map(({ id }) => id);
  return agents.length > IDS_SHOWN ? `${shown.join(', ')}…` : shown.join(', ');
}

/** Empty for a URI without one. */
function userOf(uri: Octets): string {
  return unescapeUser(parseUri(uri)?.user ?? '');
}
