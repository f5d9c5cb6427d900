/**
 * Numbers that trunks of two organisations have while some address may call by either. The carriers' addresses are the
 * same for all their customers, so organisations may name the same blocks, wider and narrower ones; what tells their calls
 * apart is the number, and that is one organisation's only. Else whoever names the narrower block would get the
 * other's calls. (Within one organisation the narrower block decides: `shared-blocks.ts`.)
 */
import { overlap } from './cidr.js';
import type { TrunkEntry } from './compiled-snapshot.js';
import type { PhoneNumber } from './number.js';
import { matchKey } from './number-format.js';

export interface TakenNumber {
  /** The one that is at fault; of two that are examined, the later one. */
  readonly number: PhoneNumber;
  /** Text of a block of its own trunk. */
  readonly block: string;
}

/**
 * @param examined numbers that are new, or whose trunk now takes calls from elsewhere
 * @param all every number there is
 */
export function* takenNumbers(
  examined: ReadonlySet<PhoneNumber>,
  trunks: ReadonlyMap<string, TrunkEntry>,
  all: ReadonlyMap<string, PhoneNumber>,
): Iterable<TakenNumber> {
  if (examined.size === 0 || !severalOrganizations(trunks)) return;
  const find = finder(examined.size, trunks, all);
  /** Examined, and found to be nobody else's. */
  const free = new Set<PhoneNumber>();
  for (const number of examined) {
    const own = trunks.get(number.credentialsId);
    if (own === undefined || own.trunk.allowedAddresses.length === 0) continue;
    const block = blockShared(number, own);
    if (block === undefined) free.add(number);
    else yield { number, block };
  }

  function blockShared(number: PhoneNumber, own: TrunkEntry): string | undefined {
    for (const other of find(number, own)) {
      if (other.organizationId === number.organizationId) continue;
      // Of two that are examined, the earlier one stays.
      if (examined.has(other) && !free.has(other)) continue;
      const theirs = trunks.get(other.credentialsId);
      if (theirs === undefined || !mayBeOne(number, own, other, theirs)) continue;
      const blocks = theirs.trunk.allowedAddresses;
      const shared = own.trunk.allowedAddresses.find((mine) => blocks.some((block) => overlap(mine, block)));
      if (shared !== undefined) return shared.text;
    }
    return undefined;
  }
}

/** Some spelling means both. */
function mayBeOne(a: PhoneNumber, ofA: TrunkEntry, b: PhoneNumber, ofB: TrunkEntry): boolean {
  const keyA = matchKey(a.normalised);
  const keyB = matchKey(b.normalised);
  return (
    keyA === keyB ||
    matchKey(ofA.plan.normalise(b.phoneNumber)) === keyA ||
    matchKey(ofB.plan.normalise(a.phoneNumber)) === keyB
  );
}

type Find = (number: PhoneNumber, own: TrunkEntry) => Iterable<PhoneNumber>;

/** Few are looked up trunk by trunk; for more an index of everything is made. */
function finder(
  count: number,
  trunks: ReadonlyMap<string, TrunkEntry>,
  all: ReadonlyMap<string, PhoneNumber>,
): Find {
  const plans = new Set(Array.from(trunks.values(), ({ plan }) => plan));
  const index = count * trunks.size > all.size ? indexOf(all) : undefined;
  return function* find(number, own) {
    const key = matchKey(number.normalised);
    const keys = new Set([key]);
    if (plans.size > 1) {
      for (const spelling of own.plan.spellings(number.normalised)) keys.add(spelling);
      // What is in E.164 already, every country reads in the same way.
      if (key === number.normalised) {
        for (const plan of plans) for (const reading of plan.readings(key)) keys.add(reading);
      }
    }
    if (index !== undefined) {
      for (const each of keys) yield* index.get(each) ?? [];
      return;
    }
    for (const { trunk, numbers } of trunks.values()) {
      if (trunk.organizationId === number.organizationId || numbers.size === 0) continue;
      for (const each of keys) {
        const found = numbers.get(each);
        if (found !== undefined) yield found;
      }
    }
  };
}

function indexOf(all: ReadonlyMap<string, PhoneNumber>): Map<string, PhoneNumber[]> {
  const index = new Map<string, PhoneNumber[]>();
  for (const number of all.values()) {
    const key = matchKey(number.normalised);
    const known = index.get(key);
    if (known === undefined) index.set(key, [number]);
    else known.push(number);
  }
  return index;
}

function severalOrganizations(trunks: ReadonlyMap<string, TrunkEntry>): boolean {
  let first: string | undefined;
  for (const { trunk } of trunks.values()) {
    first ??= trunk.organizationId;
    if (trunk.organizationId !== first) return true;
  }
  return false;
}
