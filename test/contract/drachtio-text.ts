/**
 * Tests of the contract that a drachtio-server skips for one detail (octets that are not UTF-8, %61 in a URI, Route,
 * status 202), without that detail, and what this engine does that the other need not.
 */
import { expect } from 'vitest';
import { SDP } from '../kit/sip-message.js';
import { PeerDialog } from '../kit/sip-peer.js';
import { answeredIncoming, answeredOutgoing, incoming, type LiveCall } from './calls.js';
import { HOST, type Rig, type Scenario } from './rig.js';

/** UTF-8 of "Zoë", as octets. */
const UTF8 = 'Zo\u00c3\u00ab';

export function inText(scenario: Scenario): void {
  scenario('an INVITE goes out as asked, in UTF-8', async (rig) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const peer = await rig.peer(transport);
      const record = rig.call(peer, {
        uri: 'sip:agent@agents.example;user=phone',
        from: `"${UTF8}" <sip:+14155550100@example.com>`,
        to: '<sip:agent@agents.example>',
        contactUser: '+14155550100',
        maxForwards: 12,
        headers: [
          { name: 'X-Order', value: '1' },
          { name: 'Supported', value: '100rel' },
          { name: 'X-Order', value: UTF8 },
          { name: 'Content-Type', value: 'application/x-text' },
        ],
        body: `s=${UTF8}\r\n\r\nmore`,
      });
      const invite = await peer.expect('INVITE');
      expect(invite.startLine).toBe('INVITE sip:agent@agents.example;user=phone SIP/2.0');
      expect(invite.header('From')).toBe(
        `"${UTF8}" <sip:+14155550100@example.com>;tag=${invite.tag('From')}`,
      );
      expect(invite.contactUri).toContain(`14155550100@${HOST}:${rig.at(transport).port}`);
      expect(invite.header('Max-Forwards')).toBe('12');
      expect(invite.all('X-Order')).toEqual(['1', UTF8]);
      expect(invite.all('Supported')).toEqual(['100rel']);
      expect(invite.body).toBe(`s=${UTF8}\r\n\r\nmore`);
      expect(await record.sent.next()).toEqual({
        callId: invite.callId,
        fromTag: invite.tag('From'),
        cseq: invite.cseq,
      });
      peer.respond(invite, 480, 'Temporarily Unavailable');
      await record.rejects.next();
    }
  });

  scenario('REGISTER goes out as asked', async (rig) => {
    const peer = await rig.peer();
    const outcome = rig.request(peer, {
      method: 'REGISTER',
      uri: 'sip:registrar.example',
      from: '<sip:acme@registrar.example>',
      to: '<sip:acme@registrar.example>',
      contact: '<sip:token@192.0.2.1:5060>;expires=300',
      callId: 'fixed-call-id',
      fromTag: 'fixed-tag',
      cseq: 41,
      headers: [{ name: 'Expires', value: '300' }],
    });
    const register = await peer.expect('REGISTER');
    expect(register.startLine).toBe('REGISTER sip:registrar.example SIP/2.0');
    expect(register.header('From')).toBe('<sip:acme@registrar.example>;tag=fixed-tag');
    expect(register.header('Contact')).toBe('<sip:token@192.0.2.1:5060>;expires=300');
    expect([register.callId, register.header('CSeq')]).toEqual(['fixed-call-id', '41 REGISTER']);
    peer.respond(register, 423, 'Interval Too Brief', { headers: [['Min-Expires', '600']] });
    const result = await outcome.next();
    expect(result.kind === 'response' && result.response.headers.get('min-expires')).toBe('600');
  });

  const roles: readonly (readonly [string, (rig: Rig) => Promise<LiveCall>])[] = [
    ['caller', (rig) => answeredIncoming(rig)],
    ['callee', (rig) => answeredOutgoing(rig)],
  ];
  for (const [role, live] of roles) {
    scenario(`requests of ours with a ${role} carry the dialog, in UTF-8`, async (rig) => {
      const { peer, dialog, remote } = await live(rig);
      const outcome = rig.dialogRequest(dialog, {
        method: 'MESSAGE',
        headers: [{ name: 'Content-Type', value: 'text/plain' }],
        body: UTF8,
        maxForwards: 33,
      });
      const message = await peer.expect('MESSAGE');
      expect([message.callId, message.tag('From'), message.tag('To')]).toEqual([
        remote.callId,
        remote.remoteTag,
        remote.localTag,
      ]);
      expect([message.uri, message.body, message.header('Max-Forwards')]).toEqual([peer.contact, UTF8, '33']);
      peer.respond(message, 202, 'Accepted', { body: 'thanks' });
      const result = await outcome.next();
      expect(result.kind === 'response' && [result.response.status, result.response.body]).toEqual([
        202,
        'thanks',
      ]);
    });
  }

  scenario('an answer carries reason, headers and body, and any 2xx is 200', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    const { events } = rig.accept(record, {
      status: 202,
      reason: 'Accepted',
      headers: [
        { name: 'X-Two', value: 'a' },
        { name: 'X-Two', value: UTF8 },
      ],
      body: SDP,
    });
    const answer = await peer.expect('200 INVITE');
    expect([answer.reason, answer.all('X-Two'), answer.body]).toEqual(['Accepted', ['a', UTF8], SDP]);
    way.send(PeerDialog.ofCaller(peer, invite, answer).request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
  });

  scenario(
    'what is too large for the connection to the server is a capacity fault, and the next goes out',
    async (rig) => {
      const peer = await rig.peer();
      const huge = rig.call(peer, { body: `v=0\r\n${'x'.repeat(14_000)}` });
      expect((await huge.faults.next()).kind).toBe('capacity');
      const large = rig.call(peer, { body: `v=0\r\n${'x'.repeat(8_000)}` });
      const small = rig.call(peer, { body: SDP });
      for (let i = 0; i < 2; i++) peer.respond(await peer.expect('INVITE'), 486, 'Busy Here');
      await Promise.all([large.rejects.next(), small.rejects.next()]);
    },
  );

  scenario('each peer is asked to refresh its own leg of a session', async (rig) => {
    const callee = await rig.peer();
    const record = rig.call(callee, {
      headers: [
        { name: 'Supported', value: 'timer' },
        { name: 'Session-Expires', value: '90;refresher=uac' },
      ],
      body: SDP,
    });
    const invite = await callee.expect('INVITE');
    expect(invite.all('Session-Expires')).toEqual(['90;refresher=uas']);
    callee.respond(invite, 486, 'Busy Here');
    await record.rejects.next();

    const {
      peer,
      invite: asked,
      record: call,
    } = await incoming(rig, {
      headers: [
        ['Supported', 'timer'],
        ['Session-Expires', '90'],
      ],
    });
    const headers = [{ name: 'Session-Expires', value: '90;refresher=uas' }];
    const { dialog } = rig.accept(call, { headers, body: SDP });
    const answer = await peer.expect('200 INVITE');
    expect(answer.all('Session-Expires')).toEqual(['90;refresher=uac']);
    const way = await peer.way(rig.at('udp'));
    way.send(PeerDialog.ofCaller(peer, asked, answer).request('ACK', { cseq: asked.cseq }));
    dialog.end();
    peer.respond(await peer.expect('BYE'), 200, 'OK');
  });
}
