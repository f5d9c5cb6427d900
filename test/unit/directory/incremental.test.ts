/**
 * An edit looks only at what it changes. Whatever the order of edits, it is refused exactly when everything, compiled from
 * scratch with it, has a fault.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import type { CompiledSnapshot } from '#directory/compiled-snapshot.js';
import { apply, type Change } from '#directory/merge.js';
import { type Described, directoryInput, snapshotOf } from '../../kit/directory.js';

const ORGANIZATIONS = ['a', 'b'] as const;
const BLOCKS = ['192.0.2.0/24', '192.0.2.7', '198.51.100.0/24'];
/** What two countries read differently is compared as it was written, from one side (`taken-numbers.ts`). */
const COUNTRIES = [undefined, 'US'];
const SPELLINGS = ['+14155550100', '14155550100', '4155550100', '0014155550100', '+12125550199'];

interface TrunkState {
  readonly allowedAddresses: string[];
  readonly country: string | undefined;
}

type Edit =
  | { readonly what: 'trunk'; readonly id: string; readonly state: TrunkState }
  | { readonly what: 'number'; readonly id: string; readonly trunk: string; readonly phoneNumber: string }
  | { readonly what: 'gone'; readonly id: string };

const TRUNKS = ['a0', 'a1', 'b0', 'b1'];
const trunkId = fc.constantFrom(...TRUNKS);
const numberId = fc.integer({ min: 0, max: 4 }).map((n) => `n${n}`);
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({
    what: fc.constant('trunk' as const),
    id: trunkId,
    state: fc.record({
      allowedAddresses: fc.subarray(BLOCKS, { minLength: 1, maxLength: 2 }),
      country: fc.constantFrom(...COUNTRIES),
    }),
  }),
  fc.record({
    what: fc.constant('number' as const),
    id: numberId,
    trunk: trunkId,
    phoneNumber: fc.constantFrom(...SPELLINGS),
  }),
  fc.record({ what: fc.constant('gone' as const), id: numberId }),
);

interface World {
  readonly trunks: ReadonlyMap<string, TrunkState>;
  readonly numbers: ReadonlyMap<string, { readonly trunk: string; readonly phoneNumber: string }>;
}

const ownerOf = (trunk: string): string => ORGANIZATIONS.find((id) => trunk.startsWith(id))!;

function described({ trunks, numbers }: World): Described {
  return {
    sipCredentials: Array.from(trunks, ([id, { allowedAddresses, country }]) => ({
      id,
      organizationId: ownerOf(id),
      server: 's',
      allowedAddresses,
      country,
    })),
    phoneNumbers: Array.from(numbers, ([id, { trunk, phoneNumber }]) => ({
      id,
      organizationId: ownerOf(trunk),
      credentialsId: trunk,
      phoneNumber,
    })),
  };
}

function edited({ trunks, numbers }: World, edits: readonly Edit[]): World {
  const next = { trunks: new Map(trunks), numbers: new Map(numbers) };
  for (const one of edits) {
    if (one.what === 'trunk') next.trunks.set(one.id, one.state);
    else if (one.what === 'number')
      next.numbers.set(one.id, { trunk: one.trunk, phoneNumber: one.phoneNumber });
    else next.numbers.delete(one.id);
  }
  return next;
}

function changesOf(world: World, edits: readonly Edit[]): Change[] {
  const { trunks, numbers } = directoryInput(described(world));
  return edits.map((one): Change => {
    if (one.what === 'trunk') {
      const model = { ...trunks.find(({ id }) => id === one.id)!, source: 'manual' as const };
      return { kind: 'sipCredentials', id: one.id, model: { kind: 'sipCredentials', model } };
    }
    if (one.what === 'gone') return { kind: 'phoneNumber', id: one.id, model: undefined };
    const model = { ...numbers.find(({ id }) => id === one.id)!, source: 'manual' as const };
    return { kind: 'phoneNumber', id: one.id, model: { kind: 'phoneNumber', model } };
  });
}

describe('edit after edit', () => {
  it('is refused exactly when the whole would have a fault', () => {
    let refused = 0;
    let written = 0;
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(edit, { minLength: 1, maxLength: 3, selector: ({ id }) => id }), {
          size: 'max',
          maxLength: 40,
        }),
        (rounds) => {
          const start: Edit[] = TRUNKS.map((id) => ({
            what: 'trunk',
            id,
            state: { allowedAddresses: [], country: undefined },
          }));
          let world = edited({ trunks: new Map(), numbers: new Map() }, start);
          let snapshot = snapshotOf({}) as CompiledSnapshot;
          const made = apply(snapshot, changesOf(world, start), []);
          if (!('finish' in made)) throw new Error(JSON.stringify(made));
          snapshot = made.finish(1);
          for (const edits of rounds) {
            const next = edited(world, edits);
            const whole = compileSnapshot(directoryInput(described(next)), 1);
            const draft = apply(snapshot, changesOf(next, edits), []);
            const fine = 'finish' in draft;
            expect([edits, fine ? [] : draft, fine]).toEqual([
              edits,
              fine ? [] : draft,
              whole.kind !== 'faults',
            ]);
            if (!fine) {
              refused++;
              continue;
            }
            written++;
            world = next;
            snapshot = draft.finish(snapshot.version + 1);
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(refused).toBeGreaterThan(50);
    expect(written).toBeGreaterThan(50);
  });
});
