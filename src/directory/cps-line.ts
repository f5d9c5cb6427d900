/**
 * The line of one cpsKey: the trunks that share a limit of calls per second, and what holds for all of them. Keys belong
 * to an organisation, so two organisations may use one name.
 */
import type { Trunk } from './trunk.js';

export interface CpsLine {
  /** `<organizationId>/<cpsKey>`. */
  readonly key: string;
  readonly organizationId: string;
  readonly cpsKey: string;
  /** `effectiveCpsLimit`: the smallest of the members' limits. Undefined: none has one, so nobody waits. */
  readonly limit: number | undefined;
  /** The smallest of those members that have a limit; 1 is even spacing. */
  readonly burst: number;
  /** In the order of the directory. A member without a limit takes slots all the same. */
  readonly trunkIds: readonly string[];
  /** For people, where the members' limits differ. */
  readonly warning: string | undefined;
}

/** The name of a line, unambiguous since neither id has a slash. */
export function cpsLineKey(organizationId: string, cpsKey: string): string {
  return `${organizationId}/${cpsKey}`;
}

/** What is odd about lines, for people: at most `WARNINGS_MAX` of it. */
export function cpsWarnings(lines: Iterable<CpsLine>): string[] {
  const warnings: string[] = [];
  for (const { warning } of lines) {
    if (warnings.length >= WARNINGS_MAX) break;
    if (warning !== undefined) warnings.push(warning);
  }
  return warnings;
}

const WARNINGS_MAX = 20;
/** Members named in a warning. */
const NAMED = 5;

/** The lines of all trunks, by their keys. */
export function cpsLinesOf(trunks: Iterable<Trunk>): Map<string, CpsLine> {
  const members = new Map<string, Trunk[]>();
  for (const trunk of trunks) {
    const key = cpsLineKey(trunk.organizationId, trunk.cpsKey);
    const known = members.get(key);
    if (known === undefined) members.set(key, [trunk]);
    else known.push(trunk);
  }
  const lines = new Map<string, CpsLine>();
  for (const [key, trunksOfKey] of members) lines.set(key, lineOf(key, trunksOfKey));
  return lines;
}

function lineOf(key: string, trunks: readonly Trunk[]): CpsLine {
  const { organizationId, cpsKey } = trunks[0]!;
  let limit: number | undefined;
  let burst = Number.POSITIVE_INFINITY;
  let differ = false;
  for (const trunk of trunks) {
    if (trunk.cpsLimit === undefined) continue;
    if (limit !== undefined && limit !== trunk.cpsLimit) differ = true;
    limit = limit === undefined ? trunk.cpsLimit : Math.min(limit, trunk.cpsLimit);
    burst = Math.min(burst, trunk.cpsBurst);
  }
  return {
    key,
    organizationId,
    cpsKey,
    limit,
    burst: limit === undefined ? 1 : burst,
    trunkIds: trunks.map(({ id }) => id),
    warning: differ ? warningOf(cpsKey, trunks, limit!) : undefined,
  };
}

function warningOf(cpsKey: string, trunks: readonly Trunk[], limit: number): string {
  const limits = trunks
    .filter(({ cpsLimit }) => cpsLimit !== undefined)
    .slice(0, NAMED)
    .map(({ id, cpsLimit }) => `${id} ${cpsLimit}`);
  return `trunks with cpsKey ${cpsKey} have different limits (${limits.join(', ')}): the smallest, ${limit}, counts for all`;
}
