/** The pacer on Redis keeps the promises of every pacer; Redis and time are real. */
import { afterAll, beforeAll } from 'vitest';
import type { RedisServer } from '../kit/redis.js';
import { pacingContract } from './pacing.contract.js';
import { leadContract } from './pacing-lead.contract.js';
import { redisRig, warmRedis } from './redis-rig.js';

let server: RedisServer;
beforeAll(async () => {
  server = await warmRedis();
});
afterAll(() => server.stop());

pacingContract('on Redis', async () => redisRig(server));
leadContract('on Redis', async () => redisRig(server));
