/** What is SQLite's own: older files, newer files, damaged ones. */
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MIGRATIONS } from '#store/sqlite/migrations.js';
import { sqlitePlace } from '../../kit/editor.js';

let place: ReturnType<typeof sqlitePlace>;

beforeEach(() => {
  place = sqlitePlace();
});

afterEach(() => place.remove());

describe('a database file', () => {
  it.each(MIGRATIONS.map((_, steps) => steps))(
    'of schema %i is brought up to date with what it holds',
    async (steps) => {
      const old = new Database(place.path);
      for (const step of MIGRATIONS.slice(0, steps)) old.exec(step);
      old.pragma(`user_version = ${steps}`);
      if (steps > 0) {
        old.exec(`
        INSERT INTO objects VALUES ('agent', 'sales', 'acme', 7, 1000, 2000, '{"fields":{"name":"Sales"},"secrets":{}}');
        INSERT INTO deletions VALUES ('agent', 'gone', 6);
        UPDATE counters SET value = 7 WHERE name = 'sequence';
      `);
      }
      old.close();
      const store = place.open();
      if (steps > 0) {
        expect(await store.get('agent', 'sales')).toMatchObject({
          version: 7,
          createdAt: 1000,
          updatedAt: 2000,
        });
        expect(await store.changes(5)).toMatchObject({
          sequence: 7,
          objects: [{ id: 'gone' }, { id: 'sales' }],
        });
      }
      expect(await store.memory.remember('k', 'v', 1_000)).toBeUndefined();
      expect(await store.queue.add('q', [{ id: '1', lane: 'l', payload: '{}' }])).toBe(true);
      await store.close();
      const now = new Database(place.path, { readonly: true });
      expect(now.pragma('user_version', { simple: true })).toBe(MIGRATIONS.length);
      now.close();
    },
  );

  it('of a newer gateway is left alone, and the message says so', () => {
    const newer = new Database(place.path);
    newer.pragma('user_version = 99');
    newer.close();
    expect(() => place.open()).toThrow(/store.path.*newer Trunkline \(schema 99/);
    const still = new Database(place.path, { readonly: true });
    expect(still.pragma('user_version', { simple: true })).toBe(99);
    still.close();
  });

  it('that is none is named with what is wrong', () => {
    writeFileSync(place.path, 'this is a text, and a long one at that '.repeat(200));
    expect(() => place.open()).toThrow(/store\.path.*not a database/);
  });

  it('can be read by its owner only', async () => {
    const store = place.open();
    expect(statSync(place.path).mode & 0o777).toBe(0o600);
    await store.close();
    chmodSync(place.path, 0o644);
    await place.open().close();
    expect(statSync(place.path).mode & 0o777).toBe(0o600);
  });
});
