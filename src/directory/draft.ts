/**
 * The next snapshot while it is made: what is put in and taken out of the one before, with a complaint about
 * everything that would make a call's way a matter of luck. An id twice; a number twice on one trunk in any spelling;
 * the same number on two trunks of one organisation that share exactly the same CIDR block (where blocks merely overlap,
 * the more specific one decides, so that stays legal); the same number on trunks of two organisations whose blocks overlap
 * at all; an address that another organisation's agents call from; a reference to nothing, or to another organisation's.
 *
 * Maps are copied when they are first changed, so that a draft costs what it changes and the snapshot before stays as
 * it is. A draft with complaints is thrown away by those who want all or nothing.
 *
 * Order: take out what goes, then put trunks, agents, numbers, then `link`.
 */
import { closest } from '#lib/closest.js';
import { type AgentAccount, accountOf } from './account.js';
import type { Agent } from './agent.js';
import { AgentSources } from './agent-sources.js';
import { type Cidr, CidrTable } from './cidr.js';
import { type AuthUser, CompiledSnapshot, type SnapshotParts, type TrunkEntry } from './compiled-snapshot.js';
import { type ChangeableMap, CopiedMap, changeable, settled } from './copied-map.js';
import { cpsLinesOf } from './cps-line.js';
import type { PhoneNumber } from './number.js';
import { matchKey, NumberPlan } from './number-format.js';
import type { Organization } from './organization.js';
import { SharedBlocks } from './shared-blocks.js';
import { contested, takenNumbers } from './taken-numbers.js';
import { claimsOf, TakenPlaces } from './taken-places.js';
import { type InboundAuth, isOpen, type Trunk } from './trunk.js';

/** A number as written; its normal form depends on its trunk. */
export type NumberInput = Omit<PhoneNumber, 'normalised'>;

export interface Complaint {
  /** `['inboundAuth', 'username']`. */
  readonly path: readonly (string | number)[];
  /** Of the request itself, or of what others have written already. */
  readonly kind: 'reference' | 'conflict';
  readonly message: string;
  readonly hint: string | undefined;
}

/** Hears what is wrong with the object that is put. */
export type Complain = (complaint: Complaint) => void;

interface HasAuth {
  readonly inboundAuth: InboundAuth | undefined;
}

interface OwnEntry extends TrunkEntry {
  readonly trunk: Trunk;
  numbers: ChangeableMap<PhoneNumber>;
}

const NOTHING: SnapshotParts = {
  organizations: new Map(),
  trunks: new Map(),
  trunksOf: new Map(),
  sources: new CidrTable(),
  openTrunks: [],
  cpsLines: new Map(),
  numbers: new Map(),
  registering: new Map(),
  agents: new Map(),
  agentSources: new AgentSources(),
  authUsers: new Map(),
  accounts: new Map(),
};

/** Knows nothing; what a gateway has before its first configuration. */
export function emptySnapshot(): CompiledSnapshot {
  return new CompiledSnapshot(0, NOTHING);
}

export class Draft {
  readonly #relayHeaders: readonly string[];
  readonly #base: SnapshotParts;
  readonly #organizations: CopiedMap<Organization>;
  readonly #trunks: CopiedMap<TrunkEntry>;
  readonly #numbers: CopiedMap<PhoneNumber>;
  readonly #registering: CopiedMap<PhoneNumber>;
  readonly #agents: CopiedMap<Agent>;
  readonly #accounts: CopiedMap<AgentAccount>;
  /** Who has which user of an `inboundAuth`. */
  readonly #authUsers: CopiedMap<AuthUser>;
  /** Entries whose numbers are this draft's own. */
  readonly #own = new Map<string, OwnEntry>();
  readonly #plans = new Map<string, NumberPlan>();
  readonly #unlinked = new Map<string, Complain>();
  readonly #newNumbers = new Map<string, Complain>();
  readonly #newTrunks = new Map<string, Complain>();
  /** Those that claim other addresses than before. */
  readonly #newClaims = new Map<string, Complain>();
  /** Ids of what was taken out, of every kind; and whether numbers may have referred to some of it. */
  readonly #gone = new Set<string>();
  #referredGone = false;
  #sources: CidrTable<Trunk> | undefined;
  #trunksChanged = false;
  #agentsChanged = false;

  /** @param relayHeaders what the accounts of agents relay; trunks bring theirs */
  constructor({ parts }: CompiledSnapshot, relayHeaders: readonly string[]) {
    this.#base = parts;
    this.#relayHeaders = relayHeaders;
    this.#organizations = new CopiedMap(parts.organizations);
    this.#trunks = new CopiedMap(parts.trunks);
    this.#numbers = new CopiedMap(parts.numbers);
    this.#registering = new CopiedMap(parts.registering);
    this.#agents = new CopiedMap(parts.agents);
    this.#accounts = new CopiedMap(parts.accounts);
    this.#authUsers = new CopiedMap(parts.authUsers);
    this.#sources = parts.sources;
    for (const { trunk, plan } of parts.trunks.values()) this.#plans.set(trunk.country ?? '', plan);
  }

  /** @returns whether it is in; it is not when its id is taken. */
  putOrganization(organization: Organization, complain: Complain): boolean {
    if (this.#organizations.map.has(organization.id)) return duplicate(organization.id, complain);
    this.replaceOrganization(organization);
    return true;
  }

  replaceOrganization(organization: Organization): void {
    this.#organizations.own().set(organization.id, organization);
  }

  removeOrganization(id: string): void {
    if (this.#organizations.map.has(id)) this.#organizations.own().delete(id);
  }

  /** @returns whether it is in; it is not when its id is taken. */
  putTrunk(trunk: Trunk, complain: Complain): boolean {
    if (this.#trunks.map.has(trunk.id)) return duplicate(trunk.id, complain);
    const entry = { trunk, plan: this.#plan(trunk.country), numbers: new Map<string, PhoneNumber>() };
    this.#trunks.own().set(trunk.id, entry);
    this.#own.set(trunk.id, entry);
    this.#newTrunks.set(trunk.id, complain);
    this.#addAuthUser({ kind: 'trunk', id: trunk.id }, trunk, complain);
    this.#trunksTouched();
    return true;
  }

  /** Another state of a trunk that is there; it keeps its numbers. */
  replaceTrunk(trunk: Trunk, complain: Complain): void {
    const before = this.#trunks.map.get(trunk.id);
    if (before === undefined) {
      this.putTrunk(trunk, complain);
      return;
    }
    // What is said below about numbers is as true as before while the trunk takes calls from where it did.
    if (blocksText(before.trunk.allowedAddresses) !== blocksText(trunk.allowedAddresses))
      this.#newTrunks.set(trunk.id, complain);
    this.#dropAuthUser({ kind: 'trunk', id: trunk.id }, before.trunk);
    this.#addAuthUser({ kind: 'trunk', id: trunk.id }, trunk, complain);
    this.#trunksTouched();
    const sameCountry = before.trunk.country === trunk.country;
    const entry: OwnEntry = {
      trunk,
      plan: this.#plan(trunk.country),
      numbers: sameCountry ? changeable(before.numbers) : new Map(),
    };
    this.#trunks.own().set(trunk.id, entry);
    this.#own.set(trunk.id, entry);
    if (sameCountry) return;
    // Another country reads its numbers in another way.
    for (const number of before.numbers.values()) {
      this.#numbers.own().delete(number.id);
      if (number.registration) this.#registering.own().delete(number.id);
      this.putNumber(number, ({ message, hint }) =>
        complain({ path: ['country'], kind: 'conflict', message: `makes numbers one: ${message}`, hint }),
      );
    }
  }

  /** Its numbers must go too. */
  removeTrunk(id: string): void {
    const before = this.#trunks.map.get(id);
    if (before === undefined) return;
    this.#dropAuthUser({ kind: 'trunk', id }, before.trunk);
    this.#gone.add(id);
    this.#referredGone = true;
    this.#trunks.own().delete(id);
    this.#own.delete(id);
    this.#trunksTouched();
  }

  /** @returns whether it is in; it is not when its id is taken. */
  putAgent(agent: Agent, complain: Complain): boolean {
    if (this.#agents.map.has(agent.id)) return duplicate(agent.id, complain);
    this.replaceAgent(agent, complain);
    return true;
  }

  replaceAgent(agent: Agent, complain: Complain): void {
    this.#agentsChanged = true;
    const before = this.#agents.map.get(agent.id);
    this.#dropAuthUser({ kind: 'agent', id: agent.id }, before);
    const claims = blocksText(claimsOf(agent));
    if (claims !== '' && (before === undefined || blocksText(claimsOf(before)) !== claims)) {
      this.#newClaims.set(agent.id, complain);
    } else this.#newClaims.delete(agent.id);
    const endpoints = agent.endpoints.toSorted((a, b) => a.priority - b.priority);
    this.#agents.own().set(agent.id, { ...agent, endpoints });
    this.#addAuthUser({ kind: 'agent', id: agent.id }, agent, complain);
    if (agent.sipRegistration !== undefined) {
      this.#accounts.own().set(agent.id, accountOf(agent, agent.sipRegistration, this.#relayHeaders));
    } else if (this.#accounts.map.has(agent.id)) this.#accounts.own().delete(agent.id);
    this.#unlinked.set(agent.id, complain);
  }

  removeAgent(id: string): void {
    const before = this.#agents.map.get(id);
    if (before === undefined) return;
    this.#gone.add(id);
    this.#referredGone = true;
    this.#agentsChanged = true;
    this.#dropAuthUser({ kind: 'agent', id }, before);
    this.#agents.own().delete(id);
    if (this.#accounts.map.has(id)) this.#accounts.own().delete(id);
    this.#unlinked.delete(id);
    this.#newClaims.delete(id);
  }

  /** @returns whether it is in; with a wrong agent or transfer trunk it is, and has none. */
  putNumber(input: NumberInput, complain: Complain): boolean {
    const { id, organizationId } = input;
    const inboundAgentId = this.#reference('inboundAgentId', 'agent', input, this.#agents.map, complain);
    const transferTrunkId = this.#reference('transferTrunkId', 'trunk', input, this.#trunks.map, complain);
    if (this.#reference('credentialsId', 'trunk', input, this.#trunks.map, complain) === undefined)
      return false;
    const entry = this.#ownEntry(input.credentialsId);
    const normalised = entry.plan.normalise(input.phoneNumber);
    const number: PhoneNumber = {
      id,
      organizationId,
      source: input.source,
      phoneNumber: input.phoneNumber,
      normalised,
      credentialsId: input.credentialsId,
      inboundAgentId,
      transferTrunkId,
      displayName: input.displayName,
      description: input.description,
      registration: input.registration,
    };
    const key = matchKey(normalised);
    const twin = entry.numbers.get(key);
    if (twin !== undefined) {
      complain({
        path: ['phoneNumber'],
        kind: 'conflict',
        message: `is on trunk ${entry.trunk.id} already: ${input.phoneNumber} and ${twin.phoneNumber} are one number`,
        hint: 'remove one of the two',
      });
      return false;
    }
    if (this.#numbers.map.has(id)) {
      return duplicate(
        id,
        complain,
        'the id of a number is the number itself unless `id` is given: give this one an `id`',
      );
    }
    entry.numbers.set(key, number);
    this.#numbers.own().set(id, number);
    if (number.registration) this.#registering.own().set(id, number);
    this.#newNumbers.set(id, complain);
    return true;
  }

  removeNumber(id: string): void {
    const number = this.#numbers.map.get(id);
    if (number === undefined) return;
    this.#gone.add(id);
    this.#numbers.own().delete(id);
    if (number.registration) this.#registering.own().delete(id);
    this.#newNumbers.delete(id);
    // A trunk that has gone has taken its numbers along.
    if (this.#trunks.map.has(number.credentialsId)) {
      this.#ownEntry(number.credentialsId).numbers.delete(matchKey(number.normalised));
    }
  }

  /** Resolves the numbers that agents call from, of those that were put. */
  link(): void {
    for (const [id, complain] of this.#unlinked) {
      const agent = this.#agents.map.get(id);
      if (agent === undefined) continue;
      const named = (wanted: string, path: Complaint['path']): string | undefined =>
        this.#numberNamed(wanted, agent.organizationId, path, complain);
      const { outboundNumberId, fallbackNumberIds } = agent;
      this.#agents.own().set(id, {
        ...agent,
        outboundNumberId:
          outboundNumberId === undefined ? undefined : named(outboundNumberId, ['outboundNumberId']),
        fallbackNumberIds: fallbackNumberIds
          .map((wanted, index) => named(wanted, ['fallbackNumberIds', index]))
          .filter((number) => number !== undefined),
      });
    }
    this.#unlinked.clear();
  }

  /**
   * Trunks of one organisation with the same block are told apart by the number alone, so they may not share one. How
   * two countries read a number without `+` is not compared there: the trunk that comes first wins. Of two
   * organisations' trunks no address may call one number by both.
   * @returns ids of the numbers at fault: the later one of each pair
   */
  checkShared(): string[] {
    const shared = new SharedBlocks(this.#trunks.map, this.#currentSources(), this.#base.trunks);
    const faulty: string[] = [];
    for (const { number, owner, block } of shared.clashes(
      this.#newTrunks.keys(),
      this.#newNumbers.keys(),
      this.#numbers.map,
    )) {
      faulty.push(number.id);
      const complain = this.#newNumbers.get(number.id);
      const message = `${number.phoneNumber} is on trunk ${owner.credentialsId} and on trunk ${number.credentialsId}, and both take calls from ${block}: no call could be told apart`;
      const hint = 'narrow `allowedAddresses` of one trunk, or keep the number on one of them';
      if (complain !== undefined) complain({ path: ['phoneNumber'], kind: 'conflict', message, hint });
      else {
        const trunk = this.#newTrunks.get(number.credentialsId) ?? this.#newTrunks.get(owner.credentialsId);
        trunk?.({ path: ['allowedAddresses'], kind: 'conflict', message, hint });
      }
    }
    for (const { number, block } of takenNumbers(this.#examined(), this.#trunks.map, this.#numbers.map)) {
      faulty.push(number.id);
      // An organisation is told that the number is taken, and nothing of who has it.
      const message = `is taken already: ${number.phoneNumber}, for calls from ${block}`;
      const hint = 'another organisation gets these calls: ask the operator of this gateway whose they are';
      const complain = this.#newNumbers.get(number.id);
      if (complain !== undefined) complain({ path: ['phoneNumber'], kind: 'conflict', message, hint });
      else {
        const trunk = this.#newTrunks.get(number.credentialsId);
        trunk?.({ path: ['allowedAddresses'], kind: 'conflict', message: `a number ${message}`, hint });
      }
    }
    return faulty;
  }

  /** Numbers that are new, and others that somebody else has where their trunk takes calls from now. */
  #examined(): Set<PhoneNumber> {
    const examined = new Set<PhoneNumber>();
    for (const id of this.#newTrunks.keys()) {
      const entry = this.#trunks.map.get(id);
      // Whatever is on a new trunk is new.
      if (entry === undefined || !this.#base.trunks.has(id)) continue;
      for (const number of contested(entry, this.#trunks.map, this.#base.trunks)) {
        if (!this.#newNumbers.has(number.id)) examined.add(number);
      }
    }
    for (const id of this.#newNumbers.keys()) {
      const number = this.#numbers.map.get(id);
      if (number !== undefined) examined.add(number);
    }
    return examined;
  }

  /**
   * Where one organisation's agents call from, no other's trunk takes calls and no other's agent claims to call from.
   * @param config only what the configuration file says counts against others
   * @returns ids of the trunks at fault
   */
  checkPlaces(config = false): string[] {
    if (this.#newTrunks.size + this.#newClaims.size === 0) return [];
    const all = Array.from(this.#agents.map.values());
    const places = new TakenPlaces(config ? all.filter(({ source }) => source === 'config') : all);
    const faulty: string[] = [];
    for (const [id, complain] of this.#newTrunks) {
      const trunk = this.#trunks.map.get(id)?.trunk;
      const block = trunk === undefined ? undefined : places.taken(trunk);
      if (block === undefined) continue;
      faulty.push(id);
      const message = `${block.text} is taken already: another organisation's agents call from there`;
      complain({ path: ['allowedAddresses'], kind: 'conflict', message, hint: 'name the provider alone' });
    }
    for (const [id, complain] of this.#newClaims) {
      const agent = this.#agents.map.get(id);
      const block = agent === undefined ? undefined : places.taken(agent);
      if (block === undefined) continue;
      const message = `${block.text} is taken already: another organisation's agents call from there`;
      const hint = 'give this agent `inboundAuth`: addresses that several share prove nothing';
      complain({ path: ['allowedAddresses'], kind: 'conflict', message, hint });
    }
    return faulty;
  }

  /** What still refers to something that was taken out. */
  dangling(): { readonly numbers: readonly PhoneNumber[]; readonly agents: readonly Agent[] } {
    const gone = this.#gone;
    const lost = (map: ReadonlyMap<string, unknown>, id: string | undefined): boolean =>
      id !== undefined && gone.has(id) && !map.has(id);
    const numbers: PhoneNumber[] = [];
    // A number refers to no other: where only numbers go, the others need not be asked.
    if (this.#referredGone) {
      this.#numbers.map.forEach((number) => {
        const { credentialsId, transferTrunkId, inboundAgentId } = number;
        if (
          lost(this.#trunks.map, credentialsId) ||
          lost(this.#trunks.map, transferTrunkId) ||
          lost(this.#agents.map, inboundAgentId)
        ) {
          numbers.push(number);
        }
      });
    }
    const agents: Agent[] = [];
    for (const agent of this.#agents.map.values()) {
      const named = [agent.outboundNumberId, ...agent.fallbackNumberIds];
      if (named.some((id) => lost(this.#numbers.map, id))) agents.push(agent);
    }
    return { numbers, agents };
  }

  finish(version: number): CompiledSnapshot {
    for (const [id, { trunk, plan, numbers }] of this.#own) {
      this.#trunks.own().set(id, { trunk, plan, numbers: settled(numbers) });
    }
    const trunks = this.#trunksChanged ? Array.from(this.#trunks.map.values(), ({ trunk }) => trunk) : [];
    return new CompiledSnapshot(version, {
      organizations: this.#organizations.map,
      trunks: settled(this.#trunks.map),
      trunksOf: this.#trunksChanged ? idsByOrganization(trunks) : this.#base.trunksOf,
      sources: this.#currentSources(),
      openTrunks: this.#trunksChanged ? trunks.filter(isOpen) : this.#base.openTrunks,
      cpsLines: this.#trunksChanged ? cpsLinesOf(trunks) : this.#base.cpsLines,
      numbers: settled(this.#numbers.map),
      registering: settled(this.#registering.map),
      agents: settled(this.#agents.map),
      agentSources: this.#agentsChanged ? this.#newAgentSources() : this.#base.agentSources,
      authUsers: settled(this.#authUsers.map),
      accounts: settled(this.#accounts.map),
    });
  }

  /** The id that a field gives, when it is one of the same organisation. */
  #reference(
    field: 'inboundAgentId' | 'transferTrunkId' | 'credentialsId',
    what: string,
    input: NumberInput,
    known: ReadonlyMap<string, Agent | TrunkEntry>,
    complain: Complain,
  ): string | undefined {
    const id = input[field];
    if (id === undefined) return undefined;
    const found = known.get(id);
    if (found !== undefined && ownerOf(found) === input.organizationId) return id;
    const own: string[] = [];
    for (const [key, value] of known) if (ownerOf(value) === input.organizationId) own.push(key);
    complain({
      path: [field],
      kind: 'reference',
      message: `names no ${what}: ${id}`,
      hint: suggest(id, own),
    });
    return undefined;
  }

  /** The id of the number that an id, or a number in some spelling, names in an organisation. */
  #numberNamed(
    wanted: string,
    organizationId: string,
    path: Complaint['path'],
    complain: Complain,
  ): string | undefined {
    if (this.#numbers.map.get(wanted)?.organizationId === organizationId) return wanted;
    const found: PhoneNumber[] = [];
    for (const { trunk, plan, numbers } of this.#trunks.map.values()) {
      if (trunk.organizationId !== organizationId) continue;
      const number = numbers.get(matchKey(plan.normalise(wanted)));
      if (number !== undefined) found.push(number);
    }
    if (found.length === 1) return found[0]!.id;
    const none = found.length === 0;
    complain({
      path,
      kind: 'reference',
      message: none ? `names no phone number: ${wanted}` : `names ${found.length} phone numbers: ${wanted}`,
      hint: none
        ? suggest(wanted, this.#ownNumberIds(organizationId))
        : `give one of the ids: ${found.map((number) => number.id).join(', ')}`,
    });
    return undefined;
  }

  #addAuthUser(owner: AuthUser, { inboundAuth }: HasAuth, complain: Complain): void {
    const username = inboundAuth?.username;
    if (username === undefined) return;
    if (!this.#authUsers.map.has(username)) this.#authUsers.own().set(username, owner);
    else {
      complain({
        path: ['inboundAuth', 'username'],
        kind: 'conflict',
        message: `is taken already: ${username}`,
        hint: 'users of all trunks and agents must differ, or a call could not be told whose it is',
      });
    }
  }

  #dropAuthUser(owner: AuthUser, before: HasAuth | undefined): void {
    const username = before?.inboundAuth?.username;
    if (username === undefined) return;
    const holder = this.#authUsers.map.get(username);
    if (holder?.kind === owner.kind && holder.id === owner.id) this.#authUsers.own().delete(username);
  }

  #newAgentSources(): AgentSources {
    const sources = new AgentSources();
    for (const agent of this.#agents.map.values()) sources.add(agent);
    return sources;
  }

  *#ownNumberIds(organizationId: string): Iterable<string> {
    for (const number of this.#numbers.map.values()) {
      if (number.organizationId === organizationId) yield number.id;
    }
  }

  #ownEntry(trunkId: string): OwnEntry {
    const own = this.#own.get(trunkId);
    if (own !== undefined) return own;
    const entry = this.#trunks.map.get(trunkId);
    if (entry === undefined) throw new Error(`no trunk ${trunkId} in this draft`);
    const copy: OwnEntry = { trunk: entry.trunk, plan: entry.plan, numbers: changeable(entry.numbers) };
    this.#own.set(trunkId, copy);
    this.#trunks.own().set(trunkId, copy);
    return copy;
  }

  #trunksTouched(): void {
    this.#trunksChanged = true;
    this.#sources = undefined;
  }

  #currentSources(): CidrTable<Trunk> {
    if (this.#sources === undefined) {
      this.#sources = new CidrTable<Trunk>();
      for (const { trunk } of this.#trunks.map.values()) {
        for (const cidr of trunk.allowedAddresses) this.#sources.add(cidr, trunk);
      }
    }
    return this.#sources;
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

function idsByOrganization(trunks: readonly Trunk[]): Map<string, string[]> {
  const ids = new Map<string, string[]>();
  for (const { id, organizationId } of trunks) {
    const known = ids.get(organizationId);
    if (known === undefined) ids.set(organizationId, [id]);
    else known.push(id);
  }
  return ids;
}

function blocksText(blocks: readonly Cidr[]): string {
  return blocks.map(({ text }) => text).join(' ');
}

function ownerOf(value: Agent | TrunkEntry): string {
  return 'trunk' in value ? value.trunk.organizationId : value.organizationId;
}

function duplicate(id: string, complain: Complain, hint = 'ids must differ: rename one'): false {
  complain({ path: ['id'], kind: 'conflict', message: `is taken already: ${id}`, hint });
  return false;
}

function suggest(wanted: string, known: Iterable<string>): string | undefined {
  const nearest = closest(wanted, known);
  return nearest === undefined ? undefined : `did you mean ${nearest}?`;
}
