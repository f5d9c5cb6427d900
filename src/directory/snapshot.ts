/**
 * What the gateway knows, compiled: trunks, numbers and agents with an index for every question that a call asks.
 * Immutable; an edit compiles a new one and `Directory` swaps it whole.
 */
import type { AgentAccount } from './account.js';
import type { Agent } from './agent.js';
import type { CpsLine } from './cps-line.js';
import type { PhoneNumber } from './number.js';
import type { NumberPlan } from './number-format.js';
import type { Organization } from './organization.js';
import type { Trunk } from './trunk.js';

export interface Snapshot {
  /** Given by whoever compiled it, growing; 0 is the empty snapshot. */
  readonly version: number;
  trunk(id: string): Trunk | undefined;
  trunks(): Iterable<Trunk>;
  readonly trunkCount: number;
  /** Trunks whose `allowedAddresses` cover an IP literal, most specific block first. */
  trunksBySource(address: string): readonly Trunk[];
  /** A trunk or an agent calls from this IP literal. */
  isKnownSource(address: string): boolean;
  /** How the trunk writes numbers; undefined for an unknown trunk. */
  plan(trunkId: string): NumberPlan | undefined;
  /** The number of a trunk by its normal form; whether that has a `+` does not matter. */
  number(trunkId: string, normalised: string): PhoneNumber | undefined;
  numberById(id: string): PhoneNumber | undefined;
  /** The same DID may live on several trunks. Visits one index per trunk: for explanations and the API. */
  numbersAnywhere(normalised: string): readonly PhoneNumber[];
  /** The numbers of an organisation that a text means, however each of its trunks writes numbers. Visits its trunks. */
  ownedNumbers(organizationId: string, text: string): readonly PhoneNumber[];
  numbers(): Iterable<PhoneNumber>;
  /** Those with `registration`. */
  registeringNumbers(): Iterable<PhoneNumber>;
  readonly numberCount: number;
  agent(id: string): Agent | undefined;
  agents(): Iterable<Agent>;
  /**
   * Agents that call from an IP literal, by their endpoints and `allowedAddresses`: those with an endpoint at just this
   * port, if there are any and nobody of another organisation is at the address; else all of the address.
   */
  agentsBySource(address: string, port?: number): readonly Agent[];
  /** The agent whose `inboundAuth` has this user. */
  agentByAuthUser(username: string): Agent | undefined;
  /** The trunk whose `inboundAuth` has this user. */
  trunkByAuthUser(username: string): Trunk | undefined;
  /** Trunks that take calls from any address, by user and password. */
  readonly openTrunks: readonly Trunk[];
  /** Some agent or open trunk has `inboundAuth`: whoever calls from an unknown address may be it. */
  readonly hasAuthUsers: boolean;
  /** The agent's own account, when it has a `sipRegistration`. */
  account(agentId: string): AgentAccount | undefined;
  readonly agentCount: number;
  /** As described, or without bounds. */
  organization(id: string): Organization;
  /** Those that are described. */
  organizations(): Iterable<Organization>;
  /** The line of a cpsKey; undefined where no trunk has it (the account of an agent). */
  cpsLine(organizationId: string, cpsKey: string): CpsLine | undefined;
  cpsLines(): Iterable<CpsLine>;
}
