/**
 * Calls by API as fast as their line goes, 100 a second: each is placed once and called once, none is lost, every one
 * leaves its record, and nothing stays behind. TRUNKLINE_LONG=1 makes it 10,000.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { Sipp } from '../kit/sipp.js';

const CALLS = process.env.TRUNKLINE_LONG === '1' ? 10_000 : 2_000;
const LIMIT = 100;
/** Requests under way at once. */
const CLIENTS = 20;
/** Every so many orders one is sent twice, as a client does that has not heard the answer. */
const REPEATED = 10;
const LAST_MS = (CALLS / LIMIT) * 1_000 * 4 + 60_000;
/** 64*T1 for the last transactions, and what the machine takes. */
const SETTLE_MS = 40_000;

let gateway: Gateway;
let agents: Sipp;
let callees: Sipp;

beforeAll(async () => {
  const [agentPort = 0, calleePort = 0] = await freePorts(2);
  gateway = await Gateway.start({
    config: {
      http: { requestsPerSecond: 10_000 },
      calls: { queueTimeoutSeconds: 600, maxQueued: CALLS, endedKept: CALLS },
      sipCredentials: [{ id: 'carrier', server: `127.0.0.1:${calleePort}`, cpsLimit: LIMIT }],
      phoneNumbers: [
        { id: 'number', phoneNumber: '+14155550100', credentialsId: 'carrier', displayName: 'Acme' },
      ],
      agents: [
        {
          id: 'sales',
          endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }],
          outboundNumberId: 'number',
        },
      ],
    },
  });
  const options = { calls: CALLS, timeoutSeconds: Math.ceil(LAST_MS / 1_000) };
  agents = await Sipp.start({ scenario: 'origination/agent-load', port: agentPort, ...options });
  callees = await Sipp.start({
    scenario: 'origination/callee-load',
    port: calleePort,
    pauseMs: 200,
    ...options,
  });
});
afterAll(async () => {
  await Promise.all([agents?.stop(), callees?.stop(), gateway?.stop()]);
});

async function place(number: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/calls`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${API_TOKEN}`,
      'content-type': 'application/json',
      'idempotency-key': `order-${number}`,
    },
    body: JSON.stringify({ agentId: 'sales', to: '+12125550199', metadata: { number: String(number) } }),
  });
  const text = await response.text();
  if (response.status !== 202) throw new Error(`order ${number}: ${response.status} ${text}`);
  return (JSON.parse(text) as { id: string }).id;
}

/** The most that happened within one second. `times`: milliseconds. */
function busiestSecond(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < sorted.length; last++) {
    // Times are cut to whole milliseconds, so that 1,000 between them may have been less than a second more.
    while (sorted[last]! - sorted[first]! >= 999) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

test(`${CALLS} calls at ${LIMIT}/s`, { timeout: LAST_MS + SETTLE_MS + 60_000 }, async () => {
  const ids = new Map<number, string>();
  let next = 0;
  const client = async (): Promise<void> => {
    for (let number = next++; number < CALLS; number = next++) {
      const id = await place(number);
      ids.set(number, id);
      if (number % REPEATED === 0) expect(await place(number)).toBe(id);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  expect(ids.size).toBe(CALLS);
  expect(new Set(ids.values()).size).toBe(CALLS);

  const [agentSide, calleeSide] = await Promise.all([agents.succeed(CALLS), callees.succeed(CALLS)]);
  expect(agentSide).toMatchObject({ created: CALLS, successful: CALLS, failed: 0 });
  expect(calleeSide).toMatchObject({ created: CALLS, successful: CALLS, failed: 0 });

  const records: CallRecord[] = await gateway.waitForRecords(CALLS, () => true, 30_000);
  expect(records).toHaveLength(CALLS);
  for (const record of records) {
    const number = Number(record.metadata?.number);
    expect(record.id).toBe(ids.get(number));
    expect(record).toMatchObject({ code: 'normal_clearing', sipStatus: 200, endedBy: 'callee' });
    expect(record.attempts.map(({ outcome }) => outcome)).toEqual(['answered', 'answered']);
  }
  const sent = records.flatMap(({ attempts }) => attempts.filter(({ trunkId }) => trunkId !== null));
  expect(sent).toHaveLength(CALLS);
  expect(busiestSecond(sent.map(({ startedAt }) => Date.parse(startedAt)))).toBeLessThanOrEqual(LIMIT);

  await gateway.idle(SETTLE_MS);
  expect(await gateway.held()).toMatchObject({ calls: 0, transactions: 0, dialogs: 0, timers: 0 });
});
