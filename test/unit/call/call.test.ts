/**
 * The driver with a scripted engine: what goes out on the two legs, what remains in the record, and failures that no
 * real peer can be made to produce. The rows of the machine are in machine.test.ts.
 */
import { describe, expect, it } from 'vitest';
import type { EngineFault } from '#engine/faults.js';
import { FakeRequest, fieldsOf, request, response, SDP } from '../../kit/fake-engine.js';
import { agent, CallHouse, route, trunk } from './kit.js';

const REFUSED: EngineFault = { kind: 'refused', detail: 'ECONNREFUSED' };
const TWO = ['sip:agent@192.0.2.9', 'sip:agent@192.0.2.10'];

describe('the way of an answered call', () => {
  it('sends the agent an INVITE of its own', () => {
    const house = new CallHouse();
    house.call(route(undefined, { agent: agent({ headers: new Map([['X-Tenant', 'ours']]) }) }), [
      'Contact: <sip:carrier@198.51.100.7>',
      'Record-Route: <sip:edge.carrier.example;lr>',
      'X-Campaign: spring',
      'X-Tenant: theirs',
      'X-Trunkline-DID: +1999',
      'User-Agent: carrier/1.0',
      'Supported: 100rel, timer, replaces',
      'Allow: INVITE, ACK, BYE, CANCEL, UPDATE, REFER',
    ]);
    const { options, headers } = house.engine.last;
    expect(options.uri).toBe('sip:agent@192.0.2.9:5090');
    expect(options.target).toEqual({ transport: 'udp', address: '192.0.2.9', port: 5090 });
    expect(options.from).toBe('"Carol" <sip:+14155550123@carrier.example>');
    expect(options.to).toBe('<sip:+14155550100@192.0.2.9:5090>');
    expect(options.maxForwards).toBe(69);
    expect(options.body).toBe(SDP);
    expect(headers).toEqual({
      'content-type': 'application/sdp',
      'x-campaign': 'spring',
      'x-tenant': 'ours',
      allow: 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, REFER',
      supported: '100rel, timer',
      'x-trunkline-call-id': house.calls.list()[0]!.id,
      'x-trunkline-inbound-call-id': 'inbound-call@carrier.example',
      'x-trunkline-did': '+14155550100',
      'x-trunkline-trunk-id': 'carrier-a',
    });
    expect(house.dialled).toEqual(['192.0.2.9']);
  });

  it('relays ringing, early media, the answer and the end, and records them', () => {
    const house = new CallHouse();
    const caller = house.call();
    const leg = house.engine.last;
    house.clock.advance(100);
    leg.progress(100);
    expect(caller.progressed).toEqual([]);
    leg.progress(180, { lines: ['X-Queue: 3', 'Contact: <sip:agent@10.0.0.1>'] });
    house.clock.advance(200);
    leg.progress(183, { body: 'v=0' });
    house.clock.advance(700);
    const agentDialog = leg.answer([
      'Server: agent',
      'Session-Expires: 1800;refresher=uac',
      'Require: timer',
    ]);
    expect(caller.progressed.map(({ status }) => status)).toEqual([180, 183]);
    expect(fieldsOf(caller.progressed[0]!.headers)).toEqual({ 'x-queue': '3' });
    expect(caller.progressed[1]!.body).toBe('v=0');
    expect(caller.accepted).toMatchObject({ status: 200, body: SDP, early: 0 });
    expect(fieldsOf(caller.accepted!.headers)).toEqual({
      'content-type': 'application/sdp',
      'session-expires': '1800;refresher=uac',
      require: 'timer',
      allow: 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK',
    });
    expect(leg.acked).toEqual({ headers: {}, body: '' });
    expect(house.calls.list()[0]!.state).toBe('answered');
    house.clock.advance(5000);
    caller.dialog!.peerEnds({
      kind: 'bye',
      request: request('BYE', ['Reason: Q.850;cause=16;text="bye"', 'X-Note: thanks']),
    });
    expect(agentDialog.bye).toEqual({ reason: 'Q.850;cause=16;text="bye"', 'x-note': 'thanks' });
    expect(house.observer.changes).toEqual([
      'dialing→ringing',
      'ringing→early-media',
      'early-media→answered',
    ]);
    expect(house.observer.record).toMatchObject({
      state: 'ended',
      trunkId: 'carrier-a',
      phoneNumberId: 'number-1',
      agentId: 'sales',
      did: '+14155550100',
      originalDid: '14155550100',
      caller: '+14155550123',
      callerName: 'Carol',
      sourceAddress: '198.51.100.7',
      callId: 'inbound-call@carrier.example',
      startedAt: '2030-01-01T00:00:00.000Z',
      ringingAt: '2030-01-01T00:00:00.100Z',
      answeredAt: '2030-01-01T00:00:01.000Z',
      endedAt: '2030-01-01T00:00:06.000Z',
      setupMs: 100,
      ringMs: 900,
      talkMs: 5000,
      durationMs: 6000,
      endedBy: 'caller',
      sipStatus: 200,
      q850: 16,
      code: 'normal_clearing',
      attempts: [
        {
          endpoint: 'sip:agent@192.0.2.9:5090',
          target: 'udp:192.0.2.9:5090',
          callId: 'leg-1',
          outcome: 'answered',
          sipStatus: 200,
        },
      ],
    });
    expect(house.calls.activeCount).toBe(0);
    expect(house.clock.armedCount).toBe(0);
    expect(house.engine.misuse).toEqual([]);
  });

  it('ends the caller when the agent hangs up', () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last
      .answer()
      .peerEnds({ kind: 'bye', request: request('BYE', ['User-to-User: 01;encoding=hex']) });
    expect(caller.dialog!.bye).toEqual({ 'user-to-user': '01;encoding=hex' });
    expect(house.observer.record).toMatchObject({ endedBy: 'agent', code: 'normal_clearing', q850: 16 });
  });

  it('waits with the ACK of a delayed offer for the one that carries the answer', () => {
    const house = new CallHouse();
    const caller = house.call(route(), [], '');
    const leg = house.engine.last;
    expect(leg.options.body).toBeUndefined();
    leg.answer([], 'offer');
    expect(leg.acks).toBe(0);
    caller.dialog!.events!.onAck!(request('ACK', [], 'answer'));
    expect(leg.acked).toMatchObject({ body: 'answer', headers: { 'content-type': 'application/sdp' } });
  });

  it('acknowledges a delayed offer even when the caller vanishes before its ACK', () => {
    const house = new CallHouse();
    const caller = house.call(route(), [], '');
    const leg = house.engine.last;
    const agentDialog = leg.answer([], 'offer');
    caller.dialog!.peerEnds({ kind: 'no-ack' });
    expect(leg.acks).toBe(1);
    expect(agentDialog.bye).toEqual({ reason: 'Q.850;cause=102;text="no ack"' });
    expect(house.observer.record).toMatchObject({ endedBy: 'caller', code: 'no_ack' });
  });

  it('carries an offer in a reliable response to the caller, and the answer in its PRACK back', () => {
    const house = new CallHouse();
    const caller = house.call(route(), ['Supported: 100rel'], '');
    const leg = house.engine.last;
    expect(leg.headers.supported).toBe('100rel');
    leg.progress(183, { body: 'offer', reliable: true, offer: true });
    expect(caller.progressed[0]).toMatchObject({ status: 183, body: 'offer', reliable: true, early: 0 });
    caller.events.onPrack!(request('PRACK', [], 'answer'), 0);
    expect(leg.pracks).toEqual([{ headers: { 'content-type': 'application/sdp' }, body: 'answer' }]);
    leg.answer([], '');
    expect(leg.acks).toBe(1);
  });

  it('offers an agent no reliable responses when the caller could not answer their offer', () => {
    const house = new CallHouse();
    const caller = house.call(route(), [], '');
    const leg = house.engine.last;
    expect(leg.headers.supported).toBeUndefined();
    // It sends one all the same.
    leg.progress(183, { body: 'offer', reliable: true, offer: true });
    expect(leg.pracks).toEqual([{ headers: {}, body: undefined }]);
    expect(caller.progressed[0]).toMatchObject({ status: 183, body: '', reliable: false });
  });
});

describe('rejections', () => {
  it("passes the agent's own answer on, with its reasons and ours", () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.reject(
      486,
      ['Warning: 399 agent "busy"', 'Contact: <sip:elsewhere@10.0.0.1>', 'Server: agent'],
      'On Another Call',
    );
    expect(caller.rejected).toEqual({
      status: 486,
      reason: 'On Another Call',
      headers: {
        warning: '399 agent "busy"',
        reason: 'Q.850;cause=17;text="agent busy"',
        'x-trunkline-reason': 'agent_busy',
        'x-trunkline-call-id': house.observer.record.id,
      },
      body: '',
    });
    expect(house.observer.record).toMatchObject({
      endedBy: 'agent',
      sipStatus: 486,
      q850: 17,
      code: 'agent_busy',
    });
    expect(house.resolver.released).toEqual(['192.0.2.9']);
  });

  it.each([
    [302, 480, 'Temporarily Unavailable'],
    [401, 480, 'Temporarily Unavailable'],
    [407, 480, 'Temporarily Unavailable'],
    [503, 500, 'Server Internal Error'],
    [603, 603, 'Decline'],
    [404, 404, 'Not Found'],
  ])('answers %i of the agent with %i', (theirs, ours, phrase) => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.reject(theirs, [
      'WWW-Authenticate: Digest realm="x", nonce="y"',
      'Contact: <sip:a@10.0.0.1>',
    ]);
    expect(caller.rejected).toMatchObject({ status: ours, reason: phrase });
    expect(caller.rejected!.headers).not.toHaveProperty('www-authenticate');
    expect(caller.rejected!.headers).not.toHaveProperty('contact');
    expect(house.observer.record).toMatchObject({
      code: 'agent_rejected',
      attempts: [{ outcome: 'rejected', sipStatus: theirs }],
    });
  });

  it('keeps a cause that the agent gave', () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.reject(480, ['Reason: Q.850;cause=20']);
    expect(caller.rejected!.headers.reason).toBe('Q.850;cause=20');
    expect(house.observer.record.q850).toBe(20);
  });

  it('goes on to the next endpoint and tells of the better failure in the end', () => {
    const house = new CallHouse();
    const caller = house.call(route(TWO));
    house.engine.last.reject(500);
    expect(house.engine.last.options.target.address).toBe('192.0.2.10');
    house.engine.last.fault(REFUSED);
    expect(caller.rejected).toMatchObject({
      status: 500,
      headers: { 'x-trunkline-reason': 'agent_rejected' },
    });
    expect(house.resolver.quarantined.has('192.0.2.10')).toBe(true);
    expect(house.observer.record.attempts).toMatchObject([
      { outcome: 'rejected', sipStatus: 500 },
      { outcome: 'fault', cause: 'refused', sipStatus: null },
    ]);
  });

  it('says 480 when nobody is there', () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.fault(REFUSED);
    expect(caller.rejected).toMatchObject({
      status: 480,
      headers: {
        'x-trunkline-reason': 'agent_unreachable',
        reason: 'Q.850;cause=27;text="agent unreachable"',
      },
    });
  });

  it('never lets a bound of ours look like the agent', () => {
    const house = new CallHouse();
    const caller = house.call(route(TWO));
    house.engine.last.fault({ kind: 'capacity', detail: 'full' });
    expect(house.engine.invites).toHaveLength(1);
    expect(caller.rejected).toMatchObject({
      status: 503,
      headers: { 'retry-after': '5', 'x-trunkline-reason': 'capacity' },
    });
    expect(house.resolver.quarantined.size).toBe(0);
  });
});

describe('time', () => {
  it('goes on from an endpoint that says nothing, and never waits for it again while it is in quarantine', () => {
    const house = new CallHouse({ attemptTimeoutMs: 4000 });
    house.call(route(TWO));
    const silent = house.engine.last;
    house.clock.advance(4010);
    expect(silent.cancelled).toEqual({ reason: 'Q.850;cause=18;text="no answer"' });
    expect(house.engine.last.options.target.address).toBe('192.0.2.10');
    house.engine.last.answer();
    const next = house.call(route(TWO));
    expect(house.engine.last.options.target.address).toBe('192.0.2.10');
    house.engine.last.fault(REFUSED);
    // The last resort.
    expect(house.engine.last.options.target.address).toBe('192.0.2.9');
    house.engine.last.answer();
    expect(next.accepted).not.toBeNull();
  });

  it('waits on once the endpoint has said 100', () => {
    const house = new CallHouse({ attemptTimeoutMs: 4000 });
    house.call(route(TWO));
    house.engine.last.progress(100);
    house.clock.advance(20_000);
    expect(house.engine.invites).toHaveLength(1);
  });

  it.each([
    ['says nothing', () => undefined, 'no_answer'],
    ['says 100 and no more', (house: CallHouse) => house.engine.last.progress(100), 'no_answer'],
    ['rings for ever', (house: CallHouse) => house.engine.last.progress(180), 'ring_timeout'],
  ] as const)('gives the caller a final answer when the agent %s', (_what, act, code) => {
    const house = new CallHouse();
    const caller = house.call();
    act(house);
    house.clock.advance(30_020);
    expect(caller.rejected).toMatchObject({ status: 480, headers: { 'x-trunkline-reason': code } });
    expect(house.engine.last.cancelled).not.toBeNull();
    expect(house.observer.record).toMatchObject({
      endedBy: 'gateway',
      code,
      attempts: [{ outcome: 'cancelled', cause: code }],
    });
    expect(house.clock.armedCount).toBe(0);
  });

  it('hears 500 times 180 no longer than the ring time, and passes a bounded number on', () => {
    const house = new CallHouse();
    const caller = house.call();
    for (let i = 0; i < 500; i++) {
      house.clock.advance(70);
      if (caller.rejected === null) house.engine.last.progress(180);
    }
    expect(caller.rejected).toMatchObject({ status: 480 });
    expect(caller.progressed).toHaveLength(64);
  });

  it.each([
    ['the agent', 7, 20, 7],
    ['else the trunk', undefined, 9, 9],
    ['else the default', undefined, undefined, 30],
  ])('takes the ring time from %s', (_who, ofAgent, ofTrunk, seconds) => {
    const house = new CallHouse();
    const caller = house.call(
      route(undefined, {
        agent: agent({ ringTimeoutSeconds: ofAgent }),
        trunk: trunk({ ringTimeoutSeconds: ofTrunk }),
      }),
    );
    house.engine.last.progress(180);
    house.clock.advance(seconds * 1000 - 10);
    expect(caller.rejected).toBeNull();
    house.clock.advance(30);
    expect(caller.rejected).not.toBeNull();
  });

  it('ends a call at its longest duration', () => {
    const house = new CallHouse();
    const caller = house.call(route(undefined, { trunk: trunk({ maxDurationSeconds: 60 }) }));
    const agentDialog = house.engine.last.answer();
    house.clock.advance(60_010);
    expect(caller.dialog!.bye).toEqual({ reason: 'Q.850;cause=31;text="max duration"' });
    expect(agentDialog.bye).not.toBeNull();
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway', code: 'max_duration', sipStatus: 200 });
  });
});

describe('a caller who gives up', () => {
  it('cancels the agent with its reasons', () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.progress(180);
    caller.cancel(['Reason: SIP;cause=200;text="Call completed elsewhere"']);
    expect(house.engine.last.cancelled).toEqual({ reason: 'SIP;cause=200;text="Call completed elsewhere"' });
    expect(house.observer.record).toMatchObject({
      endedBy: 'caller',
      sipStatus: 487,
      code: 'caller_cancelled',
      q850: 16,
    });
    expect(house.engine.misuse).toEqual([]);
  });

  it('is no longer waited for while a name resolves', () => {
    const house = new CallHouse();
    house.resolver.hold = true;
    const caller = house.call(route(['sip:agent@agents.example']));
    caller.lose('connection closed');
    house.resolver.held[0]!();
    expect(house.engine.invites).toHaveLength(0);
    expect(house.observer.record).toMatchObject({ sipStatus: 0, code: 'caller_lost' });
  });

  it('leaves an answer that crosses the CANCEL acknowledged and ended, even if the engine shows it', () => {
    const house = new CallHouse();
    const caller = house.call();
    const leg = house.engine.last;
    caller.cancel();
    const dialog = leg.answer();
    expect(leg.acks).toBe(1);
    expect(dialog.bye).not.toBeNull();
    expect(caller.accepted).toBeNull();
    const inside = new FakeRequest(request('INFO'));
    leg.dialogEvents!.onRequest(inside);
    expect(inside.status).toBe(481);
  });
});

describe('names', () => {
  it('tries the targets of a name in order, then the next endpoint', () => {
    const house = new CallHouse();
    house.resolver.names.set('agents.example', [
      { transport: 'udp', address: '192.0.2.21', port: 5060 },
      { transport: 'udp', address: '192.0.2.22', port: 5060 },
    ]);
    house.call(route(['sip:agent@agents.example', 'sip:agent@192.0.2.9']));
    house.engine.last.reject(503, ['Retry-After: 7']);
    expect(house.resolver.quarantined.get('192.0.2.21')).toBe(7000);
    house.engine.last.reject(504);
    expect(house.engine.invites.map(({ options }) => options.target.address)).toEqual([
      '192.0.2.21',
      '192.0.2.22',
      '192.0.2.9',
    ]);
  });

  it('records a name that does not resolve', () => {
    const house = new CallHouse();
    house.resolver.names.set('nowhere.example', { kind: 'not-found', detail: 'no such name' });
    const caller = house.call(route(['sip:agent@nowhere.example']));
    expect(caller.rejected).toMatchObject({
      status: 480,
      headers: { 'x-trunkline-reason': 'agent_unresolved' },
    });
    expect(house.observer.record.attempts).toMatchObject([
      { target: null, callId: null, outcome: 'fault', cause: 'unresolved', detail: 'no such name' },
    ]);
  });
});

describe('requests inside the call', () => {
  const answered = (): {
    house: CallHouse;
    caller: ReturnType<CallHouse['call']>;
    agentDialog: ReturnType<CallHouse['engine']['last']['answer']>;
  } => {
    const house = new CallHouse();
    const caller = house.call();
    return { house, caller, agentDialog: house.engine.last.answer() };
  };

  it('relays a re-INVITE and its answer, and acknowledges at once what had an offer', () => {
    const { caller, agentDialog } = answered();
    const hold = new FakeRequest(request('INVITE', ['X-Why: hold', 'Max-Forwards: 9'], 'hold'));
    caller.dialog!.events!.onRequest(hold);
    const sent = agentDialog.requests[0]!;
    expect(sent.options).toMatchObject({ method: 'INVITE', body: 'hold', maxForwards: 8 });
    expect(fieldsOf(sent.options.headers)).toEqual({ 'x-why': 'hold', 'content-type': 'application/sdp' });
    let acked = 0;
    sent.done({ kind: 'response', response: response(200, [], 'held'), ack: () => acked++ });
    expect(acked).toBe(1);
    expect(hold).toMatchObject({ status: 200, body: 'held', answers: 1 });
  });

  it('relays the provisional responses to a re-INVITE, and its CANCEL', () => {
    const { caller, agentDialog } = answered();
    const again = new FakeRequest(request('INVITE', [], 'offer'));
    caller.dialog!.events!.onRequest(again);
    const sent = agentDialog.requests[0]!;
    sent.options.onProgress!(response(183, ['X-Why: asking'], ''));
    expect(again).toMatchObject({ status: 183 });
    again.onCancel!(request('CANCEL', ['Reason: SIP;cause=487']));
    expect(sent.cancelled).toBe(true);
  });

  it('carries the answer to a late offer in the ACK of a re-INVITE', () => {
    const { caller, agentDialog } = answered();
    const again = new FakeRequest(request('INVITE'));
    agentDialog.events!.onRequest(again);
    let acked = '';
    caller.dialog!.requests[0]!.done({
      kind: 'response',
      response: response(200, [], 'offer'),
      ack: (_headers, body = '') => {
        acked = body;
      },
    });
    expect(acked).toBe('');
    again.onAck!(request('ACK', [], 'answer'));
    expect(acked).toBe('answer');
  });

  it.each([
    ['timeout', { kind: 'timeout', heard: false, detail: '' }, 408],
    ['glare', { kind: 'glare', detail: '' }, 491],
    ['flow-lost', { kind: 'flow-lost', detail: '' }, 481],
    ['capacity', { kind: 'capacity', detail: '' }, 503],
  ] as const)('answers a relayed request that met %s', (_what, fault, status) => {
    const { caller, agentDialog } = answered();
    const info = new FakeRequest(request('INFO', [], 'x'));
    caller.dialog!.events!.onRequest(info);
    agentDialog.requests[0]!.done({ kind: 'fault', fault });
    expect(info.status).toBe(status);
  });

  it('ends the other side when one has lost the dialog', () => {
    const { house, caller, agentDialog } = answered();
    agentDialog.peerEnds({ kind: 'gone', detail: '481' });
    expect(caller.dialog!.bye).toEqual({ reason: 'Q.850;cause=41;text="session failed"' });
    expect(house.observer.record).toMatchObject({ code: 'session_failed', endedBy: 'agent', detail: '481' });
  });

  it('passes UPDATE between early dialogs', () => {
    const house = new CallHouse();
    const caller = house.call();
    const leg = house.engine.last;
    leg.progress(180, { early: 0 });
    leg.progress(180, { early: 1 });
    const update = new FakeRequest(request('UPDATE', [], 'new'));
    leg.events.onRequest!(update, 1);
    expect(caller.early[0]).toMatchObject({ early: 1, options: { method: 'UPDATE', body: 'new' } });
    caller.early[0]!.done({ kind: 'response', response: response(200, [], 'ok') });
    expect(update).toMatchObject({ status: 200, body: 'ok' });
    const back = new FakeRequest(request('UPDATE', [], 'back'));
    caller.events.onRequest!(back, 1);
    expect(leg.early[0]).toMatchObject({ early: 1, options: { method: 'UPDATE', body: 'back' } });
  });

  it.each([
    ['REFER', 603],
    ['NOTIFY', 481],
    ['SUBSCRIBE', 489],
    ['BREW', 501],
  ])('answers %s with %i', (method, status) => {
    const { caller, agentDialog } = answered();
    const odd = new FakeRequest(request(method));
    caller.dialog!.events!.onRequest(odd);
    expect(odd.status).toBe(status);
    expect(agentDialog.requests).toEqual([]);
  });
});

describe('the room', () => {
  it('refuses beyond its bounds, and counts by trunk', () => {
    const house = new CallHouse({ maxConcurrentCalls: 2 });
    const narrow = route(undefined, { trunk: trunk({ maxConcurrentCalls: 1 }) });
    const first = house.call(narrow);
    expect(house.calls.activeOnTrunk('carrier-a')).toBe(1);
    expect(house.call(narrow).rejected).toMatchObject({
      status: 503,
      headers: { 'retry-after': '5', 'x-trunkline-reason': 'trunk_capacity' },
    });
    house.call(route(undefined, { trunk: trunk({ id: 'b' }) }));
    expect(house.call(route(undefined, { trunk: trunk({ id: 'c' }) })).rejected).toMatchObject({
      status: 503,
      headers: { 'x-trunkline-reason': 'capacity' },
    });
    first.cancel();
    expect(house.calls.activeOnTrunk('carrier-a')).toBe(0);
    expect(house.call(narrow).rejected).toBeNull();
  });

  it('refuses while it drains, ends all on demand, and tells when it is idle', () => {
    const house = new CallHouse();
    const waiting = house.call();
    const talking = house.call();
    house.engine.last.answer();
    house.calls.drain();
    expect(house.call().rejected).toMatchObject({
      status: 503,
      headers: { 'x-trunkline-reason': 'draining' },
    });
    // Whom a refused call was for is known without any routing.
    expect(house.observer.records.at(-1)).toMatchObject({ code: 'draining', originalDid: '+14155550100' });
    let idle = 0;
    house.calls.onIdle(() => idle++);
    expect(idle).toBe(0);
    house.calls.endAll('drain time is over');
    expect(waiting.rejected).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(talking.dialog!.bye).toEqual({ reason: 'Q.850;cause=41;text="shutdown"' });
    expect(idle).toBe(1);
    house.calls.onIdle(() => idle++);
    expect(idle).toBe(2);
    expect(house.observer.records).toHaveLength(3);
  });

  it.each([
    [70, undefined, 69],
    [9, undefined, 8],
    [70, 20, 20],
    [9, 20, 8],
  ])('sends an INVITE with Max-Forwards %s on, at most %s, with %s', (came, most, sent) => {
    const house = new CallHouse(most === undefined ? {} : { maxForwards: most });
    house.call(undefined, [`Max-Forwards: ${came}`]);
    expect(house.engine.last.options.maxForwards).toBe(sent);
  });

  it('lists live and ended calls, newest first, a bounded number of the latter', () => {
    const house = new CallHouse({ endedKept: 2 });
    const callers = [0, 1, 2, 3].map(() => house.call());
    const ids = house.calls
      .list()
      .map(({ id }) => id)
      .reverse();
    for (const caller of callers.slice(0, 3)) caller.cancel();
    expect(house.calls.list().map(({ id }) => id)).toEqual([ids[3], ids[2], ids[1]]);
    expect(house.calls.list(2)).toHaveLength(2);
    expect(house.calls.get(ids[0]!)).toBeUndefined();
    expect(house.calls.get(ids[1]!)).toMatchObject({ state: 'ended' });
    expect(house.calls.get(ids[3]!)).toMatchObject({ state: 'dialing', attempts: [{ outcome: 'pending' }] });
  });

  it('hangs up on request', () => {
    const house = new CallHouse();
    const caller = house.call();
    house.engine.last.answer();
    expect(house.calls.hangUp(house.calls.list()[0]!.id)).toBe(true);
    expect(caller.dialog!.bye).toEqual({});
    expect(house.observer.record).toMatchObject({ endedBy: 'gateway', code: 'normal_clearing' });
    expect(house.calls.hangUp('call_none')).toBe(false);
  });

  it('knows its own calls when they come back', () => {
    const house = new CallHouse();
    house.call();
    const marker = house.engine.last.headers['x-trunkline-call-id']!;
    expect(house.calls.isLoop(request('INVITE', [`X-Trunkline-Call-Id: ${marker}`]))).toBe(true);
    expect(
      house.calls.isLoop(
        request('INVITE', ['X-Trunkline-Call-Id: call_other', `x-trunkline-call-id: ${marker}`]),
      ),
    ).toBe(true);
    expect(house.calls.isLoop(request('INVITE', ['X-Trunkline-Call-Id: call_other']))).toBe(false);
    expect(house.calls.isLoop(request('INVITE'))).toBe(false);
  });

  it('gives the caller a final answer and the log an error when something of ours breaks', () => {
    const house = new CallHouse();
    house.engine.bug = new Error('a bug');
    const caller = house.call();
    expect(caller.rejected).toMatchObject({
      status: 500,
      headers: { 'x-trunkline-reason': 'internal_error' },
    });
    expect(house.errors).toHaveLength(1);
    expect(house.observer.record).toMatchObject({ code: 'internal_error', sipStatus: 500 });
    expect(house.calls.activeCount).toBe(0);
    expect(house.clock.armedCount).toBe(0);
  });

  it('ends both legs when the answer cannot be passed on', () => {
    const house = new CallHouse();
    const caller = house.call();
    caller.accept = () => {
      throw new Error('a bug');
    };
    const agentDialog = house.engine.last.answer();
    expect(caller.rejected).toMatchObject({ status: 500 });
    expect(agentDialog.bye).not.toBeNull();
    expect(house.observer.records).toHaveLength(1);
  });
});
