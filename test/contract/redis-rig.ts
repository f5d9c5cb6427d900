/** Pacers on one real Redis, each with its connections, as nodes have them. Time is real. */
import { setTimeout as delay } from 'node:timers/promises';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { FINE_TICK_MS, systemClock } from '#lib/wheel.js';
import type { PaceObserver } from '#pacing/observer.js';
import type { SlowDown } from '#pacing/pace.js';
import { RedisClient } from '#store/redis/client.js';
import { RedisPacer, type WhenRedisIsDown } from '#store/redis/redis-pacer.js';
import { until } from '../kit/processes.js';
import { RedisServer, type RedisServerOptions } from '../kit/redis.js';
import { recordingObserver } from './pacing.contract.js';
import type { PacingRig } from './pacing-rig.js';

export interface RedisNode {
  readonly pacer: RedisPacer;
  readonly client: RedisClient;
  readonly observer: ReturnType<typeof recordingObserver>;
}

export interface RedisRig extends PacingRig {
  readonly server: RedisServer;
  open(options?: {
    readonly slowDown?: SlowDown | null;
    readonly observer?: PaceObserver;
    readonly whenDown?: WhenRedisIsDown;
  }): Promise<RedisPacer>;
  node(options?: { readonly whenDown?: WhenRedisIsDown }): Promise<RedisNode>;
  /** Cuts a node off as if its process had died: it says nothing more, and hears nothing. */
  die(node: RedisNode): void;
}

/** A Redis that the pacers have used for a while: a new one gives no slot for its first second. */
export async function warmRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  const client = new RedisClient({ url: server.url, log: silentLogger });
  await client.start();
  const pacer = redisPacer(client, recordingObserver());
  await until(
    'Redis knows the pacers',
    async () => (await server.command('EXISTS', 'trunkline:pace:meta')) === '1',
  );
  await delay(2_050);
  await pacer.stop();
  client.close();
  return server;
}

function redisPacer(
  client: RedisClient,
  observer: PaceObserver,
  whenDown: WhenRedisIsDown = 'hold',
  slowDown?: SlowDown | null,
): RedisPacer {
  const pacer = new RedisPacer({
    client,
    clock: systemClock(FINE_TICK_MS),
    ids: new RandomIds(),
    observer,
    log: silentLogger,
    whenDown,
    slowDown,
  });
  pacer.start();
  return pacer;
}

export function redisRig(server: RedisServer): RedisRig {
  const nodes: { readonly pacer: RedisPacer; readonly client: RedisClient }[] = [];
  const add = async (
    observer: PaceObserver,
    whenDown?: WhenRedisIsDown,
    slowDown?: SlowDown | null,
  ): Promise<{ pacer: RedisPacer; client: RedisClient }> => {
    const client = new RedisClient({ url: server.url, log: silentLogger });
    await client.start();
    const node = { pacer: redisPacer(client, observer, whenDown, slowDown), client };
    nodes.push(node);
    await until(
      'the node is known',
      async () => (await server.command('ZSCORE', 'trunkline:pace:nodes', node.pacer.nodeId)) !== '',
    );
    return node;
  };
  return {
    server,
    open: async ({ observer = recordingObserver(), slowDown, whenDown } = {}) =>
      (await add(observer, whenDown, slowDown)).pacer,
    node: async ({ whenDown } = {}) => {
      const observer = recordingObserver();
      return { ...(await add(observer, whenDown)), observer };
    },
    die: ({ client }) => client.close(),
    now: () => performance.now(),
    pass: (ms) => delay(ms),
    until,
    close: async () => {
      for (const { pacer, client } of nodes) {
        await pacer.stop();
        client.close();
      }
    },
  };
}
