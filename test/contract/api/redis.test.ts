import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisStore } from '#store/redis/store.js';
import { RedisServer } from '../../kit/redis.js';
import { resourcesContract } from './resources.contract.js';

resourcesContract('Redis', async () => {
  const server = await RedisServer.start();
  const options = { url: server.url, clock: systemClock(), ids: new RandomIds(), log: silentLogger };
  return { open: () => RedisStore.open(options), remove: () => server.stop() };
});
