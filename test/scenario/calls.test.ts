/** Plain calls through the real process, SIPp at both ends: who answers, who hangs up, what each side sees. */
import { expect, test } from 'vitest';
import type { SippMessage } from '../kit/sipp.js';
import { type CallResult, useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard(
  {
    answered: {},
    ends: {},
    media: {},
    busy: {},
    decline: {},
    offerless: {},
    rings: { agent: { ringTimeoutSeconds: 1 } },
    headers: { agent: { headers: { 'X-Agent-Key': 'k-42' } } },
  },
  { config: QUICK },
);

const received = (messages: readonly SippMessage[]) =>
  messages.filter((message) => message.direction === 'received');
const bodies = (messages: readonly SippMessage[], direction: SippMessage['direction'], start: RegExp) =>
  messages
    .filter((message) => message.direction === direction && start.test(message.startLine))
    .map(({ body }) => body);

/** What one side's messages must not show of the other leg: its Call-ID, tags, address. */
function expectHidden({ callerSide, agentSides }: CallResult): void {
  const [agentSide] = agentSides;
  if (agentSide === undefined) throw new Error('no agent took part');
  const atCaller = received(callerSide.messages());
  const atAgent = received(agentSide.messages());
  const agentCallId = /\r\nCall-ID: *([^\r]+)/i.exec(atAgent[0]?.text ?? '')?.[1] ?? '';
  expect(agentCallId).not.toBe('');
  for (const { text } of atCaller) {
    expect(text).not.toContain(agentCallId);
    expect(text).not.toContain(`:${agentSide.port}`);
  }
  for (const { text } of atAgent) {
    // Our own X-Trunkline fields name the inbound leg for the agent's logs; nothing else may.
    const visible = text.replace(/\r\nX-Trunkline-[^\r]*/gi, '');
    expect(visible).not.toContain('caller-id-');
    expect(visible).not.toContain(`:${callerSide.port}`);
  }
}

test('the caller hangs up; SDP passes untouched and neither leg shows the other', async () => {
  const call = await board.call({
    line: 'answered',
    caller: 'answered',
    agent: 'answered',
    callerOptions: { trace: true },
    agentOptions: { trace: true },
  });
  expectHidden(call);
  const atCaller = call.callerSide.messages();
  const atAgent = call.agentSides[0]?.messages() ?? [];
  const [offer] = bodies(atCaller, 'sent', /^INVITE/);
  expect(offer).toContain('x-sdp-of:caller');
  expect(bodies(atAgent, 'received', /^INVITE/)).toEqual([offer]);
  const answer = bodies(atAgent, 'sent', /^SIP\/2.0 200/).find((body) => body !== '');
  expect(answer).toContain('x-sdp-of:agent');
  expect(bodies(atCaller, 'received', /^SIP\/2.0 200/)).toEqual([answer, '']);
  expect(call.records).toMatchObject([
    {
      direction: 'inbound',
      state: 'ended',
      trunkId: 'carrier',
      agentId: 'answered',
      did: board.lines.answered.number,
      transport: 'udp',
      sourceAddress: '127.0.0.1',
      sourcePort: call.callerSide.port,
      endedBy: 'caller',
      sipStatus: 200,
      q850: 16,
      code: 'normal_clearing',
      attempts: [
        { outcome: 'answered', sipStatus: 200, target: `udp:127.0.0.1:${board.lines.answered.ports[0]}` },
      ],
    },
  ]);
});

test('fifty calls at once, each with its own record', async () => {
  const calls = 50;
  const { records } = await board.call({
    line: 'answered',
    caller: 'answered',
    agent: 'answered',
    calls,
    callerOptions: { rate: 100, pauseMs: 300 },
  });
  expect(new Set(records.map(({ callId }) => callId)).size).toBe(calls);
  expect(new Set(records.map(({ id }) => id)).size).toBe(calls);
  for (const record of records) expect(record.talkMs).toBeGreaterThanOrEqual(290);
});

test('the agent hangs up and its Reason reaches the caller', async () => {
  const { records } = await board.call({
    line: 'ends',
    caller: 'answered-peer-ends',
    agent: 'ends',
    calls: 3,
    agentOptions: { pauseMs: 100 },
  });
  for (const record of records) {
    expect(record).toMatchObject({ endedBy: 'agent', sipStatus: 200, q850: 16, code: 'normal_clearing' });
  }
});

test('early media: 183 with SDP before the answer', async () => {
  const { records } = await board.call({
    line: 'media',
    caller: 'early-media',
    agent: 'early-media',
    agentOptions: { pauseMs: 200 },
  });
  expect(records).toMatchObject([{ sipStatus: 200, code: 'normal_clearing', endedBy: 'caller' }]);
  expect(records[0]?.ringMs).toBeGreaterThanOrEqual(190);
});

test.each([
  ['busy', 486, 'agent_busy', 17],
  ['decline', 603, 'agent_rejected', 21],
] as const)('%s ends the hunt and passes through', async (line, status, code, q850) => {
  const { records } = await board.call({ line, caller: line, agent: line, calls: 2 });
  for (const record of records) {
    expect(record).toMatchObject({
      endedBy: 'agent',
      sipStatus: status,
      code,
      q850,
      answeredAt: null,
      talkMs: null,
      attempts: [{ outcome: 'rejected', sipStatus: status }],
    });
  }
});

test('an INVITE without SDP: offer in the 200, answer in the ACK', async () => {
  const call = await board.call({
    line: 'offerless',
    caller: 'no-sdp',
    agent: 'no-sdp',
    callerOptions: { trace: true },
    agentOptions: { trace: true },
  });
  expectHidden(call);
  const sent = bodies(call.callerSide.messages(), 'sent', /^ACK/);
  expect(sent[0]).toContain('x-sdp-of:caller');
  expect(bodies(call.agentSides[0]?.messages() ?? [], 'received', /^ACK/)).toEqual(sent);
});

test('an agent that rings too long is cancelled', async () => {
  const { records } = await board.call({ line: 'rings', caller: 'ring-timeout', agent: 'rings-forever' });
  expect(records).toMatchObject([
    {
      endedBy: 'gateway',
      sipStatus: 480,
      code: 'ring_timeout',
      q850: 19,
      attempts: [{ outcome: 'cancelled' }],
    },
  ]);
});

test("the caller's X- and UUI fields reach the agent, ours cannot be forged, the agent's own are added", async () => {
  const { agentSides, records, callerSide } = await board.call({
    line: 'headers',
    caller: 'answered',
    agent: 'headers',
    callerOptions: { trace: true },
    agentOptions: { trace: true },
  });
  const invite =
    agentSides[0]?.messages().find(({ startLine }) => startLine.startsWith('INVITE'))?.text ?? '';
  expect(invite).toContain('\r\nX-Agent-Key: k-42\r\n');
  expect(invite).toContain(`\r\nX-Trunkline-Call-Id: ${records[0]?.id}\r\n`);
  const ours = [...invite.matchAll(/\r\nX-Trunkline-[^\r]*/g)].map(([line]) => line).join('');
  expect(ours).toContain(records[0]?.callId);
  expect(ours).toContain(board.lines.headers.number);
  expect(ours).toContain('carrier');
  expect(callerSide.messages().some(({ text }) => /x-trunkline-call-id: (?!forged)/i.test(text))).toBe(false);
});
