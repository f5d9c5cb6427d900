/** Killed at any moment of a thousand writes: what was acknowledged is there, and nothing is there by half. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Store } from '#directory/store.js';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisStore } from '#store/redis/store.js';
import { sqlitePlace } from '../../kit/editor.js';
import { Program, ROOT, until } from '../../kit/processes.js';
import { RedisServer } from '../../kit/redis.js';

const WRITES = 1_000;
/** Writes that a life of the writer is let do at most; the rest is for the lives after it. */
const PER_LIFE = 300;

function writer(kind: string, place: string, first: number, atOnce: number): Program {
  const script = join(ROOT, 'test/kit/store-writer.mjs');
  const numbers = [first, WRITES, atOnce].map(String);
  return new Program('writer', process.execPath, [script, kind, place, ...numbers]);
}

const acknowledged = (program: Program): number[] =>
  program.stdout
    .slice(0, program.stdout.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean)
    .map(Number);

/**
 * Lets a writer write for a while, at most to the end; then calls `kill`. Adds what was acknowledged to `all`, and gives
 * the last.
 */
async function life(
  kind: string,
  place: string,
  first: number,
  all: number[],
  kill: (program: Program) => Promise<void>,
  atOnce = 1,
): Promise<number> {
  const program = writer(kind, place, first, atOnce);
  const enough = Math.ceil(Math.random() * PER_LIFE);
  await until(
    () => `it writes. ${program.tail}`,
    () => program.exit !== undefined || acknowledged(program).length >= enough,
    30_000,
  );
  // Anywhere in a write, not just after one.
  await delay(Math.random() * 4);
  await kill(program);
  await program.exited;
  const heard = acknowledged(program);
  for (const n of heard) all.push(n);
  return heard.at(-1) ?? first - 1;
}

/** @returns the number of writes that are there */
async function check(store: Store, last: number, atOnce = 1): Promise<number> {
  const { objects } = await store.load(['sipCredentials', 'phoneNumber', 'internal']);
  const numbers = (kind: string): number[] =>
    objects
      .filter((object) => object.kind === kind)
      .map(({ document }) => Number(document.n))
      .sort((a, b) => a - b);
  const trunks = numbers('sipCredentials');
  // One more than was acknowledged, of each that was asked for, may be there: it was written, and the answer was never heard.
  expect(trunks.length - 1).toBeGreaterThanOrEqual(last);
  expect(trunks.length - 1).toBeLessThanOrEqual(last + atOnce);
  expect(trunks).toEqual(Array.from({ length: trunks.length }, (_, n) => n));
  expect(numbers('phoneNumber')).toEqual(trunks);
  expect(numbers('internal')).toEqual(trunks.slice(-1));
  const changes = await store.changes(0);
  expect(changes.kind === 'changes' && changes.sequence).toBe((await store.load([])).sequence);
  return trunks.length;
}

/** Every item that was acknowledged is handed out, once and with what it carries. */
async function checkQueue(store: Store, all: readonly number[]): Promise<void> {
  const items = await store.queue.claim('hooks', WRITES, 60_000);
  const numbers = new Set(items.map(({ payload }) => Number(payload)));
  expect(numbers.size).toBe(items.length);
  for (const { id, lane, payload } of items)
    expect([id, lane]).toEqual([`item-${payload}`, `lane-${payload}`]);
  expect(all.filter((n) => !numbers.has(n))).toEqual([]);
}

describe('kill -9 during a thousand writes', () => {
  it.each([
    ['one after the other', 1],
    ['many in one sync', 16],
  ])(
    'SQLite keeps what was acknowledged, and nothing by half (%s)',
    {
      timeout: 180_000,
    },
    async (_how, atOnce) => {
      const place = sqlitePlace();
      const all: number[] = [];
      let lives = 0;
      for (let next = 0; next < WRITES; lives++) {
        const kill = async ({ child }: Program): Promise<void> => {
          child.kill('SIGKILL');
        };
        const last = await life('sqlite', place.path, next, all, kill, atOnce);
        const store = await place.open();
        next = await check(store, last, atOnce);
        if (next >= WRITES) await checkQueue(store, all);
        await store.close();
      }
      expect(lives).toBeGreaterThan(3);
      place.remove();
    },
  );

  it('Redis with appendfsync always likewise, whichever of the two is killed', {
    timeout: 180_000,
  }, async () => {
    const server = await RedisServer.start();
    const durable = (): Promise<unknown> => server.command('CONFIG', 'SET', 'appendfsync', 'always');
    await durable();
    const all: number[] = [];
    let lives = 0;
    for (let next = 0; next < WRITES; lives++) {
      const killServer = lives % 3 !== 0;
      const last = await life('redis', server.url, next, all, async (program) => {
        if (lives % 3 !== 1) program.child.kill('SIGKILL');
        if (killServer) await server.kill();
      });
      if (killServer) {
        await server.restart('kept');
        await durable();
      }
      const store = await RedisStore.open({
        url: server.url,
        clock: systemClock(),
        ids: new RandomIds(),
        log: silentLogger,
      });
      next = await check(store, last);
      if (next >= WRITES) await checkQueue(store, all);
      await store.close();
    }
    expect(lives).toBeGreaterThan(3);
    await server.stop();
  });
});
