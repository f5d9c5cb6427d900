/**
 * 20,000 calls at 500/s through the process, with the timers of RFC 3261 as they are: none fails, each leaves its
 * record, and nothing stays behind.
 *
 * Memory at the start is measured after 3,000 calls and the end of their timers: until then the compiler, the pools
 * and the tables of a fresh process grow, which is no leak.
 */
import { expect, test } from 'vitest';
import type { Probe } from '../kit/gateway.js';
import { until } from '../kit/processes.js';
import { useSwitchboard } from '../kit/switchboard.js';

const CALLS = 20_000;
const WARM_UP = 3_000;
const RATE = 500;
/** 64*T1 for the last transactions, and what the machine takes. */
const SETTLE_MS = 40_000;

const board = useSwitchboard({ load: {} }, { probe: true });

const load = (calls: number) =>
  board.call({
    line: 'load',
    caller: 'load',
    agent: 'load',
    calls,
    callerOptions: { rate: RATE, limit: calls, pauseMs: 200, timeoutSeconds: 120 },
    agentOptions: { timeoutSeconds: 120 },
  });

/** A probe once the connections of the last look at its metrics are closed, and between two questions to the store's thread. */
async function quiet(): Promise<Probe> {
  let probe = await board.gateway.probe();
  await until(
    () => `no connection and no question to be open: ${JSON.stringify(probe.resources)}`,
    async () => {
      probe = await board.gateway.probe();
      const { TCPSocketWrap = 0, MessagePort = 0 } = probe.resources;
      return TCPSocketWrap === 0 && MessagePort === 0;
    },
    5_000,
  );
  return probe;
}

test(`${CALLS} calls at ${RATE}/s leave records and nothing else`, { timeout: 240_000 }, async () => {
  const { gateway } = board;
  await load(WARM_UP);
  await gateway.idle(SETTLE_MS);
  const before = await quiet();

  const { records, caller } = await load(CALLS);
  expect(caller).toMatchObject({ successful: CALLS, failed: 0 });
  expect(records).toHaveLength(CALLS);
  expect(new Set(records.map(({ callId }) => callId)).size).toBe(CALLS);
  expect(records.filter(({ code, sipStatus }) => code !== 'normal_clearing' || sipStatus !== 200)).toEqual(
    [],
  );

  await gateway.idle(SETTLE_MS);
  expect(await gateway.held()).toMatchObject({ calls: 0, transactions: 0, dialogs: 0, timers: 0 });
  const after = await quiet();
  expect(after.resources).toEqual(before.resources);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  expect(after.heapUsed + after.external).toBeLessThan(1.1 * (before.heapUsed + before.external));
  const metrics = await gateway.metrics();
  expect(metrics.get('trunkline_records_total')).toBe(CALLS + WARM_UP);
  expect(metrics.get('trunkline_records_lost_total')).toBe(0);
});
