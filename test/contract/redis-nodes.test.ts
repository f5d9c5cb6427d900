/** What only several nodes and a Redis that fails can show of pacing. Everything is real but death, which is silence. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Orphan } from '#pacing/pacer.js';
import { until } from '../kit/processes.js';
import type { RedisServer } from '../kit/redis.js';
import { FakeCall, inOrder, moments, mostWithin, ruleOf } from './pacing-rig.js';
import { type RedisNode, type RedisRig, redisRig, warmRedis } from './redis-rig.js';

let server: RedisServer;
let rig: RedisRig;
beforeEach(() => {
  rig = redisRig(server);
});
afterEach(() => rig.close());

const settled = (calls: readonly FakeCall[]): boolean =>
  calls.every(({ sent, refusal }) => sent || refusal !== undefined);
const nodes = (count: number): Promise<RedisNode[]> =>
  Promise.all(Array.from({ length: count }, () => rig.node()));
const anyLost = (all: readonly RedisNode[]): boolean =>
  all.some(({ observer }) => observer.seen.some((each) => each.startsWith('lost')));

describe('several nodes', () => {
  beforeAll(async () => {
    server = await warmRedis();
  });
  afterAll(() => server.stop());

  it('have one line: one order, one limit', async () => {
    const all = await nodes(4);
    const rule = ruleOf(20);
    const calls: FakeCall[] = [];
    for (let n = 0; n < 60; n++) {
      calls.push(new FakeCall(rig, all[n % 4]!.pacer, rule));
      if (n % 10 === 9) await rig.pass(5);
    }
    await rig.until('all leave', () => settled(calls), 8_000);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(20);
    if (!anyLost(all)) {
      // Those who join within the same milliseconds on different nodes may change places.
      const order = inOrder(calls).map((call) => calls.indexOf(call));
      expect(order.every((place, n) => Math.abs(place - n) <= 10)).toBe(true);
    }
  });

  it('heed priorities over all of them, and refuse when the common line is full', async () => {
    const [a, b] = await nodes(2);
    const rule = ruleOf(2, { maxQueued: 4 });
    const first = new FakeCall(rig, a!.pacer, rule);
    await rig.until('the line is in use', () => first.sent, 2_000);
    const low = [1, 1].map(() => new FakeCall(rig, a!.pacer, rule, { priority: 1 }));
    await rig.until('they stand', () => low.every(({ places }) => places.length > 0), 1_000);
    const high = [9, 9].map(() => new FakeCall(rig, b!.pacer, rule, { priority: 9 }));
    await rig.until('they stand', () => high.every(({ ticket }) => ticket.place !== undefined), 1_000);
    const extra = new FakeCall(rig, b!.pacer, rule);
    await rig.until('one more is refused', () => extra.refusal !== undefined, 1_000);
    expect(extra.refusal).toBe('queue_full');
    await rig.until('all leave', () => settled([...low, ...high]), 5_000);
    if (!anyLost([a!, b!])) expect(inOrder([...low, ...high])).toEqual([...high, ...low]);
  });

  it('need at most two requests for a call, and one a second each', async () => {
    const all = await nodes(2);
    const rule = ruleOf(10);
    await server.command('CONFIG', 'RESETSTAT');
    const start = rig.now();
    const calls: FakeCall[] = [];
    for (let n = 0; n < 40; n++) {
      calls.push(new FakeCall(rig, all[n % 2]!.pacer, rule));
      await rig.pass(20);
    }
    await rig.until('all leave', () => settled(calls), 10_000);
    const counts = await server.commandCounts();
    const requests = (counts.get('evalsha') ?? 0) + (counts.get('eval') ?? 0);
    const beats = (2 * (rig.now() - start)) / 1_000 + 2;
    expect(requests).toBeLessThanOrEqual(2 * calls.length + beats);
  });

  it('have calls prepare in one order, with few requests', async () => {
    const all = await nodes(2);
    const rule = ruleOf(4);
    const calls: FakeCall[] = [];
    await server.command('CONFIG', 'RESETSTAT');
    const start = rig.now();
    for (let n = 0; n < 24; n++) {
      const call = new FakeCall(rig, all[n % 2]!.pacer, rule, { leadMs: 800 });
      calls.push(call);
      call.onPrepared = () => setTimeout(() => call.ticket.ready(), 300);
      await rig.pass(10);
    }
    await rig.until('all leave', () => settled(calls), 12_000);
    const counts = await server.commandCounts();
    const requests = (counts.get('evalsha') ?? 0) + (counts.get('eval') ?? 0);
    const beats = (2 * (rig.now() - start)) / 1_000 + 2;
    // A slot that was missed is told, and given again.
    const missed = all.flatMap(({ observer }) => observer.seen).filter((each) => each.startsWith('lost'));
    expect(requests).toBeLessThanOrEqual(2 * calls.length + beats + 2 * missed.length);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(4);
    for (const [n, { preparedAt }] of calls.entries()) {
      // So long before its slot, and a little for a busy machine.
      expect(preparedAt! - start).toBeGreaterThan(n * 250 - 800 - 400);
    }
    if (anyLost(all)) return;
    for (const { preparedAt, slotAt } of calls) expect(slotAt! - preparedAt!).toBeLessThan(800 + 700);
  });

  it('tell a call to prepare again that was preparing when its node died', async () => {
    const [dying, heir] = await nodes(2);
    const rule = ruleOf(2);
    const adopted: FakeCall[] = [];
    heir!.pacer.onOrphan = (orphan) => {
      if (orphan.kind !== 'waiting') return;
      const pacer = { enqueue: orphan.adopt } as unknown as RedisNode['pacer'];
      const call = new FakeCall(rig, pacer, rule, {
        id: orphan.id,
        payload: orphan.payload,
        leadMs: 1_000,
      });
      call.onPrepared = () => call.ticket.ready();
      adopted.push(call);
    };
    const calls = [0, 1].map(
      (n) => new FakeCall(rig, dying!.pacer, rule, { payload: `call ${n}`, leadMs: 1_000 }),
    );
    await rig.until('they prepare', () => calls.every(({ preparedAt }) => preparedAt !== undefined), 1_500);
    rig.die(dying!);
    await rig.until('the heir has them', () => adopted.length === 2, 6_000);
    await rig.until('they leave', () => settled(adopted), 4_000);
    expect(calls.some(({ sent }) => sent)).toBe(false);
  });

  it('take over what a dead one left, and dial nothing twice', async () => {
    const [dying, heir] = await nodes(2);
    const rule = ruleOf(0.5);
    const orphans: Orphan[] = [];
    const adopted: FakeCall[] = [];
    heir!.pacer.onOrphan = (orphan) => {
      orphans.push(orphan);
      if (orphan.kind !== 'waiting') return;
      const pacer = { enqueue: orphan.adopt } as unknown as RedisNode['pacer'];
      adopted.push(new FakeCall(rig, pacer, rule, { id: orphan.id, payload: orphan.payload }));
    };
    const first = new FakeCall(rig, dying!.pacer, rule, { payload: 'one' });
    await rig.until('one leaves', () => first.sent, 3_000);
    const portable = [0, 1].map(
      (n) => new FakeCall(rig, dying!.pacer, rule, { payload: `call ${n}`, priority: 7 }),
    );
    const bound = new FakeCall(rig, dying!.pacer, rule);
    await rig.until(
      'they stand in line',
      () => [...portable, bound].every(({ places }) => places.length > 0),
      1_500,
    );
    rig.die(dying!);
    const died = rig.now();
    await rig.until('the heir is asked', () => orphans.length >= 2, 6_000);
    expect(rig.now() - died).toBeLessThan(5_500);
    const whole = [...portable, ...adopted];
    await rig.until('what waited leaves', () => settled(adopted), 9_000);
    for (const call of portable)
      expect(whole.filter(({ id, sent }) => id === call.id && sent).length).toBeLessThanOrEqual(1);
    expect(orphans.map(({ payload }) => payload).sort()).toEqual(['call 0', 'call 1']);
    expect((await heir!.pacer.line(rule.key, rule.limit)).waiting).toEqual([]);
  });
});

describe('a Redis that fails', () => {
  beforeEach(async () => {
    server = await warmRedis({ movableClock: true });
    rig = redisRig(server);
  });
  afterEach(() => server.stop());

  it.each(['kept', 'empty'] as const)(
    'holds calls while it is gone, and comes back %s without a burst',
    async (data) => {
      const [a, b] = await nodes(2);
      const rule = ruleOf(10);
      const calls = Array.from({ length: 40 }, (_, n) => new FakeCall(rig, [a!, b!][n % 2]!.pacer, rule));
      const impatient = new FakeCall(rig, a!.pacer, rule, { timeoutMs: 2_000, priority: 0 });
      await rig.until('some leave', () => moments(calls).length >= 10, 4_000);
      await server.kill();
      await rig.pass(600);
      const before = moments(calls).length;
      await rig.pass(1_500);
      expect(moments(calls).length).toBe(before);
      expect(a!.pacer.health().ok).toBe(false);
      await rig.until('time runs on', () => impatient.refusal === 'queue_timeout', 1_500);
      await server.restart(data);
      const back = rig.now();
      await rig.until('they go on', () => moments(calls).length > before, 4_000);
      expect(rig.now() - back).toBeLessThan(4_000);
      await rig.until('all leave', () => settled(calls), 8_000);
      expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(10);
      expect(calls.every(({ sent }) => sent)).toBe(true);
    },
  );

  it('lets nodes go by their share while it is gone, where they may', async () => {
    const all = await Promise.all([rig.node({ whenDown: 'share' }), rig.node({ whenDown: 'share' })]);
    await rig.pass(1_200);
    await server.kill();
    const rule = ruleOf(8);
    const start = rig.now();
    const calls = Array.from({ length: 40 }, (_, n) => new FakeCall(rig, all[n % 2]!.pacer, rule));
    await rig.pass(5_500);
    const sent = moments(calls);
    expect(sent.length).toBeGreaterThan(8);
    expect(mostWithin(sent, 1_000)).toBeLessThanOrEqual(8);
    expect(all[0]!.pacer.health().detail).toContain('share');
    await server.restart('kept');
    await rig.until('all leave', () => settled(calls), 10_000);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(8);
    expect(rig.now() - start).toBeGreaterThan(4_000);
  });

  it('is gone: a limit that is changed holds for those who wait for their share', async () => {
    const all = await Promise.all([rig.node({ whenDown: 'share' }), rig.node({ whenDown: 'share' })]);
    await rig.pass(1_200);
    await server.kill();
    const rule = ruleOf(2);
    const calls = Array.from({ length: 30 }, (_, n) => new FakeCall(rig, all[n % 2]!.pacer, rule));
    await rig.until('some leave', () => moments(calls).length >= 2, 6_000);
    for (const call of [0, 1]) calls[28 + call]!.ticket.rule({ ...rule, limit: 10 });
    const changed = rig.now();
    await rig.until('all leave', () => settled(calls), 8_000);
    // At the old limit it would have taken 14 s.
    expect(rig.now() - changed).toBeGreaterThan(2_000);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(10);
  });

  it('stands still for seconds: calls wait, nothing is sent twice or at once', async () => {
    const [a, b] = await nodes(2);
    const rule = ruleOf(10);
    const calls = Array.from({ length: 30 }, (_, n) => new FakeCall(rig, [a!, b!][n % 2]!.pacer, rule));
    await rig.until('some leave', () => moments(calls).length >= 8, 4_000);
    server.pause();
    await rig.pass(4_000);
    server.resume();
    await rig.until('all leave', () => settled(calls), 10_000);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(10);
  });

  it.each([-100, 100])('moves its clock by %i s: no burst and no stall', async (seconds) => {
    const [a] = await nodes(1);
    const rule = ruleOf(10);
    const calls = Array.from({ length: 30 }, () => new FakeCall(rig, a!.pacer, rule));
    await rig.until('some leave', () => moments(calls).length >= 8, 4_000);
    server.shiftClock(seconds);
    await until('all leave', () => settled(calls), 6_000);
    expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(10);
  });
});
