/** Who depends on what: for answers before something is removed, and for the removal itself. Reads one snapshot. */
import type { Agent } from './agent.js';
import type { PhoneNumber } from './number.js';
import type { Snapshot } from './snapshot.js';

/** What the removal of a trunk would take along or change. */
export interface AffectedAgents {
  /** Numbers that live on it: they go too. */
  readonly phoneNumbers: readonly {
    readonly id: string;
    readonly phoneNumber: string;
    readonly linkedAgent: { readonly id: string; readonly name: string } | null;
  }[];
  /** Agents that answer those numbers or call from them: they are unlinked. */
  readonly agents: readonly { readonly id: string; readonly name: string }[];
}

/** Numbers on a trunk, and the agents that answer them or call from them. */
export function affectedAgents(snapshot: Snapshot, trunkId: string): AffectedAgents {
  const numbers = numbersOn(snapshot, trunkId);
  const ids = new Set(numbers.map(({ id }) => id));
  const agents = new Map<string, Agent>();
  const phoneNumbers = numbers.map(({ id, phoneNumber, inboundAgentId }) => {
    const agent = inboundAgentId === undefined ? undefined : snapshot.agent(inboundAgentId);
    if (agent !== undefined) agents.set(agent.id, agent);
    return { id, phoneNumber, linkedAgent: agent === undefined ? null : { id: agent.id, name: agent.name } };
  });
  for (const agent of callingFrom(snapshot, ids)) agents.set(agent.id, agent);
  return { phoneNumbers, agents: Array.from(agents.values(), ({ id, name }) => ({ id, name })) };
}

/** Numbers that live on a trunk. */
export function numbersOn(snapshot: Snapshot, trunkId: string): PhoneNumber[] {
  return numbersWhere(snapshot, ({ credentialsId }) => credentialsId === trunkId);
}

/** Numbers whose calls are transferred by a trunk. */
export function numbersTransferring(snapshot: Snapshot, trunkId: string): PhoneNumber[] {
  return numbersWhere(snapshot, ({ transferTrunkId }) => transferTrunkId === trunkId);
}

/** Numbers whose calls an agent answers. */
export function numbersAnsweredBy(snapshot: Snapshot, agentId: string): PhoneNumber[] {
  return numbersWhere(snapshot, ({ inboundAgentId }) => inboundAgentId === agentId);
}

/** Agents that call from one of these numbers, first or as a fallback. */
export function callingFrom(snapshot: Snapshot, numberIds: ReadonlySet<string>): Agent[] {
  const found: Agent[] = [];
  if (numberIds.size === 0) return found;
  for (const agent of snapshot.agents()) {
    const { outboundNumberId, fallbackNumberIds } = agent;
    if (
      (outboundNumberId !== undefined && numberIds.has(outboundNumberId)) ||
      fallbackNumberIds.some((id) => numberIds.has(id))
    ) {
      found.push(agent);
    }
  }
  return found;
}

function numbersWhere(snapshot: Snapshot, test: (number: PhoneNumber) => boolean): PhoneNumber[] {
  const found: PhoneNumber[] = [];
  for (const number of snapshot.numbers()) if (test(number)) found.push(number);
  return found;
}
