/** Numbers that two trunks of one organisation have while both take calls from exactly the same block. */
import type { CidrTable } from './cidr.js';
import type { TrunkEntry } from './compiled-snapshot.js';
import type { PhoneNumber } from './number.js';
import { matchKey } from './number-format.js';
import type { Trunk } from './trunk.js';

export interface Clash {
  /** The one that came later. */
  readonly number: PhoneNumber;
  readonly owner: PhoneNumber;
  /** Text of the block. */
  readonly block: string;
}

/** Up to so many new numbers and trunks are compared trunk by trunk; for more an index of everything is made. */
const FEW = 50;
/** Of one trunk so many numbers are told at most: they say what is wrong with its blocks, and more would not say more. */
const TOLD_MAX = 100;

export class SharedBlocks {
  readonly #trunks: ReadonlyMap<string, TrunkEntry>;
  readonly #sources: CidrTable<Trunk>;
  readonly #before: ReadonlyMap<string, TrunkEntry>;

  /** @param before the trunks of the snapshot that is being changed: what shared a block there has been compared */
  constructor(
    trunks: ReadonlyMap<string, TrunkEntry>,
    sources: CidrTable<Trunk>,
    before: ReadonlyMap<string, TrunkEntry>,
  ) {
    this.#trunks = trunks;
    this.#sources = sources;
    this.#before = before;
  }

  /** Clashes that involve something new; each pair of numbers once. */
  *clashes(
    newTrunks: Iterable<string>,
    newNumbers: Iterable<string>,
    numbers: ReadonlyMap<string, PhoneNumber>,
  ): Iterable<Clash> {
    const fresh = new Set(newNumbers);
    const trunks = new Set(newTrunks);
    if (trunks.size <= FEW && fresh.size <= FEW) {
      const told = new Set<PhoneNumber>();
      for (const id of trunks) yield* this.#clashesOn(id, trunks, fresh, told);
      for (const id of fresh) {
        const number = numbers.get(id);
        if (number !== undefined && !told.has(number)) yield* this.#clashesOf(number, fresh);
      }
    } else if (trunks.size + fresh.size > 0) {
      const touched = new Set(trunks);
      for (const id of fresh) {
        const number = numbers.get(id);
        if (number !== undefined) touched.add(number.credentialsId);
      }
      yield* this.#all(trunks, fresh, touched);
    }
  }

  /** Of a trunk whose blocks are new, with those that it did not share them with before. */
  *#clashesOn(
    id: string,
    trunks: ReadonlySet<string>,
    fresh: ReadonlySet<string>,
    told: Set<PhoneNumber>,
  ): Iterable<Clash> {
    const own = this.#trunks.get(id);
    if (own === undefined) return;
    const compared = new Set([id]);
    let count = 0;
    for (const block of own.trunk.allowedAddresses) {
      for (const trunk of this.#sources.exactly(block)) {
        const other = this.#trunks.get(trunk.id);
        if (
          other === undefined ||
          compared.has(trunk.id) ||
          trunk.organizationId !== own.trunk.organizationId
        )
          continue;
        compared.add(trunk.id);
        if (this.#sharedBefore(id, trunk.id)) continue;
        for (const [mine, theirs] of inBoth(own.numbers, other.numbers)) {
          // Who was there first stays: what is new is at fault, and of what is new the later.
          const pair = trunks.has(trunk.id) ? ([theirs, mine] as const) : ([mine, theirs] as const);
          const [number, owner] =
            fresh.has(pair[1].id) && !fresh.has(pair[0].id) ? ([pair[1], pair[0]] as const) : pair;
          if (told.has(number) || told.has(owner)) continue;
          told.add(number);
          yield { number, owner, block: block.text };
          if (++count === TOLD_MAX) return;
        }
      }
    }
  }

  #sharedBefore(a: string, b: string): boolean {
    const theirs = this.#before.get(b)?.trunk.allowedAddresses ?? [];
    return (this.#before.get(a)?.trunk.allowedAddresses ?? []).some(({ text }) =>
      theirs.some((block) => block.text === text),
    );
  }

  *#clashesOf(number: PhoneNumber, fresh: ReadonlySet<string>): Iterable<Clash> {
    const own = this.#trunks.get(number.credentialsId);
    const key = matchKey(number.normalised);
    const found = new Set<PhoneNumber>();
    for (const block of own?.trunk.allowedAddresses ?? []) {
      for (const trunk of this.#sources.exactly(block)) {
        const owner =
          trunk.id === number.credentialsId || trunk.organizationId !== number.organizationId
            ? undefined
            : this.#trunks.get(trunk.id)?.numbers.get(key);
        // Of two new ones the pair is told once.
        if (owner === undefined || found.has(owner) || (fresh.has(owner.id) && owner.id > number.id))
          continue;
        found.add(owner);
        yield { number, owner, block: block.text };
      }
    }
  }

  /** @param touched trunks that are new, or have new numbers */
  *#all(
    trunks: ReadonlySet<string>,
    fresh: ReadonlySet<string>,
    touched: ReadonlySet<string>,
  ): Iterable<Clash> {
    const checked = new Set<string>();
    const told = new Set<PhoneNumber>();
    for (const { text, values } of this.#sources.blocks()) {
      if (values.length < 2) continue;
      const organizations = new Set<string>();
      for (const { id, organizationId } of values) if (touched.has(id)) organizations.add(organizationId);
      if (organizations.size === 0) continue;
      const signature = values.map((trunk) => trunk.id).join('\n');
      if (checked.has(signature)) continue;
      checked.add(signature);
      const byOrganization = new Map<string, Map<string, PhoneNumber>>();
      for (const trunk of values) {
        if (!organizations.has(trunk.organizationId)) continue;
        const owners = byOrganization.get(trunk.organizationId) ?? new Map<string, PhoneNumber>();
        byOrganization.set(trunk.organizationId, owners);
        for (const [key, number] of this.#trunks.get(trunk.id)?.numbers ?? []) {
          const owner = owners.get(key);
          if (owner === undefined) owners.set(key, number);
          else {
            // Who was there first stays: what is new is at fault.
            const swapped = fresh.has(owner.id) && !fresh.has(number.id);
            const clash = swapped ? { number: owner, owner: number } : { number, owner };
            const isNew =
              fresh.has(clash.number.id) ||
              trunks.has(clash.number.credentialsId) ||
              trunks.has(clash.owner.credentialsId);
            if (!isNew || told.has(clash.number)) continue;
            told.add(clash.number);
            yield { ...clash, block: text };
          }
        }
      }
    }
  }
}

/** Pairs of numbers of one key. */
function inBoth(
  a: ReadonlyMap<string, PhoneNumber>,
  b: ReadonlyMap<string, PhoneNumber>,
): (readonly [ofA: PhoneNumber, ofB: PhoneNumber])[] {
  const pairs: (readonly [PhoneNumber, PhoneNumber])[] = [];
  const swapped = a.size > b.size;
  const [few, many] = swapped ? [b, a] : [a, b];
  few.forEach((one, key) => {
    const other = many.get(key);
    if (other !== undefined) pairs.push(swapped ? [other, one] : [one, other]);
  });
  return pairs;
}
