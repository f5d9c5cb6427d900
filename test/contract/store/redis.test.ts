import { afterAll, beforeAll } from 'vitest';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisStore } from '#store/redis/store.js';
import { RedisServer } from '../../kit/redis.js';
import { storeContract } from './store.contract.js';

let server: RedisServer;

beforeAll(async () => {
  server = await RedisServer.start();
});

afterAll(() => server.stop());

storeContract('Redis', async () => {
  await server.command('FLUSHALL');
  const base = { url: server.url, clock: systemClock(), ids: new RandomIds(), log: silentLogger };
  return {
    open: (limits) => RedisStore.open({ ...base, ...limits }),
    remove: async () => undefined,
  };
});
