/**
 * Calls by API through the real gateway, with a SIPp for the agent and one for the callee: each checks what it is sent
 * and fails otherwise, so that both are known to end clean whatever became of the other.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { Sipp, type SippOptions } from '../kit/sipp.js';

interface Line {
  /** Scenario of the agent; null: nobody is there. */
  readonly agent: string | null;
  /** Scenario of the callee; null: it must not be called. */
  readonly callee: string | null;
  readonly pauseMs?: number;
  readonly calleePauseMs?: number;
  /** The callee is called first. */
  readonly calleeFirst?: boolean;
  readonly agentRingSeconds?: number;
  readonly order?: Readonly<Record<string, unknown>>;
  readonly record: Partial<CallRecord>;
}

/** The ACK of the side called first waits 40·T1. */
const T1 = 100;
const BEYOND_PATIENCE = 40 * T1 + 1_000;

const LINES = {
  joined: {
    agent: 'agent-offers',
    callee: 'callee-answers-ends',
    record: { endedBy: 'callee', code: 'normal_clearing', sipStatus: 200 },
  },
  agentHangsUp: {
    agent: 'agent-offers-ends',
    callee: 'callee-answers',
    record: { endedBy: 'agent', code: 'normal_clearing', sipStatus: 200 },
  },
  agentLate: {
    agent: 'agent-offers-late',
    callee: 'callee-answers-ends',
    pauseMs: 2_500,
    calleePauseMs: 200,
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  agentProgresses: {
    agent: 'agent-progresses',
    callee: 'callee-answers-ends',
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  agentBusy: {
    agent: 'agent-busy',
    callee: null,
    record: { endedBy: 'agent', code: 'agent_busy', sipStatus: 486, q850: 17 },
  },
  agentNever: {
    agent: 'agent-rings',
    callee: null,
    agentRingSeconds: 1,
    record: { endedBy: 'gateway', code: 'ring_timeout', sipStatus: 480 },
  },
  agentAway: {
    agent: null,
    callee: null,
    record: { endedBy: 'gateway', code: 'no_answer' },
  },
  agentWithoutOffer: {
    agent: 'agent-no-offer',
    callee: null,
    record: { endedBy: 'gateway', code: 'join_failed' },
  },
  agentLeaves: {
    agent: 'agent-leaves',
    callee: 'callee-rings-early',
    record: { endedBy: 'agent', code: 'agent_cancelled', sipStatus: 487 },
  },
  calleeBusy: {
    agent: 'agent-dismissed',
    callee: 'callee-busy',
    record: { endedBy: 'callee', code: 'callee_busy', sipStatus: 486, q850: 17 },
  },
  calleeBusyTone: {
    agent: 'agent-dismissed-early',
    callee: 'callee-early-busy',
    record: { endedBy: 'callee', code: 'callee_busy', sipStatus: 486 },
  },
  calleeNever: {
    agent: 'agent-dismissed',
    callee: 'callee-rings',
    order: { ringTimeoutSeconds: 1 },
    record: { endedBy: 'gateway', code: 'ring_timeout' },
  },
  calleeAnswersAsWeCancel: {
    agent: 'agent-dismissed',
    callee: 'callee-answers-despite-cancel',
    order: { ringTimeoutSeconds: 1 },
    record: { endedBy: 'gateway', code: 'ring_timeout' },
  },
  earlyMedia: {
    agent: 'agent-offers',
    callee: 'callee-early',
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  earlyMediaDiffer: {
    agent: 'agent-renegotiates',
    callee: 'callee-early-differs',
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  held: {
    agent: 'agent-held',
    callee: 'callee-late',
    calleePauseMs: BEYOND_PATIENCE,
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  moved: {
    agent: 'agent-moves',
    callee: 'callee-told',
    calleePauseMs: BEYOND_PATIENCE,
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  glare: {
    agent: 'agent-glares',
    callee: 'callee-late',
    calleePauseMs: BEYOND_PATIENCE,
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
  reinviteRefused: {
    agent: 'agent-refuses',
    callee: 'callee-dismissed',
    calleePauseMs: BEYOND_PATIENCE,
    record: { endedBy: 'gateway', code: 'join_failed' },
  },
  calleeFirst: {
    calleeFirst: true,
    agent: 'agent-answers',
    callee: 'callee-offers',
    record: { endedBy: 'callee', code: 'normal_clearing', sipStatus: 200 },
  },
  calleeFirstAgentBusy: {
    calleeFirst: true,
    agent: 'agent-busy-second',
    callee: 'callee-offers-dismissed',
    record: { endedBy: 'agent', code: 'agent_busy', sipStatus: 486 },
  },
  calleeFirstLeaves: {
    calleeFirst: true,
    agent: 'agent-rings-second',
    callee: 'callee-offers-leaves',
    record: { endedBy: 'callee', code: 'normal_clearing' },
  },
} as const satisfies Record<string, Line>;

type Name = keyof typeof LINES;
const NAMES = Object.keys(LINES) as Name[];

let gateway: Gateway;
const ports = new Map<string, { agent: number; callee: number }>();

beforeAll(async () => {
  const free = await freePorts(2 * NAMES.length + 2);
  const names: string[] = [...NAMES, 'api'];
  for (const [i, name] of names.entries()) {
    ports.set(name, { agent: free[2 * i]!, callee: free[2 * i + 1]! });
  }
  const line = (name: string): Line | undefined => LINES[name as Name];
  gateway = await Gateway.start({
    config: {
      sip: { timers: { t1: T1, t4: 1_000 } },
      calls: { attemptTimeoutSeconds: 1 },
      sipCredentials: names.map((name) => ({
        id: name,
        server: `127.0.0.1:${ports.get(name)!.callee}`,
        delayedOffer: line(name)?.calleeFirst === true,
        cpsLimit: 5,
      })),
      phoneNumbers: names.map((name, i) => ({
        id: name,
        phoneNumber: `+${14155550100 + i}`,
        credentialsId: name,
        displayName: 'Acme',
      })),
      agents: [
        ...names.map((name) => ({
          id: name,
          endpoints: [{ uri: `sip:agent@127.0.0.1:${ports.get(name)!.agent}` }],
          outboundNumberId: name,
          originate: line(name)?.calleeFirst === true ? 'calleeFirst' : 'agentFirst',
          ...(line(name)?.agentRingSeconds === undefined
            ? {}
            : { ringTimeoutSeconds: line(name)?.agentRingSeconds }),
        })),
        { id: 'mute', endpoints: [{ uri: 'sip:agent@127.0.0.1:9' }] },
      ],
    },
  });
});
afterAll(() => gateway?.stop());

function post(body: Readonly<Record<string, unknown>>, key?: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/calls`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${API_TOKEN}`,
      'content-type': 'application/json',
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify(body),
  });
}

function end(id: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/calls/${id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${API_TOKEN}` },
  });
}

async function stateOf(id: string): Promise<string> {
  return ((await (await gateway.get(`/api/v1/calls/${id}`)).json()) as CallRecord).state;
}

function peer(name: string, side: 'agent' | 'callee', scenario: string, more: Partial<SippOptions> = {}) {
  return Sipp.start({
    scenario: `origination/${scenario}`,
    port: ports.get(name)![side],
    pauseMs: 300,
    ...more,
  });
}

/** Waits for both peers, each content, and for the record. */
async function ended(id: string, peers: readonly Sipp[]): Promise<CallRecord> {
  await Promise.all(peers.map((sipp) => sipp.succeed(1))).catch(async (error: unknown) => {
    await Promise.all(peers.map((sipp) => sipp.stop()));
    throw error;
  });
  return (await gateway.waitForRecords(1, (record) => record.id === id))[0]!;
}

describe('agent and callee', () => {
  test.concurrent.each(NAMES)('%s', async (name) => {
    const line: Line = LINES[name];
    const peers: Sipp[] = [];
    if (line.agent !== null) {
      peers.push(
        await peer(name, 'agent', line.agent, line.pauseMs === undefined ? {} : { pauseMs: line.pauseMs }),
      );
    }
    if (line.callee !== null) {
      const pauseMs = line.calleePauseMs ?? line.pauseMs;
      peers.push(await peer(name, 'callee', line.callee, pauseMs === undefined ? {} : { pauseMs }));
    }
    const response = await post({ agentId: name, to: '+12125550199', metadata: { name }, ...line.order });
    expect(response.status).toBe(202);
    const { id } = (await response.json()) as { id: string };
    const record = await ended(id, peers);
    expect(record).toMatchObject({
      direction: 'outbound',
      state: 'ended',
      agentId: name,
      trunkId: name,
      callee: '+12125550199',
      cpsKey: name,
      metadata: { name },
      ...line.record,
    });
    const called = record.attempts.filter(({ trunkId }) => trunkId !== null).length;
    expect(called).toBe(line.callee === null ? 0 : 1);
  });
});

describe('the API', () => {
  test.concurrent('tells the place in line, and the same to the same key', async () => {
    const peers = [
      await peer('api', 'agent', 'agent-offers'),
      await peer('api', 'callee', 'callee-answers-ends'),
    ];
    const order = { agentId: 'api', to: '+12125550199' };
    const before = Date.now();
    const first = await post(order, 'the-one');
    const call = (await first.json()) as { id: string; estimatedStartAt: string };
    expect(call).toMatchObject({ state: 'queued', position: 0, cpsKey: 'api', effectiveCps: 5 });
    expect(Date.parse(call.estimatedStartAt)).toBeGreaterThanOrEqual(before - 1_000);
    const again = await post(order, 'the-one');
    expect([again.status, await again.json()]).toEqual([202, call]);
    expect((await post({ ...order, to: '+12125550198' }, 'the-one')).status).toBe(422);
    await ended(call.id, peers);
    expect(gateway.records().filter(({ agentId }) => agentId === 'api').length).toBe(1);
  });

  test.concurrent('refuses what cannot be', async () => {
    const refused = async (body: Readonly<Record<string, unknown>>): Promise<unknown> => {
      const response = await post(body);
      return [response.status, ((await response.json()) as { code: string; title: string }).code];
    };
    expect(await refused({ agentId: 'mute', to: '+12125550199' })).toEqual([409, 'no_outbound_config']);
    expect(await refused({ agentId: 'nobody', to: '+12125550199' })).toEqual([404, 'unknown_agent']);
    expect(await refused({ agentId: 'api', to: '+12125550199', from: '+19995550100' })).toEqual([
      expect.any(Number),
      'caller_id_refused',
    ]);
    expect(await refused({ agentId: 'api' })).toEqual([400, 'invalid_request']);
  });
});

describe('DELETE', () => {
  test('hangs up on an agent that waits while the callee rings, and cancels the callee', async () => {
    const peers = [
      await peer('api', 'agent', 'agent-dismissed'),
      await peer('api', 'callee', 'callee-rings', { pauseMs: 300 }),
    ];
    const { id } = (await (await post({ agentId: 'api', to: '+12125550199' })).json()) as { id: string };
    await until(
      () => `the call ${id} to ring`,
      async () => (await stateOf(id)) === 'ringing',
    );
    expect((await end(id)).status).toBe(204);
    expect(await ended(id, peers)).toMatchObject({
      endedBy: 'gateway',
      code: 'api_cancelled',
      sipStatus: 487,
    });
    expect((await end(id)).status).toBe(204);
    expect((await end('call_nobody')).status).toBe(404);
  });
});

describe('calls placed at once', () => {
  test('ring their agents one after the other, and show as queued until then', async () => {
    const CALLS = 8;
    const [agentPort = 0, calleePort = 0] = await freePorts(2);
    const own = await Gateway.start({
      config: {
        // One call in two seconds, each agent called two seconds before.
        sipCredentials: [{ id: 'carrier', server: `127.0.0.1:${calleePort}`, cpsLimit: 0.5 }],
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
    const agents = await Sipp.start({
      scenario: 'origination/agent-load',
      port: agentPort,
      calls: CALLS,
      trace: true,
    });
    const callees = await Sipp.start({
      scenario: 'origination/callee-load',
      port: calleePort,
      calls: CALLS,
      pauseMs: 100,
    });
    try {
      const start = Date.now();
      const ids = await Promise.all(
        Array.from({ length: CALLS }, async () => {
          const response = await fetch(`http://127.0.0.1:${own.httpPort}/api/v1/calls`, {
            method: 'POST',
            headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
            body: JSON.stringify({ agentId: 'sales', to: '+12125550199' }),
          });
          return ((await response.json()) as { id: string }).id;
        }),
      );
      const states = await Promise.all(
        ids.map(
          async (id) => ((await (await own.get(`/api/v1/calls/${id}`)).json()) as { state: string }).state,
        ),
      );
      expect(states.filter((state) => state === 'queued').length).toBeGreaterThanOrEqual(CALLS - 2);
      await own.waitForRecords(CALLS, () => true, 30_000);
      const first = new Map<string, number>();
      for (const { direction, startLine, text, at } of agents.messages()) {
        if (direction !== 'received' || !startLine.startsWith('INVITE')) continue;
        const callId = /^Call-ID: (.*)$/im.exec(text)?.[1] ?? '';
        if (!first.has(callId)) first.set(callId, at - start);
      }
      const rung = [...first.values()];
      // The n-th slot is 2 n seconds away at least, and its agent is called two seconds before.
      expect(rung.length).toBe(CALLS);
      for (const [n, at] of rung.entries()) expect(at).toBeGreaterThan((n - 1) * 2_000 - 300);
    } finally {
      await Promise.all([agents.stop(), callees.stop(), own.stop()]);
    }
  });
});

describe('a limit that changes while calls wait', () => {
  test('holds for them at once', async () => {
    const CALLS = 10;
    const [agentPort = 0, calleePort = 0] = await freePorts(2);
    const own = await Gateway.start({
      config: {
        // One call in a hundred seconds.
        sipCredentials: [{ id: 'carrier', server: `127.0.0.1:${calleePort}`, cpsLimit: 0.01 }],
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
    const peers = await Promise.all([
      Sipp.start({ scenario: 'origination/agent-load', port: agentPort, calls: CALLS }),
      Sipp.start({ scenario: 'origination/callee-load', port: calleePort, calls: CALLS, pauseMs: 100 }),
    ]);
    try {
      for (let i = 0; i < CALLS; i++) {
        const response = await fetch(`http://127.0.0.1:${own.httpPort}/api/v1/calls`, {
          method: 'POST',
          headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
          body: JSON.stringify({ agentId: 'sales', to: '+12125550199' }),
        });
        expect(await response.json()).toMatchObject({ effectiveCps: 0.01 });
      }
      await own.waitForRecords(1);
      const text = readFileSync(own.configPath, 'utf8');
      writeFileSync(own.configPath, text.replace('cpsLimit: 0.01', 'cpsLimit: 20'));
      own.program.child.kill('SIGHUP');
      await Promise.all(peers.map((sipp) => sipp.succeed(CALLS)));
      expect((await own.waitForRecords(CALLS)).map(({ code }) => code)).toEqual(
        Array.from({ length: CALLS }, () => 'normal_clearing'),
      );
    } finally {
      await Promise.all([...peers.map((sipp) => sipp.stop()), own.stop()]);
    }
  });
});
