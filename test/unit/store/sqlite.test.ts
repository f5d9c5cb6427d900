/** What is SQLite's own: older files, newer files, damaged ones; and the thread that has them. */
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailable } from '#directory/store.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { MIGRATIONS } from '#store/sqlite/migrations.js';
import { SqliteStore } from '#store/sqlite/store.js';
import { sqlitePlace } from '../../kit/editor.js';
import { Program, ROOT, until } from '../../kit/processes.js';

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
      const store = await place.open();
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

  it('of a newer gateway is left alone, and the message says so', async () => {
    const newer = new Database(place.path);
    newer.pragma('user_version = 99');
    newer.close();
    await expect(place.open()).rejects.toThrow(/store.path.*newer Trunkline \(schema 99/);
    const still = new Database(place.path, { readonly: true });
    expect(still.pragma('user_version', { simple: true })).toBe(99);
    still.close();
  });

  it('that is none is named with what is wrong', async () => {
    writeFileSync(place.path, 'this is a text, and a long one at that '.repeat(200));
    await expect(place.open()).rejects.toThrow(/store\.path.*not a database/);
  });

  it('can be read by its owner only', async () => {
    const store = await place.open();
    expect(statSync(place.path).mode & 0o777).toBe(0o600);
    await store.close();
    chmodSync(place.path, 0o644);
    await (await place.open()).close();
    expect(statSync(place.path).mode & 0o777).toBe(0o600);
  });
});

describe('the thread of the database', () => {
  const SCRIPT = new URL('../../kit/dying-store.mjs', import.meta.url);
  const agent = (id: string) =>
    ({ kind: 'agent', id, expect: 'any', organizationId: 'acme', document: {} }) as const;

  it('that dies is told loudly: whoever waits hears of it, and another one goes on', async () => {
    const lines: string[] = [];
    const log = {
      ...silentLogger,
      error: (fields: object, message: string) => lines.push(`${message} ${JSON.stringify(fields)}`),
    };
    const store = await SqliteStore.open({ path: place.path, clock: systemClock(), log, script: SCRIPT });
    expect(await store.transaction([agent('a')])).toMatchObject({ kind: 'committed' });
    const waiting = Array.from({ length: 3 }, () => store.get('agent', 'exit'));
    for (const each of waiting)
      await expect(each).rejects.toThrow(/thread of the database has ended: it exited with 3/);
    expect(store.health()).toMatchObject({ ok: false, detail: expect.stringMatching(/has ended/) });
    expect(lines).toEqual([expect.stringMatching(/store was lost.*it exited with 3/)]);
    await expect(store.transaction([agent('b')])).rejects.toThrow(StoreUnavailable);
    await until('another one has it', () => store.health().ok);
    expect(await store.transaction([agent('c')])).toMatchObject({ kind: 'committed', sequence: 2 });
    expect((await store.list('agent', { limit: 10 })).map(({ id }) => id)).toEqual(['a', 'c']);
    await store.get('agent', 'throw');
    await until('it is lost again', () => lines.length === 2);
    expect(lines[1]).toMatch(/has ended: poisoned/);
    await store.close();
  });

  it('is closed while it is gone, and does not come back', async () => {
    const store = await SqliteStore.open({
      path: place.path,
      clock: systemClock(),
      log: silentLogger,
      script: SCRIPT,
    });
    await expect(store.get('agent', 'exit')).rejects.toThrow(/has ended/);
    await store.close();
    await expect(store.get('agent', 'a')).rejects.toThrow(/closed/);
  });

  it('keeps the process only while somebody waits for an answer', async () => {
    const program = new Program('reader', process.execPath, [
      '--input-type=module',
      '-e',
      `import { silentLogger as log } from '${ROOT}/dist/lib/logger.js';
       import { systemClock } from '${ROOT}/dist/lib/wheel.js';
       import { SqliteStore } from '${ROOT}/dist/store/sqlite/store.js';
       const store = await SqliteStore.open({ path: process.argv[1], clock: systemClock(), log });
       const agent = { kind: 'agent', id: 'a', expect: 'any', organizationId: 'acme', document: {} };
       store.transaction([agent]).then(({ kind }) => console.log(kind));`,
      place.path,
    ]);
    await program.exited;
    expect(program.stdout).toBe('committed\n');
  });
});
