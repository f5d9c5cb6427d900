/**
 * What is used up of what trunks and organisations may: calls in progress and calls of the day, of this process and, as far
 * as is heard of them, of other nodes. Routing asks before it lets a call out. A day is one of UTC, by the wall clock.
 */

import type { Snapshot } from '#directory/snapshot.js';
import type { Clock } from '#lib/clock.js';
import type { OutboundUsage } from '#routing/outbound-decision.js';

const DAY_MS = 86_400_000;

/** The port to other nodes. It answers at once, with what it knows. */
export interface UsageElsewhere {
  /** Calls that other nodes have in progress, of a subject as `UsageReport` names them. */
  inProgress(subject: string): number;
  /** Outbound calls that other nodes counted on a day (since 1970, UTC). */
  today(subject: string, day: number): number;
  /** This node's counts have changed. */
  changed(): void;
}

/** This node's own counts, of `trunk/<id>` and `organization/<id>`. */
export interface UsageReport {
  readonly now: Readonly<Record<string, number>>;
  readonly day: number;
  readonly today: Readonly<Record<string, number>>;
}

/** Ids of what has a bound. */
export interface Bounded {
  readonly trunks: ReadonlySet<string>;
  readonly organizations: ReadonlySet<string>;
}

const bounded = new WeakMap<Snapshot, Bounded>();

/** What has a bound of calls at once or a day in a snapshot. */
export function boundedIn(snapshot: Snapshot): Bounded {
  const known = bounded.get(snapshot);
  if (known !== undefined) return known;
  const trunks = new Set<string>();
  for (const trunk of snapshot.trunks()) if (hasBound(trunk)) trunks.add(trunk.id);
  const organizations = new Set<string>();
  for (const { id, limits } of snapshot.organizations()) if (hasBound(limits)) organizations.add(id);
  const found = { trunks, organizations };
  bounded.set(snapshot, found);
  return found;
}

function hasBound({
  maxConcurrentCalls,
  callsPerDay,
}: {
  readonly maxConcurrentCalls: number | undefined;
  readonly callsPerDay: number | undefined;
}): boolean {
  return maxConcurrentCalls !== undefined || callsPerDay !== undefined;
}

const NOBODY: UsageElsewhere = { inProgress: () => 0, today: () => 0, changed: () => undefined };

export class Usage implements OutboundUsage {
  readonly #clock: Clock;
  readonly #elsewhere: UsageElsewhere;
  readonly #onTrunk = new Map<string, number>();
  readonly #ofOrganization = new Map<string, number>();
  readonly #trunkToday = new Map<string, number>();
  readonly #organizationToday = new Map<string, number>();
  #day = 0;

  constructor(clock: Clock, elsewhere: UsageElsewhere = NOBODY) {
    this.#clock = clock;
    this.#elsewhere = elsewhere;
  }

  callsOnTrunk(trunkId: string): number {
    return this.ownOnTrunk(trunkId) + this.#elsewhere.inProgress(trunkSubject(trunkId));
  }

  /** Of this node alone. */
  ownOnTrunk(trunkId: string): number {
    return this.#onTrunk.get(trunkId) ?? 0;
  }

  callsOfOrganization(organizationId: string): number {
    const elsewhere = this.#elsewhere.inProgress(organizationSubject(organizationId));
    return (this.#ofOrganization.get(organizationId) ?? 0) + elsewhere;
  }

  callsTodayOfOrganization(organizationId: string): number {
    this.#turnDay();
    const elsewhere = this.#elsewhere.today(organizationSubject(organizationId), this.#day);
    return (this.#organizationToday.get(organizationId) ?? 0) + elsewhere;
  }

  callsTodayOnTrunk(trunkId: string): number {
    this.#turnDay();
    const elsewhere = this.#elsewhere.today(trunkSubject(trunkId), this.#day);
    return (this.#trunkToday.get(trunkId) ?? 0) + elsewhere;
  }

  /** A call in either direction is on a trunk, until `leaveTrunk`. */
  takeTrunk(trunkId: string): void {
    count(this.#onTrunk, trunkId);
    this.#elsewhere.changed();
  }

  leaveTrunk(trunkId: string): void {
    discount(this.#onTrunk, trunkId);
    this.#elsewhere.changed();
  }

  /** An outbound call, until `leaveOrganization`. */
  takeOrganization(organizationId: string): void {
    this.#turnDay();
    count(this.#ofOrganization, organizationId);
    count(this.#organizationToday, organizationId);
    this.#elsewhere.changed();
  }

  leaveOrganization(organizationId: string): void {
    discount(this.#ofOrganization, organizationId);
    this.#elsewhere.changed();
  }

  /** An outbound call was sent to a trunk; once for each trunk that it tried. */
  countOnTrunk(trunkId: string): void {
    this.#turnDay();
    count(this.#trunkToday, trunkId);
    this.#elsewhere.changed();
  }

  /** What others need to know: the counts of what has a bound. */
  report({ trunks, organizations }: Bounded): UsageReport {
    this.#turnDay();
    const now = {
      ...pick(this.#onTrunk, trunks, trunkSubject),
      ...pick(this.#ofOrganization, organizations, organizationSubject),
    };
    const today = {
      ...pick(this.#trunkToday, trunks, trunkSubject),
      ...pick(this.#organizationToday, organizations, organizationSubject),
    };
    return { now, day: this.#day, today };
  }

  #turnDay(): void {
    const day = Math.floor(this.#clock.wallNow() / DAY_MS);
    if (day === this.#day) return;
    this.#day = day;
    this.#trunkToday.clear();
    this.#organizationToday.clear();
  }
}

function trunkSubject(id: string): string {
  return `trunk/${id}`;
}

function organizationSubject(id: string): string {
  return `organization/${id}`;
}

function pick(
  counts: ReadonlyMap<string, number>,
  ids: ReadonlySet<string>,
  subject: (id: string) => string,
): Record<string, number> {
  const picked: Record<string, number> = {};
  for (const [id, value] of counts) if (ids.has(id)) picked[subject(id)] = value;
  return picked;
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function discount(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
