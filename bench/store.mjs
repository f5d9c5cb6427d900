/**
 * `npm run bench -- store`: what the directory costs with many numbers in the store: start, look-up, one edit, how long
 * the process stands still for it, and the same edit seen by another node.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Directory } from '../dist/directory/directory.js';
import { emptySnapshot } from '../dist/directory/draft.js';
import { Editor } from '../dist/directory/editor.js';
import { LiveDirectory } from '../dist/directory/live.js';
import { makeSecretKey, SecretBox } from '../dist/directory/secret-box.js';
import { RandomIds } from '../dist/lib/ids.js';
import { silentLogger } from '../dist/lib/logger.js';
import { systemClock } from '../dist/lib/wheel.js';
import { accountsOf } from '../dist/registration/accounts.js';
import { RedisStore } from '../dist/store/redis/store.js';
import { SqliteStore } from '../dist/store/sqlite/store.js';

export const usage = `Usage: npm run bench -- store [--numbers N] [--redis URL]

  --numbers N   phone numbers in the store, default 100000, on ten trunks
  --redis URL   in this Redis (it is emptied!) instead of SQLite
`;

export const options = {
  numbers: { type: /** @type {const} */ ('string') },
  redis: { type: /** @type {const} */ ('string') },
};

const TRUNKS = 10;
const LOOKUPS = 1_000_000;
const EDITS = 100;
/** Edits that are asked for at once. */
const TOGETHER = 200;
const ACME = { organizationId: 'acme', name: 'bench' };
const clock = systemClock();
const ids = new RandomIds();
const key = makeSecretKey();
const box = new SecretBox(() => [key]);

/** @param {number[]} times */
function spread(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (/** @type {number} */ part) =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return `median ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, worst ${(sorted.at(-1) ?? 0).toFixed(1)} ms`;
}

/** @param {string} name @param {string} figure */
function row(name, figure) {
  process.stdout.write(`${name.padEnd(44)} ${figure}\n`);
}

/** @param {Record<string, unknown>} values */
export async function run(values) {
  const count = Number(values.numbers ?? 100_000);
  const url = typeof values.redis === 'string' ? values.redis : undefined;
  const folder = mkdtempSync(join(tmpdir(), 'trunkline-bench-'));
  const open = async () =>
    url === undefined
      ? await SqliteStore.open({ path: join(folder, 'bench.db'), clock, log: silentLogger })
      : RedisStore.open({ url, clock, ids, log: silentLogger });
  const node = async () => {
    const store = await open();
    const live = new LiveDirectory({
      store,
      box,
      clock,
      log: silentLogger,
      config: { snapshot: emptySnapshot(), relayHeaders: [] },
    });
    await live.start();
    return { store, live, editor: new Editor({ live, store, box, ids, clock }) };
  };
  /** @param {number} n */
  const did = (n) => `+1${String(2_000_000_000 + n)}`;

  row('store', `${url === undefined ? 'SQLite' : 'Redis'}, ${count} numbers on ${TRUNKS} trunks`);
  const filler = await open();
  await filler.replaceAll([]);
  const times = { createdAt: 0, updatedAt: 0, organizationId: 'acme' };
  /** @type {import('../src/directory/store.js').RestoredObject[]} */
  const objects = [];
  for (let n = 0; n < TRUNKS; n++) {
    const fields = { server: `192.0.2.${n + 1}`, authUser: `user${n}` };
    objects.push({ kind: 'sipCredentials', id: `trunk-${n}`, document: { fields, secrets: {} }, ...times });
  }
  // Of another organisation, so that it matters whose a number is.
  const other = { ...times, organizationId: 'other' };
  for (const [kind, id, fields] of /** @type {const} */ ([
    ['sipCredentials', 'elsewhere', { server: '198.51.100.1' }],
    ['phoneNumber', 'num-elsewhere', { phoneNumber: did(count), credentialsId: 'elsewhere' }],
  ])) {
    objects.push({ kind, id, document: { fields, secrets: {} }, ...other });
  }
  for (let n = 0; n < count; n++) {
    const fields = { phoneNumber: did(n), credentialsId: `trunk-${n % TRUNKS}`, displayName: `Number ${n}` };
    objects.push({ kind: 'phoneNumber', id: `num-${n}`, document: { fields, secrets: {} }, ...times });
  }
  await filler.replaceAll(objects);
  await filler.close();

  let from = performance.now();
  const one = await node();
  row('start: open, load, compile', `${(performance.now() - from).toFixed(0)} ms`);
  const two = await node();

  const { current } = one.live.directory;
  if (!(one.live.directory instanceof Directory) || current.numberCount !== count + 1)
    throw new Error('not all numbers are there');
  from = performance.now();
  let found = 0;
  for (let n = 0; n < LOOKUPS; n++) {
    const wanted = (n * 7_919) % count;
    const number = current.number(`trunk-${wanted % TRUNKS}`, did(wanted));
    if (number?.id === `num-${wanted}`) found++;
  }
  if (found !== LOOKUPS) throw new Error(`${LOOKUPS - found} numbers were not found`);
  row(
    'look-up of a number, its key made too',
    `${(((performance.now() - from) * 1000) / LOOKUPS).toFixed(2)} µs`,
  );

  const still = monitorEventLoopDelay({ resolution: 1 });
  still.enable();
  /** @type {number[]} */
  const edits = [];
  /** @type {number[]} */
  const seen = [];
  /** @type {number[]} */
  const accounts = [];
  for (let n = 0; n < EDITS; n++) {
    const wanted = (n * 7_919) % count;
    const there = new Promise((resolve) => {
      const off = two.live.directory.onChange((snapshot) => {
        if (snapshot.numberById(`num-${wanted}`)?.displayName !== `Edit ${n}`) return;
        off();
        resolve(performance.now());
      });
    });
    from = performance.now();
    const result = await one.editor.update(ACME, 'phoneNumber', `num-${wanted}`, {
      displayName: `Edit ${n}`,
    });
    edits.push(performance.now() - from);
    if (result.kind !== 'written') throw new Error(JSON.stringify(result));
    seen.push(Number(await there) - from);
    const start = performance.now();
    accountsOf(one.live.directory.current);
    accounts.push(performance.now() - start);
  }
  still.disable();
  row('one edit, written and in force', spread(edits));
  row('the same, in force on another node', spread(seen));
  row('accounts to register, read from the snapshot', spread(accounts));
  row('the process stood still meanwhile, at most', `${(still.max / 1e6).toFixed(0)} ms`);

  from = performance.now();
  const together = await Promise.all(
    Array.from({ length: TOGETHER }, (_, n) =>
      one.editor.update(ACME, 'phoneNumber', `num-${n}`, { displayName: `Together ${n}` }),
    ),
  );
  for (const { kind } of together) if (kind !== 'written') throw new Error(kind);
  row(`${TOGETHER} edits at once`, `${(performance.now() - from).toFixed(0)} ms`);

  /** @type {number[]} */
  const blocks = [];
  for (let n = 0; n < EDITS; n++) {
    from = performance.now();
    const fields = { allowedAddresses: [`192.0.2.${n + 100}`] };
    const result = await one.editor.update(ACME, 'sipCredentials', 'trunk-1', fields);
    if (result.kind !== 'written') throw new Error(JSON.stringify(result));
    blocks.push(performance.now() - from);
  }
  row(`other addresses for a trunk with ${Math.ceil(count / TRUNKS)} numbers`, spread(blocks));

  from = performance.now();
  const removed = await one.editor.remove(ACME, 'sipCredentials', 'trunk-0', { force: true });
  if (removed.kind !== 'removed') throw new Error(JSON.stringify(removed));
  row(
    `a trunk and its ${removed.affected.phoneNumbers.length} numbers removed`,
    `${(performance.now() - from).toFixed(0)} ms`,
  );
  row(
    'resident memory of this process, two nodes in it',
    `${Math.round(process.memoryUsage().rss / 1_048_576)} MiB`,
  );
  for (const { live, store } of [one, two]) {
    live.stop();
    await store.close();
  }
  rmSync(folder, { recursive: true });
}
