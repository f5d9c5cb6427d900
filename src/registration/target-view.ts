/** What OPTIONS have found out about the servers of trunks, as API and metrics show it. */
import type { Clock } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import { targetKey } from '#targets/resolver.js';
import type { Health, Watch } from './keep-alive.js';

export interface TargetView {
  /** `udp:192.0.2.1:5060`. */
  readonly target: Octets;
  readonly health: Health;
  /** ISO 8601: since when. */
  readonly since: string;
  /** OPTIONS without an answer in a row. */
  readonly missed: number;
  /** Whose server it is; an agent's own account is the trunk `agent:<id>`. */
  readonly trunkIds: readonly string[];
}

/** One way to a server, as whoever watches it tells it. */
export interface WatchedWay {
  readonly target: Octets;
  readonly health: Health;
  readonly missed: number;
  /** Wall clock, milliseconds. */
  readonly sinceMs: number;
  /** Whose way it is. */
  readonly owners: Iterable<{ readonly organizationId: string; readonly trunkIds: readonly string[] }>;
}

/** @param owners registrations and trunks that go this way */
export function wayOf(watch: Watch, clock: Clock, owners: WatchedWay['owners']): WatchedWay {
  const { target, health, missed, healthSince } = watch;
  const sinceMs = clock.wallNow() - (clock.now() - healthSince);
  return { target: targetKey(target), health, missed, sinceMs, owners };
}

const RANK: Readonly<Record<Health, number>> = { up: 2, down: 1, unknown: 0 };

/**
 * One view for each server: who answers on one connection is up, however another one is.
 * @param organizationId only servers of its trunks; undefined: all
 */
export function targetViews(ways: Iterable<WatchedWay>, organizationId?: string): TargetView[] {
  const found = new Map<string, { best: WatchedWay; trunkIds: Set<string> }>();
  for (const way of ways) {
    const trunkIds = trunksOf(way, organizationId);
    if (trunkIds.size === 0) continue;
    const known = found.get(way.target);
    if (known === undefined) {
      found.set(way.target, { best: way, trunkIds });
      continue;
    }
    if (RANK[way.health] > RANK[known.best.health]) known.best = way;
    for (const id of trunkIds) known.trunkIds.add(id);
  }
  return Array.from(found.values(), ({ best, trunkIds }) => ({
    target: best.target,
    health: best.health,
    since: new Date(best.sinceMs).toISOString(),
    missed: best.missed,
    trunkIds: [...trunkIds].sort(),
  }));
}

function trunksOf({ owners }: WatchedWay, organizationId: string | undefined): Set<string> {
  const trunkIds = new Set<string>();
  for (const owner of owners) {
    if (organizationId !== undefined && owner.organizationId !== organizationId) continue;
    for (const id of owner.trunkIds) trunkIds.add(id);
  }
  return trunkIds;
}
