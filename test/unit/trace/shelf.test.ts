import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Shelf } from '#trace/shelf.js';
import { LISTENER } from './kit.js';

const SIZE = 262_144;

function keep(shelf: Shelf, sequence: number, octets: string): void {
  shelf.keep(
    sequence,
    1_000 + sequence,
    sequence % 2 === 0 ? 'in' : 'out',
    octets,
    LISTENER,
    '192.0.2.1',
    5080,
  );
}

const all = (shelf: Shelf) =>
  Array.from({ length: shelf.next - shelf.oldest }, (_, i) =>
    shelf.message(shelf.oldest + i, shelf.octetsOf(shelf.oldest + i)),
  );

describe('a shelf', () => {
  it('gives back what was kept, octet by octet', () => {
    const shelf = new Shelf(SIZE);
    const octets = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('');
    keep(shelf, 7, octets);
    expect(all(shelf)).toEqual([
      {
        sequence: 7,
        at: 1_007,
        direction: 'out',
        listener: LISTENER,
        address: '192.0.2.1',
        port: 5080,
        octets,
        length: 256,
      },
    ]);
    expect(shelf.oldestAt()).toBe(1_007);
  });

  it('keeps the beginning of a message that is too long, and says how long it was', () => {
    const shelf = new Shelf(SIZE);
    keep(shelf, 0, 'x'.repeat(100_000));
    const [only] = all(shelf);
    expect(only?.octets.length).toBe(65_536);
    expect(only?.length).toBe(100_000);
  });

  it('is empty at first', () => {
    const shelf = new Shelf(SIZE);
    expect(all(shelf)).toEqual([]);
    expect(shelf.oldestAt()).toBeUndefined();
  });

  it('whatever the lengths: holds the newest messages, whole, in order, and as many as fit', () => {
    const length = fc.oneof(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 5_000 }),
      fc.integer({ min: 30_000, max: 65_536 }),
    );
    fc.assert(
      fc.property(
        fc.array(length, { minLength: 1, maxLength: 400 }),
        fc.integer({ min: 1, max: 6 }),
        (lengths, times) => {
          const shelf = new Shelf(SIZE);
          const sent: string[] = [];
          for (let round = 0; round < times; round++) {
            for (const each of lengths) {
              const octets = `${sent.length}:`
                .padEnd(each, String.fromCharCode(97 + (sent.length % 26)))
                .slice(0, each);
              keep(shelf, sent.length, octets);
              sent.push(octets);
            }
          }
          const kept = all(shelf);
          expect(kept.map(({ octets }) => octets)).toEqual(sent.slice(sent.length - kept.length));
          expect(kept.map(({ sequence }) => sequence)).toEqual(
            kept.map((_, i) => sent.length - kept.length + i),
          );
          // What is not kept did not fit: one more would need its place, or its octets and what a turn of the ring leaves unused.
          const octets = kept.reduce((sum, each) => sum + each.octets.length, 0);
          const next = sent[sent.length - kept.length - 1];
          if (next !== undefined && kept.length < SIZE / 256 - 1) {
            expect(octets + next.length).toBeGreaterThan(SIZE - 2 * 65_536);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
