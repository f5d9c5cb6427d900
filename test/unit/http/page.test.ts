/** Pages of a list: all of it in order, each item once, whatever order it is kept in. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { page } from '#http/page.js';

const options = (limit: number, descending: boolean, cursor?: string) => ({
  ...{ limit, descending, cursor },
  placeOf: ({ id }: { id: string }) => id,
  place: /^[a-z]+$/,
});

describe('pages', () => {
  it('give every item once and in order', () => {
    const ids = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}$/), { maxLength: 60 });
    fc.assert(
      fc.property(ids, fc.integer({ min: 1, max: 20 }), fc.boolean(), (given, limit, descending) => {
        const items = given.map((id) => ({ id }));
        const got: string[] = [];
        let cursor: string | undefined;
        for (let pages = 0; pages <= given.length; pages++) {
          const answer = page(items, options(limit, descending, cursor));
          got.push(...answer.items.map(({ id }) => id));
          if (answer.nextCursor === null) break;
          expect(answer.items.length).toBe(limit);
          cursor = answer.nextCursor;
        }
        const all = given.toSorted();
        expect(got).toEqual(descending ? all.reverse() : all);
      }),
    );
  });

  it('go on where they were, whatever came and went', () => {
    const first = page([{ id: 'd' }, { id: 'b' }, { id: 'a' }], options(2, false));
    expect(first.items).toEqual([{ id: 'a' }, { id: 'b' }]);
    const rest = page([{ id: 'd' }, { id: 'aa' }, { id: 'c' }], options(2, false, first.nextCursor!));
    expect(rest).toEqual({ items: [{ id: 'c' }, { id: 'd' }], nextCursor: null });
  });

  it('refuse a cursor that no list gave out', () => {
    expect(() => page([], options(2, false, '!!'))).toThrow('cursor');
  });
});
