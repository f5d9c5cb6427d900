import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CopiedMap, settled } from '#directory/copied-map.js';

const base = (size: number): Map<string, number> =>
  new Map(Array.from({ length: size }, (_, n) => [`k${n}`, n]));

describe('a map that is copied when it is changed', () => {
  it.each([0, 10, 3_000])('behaves like a map, and leaves the one before as it was (%i entries)', (size) => {
    const step = fc.record({
      key: fc.integer({ min: 0, max: size + 20 }).map((n) => `k${n}`),
      value: fc.option(fc.integer()),
    });
    fc.assert(
      fc.property(fc.array(fc.array(step, { maxLength: 30 }), { maxLength: 6 }), (rounds) => {
        let now: ReadonlyMap<string, number> = base(size);
        const model = base(size);
        for (const steps of rounds) {
          const before = now;
          const contents = [...before];
          const copied = new CopiedMap(before);
          for (const { key, value } of steps) {
            if (value === null) expect(copied.own().delete(key)).toBe(model.delete(key));
            else {
              copied.own().set(key, value);
              model.set(key, value);
            }
            expect(copied.map.size).toBe(model.size);
            expect(copied.map.get(key)).toBe(model.get(key));
          }
          now = settled(copied.map);
          expect([...before]).toEqual(contents);
        }
        const order = (map: ReadonlyMap<string, number>): unknown[] => [...map].sort();
        expect(order(now)).toEqual(order(model));
        expect([...now.values()].length).toBe(model.size);
        expect([...now.keys()].sort()).toEqual([...model.keys()].sort());
      }),
      { numRuns: size > 1_000 ? 20 : 100 },
    );
  });

  it('grows as far as one likes, and every map before stays as it was', () => {
    let now: ReadonlyMap<string, number> = base(400);
    const kept: ReadonlyMap<string, number>[] = [];
    for (let n = 400; n < 40_000; ) {
      const copied = new CopiedMap(now);
      const until = n + 1_100;
      for (; n < until; n++) copied.own().set(`k${n}`, n);
      now = settled(copied.map);
      kept.push(now);
    }
    for (const [round, map] of kept.entries()) {
      const size = 400 + (round + 1) * 1_100;
      expect(map.size).toBe(size);
      expect([...map.values()].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, n) => n));
      expect([map.get('k0'), map.get(`k${size - 1}`), map.get(`k${size}`)]).toEqual([0, size - 1, undefined]);
    }
  });
});
