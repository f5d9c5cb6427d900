/**
 * What the gateway knows, compiled: trunks, numbers and agents with an index for every question that a call asks.
 * Immutable; an edit compiles a new one and `Directory` swaps it whole.
 */
import type { AgentAccount } from './account.js';
import type { Agent } from './agent.js';
import type { PhoneNumber } from './number.js';
import type { NumberPlan } from './number-format.js';
import type { Trunk } from './trunk.js';

export interface Snapshot {
  /** Given by whoever compiled it, growing; 0 is the empty snapshot. */
  readonly version: number;
  trunk(id: string): Trunk | undefined;
  trunks(): Iterable<Trunk>;
  readonly trunkCount: number;
  /** Trunks whose `allowedAddresses` cover an IP literal, most specific block first. */
  trunksBySource(address: string): readonly Trunk[];
  isKnownSource(address: string): boolean;
  /** How the trunk writes numbers; undefined for an unknown trunk. */
  plan(trunkId: string): NumberPlan | undefined;
  /** The number of a trunk by its normal form; whether that has a `+` does not matter. */
  number(trunkId: string, normalised: string): PhoneNumber | undefined;
  numberById(id: string): PhoneNumber | undefined;
  /** The same DID may live on several trunks. Visits one index per trunk: for explanations and the API. */
  numbersAnywhere(normalised: string): readonly PhoneNumber[];
  numbers(): Iterable<PhoneNumber>;
  readonly numberCount: number;
  agent(id: string): Agent | undefined;
  agents(): Iterable<Agent>;
  /** The agent's own account, when it has a `sipRegistration`. */
  account(agentId: string): AgentAccount | undefined;
  readonly agentCount: number;
}
