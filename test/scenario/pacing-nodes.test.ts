/**
 * Conformance of pacing: processes as nodes on one real Redis, each moment of an INVITE written down. Whatever the
 * machine is busy with, no second has more than the limit; slots that a busy machine could not use are counted as lost.
 * TRUNKLINE_LONG=1 runs each for a minute.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mostWithin } from '../contract/pacing-rig.js';
import { warmRedis } from '../contract/redis-rig.js';
import { runPacers } from '../kit/pace-run.js';
import type { RedisServer } from '../kit/redis.js';

const LONG = process.env.TRUNKLINE_LONG === '1';

let server: RedisServer;
beforeAll(async () => {
  server = await warmRedis();
});
afterAll(() => server.stop());

describe.concurrent('pacers in processes of their own', () => {
  it.each([
    { nodes: 1, limit: 20 },
    { nodes: 2, limit: 0.5 },
    { nodes: 2, limit: 5 },
    { nodes: 4, limit: 1 },
    { nodes: 4, limit: 100 },
    { nodes: 2, limit: 400 },
  ])('$nodes at $limit per second', { timeout: LONG ? 150_000 : 60_000 }, async ({ nodes, limit }) => {
    const seconds = LONG ? 60 : limit < 1 ? 9 : 6;
    const figures = await runPacers({
      url: server.url,
      key: `default/${nodes}-${limit}`,
      limit,
      nodes,
      seconds,
    });
    if (LONG) {
      const { sends, use, useAndLost, lost, etaError } = figures;
      console.info({ nodes, limit, sent: sends.length, use, useAndLost, lost, etaError });
    }
    const windowMs = limit < 1 ? 1000 / limit : 1000;
    // Both ends of a window cannot belong to it: two INVITEs exactly a second apart are not in one second.
    expect(mostWithin(figures.sends, windowMs - 0.001)).toBeLessThanOrEqual(Math.ceil(limit));
    expect(figures.sends.length).toBeGreaterThan(2);
    if (figures.lost === 0) expect(figures.inOrder).toBe(true);
    // What a busy machine makes late moves what comes after it, so these are for a quiet one; bench -- pacing shows them.
    if (!LONG) return;
    expect(figures.useAndLost).toBeGreaterThan(0.99);
    if (figures.etaError !== null) expect(figures.etaError).toBeLessThan(0.1);
  });
});
