/**
 * Pacing held to its full promises, for minutes, with TRUNKLINE_LONG=1 and on a machine that has time: 1, 2 and 4
 * gateways at six limits; 10,000 orders; a Redis that is dead for a minute. `pacing.test.ts` has the rest, in short.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { mostWithin } from '../contract/pacing-rig.js';
import { figuresOf, median, promiseErrors, show, useOf } from '../kit/pace-figures.js';
import { PacedNodes, type PlacedCall } from '../kit/paced-nodes.js';
import { freePort } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { Sipp } from '../kit/sipp.js';

const LONG = process.env.TRUNKLINE_LONG === '1';
const INBOUND = '+14155550199';
/** Clients of the API at once. */
const CLIENTS = 8;

let rig: PacedNodes | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

/** Orders so many calls of a key over all nodes, by several clients at once. */
async function order(nodes: PacedNodes, key: string, count: number): Promise<PlacedCall[]> {
  const placed: PlacedCall[] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++)
      placed.push(await nodes.place(nodes.nodes[n % nodes.nodes.length]!, key));
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return placed;
}

async function allSent(nodes: PacedNodes, key: string, count: number, timeoutMs: number): Promise<void> {
  await until(
    () => `${count} INVITEs of ${key}, there are ${nodes.sent(key).length}`,
    () => nodes.sent(key).length >= count,
    timeoutMs,
  );
}

describe.runIf(LONG)('for minutes', () => {
  test.each([1, 2, 4])('%i gateways keep six limits', { timeout: 240_000 }, async (count) => {
    const limits = { half: 0.5, one: 1, five: 5, twenty: 20, hundred: 100, fourHundred: 400 };
    rig = await PacedNodes.start({ nodes: count, limits });
    const nodes = rig;
    const rows: object[] = [];
    const run = async (keys: readonly (keyof typeof limits)[], seconds: number): Promise<void> => {
      const calls = new Map(keys.map((key) => [key, Math.round(limits[key] * seconds)]));
      for (const [n, key] of keys.entries()) {
        const bySip = Math.floor(calls.get(key)! / 2);
        if (limits[key] < 5) continue;
        await nodes.agentCalls(nodes.nodes[n % count]!, key, { calls: bySip, rate: Math.min(bySip, 1_000) });
      }
      const placed = await Promise.all(
        keys.map((key) =>
          order(nodes, key, calls.get(key)! - (limits[key] < 5 ? 0 : Math.floor(calls.get(key)! / 2))),
        ),
      );
      const placedAt = Date.now();
      for (const [n, key] of keys.entries()) {
        await allSent(nodes, key, calls.get(key)!, 3_000 * seconds);
        const invites = nodes.sent(key);
        const { slotsLost } = await nodes.line(key);
        const figures = figuresOf(invites, limits[key]);
        const useAndLost = useOf(invites, limits[key], slotsLost);
        // While orders come in as fast as they can, cores that nodes and clients share are busy with those.
        const useThen = useOf(
          invites.filter(({ at }) => at > placedAt),
          limits[key],
        );
        const etaError = median(promiseErrors(placed[n]!, invites, 1_000));
        rows.push({
          gateways: count,
          limit: limits[key],
          ...figures,
          useThen,
          slotsLost,
          useAndLost,
          etaError,
        });
        expect(figures.most, `most of ${key} in a window`).toBeLessThanOrEqual(figures.allowed);
        expect(new Set(invites.map(({ callee }) => callee)).size).toBe(calls.get(key));
      }
    };
    try {
      await run(['half', 'one', 'five', 'twenty', 'hundred'], 20);
      await run(['fourHundred'], 10);
    } finally {
      show(`${count} gateways`, rows);
    }
    for (const row of rows as {
      limit: number;
      sent: number;
      use: number;
      useThen: number;
      slotsLost: number;
      etaError: number;
    }[]) {
      // A machine that is busy with others shows by the slots that its gateways are too late for.
      const busy = row.slotsLost > row.sent / 50;
      expect(row.use, `use of ${row.limit}`).toBeGreaterThan(busy ? 0.85 : 0.99);
      expect(row.useThen, `use of ${row.limit} once all was ordered`).toBeGreaterThan(0.99);
      if (row.slotsLost === 0) expect(row.etaError, `promises of ${row.limit}`).toBeLessThan(0.1);
    }
  });

  test('10,000 orders at 100/s over four gateways: none lost, none twice, each with its record', {
    timeout: 400_000,
  }, async () => {
    const count = 10_000;
    rig = await PacedNodes.start({ nodes: 4, limits: { hundred: 100 } });
    const nodes = rig;
    const placed = await order(nodes, 'hundred', count);
    await allSent(nodes, 'hundred', count, 300_000);
    const invites = nodes.sent('hundred');
    await until(
      'each has its record',
      () => nodes.nodes.reduce((sum, node) => sum + node.records().length, 0) >= count,
      30_000,
    );
    const records = nodes.nodes.flatMap((node) => node.records());
    const { slotsLost } = await nodes.line('hundred');
    show('10,000 orders', [
      {
        ...figuresOf(invites, 100),
        slotsLost,
        useAndLost: useOf(invites, 100, slotsLost),
        etaError: median(promiseErrors(placed, invites, 1_000)),
        records: records.length,
      },
    ]);
    expect(invites.length).toBe(count);
    expect(new Set(invites.map(({ callee }) => callee))).toEqual(new Set(placed.map(({ callee }) => callee)));
    expect(records.length).toBe(count);
    expect(new Set(records.map(({ id }) => id))).toEqual(new Set(placed.map(({ id }) => id)));
    expect(records.every(({ code }) => code === 'callee_busy')).toBe(true);
    expect(
      mostWithin(
        invites.map(({ at }) => at),
        1_000,
      ),
    ).toBeLessThanOrEqual(100);
  });

  test('Redis is dead for a minute: inbound calls go on, and all is whole 2 s after its return', {
    timeout: 240_000,
  }, async () => {
    const inboundPort = await freePort();
    rig = await PacedNodes.start({
      nodes: 2,
      limits: { twenty: 20 },
      config: {
        sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
        phoneNumbers: [{ phoneNumber: INBOUND, credentialsId: 'carrier', inboundAgentId: 'reception' }],
        agents: [{ id: 'reception', endpoints: [{ uri: `sip:agent@127.0.0.1:${inboundPort}` }] }],
      },
    });
    const nodes = rig;
    const rate = 50;
    const calls = rate * 70;
    const agent = await Sipp.start({ scenario: 'uas/load', port: inboundPort, calls, timeoutSeconds: 120 });
    const caller = await Sipp.start({
      scenario: 'uac/load',
      to: nodes.nodes[0]!.port,
      calls,
      rate,
      limit: calls,
      service: INBOUND,
      responseTimes: true,
      timeoutSeconds: 120,
    });
    const placed = await order(nodes, 'twenty', 60);
    await allSent(nodes, 'twenty', 20, 15_000);
    await nodes.redis.kill();
    const died = Date.now();
    await delay(60_000);
    await nodes.redis.restart('kept');
    const back = Date.now();
    // Whoever is asked for a call now takes it, wherever.
    for (const node of nodes.nodes) placed.push(await nodes.place(node, 'twenty'));
    await until('all leave', () => placed.every((call) => nodes.sentOf(call).length === 1), 20_000);
    const [told] = await Promise.all([caller.result(), agent.result()]);
    const invites = nodes.sent('twenty');
    const firstAfterMs = Math.round(invites.find(({ at }) => at >= back)!.at - back);
    const times = caller.responseTimes().map(({ ms }) => ms);
    show('Redis is dead for a minute', [
      {
        inbound: told.created,
        complete: told.successful,
        p99: times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)],
        sentMeanwhile: invites.filter(({ at }) => at > died + 300 && at < back).length,
        firstAfterMs,
        most: mostWithin(
          invites.map(({ at }) => at),
          1_000,
        ),
      },
    ]);
    expect(told.successful / calls).toBeGreaterThanOrEqual(0.999);
    expect(invites.filter(({ at }) => at > died + 300 && at < back)).toEqual([]);
    expect(
      mostWithin(
        invites.map(({ at }) => at),
        1_000,
      ),
    ).toBeLessThanOrEqual(20);
    expect(firstAfterMs).toBeLessThan(2_000);
  });
});
