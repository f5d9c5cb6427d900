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

/** Up to so many new numbers are compared trunk by trunk; for more an index of everything is made. */
const FEW = 50;

export class SharedBlocks {
  readonly #trunks: ReadonlyMap<string, TrunkEntry>;
  readonly #sources: CidrTable<Trunk>;

  constructor(trunks: ReadonlyMap<string, TrunkEntry>, sources: CidrTable<Trunk>) {
    this.#trunks = trunks;
    this.#sources = sources;
  }

  /** Clashes that involve something new; each pair of numbers once. */
  *clashes(
    newTrunks: Iterable<string>,
    newNumbers: Iterable<string>,
    numbers: ReadonlyMap<string, PhoneNumber>,
  ): Iterable<Clash> {
    const fresh = new Set(newNumbers);
    const trunks = new Set(newTrunks);
    if (trunks.size === 0 && fresh.size <= FEW) {
      for (const id of fresh) {
        const number = numbers.get(id);
        if (number !== undefined) yield* this.#clashesOf(number, fresh);
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
