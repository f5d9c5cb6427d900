/** Directories for tests, written in the vocabulary of the config file. */
import type * as z from 'zod';
import { compileSnapshot, type DirectoryInput } from '#directory/compile.js';
import { toAgent, toNumber, toOrganization, toTrunk } from '#directory/models.js';
import { agentSchema, numberSchema, organizationSchema, trunkSchema } from '#directory/schema.js';
import type { Snapshot } from '#directory/snapshot.js';

export interface Described {
  readonly organizations?: readonly z.input<typeof organizationSchema>[];
  readonly sipCredentials?: readonly z.input<typeof trunkSchema>[];
  readonly phoneNumbers?: readonly z.input<typeof numberSchema>[];
  readonly agents?: readonly z.input<typeof agentSchema>[];
}

/** Throws when a field is wrong. */
export function directoryInput(described: Described): DirectoryInput {
  return {
    organizations: (described.organizations ?? []).map((organization) =>
      toOrganization(organizationSchema.parse(organization), 'config'),
    ),
    trunks: (described.sipCredentials ?? []).map((trunk) => toTrunk(trunkSchema.parse(trunk), 'config')),
    numbers: (described.phoneNumbers ?? []).map((number) => toNumber(numberSchema.parse(number), 'config')),
    agents: (described.agents ?? []).map((agent) => toAgent(agentSchema.parse(agent), 'config')),
  };
}

/** Throws when it does not compile. */
export function snapshotOf(described: Described, version = 1): Snapshot {
  const compiled = compileSnapshot(directoryInput(described), version);
  if (compiled.kind === 'faults') throw new Error(JSON.stringify(compiled.faults));
  return compiled.snapshot;
}
