/**
 * Pacing over several nodes in any weather, from a seed: however late nodes are and whoever is cut off, no second has
 * more INVITEs than the limit. And where nodes are late as on a busy machine, the limit is used nevertheless.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import type { Ticket } from '#pacing/pacer.js';
import { RedisClient } from '#store/redis/client.js';
import { recordingObserver } from '../contract/pacing.contract.js';
import { mostWithin } from '../contract/pacing-rig.js';
import { FAIR, PaceWorld, type Weather } from '../kit/pace-world.js';
import { RedisServer } from '../kit/redis.js';

const RUNS = Number(process.env.SIMULATION_PACING_RUNS ?? 3);
const FIRST = Number(process.env.SIMULATION_SEED ?? 1);

let server: RedisServer;
let client: RedisClient;
beforeAll(async () => {
  server = await RedisServer.start();
  client = new RedisClient({ url: server.url, log: silentLogger, commandTimeoutMs: 60_000 });
  await client.start();
});
afterAll(async () => {
  client.close();
  await server.stop();
});

interface Run {
  readonly seed: number;
  readonly weather: Weather;
  readonly nodes: number;
  readonly limit: number;
  readonly seconds: number;
  /** Of the calls, so many leave the line again, do not send in their slot, come late or must prepare. */
  readonly moody?: boolean;
  /** As many as may leave come one after the other, and must prepare. */
  readonly prepare?: boolean;
}

interface Figures {
  /** Slots that were lost, by what Redis says and by what the nodes say. */
  readonly lost: number;
  readonly lostTold: number;
  /** That Redis carried out. */
  readonly requests: number;
  readonly sends: readonly number[];
  /** The most in any second; of a limit below 1, in 1/limit seconds. */
  readonly most: number;
  readonly use: number;
  readonly twice: boolean;
}

/** More calls in line than can leave. */
async function run({
  seed,
  weather,
  nodes,
  limit,
  seconds,
  moody = false,
  prepare = false,
}: Run): Promise<Figures> {
  await client.command('FLUSHALL');
  const world = new PaceWorld(seed, FAIR, client);
  const observer = recordingObserver();
  for (let n = 0; n < nodes; n++) await world.node(observer);
  // A new Redis gives no slot for its first window.
  await world.pass(2_500);
  world.weather = weather;
  world.requests = 0;
  const rule = { key: `line-${seed}`, limit, burst: 1, maxQueued: 1_000_000 };
  const sends: number[] = [];
  const sent = new Set<number>();
  let twice = false;
  const join = (n: number): void => {
    const node = world.nodes[Math.floor(world.random() * nodes)]!;
    const prepares = prepare || (moody && world.random() < 0.2);
    const ticket: Ticket = node.pacer.enqueue(
      { id: `call-${n}`, rule, priority: 5, timeoutMs: 3_600_000, leadMs: prepares ? 500 : undefined },
      {
        onPrepare: () => {
          world.at(world.now + world.some(400), node, () => ticket.ready());
        },
        onSlot: () => {
          if (moody && world.random() < 0.1) {
            if (prepares) world.at(world.now + world.some(400), node, () => ticket.ready());
            return false;
          }
          twice ||= sent.has(n);
          sent.add(n);
          sends.push(node.send());
          return true;
        },
        onRefused: (why) => {
          throw new Error(`call ${n} was refused: ${why}`);
        },
      },
    );
    if (moody && world.random() < 0.2) {
      world.at(world.now + world.random() * seconds * 1_000, node, () => ticket.cancel());
    }
  };
  const count = prepare ? limit * seconds : Math.ceil(limit * seconds * 1.3) + 4;
  for (let n = 0; n < count; n++) {
    if (prepare || (moody && world.random() < 0.5)) {
      world.at(world.now + world.random() * seconds * 1_000, undefined, () => join(n));
    } else join(n);
  }
  for (let second = 0; second < seconds; second++) {
    if (moody && world.random() < 0.05) world.pausedUntil = world.now + world.random() * 4_000;
    await world.pass(1_000);
  }
  const looked = sends.toSorted((a, b) => a - b);
  const { requests } = world;
  // What is on its way arrives.
  world.weather = FAIR;
  await world.pass(3_000);
  return {
    sends: looked,
    most: mostWithin(looked, limit < 1 ? 1_000 / limit : 1_000),
    use: ((looked.length - 1) * 1_000) / (limit * (looked.at(-1)! - looked[0]!)),
    twice,
    requests,
    lost: Number(await client.command('HGET', `trunkline:pace:line:${rule.key}:s`, 'lost')),
    lostTold: observer.seen.filter((each) => each.startsWith('lost')).length,
  };
}

/** Each gateway has half a core of a busy machine. */
const BUSY: Weather = {
  ...FAIR,
  busy: 20,
  busyMs: 6,
  stalled: 1,
  stalledMs: 30,
  preempted: 0.02,
  preemptedMs: 3,
  moreWayMs: 1,
};

/** Nodes stand still for seconds, or cannot reach Redis; each alone. */
const STORM: Weather = { ...BUSY, stalled: 1, stalledMs: 400, moreWayMs: 20, cut: 0.005, cutMs: 900 };
/** The machine does something else between the look at the clock and the INVITE. */
const PREEMPTED: Weather = { ...BUSY, preempted: 0.1, preemptedMs: 30 };

const LIMITS = [0.5, 1, 2.5, 5, 20, 100, 400];

describe('over several nodes', () => {
  it.each(LIMITS)(
    'at %f per second, a busy machine uses the limit, and no second has more',
    {
      timeout: 60_000 + RUNS * 20_000,
    },
    async (limit) => {
      const uses: number[] = [];
      for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
        const nodes = limit < 20 ? 2 : 4;
        const figures = await run({ seed, weather: BUSY, nodes, limit, seconds: limit < 5 ? 30 : 10 });
        expect(figures.most, `seed ${seed}`).toBeLessThanOrEqual(Math.ceil(limit));
        expect(figures.twice, `seed ${seed}`).toBe(false);
        uses.push(figures.use);
      }
      if (process.env.TRUNKLINE_FIGURES === '1') console.info({ limit, uses });
      expect(uses.reduce((sum, use) => sum + use, 0) / uses.length).toBeGreaterThan(0.985);
    },
  );

  it.each([400, 3_000])(
    'follow a limit that is lowered for %i ms, and make nothing up for it',
    async (ms) => {
      await client.command('FLUSHALL');
      const world = new PaceWorld(FIRST, FAIR, client);
      for (let n = 0; n < 3; n++) await world.node(recordingObserver());
      await world.pass(2_500);
      const rule = { key: 'moved', limit: 20, burst: 1, maxQueued: 1_000 };
      const sends: number[] = [];
      const tickets: Ticket[] = [];
      for (let n = 0; n < 150; n++) {
        const node = world.nodes[n % 3]!;
        const onSlot = (): boolean => sends.push(node.send()) > 0;
        const events = { onSlot, onRefused: () => undefined };
        tickets.push(
          node.pacer.enqueue({ id: `call-${n}`, rule, priority: 5, timeoutMs: 3_600_000 }, events),
        );
      }
      await world.until('some leave', () => sends.length >= 25, 3_000);
      const change = async (limit: number): Promise<number> => {
        for (const ticket of tickets.slice(-3)) ticket.rule({ ...rule, limit });
        await world.pass(300);
        return world.now;
      };
      const slow = await change(5);
      await world.pass(ms);
      const fast = world.now;
      await change(40);
      await world.until('all leave', () => sends.length === tickets.length, 6_000);
      const between = sends.filter((at) => at >= slow && at < fast);
      if (ms > 1_000) expect(between.length).toBeGreaterThan(5);
      expect(mostWithin(between, 1_000)).toBeLessThanOrEqual(5);
      expect(mostWithin(sends, 1_000)).toBeLessThanOrEqual(40);
      const after = sends.filter((at) => at >= fast);
      expect(mostWithin(after, 250)).toBeLessThanOrEqual(11);
    },
  );

  it('tell of slots that passed before they had heard of them, and use others', async () => {
    const weather = { ...FAIR, deaf: 0.3 };
    const figures = await run({ seed: FIRST, weather, nodes: 3, limit: 5, seconds: 30 });
    expect(figures.most).toBeLessThanOrEqual(5);
    expect(figures.lost).toBeGreaterThan(0);
    expect(figures.lostTold).toBe(figures.lost);
  });

  it.each([1, 4, 20])(
    'at %i per second, need at most two requests for a call that prepares, and one a second each',
    async (limit) => {
      const nodes = 2;
      const seconds = 30;
      const { requests } = await run({ seed: FIRST, weather: FAIR, nodes, limit, seconds, prepare: true });
      if (process.env.TRUNKLINE_FIGURES === '1') console.info({ limit, requests });
      expect(requests).toBeLessThanOrEqual(2 * limit * seconds + nodes * seconds);
    },
  );

  it.each(LIMITS)(
    'at %f per second, no second has more in any weather',
    {
      timeout: 60_000 + RUNS * 20_000,
    },
    async (limit) => {
      for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
        for (const weather of [STORM, PREEMPTED]) {
          const seconds = limit < 5 ? 40 : Math.ceil(20 / Math.sqrt(limit / 5));
          const figures = await run({ seed, weather, nodes: 3, limit, seconds, moody: true });
          const what = `seed ${seed}, ${weather === STORM ? 'storm' : 'preempted'}`;
          expect(figures.sends.length, what).toBeGreaterThan(3);
          expect(figures.most, what).toBeLessThanOrEqual(Math.ceil(limit));
          expect(figures.twice, what).toBe(false);
        }
      }
    },
  );
});
