/**
 * Transfers through the real gateway: a telephone that calls in, its agent, and whom it is transferred to, a SIPp each.
 * Every one checks what it is sent and fails otherwise, so that all three are known to end clean.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { Sipp } from '../kit/sipp.js';
import { QUICK } from './quick.js';

interface Line {
  /** A caller; `transfer/phone-called…` is called instead, by a call of the API. */
  readonly phone: string;
  readonly phonePauseMs?: number;
  readonly agent: string;
  readonly agentPauseMs?: number;
  readonly target: string;
  readonly targetPauseMs?: number;
  readonly order?: Readonly<Record<string, unknown>>;
  /** The agent asks by REFER; default: the API does. */
  readonly by?: 'agent';
  /** Of the telephone's own call. */
  readonly call: Partial<CallRecord>;
  /** Of the call that the transfer makes. */
  readonly transfer: Partial<CallRecord>;
}

const TRANSFERRED = { endedBy: 'gateway', code: 'transferred', sipStatus: 200, q850: 16 } as const;
const UNTOUCHED = { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 } as const;
/** Long enough for a transfer to fail before the telephone hangs up. */
const PATIENT = 3_000;

const LINES = {
  answered: {
    phone: 'transfer/phone-transferred',
    phonePauseMs: PATIENT,
    agent: 'uas/answered',
    target: 'transfer/target-answers',
    targetPauseMs: 300,
    call: TRANSFERRED,
    transfer: { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 },
  },
  targetEnds: {
    phone: 'transfer/phone-moves',
    agent: 'uas/answered',
    target: 'transfer/target-told',
    call: TRANSFERRED,
    transfer: { endedBy: 'callee', code: 'normal_clearing', sipStatus: 200 },
  },
  glare: {
    phone: 'transfer/phone-glares',
    agent: 'uas/answered',
    target: 'transfer/target-answers',
    targetPauseMs: 100,
    call: TRANSFERRED,
    transfer: { endedBy: 'caller', code: 'normal_clearing' },
  },
  refused: {
    phone: 'transfer/phone-refuses',
    agent: 'uas/answered',
    target: 'transfer/target-answers',
    targetPauseMs: 100,
    call: UNTOUCHED,
    transfer: { endedBy: 'caller', code: 'normal_clearing' },
  },
  busy: {
    phone: 'uac/answered',
    phonePauseMs: PATIENT,
    agent: 'uas/answered',
    target: 'transfer/target-busy',
    call: UNTOUCHED,
    transfer: { endedBy: 'callee', code: 'callee_busy', sipStatus: 486, q850: 17, answeredAt: null },
  },
  noAnswer: {
    phone: 'uac/answered',
    phonePauseMs: PATIENT,
    agent: 'uas/answered',
    target: 'transfer/target-rings',
    order: { ringTimeoutSeconds: 0.5 },
    call: UNTOUCHED,
    transfer: { endedBy: 'gateway', code: 'ring_timeout', answeredAt: null },
  },
  phoneLeaves: {
    phone: 'uac/answered',
    phonePauseMs: PATIENT,
    agent: 'uas/answered',
    target: 'transfer/target-rings',
    call: UNTOUCHED,
    transfer: { endedBy: 'caller', code: 'caller_cancelled', sipStatus: 487 },
  },
  agentLeaves: {
    phone: 'transfer/phone-transferred',
    agent: 'uas/ends',
    agentPauseMs: 1_500,
    target: 'transfer/target-answers',
    targetPauseMs: 4_000,
    call: { endedBy: 'agent', code: 'normal_clearing', sipStatus: 200 },
    transfer: { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 },
  },
  byApi: {
    phone: 'transfer/phone-called',
    agent: 'transfer/agent-offers',
    target: 'transfer/target-answers',
    targetPauseMs: 300,
    call: { ...TRANSFERRED, direction: 'outbound' },
    transfer: { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 },
  },
  deleted: {
    phone: 'transfer/phone-called-dismissed',
    agent: 'transfer/agent-dismissed',
    target: 'transfer/target-rings',
    call: { direction: 'outbound', endedBy: 'gateway', code: 'normal_clearing' },
    transfer: { endedBy: 'caller', code: 'caller_cancelled' },
  },
  referred: {
    phone: 'transfer/phone-transferred',
    phonePauseMs: PATIENT,
    agent: 'transfer/agent-refers',
    target: 'transfer/target-answers',
    targetPauseMs: 300,
    by: 'agent',
    call: TRANSFERRED,
    transfer: { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 },
  },
  referredInVain: {
    phone: 'uac/answered',
    phonePauseMs: PATIENT,
    agent: 'transfer/agent-refers-in-vain',
    target: 'transfer/target-busy',
    by: 'agent',
    call: UNTOUCHED,
    transfer: { endedBy: 'callee', code: 'callee_busy', sipStatus: 486, q850: 17, answeredAt: null },
  },
  referredAndLeft: {
    phone: 'transfer/phone-transferred',
    agent: 'transfer/agent-refers-and-leaves',
    target: 'transfer/target-answers',
    targetPauseMs: 1_000,
    by: 'agent',
    call: { endedBy: 'agent', code: 'normal_clearing', sipStatus: 200 },
    transfer: { endedBy: 'caller', code: 'normal_clearing', sipStatus: 200 },
  },
  allLeave: {
    phone: 'transfer/phone-dismissed',
    agent: 'uas/ends',
    agentPauseMs: 1_500,
    target: 'transfer/target-rings',
    order: { ringTimeoutSeconds: 3 },
    call: { endedBy: 'agent', code: 'normal_clearing', sipStatus: 200 },
    transfer: { endedBy: 'gateway', code: 'ring_timeout' },
  },
} as const satisfies Record<string, Line>;

type Name = keyof typeof LINES;
const NAMES = Object.keys(LINES) as Name[];

let gateway: Gateway;
const ports = new Map<string, { agent: number; target: number; phone: number }>();
const isCalled = (name: Name): boolean => LINES[name].phone.startsWith('transfer/phone-called');
const numberOf = (name: Name): string => `+1415555${String(100 + NAMES.indexOf(name)).padStart(4, '0')}`;

beforeAll(async () => {
  const free = await freePorts(3 * NAMES.length);
  for (const [i, name] of NAMES.entries()) {
    ports.set(name, { agent: free[3 * i]!, target: free[3 * i + 1]!, phone: free[3 * i + 2]! });
  }
  gateway = await Gateway.start({
    config: {
      ...QUICK,
      sipCredentials: [
        { id: 'carrier', server: '127.0.0.1:9', allowedAddresses: ['127.0.0.1'] },
        ...NAMES.filter(isCalled).map((name) => ({
          id: `to-${name}`,
          server: `127.0.0.1:${ports.get(name)!.phone}`,
        })),
        ...NAMES.map((name) => ({ id: name, server: `127.0.0.1:${ports.get(name)!.target}`, cpsLimit: 5 })),
      ],
      phoneNumbers: NAMES.map((name) => ({
        id: name,
        phoneNumber: numberOf(name),
        credentialsId: isCalled(name) ? `to-${name}` : 'carrier',
        transferTrunkId: name,
        inboundAgentId: name,
      })),
      agents: NAMES.map((name) => ({
        id: name,
        endpoints: [{ uri: `sip:agent@127.0.0.1:${ports.get(name)!.agent}` }],
        outboundNumberId: name,
      })),
    },
  });
});
afterAll(() => gateway?.stop());

function transfer(id: string, body: Readonly<Record<string, unknown>>): Promise<Response> {
  return post(`/${id}/transfer`, body);
}

function post(path: string, body: Readonly<Record<string, unknown>>): Promise<Response> {
  return ask('POST', path, JSON.stringify(body));
}

function ask(method: string, path: string, body?: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/calls${path}`, {
    method,
    headers: {
      authorization: `Bearer ${API_TOKEN}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
  });
}

async function recordOf(id: string): Promise<CallRecord> {
  return (await (await gateway.get(`/api/v1/calls/${id}`)).json()) as CallRecord;
}

/** The telephone's call, once it is answered. */
async function answered(name: Name): Promise<string> {
  let id = '';
  await until(
    () => `a call of ${name} to be answered`,
    async () => {
      const found = await gateway.get(`/api/v1/calls?agentId=${name}&state=live`);
      const { items } = (await found.json()) as { items: CallRecord[] };
      id = items.find(({ state }) => state === 'answered')?.id ?? '';
      return id !== '';
    },
  );
  return id;
}

/** The call that a transfer by the API makes. */
async function ordered(id: string, order: Line['order']): Promise<{ id: string }> {
  const response = await transfer(id, { to: '+12125550177', ...order });
  expect(response.status).toBe(202);
  const made = (await response.json()) as { id: string };
  expect(made).toMatchObject({ transferredFrom: id });
  return made;
}

/** The call that the agent's REFER makes. */
async function referred(id: string): Promise<{ id: string }> {
  let made: string | null = null;
  await until(
    () => `the agent of ${id} to ask for a transfer`,
    async () => {
      made = (await recordOf(id)).transferCallId;
      return made !== null;
    },
  );
  return { id: made! };
}

describe('a transfer', () => {
  test.concurrent.each(NAMES)('%s', async (name) => {
    const line: Line = LINES[name];
    const { agent, target, phone } = ports.get(name)!;
    const called = isCalled(name);
    const peers = [
      await Sipp.start({ scenario: line.agent, port: agent, pauseMs: line.agentPauseMs ?? 300 }),
      await Sipp.start({ scenario: line.target, port: target, pauseMs: line.targetPauseMs ?? 600 }),
      await Sipp.start({
        scenario: line.phone,
        ...(called ? { port: phone } : { to: gateway.port, service: numberOf(name) }),
        pauseMs: line.phonePauseMs ?? 600,
      }),
    ];
    try {
      if (called) expect((await post('', { agentId: name, to: '+12125550166' })).status).toBe(202);
      const id = await answered(name);
      const made = line.by === 'agent' ? await referred(id) : await ordered(id, line.order);
      if (name === 'noAnswer' || name === 'agentLeaves') {
        const second = await transfer(id, { to: '+12125550178' });
        expect([second.status, await second.json()]).toMatchObject([409, { code: 'transfer_pending' }]);
      }
      if (name === 'deleted') {
        await until(
          () => `the call ${made.id} to ring`,
          async () => (await recordOf(made.id)).state === 'ringing',
        );
        expect((await ask('DELETE', `/${id}`)).status).toBe(204);
      }
      if (name === 'answered') {
        await until(
          () => `the call ${id} to be transferred`,
          async () => (await recordOf(id)).code === 'transferred',
        );
        const again = await transfer(made.id, { to: '+12125550178' });
        expect([again.status, await again.json()]).toMatchObject([409, { code: 'no_agent' }]);
        expect((await transfer(id, { to: '+12125550178' })).status).toBe(409);
      }
      await Promise.all(peers.map((sipp) => sipp.succeed(1)));
      const [call] = await gateway.waitForRecords(1, (record) => record.id === id);
      expect(call).toMatchObject({ direction: 'inbound', transferCallId: made.id, ...line.call });
      const [other] = await gateway.waitForRecords(1, (record) => record.id === made.id);
      expect(other).toMatchObject({
        direction: 'outbound',
        agentId: name,
        trunkId: name,
        caller: numberOf(name),
        callee: '+12125550177',
        transferredFrom: id,
        ...line.transfer,
      });
    } finally {
      await Promise.all(peers.map((sipp) => sipp.stop()));
    }
  });
});
