/**
 * Addresses that one organisation's agents call from by nothing but their address. Another organisation's trunk must not
 * take calls from there (it would get what those agents dial), nor another's agent claim to call from there.
 *
 * Places are the `allowedAddresses` of agents without `inboundAuth`, and the addresses of their endpoints if they may call
 * out at all. An endpoint alone claims nothing: many organisations may be answered by one platform.
 */
import { fromText } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';
import type { Agent } from './agent.js';
import { type Cidr, overlap, parseCidr } from './cidr.js';

export class TakenPlaces {
  readonly #byOrganization = new Map<string, Cidr[]>();

  constructor(agents: Iterable<Agent>) {
    for (const agent of agents) {
      const places = placesOf(agent);
      if (places.length === 0) continue;
      const known = this.#byOrganization.get(agent.organizationId);
      if (known === undefined) this.#byOrganization.set(agent.organizationId, places);
      else known.push(...places);
    }
  }

  /** The first of these blocks from which another organisation's agents call. */
  taken({
    organizationId,
    allowedAddresses,
  }: Pick<Agent, 'organizationId' | 'allowedAddresses'>): Cidr | undefined {
    for (const [owner, places] of this.#byOrganization) {
      if (owner === organizationId) continue;
      const found = allowedAddresses.find((mine) => places.some((place) => overlap(mine, place)));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** What an agent says about where it calls from, with nothing else to show; empty: nothing. */
export function claimsOf({ inboundAuth, allowedAddresses }: Agent): readonly Cidr[] {
  return inboundAuth === undefined ? allowedAddresses : [];
}

function placesOf(agent: Agent): Cidr[] {
  const places = [...claimsOf(agent)];
  const { inboundAuth, outboundNumberId, sipRegistration, endpoints } = agent;
  if (inboundAuth !== undefined || (outboundNumberId ?? sipRegistration) === undefined) return places;
  for (const { uri: text } of endpoints) {
    const uri = parseUri(fromText(text));
    const cidr = uri === undefined ? 'no URI' : parseCidr(uri.host);
    if (typeof cidr !== 'string') places.push(cidr);
  }
  return places;
}
