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
 * @param examined numbers that are new, or `contested`
 * @param all every number there is
 */
export function* takenNumbers(
  examined: ReadonlySet<PhoneNumber>,
  trunks: ReadonlyMap<string, TrunkEntry>,
  all: ReadonlyMap<string, PhoneNumber>,
): Iterable<TakenNumber> {
  if (examined.size === 0 || !severalOrganizations(trunks)) return;
  const alone = aloneOf(examined, trunks);
  let count = 0;
  for (const { credentialsId } of examined) if (!alone.has(credentialsId)) count++;
  if (count === 0) return;
  const find = finder(count, trunks, all);
  /** Examined, and found to be nobody else's. */
  const free = new Set<PhoneNumber>();
  for (const number of examined) {
    const own = trunks.get(number.credentialsId);
    if (own === undefined || own.trunk.allowedAddresses.length === 0) continue;
    if (alone.has(number.credentialsId)) {
      free.add(number);
      continue;
    }
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

/** Of one trunk so many numbers are told at most: they say what is wrong with its addresses, and more would not say more. */
const TOLD_MAX = 100;
/** Up to so many trunks are compared with all others before their numbers are. */
const FEW = 50;

/**
 * Numbers of a trunk that another organisation has, where it takes calls from the same addresses now and did not before:
 * of what was so before, nothing has to be asked again.
 * @param before the trunks of the snapshot that is being changed
 */
export function* contested(
  own: TrunkEntry,
  trunks: ReadonlyMap<string, TrunkEntry>,
  before: ReadonlyMap<string, TrunkEntry>,
): Iterable<PhoneNumber> {
  const { id, organizationId } = own.trunk;
  const told = new Set<PhoneNumber>();
  for (const theirs of trunks.values()) {
    if (theirs.trunk.organizationId === organizationId || !shareAddresses(own, theirs)) continue;
    const once = [before.get(id), before.get(theirs.trunk.id)] as const;
    if (once[0] !== undefined && once[1] !== undefined && shareAddresses(once[0], once[1])) continue;
    for (const [mine, other] of inBoth(own, theirs)) {
      if (told.has(mine) || !mayBeOne(mine, own, other, theirs)) continue;
      told.add(mine);
      yield mine;
      if (told.size === TOLD_MAX) return;
    }
  }
}

function shareAddresses(a: TrunkEntry, b: TrunkEntry): boolean {
  const theirs = b.trunk.allowedAddresses;
  return a.trunk.allowedAddresses.some((mine) => theirs.some((block) => overlap(mine, block)));
}

/** Trunks of these numbers that take calls from where no other organisation's does. Of many trunks it is not asked. */
function aloneOf(
  numbers: Iterable<PhoneNumber>,
  trunks: ReadonlyMap<string, TrunkEntry>,
): ReadonlySet<string> {
  const asked = new Set<string>();
  for (const { credentialsId } of numbers) {
    asked.add(credentialsId);
    if (asked.size > FEW) return new Set();
  }
  const alone = new Set<string>();
  for (const id of asked) {
    const own = trunks.get(id);
    if (own !== undefined && !hasNeighbour(own, trunks)) alone.add(id);
  }
  return alone;
}

function hasNeighbour(own: TrunkEntry, trunks: ReadonlyMap<string, TrunkEntry>): boolean {
  for (const theirs of trunks.values()) {
    if (theirs.trunk.organizationId !== own.trunk.organizationId && shareAddresses(own, theirs)) return true;
  }
  return false;
}

type Pair = readonly [ofA: PhoneNumber, ofB: PhoneNumber];

/** Pairs of numbers that may be one, some twice. Looks up what is on the trunk with fewer. */
function inBoth(a: TrunkEntry, b: TrunkEntry): Pair[] {
  const pairs: Pair[] = [];
  if (a.numbers.size <= b.numbers.size) {
    a.numbers.forEach((mine, key) => {
      const other = b.numbers.get(key);
      if (other !== undefined) pairs.push([mine, other]);
    });
  } else {
    b.numbers.forEach((other, key) => {
      const mine = a.numbers.get(key);
      if (mine !== undefined) pairs.push([mine, other]);
    });
  }
  if (a.plan === b.plan) return pairs;
  // What is in E.164 every country reads in the same way; only what is not may mean another trunk's number.
  a.numbers.forEach((mine, key) => {
    if (key !== mine.normalised) return;
    for (const each of readings(key, a, b)) {
      const other = b.numbers.get(each);
      if (other !== undefined) pairs.push([mine, other]);
    }
  });
  b.numbers.forEach((other, key) => {
    if (key !== other.normalised) return;
    for (const each of readings(key, a, b)) {
      const mine = a.numbers.get(each);
      if (mine !== undefined) pairs.push([mine, other]);
    }
  });
  return pairs;
}

function* readings(digits: string, a: TrunkEntry, b: TrunkEntry): Iterable<string> {
  yield* a.plan.readings(digits);
  yield* b.plan.readings(digits);
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
