/** Strangers: what they cost those who are known, and what they get for what they send. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ownLoopback } from '../kit/loopback.js';
import { SDP } from '../kit/sip-message.js';
import { SipPeer, type Way } from '../kit/sip-peer.js';
import { Switchboard } from '../kit/switchboard.js';

/** A minute with TRUNKLINE_LONG=1, else just long enough to show. */
const FLOOD_SECONDS = process.env.TRUNKLINE_LONG === '1' ? 60 : 6;
const FLOOD_RATE = 2_000;
const CALL_RATE = 50;

const open = () => Switchboard.open({ line: {} }, { config: { sip: { timers: { t1: 100 } } } });
let board: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  board = await open();
});

afterAll(() => board.close());

/** Sends `FLOOD_RATE` messages a second over the ways in turn, until it is told to stop. */
function flood(ways: readonly Way[], message: (serial: number) => string): { stop(): number } {
  let sent = 0;
  const began = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - began) / 1_000) * FLOOD_RATE;
    // After a pause of this process not all at once: it is the rate that counts.
    for (let i = 0; sent < due && i < 200; i++) ways[sent % ways.length]!.send(message(sent++));
  }, 5);
  return {
    stop: () => {
      clearInterval(timer);
      return sent / ((performance.now() - began) / 1_000);
    },
  };
}

test(`${FLOOD_RATE} messages a second from strangers for ${FLOOD_SECONDS} s cost a known trunk under 1 % of its calls`, {
  timeout: (FLOOD_SECONDS + 60) * 1_000,
}, async () => {
  const { gateway, lines } = board;
  const to = { host: '127.0.0.1', port: gateway.port };
  const datagrams = await SipPeer.open('udp', { host: ownLoopback() });
  const stream = await SipPeer.open('tcp', { host: ownLoopback() });
  const ways = [await datagrams.way(to), await datagrams.way(to), await stream.way(to)];
  const { number } = lines.line;
  const messages: readonly (() => string)[] = [
    () => datagrams.request({ method: 'INVITE', to, uri: `sip:${number}@127.0.0.1`, body: SDP }),
    () => datagrams.request({ method: 'OPTIONS', to }),
    () => datagrams.request({ method: 'REGISTER', to, uri: 'sip:127.0.0.1' }),
    () => datagrams.request({ method: 'BYE', to, toTag: 'x' }),
    () => `${datagrams.request({ method: 'OPTIONS', to }).slice(0, 90)}\r\nContent-Length: 0\r\n\r\n`,
  ];
  const calls = CALL_RATE * FLOOD_SECONDS;
  const running = flood(ways, (serial) => messages[serial % messages.length]!());
  let rate = 0;
  try {
    const { caller, records } = await board.call({
      line: 'line',
      caller: 'load',
      agent: 'load',
      calls,
      callerOptions: { rate: CALL_RATE, limit: calls, pauseMs: 200, timeoutSeconds: FLOOD_SECONDS + 40 },
      agentOptions: { timeoutSeconds: FLOOD_SECONDS + 40 },
    });
    expect(caller.failed).toBeLessThanOrEqual(calls * 0.01);
    expect(caller.retransmissions).toBeLessThanOrEqual(calls * 0.05);
    const answered = records.filter(({ sipStatus }) => sipStatus === 200).length;
    expect(answered).toBeGreaterThanOrEqual(calls * 0.99);
  } finally {
    rate = running.stop();
    await datagrams.close();
    await stream.close();
  }
  // The flood was one.
  expect(rate).toBeGreaterThan(FLOOD_RATE * 0.8);
});

test('a stranger gets at most one answer, without retransmission, and no more octets than it sent', async () => {
  const { gateway, lines } = board;
  const to = { host: '127.0.0.1', port: gateway.port };
  const { number } = lines.line;
  const uri = `sip:${number}@127.0.0.1`;
  const shapes: readonly ((peer: SipPeer) => string)[] = [
    (peer) => peer.request({ method: 'INVITE', to, uri, body: SDP }),
    (peer) => peer.request({ method: 'INVITE', to, uri, headers: [['Supported', '100rel, timer']] }),
    (peer) => peer.request({ method: 'INVITE', to, uri, headers: [['Require', 'x']] }),
    (peer) => peer.request({ method: 'INVITE', to, uri: 'soap.beep://x' }),
    (peer) => peer.request({ method: 'OPTIONS', to }),
    (peer) => peer.request({ method: 'OPTIONS', to, maxForwards: 0 }),
    (peer) => peer.request({ method: 'REGISTER', to, uri: 'sip:127.0.0.1' }),
    (peer) => peer.request({ method: 'SUBSCRIBE', to }),
    (peer) => peer.request({ method: 'NOTIFY', to }),
    (peer) => peer.request({ method: 'MESSAGE', to }),
    (peer) => peer.request({ method: 'STRANGE', to }),
    (peer) => peer.request({ method: 'BYE', to, toTag: 'x' }),
    (peer) => peer.request({ method: 'CANCEL', to }),
    (peer) => peer.request({ method: 'ACK', to, toTag: 'x' }),
    (peer) => peer.request({ method: 'PRACK', to, toTag: 'x' }),
    (peer) => peer.request({ method: 'OPTIONS', to }).replace(/^Call-ID.*\r\n/m, ''),
    (peer) => peer.request({ method: 'OPTIONS', to }).replace(/^(From: .*\r\n)/m, '$1$1'),
    (peer) => peer.request({ method: 'OPTIONS', to }).replace(' SIP/2.0\r\n', ' SIP/9.0\r\n'),
    (peer) => peer.request({ method: 'OPTIONS', to }).replace('Content-Length: 0', 'Content-Length: 9'),
    // As short as a request that can be answered gets.
    (peer) =>
      `OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP ${peer.host};branch=z9hG4bK1;rport\r\nf:<sip:a>;tag=1\r\n` +
      't:<sip:a>\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n',
    (peer) => `SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP ${peer.hostPort};branch=z9hG4bKnone\r\n\r\n`,
    () => '\r\n\r\n',
    () => '\u0000\u0000\u0000\u0000',
    () => 'x',
  ];
  const strangers: { peer: SipPeer; sent: string }[] = [];
  for (const shape of shapes) {
    // One address each: what one may send in a second is bounded.
    const peer = await SipPeer.open('udp', { host: ownLoopback() });
    const sent = shape(peer);
    (await peer.way(to)).send(sent);
    strangers.push({ peer, sent });
  }
  const trunk = await SipPeer.open('udp');
  await trunk.fence(to);
  // Until every timer has fired that could repeat something.
  await gateway.idle(20_000);
  for (const { peer, sent } of strangers) {
    expect.soft(peer.received.length, `answers to\n${sent}`).toBeLessThanOrEqual(1);
    expect.soft(peer.bytes, `octets in answer to\n${sent}`).toBeLessThanOrEqual(sent.length);
    await peer.close();
  }
  // They were heard: an ordinary request is answered, with the refusal of a stranger.
  const [first] = strangers;
  expect(first!.peer.received.map(({ status }) => status)).toEqual([403]);
  await trunk.close();
});

test('unknownSources: drop is silence', async () => {
  const silent = await Switchboard.open({ line: {} }, { config: { sip: { unknownSources: 'drop' } } });
  const peers: SipPeer[] = [];
  try {
    const to = { host: '127.0.0.1', port: silent.gateway.port };
    for (const method of ['INVITE', 'OPTIONS', 'REGISTER', 'BYE', 'CANCEL']) {
      const peer = await SipPeer.open('udp', { host: ownLoopback() });
      (await peer.way(to)).send(peer.request({ method, to }));
      peers.push(peer);
    }
    const trunk = await SipPeer.open('udp');
    peers.push(trunk);
    await trunk.fence(to);
    expect(trunk.received).toHaveLength(1);
    for (const peer of peers.slice(0, -1)) expect(peer.received).toEqual([]);
  } finally {
    for (const peer of peers) await peer.close();
    await silent.close();
  }
});
