import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightedOrder } from '#lib/weighted-order.js';

const member = fc.record({ priority: fc.nat({ max: 3 }), weight: fc.nat({ max: 4 }) });
const sorted = fc.array(member, { maxLength: 8 }).map((list) => list.sort((a, b) => a.priority - b.priority));

describe('order by priority and weight', () => {
  it('holds everyone once, by priority', () => {
    fc.assert(
      fc.property(
        sorted,
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (list, draws) => {
          const ordered = weightedOrder(list, () => draws.next().value as number);
          expect(ordered).toHaveLength(list.length);
          expect(new Set(ordered)).toEqual(new Set(list));
          for (let i = 1; i < ordered.length; i++)
            expect(ordered[i]!.priority).toBeGreaterThanOrEqual(ordered[i - 1]!.priority);
        },
      ),
    );
  });

  it('is the list itself when nothing is left to chance', () => {
    const list = [
      { priority: 1, weight: 1 },
      { priority: 2, weight: 1 },
    ];
    expect(weightedOrder(list, () => 0)).toBe(list);
  });

  it('gives first places in proportion to weight', () => {
    const list = [
      { priority: 1, weight: 1 },
      { priority: 1, weight: 3 },
      { priority: 1, weight: 0 },
    ];
    const firsts = new Map<number, number>();
    // Every draw once: a number from 0 to the sum, inclusive (RFC 2782).
    for (let draw = 0; draw <= 4; draw++) {
      const first = weightedOrder(list, () => (draw + 0.5) / 5)[0]!.weight;
      firsts.set(first, (firsts.get(first) ?? 0) + 1);
    }
    expect(firsts).toEqual(
      new Map([
        [0, 1],
        [1, 1],
        [3, 3],
      ]),
    );
  });

  it('shares evenly among zeros', () => {
    const list = [
      { priority: 1, weight: 0, name: 'a' },
      { priority: 1, weight: 0, name: 'b' },
    ];
    expect(weightedOrder(list, () => 0.9)[0]!.name).toBe('b');
    expect(weightedOrder(list, () => 0.1)[0]!.name).toBe('a');
  });
});
