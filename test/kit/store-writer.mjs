/**
 * Writes to a store until it is killed: `node store-writer.mjs sqlite PATH FIRST LAST AT_ONCE` or `… redis URL …`.
 * Each write is one transaction of three objects and one item of a queue; when both are acknowledged, its number is
 * printed, unbuffered. Exits with 3 when the store fails.
 */
import { writeSync } from 'node:fs';
import { RandomIds } from '../../dist/lib/ids.js';
import { silentLogger } from '../../dist/lib/logger.js';
import { systemClock } from '../../dist/lib/wheel.js';
import { RedisStore } from '../../dist/store/redis/store.js';
import { SqliteStore } from '../../dist/store/sqlite/store.js';

const [kind, place = '', first, last, atOnce] = process.argv.slice(2);
const clock = systemClock();
const common = { organizationId: 'acme', expect: /** @type {const} */ ('any') };

try {
  const store =
    kind === 'redis'
      ? await RedisStore.open({ url: place, clock, ids: new RandomIds(), log: silentLogger })
      : await SqliteStore.open({ path: place, clock, log: silentLogger });
  /** @param {number} n */
  const write = async (n) => {
    const outcome = await store.transaction([
      { kind: 'sipCredentials', id: `trunk-${n}`, document: { n }, ...common },
      { kind: 'phoneNumber', id: `number-${n}`, document: { n }, ...common },
      { kind: 'internal', id: 'count', document: { n }, ...common },
    ]);
    if (outcome.kind !== 'committed') throw new Error(outcome.kind);
    await store.queue.add('hooks', [{ id: `item-${n}`, lane: `lane-${n}`, payload: String(n) }]);
    writeSync(1, `${n}\n`);
  };
  for (let n = Number(first); n < Number(last); n += Number(atOnce)) {
    const some = Math.min(Number(atOnce), Number(last) - n);
    await Promise.all(Array.from({ length: some }, (_, i) => write(n + i)));
  }
  await store.close();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(3);
}
