/** Nodes count what they use up of common bounds together, on one real Redis. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Usage } from '#call/usage.js';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisClient } from '#store/redis/client.js';
import { RedisTally } from '#store/redis/tally.js';
import { until } from '../kit/processes.js';
import { RedisServer } from '../kit/redis.js';

const BOUNDED = { trunks: new Set(['carrier']), organizations: new Set(['acme']) };

interface Node {
  readonly usage: Usage;
  /** It says nothing more, and hears nothing. */
  die(): void;
}

let server: RedisServer;
let nodes: Node[];
beforeEach(async () => {
  server = await RedisServer.start();
  nodes = [];
});
afterEach(async () => {
  for (const node of nodes) node.die();
  await server.stop();
});

async function add(longGoneMs?: number): Promise<Usage> {
  const clock = systemClock();
  const client = new RedisClient({ url: server.url, log: silentLogger });
  const tally = new RedisTally({ client, clock, ids: new RandomIds(), log: silentLogger, longGoneMs });
  const usage = new Usage(clock, tally);
  tally.source = () => usage.report(BOUNDED);
  tally.start();
  await client.start();
  nodes.push({
    usage,
    die: () => {
      tally.stop();
      client.close();
    },
  });
  return usage;
}

/** A call that leaves by a trunk. */
function begin(usage: Usage, trunk = 'carrier', organization = 'acme'): void {
  usage.takeOrganization(organization);
  usage.takeTrunk(trunk);
  usage.countOnTrunk(trunk);
}

function end(usage: Usage): void {
  usage.leaveOrganization('acme');
  usage.leaveTrunk('carrier');
}

const seen = (usage: Usage): number[] => [
  usage.callsOfOrganization('acme'),
  usage.callsTodayOfOrganization('acme'),
  usage.callsOnTrunk('carrier'),
  usage.callsTodayOnTrunk('carrier'),
];
const sees = (usage: Usage, expected: readonly number[]): Promise<void> =>
  until(
    () => `${expected}, there is ${seen(usage)}`,
    () => seen(usage).join() === expected.join(),
    15_000,
  );

describe('several nodes', () => {
  it('see the calls of all, those in progress and those of the day', async () => {
    const [a, b, c] = [await add(), await add(), await add()];
    begin(a!);
    begin(a!);
    begin(b!);
    for (const usage of [a!, b!, c!]) await sees(usage, [3, 3, 3, 3]);
    end(a!);
    for (const usage of [a!, b!, c!]) await sees(usage, [2, 3, 2, 3]);
    expect(a!.ownOnTrunk('carrier')).toBe(1);
    // Who comes later hears of it too.
    await sees(await add(), [2, 3, 2, 3]);
  });

  it('say nothing of what has no bound', async () => {
    const [a, b] = [await add(), await add()];
    begin(a!, 'unbounded', 'others');
    begin(a!);
    await sees(b!, [1, 1, 1, 1]);
    expect(b!.callsOnTrunk('unbounded')).toBe(0);
    expect(b!.callsOfOrganization('others')).toBe(0);
  });

  it('let go of the calls of one that died, and remember how many it had made that day', async () => {
    const [a, b] = [await add(), await add()];
    begin(a!);
    begin(b!);
    await sees(b!, [2, 2, 2, 2]);
    nodes[0]!.die();
    await sees(b!, [1, 2, 1, 2]);
    await sees(await add(), [1, 2, 1, 2]);
  });

  it('keep what those counted that are gone for long in one place', async () => {
    const [a, b, c] = [await add(5_000), await add(5_000), await add(5_000)];
    for (const usage of [a!, b!, c!]) begin(usage);
    await sees(c!, [3, 3, 3, 3]);
    for (const node of nodes.slice(0, 2)) node.die();
    await until(
      'one place is left for both',
      async () => Number(await server.command('HLEN', 'trunkline:tally')) === 2,
      15_000,
    );
    await sees(c!, [1, 3, 1, 3]);
    await sees(await add(5_000), [1, 3, 1, 3]);
  });

  it('go by their own calls while Redis is gone, and by all when it is back, though it has lost everything', async () => {
    const [a, b] = [await add(), await add()];
    begin(a!);
    begin(b!);
    await sees(b!, [2, 2, 2, 2]);
    await server.kill();
    // What was counted today is not forgotten.
    await sees(b!, [1, 2, 1, 2]);
    begin(b!);
    expect(seen(b!)).toEqual([2, 3, 2, 3]);
    await server.restart('empty');
    await sees(a!, [3, 3, 3, 3]);
    await sees(b!, [3, 3, 3, 3]);
  });
});
