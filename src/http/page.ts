/** Lists by pages: a cursor names the place of the last item given out, so what comes or goes meanwhile does no harm. */
import * as z from 'zod';
import { Problem } from './problem.js';

const PAGE_DEFAULT = 50;
const PAGE_MAX = 500;

/** Of every list. */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(PAGE_MAX)
    .default(PAGE_DEFAULT)
    .meta({ description: `Most items of one answer, 1 to ${PAGE_MAX}.` }),
  cursor: z.string().max(1_024).optional().meta({ description: '`nextCursor` of the answer before.' }),
};

export type PageQuery = Readonly<z.output<z.ZodObject<typeof pageQuery>>>;

/** The answer of every list. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    nextCursor: z.string().nullable().meta({ description: 'For the next page; null: this is the last one.' }),
  });
}

export interface PageOptions<T> {
  readonly limit: number;
  readonly cursor?: string | undefined;
  /** A text that orders the items and does not change while an item lives. */
  readonly placeOf: (item: T) => string;
  /** What such a text looks like; default: any but the empty one. */
  readonly place?: RegExp;
  readonly descending?: boolean | undefined;
}

/**
 * One page of a list in the order of `placeOf`. Throws a Problem (400) for a cursor that no list gave out.
 */
export function page<T>(
  items: Iterable<T>,
  options: PageOptions<T>,
): { items: T[]; nextCursor: string | null } {
  const { limit, cursor, placeOf, place: shape = /./, descending = false } = options;
  const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
  if (after !== undefined && !shape.test(after)) throw badCursor();
  const before = descending ? (a: string, b: string) => a > b : (a: string, b: string) => a < b;
  // The first `limit` and one more, in order: a long list is gone through once, and not sorted, for each of its pages.
  const rest: { readonly item: T; readonly place: string }[] = [];
  for (const item of items) {
    const place = placeOf(item);
    if (after !== undefined && !before(after, place)) continue;
    if (rest.length > limit && !before(place, rest[limit]!.place)) continue;
    let low = 0;
    let high = rest.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(place, rest[middle]!.place)) high = middle;
      else low = middle + 1;
    }
    rest.splice(low, 0, { item, place });
    if (rest.length > limit + 1) rest.pop();
  }
  const last = rest.length > limit ? rest[limit - 1] : undefined;
  return {
    items: rest.slice(0, limit).map(({ item }) => item),
    nextCursor: last === undefined ? null : Buffer.from(last.place).toString('base64url'),
  };
}

function badCursor(): Problem {
  const message = 'is not one that this list gave out';
  return new Problem(400, 'invalid_request', 'Invalid request', `cursor: ${message}`, [
    { path: 'cursor', message, hint: 'leave it away to start anew' },
  ]);
}
