/** Requests outside dialogs, and the screen for strangers. */
import { expect } from 'vitest';
import { Message, SDP } from '../kit/sip-message.js';
import { answeredIncoming, incoming } from './calls.js';
import { FAST, HOST, type Scenario } from './rig.js';

export function requests(scenario: Scenario): void {
  scenario('a request goes out as asked and brings its answer', async (rig) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const peer = await rig.peer(transport);
      const outcome = rig.request(peer, {
        method: 'REGISTER',
        uri: 'sip:registrar.example',
        from: '<sip:acme@registrar.example>',
        to: '<sip:acme@registrar.example>',
        contact: '<sip:token@192.0.2.1:5060>;expires=300',
        callId: 'fixed-call-id',
        fromTag: 'fixed-tag',
        cseq: 41,
        maxForwards: 5,
        route: ['<sip:edge.example;lr>'],
        headers: [{ name: 'Expires', value: '300' }],
        body: 'b',
      });
      const register = await peer.expect('REGISTER');
      expect(register.startLine).toBe('REGISTER sip:registrar.example SIP/2.0');
      expect(register.header('From')).toBe('<sip:acme@registrar.example>;tag=fixed-tag');
      expect(register.header('To')).toBe('<sip:acme@registrar.example>');
      expect(register.header('Contact')).toBe('<sip:token@192.0.2.1:5060>;expires=300');
      expect([register.callId, register.header('CSeq'), register.header('Max-Forwards')]).toEqual([
        'fixed-call-id',
        '41 REGISTER',
        '5',
      ]);
      expect([register.header('Route'), register.header('Expires'), register.body]).toEqual([
        '<sip:edge.example;lr>',
        '300',
        'b',
      ]);
      peer.respond(register, 100, 'Trying');
      peer.respond(register, 423, 'Interval Too Brief', { headers: [['Min-Expires', '600']] });
      const result = await outcome.next();
      if (result.kind !== 'response') throw new Error(result.fault.detail);
      expect([result.response.status, result.response.headers.get('min-expires')]).toEqual([423, '600']);
      expect(result.source).toMatchObject({ transport, address: HOST, port: peer.port });
      peer.respond(register, 200, 'OK');
      await peer.fence(rig.at(transport));
      expect(outcome.all).toHaveLength(1);
    }
  });

  scenario('defaults of a request: fresh Call-ID and tag, Max-Forwards 70, no Contact', async (rig) => {
    const peer = await rig.peer();
    const first = rig.request(peer);
    const one = await peer.expect('OPTIONS');
    peer.respond(one, 200, 'OK');
    await first.next();
    const second = rig.request(peer);
    const two = await peer.expect('OPTIONS');
    peer.respond(two, 200, 'OK');
    await second.next();
    expect([one.header('Max-Forwards'), one.has('Contact')]).toEqual(['70', false]);
    expect(one.tag('From')).not.toBe('');
    expect([one.callId, one.tag('From'), one.branch]).not.toEqual([two.callId, two.tag('From'), two.branch]);
  });

  scenario(
    'a request is retransmitted over UDP until it is answered',
    async (rig) => {
      const peer = await rig.peer();
      const outcome = rig.request(peer);
      const options = await peer.expect('OPTIONS');
      await peer.repeated(options, 3);
      peer.respond(options, 200, 'OK');
      expect((await outcome.next()).kind).toBe('response');
      await rig.idle();
    },
    { timers: FAST },
  );

  for (const transport of ['udp', 'tcp'] as const) {
    scenario(
      `silence to a request is a time-out, heard or not (${transport})`,
      async (rig) => {
        const silent = await rig.peer(transport);
        const nothing = await rig.request(silent).next();
        expect(nothing.kind === 'fault' && nothing.fault).toMatchObject({ kind: 'timeout', heard: false });
        if (transport === 'tcp') expect(silent.count('OPTIONS')).toBe(1);
        const trying = await rig.peer(transport);
        const outcome = rig.request(trying);
        trying.respond(await trying.expect('OPTIONS'), 100, 'Trying');
        const heard = await outcome.next();
        expect(heard.kind === 'fault' && heard.fault).toMatchObject({ kind: 'timeout', heard: true });
      },
      { timers: FAST },
    );
  }

  scenario('requests outside dialogs reach the user, once each', async (rig) => {
    rig.autoAnswer = () => false;
    for (const transport of ['udp', 'tcp'] as const) {
      const peer = await rig.peer(transport);
      const to = rig.at(transport);
      const way = await peer.way(to);
      for (const method of ['OPTIONS', 'REGISTER', 'MESSAGE', 'NOTIFY', 'SUBSCRIBE', 'PUBLISH', 'STRANGE']) {
        const octets = peer.request({ method, to, body: 'b\u00e9' });
        way.send(octets);
        const incoming = await rig.requests.next();
        expect([incoming.request.method, incoming.request.body]).toEqual([method, 'b\u00e9']);
        expect(incoming.source).toMatchObject({ transport, address: HOST });
        incoming.respond(299, 'Fine', [{ name: 'X-Answer', value: method }], 'answer');
        incoming.respond(500, 'Twice');
        const answer = await peer.expect((message) => message.cseqMethod === method);
        expect([answer.status, answer.reason, answer.header('X-Answer'), answer.body]).toEqual([
          299,
          'Fine',
          method,
          'answer',
        ]);
        const sent = new Message(octets);
        expect(answer.branch).toBe(sent.branch);
        expect([answer.header('From'), answer.callId]).toEqual([sent.header('From'), sent.callId]);
        // §8.2.6.2: a To tag is added.
        expect(answer.tag('To')).not.toBe('');
        if (transport === 'udp') {
          way.send(octets);
          await peer.repeated(answer, 2);
        }
      }
    }
    expect(rig.requests.all).toHaveLength(14);
  });

  scenario('Max-Forwards is told as it came', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer();
    const to = rig.at('udp');
    (await peer.way(to)).send(peer.request({ method: 'OPTIONS', to, maxForwards: 0 }));
    const { request, respond } = await rig.requests.next();
    expect(request.maxForwards).toBe(0);
    expect(respond).toBeTypeOf('function');
  });

  scenario('the same request by two ways is merged: 482', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer();
    const to = rig.at('udp');
    const way = await peer.way(to);
    const octets = peer.request({ method: 'MESSAGE', to });
    way.send(octets);
    const first = await rig.requests.next();
    const { branch } = new Message(octets);
    way.send(octets.replace(branch, `${branch}other`));
    // §8.2.2.2.
    const merged = await peer.expect(482);
    expect(merged.branch).toBe(`${branch}other`);
    expect(rig.notices).toContainEqual(expect.objectContaining({ kind: 'rejected', status: 482 }));
    first.respond(200, 'OK');
    await peer.expect('200 MESSAGE');
    expect(rig.requests.all).toHaveLength(1);
  });

  scenario('line ends and NUL of a user never leave in an answer', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer();
    const to = rig.at('udp');
    const way = await peer.way(to);
    for (const value of ['x\r\nX-Evil: 1', 'x\nX-Evil: 1', 'x\rX-Evil: 1', 'x\u0000y']) {
      const octets = peer.request({ method: 'MESSAGE', to });
      way.send(octets);
      const incoming = await rig.requests.next();
      const answers: [string, { name: string; value: string }[]][] = [
        ['Fine', [{ name: 'X-A', value }]],
        ['Fine', [{ name: value, value: 'a' }]],
        [value, []],
      ];
      for (const [reason, headers] of answers) {
        try {
          incoming.respond(299, reason, headers);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
      incoming.respond(480, 'Temporarily Unavailable');
      const { callId } = new Message(octets);
      // What was refused is not sent, and the request can still be answered.
      const answer = await peer.expect((message) => message.callId === callId && message.status >= 200);
      expect(answer.has('X-Evil')).toBe(false);
      expect(answer.raw.replaceAll('\r\n', '')).not.toMatch(/[\r\n\u0000]/);
    }
  });

  scenario('who is dropped meets silence and is not heard', async (rig) => {
    const stranger = await rig.peer('udp', { host: '127.0.0.2' });
    const known = await rig.peer();
    rig.standing = (source) => (source.address === '127.0.0.2' ? 'drop' : 'known');
    const to = rig.at('udp');
    const way = await stranger.way(to);
    for (const method of ['INVITE', 'OPTIONS', 'BYE', 'ACK', 'CANCEL'])
      way.send(stranger.request({ method, to }));
    way.send('OPTIONS nonsense\r\n\r\n');
    await known.fence(to);
    rig.standing = () => 'known';
    await stranger.fence(to);
    expect(stranger.received).toHaveLength(1);
    expect([rig.invites.all, rig.requests.all]).toEqual([[], []]);
    expect(rig.gauges.transactions).toBeLessThanOrEqual(2);
  });

  scenario(
    'a stranger gets one short answer without retransmission, and nothing is kept of it',
    async (rig) => {
      rig.standing = () => 'stranger';
      rig.autoAnswer = () => false;
      const peer = await rig.peer();
      const to = rig.at('udp');
      const way = await peer.way(to);
      const invite = peer.request({ method: 'INVITE', to, body: SDP });
      rig.onInvite = (record) => record.invite.reject(403, 'Forbidden');
      way.send(invite);
      const refusal = await peer.expect('403 INVITE');
      expect(peer.bytes).toBeLessThanOrEqual(invite.length);
      expect(rig.gauges).toMatchObject({ transactions: 0, dialogs: 0, timers: 0 });
      // §8.2.7: a stateless UAS answers a retransmission the same, with the same To tag.
      way.send(invite);
      const copies = await peer.repeated(refusal, 2);
      expect(copies).toHaveLength(2);
      expect(peer.received.filter(({ status }) => status === 100)).toEqual([]);
      const longAnswer = peer.request({ method: 'OPTIONS', to });
      way.send(longAnswer);
      const before = peer.bytes;
      (await rig.requests.next()).respond(200, 'OK', [{ name: 'X-Long', value: 'x'.repeat(2_000) }], SDP);
      way.send(peer.request({ method: 'MESSAGE', to }));
      (await rig.requests.next()).respond(403, 'Forbidden');
      await peer.expect('403 MESSAGE');
      const answers = peer.received.filter(({ cseqMethod }) => cseqMethod === 'OPTIONS');
      expect(answers.length).toBeLessThanOrEqual(1);
      for (const { raw } of answers) expect(raw.length).toBeLessThanOrEqual(longAnswer.length);
      expect(peer.bytes - before).toBeLessThanOrEqual(2 * longAnswer.length + 100);
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario(
    'a refusal of a stranger keeps what matters where there is no room for all, and all of it over TCP',
    async (rig) => {
      rig.standing = () => 'stranger';
      rig.autoAnswer = () => false;
      const [first, second] = ['a'.repeat(100), 'b'.repeat(100)];
      rig.onInvite = (record) =>
        record.invite.reject(401, 'Unauthorized', [
          { name: 'X-First', value: first, ifRoom: true },
          { name: 'X-Second', value: second },
        ]);
      for (const transport of ['udp', 'tcp'] as const) {
        const peer = await rig.peer(transport);
        const to = rig.at(transport);
        const way = await peer.way(to);
        for (const [pad, shown] of [
          [70, transport === 'udp' ? [[], [second]] : [[first], [second]]],
          [200, [[first], [second]]],
        ] as const) {
          const octets = peer.request({ method: 'INVITE', to, headers: [['X-Pad', 'z'.repeat(pad)]] });
          way.send(octets);
          const { callId } = new Message(octets);
          const answer = await peer.expect((message) => message.callId === callId);
          expect(answer.status).toBe(401);
          expect([answer.all('X-First'), answer.all('X-Second')]).toEqual(shown);
          if (transport === 'udp') expect(answer.raw.length).toBeLessThanOrEqual(octets.length);
        }
      }
    },
    { timers: FAST },
  );

  scenario('a stranger whose INVITE takes its time gets no 100', async (rig) => {
    rig.standing = () => 'stranger';
    const { peer, record } = await incoming(rig);
    const slow = await rig.peer('udp', { host: '127.0.0.2' });
    rig.standing = (source) => (source.address === HOST ? 'stranger' : 'known');
    // A known one shows that the time of a 100 has passed (200 ms, §17.2.1).
    const known = await incoming(rig, { peer: slow });
    await slow.expect(100);
    record.invite.reject(403, 'Forbidden');
    await peer.expect(403);
    expect(peer.received).toHaveLength(1);
    known.record.invite.reject(403, 'Forbidden');
    await slow.expect(403);
  });

  scenario(
    'malformed messages of a stranger get at most one answer, no longer than they are',
    async (rig) => {
      rig.standing = () => 'stranger';
      const peer = await rig.peer();
      const to = rig.at('udp');
      const way = await peer.way(to);
      const good = peer.request({ method: 'OPTIONS', to });
      const bad = [
        good.replace('Call-ID', 'X-Call-ID'),
        good.replace(/^To: .*\r\n/m, ''),
        good.replace('SIP/2.0\r\n', 'SIP/7.0\r\n'),
        good.replace(/^(CSeq: .*\r\n)/m, '$1$1'),
        'x',
        '\r\n\r\n',
        `OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP ${peer.hostPort};branch=z9hG4bKshort\r\n\r\n`,
      ];
      for (const octets of bad) {
        const [count, bytes] = [peer.received.length, peer.bytes];
        way.send(octets);
        rig.standing = (source) => (source.port === peer.port ? 'stranger' : 'known');
        const fence = await rig.peer();
        await fence.fence(to);
        expect(peer.received.length - count).toBeLessThanOrEqual(1);
        expect(peer.bytes - bytes).toBeLessThanOrEqual(octets.length);
      }
    },
  );

  scenario('progress makes a stranger known', async (rig) => {
    rig.standing = () => 'stranger';
    rig.autoAnswer = () => false;
    const live = await answeredIncoming(rig);
    live.dialog.end();
    live.peer.respond(await live.peer.expect('BYE'), 200, 'OK');
    const { peer, way, invite, record } = await incoming(rig);
    record.invite.progress({ status: 180, reason: 'Ringing' });
    const ringing = await peer.expect(180);
    way.send(invite.raw);
    await peer.repeated(ringing, 2);
    expect(rig.invites.all).toHaveLength(2);
  });
}
