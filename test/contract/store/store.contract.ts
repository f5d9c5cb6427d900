/**
 * What every store promises (src/directory/store.ts), as one suite. Each opens the same place twice where two nodes
 * are needed: what one writes the other sees.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change, Document, Expected, ObjectKind, Store } from '#directory/store.js';
import type { Clock } from '#lib/clock.js';
import { until } from '../../kit/processes.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

export interface StoreLimits {
  readonly deletionsKept?: number;
  readonly memoryEntriesMax?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** An empty place for a store, which any number of nodes open. */
export interface StorePlace {
  open(limits?: StoreLimits): Promise<Store>;
  /** Removes what is left. */
  remove(): Promise<void>;
}

const ORGANIZATION = 'acme';

export function put(
  kind: ObjectKind,
  id: string,
  document: Document,
  expect: Expected = 'any',
  organizationId = ORGANIZATION,
): Change {
  return { kind, id, expect, organizationId, document };
}

export function drop(kind: ObjectKind, id: string, expect: Expected = 'any'): Change {
  return { kind, id, expect, document: null };
}

export function storeContract(name: string, place: () => Promise<StorePlace>): void {
  describe(`${name} as a store`, () => {
    let here: StorePlace;
    let store: Store;
    const opened: Store[] = [];

    const open = async (limits?: StoreLimits): Promise<Store> => {
      const another = await here.open(limits);
      opened.push(another);
      return another;
    };

    beforeEach(async () => {
      here = await place();
      store = await open();
    });

    afterEach(async () => {
      for (const each of opened.splice(0)) await each.close();
      await here.remove();
    });

    async function write(...changes: Change[]): Promise<number> {
      const outcome = await store.transaction(changes);
      if (outcome.kind !== 'committed') throw new Error(JSON.stringify(outcome));
      return outcome.sequence;
    }

    describe('objects', () => {
      it('are what was written, with version and times', async () => {
        const document = { name: 'Zoë 🙂 "quoted"\n', list: [1, 0.5, null, true, { deep: {} }], empty: {} };
        const before = Date.now();
        const version = await write(put('agent', 'sales', document));
        const object = await store.get('agent', 'sales');
        expect(object).toMatchObject({ kind: 'agent', id: 'sales', organizationId: ORGANIZATION, version });
        expect(object?.document).toEqual(document);
        expect(object?.createdAt).toBeGreaterThanOrEqual(before - 1_000);
        expect(object?.updatedAt).toBe(object?.createdAt);
        expect(await store.get('agent', 'support')).toBeUndefined();
        expect(await store.get('phoneNumber', 'sales')).toBeUndefined();
      });

      it('keep the time of their creation and get a new version with each change', async () => {
        await write(put('agent', 'sales', { step: 1 }));
        const first = await store.get('agent', 'sales');
        // By the millisecond, which must not be the same one.
        await until('time goes on', () => Date.now() > (first?.updatedAt ?? 0) + 1);
        await write(put('agent', 'sales', { step: 2 }));
        const second = await store.get('agent', 'sales');
        expect(second?.document).toEqual({ step: 2 });
        expect(second?.createdAt).toBe(first?.createdAt);
        expect(second?.version).toBeGreaterThan(first?.version ?? 0);
        expect(second?.updatedAt).toBeGreaterThan(first?.updatedAt ?? 0);
      });

      it('are listed by kind in order of their ids, page by page, of one organisation or of all', async () => {
        const ids = ['b', 'a', '+1', 'Z', 'a.b', 'a-b', '~x'];
        await write(
          ...ids.map((id) => put('agent', id, { id })),
          put('agent', 'other', {}, 'any', 'other'),
          put('phoneNumber', 'c', {}),
        );
        const sorted = [...ids, 'other'].sort();
        const all: string[] = [];
        for (let after: string | undefined; ; ) {
          const page = await store.list('agent', { after, limit: 3 });
          if (page.length === 0) break;
          all.push(...page.map(({ id }) => id));
          after = page.at(-1)?.id;
        }
        expect(all).toEqual(sorted);
        const own = await store.list('agent', { organizationId: 'other', limit: 10 });
        expect(own.map(({ id }) => id)).toEqual(['other']);
        const rest = await store.list('agent', { organizationId: ORGANIZATION, after: 'a', limit: 2 });
        expect(rest.map(({ id }) => id)).toEqual(['a-b', 'a.b']);
      });

      it('leave the list of an organisation that they are moved from', async () => {
        await write(put('agent', 'sales', {}));
        await write(put('agent', 'sales', {}, 'any', 'other'));
        expect(await store.list('agent', { organizationId: ORGANIZATION, limit: 10 })).toEqual([]);
        expect(await store.list('agent', { organizationId: 'other', limit: 10 })).toHaveLength(1);
      });

      it('load whole, with the sequence to go on from', async () => {
        const sequence = await write(
          put('agent', 'a', {}),
          put('phoneNumber', 'n', {}),
          put('token', 't', {}),
        );
        const state = await store.load(['agent', 'phoneNumber']);
        expect(state.sequence).toBe(sequence);
        expect(state.objects.map(({ kind, id }) => `${kind}/${id}`).sort()).toEqual([
          'agent/a',
          'phoneNumber/n',
        ]);
      });

      it('survive the end of the store', async () => {
        await write(put('agent', 'a', { x: 1 }));
        await store.close();
        store = await open();
        expect((await store.get('agent', 'a'))?.document).toEqual({ x: 1 });
      });
    });

    describe('a transaction', () => {
      it('writes all or nothing: one wrong version refuses the whole', async () => {
        const version = await write(put('agent', 'a', { v: 1 }), put('agent', 'b', { v: 1 }));
        await write(put('agent', 'b', { v: 2 }));
        const outcome = await store.transaction([
          put('agent', 'a', { v: 3 }, version),
          put('agent', 'b', { v: 3 }, version),
          put('agent', 'c', { v: 3 }, 'absent'),
          drop('agent', 'd', 7),
        ]);
        expect(outcome).toEqual({
          kind: 'conflict',
          conflicts: [
            { kind: 'agent', id: 'b', version: version + 1 },
            { kind: 'agent', id: 'd', version: 0 },
          ],
        });
        expect((await store.get('agent', 'a'))?.document).toEqual({ v: 1 });
        expect(await store.get('agent', 'c')).toBeUndefined();
      });

      it('tells absent from present', async () => {
        await write(put('agent', 'a', {}, 'absent'));
        expect(await store.transaction([put('agent', 'a', {}, 'absent')])).toMatchObject({
          kind: 'conflict',
        });
        expect(await store.transaction([drop('agent', 'b', 'any')])).toMatchObject({ kind: 'committed' });
      });

      it('never gives a version twice, not even to an object that was deleted and made again', async () => {
        const first = await write(put('agent', 'a', { life: 1 }));
        await write(drop('agent', 'a'));
        const second = await write(put('agent', 'a', { life: 2 }));
        expect(second).toBeGreaterThan(first);
        expect(await store.transaction([put('agent', 'a', {}, first)])).toMatchObject({ kind: 'conflict' });
      });

      it('is refused as stale when somebody has written since', async () => {
        const sequence = await write(put('agent', 'a', {}));
        const done = await store.transaction([put('agent', 'b', {})], { ifSequence: sequence });
        expect(done).toMatchObject({ kind: 'committed', sequence: sequence + 1 });
        expect(await store.transaction([put('agent', 'c', {})], { ifSequence: sequence })).toEqual({
          kind: 'stale',
          sequence: sequence + 1,
        });
        expect(await store.get('agent', 'c')).toBeUndefined();
      });

      it('lets one of many writers win and tells the others', async () => {
        const other = await open();
        const version = await write(put('agent', 'a', { n: 0 }));
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            (n % 2 === 0 ? store : other).transaction([put('agent', 'a', { n: n + 1 }, version)]),
          ),
        );
        expect(outcomes.filter(({ kind }) => kind === 'committed')).toHaveLength(1);
        expect(outcomes.filter(({ kind }) => kind === 'conflict')).toHaveLength(19);
      });

      it('is on its own among many that are under way: one that is refused takes nothing else along', async () => {
        const version = await write(put('agent', 'a', { v: 1 }));
        const outcomes = await Promise.all(
          Array.from({ length: 30 }, (_, n) =>
            n % 3 === 0
              ? store.transaction([put('agent', `b${n}`, {}), put('agent', 'a', { v: n }, version - 1)])
              : store.transaction([put('agent', `b${n}`, { n })]),
          ),
        );
        expect(outcomes.map(({ kind }) => kind)).toEqual(
          outcomes.map((_, n) => (n % 3 === 0 ? 'conflict' : 'committed')),
        );
        const sequences = outcomes.flatMap((each) => (each.kind === 'committed' ? [each.sequence] : []));
        expect(sequences.toSorted((a, b) => a - b)).toEqual(sequences.map((_, n) => version + 1 + n));
        const there = await store.list('agent', { limit: 100 });
        expect(there.map(({ id }) => id).sort()).toEqual(
          ['a', ...outcomes.flatMap((_, n) => (n % 3 === 0 ? [] : [`b${n}`]))].sort(),
        );
        expect((await store.get('agent', 'a'))?.document).toEqual({ v: 1 });
      });

      it('takes thousands of changes as one', async () => {
        const changes = Array.from({ length: 5_000 }, (_, n) => put('phoneNumber', `+1${n}`, { n }));
        const sequence = await write(...changes);
        const outcome = await store.transaction(changes.map(({ kind, id }) => drop(kind, id, sequence)));
        expect(outcome.kind).toBe('committed');
        expect((await store.load(['phoneNumber'])).objects).toEqual([]);
      });

      it('of thousands is refused whole for its last one, and leaves nothing behind', async () => {
        const many = Array.from({ length: 3_000 }, (_, n) => put('agent', `a${n}`, {}));
        const large = put('agent', 'large', { text: 'x'.repeat(1_100_000) });
        await expect(store.transaction([...many, large])).rejects.toThrow(/larger than/);
        expect(await store.transaction([...many, put('agent', 'last', {}, 7)])).toMatchObject({
          kind: 'conflict',
          conflicts: [{ id: 'last' }],
        });
        await write(put('agent', 'next', {}));
        expect((await store.load(['agent'])).objects.map(({ id }) => id)).toEqual(['next']);
      });

      it('refuses a key twice and a document that is too large', async () => {
        await expect(store.transaction([put('agent', 'a', {}), drop('agent', 'a')])).rejects.toThrow(
          /once only/,
        );
        const large = { text: 'x'.repeat(1_100_000) };
        await expect(store.transaction([put('agent', 'a', large)])).rejects.toThrow(/larger than/);
        expect(await store.get('agent', 'a')).toBeUndefined();
      });
    });

    describe('the change feed', () => {
      it('tells what has changed since, each object once as it is now, deletions too', async () => {
        const start = await write(put('agent', 'a', { v: 1 }), put('agent', 'gone', {}));
        await write(put('agent', 'b', { v: 1 }));
        await write(put('agent', 'a', { v: 2 }));
        await write(drop('agent', 'gone'));
        const last = await write(put('agent', 'b', { v: 2 }));
        const changes = await store.changes(start);
        if (changes.kind !== 'changes') throw new Error('lost');
        expect(changes.sequence).toBe(last);
        expect(changes.objects.map(({ id, document }) => [id, document])).toEqual([
          ['a', { v: 2 }],
          ['gone', null],
          ['b', { v: 2 }],
        ]);
        expect(await store.changes(last)).toEqual({ kind: 'changes', sequence: last, objects: [] });
      });

      it('tells an object that was deleted and made again as there', async () => {
        const start = await write(put('agent', 'a', { v: 1 }));
        await write(drop('agent', 'a'));
        await write(put('agent', 'a', { v: 2 }));
        const changes = await store.changes(start);
        if (changes.kind !== 'changes') throw new Error('lost');
        expect(changes.objects).toMatchObject([{ id: 'a', document: { v: 2 } }]);
      });

      it('is lost to who was away for too many deletions, and to who comes from another life', async () => {
        const small = await open({ deletionsKept: 10 });
        const start = await write(...Array.from({ length: 30 }, (_, n) => put('agent', `a${n}`, {})));
        for (let n = 0; n < 30; n++) await small.transaction([drop('agent', `a${n}`)]);
        expect(await small.changes(start)).toEqual({ kind: 'lost' });
        const { sequence } = await small.load([]);
        expect(await small.changes(sequence - 2)).toMatchObject({ kind: 'changes', objects: [{}, {}] });
        expect(await small.changes(sequence + 1)).toEqual({ kind: 'lost' });
      });

      it('wakes every node, until it does not listen any more', async () => {
        const other = await open();
        const heard: Record<string, number> = {};
        const offs = [
          store.watch((sequence) => {
            heard.own = sequence;
          }),
          other.watch((sequence) => {
            heard.other = sequence;
          }),
        ];
        const sequence = await write(put('agent', 'a', {}));
        await until('both nodes heard of it', () => heard.own === sequence && heard.other === sequence);
        for (const off of offs) off();
        const later: { own?: number; other?: number } = {};
        store.watch((told) => {
          later.own = told;
        });
        other.watch((told) => {
          later.other = told;
        });
        const next = await write(put('agent', 'b', {}));
        await until('others heard of the next', () => later.own === next && later.other === next);
        expect(heard).toEqual({ own: sequence, other: sequence });
      });

      it('wakes another node before a second of its time has passed', async () => {
        // Its time stands still but for these steps, so nothing that would come later can be what wakes it.
        const clock = new VirtualClock();
        const other = await open({ clock });
        let heard = 0;
        other.watch((sequence) => {
          heard = sequence;
        });
        for (let n = 0; n < 3; n++) {
          const sequence = await write(put('agent', 'a', { n }));
          clock.advance(999);
          await until('the other node heard of it', () => heard === sequence);
          expect(await other.changes(sequence - 1)).toMatchObject({ sequence, objects: [{ id: 'a' }] });
        }
      });
    });

    describe('replaceAll', () => {
      it('puts a back-up in the place of everything, and whoever follows must load anew', async () => {
        const other = await open();
        const start = await write(put('agent', 'old', {}), put('agent', 'both', { v: 1 }));
        let told = 0;
        other.watch((sequence) => {
          told = sequence;
        });
        const times = { createdAt: 1_000, updatedAt: 2_000 };
        const sequence = await store.replaceAll([
          { kind: 'agent', id: 'both', organizationId: 'x', document: { v: 2 }, ...times },
          { kind: 'token', id: 't', organizationId: 'x', document: {}, ...times },
        ]);
        expect(await other.changes(start)).toEqual({ kind: 'lost' });
        expect((await other.load(['agent', 'token'])).objects).toEqual([
          { kind: 'agent', id: 'both', organizationId: 'x', document: { v: 2 }, ...times, version: sequence },
          { kind: 'token', id: 't', organizationId: 'x', document: {}, ...times, version: sequence },
        ]);
        expect(await other.list('agent', { organizationId: ORGANIZATION, limit: 10 })).toEqual([]);
        expect((await other.list('agent', { organizationId: 'x', limit: 10 })).map(({ id }) => id)).toEqual([
          'both',
        ]);
        await until('the other node is told', () => told === sequence);
        const next = await store.transaction([put('agent', 'new', {})]);
        expect(next).toMatchObject({ kind: 'committed', sequence: sequence + 1 });
        expect(await other.changes(sequence)).toMatchObject({ kind: 'changes', objects: [{ id: 'new' }] });
      });
    });

    describe('memory', () => {
      it('remembers the first value for a while', async () => {
        const { memory } = store;
        expect(await memory.remember('k', 'one', 60_000)).toBeUndefined();
        expect(await memory.remember('k', 'two', 60_000)).toBe('one');
        expect(await (await open()).memory.recall('k')).toBe('one');
        await memory.replace('k', 'three', 60_000);
        expect(await memory.recall('k')).toBe('three');
        expect(await memory.forget('k')).toBe(true);
        expect(await memory.forget('k')).toBe(false);
        expect(await memory.recall('k')).toBeUndefined();
      });

      it('forgets when the time is over', async () => {
        const { memory } = store;
        await memory.remember('k', 'one', 50);
        await until('it is forgotten', async () => (await memory.recall('k')) === undefined);
        expect(await memory.remember('k', 'two', 60_000)).toBeUndefined();
        expect(await memory.recall('k')).toBe('two');
      });

      it('gives one of many the first word', async () => {
        const other = await open();
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            (n % 2 === 0 ? store : other).memory.remember('k', `${n}`, 60_000),
          ),
        );
        expect(answers.filter((answer) => answer === undefined)).toHaveLength(1);
      });

      it('holds so many and no more: what would expire first goes first', async () => {
        const { memory } = await open({ memoryEntriesMax: 50 });
        for (let n = 0; n < 60; n++) await memory.remember(`k${n}`, 'x', 60_000 + n * 1_000);
        const left: boolean[] = [];
        for (let n = 0; n < 60; n++) left.push((await memory.recall(`k${n}`)) !== undefined);
        expect(left.filter(Boolean).length).toBeLessThanOrEqual(50);
        expect(left.filter(Boolean).length).toBeGreaterThanOrEqual(45);
        expect(left.lastIndexOf(false)).toBeLessThan(left.indexOf(true));
      });

      it('refuses what is too large', async () => {
        const { memory } = store;
        await expect(memory.remember('k'.repeat(257), 'x', 1)).rejects.toThrow(RangeError);
        await expect(memory.replace('k', 'x'.repeat(65_537), 1)).rejects.toThrow(RangeError);
        await expect(memory.replace('k', 'x', 0)).rejects.toThrow(RangeError);
      });
    });

    describe('a queue', () => {
      const item = (id: string, lane: string) => ({ id, lane, payload: `{"id":"${id}"}` });

      it('hands out the oldest, one of each lane, in order', async () => {
        const { queue } = store;
        const items = [item('a1', 'a'), item('a2', 'a'), item('b1', 'b'), item('a3', 'a')];
        expect(await queue.add('hooks', items)).toBe(true);
        expect(await queue.size('hooks')).toBe(4);
        const first = await queue.claim('hooks', 10, 60_000);
        expect(first.map(({ id, lane, payload, attempt }) => [id, lane, payload, attempt])).toEqual([
          ['a1', 'a', '{"id":"a1"}', 1],
          ['b1', 'b', '{"id":"b1"}', 1],
        ]);
        expect(await queue.claim('hooks', 10, 60_000)).toEqual([]);
        await queue.finish('hooks', 'a1');
        expect((await queue.claim('hooks', 10, 60_000)).map(({ id }) => id)).toEqual(['a2']);
        await queue.finish('hooks', 'a2');
        await queue.finish('hooks', 'b1');
        expect((await queue.claim('hooks', 10, 60_000)).map(({ id }) => id)).toEqual(['a3']);
        await queue.finish('hooks', 'a3');
        await queue.finish('hooks', 'a3');
        expect(await queue.size('hooks')).toBe(0);
      });

      it('hands each to one node only', async () => {
        const other = await open();
        await store.queue.add(
          'hooks',
          Array.from({ length: 40 }, (_, n) => item(`i${n}`, `lane${n}`)),
        );
        const claimed = await Promise.all(
          [store, other, store, other].map(({ queue }) => queue.claim('hooks', 15, 60_000)),
        );
        const ids = claimed.flat().map(({ id }) => id);
        expect(ids).toHaveLength(40);
        expect(new Set(ids).size).toBe(40);
      });

      it('hands out again what a node did not report back, and counts', async () => {
        const { queue } = store;
        await queue.add('hooks', [item('a1', 'a')]);
        expect(await queue.claim('hooks', 1, 30)).toHaveLength(1);
        const other = await open();
        let again: Awaited<ReturnType<typeof queue.claim>> = [];
        await until('the lease is over', async () => {
          again = await other.queue.claim('hooks', 1, 60_000);
          return again.length > 0;
        });
        expect(again).toMatchObject([{ id: 'a1', attempt: 2 }]);
      });

      it('waits with the whole lane when an item is postponed', async () => {
        const { queue } = store;
        await queue.add('hooks', [item('a1', 'a'), item('a2', 'a')]);
        await queue.claim('hooks', 1, 60_000);
        await queue.postpone('hooks', 'a1', 40);
        expect(await queue.claim('hooks', 10, 60_000)).toEqual([]);
        await until('it is due again', async () => (await queue.claim('hooks', 10, 60_000))[0]?.id === 'a1');
      });

      it('takes an id once while it waits, and keeps queues apart', async () => {
        const { queue } = store;
        await queue.add('hooks', [item('a1', 'a')]);
        await queue.add('hooks', [item('a1', 'a')]);
        await queue.add('more', [item('a1', 'a')]);
        expect(await queue.size('hooks')).toBe(1);
        await queue.finish('hooks', 'a1');
        expect(await queue.size('more')).toBe(1);
      });
    });

    it('answers what was asked before it is closed', async () => {
      const asked = [store.transaction([put('agent', 'a', { v: 1 })]), store.queue.size('hooks')] as const;
      await Promise.all(asked);
      const last = store.transaction([put('agent', 'b', { v: 1 })]);
      await Promise.all([last, store.close()]);
      store = await open();
      expect((await store.list('agent', { limit: 10 })).map(({ id }) => id)).toEqual(['a', 'b']);
    });

    it('says that it is well, and rejects when it is closed', async () => {
      expect(store.health().ok).toBe(true);
      await store.close();
      await store.close();
      await expect(store.get('agent', 'a')).rejects.toThrow(/closed/);
    });
  });
}
