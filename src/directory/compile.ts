/**
 * Compiles trunks, numbers and agents into a snapshot, or says everything that is wrong with them together.
 *
 * What is refused is what would make a call's way a matter of luck: an id twice; a number twice on one trunk in any
 * spelling; the same number on two trunks that share exactly the same CIDR block (where blocks merely overlap, the
 * more specific one decides, so that stays legal); a reference to nothing.
 */
import { BoundedMap } from '#lib/bounded-map.js';
import { closest } from '#lib/closest.js';
import { type AgentAccount, accountOf } from './account.js';
import type { Agent } from './agent.js';
import { AgentSources } from './agent-sources.js';
import { CidrTable } from './cidr.js';
import { type CpsLine, cpsLineKey, cpsLinesOf } from './cps-line.js';
import type { PhoneNumber } from './number.js';
import { matchKey, NumberPlan } from './number-format.js';
import { type Organization, undescribed } from './organization.js';
import type { Snapshot } from './snapshot.js';
import type { Trunk } from './trunk.js';

/** A number as written; its normal form depends on its trunk. */
export type NumberInput = Omit<PhoneNumber, 'normalised'>;

export interface DirectoryInput {
  readonly trunks: readonly Trunk[];
  readonly numbers: readonly NumberInput[];
  /** Those that have bounds or a name; others need not be described. Default none. */
  readonly organizations?: readonly Organization[] | undefined;
  /**
   * `outboundNumberId` and `fallbackNumberIds` may be a number's id or the number itself, in any spelling that its
   * trunk understands.
   */
  readonly agents: readonly Agent[];
  /** Header fields that the accounts of agents relay; trunks bring theirs. Default none. */
  readonly relayHeaders?: readonly string[] | undefined;
}

export interface DirectoryFault {
  /** Collection (an API name), index in the input, field. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly hint: string | undefined;
}

export type Compiled =
  | { readonly kind: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly kind: 'faults'; readonly faults: readonly DirectoryFault[] };

export function compileSnapshot(input: DirectoryInput, version: number): Compiled {
  const compiler = new Compiler();
  compiler.addOrganizations(input.organizations ?? []);
  compiler.addTrunks(input.trunks);
  compiler.addNumbers(input.numbers, input.agents);
  compiler.addAgents(input.agents, input.relayHeaders ?? []);
  compiler.checkSharedBlocks();
  if (compiler.faults.length > 0) return { kind: 'faults', faults: compiler.faults };
  return { kind: 'snapshot', snapshot: new CompiledSnapshot(version, compiler) };
}

/** Knows nothing; what a gateway has before its first configuration. */
export function emptySnapshot(): Snapshot {
  return new CompiledSnapshot(0, new Compiler());
}

interface TrunkEntry {
  readonly trunk: Trunk;
  readonly plan: NumberPlan;
  /** By `matchKey`. */
  readonly numbers: Map<string, PhoneNumber>;
}

class Compiler {
  readonly organizations = new Map<string, Organization>();
  readonly trunks = new Map<string, TrunkEntry>();
  readonly sources = new CidrTable<Trunk>();
  readonly numbers = new Map<string, PhoneNumber>();
  /** By organisation, for questions about who owns a number. */
  readonly trunksOf = new Map<string, TrunkEntry[]>();
  readonly agents = new Map<string, Agent>();
  readonly agentSources = new AgentSources();
  readonly agentsByAuthUser = new Map<string, Agent>();
  readonly accounts = new Map<string, AgentAccount>();
  readonly faults: DirectoryFault[] = [];
  readonly #plans = new Map<string, NumberPlan>();
  /** Where each number stands in the input, for faults. */
  readonly #numberIndex = new Map<PhoneNumber, number>();

  addOrganizations(organizations: readonly Organization[]): void {
    for (const [index, organization] of organizations.entries()) {
      if (this.organizations.has(organization.id)) {
        this.#duplicateId('organizations', index, organization.id);
      } else this.organizations.set(organization.id, organization);
    }
  }

  addTrunks(trunks: readonly Trunk[]): void {
    for (const [index, trunk] of trunks.entries()) {
      if (this.trunks.has(trunk.id)) {
        this.#duplicateId('sipCredentials', index, trunk.id);
        continue;
      }
      const entry = { trunk, plan: this.#plan(trunk.country), numbers: new Map() };
      this.trunks.set(trunk.id, entry);
      const owned = this.trunksOf.get(trunk.organizationId);
      if (owned === undefined) this.trunksOf.set(trunk.organizationId, [entry]);
      else owned.push(entry);
      for (const cidr of trunk.allowedAddresses) this.sources.add(cidr, trunk);
    }
  }

  addNumbers(numbers: readonly NumberInput[], agents: readonly Agent[]): void {
    const agentOwners = new Map(agents.map((agent) => [agent.id, agent.organizationId]));
    for (const [index, input] of numbers.entries()) {
      const fault = (field: string, message: string, hint?: string) =>
        this.faults.push({ path: ['phoneNumbers', index, field], message, hint });
      const { inboundAgentId, transferTrunkId } = input;
      const { organizationId } = input;
      if (inboundAgentId !== undefined && agentOwners.get(inboundAgentId) !== organizationId) {
        const known = ownIds(agents, organizationId);
        fault('inboundAgentId', `names no agent: ${inboundAgentId}`, suggest(inboundAgentId, known));
      }
      if (transferTrunkId !== undefined && this.#ownTrunk(transferTrunkId, organizationId) === undefined) {
        const hint = this.#suggestTrunk(transferTrunkId, organizationId);
        fault('transferTrunkId', `names no trunk: ${transferTrunkId}`, hint);
      }
      const entry = this.#ownTrunk(input.credentialsId, organizationId);
      if (entry === undefined) {
        const hint = this.#suggestTrunk(input.credentialsId, organizationId);
        fault('credentialsId', `names no trunk: ${input.credentialsId}`, hint);
        continue;
      }
      const normalised = entry.plan.normalise(input.phoneNumber);
      const number: PhoneNumber = {
        id: input.id,
        organizationId: input.organizationId,
        source: input.source,
        phoneNumber: input.phoneNumber,
        normalised,
        credentialsId: input.credentialsId,
        inboundAgentId: input.inboundAgentId,
        transferTrunkId: input.transferTrunkId,
        displayName: input.displayName,
        description: input.description,
        registration: input.registration,
      };
      const key = matchKey(normalised);
      const twin = entry.numbers.get(key);
      if (twin !== undefined) {
        fault(
          'phoneNumber',
          `is on trunk ${entry.trunk.id} already: ${input.phoneNumber} and ${twin.phoneNumber} are one number`,
          'remove one of the two',
        );
        continue;
      }
      if (this.numbers.has(number.id)) {
        this.#duplicateId(
          'phoneNumbers',
          index,
          number.id,
          'the id of a number is the number itself unless `id` is given: give this one an `id`',
        );
        continue;
      }
      entry.numbers.set(key, number);
      this.numbers.set(number.id, number);
      this.#numberIndex.set(number, index);
    }
  }

  addAgents(agents: readonly Agent[], relayHeaders: readonly string[]): void {
    for (const [index, agent] of agents.entries()) {
      if (this.agents.has(agent.id)) {
        this.#duplicateId('agents', index, agent.id);
        continue;
      }
      const endpoints = agent.endpoints.toSorted((a, b) => a.priority - b.priority);
      const path = ['agents', index];
      const compiled: Agent = {
        ...agent,
        endpoints,
        outboundNumberId:
          agent.outboundNumberId === undefined
            ? undefined
            : this.#numberNamed(agent.outboundNumberId, agent.organizationId, [...path, 'outboundNumberId']),
        fallbackNumberIds: this.#fallbackNumbers(agent, [...path, 'fallbackNumberIds']),
      };
      this.agents.set(agent.id, compiled);
      this.agentSources.add(compiled);
      this.#addAuthUser(compiled, index);
      if (agent.sipRegistration !== undefined) {
        this.accounts.set(agent.id, accountOf(agent, agent.sipRegistration, relayHeaders));
      }
    }
  }

  /**
   * Trunks with the same block are told apart by the number alone, so they may not share one. How two countries
   * read a number without `+` cannot be compared beforehand: there the trunk that comes first wins.
   */
  checkSharedBlocks(): void {
    const checked = new Set<string>();
    for (const { text, values } of this.sources.blocks()) {
      if (values.length < 2) continue;
      const signature = values.map((trunk) => trunk.id).join('\n');
      if (checked.has(signature)) continue;
      checked.add(signature);
      const owners = new Map<string, PhoneNumber>();
      for (const trunk of values) {
        for (const [key, number] of this.trunks.get(trunk.id)?.numbers ?? []) {
          const owner = owners.get(key);
          if (owner === undefined) owners.set(key, number);
          else this.#ambiguous(number, owner, text);
        }
      }
    }
  }

  #ambiguous(number: PhoneNumber, owner: PhoneNumber, block: string): void {
    this.faults.push({
      path: ['phoneNumbers', this.#numberIndex.get(number) ?? 0, 'phoneNumber'],
      message:
        `${number.phoneNumber} is on trunk ${owner.credentialsId} and on trunk ${number.credentialsId}, ` +
        `and both take calls from ${block}: no call could be told apart`,
      hint: 'narrow `allowedAddresses` of one trunk, or keep the number on one of them',
    });
  }

  #addAuthUser(agent: Agent, index: number): void {
    const username = agent.inboundAuth?.username;
    if (username === undefined) return;
    const other = this.agentsByAuthUser.get(username);
    if (other === undefined) this.agentsByAuthUser.set(username, agent);
    else {
      this.faults.push({
        path: ['agents', index, 'inboundAuth', 'username'],
        message: `is taken already: ${username}`,
        hint: 'users of agents must differ, or a call could not be told whose it is',
      });
    }
  }

  #fallbackNumbers(agent: Agent, path: readonly (string | number)[]): readonly string[] {
    const ids = agent.fallbackNumberIds.map((wanted, index) =>
      this.#numberNamed(wanted, agent.organizationId, [...path, index]),
    );
    return ids.filter((id) => id !== undefined);
  }

  /** The id of the number that an id, or a number in some spelling, names in an organisation. */
  #numberNamed(
    wanted: string,
    organizationId: string,
    path: readonly (string | number)[],
  ): string | undefined {
    if (this.numbers.get(wanted)?.organizationId === organizationId) return wanted;
    const found: PhoneNumber[] = [];
    for (const { plan, numbers } of this.trunksOf.get(organizationId) ?? []) {
      const number = numbers.get(matchKey(plan.normalise(wanted)));
      if (number !== undefined) found.push(number);
    }
    if (found.length === 1) return found[0]!.id;
    this.faults.push({
      path,
      message:
        found.length === 0
          ? `names no phone number: ${wanted}`
          : `names ${found.length} phone numbers: ${wanted}`,
      hint:
        found.length === 0
          ? suggest(wanted, ownIds(this.numbers.values(), organizationId))
          : `give one of the ids: ${found.map((number) => number.id).join(', ')}`,
    });
    return undefined;
  }

  #ownTrunk(id: string, organizationId: string): TrunkEntry | undefined {
    const entry = this.trunks.get(id);
    return entry?.trunk.organizationId === organizationId ? entry : undefined;
  }

  #suggestTrunk(wanted: string, organizationId: string): string | undefined {
    const trunks = Array.from(this.trunks.values(), ({ trunk }) => trunk);
    return suggest(wanted, ownIds(trunks, organizationId));
  }

  #duplicateId(collection: string, index: number, id: string, hint = 'ids must differ: rename one'): void {
    this.faults.push({ path: [collection, index, 'id'], message: `is taken already: ${id}`, hint });
  }

  /** One per country, so that trunks share its cache. */
  #plan(country: string | undefined): NumberPlan {
    const key = country ?? '';
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = new NumberPlan(country);
      this.#plans.set(key, plan);
    }
    return plan;
  }
}

/** Addresses whose trunks are remembered. Only known ones are kept, so strangers cannot push them out. */
const SOURCE_CACHE_LIMIT = 10_000;

const NO_TRUNKS: readonly Trunk[] = [];

class CompiledSnapshot implements Snapshot {
  readonly version: number;
  readonly trunkCount: number;
  readonly numberCount: number;
  readonly agentCount: number;
  readonly #trunks: ReadonlyMap<string, TrunkEntry>;
  readonly #sources: CidrTable<Trunk>;
  readonly #numbers: ReadonlyMap<string, PhoneNumber>;
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #accounts: ReadonlyMap<string, AgentAccount>;
  readonly #organizations: ReadonlyMap<string, Organization>;
  readonly #trunksOf: ReadonlyMap<string, readonly TrunkEntry[]>;
  readonly #agentSources: AgentSources;
  readonly #agentsByAuthUser: ReadonlyMap<string, Agent>;
  readonly #cpsLines: ReadonlyMap<string, CpsLine>;
  readonly #sourceCache = new BoundedMap<string, readonly Trunk[]>(SOURCE_CACHE_LIMIT);

  constructor(version: number, parts: Compiler) {
    this.version = version;
    this.#trunks = parts.trunks;
    this.#sources = parts.sources;
    this.#numbers = parts.numbers;
    this.#agents = parts.agents;
    this.#accounts = parts.accounts;
    this.#organizations = parts.organizations;
    this.#trunksOf = parts.trunksOf;
    this.#agentSources = parts.agentSources;
    this.#agentsByAuthUser = parts.agentsByAuthUser;
    this.#cpsLines = cpsLinesOf(trunksIn(parts.trunks));
    this.trunkCount = parts.trunks.size;
    this.numberCount = parts.numbers.size;
    this.agentCount = parts.agents.size;
  }

  trunk(id: string): Trunk | undefined {
    return this.#trunks.get(id)?.trunk;
  }

  trunks(): Iterable<Trunk> {
    return trunksIn(this.#trunks);
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
    for (const { plan, numbers } of this.#trunksOf.get(organizationId) ?? []) {
      const number = numbers.get(matchKey(plan.normalise(text)));
      if (number !== undefined) found.push(number);
    }
    return found;
  }

  numbers(): Iterable<PhoneNumber> {
    return this.#numbers.values();
  }

  agent(id: string): Agent | undefined {
    return this.#agents.get(id);
  }

  agentsBySource(address: string, port?: number): readonly Agent[] {
    return this.#agentSources.find(address, port);
  }

  agentByAuthUser(username: string): Agent | undefined {
    return this.#agentsByAuthUser.get(username);
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

function* trunksIn(entries: ReadonlyMap<string, TrunkEntry>): Iterable<Trunk> {
  for (const entry of entries.values()) yield entry.trunk;
}

function* ownIds(
  objects: Iterable<{ readonly id: string; readonly organizationId: string }>,
  organizationId: string,
): Iterable<string> {
  for (const object of objects) if (object.organizationId === organizationId) yield object.id;
}

function suggest(wanted: string, known: Iterable<string>): string | undefined {
  const nearest = closest(wanted, known);
  return nearest === undefined ? undefined : `did you mean ${nearest}?`;
}
