/** Sockets as the port promises them: where answers go, connections, framing, keep-alive, IPv6, TLS, bounds. */
import { expect } from 'vitest';
import type { IncomingRequest } from '#engine/engine.js';
import { Message, SDP } from '../kit/sip-message.js';
import { type Connection, PeerDialog, SipPeer } from '../kit/sip-peer.js';
import { answeredIncoming, answeredOutgoing, incoming } from './calls.js';
import { FAST, HOST, PLAIN, type Rig, type Scenario } from './rig.js';
import { tlsCertificates } from './tls.js';

const V6 = '::1';
const IPV6 = {
  listen: [
    { transport: 'udp', host: V6, port: 0 },
    { transport: 'tcp', host: V6, port: 0 },
  ],
} as const;

export function transports(scenario: Scenario): void {
  scenario('an answer goes to the source port with rport, to the port of Via without', async (rig) => {
    const to = rig.at('udp');
    const sender = await rig.peer();
    const named = await rig.peer();
    const way = await sender.way(to);
    way.send(
      sender.request({
        method: 'OPTIONS',
        to,
        via: `SIP/2.0/UDP host.example:${named.port};rport;branch=z9hG4bKwith`,
      }),
    );
    const withRport = await sender.expect(200);
    // RFC 3581 §4: rport filled in, and received with it.
    expect(withRport.header('Via')).toContain(`rport=${sender.port}`);
    expect(withRport.header('Via')).toContain(`received=${HOST}`);
    way.send(
      sender.request({
        method: 'OPTIONS',
        to,
        via: `SIP/2.0/UDP ${HOST}:${named.port};branch=z9hG4bKwithout`,
      }),
    );
    const without = await named.expect(200);
    expect(without.branch).toBe('z9hG4bKwithout');
    // §18.2.1: received when the host is a name or another address.
    way.send(
      sender.request({
        method: 'OPTIONS',
        to,
        via: `SIP/2.0/UDP host.example:${named.port};branch=z9hG4bKnamed`,
      }),
    );
    expect((await named.expect(200)).header('Via')).toContain(`received=${HOST}`);
    expect(sender.count(200)).toBe(1);
  });

  scenario('lower Vias come back untouched and in order', async (rig) => {
    const peer = await rig.peer();
    const to = rig.at('udp');
    const octets = peer.request({
      method: 'OPTIONS',
      to,
      headers: [
        ['Via', 'SIP/2.0/TCP two.example;branch=z9hG4bK2;received=192.0.2.2, SIP/2.0/UDP three.example'],
        ['v', 'SIP / 2.0 / UDP four.example ; branch=z9hG4bK4'],
      ],
    });
    (await peer.way(to)).send(octets);
    const values = (await peer.expect(200)).all('Via').join(', ');
    expect(values).toMatch(
      /z9hG4bK2;received=192\.0\.2\.2, ?SIP\/2\.0\/UDP three\.example, SIP ?\/ ?2\.0 ?\/ ?UDP four\.example ?; ?branch=z9hG4bK4$/,
    );
  });

  for (const [transport, at] of [
    ['udp', IPV6],
    ['tcp', IPV6],
  ] as const) {
    scenario(
      `IPv6 in both directions (${transport})`,
      async (rig) => {
        const peer = await rig.peer(transport, { host: V6 });
        const inward = await answeredIncoming(rig, { peer });
        expect(inward.dialog.remote).toMatchObject({ transport, address: V6 });
        inward.way.send(inward.remote.request('BYE'));
        await peer.expect('200 BYE');
        const outward = await answeredOutgoing(rig, { peer });
        const own = `[::1]:${rig.at(transport, V6).port}`;
        expect(outward.invite.header('Via')).toContain(own);
        expect(outward.invite.contactUri).toContain(own);
        outward.dialog.end();
        peer.respond(await peer.expect('BYE'), 200, 'OK');
      },
      at,
    );
  }

  scenario('over TCP the answers and our requests use the connection of the caller', async (rig) => {
    const peer = await rig.peer('tcp');
    const connection = await peer.connect(rig.at('tcp'));
    const octets = peer.request({
      method: 'INVITE',
      to: rig.at('tcp'),
      body: SDP,
      // A caller behind NAT: its Contact is its end of the connection, where it does not listen.
      contact: `sip:peer@${HOST}:${connection.localPort};transport=tcp`,
    });
    connection.send(octets);
    const record = await rig.invites.next();
    const { dialog, events } = rig.accept(record, { body: SDP });
    const answer = await peer.expect('200 INVITE');
    connection.send(PeerDialog.ofCaller(peer, new Message(octets), answer).request('ACK', { cseq: 1 }));
    await events.acks.next();
    dialog.end();
    const bye = await peer.expect('BYE');
    expect([answer.connection, bye.connection]).toEqual([connection, connection]);
    expect(peer.accepted).toEqual([]);
    peer.respond(bye, 200, 'OK');
  });

  scenario('a target with a flow uses that connection', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer('tcp');
    const connection = await peer.connect(rig.at('tcp'));
    connection.send(peer.request({ method: 'MESSAGE', to: rig.at('tcp') }));
    const request = await rig.requests.next();
    request.respond(200, 'OK');
    await peer.expect('200 MESSAGE');
    const { source } = request;
    const outcome = rig.request({
      transport: 'tcp',
      address: source.address,
      port: source.port,
      flow: source.flow,
    });
    const options = await peer.expect('OPTIONS');
    expect(options.connection).toBe(connection);
    peer.respond(options, 200, 'OK');
    const result = await outcome.next();
    expect(result.kind === 'response' && result.source.flow).toBe(source.flow);
  });

  scenario('a caller that has closed its connection is answered on a new one', async (rig) => {
    const { peer, way, record } = await incomingMessage(rig);
    // Its sent-by is where it listens (§18.2.2).
    way.abort();
    await rig.until('the connection is gone', () => rig.gauges.connections === 0);
    record.respond(200, 'OK');
    await peer.expect('200 MESSAGE');
    expect(peer.accepted).toHaveLength(1);
  });

  scenario(
    'who has closed its connection is answered at its own address, whatever its Via says',
    async (rig) => {
      rig.autoAnswer = () => false;
      const peer = await rig.peer('tcp');
      const victim = await rig.peer('tcp', { host: '127.0.0.3', port: peer.port });
      const way = await peer.connect(rig.at('tcp'));
      way.send(
        peer.request({
          method: 'MESSAGE',
          to: rig.at('tcp'),
          via: `SIP/2.0/TCP ${victim.hostPort};branch=z9hG4bKelsewhere`,
        }),
      );
      const record = await rig.requests.next();
      way.abort();
      await rig.until('the connection is gone', () => rig.gauges.connections === 0);
      record.respond(200, 'OK');
      // §18.2.2: the address in "received", the port of sent-by.
      await peer.expect('200 MESSAGE');
      expect(victim.accepted).toEqual([]);
    },
  );

  scenario('a keep-alive is answered, and blank lines between messages are nothing', async (rig) => {
    const peer = await rig.peer('tcp');
    const connection = await peer.connect(rig.at('tcp'));
    connection.send('\r\n\r\n');
    // RFC 5626 §4.4.1: double CRLF is answered with a single one.
    await connection.untilPongs(1);
    connection.send('\r\n');
    await peer.fence(rig.at('tcp'), connection);
    connection.send('\r\n\r\n');
    await connection.untilPongs(2);
    const udp = await rig.peer();
    (await udp.way(rig.at('udp'))).send('\r\n\r\n');
    (await udp.way(rig.at('udp'))).send('\u0000\u0000\u0000\u0000');
    await udp.fence(rig.at('udp'));
    expect(udp.received.filter(({ status }) => status !== 200).length).toBeLessThanOrEqual(1);
    expect(rig.requests.all).toEqual([]);
  });

  scenario('a stream is framed by Content-Length however it is cut', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer('tcp');
    const to = rig.at('tcp');
    const connection = await peer.connect(to);
    const messages = ['one', 'two\r\n\r\nOPTIONS', ''].map((body) =>
      peer.request({ method: 'MESSAGE', to, body }),
    );
    // Everything in one write, the last message octet by octet.
    connection.send(messages.join(''));
    for (const octet of peer.request({ method: 'MESSAGE', to, body: 'four' })) connection.send(octet);
    const bodies = [];
    for (let i = 0; i < 4; i++) {
      const request = await rig.requests.next();
      bodies.push(request.request.body);
      request.respond(200, 'OK');
    }
    expect(bodies).toEqual(['one', 'two\r\n\r\nOPTIONS', '', 'four']);
  });

  scenario('a datagram is cut to Content-Length, and one too short is 400', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer();
    const to = rig.at('udp');
    const way = await peer.way(to);
    way.send(`${peer.request({ method: 'MESSAGE', to, body: 'body' })}trailing octets`);
    const long = await rig.requests.next();
    expect(long.request.body).toBe('body');
    long.respond(200, 'OK');
    await peer.expect(200);
    way.send(peer.request({ method: 'MESSAGE', to, body: 'body' }).slice(0, -1));
    await peer.expect(400);
    way.send(peer.request({ method: 'MESSAGE', to, body: 'body' }).replace(/^Content-Length.*\r\n/m, ''));
    const none = await rig.requests.next();
    expect(none.request.body).toBe('body');
    none.respond(200, 'OK');
    expect(rig.requests.all).toHaveLength(2);
  });

  scenario('a stream without a usable Content-Length is answered 400 and closed', async (rig) => {
    const to = rig.at('tcp');
    for (const replacement of ['', 'Content-Length: x\r\n', 'Content-Length: -1\r\n', 'l: 1\r\nl: 2\r\n']) {
      const peer = await rig.peer('tcp');
      const connection = await peer.connect(to);
      connection.send(
        peer.request({ method: 'MESSAGE', to, body: 'b' }).replace(/^Content-Length.*\r\n/m, replacement),
      );
      await peer.expect(400);
      await connection.untilClosed();
    }
    expect(rig.requests.all).toEqual([]);
  });

  scenario('doubled and missing fields are 400, another version is 505', async (rig) => {
    const to = rig.at('udp');
    const peer = await rig.peer();
    const way = await peer.way(to);
    const good = peer.request({ method: 'MESSAGE', to, body: 'b' });
    let serial = 0;
    const send = async (octets: string, status: number): Promise<void> => {
      const branch = `z9hG4bKfaulty${serial++}`;
      way.send(octets.replaceAll(new Message(good).branch, branch));
      const answer = await peer.expect((message) => message.branch === branch);
      expect([octets, answer.status]).toEqual([octets, status]);
    };
    for (const name of ['From', 'To', 'Call-ID', 'CSeq', 'Content-Length']) {
      await send(good.replace(new RegExp(`^(${name}: .*\\r\\n)`, 'm'), '$1$1'), 400);
    }
    await send(good.replace(/^CSeq: 1 MESSAGE/m, 'CSeq: 1 OPTIONS'), 400);
    await send(good.replace(/^CSeq: 1/m, 'CSeq: 4294967296'), 400);
    await send(good.replace(' SIP/2.0\r\n', ' SIP/7.0\r\n'), 505);
    expect(rig.requests.all).toEqual([]);
  });

  scenario(
    'bounds on a message: head, header fields, whole',
    async (rig) => {
      rig.autoAnswer = () => false;
      const cases = [
        // A datagram is bounded by itself.
        { headers: [['X-Long', 'x'.repeat(5_000)]], body: '', over: ['tcp'], statuses: [400, 413, 513] },
        { headers: [], body: 'x'.repeat(9_000), over: ['udp', 'tcp'], statuses: [413, 513] },
        { headers: new Array(60).fill(['X-A', 'b']), body: '', over: ['udp', 'tcp'], statuses: [400, 513] },
      ] as const;
      for (const { headers, body, over, statuses } of cases) {
        for (const transport of over) {
          const peer = await rig.peer(transport);
          const to = rig.at(transport);
          (await peer.way(to)).send(peer.request({ method: 'MESSAGE', to, headers, body }));
          const refusal = await peer.expect((message) => message.status >= 300);
          expect(statuses as readonly number[]).toContain(refusal.status);
        }
      }
      const peer = await rig.peer('tcp');
      const endless = await peer.connect(rig.at('tcp'));
      // A head without an end: closed at the bound, answered or not.
      endless.send(`OPTIONS sip:a SIP/2.0\r\nX-Long: ${'x'.repeat(100_000)}`);
      await endless.untilClosed();
      expect(rig.requests.all).toEqual([]);
      expect(rig.notices.length).toBeGreaterThan(0);
    },
    { limits: { headBytes: 4_000, messageBytes: 8_000, headers: 50 } },
  );

  scenario('a message of 60 kB crosses whole in both directions over TCP', async (rig) => {
    rig.autoAnswer = () => false;
    const peer = await rig.peer('tcp');
    const to = rig.at('tcp');
    const body = 'm\u00ff\u0000'.repeat(20_000);
    (await peer.way(to)).send(peer.request({ method: 'MESSAGE', to, body }));
    const request = await rig.requests.next();
    expect(request.request.body === body).toBe(true);
    request.respond(200, 'OK', [], body);
    expect((await peer.expect(200)).body === body).toBe(true);
    const outcome = rig.request(peer, { method: 'MESSAGE', body });
    const message = await peer.expect('MESSAGE');
    expect(message.body === body).toBe(true);
    peer.respond(message, 200, 'OK');
    await outcome.next();
  });

  scenario(
    'a message that does not get whole in time closes its connection',
    async (rig) => {
      const peer = await rig.peer('tcp');
      const half = await peer.connect(rig.at('tcp'));
      half.send('OPTIONS sip:a SIP/2.0\r\nVia: ');
      const slow = await peer.connect(rig.at('tcp'));
      slow.send('O');
      // Single octets do not prolong it.
      const drip = setInterval(() => slow.send('x'), 50);
      try {
        await Promise.all([half.untilClosed(), slow.untilClosed()]);
      } finally {
        clearInterval(drip);
      }
      await rig.until('no connection left', () => rig.gauges.connections === 0);
    },
    { limits: { messageTimeoutMs: 400 } },
  );

  scenario(
    'an idle connection is closed, one with keep-alives or a dialog is not',
    async (rig) => {
      const live = await answeredIncoming(rig, { transport: 'tcp' });
      const peer = await rig.peer('tcp');
      const kept = await peer.connect(rig.at('tcp'));
      const ping = setInterval(() => kept.send('\r\n\r\n'), 100);
      try {
        const idle = await peer.connect(rig.at('tcp'));
        await idle.untilClosed();
        const second = await peer.connect(rig.at('tcp'));
        await second.untilClosed();
        expect(kept.closed).toBe(false);
      } finally {
        clearInterval(ping);
      }
      live.dialog.end();
      live.peer.respond(await live.peer.expect('BYE'), 200, 'OK');
      // The BYE came by the caller's own connection.
      expect(live.peer.accepted.length).toBe(0);
    },
    { limits: { idleTimeoutMs: 500 } },
  );

  scenario(
    'connections beyond the bound of one address are closed',
    async (rig) => {
      const peer = await rig.peer('tcp');
      const kept = [await peer.connect(rig.at('tcp')), await peer.connect(rig.at('tcp'))];
      await rig.until('both are counted', () => rig.gauges.connections === 2);
      const third = await peer.connect(rig.at('tcp'));
      await third.untilClosed();
      for (const connection of kept) await peer.fence(rig.at('tcp'), connection);
      expect(rig.notices).toContainEqual(expect.objectContaining({ kind: 'limit' }));
    },
    { limits: { connectionsPerAddress: 2 } },
  );

  scenario(
    'at the bound of transactions an incoming INVITE is 503 with Retry-After',
    async (rig) => {
      const first = await incoming(rig);
      const second = await incoming(rig);
      const peer = await rig.peer();
      const to = rig.at('udp');
      (await peer.way(to)).send(peer.request({ method: 'INVITE', to }));
      const refusal = await peer.expect(503);
      expect(Number(refusal.header('Retry-After'))).toBeGreaterThan(0);
      expect(rig.invites.all).toHaveLength(2);
      expect(rig.notices).toContainEqual(expect.objectContaining({ kind: 'limit' }));
      for (const call of [first, second]) call.record.invite.reject(480, 'Temporarily Unavailable');
    },
    { limits: { transactions: 2 } },
  );

  scenario('a peer that aborts its connections leaves none behind', async (rig) => {
    const peer = await rig.peer('tcp');
    const connections = await Promise.all(Array.from({ length: 50 }, () => peer.connect(rig.at('tcp'))));
    for (const connection of connections) {
      connection.send('INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x');
      connection.abort();
    }
    await rig.until('no connection left', () => rig.gauges.connections === 0);
    await peer.fence(rig.at('tcp'));
  });

  const certificates = tlsCertificates();
  const listen = [...PLAIN, { transport: 'tls', host: HOST, port: 0, ...certificates.server.files }] as const;

  scenario(
    'our TLS listener shows its certificate and serves calls',
    async (rig) => {
      const peer = await rig.peer('tls', { tls: { ...certificates.server, ca: certificates.ca } });
      const call = await answeredIncoming(rig, { peer });
      expect(call.dialog.remote.transport).toBe('tls');
      call.dialog.end();
      const bye = await peer.expect('BYE');
      expect(peer.accepted).toEqual([]);
      peer.respond(bye, 200, 'OK');
      const distrustful = await rig.peer('tls', {
        tls: { ...certificates.server, ca: certificates.otherCa },
      });
      await expect(distrustful.connect(rig.at('tls'))).rejects.toThrow(/verif|signed|issuer/i);
    },
    { listen },
  );

  for (const transport of ['tcp', 'tls'] as const) {
    scenario(
      `without a ${transport} listener requests leave over ${transport}, and the peer's come by the same connection`,
      async (rig) => {
        const tls = transport === 'tls' ? { ...certificates.server, ca: certificates.ca } : undefined;
        const peer = await rig.peer(transport, { tls });
        const target = {
          transport,
          address: HOST,
          port: peer.port,
          name: 'localhost',
          tls: { ca: certificates.ca },
        };
        const call = await answeredOutgoing(rig, { peer, invite: { target } });
        const { sentBy = '' } = rig.engine.leavesFrom(target) ?? {};
        expect(sentBy).toBe(`${HOST}:${rig.at('udp').port}`);
        expect(call.received.header('Via')).toContain(`SIP/2.0/${transport.toUpperCase()} ${sentBy};`);
        expect(call.received.header('Contact')).toContain(`${sentBy};transport=${transport}`);
        // Once there is a connection, its own port is announced: who looks for a connection to it finds one.
        const again = rig.call(target, { body: SDP });
        const second = await peer.expect('INVITE');
        expect(second.header('Contact')).toContain(`:${second.remote.port};transport=${transport}`);
        peer.respond(second, 486, 'Busy Here');
        const final = await again.rejects.next();
        expect(final.status).toBe(486);
        expect((await peer.expect('ACK')).branch).toBe(second.branch);
        expect(rig.engine.leavesFrom({ ...target, flow: 1 })?.sentBy).toBe(sentBy);
        const to = { ...rig.at('udp'), transport };
        call.way.send(peer.request({ method: 'MESSAGE', to }));
        const asked = await rig.requests.next();
        expect(asked.source).toMatchObject({ transport, port: peer.port });
        asked.respond(200, 'OK');
        await peer.expect('200 MESSAGE');
        call.way.send(call.remote.request('BYE'));
        await peer.expect('200 BYE');
        expect((await call.events.ended.next()).kind).toBe('bye');
        expect(peer.accepted).toHaveLength(1);
      },
      { listen: [{ transport: 'udp', host: HOST, port: 0 }] },
    );
  }

  scenario(
    'a TLS listener that demands certificates refuses callers without a good one',
    async (rig) => {
      const to = rig.at('tls');
      const good = await rig.peer('tls', { tls: { ...certificates.client, ca: certificates.ca } });
      await good.fence(to);
      for (const tls of [{ ca: certificates.ca }, { ...certificates.stranger, ca: certificates.ca }]) {
        // A peer that only connects needs no certificate of its own to listen with; it gets none to show.
        const bad = await rig.peer('tls', { tls });
        const outcome = await bad.connect(to).then(
          async (connection) => {
            // TLS 1.3 tells the client of the refusal only after its handshake is done.
            connection.send(bad.request({ method: 'OPTIONS', to }));
            await connection.untilClosed();
            return bad.received.length;
          },
          () => 0,
        );
        expect(outcome).toBe(0);
      }
      await rig.until('the refusals are told', () => rig.notices.some(({ kind }) => kind === 'tls-failure'));
      expect(rig.requests.all).toEqual([]);
    },
    {
      listen: [
        {
          transport: 'tls',
          host: HOST,
          port: 0,
          ...certificates.server.files,
          caFile: certificates.caFile,
          requestClientCert: true,
        },
      ],
    },
  );

  scenario(
    'octets that are no TLS do not disturb a TLS listener',
    async (rig) => {
      const plain = await SipPeer.open('tcp');
      const connection = await plain.connect(rig.at('tls'));
      connection.send(plain.request({ method: 'OPTIONS', to: rig.at('tls') }));
      await connection.untilClosed();
      await plain.close();
      const peer = await rig.peer('tls', { tls: { ...certificates.server, ca: certificates.ca } });
      await peer.fence(rig.at('tls'));
    },
    { listen },
  );

  scenario(
    'a lost datagram, a doubled one and one that comes late make no second call',
    async (rig) => {
      const peer = await rig.peer();
      const to = rig.at('udp');
      const way = await peer.way(to);
      const octets = peer.request({ method: 'INVITE', to, body: SDP });
      for (let i = 0; i < 3; i++) way.send(octets);
      const record = await rig.invites.next();
      const { dialog, events } = rig.accept(record, { body: SDP });
      const invite = new Message(octets);
      const answer = await peer.expect('200 INVITE');
      const remote = PeerDialog.ofCaller(peer, invite, answer);
      const ack = remote.request('ACK', { cseq: invite.cseq });
      way.send(ack);
      way.send(ack);
      await events.acks.next();
      dialog.end();
      const bye = await peer.expect('BYE');
      const ok = peer.respond(bye, 200, 'OK');
      peer.answer(bye, ok);
      // Late ones, after everything has ended.
      way.send(octets);
      way.send(ack);
      await rig.idle();
      expect(rig.invites.all).toHaveLength(1);
      expect(events.acks.all).toHaveLength(1);
    },
    { timers: FAST },
  );
}

async function incomingMessage(
  rig: Rig,
): Promise<{ peer: SipPeer; way: Connection; record: IncomingRequest }> {
  rig.autoAnswer = () => false;
  const peer = await rig.peer('tcp');
  const way = await peer.connect(rig.at('tcp'));
  way.send(peer.request({ method: 'MESSAGE', to: rig.at('tcp') }));
  return { peer, way, record: await rig.requests.next() };
}
