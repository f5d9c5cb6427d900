/**
 * Calls per second, end to end: gateways on one real Redis, calls by API and of SIP agents, and a provider that says to
 * the microsecond when each INVITE was sent. What must always hold, however busy the machine is: never more than the
 * limit in any second, no call twice, none lost. What a busy machine can spoil (the use of the limit, promised starts)
 * is judged by what the gateways say of slots that they were too late for. TRUNKLINE_LONG=1 holds them to the full
 * promises, and `pacing-long.test.ts` goes on for minutes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { CREDIT_MS } from '#pacing/pace.js';
import { mostWithin } from '../contract/pacing-rig.js';
import type { Gateway } from '../kit/gateway.js';
import type { SentInvite } from '../kit/invite-recorder.js';
import { displacements, figuresOf, median, promiseErrors, show, useOf } from '../kit/pace-figures.js';
import { PacedNodes, type PlacedCall } from '../kit/paced-nodes.js';
import { freePort } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { Sipp } from '../kit/sipp.js';

const LONG = process.env.TRUNKLINE_LONG === '1';
const LIMITS = { half: 0.5, one: 1, five: 5, twenty: 20, hundred: 100, moved: 20 };
type Key = keyof typeof LIMITS;
const INBOUND = '+14155550199';

let rig: PacedNodes;
let inboundPort: number;

beforeAll(async () => {
  inboundPort = await freePort();
  rig = await PacedNodes.start({
    nodes: 4,
    limits: LIMITS,
    movableClock: true,
    config: {
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
      phoneNumbers: [{ phoneNumber: INBOUND, credentialsId: 'carrier', inboundAgentId: 'reception' }],
      agents: [{ id: 'reception', endpoints: [{ uri: `sip:agent@127.0.0.1:${inboundPort}` }] }],
    },
  });
}, 120_000);
afterAll(() => rig?.stop());

// Whatever a test was about.
afterEach(() => {
  for (const [key, limit] of Object.entries(LIMITS) as [Key, number][]) {
    const moments = rig.sent(key).map(({ at }) => at);
    const most = key === 'moved' ? MOVED_MOST : Math.ceil(limit);
    expect(mostWithin(moments, limit < 1 ? 1000 / limit : 1000), key).toBeLessThanOrEqual(most);
    const numbers = rig.sent(key).map(({ callee }) => callee);
    expect(new Set(numbers).size, `${key}: no call twice`).toBe(numbers.length);
  }
});

const MOVED_MOST = 40;

const node = (n: number): Gateway => rig.nodes[n % rig.nodes.length]!;

/** Waits until so many INVITEs of a key have left since `from` were there already. */
async function sent(key: Key, count: number, from: number, timeoutMs = 30_000): Promise<SentInvite[]> {
  await until(
    () => `${count} INVITEs of ${key}, there are ${rig.sent(key).length - from}`,
    () => rig.sent(key).length - from >= count,
    timeoutMs,
  );
  return rig.sent(key).slice(from);
}

/** Slots that any node was too late for, since the Redis began. */
const lost = async (key: Key): Promise<number> => (await rig.line(key, node(0))).slotsLost;

test('nodes keep one pace, one order and their promises', { timeout: 90_000 }, async () => {
  const seconds = LONG ? 20 : 5;
  const count = (key: Key): number => Math.max(3, Math.round(LIMITS[key] * seconds));
  const sipCalls: Partial<Record<Key, number>> = {
    twenty: count('twenty') / 2,
    hundred: count('hundred') / 2,
  };
  // The SIP agents' calls come first, all in a moment: a line of half the time stands before the API's.
  for (const [key, calls] of Object.entries(sipCalls) as [Key, number][])
    await rig.agentCalls(node(key === 'twenty' ? 0 : 1), key, { calls, rate: calls * 3 });
  await until('they wait', async () => (await rig.line('hundred')).waiting.length > 0);
  const place = async (key: Key, nodes: number, priorityOf = (): number => 5): Promise<PlacedCall[]> => {
    const calls: PlacedCall[] = [];
    for (let n = 0; n < count(key) - (sipCalls[key] ?? 0); n++)
      calls.push(await rig.place(node(n % nodes), key, { priority: priorityOf() }));
    return calls;
  };
  // All below the SIP agents' priority: when the last has joined, none of them has had its turn.
  let turn = 0;
  const [half, one, five, twenty, hundred] = await Promise.all([
    place('half', 2),
    place('one', 1),
    place('five', 2),
    place('twenty', 4, () => (turn++ * 7) % 5),
    place('hundred', 4),
  ]);
  const rows: object[] = [];
  for (const [key, placed] of Object.entries({ half, one, five, twenty, hundred }) as [Key, PlacedCall[]][]) {
    const invites = await sent(key, count(key), 0);
    const figures = figuresOf(invites, LIMITS[key]);
    const slotsLost = await lost(key);
    const errors = promiseErrors(placed, invites);
    const fair = [...placed].sort((a, b) => b.priority - a.priority).map(({ callee }) => callee);
    const ours = new Set(fair);
    const moved = displacements(
      invites.map(({ callee }) => callee).filter((callee) => ours.has(callee)),
      fair,
    );
    const etaError = key === 'twenty' ? Number.NaN : median(errors);
    const useAndLost = useOf(invites, LIMITS[key], slotsLost);
    const outOfPlace = moved.filter((places) => places > 0).length;
    rows.push({ key, limit: LIMITS[key], ...figures, useAndLost, slotsLost, etaError, outOfPlace });
    expect(invites.length).toBe(count(key));
    expect(useAndLost, `use of ${key}`).toBeGreaterThan(LONG ? 0.99 : 0.85);
    // What is late without being lost moves what comes after it too.
    const busy = slotsLost > 0 || figures.use < 0.98;
    if (!busy && etaError > 0) expect(etaError, `promises of ${key}`).toBeLessThan(0.1);
    if (slotsLost === 0 && key === 'twenty') expect(outOfPlace, 'in order').toBe(0);
  }
  show('one pace over four nodes', rows);
});

test('bursts at odd moments: who cancels uses no slot', { timeout: 60_000 }, async () => {
  const from = rig.sent('twenty').length;
  const kept: PlacedCall[] = [];
  const cancelled: PlacedCall[] = [];
  const cancelling: Promise<unknown>[] = [];
  for (let burst = 0; burst < (LONG ? 30 : 8); burst++) {
    await delay(Math.random() * 500);
    const calls = await Promise.all(
      Array.from({ length: 1 + Math.floor(Math.random() * 14) }, (_, n) =>
        rig.place(node(burst + n), 'twenty'),
      ),
    );
    for (const call of calls) {
      if (Math.random() < 0.5) kept.push(call);
      else {
        cancelled.push(call);
        cancelling.push(delay(Math.random() * 600).then(() => rig.cancel(call)));
      }
    }
  }
  await Promise.all(cancelling);
  await until(
    () => `${kept.length} calls leave`,
    () => kept.every((call) => rig.sentOf(call).length === 1),
  );
  const unsent = cancelled.filter((call) => rig.sentOf(call).length === 0);
  const recordOf = (id: string) => rig.nodes.flatMap((each) => each.records()).find((each) => each.id === id);
  // An agent that rings has to say that it is over, and records are written a little later.
  await until('who cancelled is recorded', () => unsent.every(({ id }) => recordOf(id) !== undefined));
  for (const { id } of unsent) expect(recordOf(id)).toMatchObject({ code: 'api_cancelled' });
  const invites = rig.sent('twenty').slice(from);
  expect(invites.length).toBe(kept.length + cancelled.length - unsent.length);
  show('bursts', [
    { kept: kept.length, cancelled: cancelled.length, tooLate: cancelled.length - unsent.length },
  ]);

  // Half of a line leaves at once: the other half goes twice as soon, and no slot stays empty.
  const lostBefore = await lost('twenty');
  const line = await Promise.all(Array.from({ length: 60 }, (_, n) => rig.place(node(n), 'twenty')));
  const leaving = line.filter((_, n) => n % 2 === 1 && n > 10);
  await Promise.all(leaving.map((call) => rig.cancel(call)));
  const staying = line.filter((call) => !leaving.includes(call) || rig.sentOf(call).length > 0);
  await until('the others leave', () => staying.every((call) => rig.sentOf(call).length === 1));
  const moments = rig.sent('twenty').filter(({ callee }) => line.some((call) => call.callee === callee));
  const figures = figuresOf(moments, 20);
  show('half of a line leaves', [{ ...figures }]);
  expect(useOf(moments, 20, (await lost('twenty')) - lostBefore)).toBeGreaterThan(LONG ? 0.97 : 0.7);
});

test('a limit changed in the file holds for those who wait, without a burst', {
  timeout: 60_000,
}, async () => {
  const calls = await Promise.all(Array.from({ length: 90 }, (_, n) => rig.place(node(n), 'moved')));
  const change = async (limit: number): Promise<number> => {
    for (const each of rig.nodes) rig.relimit(each, 'moved', limit);
    for (const each of rig.nodes)
      await until('the new limit', async () => (await rig.line('moved', each)).limit === limit);
    // What had its slot may leave.
    return Date.now() + 300;
  };
  await sent('moved', 20, 0);
  const slow = await change(5);
  await delay(3_000);
  const fast = Date.now();
  await change(MOVED_MOST);
  await until('all leave', () => calls.every((call) => rig.sentOf(call).length === 1));
  const moments = rig.sent('moved').map(({ at }) => at);
  const between = moments.filter((at) => at >= slow && at < fast);
  show('a limit moved', [
    {
      from: 20,
      to: 5,
      most: mostWithin(between, 1_000),
      back: MOVED_MOST,
      mostInAll: mostWithin(moments, 1_000),
    },
  ]);
  expect(mostWithin(between, 1_000)).toBeLessThanOrEqual(5);
  expect(between.length).toBeGreaterThan(5);
  // Not even a quarter of a second has more than its part, and what late nodes are behind by.
  expect(
    mostWithin(
      moments.filter((at) => at >= slow),
      250,
    ),
  ).toBeLessThanOrEqual(((250 + CREDIT_MS) * MOVED_MOST) / 1_000 + 2);
});

test('a Redis that stands still for 5 s: inbound calls do not notice', { timeout: 60_000 }, async () => {
  const from = rig.sent('five').length;
  const waiting = await Promise.all(Array.from({ length: 20 }, (_, n) => rig.place(node(n), 'five')));
  const rate = 50;
  const calls = rate * 9;
  const agent = await Sipp.start({ scenario: 'uas/load', port: inboundPort, calls });
  const caller = await Sipp.start({
    scenario: 'uac/load',
    to: node(0).port,
    calls,
    rate,
    limit: calls,
    service: INBOUND,
    responseTimes: true,
  });
  await delay(2_000);
  rig.redis.pause();
  const paused = Date.now();
  await delay(5_000);
  rig.redis.resume();
  const resumed = Date.now();
  const [told] = await Promise.all([caller.succeed(calls), agent.succeed(calls)]);
  expect(told.failed).toBe(0);
  const times = caller.responseTimes();
  const p99 = (part: readonly { readonly ms: number }[]): number =>
    part.map(({ ms }) => ms).sort((a, b) => a - b)[Math.floor(part.length * 0.99)] ?? Number.NaN;
  const during = p99(times.filter(({ at }) => at > paused + 200 && at < resumed));
  const otherwise = p99(times.filter(({ at }) => at < paused || at > resumed + 500));
  const held = rig
    .sent('five')
    .slice(from)
    .filter(({ at }) => at > paused + 300 && at < resumed).length;
  show('Redis stands still', [
    { inbound: told.successful, failed: told.failed, p99: during, otherwise, held },
  ]);
  expect(during).toBeLessThanOrEqual(LONG ? 100 : Math.max(100, 3 * otherwise));
  expect(held).toBe(0);
  await sent('five', waiting.length, from);
});

test('a node dies: what it held is gone, what waited goes on elsewhere, none twice', {
  timeout: 60_000,
}, async () => {
  const from = rig.sent('five').length;
  const dying = node(3);
  const others = rig.nodes.filter((each) => each !== dying);
  // A line of some seconds, in which everybody stands.
  const orphans: PlacedCall[] = [];
  const safe: PlacedCall[] = [];
  for (let n = 0; n < 14; n++) orphans.push(await rig.place(dying, 'five'));
  for (let n = 0; n < 6; n++) safe.push(await rig.place(others[n % 3]!, 'five'));
  const { prefix } = await rig.agentCalls(dying, 'five', { calls: 6, rate: 100 });
  await until('all stand in line', async () => {
    const { waiting } = await rig.line('five', others[0]);
    return waiting.reduce((sum, { count }) => sum + count, 0) + rig.sent('five').length - from >= 26;
  });
  for (const each of others) await each.metrics();
  await sent('five', 3, from);
  await rig.kill(dying);
  const died = Date.now();
  const before = new Set(rig.sent('five').map(({ callee }) => callee));
  const left = orphans.filter(({ callee }) => !before.has(callee));
  /** Calls that a survivor holds, or has written a record of. */
  const known = async (): Promise<Set<string>> =>
    new Set(
      (await Promise.all(others.map((each) => rig.callsOf(each))))
        .flat()
        .concat(others.flatMap((each) => each.records().map(({ id }) => ({ id, state: 'ended' }))))
        .map(({ id }) => id),
    );
  let found = new Set<string>();
  await until(
    () =>
      `survivors know the ${left.length} calls, they know ${left.filter(({ id }) => found.has(id)).length}`,
    async () => {
      found = await known();
      return left.every(({ id }) => found.has(id));
    },
    15_000,
  );
  const tookOver = Date.now() - died;
  const lag = Math.max(
    ...(await Promise.all(others.map((each) => each.metrics()))).map(
      (metrics) => metrics.get('nodejs_eventloop_lag_max_seconds') ?? 0,
    ),
  );
  let records: CallRecord[] = [];
  await until(
    () =>
      `each of the ${left.length} calls has its record; without: ${left.filter(({ id }) => !records.some((each) => each.id === id)).map(({ callee }) => callee)}`,
    () => {
      records = others.flatMap((each) => each.records());
      return left.every(({ id }) => records.some((each) => each.id === id));
    },
    30_000,
  );
  const unknown = left.filter(({ id }) => records.some((each) => each.id === id && each.code === 'unknown'));
  for (const call of left) {
    const times = rig.sentOf(call).length;
    if (unknown.includes(call)) expect(times).toBeLessThanOrEqual(1);
    else expect(times, call.callee).toBe(1);
    expect(records.filter(({ id }) => id === call.id)).toHaveLength(1);
  }
  for (const call of safe) expect(rig.sentOf(call)).toHaveLength(1);
  const bySip = rig.sent('five').filter(({ callee, at }) => callee.startsWith(prefix) && at > died + 300);
  expect(bySip).toEqual([]);
  show('a node dies', [
    { waited: left.length, tookOverMs: tookOver, lagMs: Math.round(lag * 1000), unknown: unknown.length },
  ]);
  expect(unknown.length).toBeLessThanOrEqual(2);
  expect(tookOver).toBeLessThan(5_000 + 1_000 * lag + (LONG ? 0 : 1_000));
});

test.each(LONG ? (['kept', 'empty'] as const) : (['empty'] as const))(
  'a Redis that dies and comes back %s: calls wait, and go on without a burst',
  { timeout: 60_000 },
  async (data) => {
    const from = rig.sent('twenty').length;
    const calls = await Promise.all(Array.from({ length: 60 }, (_, n) => rig.place(node(n), 'twenty')));
    await sent('twenty', 15, from);
    await rig.redis.kill();
    const died = Date.now();
    await delay(2_500);
    await rig.redis.restart(data);
    const back = Date.now();
    await until('all leave', () => calls.every((call) => rig.sentOf(call).length === 1), 30_000);
    const invites = rig.sent('twenty').slice(from);
    const held = invites.filter(({ at }) => at > died + 300 && at < back).length;
    const first = invites.find(({ at }) => at >= back)!.at - back;
    show(`Redis dies, comes back ${data}`, [
      { ...figuresOf(invites, 20), held, firstAfterMs: Math.round(first) },
    ]);
    expect(held).toBe(0);
    expect(first).toBeLessThan(LONG ? 3_000 : 6_000);
  },
);

test("Redis's clock steps: no burst and no stall", { timeout: 60_000 }, async () => {
  const from = rig.sent('twenty').length;
  const calls = await Promise.all(Array.from({ length: 100 }, (_, n) => rig.place(node(n), 'twenty')));
  for (const [at, seconds] of [
    [20, -3_600],
    [45, 3_600],
    [70, 0],
  ] as const) {
    await sent('twenty', at, from);
    rig.redis.shiftClock(seconds);
  }
  await until('all leave', () => calls.every((call) => rig.sentOf(call).length === 1));
  const invites = rig.sent('twenty').slice(from);
  const gaps = invites.slice(1).map(({ at }, i) => at - invites[i]!.at);
  show("Redis's clock steps by an hour", [
    { ...figuresOf(invites, 20), longestGapMs: Math.round(Math.max(...gaps)) },
  ]);
  expect(Math.max(...gaps)).toBeLessThan(LONG ? 1_500 : 4_000);
});
