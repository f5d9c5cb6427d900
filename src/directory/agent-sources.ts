/** Which agents call from an address: by the addresses among their endpoints, and by `allowedAddresses`. */
import { fromText } from '#sip/octets.js';
import { hostPort, parseUri } from '#sip/uri.js';
import type { Agent } from './agent.js';
import { addressKey, CidrTable, formatKey, parseCidr } from './cidr.js';

const NONE: readonly Agent[] = [];
const DEFAULT_PORT = 5060;
const DEFAULT_TLS_PORT = 5061;

/** Filled once, then only read. */
export class AgentSources {
  readonly #blocks = new CidrTable<Agent>();
  /** By `address:port`. Many agents may share one. */
  readonly #exact = new Map<string, Agent[]>();

  add(agent: Agent): void {
    for (const cidr of agent.allowedAddresses) this.#blocks.add(cidr, agent);
    for (const { uri: text } of agent.endpoints) {
      const uri = parseUri(fromText(text));
      // A name says nothing here: what it means is found out when it is called.
      const cidr = uri === undefined ? 'no URI' : parseCidr(uri.host);
      if (uri === undefined || typeof cidr === 'string') continue;
      this.#blocks.add(cidr, agent);
      const tls = uri.scheme === 'sips' || uri.params.get('transport')?.toLowerCase() === 'tls';
      const key = placeOf(cidr.key, uri.port ?? (tls ? DEFAULT_TLS_PORT : DEFAULT_PORT));
      const known = this.#exact.get(key);
      if (known === undefined) this.#exact.set(key, [agent]);
      else if (known.at(-1) !== agent) known.push(agent);
    }
  }

  /**
   * Those with an endpoint at just this address and port, if any; else all of the address, most specific block first.
   * Where agents of several organisations are at the address, all of them: an endpoint that one names, port and all,
   * must not make it another's calls.
   */
  find(address: string, port?: number): readonly Agent[] {
    const found = this.#blocks.find(address);
    const owner = found[0]?.organizationId;
    if (port !== undefined && found.every(({ organizationId }) => organizationId === owner)) {
      const key = addressKey(address);
      const exact = key === undefined ? undefined : this.#exact.get(placeOf(key, port));
      if (exact !== undefined) return exact;
    }
    return found.length === 0 ? NONE : found;
  }
}

function placeOf(key: number | string, port: number): string {
  return hostPort(formatKey(key), port);
}
