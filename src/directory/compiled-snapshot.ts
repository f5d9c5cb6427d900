/** The snapshot: maps for every question, filled by `draft.ts` and only read from then on. */
import { BoundedMap } from '#lib/bounded-map.js';
import type { AgentAccount } from './account.js';
import type { Agent } from './agent.js';
import type { AgentSources } from './agent-sources.js';
import type { CidrTable } from './cidr.js';
import { type CpsLine, cpsLineKey } from './cps-line.js';
import type { PhoneNumber } from './number.js';
import { matchKey, type NumberPlan } from './number-format.js';
import { type Organization, undescribed } from './organization.js';
import type { Snapshot } from './snapshot.js';
import type { Trunk } from './trunk.js';

export interface TrunkEntry {
  readonly trunk: Trunk;
  readonly plan: NumberPlan;
  /** By `matchKey`. */
  readonly numbers: ReadonlyMap<string, PhoneNumber>;
}

/** Who has a user of an `inboundAuth`. */
export interface AuthUser {
  readonly kind: 'agent' | 'trunk';
  readonly id: string;
}

export interface SnapshotParts {
  readonly organizations: ReadonlyMap<string, Organization>;
  readonly trunks: ReadonlyMap<string, TrunkEntry>;
  /** Ids of trunks by organisation, for questions about who owns a number. */
  readonly trunksOf: ReadonlyMap<string, readonly string[]>;
  readonly sources: CidrTable<Trunk>;
  /** Those that take calls from any address, by user and password. */
  readonly openTrunks: readonly Trunk[];
  readonly cpsLines: ReadonlyMap<string, CpsLine>;
  readonly numbers: ReadonlyMap<string, PhoneNumber>;
  /** Those with `registration`: few among many, perhaps, and asked for after every edit. */
  readonly registering: ReadonlyMap<string, PhoneNumber>;
  readonly agents: ReadonlyMap<string, Agent>;
  readonly agentSources: AgentSources;
  /** Who has which user of an `inboundAuth`. */
  readonly authUsers: ReadonlyMap<string, AuthUser>;
  readonly accounts: ReadonlyMap<string, AgentAccount>;
}

/** Addresses whose trunks are remembered. Only known ones are kept, so strangers cannot push them out. */
const SOURCE_CACHE_LIMIT = 10_000;

const NO_TRUNKS: readonly Trunk[] = [];

export class CompiledSnapshot implements Snapshot {
  readonly version: number;
  readonly trunkCount: number;
  readonly numberCount: number;
  readonly agentCount: number;
  /** What the next snapshot is made of; nobody changes it. */
  readonly parts: SnapshotParts;
  readonly #trunks: ReadonlyMap<string, TrunkEntry>;
  readonly #sources: CidrTable<Trunk>;
  readonly #numbers: ReadonlyMap<string, PhoneNumber>;
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #accounts: ReadonlyMap<string, AgentAccount>;
  readonly #organizations: ReadonlyMap<string, Organization>;
  readonly #trunksOf: ReadonlyMap<string, readonly string[]>;
  readonly #agentSources: AgentSources;
  readonly #authUsers: ReadonlyMap<string, AuthUser>;
  readonly openTrunks: readonly Trunk[];
  readonly hasAuthUsers: boolean;
  readonly #cpsLines: ReadonlyMap<string, CpsLine>;
  readonly #sourceCache = new BoundedMap<string, readonly Trunk[]>(SOURCE_CACHE_LIMIT);

  constructor(version: number, parts: SnapshotParts) {
    this.version = version;
    this.parts = parts;
    this.#trunks = parts.trunks;
    this.#sources = parts.sources;
    this.#numbers = parts.numbers;
    this.#agents = parts.agents;
    this.#accounts = parts.accounts;
    this.#organizations = parts.organizations;
    this.#trunksOf = parts.trunksOf;
    this.#agentSources = parts.agentSources;
    this.#authUsers = parts.authUsers;
    this.openTrunks = parts.openTrunks;
    this.hasAuthUsers = parts.openTrunks.length > 0 || hasAgent(parts.authUsers);
    this.#cpsLines = parts.cpsLines;
    this.trunkCount = parts.trunks.size;
    this.numberCount = parts.numbers.size;
    this.agentCount = parts.agents.size;
  }

  trunk(id: string): Trunk | undefined {
    return this.#trunks.get(id)?.trunk;
  }

  *trunks(): Iterable<Trunk> {
    for (const entry of this.#trunks.values()) yield entry.trunk;
  }

  trunksBySource(address: string): readonly Trunk[] {
    const cached = this.#sourceCache.get(address);
    if (cached !== undefined) return cached;
    const found = this.#sources.find(address);
    if (found.length === 0) return NO_TRUNKS;
    this.#sourceCache.set(address, found);
    return found;
  }

  isKnownSource(address: string): boolean {
    return this.trunksBySource(address).length > 0 || this.#agentSources.find(address).length > 0;
  }

  plan(trunkId: string): NumberPlan | undefined {
    return this.#trunks.get(trunkId)?.plan;
  }

  number(trunkId: string, normalised: string): PhoneNumber | undefined {
    return this.#trunks.get(trunkId)?.numbers.get(matchKey(normalised));
  }

  numberById(id: string): PhoneNumber | undefined {
    return this.#numbers.get(id);
  }

  numbersAnywhere(normalised: string): readonly PhoneNumber[] {
    const key = matchKey(normalised);
    const found: PhoneNumber[] = [];
    for (const entry of this.#trunks.values()) {
      const number = entry.numbers.get(key);
      if (number !== undefined) found.push(number);
    }
    return found;
  }

  ownedNumbers(organizationId: string, text: string): readonly PhoneNumber[] {
    const found: PhoneNumber[] = [];
    for (const id of this.#trunksOf.get(organizationId) ?? []) {
      const entry = this.#trunks.get(id);
      const number = entry?.numbers.get(matchKey(entry.plan.normalise(text)));
      if (number !== undefined) found.push(number);
    }
    return found;
  }

  numbers(): Iterable<PhoneNumber> {
    return this.#numbers.values();
  }

  registeringNumbers(): Iterable<PhoneNumber> {
    return this.parts.registering.values();
  }

  agent(id: string): Agent | undefined {
    return this.#agents.get(id);
  }

  agentsBySource(address: string, port?: number): readonly Agent[] {
    return this.#agentSources.find(address, port);
  }

  agentByAuthUser(username: string): Agent | undefined {
    const owner = this.#authUsers.get(username);
    return owner?.kind === 'agent' ? this.#agents.get(owner.id) : undefined;
  }

  trunkByAuthUser(username: string): Trunk | undefined {
    const owner = this.#authUsers.get(username);
    return owner?.kind === 'trunk' ? this.trunk(owner.id) : undefined;
  }

  organization(id: string): Organization {
    return this.#organizations.get(id) ?? undescribed(id);
  }

  organizations(): Iterable<Organization> {
    return this.#organizations.values();
  }

  cpsLine(organizationId: string, cpsKey: string): CpsLine | undefined {
    return this.#cpsLines.get(cpsLineKey(organizationId, cpsKey));
  }

  cpsLines(): Iterable<CpsLine> {
    return this.#cpsLines.values();
  }

  account(agentId: string): AgentAccount | undefined {
    return this.#accounts.get(agentId);
  }

  agents(): Iterable<Agent> {
    return this.#agents.values();
  }
}

function hasAgent(users: ReadonlyMap<string, AuthUser>): boolean {
  for (const { kind } of users.values()) if (kind === 'agent') return true;
  return false;
}
