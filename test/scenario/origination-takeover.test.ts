/**
 * Two gateways on one Redis, and the one that took the orders is killed: the other goes on with the calls that waited,
 * under their ids, and no callee is called twice. What may have left is not dialled again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { serverIsShared } from '../kit/drachtio.js';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { RedisServer } from '../kit/redis.js';
import { Sipp } from '../kit/sipp.js';

const CALLS = 40;
const LIMIT = 5;
/** Sent by the node that dies, about. */
const BEFORE = 8;

let redis: RedisServer;
let first: Gateway;
let second: Gateway;
let agents: Sipp;
let callees: Sipp;

beforeAll(async () => {
  if (serverIsShared) return;
  redis = await RedisServer.start();
  const [agentPort = 0, calleePort = 0] = await freePorts(2);
  const config = {
    redis: { url: redis.url },
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
  };
  [first, second] = await Promise.all([Gateway.start({ config }), Gateway.start({ config })]);
  const options = { calls: 10 * CALLS, timeoutSeconds: 120, trace: true };
  agents = await Sipp.start({ scenario: 'origination/agent-load', port: agentPort, ...options });
  callees = await Sipp.start({
    scenario: 'origination/callee-load',
    port: calleePort,
    pauseMs: 200,
    ...options,
  });
});
afterAll(async () => {
  await Promise.all([agents?.stop(), callees?.stop(), first?.stop(), second?.stop()]);
  await redis?.stop();
});

const numberOf = (i: number): string => `+1212555${String(1_000 + i)}`;

async function place(i: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${first.httpPort}/api/v1/calls`, {
    method: 'POST',
    headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ agentId: 'sales', to: numberOf(i) }),
  });
  expect(response.status).toBe(202);
  return ((await response.json()) as { id: string }).id;
}

/** Call-IDs by number called, as the callees saw them. */
function called(): Map<string, Set<string>> {
  const seen = new Map<string, Set<string>>();
  for (const { direction, startLine, text } of callees.messages()) {
    const number = /^INVITE sip:(\+\d+)@/.exec(startLine)?.[1];
    const callId = /\r\nCall-ID: *(\S+)/i.exec(text)?.[1];
    if (direction !== 'received' || number === undefined || callId === undefined) continue;
    const ids = seen.get(number) ?? new Set();
    seen.set(number, ids.add(callId));
  }
  return seen;
}

test('calls that wait outlive their node, and none is dialled twice', { timeout: 120_000 }, async () => {
  const ids = await Promise.all(Array.from({ length: CALLS }, (_, i) => place(i)));
  await until(
    () => `${BEFORE} callees to be called, there are ${called().size}`,
    () => called().size >= BEFORE,
  );
  await first.program.stop('SIGKILL');
  const before = called();

  await until(
    () => `the other node to take up calls. ${second.program.tail}`,
    async () => {
      const { items } = (await (await second.get('/api/v1/calls?limit=500')).json()) as {
        items: CallRecord[];
      };
      return items.length > 0;
    },
    30_000,
  );
  const waiting = ids.filter((_, i) => !before.has(numberOf(i)));
  const records = await second.waitForRecords(waiting.length, ({ id }) => waiting.includes(id), 60_000);

  const after = called();
  expect([...after.values()].filter((callIds) => callIds.size > 1)).toEqual([]);
  const dialled = records.filter(({ code }) => code === 'normal_clearing');
  const unknown = records.filter(({ code }) => code === 'unknown');
  expect(dialled.length + unknown.length).toBe(waiting.length);
  // At most the slots that were given out ahead when the node died.
  expect(unknown.length).toBeLessThanOrEqual(LIMIT);
  expect(new Set(records.map(({ id }) => id)).size).toBe(records.length);
  for (const { callee } of dialled) expect(after.get(callee!)?.size).toBe(1);
  for (const { callee } of unknown) expect(after.get(callee!)?.size ?? 0).toBeLessThanOrEqual(1);
});
