/** TCP peers that abort, dawdle, idle, or send too much: the gateway keeps its descriptors and goes on answering. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { ownLoopback } from '../kit/loopback.js';
import { openDescriptors, until } from '../kit/processes.js';
import type { Address } from '../kit/sip-message.js';
import { type Connection, SipPeer } from '../kit/sip-peer.js';

const TRUNK = '127.0.0.1';
const STRANGER = ownLoopback();
const HALF = 'INVITE sip:+14155550100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK';
const CREDENTIALS = [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: [TRUNK] }];

let gateway: Gateway;
let to: Address;
let trunk: SipPeer;
let known: SipPeer;
let stranger: SipPeer;

beforeAll(async () => {
  gateway = await Gateway.start({
    config: {
      log: { level: 'debug' },
      sip: { limits: { messageTimeoutMs: 5_000 } },
      sipCredentials: CREDENTIALS,
    },
  });
  to = { host: '127.0.0.1', port: gateway.port };
  trunk = await SipPeer.open('udp');
  known = await SipPeer.open('tcp');
  stranger = await SipPeer.open('tcp', { host: STRANGER });
});

afterAll(async () => {
  for (const peer of [trunk, known, stranger]) await peer.close();
  await gateway.stop();
});

/** OPTIONS of the known trunk over UDP and over a new TCP connection. */
async function stillAnswers(): Promise<void> {
  for (const peer of [trunk, known]) await peer.fence(to);
}

/** Closed by the gateway, and for that reason: not because the time for a whole message was up. */
async function closedFor(connection: Connection, reason: RegExp): Promise<void> {
  const before = gateway.log().filter(isClosing).length;
  await connection.untilClosed();
  await until('the log says why', () =>
    gateway
      .log()
      .filter(isClosing)
      .slice(before)
      .some((line) => reason.test(String(line.reason))),
  );
}

const isClosing = ({ msg }: Record<string, unknown>): boolean => msg === 'connection closed';

test('2,500 connections aborted half-way leave no descriptors', { timeout: 120_000 }, async () => {
  await stillAnswers();
  known.disconnect();
  await until('no connection', async () => (await gateway.held()).connections === 0);
  const before = openDescriptors(gateway.program.pid);
  for (let done = 0; done < 2_500; done += 125) {
    const peer = done % 250 === 0 ? known : stranger;
    const connections = await Promise.all(Array.from({ length: 125 }, () => peer.connect(to)));
    for (const connection of connections) {
      connection.socket.write(HALF, () => connection.abort());
    }
    await Promise.all(connections.map((connection) => connection.untilClosed()));
  }
  await until(
    () => `at most ${before + 5} descriptors, there are ${openDescriptors(gateway.program.pid)}`,
    () => openDescriptors(gateway.program.pid) <= before + 5,
    10_000,
  );
  expect((await gateway.held()).connections).toBe(0);
});

test('200 slow senders and 300 idle connections leave OPTIONS answered', { timeout: 60_000 }, async () => {
  const slow: Connection[] = [];
  for (let i = 0; i < 200; i++) slow.push(await (i % 2 ? known : stranger).connect(to));
  for (let i = 0; i < 300; i++) await (i % 2 ? known : stranger).connect(to);
  await until('all are accepted', async () => (await gateway.held()).connections >= 500);
  let sent = 0;
  const text = `${HALF}${'x'.repeat(1_000)}`;
  const drip = setInterval(() => {
    for (const connection of slow) if (!connection.closed) connection.send(text[sent % text.length]!);
    sent++;
  }, 100);
  try {
    await until('they have sent something', () => sent >= 5);
    for (let i = 0; i < 10; i++) await stillAnswers();
    // Octets that dribble do not keep a message alive: each is closed when its time is up.
    await Promise.all(slow.map((connection) => connection.untilClosed(15_000)));
    await stillAnswers();
  } finally {
    clearInterval(drip);
  }
  known.disconnect();
  stranger.disconnect();
  await until('no connection', async () => (await gateway.held()).connections === 0);
});

describe.each(['known', 'stranger'] as const)('from a %s source', (who) => {
  test('a header of 4 MB is refused at once and disturbs nobody', async () => {
    const peer = who === 'known' ? known : stranger;
    const connection = await peer.connect(to);
    connection.send(`OPTIONS sip:a@b SIP/2.0\r\nX-Long: ${'x'.repeat(4_000_000)}\r\n\r\n`);
    await closedFor(connection, /header fields of more than/);
    await stillAnswers();
  });

  test('a body of 4 GB is refused when it is announced', async () => {
    const peer = who === 'known' ? known : stranger;
    const connection = await peer.connect(to);
    connection.send(
      peer.request({ method: 'OPTIONS', to }).replace('Content-Length: 0', 'Content-Length: 4294967296'),
    );
    await closedFor(connection, /a message of more than/);
    await stillAnswers();
  });

  test('octets that are no SIP close the connection', async () => {
    const peer = who === 'known' ? known : stranger;
    const connection = await peer.connect(to);
    connection.send('\u0016\u0003\u0001\u0002\u0000'.repeat(20_000));
    await closedFor(connection, /not a SIP message/);
    await stillAnswers();
  });
});

test('half a message is closed after 30 seconds by default', { timeout: 60_000 }, async () => {
  const usual = await Gateway.start({ config: { sipCredentials: CREDENTIALS } });
  try {
    const connection = await known.connect({ host: '127.0.0.1', port: usual.port });
    connection.send(HALF);
    const began = performance.now();
    await connection.untilClosed(50_000);
    expect(performance.now() - began).toBeGreaterThan(29_000);
  } finally {
    await usual.stop();
  }
});
