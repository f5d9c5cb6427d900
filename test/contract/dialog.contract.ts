/** Confirmed dialogs: requests both ways, order, glare, target refresh, route sets, and the ways to end. */
import { expect } from 'vitest';
import { Message, OTHER_SDP, SDP } from '../kit/sip-message.js';
import { hopByHop, PeerDialog } from '../kit/sip-peer.js';
import { answeredIncoming, answeredOutgoing, incoming, type LiveCall } from './calls.js';
import { FAST, HOST, type Rig, type Scenario } from './rig.js';

const ROLES: readonly { readonly role: string; live(rig: Rig): Promise<LiveCall> }[] = [
  { role: 'with a caller', live: (rig) => answeredIncoming(rig) },
  { role: 'with a callee', live: (rig) => answeredOutgoing(rig) },
  { role: 'with a caller over TCP', live: (rig) => answeredIncoming(rig, { transport: 'tcp' }) },
  { role: 'with a callee over TCP', live: (rig) => answeredOutgoing(rig, { transport: 'tcp' }) },
];
const BOTH = ROLES.slice(0, 2);

export function dialogs(scenario: Scenario): void {
  for (const { role, live } of ROLES) {
    scenario(`requests of ours ${role} carry the dialog`, async (rig) => {
      const { peer, dialog, remote } = await live(rig);
      const body = 'm\u00e4\u0000\u00ff';
      const outcome = rig.dialogRequest(dialog, {
        method: 'MESSAGE',
        headers: [{ name: 'Content-Type', value: 'text/plain' }],
        body,
        maxForwards: 33,
      });
      const message = await peer.expect('MESSAGE');
      expect(message.callId).toBe(remote.callId);
      expect([message.tag('From'), message.tag('To')]).toEqual([remote.remoteTag, remote.localTag]);
      expect([dialog.callId, dialog.localTag, dialog.remoteTag]).toEqual([
        remote.callId,
        remote.remoteTag,
        remote.localTag,
      ]);
      expect([message.uri, message.body, message.header('Max-Forwards')]).toEqual([peer.contact, body, '33']);
      peer.respond(message, 202, 'Accepted', { headers: [['X-Answer', 'yes']], body: 'thanks' });
      const result = await outcome.next();
      expect(result.kind === 'response' && [result.response.status, result.response.body]).toEqual([
        202,
        'thanks',
      ]);
      expect(result.kind === 'response' && result.response.headers.get('x-answer')).toBe('yes');
      const info = rig.dialogRequest(dialog, { method: 'INFO' });
      const second = await peer.expect('INFO');
      expect(second.cseq).toBe(message.cseq + 1);
      peer.respond(second, 415, 'Unsupported Media Type');
      const refusal = await info.next();
      expect(refusal.kind === 'response' && refusal.response.status).toBe(415);
    });

    scenario(`requests of the peer ${role} reach the user and get its answer`, async (rig) => {
      const { peer, way, events, remote } = await live(rig);
      for (const method of ['INFO', 'MESSAGE', 'OPTIONS', 'UPDATE', 'REFER', 'NOTIFY', 'STRANGE']) {
        const octets = remote.request(method, { headers: [['X-Ask', method]], body: 'b' });
        way.send(octets);
        const request = await events.requests.next();
        expect([request.request.method, request.request.body]).toEqual([method, 'b']);
        expect(request.request.headers.get('x-ask')).toBe(method);
        request.respond(299, 'Fine', [{ name: 'X-Answer', value: method }], 'answer');
        request.respond(500, 'Twice');
        const answer = await peer.expect((message) => message.cseqMethod === method && message.status >= 200);
        expect([answer.status, answer.header('X-Answer'), answer.body]).toEqual([299, method, 'answer']);
        expect(answer.tag('To')).toBe(remote.remoteTag);
      }
      expect(events.requests.all).toHaveLength(7);
    });

    scenario(`BYE of the peer ${role} ends the dialog`, async (rig) => {
      const { peer, way, events, dialog, remote } = await live(rig);
      const bye = remote.request('BYE', { headers: [['Reason', 'Q.850;cause=16']] });
      way.send(bye);
      const ok = await peer.expect('200 BYE');
      const end = await events.ended.next();
      expect(end.kind === 'bye' && end.request.headers.get('reason')).toBe('Q.850;cause=16');
      expect(rig.gauges.dialogs).toBe(0);
      if (peer.transport === 'udp') {
        way.send(bye);
        await peer.repeated(ok, 2);
      }
      way.send(remote.request('INFO'));
      await peer.expect('481 INFO');
      way.send(remote.request('BYE'));
      await peer.expect('481 BYE');
      dialog.end();
      const outcome = await rig.dialogRequest(dialog, { method: 'INFO' }).next();
      expect(outcome.kind).toBe('fault');
      await peer.fence(rig.at(peer.transport));
      expect(peer.count('BYE') + peer.count('INFO')).toBe(0);
    });

    scenario(`BYE of ours ${role} ends the dialog`, async (rig) => {
      const { peer, way, events, dialog, remote } = await live(rig);
      dialog.end([{ name: 'Reason', value: 'SIP;cause=503;text="gone"' }]);
      dialog.end();
      const bye = await peer.expect('BYE');
      expect(bye.header('Reason')).toBe('SIP;cause=503;text="gone"');
      expect([bye.uri, bye.tag('To'), bye.tag('From')]).toEqual([
        peer.contact,
        remote.localTag,
        remote.remoteTag,
      ]);
      peer.respond(bye, 200, 'OK');
      expect(rig.gauges.dialogs).toBe(0);
      way.send(remote.request('INFO'));
      await peer.expect('481 INFO');
      expect(peer.count('BYE')).toBe(1);
      expect(events.ended.all).toEqual([]);
    });
  }

  scenario('end before the ACK of our 2xx waits for it', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    const { dialog } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    dialog.end();
    await peer.fence(rig.at('udp'));
    // §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK".
    expect(peer.count('BYE')).toBe(0);
    way.send(PeerDialog.ofCaller(peer, invite, answer).request('ACK', { cseq: invite.cseq }));
    peer.respond(await peer.expect('BYE'), 200, 'OK');
  });

  scenario(
    'a BYE of ours is repeated until it is answered',
    async (rig) => {
      const { peer, dialog } = await answeredIncoming(rig);
      dialog.end();
      const bye = await peer.expect('BYE');
      await peer.repeated(bye, 3);
      peer.respond(bye, 200, 'OK');
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario('BYEs that cross end both sides', async (rig) => {
    const { peer, way, dialog, remote } = await answeredIncoming(rig);
    dialog.end();
    const bye = await peer.expect('BYE');
    way.send(remote.request('BYE'));
    const answer = await peer.expect((message) => message.cseqMethod === 'BYE' && message.status >= 200);
    expect([200, 481]).toContain(answer.status);
    peer.respond(bye, 481, 'Call/Transaction Does Not Exist');
    expect(rig.gauges.dialogs).toBe(0);
  });

  for (const { role, live } of BOTH) {
    scenario(`re-INVITE of the peer ${role}: answer, ACK, and a new target`, async (rig) => {
      const { peer, way, dialog, events, remote } = await live(rig);
      const moved = await rig.peer();
      way.send(remote.request('INVITE', { body: OTHER_SDP, contact: moved.contact }));
      const request = await events.requests.next();
      expect([request.request.method, request.request.body]).toEqual(['INVITE', OTHER_SDP]);
      let acknowledged = '';
      request.onAck = (ack) => {
        acknowledged = ack.method;
      };
      request.respond(180, 'Ringing');
      await peer.expect('180 INVITE');
      request.respond(200, 'OK', [{ name: 'X-Re', value: 'yes' }], SDP);
      const ok = await peer.expect('200 INVITE');
      expect([ok.body, ok.header('X-Re')]).toEqual([SDP, 'yes']);
      expect(ok.contactUri).toContain(`:${rig.at('udp').port}`);
      way.send(remote.request('ACK', { cseq: ok.cseq }));
      await rig.until('the ACK reaches the re-INVITE', () => acknowledged !== '');
      // §12.2.2: the remote target is now the Contact of the re-INVITE.
      rig.dialogRequest(dialog, { method: 'INFO' });
      const info = await moved.expect('INFO');
      expect(info.uri).toBe(moved.contact);
      moved.respond(info, 200, 'OK');
    });

    scenario(`re-INVITE of ours ${role}: answer, ACK, and a new target`, async (rig) => {
      const { peer, dialog } = await live(rig);
      const moved = await rig.peer();
      const outcome = rig.dialogRequest(dialog, { method: 'INVITE', body: OTHER_SDP });
      const invite = await peer.expect('INVITE');
      expect(invite.body).toBe(OTHER_SDP);
      expect(invite.contactUri).toContain(`:${rig.at('udp').port}`);
      peer.respond(invite, 100, 'Trying');
      const octets = peer.respond(invite, 200, 'OK', { contact: moved.contact, body: SDP });
      const result = await outcome.next();
      if (result.kind !== 'response') throw new Error(result.fault.detail);
      expect(result.response.body).toBe(SDP);
      result.ack!([{ name: 'X-Ack', value: '1' }]);
      const ack = await moved.expect('ACK');
      expect([ack.cseq, ack.uri, ack.header('X-Ack')]).toEqual([invite.cseq, moved.contact, '1']);
      peer.answer(invite, octets);
      await moved.repeated(ack, 2);
    });

    scenario(`a refused re-INVITE of ours ${role} is acknowledged and the dialog lives`, async (rig) => {
      const { peer, dialog, events } = await live(rig);
      const outcome = rig.dialogRequest(dialog, { method: 'INVITE', body: OTHER_SDP });
      const invite = await peer.expect('INVITE');
      peer.respond(invite, 488, 'Not Acceptable Here');
      const result = await outcome.next();
      expect(result.kind === 'response' && [result.response.status, result.ack]).toEqual([488, undefined]);
      const ack = await peer.expect((message) => message.method === 'ACK' && message.cseq === invite.cseq);
      expect(ack.branch).toBe(invite.branch);
      expect(events.ended.all).toEqual([]);
      rig.dialogRequest(dialog, { method: 'INFO' });
      expect((await peer.expect('INFO')).cseq).toBe(invite.cseq + 1);
    });

    scenario(`UPDATE of the peer and of ours ${role} refresh the target`, async (rig) => {
      const { peer, way, dialog, events, remote } = await live(rig);
      const moved = await rig.peer();
      way.send(remote.request('UPDATE', { contact: moved.contact }));
      (await events.requests.next()).respond(200, 'OK');
      expect((await peer.expect('200 UPDATE')).contactUri).toContain(`:${rig.at('udp').port}`);
      const again = await rig.peer();
      const outcome = rig.dialogRequest(dialog, { method: 'UPDATE' });
      const update = await moved.expect('UPDATE');
      expect(update.contactUri).toContain(`:${rig.at('udp').port}`);
      moved.respond(update, 200, 'OK', { contact: again.contact });
      await outcome.next();
      dialog.end();
      expect((await again.expect('BYE')).uri).toBe(again.contact);
    });

    scenario(`a re-INVITE of the peer ${role} that is cancelled`, async (rig) => {
      const { peer, way, events, remote } = await live(rig);
      const reinvite = new Message(remote.request('INVITE', { body: OTHER_SDP }));
      way.send(reinvite.raw);
      const request = await events.requests.next();
      let cancelled = '';
      request.onCancel = (cancel) => {
        cancelled = cancel.method;
      };
      way.send(hopByHop('CANCEL', reinvite, reinvite.header('To')));
      await peer.expect('200 CANCEL');
      const terminated = await peer.expect('487 INVITE');
      await rig.until('onCancel of the re-INVITE', () => cancelled === 'CANCEL');
      way.send(hopByHop('ACK', reinvite, terminated.header('To')));
      // The dialog lives on (§14.1).
      way.send(remote.request('INFO'));
      (await events.requests.next()).respond(200, 'OK');
      await peer.expect('200 INFO');
      expect(events.ended.all).toEqual([]);
    });

    scenario(`glare ${role}: a re-INVITE that meets ours is 491`, async (rig) => {
      const { peer, way, dialog, events, remote } = await live(rig);
      const outcome = rig.dialogRequest(dialog, { method: 'INVITE', body: OTHER_SDP });
      const ours = await peer.expect('INVITE');
      way.send(remote.request('INVITE', { body: SDP }));
      await peer.expect('491 INVITE');
      // RFC 3311 §5.2: so is an UPDATE with an offer.
      way.send(remote.request('UPDATE', { body: SDP }));
      await peer.expect('491 UPDATE');
      expect(events.requests.all).toEqual([]);
      peer.respond(ours, 491, 'Request Pending');
      const result = await outcome.next();
      expect(result.kind === 'response' && result.response.status).toBe(491);
    });

    scenario(`an overlapping re-INVITE ${role} is 500 with Retry-After, ours is glare`, async (rig) => {
      const { peer, way, dialog, events, remote } = await live(rig);
      const first = remote.request('INVITE', { body: OTHER_SDP });
      way.send(first);
      const request = await events.requests.next();
      way.send(remote.request('INVITE', { body: OTHER_SDP }));
      const overlap = await peer.expect('500 INVITE');
      // §14.2: "a randomly chosen value of between 0 and 10 seconds".
      const retryAfter = overlap.header('Retry-After');
      expect(retryAfter).toMatch(/^\d+$/);
      expect(Number(retryAfter)).toBeLessThanOrEqual(10);
      const outcome = await rig.dialogRequest(dialog, { method: 'INVITE', body: SDP }).next();
      expect(outcome.kind === 'fault' && outcome.fault.kind).toBe('glare');
      request.respond(200, 'OK', [], SDP);
      await peer.expect('200 INVITE');
      way.send(remote.request('ACK', { cseq: new Message(first).cseq }));
      await peer.fence(rig.at('udp'));
      expect(events.requests.all).toHaveLength(1);
      expect(peer.count('INVITE')).toBe(role.includes('callee') ? 1 : 0);
    });

    scenario(
      `requests ${role} below the last CSeq are 500, repeated ones are not told twice`,
      async (rig) => {
        const { peer, way, events, remote } = await live(rig);
        const octets = remote.request('INFO', { cseq: 5_000 });
        way.send(octets);
        (await events.requests.next()).respond(200, 'OK');
        const ok = await peer.expect('200 INFO');
        way.send(octets);
        await peer.repeated(ok, 2);
        // §12.2.2: lower than the remote sequence number is out of order, a gap is none.
        way.send(remote.request('INFO', { cseq: 4_999 }));
        await peer.expect('500 INFO');
        way.send(remote.request('INFO', { cseq: 7_000 }));
        (await events.requests.next()).respond(200, 'OK');
        await peer.expect('200 INFO');
        expect(events.requests.all).toHaveLength(2);
        expect(events.ended.all).toEqual([]);
      },
    );

    // §12.2.1.2. An INFO that times out says less (RFC 5057 §5.1), so engines may differ there.
    for (const [status, method] of [
      [481, 'INFO'],
      [481, 'INVITE'],
      [408, 'UPDATE'],
      [408, 'INVITE'],
    ] as const) {
      scenario(`a ${status} to ${method} of ours ${role}: the dialog is gone`, async (rig) => {
        const { peer, dialog, events } = await live(rig);
        const outcome = rig.dialogRequest(dialog, { method, body: OTHER_SDP });
        peer.respond(await peer.expect(method), status, 'Gone');
        const result = await outcome.next();
        expect(result.kind === 'response' && result.response.status).toBe(status);
        expect((await events.ended.next()).kind).toBe('gone');
        peer.respond(await peer.expect('BYE'), 200, 'OK');
        expect(rig.gauges.dialogs).toBe(0);
      });
    }
  }

  scenario(
    'silence to UPDATE of ours: the dialog is gone',
    async (rig) => {
      const { peer, dialog, events } = await answeredIncoming(rig);
      const outcome = rig.dialogRequest(dialog, { method: 'UPDATE' });
      const result = await outcome.next();
      expect(result.kind === 'fault' && result.fault.kind).toBe('timeout');
      expect((await events.ended.next()).kind).toBe('gone');
      peer.respond(await peer.expect('BYE'), 200, 'OK');
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario(
    'the 2xx to a re-INVITE is retransmitted until its ACK, and BYE ends the call when none comes',
    async (rig) => {
      const { peer, way, events, remote } = await answeredIncoming(rig);
      way.send(remote.request('INVITE', { body: OTHER_SDP }));
      (await events.requests.next()).respond(200, 'OK', [], SDP);
      const ok = await peer.expect('200 INVITE');
      await peer.repeated(ok, 3);
      way.send(remote.request('ACK', { cseq: ok.cseq }));
      await peer.fence(rig.at('udp'));
      way.send(remote.request('INVITE', { body: OTHER_SDP }));
      (await events.requests.next()).respond(200, 'OK', [], SDP);
      await peer.expect('200 INVITE');
      peer.respond(await peer.expect('BYE'), 200, 'OK');
      // §14.2: "the UAS SHOULD generate a BYE to terminate the dialog".
      expect((await events.ended.next()).kind).toBe('no-ack');
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario('requests for dialogs that do not exist are 481, an ACK meets silence', async (rig) => {
    const { peer, way, events, remote } = await answeredIncoming(rig);
    const to = rig.at('udp');
    const stray = { to, callId: remote.callId, fromTag: remote.localTag, toTag: remote.remoteTag, cseq: 900 };
    for (const method of ['BYE', 'INFO', 'INVITE', 'UPDATE', 'PRACK', 'NOTIFY', 'MESSAGE', 'OPTIONS']) {
      const strays = [
        { ...stray, toTag: 'nobody' },
        { ...stray, callId: 'another-call' },
        { ...stray, fromTag: 'another-tag' },
      ];
      for (const options of strays) {
        const octets = peer.request({ method, ...options });
        way.send(octets);
        const answer = await peer.expect((message) => message.branch === new Message(octets).branch);
        expect([method, answer.status]).toEqual([method, 481]);
        if (method === 'INVITE') way.send(hopByHop('ACK', new Message(octets), answer.header('To')));
      }
    }
    const before = peer.received.length;
    way.send(peer.request({ method: 'ACK', ...stray, toTag: 'nobody' }));
    way.send(peer.request({ method: 'ACK', to }));
    await peer.fence(to);
    expect(peer.received.length).toBe(before + 1);
    expect([events.requests.all, events.ended.all, rig.requests.all]).toEqual([[], [], []]);
  });

  scenario('requests in a dialog go by the route set of a caller', async (rig) => {
    const proxy = await rig.peer();
    const { peer, dialog } = await answeredIncoming(rig, {
      headers: [
        ['Record-Route', `<sip:${proxy.hostPort};lr;x=1>`],
        ['Record-Route', '<sip:far.example;lr>'],
      ],
    });
    dialog.end();
    const bye = await proxy.expect('BYE');
    // §12.1.1: a UAS takes the route set in order.
    expect(bye.uri).toBe(peer.contact);
    expect(bye.all('Route').join(', ')).toBe(`<sip:${proxy.hostPort};lr;x=1>, <sip:far.example;lr>`);
    expect(peer.count('BYE')).toBe(0);
  });

  scenario('requests in a dialog go by the route set of a callee, the ACK too', async (rig) => {
    const proxy = await rig.peer();
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP });
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 200, 'OK', {
      contact: peer.contact,
      headers: [
        ['Record-Route', '<sip:far.example;lr>'],
        ['Record-Route', `<sip:${proxy.hostPort};lr>`],
      ],
      body: SDP,
    });
    const { dialog, ack } = await record.answers.next();
    ack();
    const acknowledged = await proxy.expect('ACK');
    // §12.1.2: a UAC takes it in reverse order.
    const routes = `<sip:${proxy.hostPort};lr>, <sip:far.example;lr>`;
    expect([acknowledged.uri, acknowledged.all('Route').join(', ')]).toEqual([peer.contact, routes]);
    dialog.end();
    const bye = await proxy.expect('BYE');
    expect([bye.uri, bye.all('Route').join(', ')]).toEqual([peer.contact, routes]);
    expect(peer.count('ACK') + peer.count('BYE')).toBe(0);
  });

  scenario('a strict router gets what it needs', async (rig) => {
    const strict = await rig.peer();
    const { peer, dialog } = await answeredIncoming(rig, {
      headers: [['Record-Route', `<sip:${strict.hostPort}>, <sip:far.example;lr>`]],
    });
    dialog.end();
    const bye = await strict.expect('BYE');
    // §12.2.1.1: the first route becomes the Request-URI, the remote target the last Route value.
    expect(bye.uri).toBe(`sip:${strict.hostPort}`);
    expect(bye.all('Route').join(', ')).toBe(`<sip:far.example;lr>, <${peer.contact}>`);
  });

  scenario('a re-INVITE changes no route set', async (rig) => {
    const { peer, way, dialog, events, remote } = await answeredIncoming(rig);
    const proxy = await rig.peer();
    way.send(
      remote.request('INVITE', {
        body: OTHER_SDP,
        headers: [['Record-Route', `<sip:${proxy.hostPort};lr>`]],
      }),
    );
    (await events.requests.next()).respond(200, 'OK', [], SDP);
    const ok = await peer.expect('200 INVITE');
    way.send(remote.request('ACK', { cseq: ok.cseq }));
    dialog.end();
    expect((await peer.expect('BYE')).has('Route')).toBe(false);
    expect(proxy.received).toEqual([]);
  });

  scenario('a Contact with a host name is answered where the peer speaks from', async (rig) => {
    const { peer, dialog } = await answeredIncoming(rig, { contact: 'sip:peer@does-not-exist.invalid' });
    expect(dialog.remote).toMatchObject({ transport: 'udp', address: HOST, port: peer.port });
    dialog.end();
    expect((await peer.expect('BYE')).uri).toBe('sip:peer@does-not-exist.invalid');
  });

  scenario('the dialog knows where the peer speaks from now', async (rig) => {
    const { dialog, events, remote } = await answeredIncoming(rig);
    const moved = await rig.peer();
    (await moved.way(rig.at('udp'))).send(remote.request('INFO'));
    (await events.requests.next()).respond(200, 'OK');
    expect(dialog.remote.port).toBe(moved.port);
  });

  scenario('a lost ACK is made good by the next request of the caller', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    const { events } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    const remote = PeerDialog.ofCaller(peer, invite, answer);
    way.send(remote.request('INFO'));
    (await events.requests.next()).respond(200, 'OK');
    await peer.expect('200 INFO');
    way.send(remote.request('BYE'));
    await peer.expect('200 BYE');
    expect((await events.ended.next()).kind).toBe('bye');
  });

  scenario('BYE answers a re-INVITE that waits', async (rig) => {
    const { peer, way, events, remote } = await answeredIncoming(rig);
    way.send(remote.request('INVITE', { body: OTHER_SDP }));
    const request = await events.requests.next();
    way.send(remote.request('BYE'));
    await peer.expect('200 BYE');
    // §15.1.2: pending requests get 487.
    await peer.expect('487 INVITE');
    expect((await events.ended.next()).kind).toBe('bye');
    request.respond(200, 'OK', [], SDP);
    await peer.fence(rig.at('udp'));
    expect(peer.count('200 INVITE')).toBe(1);
  });
}
