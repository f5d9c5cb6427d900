/** Whom trunks, numbers and agents belong to, and what its own calls may do. */
import type { Destinations, ObjectSource } from './trunk.js';

/** Bounds of the calls that an organisation makes; undefined: none. */
export interface OrganizationLimits {
  readonly destinations: Destinations;
  /** In progress at once. */
  readonly maxConcurrentCalls: number | undefined;
  /** From midnight to midnight UTC. */
  readonly callsPerDay: number | undefined;
  readonly maxDurationSeconds: number | undefined;
}

export interface Organization {
  readonly id: string;
  readonly source: ObjectSource;
  readonly name: string;
  readonly limits: OrganizationLimits;
}

/** An organisation that nobody has described: no bounds. */
export function undescribed(id: string): Organization {
  return {
    id,
    source: 'config',
    name: id,
    limits: {
      destinations: { allow: [], deny: [] },
      maxConcurrentCalls: undefined,
      callsPerDay: undefined,
      maxDurationSeconds: undefined,
    },
  };
}
