/**
 * One node of a pacing run, a process of its own on the built pacer: puts its part of the calls in line, writes down
 * when each might leave, and tells at the end. Started by bench/pacing.mjs and by test/scenario/pacing-nodes.test.ts.
 * argv[2]: JSON {url, key, limit, calls, seconds, kind: 'trunkline' | 'rate-limiter-flexible'}. stdout: one JSON line
 * {sends: [ms], waits: [[promised, real]], inOrder, lost, cpuMs}; the moments are of CLOCK_MONOTONIC.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

const { url, key, limit, calls, seconds, kind } = JSON.parse(process.argv[2] ?? '{}');
const monotonic = () => Number(process.hrtime.bigint()) / 1e6;
const silent = { debug() {}, info() {}, warn() {}, error: console.error };

/** The moment when the run is over; both kinds stop counting there. */
const sends = [];
const waits = [];
let lost = 0;
let inOrder = true;

async function trunkline() {
  const { RedisClient } = await import('../dist/store/redis/client.js');
  const { RedisPacer } = await import('../dist/store/redis/redis-pacer.js');
  const { systemClock, FINE_TICK_MS } = await import('../dist/lib/wheel.js');
  const { RandomIds } = await import('../dist/lib/ids.js');
  const ignore = () => undefined;
  const client = new RedisClient({ url, log: silent });
  const pacer = new RedisPacer({
    client,
    clock: systemClock(FINE_TICK_MS),
    ids: new RandomIds(),
    log: silent,
    whenDown: 'hold',
    observer: {
      callPaced: ignore,
      callRefused: ignore,
      slotsLost: (_key, count) => {
        lost += count;
      },
      refusedByProvider: ignore,
      paceLowered: ignore,
      paceRestored: ignore,
    },
  });
  pacer.start();
  await client.start();
  await delay(300);
  const rule = { key, limit, burst: 1, maxQueued: 1_000_000 };
  let latest = -1;
  for (let n = 0; n < calls; n++) {
    const joined = monotonic();
    let promised;
    pacer.enqueue(
      { id: `${process.pid}-${n}`, rule, priority: 5, timeoutMs: 3_600_000 },
      {
        onPlace: ({ waitMs }) => {
          promised ??= monotonic() - joined + waitMs;
        },
        onSlot: () => {
          const now = monotonic();
          sends.push(now);
          if (n < latest) inOrder = false;
          latest = n;
          if (promised !== undefined) waits.push([promised, now - joined]);
          return true;
        },
        onRefused: ignore,
      },
    );
  }
  await delay(seconds * 1000);
  client.close();
}

async function rateLimiterFlexible() {
  const { RateLimiterRedis, RateLimiterQueue } = await import('rate-limiter-flexible');
  const { Redis } = await import('ioredis');
  const redis = new Redis(url);
  // Fractions are not known there: whole calls per whole seconds.
  const points = Math.max(1, Math.round(limit));
  const duration = Math.max(1, Math.round(points / limit));
  const limiter = new RateLimiterRedis({ storeClient: redis, points, duration, keyPrefix: 'flexible' });
  const queue = new RateLimiterQueue(limiter, { maxQueueSize: calls + 1 });
  await delay(300);
  let latest = -1;
  for (let n = 0; n < calls; n++) {
    queue.removeTokens(1, key).then(() => {
      sends.push(monotonic());
      if (n < latest) inOrder = false;
      latest = n;
    }, console.error);
  }
  await delay(seconds * 1000);
  redis.disconnect();
}

const before = process.cpuUsage();
await (kind === 'rate-limiter-flexible' ? rateLimiterFlexible() : trunkline());
const { user, system } = process.cpuUsage(before);
const line = JSON.stringify({
  sends,
  waits,
  inOrder,
  lost,
  cpuMs: (user + system) / 1000,
  at: performance.now(),
});
process.stdout.write(`${line}\n`, () => process.exit(0));
