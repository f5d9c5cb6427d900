/**
 * Calls of agents to telephones, on a scripted engine and a scripted line: what goes out on the two legs, what waits,
 * what is repeated with credentials, and what remains in the record.
 */
import { describe, expect, it } from 'vitest';
import type { EngineFault } from '#engine/faults.js';
import { fieldsOf, request, SDP } from '../../kit/fake-engine.js';
import { acceptance, CallHouse, trunk } from './kit.js';

const SILENT: EngineFault = { kind: 'timeout', heard: false, detail: 'nothing' };
const challenge = (nonce = 'n1', more = '') =>
  `WWW-Authenticate: Digest realm="carrier.example",nonce="${nonce}",qop="auth",algorithm=MD5${more}`;
const proxyChallenge = (nonce = 'p1') =>
  `Proxy-Authenticate: Digest realm="carrier.example",nonce="${nonce}",qop="auth",algorithm=SHA-256`;

describe('a call that leaves', () => {
  it('carries the identity that routing gave it, and nothing that only the gateway may know', () => {
    const house = new CallHouse();
    house.originate(undefined, [
      'P-Asserted-Identity: <sip:+1999@evil.example>',
      'Diversion: <sip:+1999@evil.example>',
      'Identity: forged',
      'Remote-Party-ID: <sip:+1999@evil.example>',
      'Authorization: Digest username="agent"',
      'X-Trunkline-Call-Id: theirs',
      'X-Campaign: spring',
      'User-to-User: 01;encoding=hex',
      'Supported: timer, replaces',
      'Allow: INVITE, ACK, BYE, CANCEL, UPDATE',
    ]);
    const { options, headers } = house.engine.last;
    expect(options).toMatchObject({
      uri: 'sip:+14155550199@203.0.113.1',
      target: { transport: 'udp', address: '203.0.113.1', port: 5060 },
      from: '<sip:+14155550100@carrier.example>',
      to: '<sip:+14155550199@203.0.113.1>',
      maxForwards: 69,
      body: SDP,
    });
    expect(headers).toEqual({
      'content-type': 'application/sdp',
      'x-campaign': 'spring',
      'user-to-user': '01;encoding=hex',
      allow: 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE',
      supported: '100rel, timer',
      'p-asserted-identity': '<sip:+14155550100@carrier.example>',
    });
  });

  it('is relayed and recorded like any other, with the names of its own direction', () => {
    const house = new CallHouse();
    const caller = house.originate();
    const leg = house.engine.last;
    house.clock.advance(100);
    leg.progress(180);
    const callee = leg.answer();
    expect(caller.accepted).toMatchObject({ status: 200, body: SDP });
    house.clock.advance(5_000);
    callee.peerEnds();
    expect(caller.dialog!.bye).toEqual({});
    expect(house.observer.record).toMatchObject({
      direction: 'outbound',
      organizationId: 'default',
      trunkId: 'carrier-1',
      agentId: 'sales',
      did: null,
      callee: '+14155550199',
      caller: '+14155550100',
      endedBy: 'callee',
      sipStatus: 200,
      queuedAt: null,
      waitedMs: null,
      cpsKey: null,
      talkMs: 5_000,
      attempts: [{ outcome: 'answered', trunkId: 'carrier-1', challenges: 0 }],
    });
    expect(house.calls.usage.callsOfOrganization('default')).toBe(0);
    expect(house.calls.usage.callsTodayOfOrganization('default')).toBe(1);
    expect(house.engine.misuse).toEqual([]);
  });

  it('passes the callee’s no to the agent and says that it was the callee', () => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{}, {}]));
    house.engine.last.reject(486, ['Reason: Q.850;cause=17']);
    expect(caller.rejected).toMatchObject({ status: 486, headers: { 'x-trunkline-reason': 'callee_busy' } });
    expect(house.engine.invites.length).toBe(1);
    expect(house.observer.record).toMatchObject({ endedBy: 'callee', code: 'callee_busy', q850: 17 });
  });

  it('goes by the server that holds the registration, with its connection, listener and route', () => {
    const house = new CallHouse();
    const bound = {
      transport: 'tcp',
      address: '203.0.113.77',
      port: 5070,
      flow: 9,
      listenerId: 'tcp:1',
    } as const;
    house.bindings.set('reg', { target: bound, route: ['<sip:edge.example;lr>'] });
    const stale = { ...bound, address: '203.0.113.66' };
    const way = {
      nextHop: { kind: 'registered', registrationId: 'reg', target: stale, route: undefined },
    } as const;
    house.originate(acceptance([way]));
    expect(house.engine.last.options).toMatchObject({ target: bound, route: ['<sip:edge.example;lr>'] });
  });

  it('does not leave by a registration that was lost', () => {
    const house = new CallHouse();
    const target = { transport: 'udp', address: '203.0.113.77', port: 5060 } as const;
    const gone = {
      nextHop: { kind: 'registered', registrationId: 'reg', target, route: undefined },
    } as const;
    const caller = house.originate(acceptance([gone]));
    expect(house.engine.invites).toEqual([]);
    expect(caller.rejected).toMatchObject({
      status: 502,
      headers: { 'x-trunkline-reason': 'trunk_unregistered' },
    });
  });

  it('ends when the trunk that answered has had enough', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ maxDurationSeconds: 600 }, { maxDurationSeconds: 60 }]));
    house.engine.last.fault(SILENT);
    house.engine.last.answer();
    house.clock.advance(59_000);
    expect(house.calls.activeCount).toBe(1);
    house.clock.advance(1_100);
    expect(house.observer.record).toMatchObject({
      code: 'max_duration',
      endedBy: 'gateway',
      trunkId: 'carrier-2',
    });
  });
});

describe('failover', () => {
  it.each([408, 500, 502, 503, 504])('%i leads on to the next trunk', (status) => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{}, {}]));
    house.engine.last.reject(status);
    expect(house.engine.last.options.target.address).toBe('203.0.113.2');
    house.engine.last.answer();
    expect(caller.accepted).not.toBeNull();
    expect(house.calls.usage.callsOnTrunk('carrier-1')).toBe(0);
    expect(house.calls.usage.callsOnTrunk('carrier-2')).toBe(1);
    expect(house.calls.usage.callsTodayOnTrunk('carrier-1')).toBe(1);
    expect(house.calls.list()[0]).toMatchObject({
      trunkId: 'carrier-2',
      attempts: [
        { trunkId: 'carrier-1', outcome: 'rejected', sipStatus: status },
        { trunkId: 'carrier-2', outcome: 'answered' },
      ],
    });
  });

  it.each([403, 404, 480, 486, 487, 603])('%i is an answer', (status) => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{}, {}]));
    house.engine.last.reject(status);
    expect(house.engine.invites.length).toBe(1);
    expect(caller.rejected?.status).toBe(status);
  });

  it('ends once the callee has rung, whatever is said then', () => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{}, {}]));
    house.engine.last.progress(180);
    house.engine.last.reject(408);
    expect(house.engine.invites.length).toBe(1);
    expect(caller.rejected?.status).toBe(408);
  });

  it('tries the servers of a trunk, then the next trunk, and stops at the most attempts', () => {
    const house = new CallHouse({ maxAttempts: 3 });
    house.resolver.names.set(
      '203.0.113.1',
      [11, 12].map((host) => ({ transport: 'udp', address: `203.0.113.${host}`, port: 5060 })),
    );
    const caller = house.originate(acceptance([{}, {}, {}]));
    for (let i = 0; i < 3; i++) house.engine.last.reject(500);
    expect(house.engine.invites.map(({ options }) => options.target.address)).toEqual([
      '203.0.113.11',
      '203.0.113.12',
      '203.0.113.2',
    ]);
    expect(caller.rejected?.status).toBe(500);
  });

  it('keeps to the statuses of each trunk', () => {
    const house = new CallHouse();
    const strict = trunk({ id: 'strict', failoverStatuses: [404] });
    house.originate(acceptance([{ trunk: strict }, {}]));
    house.engine.last.reject(404);
    expect(house.engine.invites.length).toBe(2);
    house.engine.last.reject(404);
    expect(house.observer.record).toMatchObject({ sipStatus: 404 });
  });

  it('passes over a trunk that has filled up meanwhile', () => {
    const house = new CallHouse();
    const small = trunk({ id: 'small', maxConcurrentCalls: 1 });
    house.originate(acceptance([{ trunk: small }]));
    house.originate(acceptance([{}, { trunk: small }, {}]));
    house.engine.last.fault(SILENT);
    expect(house.engine.last.options.target.address).toBe('203.0.113.3');
    expect(house.calls.list()[0]!.attempts).toMatchObject([
      { outcome: 'fault', cause: 'timeout' },
      { outcome: 'fault', cause: 'trunk_capacity', target: null },
      { outcome: 'pending' },
    ]);
  });

  it('gives silence of a server only so long', () => {
    const house = new CallHouse();
    house.originate(acceptance([{}, {}]));
    house.clock.advance(4_100);
    expect(house.engine.invites[0]!.cancelled).not.toBeNull();
    expect(house.engine.invites.length).toBe(2);
    house.clock.advance(30_000);
    expect(house.observer.record).toMatchObject({ sipStatus: 504, code: 'provider_silent' });
  });
});

describe('challenges', () => {
  it('are answered in the same call: Call-ID, From tag, CSeq + 1, the same server', () => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{ password: 'secret' }]));
    const first = house.engine.last;
    first.reject(401, [challenge()]);
    const second = house.engine.last;
    expect(second.options.repeat).toEqual({ callId: 'leg-1', fromTag: 'gateway', cseq: 2 });
    expect(second.options.target).toEqual(first.options.target);
    expect(second.headers.authorization).toMatch(
      /^Digest username="acme",realm="carrier.example",nonce="n1"/,
    );
    second.reject(407, [proxyChallenge()]);
    const third = house.engine.last;
    expect(third.options.repeat).toMatchObject({ cseq: 3 });
    expect(third.headers['proxy-authorization']).toContain('algorithm=SHA-256');
    expect(third.headers.authorization).toContain('nonce="n1"');
    const dialog = third.answer();
    expect(third.acks).toBe(1);
    caller.dialog!.peerEnds();
    expect(dialog.bye).toEqual({});
    expect(house.observer.record.attempts).toMatchObject([{ outcome: 'answered', challenges: 2 }]);
    expect(house.engine.misuse).toEqual([]);
  });

  it('are remembered by trunk: the next call brings credentials along', () => {
    const house = new CallHouse();
    const decision = acceptance([{ password: 'secret' }]);
    house.originate(decision);
    house.engine.last.reject(401, [challenge()]);
    house.engine.last.answer();
    house.originate(decision);
    expect(house.engine.last.headers.authorization).toContain('nc=00000002');
    expect(house.engine.last.options.repeat).toBeUndefined();
  });

  it('end with a wrong password: 502, the reason, and no loop', () => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{ password: 'wrong' }, {}]));
    house.engine.last.reject(401, [challenge('n1')]);
    house.engine.last.reject(401, [challenge('n1')]);
    expect(house.engine.invites.length).toBe(2);
    expect(caller.rejected).toMatchObject({
      status: 502,
      headers: { 'x-trunkline-reason': 'trunk_credentials_rejected' },
    });
    expect(house.observer.record.attempts).toMatchObject([
      { outcome: 'rejected', sipStatus: 401, challenges: 1, detail: expect.stringContaining('not taken') },
    ]);
  });

  it('are capped however fresh each nonce is', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ password: 'secret' }]));
    for (let i = 0; i < 10 && house.calls.activeCount > 0; i++) {
      house.engine.last.reject(401, [challenge(`n${i}`, ',stale=true')]);
    }
    expect(house.engine.invites.length).toBe(4);
    expect(house.observer.record.code).toBe('trunk_credentials_rejected');
  });

  it('are answered as often as is configured', () => {
    const house = new CallHouse({ maxChallenges: 0 });
    house.originate(acceptance([{ password: 'secret' }]));
    house.engine.last.reject(401, [challenge()]);
    expect(house.engine.invites.length).toBe(1);
    expect(house.observer.record.code).toBe('trunk_credentials_rejected');
  });

  it('get no credentials when they come from somebody else', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ password: 'secret' }]));
    house.engine.last.reject(401, [challenge()], undefined, '198.51.100.66');
    expect(house.engine.invites.length).toBe(1);
    expect(house.observer.record.attempts[0]!.detail).toContain('not asked');
  });

  it('without a password say so', () => {
    const house = new CallHouse();
    house.originate();
    house.engine.last.reject(407, [proxyChallenge()]);
    expect(house.observer.record.attempts[0]!.detail).toContain('are not answered');
  });

  it('of another realm are answered and noted', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ password: 'secret' }]));
    house.engine.last.reject(401, ['WWW-Authenticate: Digest realm="other.example",nonce="n1",qop="auth"']);
    house.engine.last.answer();
    expect(house.calls.list()[0]!.attempts[0]!.detail).toContain('other.example');
  });

  it('do not outlive a CANCEL: it goes to the INVITE that counts', () => {
    const house = new CallHouse();
    const caller = house.originate(acceptance([{ password: 'secret' }]));
    const first = house.engine.last;
    first.reject(401, [challenge()]);
    caller.cancel();
    expect(first.cancelled).toBeNull();
    expect(house.engine.last.cancelled).not.toBeNull();
    house.engine.last.reject(401, [challenge('n2')]);
    expect(house.engine.invites.length).toBe(2);
    expect(house.engine.misuse).toEqual([]);
  });

  it('take a slot where the trunk counts them', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ password: 'secret', limit: 1, countsChallenges: true }]));
    house.pacer.last.slot();
    house.engine.last.reject(401, [challenge()]);
    expect(house.engine.invites.length).toBe(1);
    expect(house.pacer.tickets.length).toBe(2);
    expect(house.pacer.last.slot()).toBe(true);
    expect(house.engine.last.options.repeat).toMatchObject({ cseq: 2 });
  });
});

describe('a paced call', () => {
  const paced = () => acceptance([{ limit: 2 }]);

  it('waits in line, tells the agent where it stands, and leaves in its slot', () => {
    const house = new CallHouse();
    const caller = house.originate(paced(), [], SDP, { priority: 7 });
    expect(house.engine.invites).toEqual([]);
    expect(house.calls.list()[0]!.state).toBe('queued');
    const ticket = house.pacer.last;
    expect(ticket.request).toMatchObject({
      rule: { key: 'default/key-1', limit: 2, burst: 1, maxQueued: 1_000 },
      priority: 7,
      timeoutMs: 60_000,
    });
    ticket.at(3, 1_500);
    house.clock.advance(1_000);
    ticket.at(1, 520);
    expect(
      caller.progressed.map(({ status, headers }) => [
        status,
        fieldsOf(headers)['x-trunkline-queue-position'],
      ]),
    ).toEqual([
      [182, '3'],
      [182, '1'],
    ]);
    expect(fieldsOf(caller.progressed[0]!.headers)['x-trunkline-queue-wait']).toBe('2');
    house.clock.advance(500);
    expect(ticket.slot()).toBe(true);
    house.engine.last.progress(180);
    // One early dialog for a simple agent.
    expect(caller.progressed.map(({ early }) => early)).toEqual([0, 0, 0]);
    house.engine.last.answer();
    expect(house.observer.changes).toEqual(['queued→dialing', 'dialing→ringing', 'ringing→answered']);
    caller.dialog!.peerEnds();
    expect(house.observer.record).toMatchObject({
      queuedAt: expect.any(String),
      waitedMs: 1_500,
      cpsKey: 'key-1',
      endedBy: 'agent',
    });
    expect(house.engine.misuse).toEqual([]);
  });

  it('says nothing of a wait that nobody notices', () => {
    const house = new CallHouse();
    const caller = house.originate(paced());
    house.pacer.last.at(0, 200);
    expect(caller.progressed).toEqual([]);
  });

  it('is reminded of every minute, so that no proxy gives it up', () => {
    const house = new CallHouse({ queueTimeoutMs: 600_000 });
    const caller = house.originate(paced());
    house.pacer.last.at(100, 300_000);
    house.clock.advance(150_000);
    expect(caller.progressed.map(({ status }) => status)).toEqual([182, 182, 182]);
  });

  it('keeps its times for ringing whole, however long it waited', () => {
    const house = new CallHouse();
    const caller = house.originate(paced());
    house.clock.advance(50_000);
    house.pacer.last.slot();
    house.engine.last.progress(180);
    house.clock.advance(59_000);
    expect(caller.finals).toBe(0);
    house.clock.advance(2_000);
    expect(house.observer.record).toMatchObject({ code: 'ring_timeout', waitedMs: 50_000 });
  });

  it('that is cancelled leaves the line, and a slot that comes then is not used', () => {
    const house = new CallHouse();
    const caller = house.originate(paced());
    const ticket = house.pacer.last;
    caller.cancel(['Reason: SIP;cause=200;text="elsewhere"']);
    expect(ticket.cancelled).toBe(true);
    expect(ticket.slot()).toBe(false);
    expect(house.engine.invites).toEqual([]);
    expect(house.observer.record).toMatchObject({ endedBy: 'agent', code: 'caller_cancelled', attempts: [] });
    expect(house.clock.armedCount).toBe(0);
  });

  it.each([
    ['queue_full', 'queue_full'],
    ['queue_timeout', 'held_too_long'],
    ['shutdown', 'draining'],
  ] as const)('refused by the line (%s): 503, Retry-After, %s', (why, code) => {
    const house = new CallHouse();
    const caller = house.originate(paced());
    house.pacer.last.refuse(why);
    expect(caller.rejected).toMatchObject({
      status: 503,
      headers: { 'x-trunkline-reason': code, 'retry-after': '5' },
    });
    expect(house.observer.record).toMatchObject({ code, endedBy: 'gateway', sipStatus: 503 });
  });

  it('ends although the line has forgotten it', () => {
    const house = new CallHouse({ queueTimeoutMs: 10_000 });
    house.originate(paced());
    house.clock.advance(16_000);
    expect(house.pacer.last.cancelled).toBe(true);
    expect(house.observer.record).toMatchObject({
      code: 'held_too_long',
      detail: expect.stringMatching(/^no slot came in 1\d\.\d s in the line of key-1$/),
    });
  });

  it('takes a slot for each attempt, of each trunk’s own key, and shares its patience among them', () => {
    const house = new CallHouse();
    house.originate(acceptance([{ limit: 2 }, { limit: 5 }]));
    house.clock.advance(20_000);
    house.pacer.last.slot();
    house.engine.last.reject(500);
    expect(house.engine.invites.length).toBe(1);
    expect(house.pacer.last.request).toMatchObject({
      rule: { key: 'default/key-2', limit: 5 },
      timeoutMs: 40_000,
    });
    house.clock.advance(1_000);
    house.pacer.last.slot();
    expect(house.engine.last.options.target.address).toBe('203.0.113.2');
    house.engine.last.reject(486);
    expect(house.observer.record).toMatchObject({ waitedMs: 21_000, cpsKey: 'key-2' });
  });

  it('whose provider refuses it for coming too fast waits once more and slows the key', () => {
    const house = new CallHouse();
    const caller = house.originate(paced());
    house.pacer.last.slot();
    house.engine.last.reject(503);
    expect(house.pacer.slowed).toMatchObject([{ key: 'default/key-1' }]);
    expect(caller.finals).toBe(0);
    house.pacer.last.slot();
    expect(house.engine.last.options.repeat).toBeUndefined();
    house.engine.last.reject(500, [], 'Trunk CPS limit exceeded. Region: us1');
    expect(house.pacer.slowed.length).toBe(2);
    expect(caller.rejected).toMatchObject({
      status: 503,
      headers: { 'x-trunkline-reason': 'provider_cps_exceeded' },
    });
  });

  it('goes on at once where refusals are not heeded', () => {
    const house = new CallHouse({ heedPaceRefusals: false });
    house.originate(acceptance([{ limit: 1 }, {}]));
    house.pacer.last.slot();
    house.engine.last.reject(503);
    expect(house.pacer.slowed).toEqual([]);
    expect(house.engine.invites.length).toBe(2);
  });

  it('answers what the agent asks meanwhile', () => {
    const house = new CallHouse();
    const caller = house.originate(paced(), ['Require: 100rel']);
    house.pacer.last.at(4, 2_000);
    house.pacer.last.at(3, 1_500);
    // What must be acknowledged is not said every second.
    expect(caller.progressed).toMatchObject([{ status: 182, reliable: true, early: 0 }]);
    caller.events.onPrack?.(request('PRACK'), 0);
    house.pacer.last.slot();
    house.engine.last.progress(183, { body: 'v=0' });
    // A reliable 182 has an early dialog of its own: its PRACK can then be nobody else's.
    expect(caller.progressed[1]).toMatchObject({ status: 183, early: 1, reliable: true });
    expect(house.engine.misuse).toEqual([]);
  });
});

it('counts the calls of a day until midnight', () => {
  const house = new CallHouse();
  house.originate();
  expect(house.calls.usage.callsTodayOnTrunk('carrier-1')).toBe(1);
  house.clock.advance(86_400_000);
  expect(house.calls.usage.callsTodayOnTrunk('carrier-1')).toBe(0);
});

it('a refused call says in its record who called whom', () => {
  const house = new CallHouse();
  house.calls.drain();
  house.originate();
  expect(house.observer.records).toMatchObject([
    { code: 'draining', direction: 'outbound', callee: '+14155550199', caller: '+14155550123' },
  ]);
});
