/**
 * May this call be made: where to, how many at once, how many a day. Toll fraud goes to expensive numbers and hides
 * them in spellings, so what is denied is looked for in every reading of a number, and what is allowed in the plain one.
 */
import { isNumberLike, type NumberPlan } from '#directory/number-format.js';
import type { Destinations } from '#directory/trunk.js';

/** How a number may be understood on its way. Beginnings with `+` are compared with E.164, others with what was dialled. */
export interface Readings {
  /** The plain ones: as dialled, without what people write between digits, and in E.164 where that can be told. */
  readonly plain: readonly string[];
  /** What it might be to somebody else; each begins with `+`. */
  readonly possible: readonly string[];
}

const INTERNATIONAL_PREFIXES = ['00', '011'];

/** @param country of the trunk, for numbers without a country code */
export function readingsOf(callee: string, plan: NumberPlan, country: string | undefined): Readings {
  const local = plan.write(callee, 'asIs');
  const plain = [local];
  if (isNumberLike(callee)) {
    const normal = plan.normalise(callee);
    // Without a country, digits that do not begin with 0 are read as the directory reads them: E.164 without `+`.
    if (normal.startsWith('+')) plain.push(normal);
    else if (country === undefined && !normal.startsWith('0')) plain.push(`+${normal}`);
  }
  return { plain: [...new Set(plain)], possible: possibleReadings(callee, plan, country) };
}

/** Somebody behind us may read digits between signs that we do not take for separators. */
function possibleReadings(callee: string, plan: NumberPlan, country: string | undefined): string[] {
  const text = callee.normalize('NFKC');
  const digits = text.replace(/\D/g, '');
  if (digits === '' || /\p{L}/u.test(text)) return [];
  const readings = new Set<string>();
  if (text.includes('+') || country === undefined) readings.add(`+${digits}`);
  const normal = plan.normalise(digits);
  if (normal.startsWith('+')) readings.add(normal);
  for (const prefix of INTERNATIONAL_PREFIXES) {
    if (digits.startsWith(prefix)) readings.add(`+${digits.slice(prefix.length)}`);
  }
  return [...readings];
}

export type DestinationVerdict =
  | { readonly allowed: true; readonly by: string | undefined }
  /** `by` undefined: nothing allows it. */
  | { readonly allowed: false; readonly by: string | undefined };

interface PrefixTable {
  readonly rules: ReadonlyMap<string, 'allow' | 'deny'>;
  readonly longest: number;
  /** Something must allow it. */
  readonly closed: boolean;
}

/** Lists may be long and are looked through for every call. */
const tables = new WeakMap<Destinations, PrefixTable>();

function tableOf(destinations: Destinations): PrefixTable {
  const known = tables.get(destinations);
  if (known !== undefined) return known;
  const rules = new Map<string, 'allow' | 'deny'>();
  for (const prefix of destinations.allow) rules.set(prefix, 'allow');
  for (const prefix of destinations.deny) rules.set(prefix, 'deny');
  let longest = 0;
  for (const prefix of rules.keys()) longest = Math.max(longest, prefix.length);
  const table = { rules, longest, closed: destinations.allow.length > 0 };
  tables.set(destinations, table);
  return table;
}

/** The longest beginning that fits decides; of the same one in both lists, deny. */
export function destinationVerdict(destinations: Destinations, readings: Readings): DestinationVerdict {
  const table = tableOf(destinations);
  if (table.rules.size === 0) return { allowed: true, by: undefined };
  const best = longestOf(table, readings.plain);
  if (best !== undefined && table.rules.get(best) === 'deny') return { allowed: false, by: best };
  for (const reading of readings.possible) {
    const rule = longestOf(table, [reading]);
    if (rule !== undefined && table.rules.get(rule) === 'deny') return { allowed: false, by: rule };
  }
  return table.closed && best === undefined ? { allowed: false, by: undefined } : { allowed: true, by: best };
}

function longestOf(table: PrefixTable, readings: readonly string[]): string | undefined {
  let best: string | undefined;
  for (const reading of readings) {
    for (let length = Math.min(table.longest, reading.length); length > 0; length--) {
      const prefix = reading.slice(0, length);
      const rule = table.rules.get(prefix);
      if (rule === undefined) continue;
      if (best === undefined || specificity(prefix) > specificity(best)) best = prefix;
      else if (specificity(prefix) === specificity(best) && rule === 'deny') best = prefix;
      break;
    }
  }
  return best;
}

/** Digits of a beginning: `+49` says as much as `49`. */
function specificity(prefix: string): number {
  return prefix.startsWith('+') ? prefix.length - 1 : prefix.length;
}

/** Room for one more under a bound; undefined: there is no bound. */
export function hasRoom(used: number, most: number | undefined): boolean {
  return most === undefined || used < most;
}

/** The smallest of the bounds that are given. */
export function smallest(...bounds: readonly (number | undefined)[]): number | undefined {
  let least: number | undefined;
  for (const bound of bounds) {
    if (bound !== undefined && (least === undefined || bound < least)) least = bound;
  }
  return least;
}
