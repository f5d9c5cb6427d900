/** Compiles the trunks, numbers and agents of one file into a snapshot, or says everything that is wrong with them together. */
import type { Agent } from './agent.js';
import type { CompiledSnapshot } from './compiled-snapshot.js';
import { type Complain, Draft, emptySnapshot, type NumberInput } from './draft.js';
import type { Organization } from './organization.js';
import type { Trunk } from './trunk.js';

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
  | { readonly kind: 'snapshot'; readonly snapshot: CompiledSnapshot }
  | { readonly kind: 'faults'; readonly faults: readonly DirectoryFault[] };

/** @param version of the snapshot that comes of it */
export function compileSnapshot(input: DirectoryInput, version: number): Compiled {
  const found: Record<'organizations' | 'sipCredentials' | 'phoneNumbers' | 'agents', DirectoryFault[]> = {
    organizations: [],
    sipCredentials: [],
    phoneNumbers: [],
    agents: [],
  };
  const about =
    (collection: keyof typeof found, index: number): Complain =>
    ({ path, message, hint }) =>
      found[collection].push({ path: [collection, index, ...path], message, hint });
  const draft = new Draft(emptySnapshot(), input.relayHeaders ?? []);
  for (const [index, organization] of (input.organizations ?? []).entries()) {
    draft.putOrganization(organization, about('organizations', index));
  }
  for (const [index, trunk] of input.trunks.entries()) draft.putTrunk(trunk, about('sipCredentials', index));
  for (const [index, agent] of input.agents.entries()) draft.putAgent(agent, about('agents', index));
  for (const [index, number] of input.numbers.entries())
    draft.putNumber(number, about('phoneNumbers', index));
  draft.link();
  draft.checkShared();
  draft.checkPlaces();
  const faults = Object.values(found).flat();
  if (faults.length > 0) return { kind: 'faults', faults };
  return { kind: 'snapshot', snapshot: draft.finish(version) };
}
