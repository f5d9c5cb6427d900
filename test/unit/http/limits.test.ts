/** Request limits: by one node's memory, and by a Redis that nodes share, which may go away. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RequestLimits } from '#http/limits.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisClient } from '#store/redis/client.js';
import { RedisServer } from '../../kit/redis.js';

const LIMITS = { requestsPerSecond: 1, wrongTokensPerMinute: 3 };

const refusedAfter = async (tries: number, work: () => Promise<void>): Promise<number> => {
  for (let done = 0; done < tries; done++) {
    try {
      await work();
    } catch (error) {
      expect(error).toMatchObject({ status: 429, code: 'too_many_requests' });
      expect((error as { headers: Record<string, string> }).headers['retry-after']).toMatch(/^[1-9]\d*$/);
      return done;
    }
  }
  return tries;
};

describe('request limits of one node', () => {
  it('hold each token for itself', async () => {
    const limits = new RequestLimits(LIMITS, systemClock());
    expect(await refusedAfter(20, () => limits.request('a'))).toBe(10);
    expect(await refusedAfter(5, () => limits.request('b'))).toBe(5);
  });

  it('shut out an address that tries many wrong tokens', async () => {
    const limits = new RequestLimits(LIMITS, systemClock());
    await limits.check('192.0.2.1');
    expect(await refusedAfter(10, () => limits.wrongToken('192.0.2.1'))).toBe(3);
    expect(await refusedAfter(1, () => limits.check('192.0.2.1'))).toBe(0);
    await limits.check('192.0.2.2');
  });
});

describe('request limits of several nodes', () => {
  let server: RedisServer;
  let client: RedisClient;
  beforeAll(async () => {
    server = await RedisServer.start();
    client = new RedisClient({ url: server.url, log: silentLogger });
    await client.start();
  });
  afterAll(async () => {
    client.close();
    await server.stop();
  });

  it('take portions of large limits, and no more than there is', async () => {
    const limits = { ...LIMITS, requestsPerSecond: 100 };
    const nodes = [1, 2].map(() => new RequestLimits(limits, systemClock(), client.connection));
    await server.command('CONFIG', 'RESETSTAT');
    const many = Array.from({ length: 1_500 }, (_, n) => nodes[n % 2]!.request('large'));
    const done = (await Promise.allSettled(many)).filter(({ status }) => status === 'fulfilled');
    // A window may end meanwhile, and others begin.
    expect(done.length % 20).toBe(0);
    expect(done.length).toBeGreaterThanOrEqual(1_000);
    const counts = await server.commandCounts();
    expect(counts.get('incrby')).toBeLessThanOrEqual(80);
  });

  it('count together in Redis, and each for itself while it is gone', async () => {
    const first = new RequestLimits(LIMITS, systemClock(), client.connection);
    const second = new RequestLimits(LIMITS, systemClock(), client.connection);
    let turn = 0;
    const either = () => (turn++ % 2 === 0 ? first : second).request('shared');
    expect(await refusedAfter(20, either)).toBe(10);
    await server.kill();
    expect(await refusedAfter(20, () => first.request('alone'))).toBe(10);
    expect(await refusedAfter(20, () => second.request('alone'))).toBe(10);
  });
});
