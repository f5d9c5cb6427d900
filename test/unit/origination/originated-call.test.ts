/** Originated calls through both calls and the seam between them: what goes out on the legs, and what is recorded. */
import { describe, expect, it } from 'vitest';
import type { CpsLines } from '#call/provider-callee.js';
import { sameSession } from '#sip/sdp.js';
import { type FakeOutgoingInvite, FakeRequest, request, response } from '../../kit/fake-engine.js';
import { trunk } from '../call/kit.js';
import { OriginationHouse, way } from './kit.js';

const sdp = (who: string, port: number, ...attributes: string[]): string =>
  [
    'v=0',
    `o=${who} 1 1 IN IP4 192.0.2.1`,
    `s=${who}`,
    'c=IN IP4 192.0.2.1',
    't=0 0',
    `m=audio ${port} RTP/AVP 0`,
    ...attributes,
    '',
  ].join('\r\n');

const OFFER = sdp('agent', 40_000);
const ANSWER = sdp('callee', 50_000);
const EARLY = sdp('callee', 50_002);

/** A house whose agent has been called and has answered with an offer. */
async function agentAnswered(house = new OriginationHouse()): Promise<{
  house: OriginationHouse;
  agent: FakeOutgoingInvite;
}> {
  const placed = house.place();
  const ticket = house.pacer.last;
  ticket.at(3, 300);
  await placed;
  ticket.prepare();
  const agent = house.agents[0]!;
  agent.answer(['Content-Type: application/sdp'], OFFER);
  return { house, agent };
}

/** As `agentAnswered`, and the callee is being called. */
async function calleeCalled(): Promise<{
  house: OriginationHouse;
  agent: FakeOutgoingInvite;
  callee: FakeOutgoingInvite;
}> {
  const { house, agent } = await agentAnswered();
  expect(house.pacer.last.isReady).toBe(true);
  expect(house.pacer.last.slot()).toBe(true);
  return { house, agent, callee: house.provider[0]! };
}

async function talking(): Promise<{
  house: OriginationHouse;
  agent: FakeOutgoingInvite;
  callee: FakeOutgoingInvite;
}> {
  const legs = await calleeCalled();
  legs.callee.answer([], ANSWER);
  return legs;
}

describe('agent first', () => {
  it('tells the place in line, and calls nobody before it is time', async () => {
    const house = new OriginationHouse();
    const placed = house.place({ priority: 7, metadata: { order: '4711' } });
    const ticket = house.pacer.last;
    expect(ticket.request).toMatchObject({
      priority: 7,
      leadMs: 2_000,
      timeoutMs: 60_000,
      rule: { key: 'default/carrier-a', limit: 10, burst: 1, maxQueued: 1_000 },
    });
    ticket.at(3, 300);
    expect(await placed).toEqual({
      kind: 'ordered',
      id: ticket.id,
      state: 'queued',
      position: 3,
      estimatedStartAt: house.clock.wallNow() + 300,
      cpsKey: 'carrier-a',
      effectiveCps: 10,
    });
    expect(house.engine.invites).toEqual([]);
    expect(house.calls.get(ticket.id)).toMatchObject({
      state: 'queued',
      direction: 'outbound',
      callee: '+12125550199',
      caller: '+14155550100',
      cpsKey: 'carrier-a',
      metadata: { order: '4711' },
    });
  });

  it('calls the agent without an offer, from the number that it is to call', async () => {
    const house = new OriginationHouse();
    void house.place();
    house.pacer.last.prepare();
    const { options, headers } = house.agents[0]!;
    expect(options.body).toBeUndefined();
    expect(options.from).toBe('<sip:+12125550199@carrier.example>');
    expect(options.to).toBe('<sip:+14155550100@192.0.2.9:5090>');
    expect(headers).toMatchObject({
      'x-trunkline-call-id': house.pacer.last.id,
      'x-trunkline-did': '+14155550100',
      'x-trunkline-direction': 'outbound',
    });
    expect(house.calls.list()[0]!.state).toBe('dialing');
  });

  it('joins the two with one ACK', async () => {
    const { house, agent, callee } = await calleeCalled();
    expect(callee.options.body).toBe(OFFER);
    expect(callee.options.from).toBe('"Acme" <sip:+14155550100@carrier.example>');
    callee.progress(180);
    expect(house.calls.list()[0]!.state).toBe('ringing');
    expect(agent.acks).toBe(0);
    callee.answer([], ANSWER);
    expect(agent).toMatchObject({ acks: 1, acked: { body: ANSWER } });
    expect(callee).toMatchObject({ acks: 1, acked: { body: '' } });
    expect(house.calls.list()[0]!.state).toBe('answered');
    house.clock.advance(5_000);
    agent.dialog!.peerEnds({ kind: 'bye', request: request('BYE', ['Reason: Q.850;cause=16;text="done"']) });
    expect(callee.dialog!.bye).toMatchObject({ reason: 'Q.850;cause=16;text="done"' });
    expect(house.observer.record).toMatchObject({
      state: 'ended',
      endedBy: 'agent',
      code: 'normal_clearing',
      sipStatus: 200,
      q850: 16,
      talkMs: 5_000,
      attempts: [
        { endpoint: 'sip:agent@192.0.2.9:5090', trunkId: null, outcome: 'answered' },
        { endpoint: 'sip:+12125550199@198.51.100.9', trunkId: 'carrier-a', outcome: 'answered' },
      ],
    });
    expect(house.observer.changes).toEqual(['queued→dialing', 'dialing→ringing', 'ringing→answered']);
    house.expectClean();
  });

  it('hands early media to the agent in the ACK, and asks nothing when the answer is the same', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(183, { body: EARLY });
    expect(agent.acked!.body).toBe(EARLY);
    expect(house.calls.list()[0]!.state).toBe('early-media');
    callee.answer([], EARLY);
    expect(agent.dialog!.requests).toEqual([]);
    callee.dialog!.peerEnds();
    expect(agent.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ endedBy: 'callee', code: 'normal_clearing' });
    house.expectClean();
  });

  it('tells the agent by re-INVITE of an answer that differs, and the callee when that moves the agent', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(183, { body: EARLY });
    callee.answer([], ANSWER);
    const [toAgent] = agent.dialog!.requests;
    expect(toAgent!.options).toMatchObject({ method: 'INVITE', body: ANSWER });
    const acks: string[] = [];
    const moved = sdp('agent', 40_010);
    toAgent!.done({ kind: 'response', response: response(200, [], moved), ack: () => acks.push('agent') });
    const [toCallee] = callee.dialog!.requests;
    expect(toCallee!.options).toMatchObject({ method: 'INVITE', body: moved });
    toCallee!.done({ kind: 'response', response: response(200, [], ANSWER), ack: () => acks.push('callee') });
    expect(acks).toEqual(['agent', 'callee']);
    house.calls.hangUp(house.pacer.tickets[0]!.id);
    expect(house.observer.record).toMatchObject({
      endedBy: 'gateway',
      code: 'normal_clearing',
      sipStatus: 200,
    });
    house.expectClean();
  });

  it('holds an agent whose ACK is due, and joins it by re-INVITE under one origin', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(180);
    house.clock.advance(20_100);
    const held = agent.acked!.body;
    expect(held).toContain('m=audio 9 RTP/AVP 0\r\na=inactive\r\n');
    callee.answer([], ANSWER);
    const [joining] = agent.dialog!.requests;
    const offered = joining!.options.body!;
    expect(sameSession(offered, ANSWER)).toBe(true);
    const origin = /o=- (\d+) 1 IN IP4 0\.0\.0\.0/.exec(held)![1];
    expect(offered).toContain(`o=- ${origin} 2 IN IP4 0.0.0.0`);
    joining!.done({ kind: 'response', response: response(200, [], OFFER), ack: () => undefined });
    // What the callee says later has that origin too.
    const hold = new FakeRequest(request('INVITE', [], sdp('callee', 50_000, 'a=sendonly')));
    callee.dialog!.events!.onRequest(hold);
    expect(agent.dialog!.requests[1]!.options.body).toContain(`o=- ${origin} 3 IN IP4 0.0.0.0`);
    agent.dialog!.requests[1]!.done({
      kind: 'response',
      response: response(200, [], OFFER),
      ack: () => undefined,
    });
    expect(hold).toMatchObject({ status: 200, body: OFFER });
    agent.dialog!.peerEnds();
    house.expectClean();
  });

  it('repeats a re-INVITE that met another after 2.1 to 4 seconds', async () => {
    const { house, agent, callee } = await calleeCalled();
    house.clock.advance(20_100);
    callee.answer([], ANSWER);
    agent.dialog!.requests[0]!.done({ kind: 'fault', fault: { kind: 'glare', detail: 'crossed' } });
    house.clock.advance(2_000);
    expect(agent.dialog!.requests.length).toBe(1);
    house.clock.advance(2_000);
    agent.dialog!.requests[1]!.done({
      kind: 'response',
      response: response(200, [], OFFER),
      ack: () => undefined,
    });
    agent.dialog!.peerEnds();
    house.expectClean();
  });

  it('ends both when the agent refuses the re-INVITE that would join it', async () => {
    const { house, agent, callee } = await calleeCalled();
    house.clock.advance(20_100);
    callee.answer([], ANSWER);
    agent.dialog!.requests[0]!.done({ kind: 'response', response: response(488) });
    expect(agent.dialog!.bye).toMatchObject({ reason: expect.stringContaining('SIP;cause=488') });
    expect(callee.dialog!.bye).toMatchObject({ reason: expect.stringContaining('SIP;cause=488') });
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway', code: 'join_failed', sipStatus: 488 });
    house.expectClean();
  });

  it('relays requests between the two once they are joined', async () => {
    const { house, agent, callee } = await talking();
    const info = new FakeRequest(request('INFO', ['Content-Type: application/dtmf-relay'], 'Signal=5'));
    agent.dialog!.events!.onRequest(info);
    expect(callee.dialog!.requests[0]!.options).toMatchObject({ method: 'INFO', body: 'Signal=5' });
    callee.dialog!.requests[0]!.done({ kind: 'response', response: response(200) });
    expect(info.status).toBe(200);
    agent.dialog!.peerEnds();
    house.expectClean();
  });

  it('ends the agent with the reason when the callee is busy', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(180);
    callee.reject(486, ['Reason: Q.850;cause=17;text="busy"']);
    expect(agent.acked!.body).toContain('a=inactive');
    expect(agent.dialog!.bye).toMatchObject({ reason: expect.stringContaining('SIP;cause=486') });
    expect(house.observer.record).toMatchObject({
      endedBy: 'callee',
      code: 'callee_busy',
      sipStatus: 486,
      q850: 17,
      answeredAt: null,
    });
    house.expectClean();
  });

  it('cancels the callee when the agent hangs up while it rings', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(183, { body: EARLY });
    agent.dialog!.peerEnds();
    expect(callee.cancelled).toMatchObject({ reason: expect.stringContaining('SIP;cause=487') });
    expect(house.observer.record).toMatchObject({
      endedBy: 'agent',
      code: 'agent_cancelled',
      sipStatus: 487,
    });
    house.expectClean();
  });

  it('gives up on a callee that rings too long', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(180);
    house.clock.advance(60_100);
    expect(callee.cancelled).not.toBeNull();
    expect(agent.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway', code: 'ring_timeout' });
    house.expectClean();
  });

  it('gives the slot back while the agent has not answered, and uses the next', async () => {
    const house = new OriginationHouse();
    void house.place();
    const ticket = house.pacer.last;
    ticket.prepare();
    house.agents[0]!.progress(180);
    expect(ticket.slot()).toBe(false);
    expect(house.provider).toEqual([]);
    house.agents[0]!.answer([], OFFER);
    expect(ticket.isReady).toBe(true);
    expect(ticket.slot()).toBe(true);
    expect(house.provider.length).toBe(1);
    house.calls.hangUp(ticket.id);
    house.expectClean();
  });

  it.each([
    { agent: 'not yet called', act: () => undefined },
    { agent: 'ringing', act: (house: OriginationHouse) => house.agents[0]!.progress(180) },
    {
      agent: 'waiting',
      act: (house: OriginationHouse) => house.agents[0]!.answer(['Content-Type: application/sdp'], OFFER),
    },
  ])('fails when its trunk is removed before its slot, the agent $agent', ({ agent, act }) => {
    const house = new OriginationHouse();
    void house.place();
    const ticket = house.pacer.last;
    if (agent !== 'not yet called') ticket.prepare();
    act(house);
    house.calls.failWithoutTrunk((id) => id === 'carrier-a');
    expect(house.calls.activeCount).toBe(1);
    house.calls.failWithoutTrunk(() => false);
    for (const invite of house.agents) {
      if (invite.pending) invite.reject(487);
    }
    expect(ticket.cancelled).toBe(true);
    expect(house.provider).toEqual([]);
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway', code: 'trunk_removed' });
    house.expectClean();
  });

  it('goes on when its trunk is removed after its INVITE has left', async () => {
    const { house, callee } = await calleeCalled();
    house.calls.failWithoutTrunk(() => false);
    callee.answer([], ANSWER);
    house.calls.failWithoutTrunk(() => false);
    expect(house.calls.list()[0]!.state).toBe('answered');
    house.calls.hangUp(house.pacer.last.id);
    house.expectClean();
  });

  it('hunts over the agent’s endpoints, and uses no slot when none answers', async () => {
    const house = new OriginationHouse();
    house.decision = house.acceptance([way()], {
      endpoints: [
        { uri: 'sip:agent@192.0.2.9', priority: 0, weight: 1 },
        { uri: 'sip:agent@192.0.2.10', priority: 1, weight: 1 },
      ],
    });
    void house.place();
    house.pacer.last.prepare();
    house.agents[0]!.reject(503);
    house.agents[1]!.reject(486);
    expect(house.pacer.last.cancelled).toBe(true);
    expect(house.provider).toEqual([]);
    expect(house.observer.record).toMatchObject({
      endedBy: 'agent',
      code: 'agent_busy',
      sipStatus: 486,
      attempts: [{ sipStatus: 503 }, { sipStatus: 486 }],
    });
    house.expectClean();
  });

  it('ends an agent that makes no offer', async () => {
    const house = new OriginationHouse();
    void house.place();
    house.pacer.last.prepare();
    house.agents[0]!.answer([], '');
    expect(house.agents[0]!).toMatchObject({ acks: 1 });
    expect(house.observer.record).toMatchObject({ code: 'join_failed' });
    house.expectClean();
  });

  it.each([
    ['in line', 0],
    ['while the agent rings', 1],
    ['while the agent waits', 2],
    ['while the callee rings', 3],
  ])('is cancelled through the API %s', async (_when, stage) => {
    const house = new OriginationHouse();
    void house.place();
    const ticket = house.pacer.last;
    if (stage > 0) ticket.prepare();
    if (stage > 1) house.agents[0]!.answer([], OFFER);
    if (stage > 2) {
      ticket.slot();
      house.provider[0]!.progress(180);
    }
    expect(house.calls.hangUp(ticket.id)).toBe(true);
    expect(ticket.cancelled).toBe(stage < 3);
    expect(house.observer.record).toMatchObject({
      endedBy: 'gateway',
      code: 'api_cancelled',
      sipStatus: 487,
    });
    expect(house.calls.hangUp(ticket.id)).toBe(false);
    house.expectClean();
  });

  it('ends when its time in line is over, also while the agent waits', async () => {
    for (const prepared of [false, true]) {
      const house = new OriginationHouse();
      void house.place();
      const ticket = house.pacer.last;
      if (prepared) {
        ticket.prepare();
        house.agents[0]!.answer([], OFFER);
      }
      ticket.refuse('queue_timeout');
      expect(house.observer.record).toMatchObject({
        endedBy: 'gateway',
        code: 'held_too_long',
        sipStatus: 503,
      });
      house.expectClean();
    }
  });

  it('tries the next trunk by a line of its own', async () => {
    const house = new OriginationHouse();
    const second = way({ trunk: trunk({ id: 'carrier-b', cpsKey: 'carrier-b' }) });
    house.decision = house.acceptance([way(), second]);
    void house.place();
    const first = house.pacer.last;
    first.prepare();
    house.agents[0]!.answer([], OFFER);
    first.slot();
    house.provider[0]!.reject(500);
    expect(house.pacer.tickets.length).toBe(2);
    expect(house.pacer.last.request).toMatchObject({
      id: `${first.id}-1`,
      rule: { key: 'default/carrier-b' },
    });
    house.pacer.last.slot();
    house.provider[1]!.answer([], ANSWER);
    expect(house.agents[0]!.acked!.body).toBe(ANSWER);
    house.agents[0]!.dialog!.peerEnds();
    expect(house.observer.record).toMatchObject({ trunkId: 'carrier-b', code: 'normal_clearing' });
    house.expectClean();
  });

  it('tells its line when the limit changes, before its agent is called and after', async () => {
    const line = (limit: number | undefined): CpsLines => ({
      cpsLine: (organizationId, cpsKey) => ({
        key: `${organizationId}/${cpsKey}`,
        organizationId,
        cpsKey,
        limit,
        burst: 2,
        trunkIds: ['carrier-a'],
        warning: undefined,
      }),
    });
    const { house } = await agentAnswered();
    const ticket = house.pacer.last;
    house.calls.repace(line(20));
    house.calls.repace(line(undefined));
    expect(ticket.rules).toEqual([{ key: 'default/carrier-a', limit: 20, burst: 2, maxQueued: 1_000 }]);
    const early = new OriginationHouse();
    void early.place();
    early.calls.repace(line(5));
    expect(early.pacer.last.rules).toMatchObject([{ limit: 5 }]);
    ticket.slot();
    house.calls.repace(line(30));
    expect(ticket.rules.length).toBe(1);
  });

  it('goes at once by a trunk without a limit', async () => {
    const house = new OriginationHouse();
    house.decision = house.acceptance([{ ...way(), pace: { ...way().pace, limit: undefined } }]);
    expect(await house.place()).toMatchObject({
      state: 'queued',
      position: 0,
      cpsKey: null,
      effectiveCps: null,
    });
    expect(house.pacer.tickets).toEqual([]);
    expect(house.calls.list()[0]!.state).toBe('dialing');
    house.agents[0]!.answer([], OFFER);
    house.provider[0]!.answer([], ANSWER);
    house.agents[0]!.dialog!.peerEnds();
    expect(house.observer.record).toMatchObject({ code: 'normal_clearing', queuedAt: null });
    house.expectClean();
  });
});

describe('failures of ours', () => {
  it('end both sides and leave a record', async () => {
    const { house, agent, callee } = await calleeCalled();
    callee.progress(180);
    // What a peer sent and our parser took cannot be written again: a bug, wherever it is.
    agent.dialog!.request = () => {
      throw new Error('a bug');
    };
    house.clock.advance(20_100);
    callee.answer([], ANSWER);
    expect(agent.dialog!.bye).not.toBeNull();
    expect(callee.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ code: 'internal_error', endedBy: 'gateway' });
    expect(house.calls.activeCount).toBe(0);
  });

  it('are those of the engine, too', async () => {
    const { house, agent } = await agentAnswered();
    house.engine.bug = new Error('a bug');
    house.pacer.last.slot();
    expect(agent.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ code: 'internal_error' });
    expect(house.calls.activeCount).toBe(0);
  });
});

describe('callee first', () => {
  function calleeFirst(): OriginationHouse {
    const house = new OriginationHouse();
    house.decision = house.acceptance([way({ trunk: trunk({ delayedOffer: true }) })], {
      originate: 'calleeFirst',
    });
    return house;
  }

  it('calls the callee on its slot without an offer, and the agent with what it offers', async () => {
    const house = calleeFirst();
    const placed = house.place();
    const ticket = house.pacer.last;
    ticket.at(0, 50);
    expect(await placed).toMatchObject({ state: 'queued', position: 0 });
    expect(ticket.slot()).toBe(true);
    const callee = house.provider[0]!;
    expect(callee.options.body).toBeUndefined();
    callee.progress(180);
    expect(house.calls.list()[0]!.state).toBe('ringing');
    expect(house.agents).toEqual([]);
    callee.answer([], ANSWER);
    const agent = house.agents[0]!;
    expect(agent.options.body).toBe(ANSWER);
    expect(callee.acks).toBe(0);
    agent.answer([], OFFER);
    expect(callee).toMatchObject({ acks: 1, acked: { body: OFFER } });
    expect(agent).toMatchObject({ acks: 1, acked: { body: '' } });
    callee.dialog!.peerEnds();
    expect(agent.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({
      endedBy: 'callee',
      code: 'normal_clearing',
      sipStatus: 200,
    });
    house.expectClean();
  });

  it('acknowledges and ends the callee when no endpoint of the agent answers', async () => {
    const house = calleeFirst();
    void house.place();
    house.pacer.last.slot();
    house.provider[0]!.answer([], ANSWER);
    house.agents[0]!.reject(480);
    expect(house.provider[0]!.acked!.body).toContain('a=inactive');
    expect(house.provider[0]!.dialog!.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ endedBy: 'agent', code: 'agent_rejected', sipStatus: 480 });
    house.expectClean();
  });

  it('cancels the agent when the callee hangs up meanwhile', async () => {
    const house = calleeFirst();
    void house.place();
    house.pacer.last.slot();
    house.provider[0]!.answer([], ANSWER);
    house.agents[0]!.progress(180);
    house.provider[0]!.dialog!.peerEnds();
    expect(house.agents[0]!.cancelled).not.toBeNull();
    expect(house.observer.record).toMatchObject({ endedBy: 'callee', code: 'normal_clearing' });
    house.expectClean();
  });

  it('calls the agent first where the trunk wants an offer', async () => {
    const house = new OriginationHouse();
    house.decision = house.acceptance([way()], { originate: 'calleeFirst' });
    void house.place();
    expect(house.pacer.last.request.leadMs).toBe(2_000);
    house.calls.hangUp(house.pacer.last.id);
    house.expectClean();
  });
});

describe('refusals', () => {
  it('are routing’s own', async () => {
    const house = new OriginationHouse();
    house.decision = {
      kind: 'refuse',
      code: 'no_outbound_config',
      status: 403,
      reason: 'Forbidden',
      httpStatus: 409,
      detail: 'agent sales has no number to call from',
      field: undefined,
      organizationId: 'default',
      agent: undefined,
      trunk: undefined,
      number: undefined,
      explanation: [],
    };
    expect(await house.place()).toMatchObject({
      kind: 'refused',
      code: 'no_outbound_config',
      httpStatus: 409,
      detail: 'agent sales has no number to call from',
    });
    expect(house.pacer.tickets).toEqual([]);
    house.expectClean();
  });

  it('are a full line, a full house and one that closes', async () => {
    const full = new OriginationHouse();
    const placed = full.place();
    full.pacer.last.refuse('queue_full');
    expect(await placed).toMatchObject({ code: 'queue_full', httpStatus: 429, retryAfterSeconds: 5 });
    full.expectClean();

    const draining = new OriginationHouse();
    draining.calls.drain();
    expect(await draining.place()).toMatchObject({ code: 'draining', httpStatus: 503 });

    const nobody = new OriginationHouse();
    nobody.decision = nobody.acceptance([way()], { endpoints: [] });
    expect(await nobody.place()).toMatchObject({ code: 'agent_without_endpoints', httpStatus: 409 });
  });

  it('are none when the line says nothing in time', async () => {
    const house = new OriginationHouse();
    const placed = house.place();
    house.clock.advance(2_100);
    expect(await placed).toMatchObject({ kind: 'ordered', position: null, estimatedStartAt: null });
    house.calls.hangUp(house.pacer.last.id);
    house.expectClean();
  });
});

describe('what a dead node leaves', () => {
  it('is taken up at its place, with its id', async () => {
    const before = new OriginationHouse();
    void before.place({ metadata: { order: '4711' } });
    const { id, request: was } = before.pacer.last;
    const house = new OriginationHouse();
    house.pacer.onOrphan!({
      kind: 'waiting',
      id,
      key: 'default/carrier-a',
      payload: was.payload!,
      adopt: (taken, events) => house.pacer.enqueue(taken, events),
    });
    expect(house.calls.get(id)).toMatchObject({ state: 'queued', metadata: { order: '4711' } });
    const ticket = house.pacer.last;
    expect(ticket.id).toBe(id);
    ticket.prepare();
    house.agents[0]!.answer([], OFFER);
    ticket.slot();
    house.provider[0]!.answer([], ANSWER);
    house.agents[0]!.dialog!.peerEnds();
    expect(house.observer.record).toMatchObject({ id, code: 'normal_clearing' });
    house.expectClean();
  });

  it('is recorded and not dialled again once its INVITE may have left', async () => {
    const before = new OriginationHouse();
    void before.place();
    const { id, request: was } = before.pacer.last;
    const house = new OriginationHouse();
    house.pacer.onOrphan!({ kind: 'unknown', id, key: 'default/carrier-a', payload: was.payload! });
    expect(house.observer.record).toMatchObject({ id, code: 'unknown', endedBy: 'gateway', state: 'ended' });
    expect(house.engine.invites).toEqual([]);
    house.expectClean();
  });

  it('is left in a line that nodes share when this one stops, and forgotten here', async () => {
    for (const shared of [true, false]) {
      const house = new OriginationHouse();
      house.pacer.shared = shared;
      void house.place();
      house.calls.endAll('the gateway was stopped');
      expect(house.pacer.last.cancelled).toBe(!shared);
      expect(house.observer.records.length).toBe(shared ? 0 : 1);
      house.expectClean();
    }
  });

  it('is ended here when its agent was called already', async () => {
    const { house } = await agentAnswered();
    house.pacer.shared = true;
    house.calls.endAll('the gateway was stopped');
    expect(house.pacer.last.cancelled).toBe(true);
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway' });
    house.expectClean();
  });

  it('is forgotten here once another node has taken it, and its agent let go', async () => {
    for (const stage of [0, 1, 2]) {
      const house = new OriginationHouse();
      void house.place();
      const ticket = house.pacer.last;
      if (stage > 0) ticket.prepare();
      if (stage > 1) house.agents[0]!.answer([], OFFER);
      ticket.refuse('taken_over');
      expect(house.observer.records).toEqual([]);
      house.expectClean();
    }
  });

  it('leaves the line when it cannot be read, or may not be made any more', async () => {
    const house = new OriginationHouse();
    const orphan = (payload: string): void =>
      house.pacer.onOrphan!({
        kind: 'waiting',
        id: 'call_x',
        key: 'default/carrier-a',
        payload,
        adopt: (taken, events) => house.pacer.enqueue(taken, events),
      });
    for (const payload of [
      '',
      '{',
      '[]',
      '{"version":2}',
      '{"version":1,"id":"x","orderedAt":1,"order":{}}',
    ]) {
      orphan(payload);
      expect(house.pacer.last.cancelled).toBe(true);
    }
    expect(house.errors.length).toBe(5);
  });
});
