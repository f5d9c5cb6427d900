/** An incoming INVITE: source, progress, answer, rejection, CANCEL, reliable provisional responses, injection. */
import { expect } from 'vitest';
import { Message, OTHER_SDP, SDP } from '../kit/sip-message.js';
import { Connection, hopByHop, PeerDialog, type Received } from '../kit/sip-peer.js';
import { acknowledge, answeredIncoming, incoming } from './calls.js';
import { FAST, type Scenario } from './rig.js';

const RELIABLE = { headers: [['Supported', '100rel']] as const };
const EARLY_MEDIA = { status: 183, reason: 'Session Progress', body: SDP, reliable: true } as const;

export function incomingInvite(scenario: Scenario): void {
  scenario('an INVITE comes with where it was seen to come from', async (rig) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const { peer, way, record } = await incoming(rig, { transport });
      const { source, request } = record.invite;
      expect(source).toMatchObject({ transport, address: '127.0.0.1' });
      expect(source.listener.id).toBe(rig.listener(transport).id);
      expect(source.port).toBe(way instanceof Connection ? way.localPort : peer.port);
      expect(source.flow === 0).toBe(transport === 'udp');
      expect(request.method).toBe('INVITE');
      expect(request.body).toBe(SDP);
      record.invite.reject(480, 'Temporarily Unavailable');
      await peer.expect(480);
    }
  });

  scenario('100 Trying goes out by itself when the user takes its time', async (rig) => {
    const { peer, invite, record } = await incoming(rig);
    const trying = await peer.expect(100);
    expect(trying.header('Via').startsWith(invite.header('Via').split(';')[0]!)).toBe(true);
    expect(trying.branch).toBe(invite.branch);
    expect(trying.tag('To')).toBe('');
    record.invite.reject(480, 'Temporarily Unavailable');
    await peer.expect(480);
  });

  scenario('a provisional response makes an early dialog', async (rig) => {
    const { peer, invite, record } = await incoming(rig, {
      headers: [
        ['Record-Route', '<sip:one.example;lr>'],
        ['Record-Route', '<sip:two.example;lr>, <sip:three.example;lr>'],
      ],
    });
    record.invite.progress({
      status: 180,
      reason: 'Ringing',
      headers: [{ name: 'X-Colour', value: 'blue' }],
      body: SDP,
    });
    const ringing = await peer.expect(180);
    expect(ringing.reason).toBe('Ringing');
    expect(ringing.tag('To')).not.toBe('');
    expect(ringing.header('From')).toBe(invite.header('From'));
    expect(ringing.header('CSeq')).toBe(invite.header('CSeq'));
    expect(ringing.callId).toBe(invite.callId);
    expect(ringing.header('X-Colour')).toBe('blue');
    expect(ringing.body).toBe(SDP);
    expect(ringing.contactUri).toContain(`:${rig.at('udp').port}`);
    // §12.1.1: all Record-Route values, in order.
    expect(ringing.all('Record-Route').join(', ')).toBe(
      '<sip:one.example;lr>, <sip:two.example;lr>, <sip:three.example;lr>',
    );
    expect(ringing.has('RSeq')).toBe(false);
    rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    expect(answer.tag('To')).toBe(ringing.tag('To'));
    expect(answer.all('Record-Route').join(', ')).toBe(ringing.all('Record-Route').join(', '));
  });

  scenario('an answer carries status, reason, headers and the body octet by octet', async (rig) => {
    const { peer, record } = await incoming(rig);
    const body = `v=0\r\ns=\u00c3\u00a9\u0000\u00ff\r\n`;
    rig.accept(record, {
      status: 202,
      reason: 'Accepted',
      headers: [
        { name: 'Content-Type', value: 'application/x-octets' },
        { name: 'X-Two', value: 'a' },
        { name: 'X-Two', value: 'b' },
      ],
      body,
    });
    const answer = await peer.expect('202 INVITE');
    expect(answer.reason).toBe('Accepted');
    expect(answer.all('X-Two')).toEqual(['a', 'b']);
    expect(answer.header('Content-Length')).toBe(String(body.length));
    expect(answer.body).toBe(body);
  });

  for (const transport of ['udp', 'tcp'] as const) {
    scenario(
      `the 2xx is retransmitted until its ACK (${transport})`,
      async (rig) => {
        const { peer, way, invite, record } = await incoming(rig, { transport });
        const { events } = rig.accept(record, { body: SDP });
        const answer = await peer.expect('200 INVITE');
        // §13.3.1.4: at T1, then doubling, over reliable transports too.
        const copies = await peer.repeated(answer, 4);
        expect(copies[3]!.at - copies[2]!.at).toBeGreaterThan(copies[1]!.at - copies[0]!.at);
        const remote = PeerDialog.ofCaller(peer, invite, answer);
        way.send(remote.request('ACK', { cseq: invite.cseq }));
        expect((await events.acks.next()).method).toBe('ACK');
        way.send(remote.request('ACK', { cseq: invite.cseq }));
        await peer.fence(rig.at(transport), way);
        const then = peer.count('200 INVITE');
        way.send(remote.request('BYE'));
        await peer.expect('200 BYE');
        await rig.idle();
        expect(peer.count('200 INVITE')).toBe(then);
        expect(events.acks.all).toHaveLength(1);
      },
      { timers: FAST },
    );
  }

  scenario(
    'BYE ends a call whose 2xx is never acknowledged',
    async (rig) => {
      const { peer, record } = await incoming(rig);
      const { events } = rig.accept(record, { body: SDP });
      await peer.expect('200 INVITE');
      peer.respond(await peer.expect('BYE'), 200, 'OK');
      expect((await events.ended.next()).kind).toBe('no-ack');
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario('a rejection carries status, reason, headers and body, and takes its ACK', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    record.invite.reject(486, 'Busy Here', [{ name: 'Reason', value: 'Q.850;cause=17' }], 'why');
    record.invite.reject(500, 'Second thoughts');
    record.invite.progress({ status: 180, reason: 'Ringing' });
    const busy = await peer.expect(486);
    expect(busy).toMatchObject({ reason: 'Busy Here', body: 'why' });
    expect(busy.header('Reason')).toBe('Q.850;cause=17');
    expect(busy.tag('To')).not.toBe('');
    acknowledge(way, invite, busy);
    await peer.fence(rig.at('udp'), way);
    expect(
      peer.received.filter((message) => message.cseqMethod === 'INVITE').map(({ status }) => status),
    ).toEqual([486]);
    expect(record.cancels.all).toEqual([]);
  });

  scenario(
    'a rejection is retransmitted over UDP until its ACK, and forgotten without one',
    async (rig) => {
      const acknowledged = await incoming(rig);
      acknowledged.record.invite.reject(486, 'Busy Here');
      const busy = await acknowledged.peer.expect(486);
      await acknowledged.peer.repeated(busy, 3);
      acknowledge(acknowledged.way, acknowledged.invite, busy);
      await acknowledged.peer.fence(rig.at('udp'));
      const then = acknowledged.peer.count(486);
      const silent = await incoming(rig);
      silent.record.invite.reject(480, 'Temporarily Unavailable');
      // Timer G doubles up to T2 until timer H: 25, 50, 100, 200, then every 200 ms up to 1.6 s.
      await silent.peer.repeated(await silent.peer.expect(480), 8);
      await rig.idle();
      expect(acknowledged.peer.count(486)).toBe(then);
    },
    { timers: FAST },
  );

  scenario(
    'a rejection over TCP is sent once',
    async (rig) => {
      const { peer, record } = await incoming(rig, { transport: 'tcp' });
      record.invite.reject(486, 'Busy Here');
      await peer.expect(486);
      await rig.idle();
      expect(peer.count(486)).toBe(1);
    },
    { timers: FAST },
  );

  scenario('a retransmitted INVITE gets the last response again and nobody hears of it', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    record.invite.progress({ status: 180, reason: 'Ringing' });
    const ringing = await peer.expect(180);
    way.send(invite.raw);
    await peer.repeated(ringing, 2);
    const { events } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    // RFC 6026 §7.1: after a 2xx retransmissions are absorbed; only the user agent core repeats the 2xx.
    way.send(invite.raw);
    await peer.fence(rig.at('udp'));
    expect(peer.count('200 INVITE')).toBe(1);
    expect(rig.invites.all).toHaveLength(1);
    way.send(PeerDialog.ofCaller(peer, invite, answer).request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
  });

  scenario('CANCEL is answered, the INVITE gets 487, and nothing more is sent', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    record.invite.progress({ status: 180, reason: 'Ringing' });
    await peer.expect(180);
    way.send(hopByHop('CANCEL', invite, invite.header('To'), [['Reason', 'SIP;cause=200;text="elsewhere"']]));
    await peer.expect('200 CANCEL');
    const terminated = await peer.expect('487 INVITE');
    acknowledge(way, invite, terminated);
    const cause = await record.cancels.next();
    expect(cause.kind).toBe('cancel');
    expect(cause.kind === 'cancel' && cause.request.headers.get('reason')).toBe(
      'SIP;cause=200;text="elsewhere"',
    );
    record.invite.progress({ status: 183, reason: 'Session Progress' });
    record.invite.reject(486, 'Busy Here');
    await peer.fence(rig.at('udp'), way);
    expect(peer.received.filter(({ cseqMethod }) => cseqMethod === 'INVITE').at(-1)!.status).toBe(487);
  });

  scenario('CANCEL after the answer changes nothing, CANCEL of nothing is 481', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    const { events } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    way.send(hopByHop('CANCEL', invite, invite.header('To')));
    await peer.expect('200 CANCEL');
    way.send(PeerDialog.ofCaller(peer, invite, answer).request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
    expect(record.cancels.all).toEqual([]);
    expect(events.ended.all).toEqual([]);
    const other = new Message(peer.request({ method: 'INVITE', to: rig.at('udp') }));
    way.send(hopByHop('CANCEL', other, other.header('To')));
    await peer.expect('481 CANCEL');
  });

  scenario(
    'a caller whose connection dies while it rings is lost',
    async (rig) => {
      const { peer, way, record } = await incoming(rig, { transport: 'tcp' });
      record.invite.progress({ status: 180, reason: 'Ringing' });
      await peer.expect(180);
      if (way instanceof Connection) way.abort();
      // Its sent-by leads nowhere either.
      await peer.close();
      expect((await record.cancels.next()).kind).toBe('lost');
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario('Supported and Require name 100rel', async (rig) => {
    const cases = [
      { headers: [], supports: false, requires: false },
      { headers: [['Supported', 'timer, 100REL']] as const, supports: true, requires: false },
      { headers: [['k', '100rel']] as const, supports: true, requires: false },
      { headers: [['Require', '100rel']] as const, supports: true, requires: true },
    ];
    for (const { headers, supports, requires } of cases) {
      const { record, peer } = await incoming(rig, { headers });
      expect([record.invite.supportsReliable, record.invite.requiresReliable]).toEqual([supports, requires]);
      record.invite.reject(480, 'Temporarily Unavailable');
      await peer.expect(480);
    }
  });

  scenario('a reliable response to a caller without 100rel is an ordinary one', async (rig) => {
    const { peer, record } = await incoming(rig);
    record.invite.progress(EARLY_MEDIA);
    const progress = await peer.expect(183);
    expect(progress.has('RSeq') || progress.has('Require')).toBe(false);
    record.invite.reject(480, 'Temporarily Unavailable');
    await peer.expect(480);
  });

  scenario(
    'a reliable response is retransmitted until its PRACK, and the next one counts up',
    async (rig) => {
      const { peer, way, invite, record } = await incoming(rig, RELIABLE);
      record.invite.progress(EARLY_MEDIA);
      // RFC 3262 §3: the second one waits for the PRACK of the first.
      record.invite.progress({ status: 180, reason: 'Ringing', reliable: true });
      const progress = await peer.expect(183);
      expect(progress.header('Require')).toBe('100rel');
      const rseq = Number(progress.header('RSeq'));
      expect(rseq).toBeGreaterThan(0);
      await peer.repeated(progress, 3);
      expect(peer.count(180)).toBe(0);
      const remote = PeerDialog.ofCaller(peer, invite, progress);
      way.send(remote.request('PRACK', { headers: [['RAck', `${rseq} ${invite.cseq} INVITE`]] }));
      await peer.expect('200 PRACK');
      const { prack, early } = await record.pracks.next();
      expect([prack.method, early]).toEqual(['PRACK', 0]);
      const ringing = await peer.expect(180);
      expect(ringing.header('RSeq')).toBe(String(rseq + 1));
      expect(ringing.tag('To')).toBe(progress.tag('To'));
      const then = peer.count(183);
      way.send(remote.request('PRACK', { headers: [['RAck', `${rseq + 1} ${invite.cseq} INVITE`]] }));
      await peer.expect('200 PRACK');
      record.invite.reject(486, 'Busy Here');
      acknowledge(way, invite, await peer.expect(486));
      await rig.idle();
      expect(peer.count(183)).toBe(then);
    },
    { timers: FAST },
  );

  scenario('a PRACK that names another response is 481', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig, RELIABLE);
    record.invite.progress(EARLY_MEDIA);
    const progress = await peer.expect(183);
    const rseq = Number(progress.header('RSeq'));
    const remote = PeerDialog.ofCaller(peer, invite, progress);
    const wrong = [
      `${rseq + 1} ${invite.cseq} INVITE`,
      `${rseq} ${invite.cseq + 1} INVITE`,
      `${rseq} ${invite.cseq} UPDATE`,
      'nonsense',
    ];
    for (const rack of wrong) {
      way.send(remote.request('PRACK', { headers: [['RAck', rack]] }));
      const refusal = await peer.expect((message) => message.cseqMethod === 'PRACK');
      expect([481, 400]).toContain(refusal.status);
    }
    expect(record.pracks.all).toEqual([]);
    way.send(remote.request('PRACK', { headers: [['RAck', `${rseq} ${invite.cseq} INVITE`]] }));
    await peer.expect('200 PRACK');
    await record.pracks.next();
    // Acknowledged once is enough (§3): a new PRACK for it matches nothing.
    way.send(remote.request('PRACK', { headers: [['RAck', `${rseq} ${invite.cseq} INVITE`]] }));
    await peer.expect('481 PRACK');
  });

  scenario(
    'a reliable response that is never acknowledged is reported, and the INVITE can be rejected',
    async (rig) => {
      const { peer, record } = await incoming(rig, RELIABLE);
      record.invite.progress(EARLY_MEDIA);
      await peer.expect(183);
      expect(await record.prackTimeouts.next()).toBe(0);
      record.invite.reject(504, 'Server Time-out');
      await peer.expect(504);
      await rig.idle();
    },
    { timers: FAST },
  );

  scenario('a 2xx waits for the PRACK of a provisional response with a session description', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig, RELIABLE);
    record.invite.progress(EARLY_MEDIA);
    const progress = await peer.expect(183);
    const { events } = rig.accept(record, { body: SDP });
    await peer.fence(rig.at('udp'));
    // RFC 3262 §3: "the UAS MUST NOT send the 2xx until the provisional responses are acknowledged".
    expect(peer.count('200 INVITE')).toBe(0);
    const remote = PeerDialog.ofCaller(peer, invite, progress);
    way.send(
      remote.request('PRACK', { headers: [['RAck', `${progress.header('RSeq')} ${invite.cseq} INVITE`]] }),
    );
    await peer.expect('200 PRACK');
    await peer.expect('200 INVITE');
    way.send(remote.request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
  });

  scenario('a PRACK with an offer is for the user to answer', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig, RELIABLE);
    record.invite.progress(EARLY_MEDIA);
    const progress = await peer.expect(183);
    const rack = `${progress.header('RSeq')} ${invite.cseq} INVITE`;
    const remote = PeerDialog.ofCaller(peer, invite, progress);
    way.send(remote.request('PRACK', { headers: [['RAck', rack]], body: OTHER_SDP }));
    const { request, early } = await record.requests.next();
    expect([request.request.method, request.request.body, early]).toEqual(['PRACK', OTHER_SDP, 0]);
    request.respond(200, 'OK', [{ name: 'Content-Type', value: 'application/sdp' }], SDP);
    expect((await peer.expect('200 PRACK')).body).toBe(SDP);
    record.invite.reject(480, 'Temporarily Unavailable');
    await peer.expect(480);
  });

  scenario(
    'without a handler an offer in PRACK is 488 and an early UPDATE 501',
    async (rig) => {
      const { peer, way, invite, record } = await incoming(rig, RELIABLE);
      record.invite.progress(EARLY_MEDIA);
      const progress = await peer.expect(183);
      const rack = `${progress.header('RSeq')} ${invite.cseq} INVITE`;
      const remote = PeerDialog.ofCaller(peer, invite, progress);
      way.send(remote.request('PRACK', { headers: [['RAck', rack]], body: OTHER_SDP }));
      await peer.expect('488 PRACK');
      way.send(remote.request('UPDATE', { body: OTHER_SDP }));
      await peer.expect('501 UPDATE');
      record.invite.reject(480, 'Temporarily Unavailable');
      await peer.expect(480);
    },
    { takesEarlyRequests: false },
  );

  scenario('the early dialogs of a forked callee have their own To tags', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig, RELIABLE);
    record.invite.progress({ status: 180, reason: 'Ringing', early: 0 });
    record.invite.progress({ ...EARLY_MEDIA, early: 1 });
    const first = await peer.expect(180);
    const second = await peer.expect(183);
    expect(second.tag('To')).not.toBe(first.tag('To'));
    const remote = PeerDialog.ofCaller(peer, invite, second);
    way.send(
      remote.request('PRACK', { headers: [['RAck', `${second.header('RSeq')} ${invite.cseq} INVITE`]] }),
    );
    await peer.expect('200 PRACK');
    expect((await record.pracks.next()).early).toBe(1);
    const { dialog, events } = rig.accept(record, { early: 1, body: SDP });
    const answer = await peer.expect('200 INVITE');
    expect(answer.tag('To')).toBe(second.tag('To'));
    expect(dialog.localTag).toBe(second.tag('To'));
    way.send(remote.request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
  });

  scenario('UPDATE crosses in both directions of an early dialog', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig, RELIABLE);
    record.invite.progress(EARLY_MEDIA);
    const progress = await peer.expect(183);
    const remote = PeerDialog.ofCaller(peer, invite, progress);
    way.send(
      remote.request('PRACK', { headers: [['RAck', `${progress.header('RSeq')} ${invite.cseq} INVITE`]] }),
    );
    await peer.expect('200 PRACK');
    way.send(remote.request('UPDATE', { body: OTHER_SDP }));
    const { request } = await record.requests.next();
    expect(request.request.body).toBe(OTHER_SDP);
    request.respond(200, 'OK', [], SDP);
    expect((await peer.expect('200 UPDATE')).contactUri).toContain(`:${rig.at('udp').port}`);
    const outcome = rig.dialogRequest(
      { early: record.invite, index: 0 },
      { method: 'UPDATE', headers: [{ name: 'Content-Type', value: 'application/sdp' }], body: SDP },
    );
    const update = await peer.expect('UPDATE');
    expect([update.tag('From'), update.tag('To')]).toEqual([progress.tag('To'), invite.tag('From')]);
    expect(update.uri).toBe(peer.contact);
    expect(update.body).toBe(SDP);
    peer.respond(update, 200, 'OK', { contact: peer.contact, body: OTHER_SDP });
    const answer = await outcome.next();
    expect(answer.kind === 'response' && answer.response.body).toBe(OTHER_SDP);
    // CSeq of the early dialog goes on in the confirmed one.
    const { dialog, events } = rig.accept(record, {});
    await peer.expect('200 INVITE');
    way.send(remote.request('ACK', { cseq: invite.cseq }));
    await events.acks.next();
    dialog.end();
    expect((await peer.expect('BYE')).cseq).toBe(update.cseq + 1);
  });

  scenario('an offerless INVITE is answered with an offer and the ACK brings the answer', async (rig) => {
    const peer = await rig.peer();
    const to = rig.at('udp');
    const way = await peer.way(to);
    const invite = new Message(peer.request({ method: 'INVITE', to }));
    way.send(invite.raw);
    const record = await rig.invites.next();
    expect(record.invite.request.body).toBe('');
    const { events } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    way.send(
      PeerDialog.ofCaller(peer, invite, answer).request('ACK', { cseq: invite.cseq, body: OTHER_SDP }),
    );
    expect((await events.acks.next()).body).toBe(OTHER_SDP);
  });

  scenario('the same INVITE by two ways is merged: 482', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    way.send(invite.raw.replace(invite.branch, `${invite.branch}other`));
    const merged = await peer.expect(482);
    expect(merged.branch).toBe(`${invite.branch}other`);
    expect(rig.notices).toContainEqual(expect.objectContaining({ kind: 'rejected', status: 482 }));
    expect(rig.invites.all).toHaveLength(1);
    record.invite.reject(480, 'Temporarily Unavailable');
    await peer.expect(480);
  });

  scenario('an answered INVITE that comes back by another way makes no second call', async (rig) => {
    const { peer, way, invite } = await answeredIncoming(rig);
    way.send(invite.raw.replace(invite.branch, `${invite.branch}other`));
    await peer.expect(482);
    expect(rig.invites.all).toHaveLength(1);
  });

  scenario('line ends and NUL of a user never reach the wire', async (rig) => {
    const evil = ['x\r\nX-Evil: 1', 'x\nX-Evil: 1', 'x\rX-Evil: 1', 'x\u0000y'];
    for (const value of evil) {
      const { peer, way, invite, record } = await incoming(rig);
      const attempt = (act: () => void): void => {
        try {
          act();
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      };
      attempt(() => record.invite.progress({ status: 180, reason: value }));
      attempt(() => record.invite.progress({ status: 181, reason: 'x', headers: [{ name: 'X-A', value }] }));
      attempt(() =>
        record.invite.progress({ status: 182, reason: 'x', headers: [{ name: value, value: 'x' }] }),
      );
      attempt(() => record.invite.reject(486, 'Busy Here', [{ name: 'Reason', value }]));
      attempt(() => record.invite.reject(486, value));
      // A refused operation leaves the INVITE pending, and it can still be answered.
      record.invite.reject(480, 'Temporarily Unavailable');
      const final = await peer.expect((message) => message.status >= 300);
      acknowledge(way, invite, final);
      for (const message of peer.received) expectClean(message);
    }
  });

  scenario('a status that is none never reaches the wire', async (rig) => {
    const { peer, way, invite, record } = await incoming(rig);
    for (const status of [0, 99, 200, 700, 1000, -1, 486.5, Number.NaN]) {
      try {
        record.invite.reject(status, 'Nonsense');
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
    record.invite.reject(480, 'Temporarily Unavailable');
    // An engine that would rather end such an INVITE does it with a 500 of its own.
    const final = await peer.expect(({ status }) => status >= 200);
    expect([480, 500]).toContain(final.status);
    acknowledge(way, invite, final);
    await peer.fence(rig.at('udp'), way);
    expect(
      peer.received.filter(({ cseqMethod, raw }) => cseqMethod === 'INVITE' && raw !== final.raw),
    ).toEqual([]);
  });
}

function expectClean(message: Received): void {
  expect(message.has('X-Evil')).toBe(false);
  // A line end is CR LF, and nothing else is one.
  const head = message.raw.slice(0, message.raw.length - message.body.length).replaceAll('\r\n', '');
  for (const control of ['\r', '\n', '\u0000']) expect(head.includes(control)).toBe(false);
}
