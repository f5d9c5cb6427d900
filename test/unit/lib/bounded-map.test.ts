import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedMap } from '#lib/bounded-map.js';

describe('the bounded map', () => {
  it('behaves as a map from which the oldest entry goes at the limit', () => {
    const step = fc.record({
      op: fc.constantFrom('set' as const, 'delete' as const, 'clear' as const),
      key: fc.nat({ max: 12 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 200 }), (limit, steps) => {
        const evicted: number[] = [];
        const expectedEvicted: number[] = [];
        const map = new BoundedMap<number, number>(limit, (key) => evicted.push(key));
        const model = new Map<number, number>();
        steps.forEach(({ op, key }, i) => {
          if (op === 'set') {
            map.set(key, i);
            model.set(key, i);
            if (model.size > limit) {
              const oldest = [...model.keys()][0]!;
              model.delete(oldest);
              expectedEvicted.push(oldest);
            }
          } else if (op === 'delete' && i % 7 !== 0) {
            expect(map.delete(key)).toBe(model.delete(key));
          } else if (i % 7 === 0) {
            map.clear();
            model.clear();
          }
          expect([...map]).toEqual([...model]);
          expect(map.size).toBe(model.size);
        });
        expect(evicted).toEqual(expectedEvicted);
      }),
    );
  });

  it('refuses a limit below one', () => {
    expect(() => new BoundedMap(0)).toThrow(RangeError);
    expect(() => new BoundedMap(Number.NaN)).toThrow(RangeError);
  });
});
