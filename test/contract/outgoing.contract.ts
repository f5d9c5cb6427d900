/** An outgoing INVITE: what is on the wire, provisional responses, forks, answer, CANCEL, faults, PRACK. */
import { expect } from 'vitest';
import { OTHER_SDP, parameter, SDP } from '../kit/sip-message.js';
import { PeerDialog, type Received, type SipPeer } from '../kit/sip-peer.js';
import { answeredOutgoing } from './calls.js';
import { FAST, HOST, type OutgoingRecord, PLAIN, type Rig, type Scenario } from './rig.js';
import { tlsCertificates } from './tls.js';

/** A callee that has the INVITE and has said 180. */
async function ringing(
  rig: Rig,
  transport: 'udp' | 'tcp' = 'udp',
): Promise<{ peer: SipPeer; record: OutgoingRecord; invite: Received }> {
  const peer = await rig.peer(transport);
  const record = rig.call(peer, { body: SDP });
  const invite = await peer.expect('INVITE');
  peer.respond(invite, 180, 'Ringing', { contact: peer.contact });
  await record.progress.next();
  return { peer, record, invite };
}

const RELIABLE_183 = (rseq: number): { headers: readonly (readonly [string, string])[] } => ({
  headers: [
    ['Require', '100rel'],
    ['RSeq', String(rseq)],
  ],
});

export function outgoingInvite(scenario: Scenario): void {
  scenario('an INVITE goes out as asked', async (rig) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const peer = await rig.peer(transport);
      const body = `s=\u00e9\u0000\u00ff\r\n`;
      const record = rig.call(peer, {
        uri: 'sip:%61gent@agents.example;user=phone',
        from: '"A \\"B\\" C" <sip:+14155550100@example.com>',
        to: '<sip:agent@agents.example>',
        contactUser: '+14155550100',
        maxForwards: 12,
        route: ['<sip:first.example;lr>', '<sip:second.example;lr>'],
        headers: [
          { name: 'X-Order', value: '1' },
          { name: 'Supported', value: '100rel' },
          { name: 'X-Order', value: '2' },
          { name: 'Content-Type', value: 'application/x-octets' },
        ],
        body,
      });
      const invite = await peer.expect('INVITE');
      expect(invite.startLine).toBe('INVITE sip:%61gent@agents.example;user=phone SIP/2.0');
      expect(invite.all('Via')).toHaveLength(1);
      expect(invite.header('Via')).toContain(
        `SIP/2.0/${transport.toUpperCase()} 127.0.0.1:${rig.at(transport).port}`,
      );
      expect(invite.branch.startsWith('z9hG4bK')).toBe(true);
      // RFC 3581: asked for, so that the answer finds its way through a NAT.
      if (transport === 'udp') expect(invite.header('Via')).toMatch(/;rport(;|$)/);
      const fromTag = invite.tag('From');
      expect(invite.header('From')).toBe(`"A \\"B\\" C" <sip:+14155550100@example.com>;tag=${fromTag}`);
      expect(fromTag.length).toBeGreaterThanOrEqual(7);
      expect(invite.header('To')).toBe('<sip:agent@agents.example>');
      expect(invite.contactUri).toMatch(
        new RegExp(`^sip:(\\+|%2B)14155550100@127\\.0\\.0\\.1:${rig.at(transport).port}`),
      );
      expect(invite.header('Max-Forwards')).toBe('12');
      expect(invite.all('Route').join(', ')).toBe('<sip:first.example;lr>, <sip:second.example;lr>');
      expect(invite.all('X-Order')).toEqual(['1', '2']);
      expect(invite.all('Supported')).toEqual(['100rel']);
      expect(invite.all('Content-Length')).toEqual([String(body.length)]);
      expect(invite.body).toBe(body);
      expect(await record.sent.next()).toEqual({
        callId: invite.callId,
        fromTag,
        cseq: invite.cseq,
      });
      peer.respond(invite, 480, 'Temporarily Unavailable');
      await record.rejects.next();
    }
  });

  scenario('without a body there is no Content-Type and Max-Forwards is 70', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer);
    const invite = await peer.expect('INVITE');
    expect(invite.header('Max-Forwards')).toBe('70');
    expect(invite.header('Content-Length')).toBe('0');
    expect(invite.has('Content-Type')).toBe(false);
    peer.respond(invite, 480, 'Temporarily Unavailable');
    await record.rejects.next();
  });

  scenario('provisional responses of forks are told apart by their To tags', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP });
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 100, 'Trying');
    peer.respond(invite, 180, 'Ringing', { toTag: 'one', contact: peer.contact });
    peer.respond(invite, 183, 'Session Progress', { toTag: 'two', contact: peer.contact, body: SDP });
    peer.respond(invite, 181, 'Call Is Being Forwarded', { toTag: 'one', contact: peer.contact });
    const seen = [];
    for (let i = 0; i < 4; i++) {
      const { response, early, reliable } = await record.progress.next();
      seen.push([response.status, early, reliable, response.body]);
    }
    expect(seen).toEqual([
      [100, -1, false, ''],
      [180, 0, false, ''],
      [183, 1, false, SDP],
      [181, 0, false, ''],
    ]);
    peer.respond(invite, 200, 'OK', { toTag: 'two', contact: peer.contact, body: SDP });
    const answer = await record.answers.next();
    expect(answer.early).toBe(1);
    expect(answer.dialog.remoteTag).toBe('two');
    answer.ack();
    expect((await peer.expect('ACK')).tag('To')).toBe('two');
  });

  for (const transport of ['udp', 'tcp'] as const) {
    scenario(`the answer is acknowledged, each copy of it again (${transport})`, async (rig) => {
      const peer = await rig.peer(transport);
      const record = rig.call(peer, { body: SDP });
      const invite = await peer.expect('INVITE');
      const octets = peer.respond(invite, 200, 'OK', { contact: peer.contact, body: OTHER_SDP });
      const { response, dialog, ack } = await record.answers.next();
      expect(response.body).toBe(OTHER_SDP);
      expect([dialog.callId, dialog.localTag, dialog.remoteTag]).toEqual([
        invite.callId,
        invite.tag('From'),
        'uas',
      ]);
      expect(dialog.remote).toMatchObject({ transport, address: HOST });
      ack([{ name: 'X-Ack', value: 'yes' }]);
      const first = await peer.expect('ACK');
      // §13.2.2.4: CSeq number of the INVITE, a branch of its own, to the Contact.
      expect(first.header('CSeq')).toBe(`${invite.cseq} ACK`);
      expect(first.branch).not.toBe(invite.branch);
      expect(first.uri).toBe(peer.contact);
      expect([first.callId, first.header('From')]).toEqual([invite.callId, invite.header('From')]);
      expect(first.tag('To')).toBe('uas');
      expect(first.header('X-Ack')).toBe('yes');
      expect(first.all('Via')).toHaveLength(1);
      peer.answer(invite, octets);
      await peer.repeated(first, 2);
      expect(record.finals).toBe(1);
    });
  }

  scenario('the ACK of a delayed offer carries the answer', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer);
    const invite = await peer.expect('INVITE');
    expect(invite.body).toBe('');
    const octets = peer.respond(invite, 200, 'OK', { contact: peer.contact, body: SDP });
    const answer = await record.answers.next();
    // Until the user has the answer there is nothing to acknowledge with.
    peer.answer(invite, octets);
    await peer.fence(rig.at('udp'));
    expect(peer.count('ACK')).toBe(0);
    answer.ack([{ name: 'Content-Type', value: 'application/sdp' }], OTHER_SDP);
    const ack = await peer.expect('ACK');
    expect(ack.body).toBe(OTHER_SDP);
    expect(ack.header('Content-Type')).toBe('application/sdp');
    expect(ack.header('Content-Length')).toBe(String(OTHER_SDP.length));
  });

  scenario('the second 2xx of another fork is acknowledged and ended, unseen', async (rig) => {
    const { peer, record, invite } = await ringing(rig);
    peer.respond(invite, 200, 'OK', { toTag: 'winner', contact: peer.contact, body: SDP });
    (await record.answers.next()).ack();
    expect((await peer.expect('ACK')).tag('To')).toBe('winner');
    const octets = peer.respond(invite, 200, 'OK', { toTag: 'loser', contact: peer.contact, body: SDP });
    const ack = await peer.expect('ACK');
    const bye = await peer.expect('BYE');
    expect([ack.tag('To'), bye.tag('To')]).toEqual(['loser', 'loser']);
    expect(ack.cseq).toBe(invite.cseq);
    expect(bye.cseq).toBeGreaterThan(invite.cseq);
    peer.respond(bye, 200, 'OK');
    peer.answer(invite, octets);
    await peer.repeated(ack, 2);
    expect(record.finals).toBe(1);
    expect(record.dialog.ended.all).toEqual([]);
  });

  scenario('CANCEL after a provisional response goes out at once and ends with 487', async (rig) => {
    const { peer, record, invite } = await ringing(rig);
    record.invite.cancel([{ name: 'Reason', value: 'SIP;cause=200;text="Call completed elsewhere"' }]);
    const cancel = await peer.expect('CANCEL');
    // §9.1: Request-URI, Call-ID, To, number of CSeq, From and the single Via equal the INVITE's.
    expect(cancel.uri).toBe(invite.uri);
    for (const name of ['Via', 'From', 'To', 'Call-ID', 'Max-Forwards']) {
      if (name !== 'Max-Forwards') expect(cancel.all(name)).toEqual(invite.all(name));
    }
    expect(cancel.header('CSeq')).toBe(`${invite.cseq} CANCEL`);
    expect(cancel.header('Reason')).toBe('SIP;cause=200;text="Call completed elsewhere"');
    expect(cancel.header('Content-Length')).toBe('0');
    peer.respond(cancel, 200, 'OK');
    peer.respond(invite, 487, 'Request Terminated');
    expect((await record.rejects.next()).status).toBe(487);
    const ack = await peer.expect('ACK');
    expect(ack.branch).toBe(invite.branch);
    record.invite.cancel();
    await peer.fence(rig.at('udp'));
    expect(peer.count('CANCEL')).toBe(1);
  });

  scenario('CANCEL waits for a provisional response', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP });
    const invite = await peer.expect('INVITE');
    record.invite.cancel();
    await peer.fence(rig.at('udp'));
    expect(peer.count('CANCEL')).toBe(0);
    peer.respond(invite, 100, 'Trying');
    const cancel = await peer.expect('CANCEL');
    peer.respond(cancel, 200, 'OK');
    peer.respond(invite, 487, 'Request Terminated');
    expect((await record.rejects.next()).status).toBe(487);
    await peer.expect('ACK');
  });

  for (const when of ['before the CANCEL could leave', 'after the CANCEL has left']) {
    scenario(`a 2xx that crosses a CANCEL is acknowledged and ended (${when})`, async (rig) => {
      const peer = await rig.peer();
      const record = rig.call(peer, { body: SDP });
      const invite = await peer.expect('INVITE');
      if (when.startsWith('after')) {
        peer.respond(invite, 180, 'Ringing', { contact: peer.contact });
        await record.progress.next();
      }
      record.invite.cancel();
      if (when.startsWith('after')) peer.respond(await peer.expect('CANCEL'), 200, 'OK');
      const octets = peer.respond(invite, 200, 'OK', { contact: peer.contact, body: SDP });
      const ack = await peer.expect('ACK');
      const bye = await peer.expect('BYE');
      expect([ack.cseq, ack.tag('To'), bye.tag('To')]).toEqual([invite.cseq, 'uas', 'uas']);
      peer.respond(bye, 200, 'OK');
      expect((await record.faults.next()).kind).toBe('cancelled');
      peer.answer(invite, octets);
      await peer.repeated(ack, 2);
      expect(record.answers.all).toEqual([]);
    });
  }

  scenario(
    'a CANCEL that the callee answers with silence ends in a time-out',
    async (rig) => {
      const { peer, record } = await ringing(rig);
      record.invite.cancel();
      await peer.expect('CANCEL');
      expect(await record.faults.next()).toMatchObject({ kind: 'timeout', heard: true });
      await rig.idle();
      expect(peer.count('CANCEL')).toBeGreaterThan(1);
    },
    { timers: FAST },
  );

  scenario('a rejection is acknowledged hop by hop, each copy of it again', async (rig) => {
    const { peer, record, invite } = await ringing(rig);
    const octets = peer.respond(invite, 486, 'Busy Here', { headers: [['Reason', 'Q.850;cause=17']] });
    const response = await record.rejects.next();
    expect([response.status, response.reason, response.headers.get('reason')]).toEqual([
      486,
      'Busy Here',
      'Q.850;cause=17',
    ]);
    const ack = await peer.expect('ACK');
    // §17.1.1.3.
    expect(ack.uri).toBe(invite.uri);
    expect(ack.header('Via')).toBe(invite.header('Via'));
    expect(ack.header('CSeq')).toBe(`${invite.cseq} ACK`);
    expect(ack.header('To')).toBe(`${invite.header('To')};tag=uas`);
    peer.answer(invite, octets);
    await peer.repeated(ack, 2);
    expect(record.finals).toBe(1);
  });

  scenario('every class of rejection arrives as it is', async (rig) => {
    for (const status of [302, 401, 404, 503, 603, 699]) {
      const peer = await rig.peer();
      const record = rig.call(peer);
      peer.respond(await peer.expect('INVITE'), status, '', {
        headers: [['WWW-Authenticate', 'Digest realm="r", nonce="n"']],
      });
      const response = await record.rejects.next();
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([
        status,
        'Digest realm="r", nonce="n"',
      ]);
      await peer.expect('ACK');
    }
  });

  scenario('a challenged INVITE is repeated with its Call-ID and From tag and the next CSeq', async (rig) => {
    const peer = await rig.peer();
    const first = rig.call(peer);
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 401, 'Unauthorized');
    await first.rejects.next();
    await peer.expect('ACK');
    const sent = await first.sent.next();
    const second = rig.call(peer, {
      repeat: { ...sent, cseq: sent.cseq + 1 },
      headers: [{ name: 'Authorization', value: 'Digest x' }],
    });
    const repeat = await peer.expect('INVITE');
    expect(repeat.callId).toBe(invite.callId);
    expect(repeat.header('From')).toBe(invite.header('From'));
    expect(repeat.header('To')).toBe(invite.header('To'));
    expect(repeat.cseq).toBe(invite.cseq + 1);
    expect(repeat.branch).not.toBe(invite.branch);
    expect(await second.sent.next()).toEqual({ ...sent, cseq: sent.cseq + 1 });
    peer.respond(repeat, 200, 'OK', { contact: peer.contact, body: SDP });
    (await second.answers.next()).ack();
    await peer.expect('ACK');
  });

  scenario(
    'silence ends in a time-out that has heard nothing, after retransmissions over UDP',
    async (rig) => {
      const peer = await rig.peer();
      const record = rig.call(peer);
      const invite = await peer.expect('INVITE');
      expect(await record.faults.next()).toMatchObject({ kind: 'timeout', heard: false });
      // Timer A doubles from T1: sent at 0, 1, 3, 7, 15, 31 and 63 T1 (§17.1.1.2). The last one comes so close to
      // timer B (64 T1) that a timer with a coarse tick may miss it.
      const copies = await peer.repeated(invite, 6);
      expect(copies.length).toBeLessThanOrEqual(7);
      const [first, second, third] = copies.map(({ at }) => at);
      expect(third! - second!).toBeGreaterThan(second! - first!);
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario(
    'silence over TCP: sent once',
    async (rig) => {
      const peer = await rig.peer('tcp');
      const record = rig.call(peer);
      await peer.expect('INVITE');
      expect(await record.faults.next()).toMatchObject({ kind: 'timeout', heard: false });
      expect(peer.count('INVITE')).toBe(1);
    },
    { timers: FAST },
  );

  scenario(
    'silence after a 100 is cancelled after timeoutMs and was heard',
    async (rig) => {
      const peer = await rig.peer();
      const record = rig.call(peer, { timeoutMs: 300 });
      const invite = await peer.expect('INVITE');
      peer.respond(invite, 100, 'Trying');
      await peer.expect('CANCEL');
      expect(await record.faults.next()).toMatchObject({ kind: 'timeout', heard: true });
      // No more retransmissions once a provisional response is there.
      expect(peer.count('INVITE')).toBeLessThanOrEqual(2);
      await rig.idle();
      expect(record.finals).toBe(1);
    },
    { timers: FAST },
  );

  scenario('a port where nobody listens is refused over TCP', async (rig) => {
    const gone = await rig.peer('tcp');
    await gone.close();
    const record = rig.call(gone);
    expect((await record.faults.next()).kind).toBe('refused');
    const outcome = await rig.request(gone).next();
    expect(outcome.kind === 'fault' && outcome.fault.kind).toBe('refused');
  });

  scenario('a connection that closes before the answer is flow-lost', async (rig) => {
    const { peer, record } = await ringing(rig, 'tcp');
    (await peer.connection()).abort();
    await peer.close();
    expect((await record.faults.next()).kind).toBe('flow-lost');
  });

  const certificates = tlsCertificates();
  const tlsListener = { transport: 'tls', host: HOST, port: 0, ...certificates.server.files } as const;
  const tls = { listen: [...PLAIN, tlsListener] };

  scenario(
    'TLS failures are told apart',
    async (rig) => {
      const { ca, otherCa } = certificates;
      const good = await rig.peer('tls', { tls: certificates.server });
      const expired = await rig.peer('tls', { tls: certificates.expired });
      const demanding = await rig.peer('tls', {
        tls: { ...certificates.server, ca, requestCert: true, maxVersion: 'TLSv1.2' },
      });
      const cases = [
        { peer: good, options: { ca: otherCa, serverName: 'localhost' }, reason: 'untrusted' },
        { peer: good, options: { serverName: 'localhost' }, reason: 'untrusted' },
        { peer: good, options: { ca, serverName: 'elsewhere.example' }, reason: 'wrong-name' },
        { peer: expired, options: { ca, serverName: 'localhost' }, reason: 'expired' },
        { peer: demanding, options: { ca, serverName: 'localhost' }, reason: 'alert' },
      ];
      for (const { peer, options, reason } of cases) {
        const record = rig.call({ transport: 'tls', address: HOST, port: peer.port, tls: options });
        expect(await record.faults.next()).toMatchObject({ kind: 'tls', reason });
        expect(peer.received).toEqual([]);
      }
    },
    tls,
  );

  scenario(
    'TLS shows the name it wants, checks the chain, and shows its certificate when asked',
    async (rig) => {
      const { ca } = certificates;
      const peer = await rig.peer('tls', { tls: { ...certificates.server, ca, requestCert: true } });
      const record = rig.call({
        transport: 'tls',
        address: HOST,
        port: peer.port,
        name: 'localhost',
        tls: { ca, clientCert: certificates.client.cert, clientKey: certificates.client.key },
      });
      const invite = await peer.expect('INVITE');
      expect(peer.serverNames).toEqual(['localhost']);
      expect(invite.header('Via')).toContain(`SIP/2.0/TLS 127.0.0.1:${rig.at('tls').port}`);
      peer.respond(invite, 200, 'OK', { contact: peer.contact, body: SDP });
      (await record.answers.next()).ack();
      // In the dialog too, though the Contact is a bare address.
      await peer.expect('ACK');
      expect(peer.accepted).toHaveLength(1);
    },
    tls,
  );

  scenario(
    'verify: false takes any certificate',
    async (rig) => {
      const peer = await rig.peer('tls', { tls: certificates.expired });
      const record = rig.call({
        transport: 'tls',
        address: HOST,
        port: peer.port,
        name: 'elsewhere.example',
        tls: { verify: false },
      });
      peer.respond(await peer.expect('INVITE'), 486, 'Busy Here');
      expect((await record.rejects.next()).status).toBe(486);
    },
    tls,
  );

  scenario(
    'at the bound of transactions an INVITE is a capacity fault and nothing is sent',
    async (rig) => {
      const peer = await rig.peer();
      const first = [rig.call(peer), rig.call(peer)];
      const third = rig.call(peer);
      expect((await third.faults.next()).kind).toBe('capacity');
      for (const record of first) {
        peer.respond(await peer.expect('INVITE'), 480, 'Temporarily Unavailable');
        await record.rejects.next();
      }
      expect(peer.count('INVITE')).toBe(2);
      expect(rig.notices.some(({ kind }) => kind === 'limit')).toBe(true);
    },
    { limits: { transactions: 2 } },
  );

  scenario('a large INVITE goes over TCP where the peer takes it, else over UDP', async (rig) => {
    const headers = [{ name: 'X-Long', value: 'x'.repeat(1_500) }];
    const both = await rig.peer('tcp');
    const bothUdp = await rig.peer('udp', { port: both.port });
    const first = rig.call(bothUdp, { headers });
    // §18.1.1: "MUST be sent using a congestion controlled transport protocol, such as TCP".
    const large = await both.expect('INVITE');
    expect(large.header('Via')).toContain('SIP/2.0/TCP');
    both.respond(large, 480, 'Temporarily Unavailable');
    await first.rejects.next();
    expect(bothUdp.received).toEqual([]);
    const udpOnly = await rig.peer('udp');
    const second = rig.call(udpOnly, { headers });
    const datagram = await udpOnly.expect('INVITE');
    expect(datagram.header('Via')).toContain('SIP/2.0/UDP');
    udpOnly.respond(datagram, 480, 'Temporarily Unavailable');
    await second.rejects.next();
  });

  scenario('a reliable response is acknowledged once, in order only', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP, headers: [{ name: 'Supported', value: '100rel' }] });
    const invite = await peer.expect('INVITE');
    const options = { contact: peer.contact, body: SDP };
    const octets = peer.respond(invite, 183, 'Session Progress', { ...options, ...RELIABLE_183(7) });
    expect(await record.progress.next()).toMatchObject({ early: 0, reliable: true, prack: undefined });
    const prack = await peer.expect('PRACK');
    // RFC 3262 §7.2.
    expect(prack.header('RAck')).toBe(`7 ${invite.cseq} INVITE`);
    expect(prack.cseq).toBe(invite.cseq + 1);
    expect([prack.uri, prack.tag('To'), prack.callId]).toEqual([peer.contact, 'uas', invite.callId]);
    peer.respond(prack, 200, 'OK');
    // A copy is neither told nor acknowledged anew, and one out of order is not acknowledged (§4).
    peer.answer(invite, octets);
    peer.respond(invite, 183, 'Session Progress', { ...options, ...RELIABLE_183(9) });
    peer.respond(invite, 180, 'Ringing', { contact: peer.contact, ...RELIABLE_183(8) });
    const next = await peer.expect('PRACK');
    expect(next.header('RAck')).toBe(`8 ${invite.cseq} INVITE`);
    peer.respond(next, 200, 'OK');
    await record.progress.next();
    await peer.fence(rig.at('udp'));
    expect(peer.count((message) => message.method === 'PRACK' && message.branch === prack.branch)).toBe(1);
    expect(new Set(peer.received.filter(({ method }) => method === 'PRACK').map(({ raw }) => raw)).size).toBe(
      2,
    );
    peer.respond(invite, 200, 'OK', options);
    (await record.answers.next()).ack();
    expect((await peer.expect('ACK')).cseq).toBe(invite.cseq);
  });

  scenario('an offer in a reliable response waits for the answer of the user', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { headers: [{ name: 'Supported', value: '100rel' }] });
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 183, 'Session Progress', {
      contact: peer.contact,
      body: SDP,
      ...RELIABLE_183(1),
    });
    const progress = await record.progress.next();
    await peer.fence(rig.at('udp'));
    expect(peer.count('PRACK')).toBe(0);
    let outcome = '';
    progress.prack!([{ name: 'Content-Type', value: 'application/sdp' }], OTHER_SDP, (result) => {
      outcome = result.kind === 'response' ? String(result.response.status) : result.fault.kind;
    });
    const prack = await peer.expect('PRACK');
    expect([prack.header('RAck'), prack.body]).toEqual([`1 ${invite.cseq} INVITE`, OTHER_SDP]);
    peer.respond(prack, 200, 'OK');
    await rig.until('the outcome of the PRACK', () => outcome !== '');
    expect(outcome).toBe('200');
    peer.respond(invite, 200, 'OK', { contact: peer.contact });
    (await record.answers.next()).ack();
    await peer.expect('ACK');
  });

  scenario('UPDATE crosses in both directions of the early dialog with a callee', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP });
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 183, 'Session Progress', { contact: peer.contact, body: SDP, ...RELIABLE_183(1) });
    await record.progress.next();
    const prack = await peer.expect('PRACK');
    peer.respond(prack, 200, 'OK');
    const outcome = rig.dialogRequest(
      { early: record.invite, index: 0 },
      { method: 'UPDATE', body: OTHER_SDP },
    );
    const update = await peer.expect('UPDATE');
    expect([update.cseq, update.tag('To'), update.uri]).toEqual([prack.cseq + 1, 'uas', peer.contact]);
    expect(update.contactUri).toContain(`:${rig.at('udp').port}`);
    peer.respond(update, 200, 'OK', { contact: peer.contact, body: SDP });
    const result = await outcome.next();
    expect(result.kind === 'response' && result.response.status).toBe(200);
    const remote = PeerDialog.ofCallee(peer, invite);
    peer.answer(invite, remote.request('UPDATE', { body: OTHER_SDP }));
    const { request, early } = await record.requests.next();
    expect([early, request.request.body]).toEqual([0, OTHER_SDP]);
    request.respond(200, 'OK', [], SDP);
    expect((await peer.expect('200 UPDATE')).body).toBe(SDP);
    peer.respond(invite, 200, 'OK', { contact: peer.contact });
    (await record.answers.next()).ack();
    await peer.expect('ACK');
  });

  scenario('without a handler an early request of the callee is 501', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP }, { takesRequests: false });
    const invite = await peer.expect('INVITE');
    peer.respond(invite, 183, 'Session Progress', { contact: peer.contact, body: SDP });
    await record.progress.next();
    peer.answer(invite, PeerDialog.ofCallee(peer, invite).request('INFO'));
    await peer.expect('501 INFO');
    peer.respond(invite, 480, 'Temporarily Unavailable');
    await record.rejects.next();
  });

  scenario('answers that are none leave the INVITE as it was', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, { body: SDP });
    const invite = await peer.expect('INVITE');
    const good = peer.respond(invite, 180, 'Ringing', { contact: peer.contact });
    await record.progress.next();
    const ok = good.replace('180 Ringing', '200 OK');
    const nonsense = [
      ok.replace(invite.branch, 'z9hG4bKforged'),
      ok.replace('SIP/2.0 200 OK', 'SIP/2.0 999 OK'),
      ok.replace('SIP/2.0 200 OK', 'SIP/2.0 20 OK'),
      ok.replace('SIP/2.0 200 OK', 'SIP/3.0 200 OK'),
      ok.replace(`CSeq: ${invite.cseq} INVITE`, `CSeq: ${invite.cseq} BYE`),
      ok.replace(/^Call-ID: .*\r\n/m, ''),
      ok.replace(/^CSeq: .*\r\n/m, ''),
      ok.replace(/^Via: .*\r\n/m, ''),
      'SIP/2.0 200 OK\r\n\r\n',
      'nonsense',
      '\u0000\u0000\u0000\u0000',
      // §8.1.3.3: more than one Via is a response that went astray.
      ok.replace(/^(Via: )/m, 'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKupper\r\nVia: '),
    ];
    for (const octets of nonsense) peer.answer(invite, octets);
    peer.respond(invite, 486, 'Busy Here');
    expect((await record.rejects.next()).status).toBe(486);
    expect(record.answers.all).toEqual([]);
  });

  scenario('line ends and NUL never leave in a request', async (rig) => {
    const peer = await rig.peer();
    for (const value of ['x\r\nX-Evil: 1', 'x\nX-Evil: 1', 'x\rX-Evil: 1', 'x\u0000y']) {
      const attempts = [
        { headers: [{ name: 'X-A', value }] },
        { headers: [{ name: value, value: 'a' }] },
        { uri: `sip:a@b${value}` },
        { from: `<sip:${value}@b>` },
        { to: `<sip:${value}@b>` },
        { contactUser: value },
        { route: [`<sip:${value}>`] },
      ];
      for (const attempt of attempts) {
        // Refused by throwing or by a fault, as the engine likes; the wire must not see it.
        try {
          rig.call(peer, attempt);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
        try {
          rig.request(peer, { ...attempt, contact: `<sip:${value}>` });
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    }
    await peer.fence(rig.at('udp'));
    const sent = peer.received.filter(({ method }) => method !== '');
    for (const message of sent) {
      expect(message.has('X-Evil')).toBe(false);
      expect(message.raw.replaceAll('\r\n', '')).not.toMatch(/[\r\n\u0000]/);
    }
  });

  scenario('two targets on one address share a TCP connection', async (rig) => {
    const peer = await rig.peer('tcp');
    await answeredOutgoing(rig, { peer });
    await answeredOutgoing(rig, { peer });
    expect(peer.accepted).toHaveLength(1);
  });

  scenario('headers that carry parameters keep them', async (rig) => {
    const peer = await rig.peer();
    const record = rig.call(peer, {
      from: '<sip:a@example.com;transport=tcp>',
      to: '<sip:b@example.com>;x=1',
    });
    const invite = await peer.expect('INVITE');
    expect(parameter(invite.header('From').replace(/^.*>/, ''), 'tag')).not.toBe('');
    expect(invite.header('To')).toBe('<sip:b@example.com>;x=1');
    peer.respond(invite, 480, 'Temporarily Unavailable');
    await record.rejects.next();
  });
}
