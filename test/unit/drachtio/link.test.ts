/** One server over its lifetime: what its connection can take, and how it comes back. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ALONE_BYTES, type LinkEvents, ServerLink } from '#engine/drachtio/link.js';
import type { WireRequest } from '#engine/drachtio/wire.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { until } from '../../kit/processes.js';
import { FakeServer } from './fake-server.js';

const SMALL = 100;
const LARGE = 6_000;
const NOTHING = { onSent: () => undefined, onResponse: () => undefined };

let server: FakeServer;
let link: ServerLink;
let log: string[];
let requests: WireRequest[];

function events(): LinkEvents {
  return {
    onUp: () => log.push('up'),
    onDown: (_link, detail, fatal) => log.push(`down${fatal ? ' for good' : ''}: ${detail}`),
    onRetry: (_link, detail) => log.push(`retry: ${detail}`),
    onRequest: (_link, request) => requests.push(request),
  };
}

function connect(secret = 'right'): void {
  link = new ServerLink(
    { host: '127.0.0.1', port: server.port, secret },
    systemClock(),
    new RandomIds(),
    events(),
  );
  link.connect();
}

/** Sends a body of so many octets; the list gets why it was refused. */
function send(octets: number, refused: string[] = []): string | null {
  return link.request(
    {
      method: 'MESSAGE',
      uri: 'sip:a@b',
      headers: [{ name: 'Content-Type', value: 'text/plain' }],
      body: 'x'.repeat(octets),
    },
    { ...NOTHING, onRefused: (reason) => refused.push(reason) },
  );
}

beforeEach(async () => {
  log = [];
  requests = [];
  server = await FakeServer.start();
});

afterEach(async () => {
  link.close();
  await server.close();
});

describe('what the connection of a server can take', () => {
  beforeEach(async () => {
    connect();
    await until('it is up', () => link.ready);
    server.auto = () => false;
  });

  test('small commands go out at once', async () => {
    for (let i = 0; i < 5; i++) expect(send(SMALL)).toBeNull();
    await until('five commands', () => server.sip.length === 5);
    expect(link.pending).toBe(5);
  });

  test('a large one waits until all before it are answered, and all behind it wait for its answer', async () => {
    send(SMALL);
    send(LARGE);
    send(SMALL);
    await until('the first', () => server.sip.length === 1);
    // Whatever the others do, they cannot have come before the answer that this one waits for.
    expect(server.sip[0]!.bytes).toBeLessThan(LARGE);
    server.sip[0]!.answer('NOK|no');
    await until('the large one', () => server.sip.length === 2);
    expect(server.sip[1]!.bytes).toBeGreaterThan(LARGE);
    expect(link.pending).toBe(2);
    server.sip[1]!.answer('NOK|no');
    await until('the third', () => server.sip.length === 3);
    server.sip[2]!.answer('NOK|no');
    await until('nothing pending', () => link.pending === 0);
  });

  test('what would block the connection is refused and nothing is sent', () => {
    expect(send(ALONE_BYTES)).toBe('too-large');
    expect(link.pending).toBe(0);
  });

  test('what waits is told when the server goes', async () => {
    const refused: string[] = [];
    send(SMALL, refused);
    send(LARGE, refused);
    server.drop();
    await until('both are refused', () => refused.length === 2);
    expect(refused).toEqual(['down', 'down']);
    expect(link.pending).toBe(0);
  });
});

describe('coming and going', () => {
  test('the connection that serves comes after the listeners have settled', async () => {
    server.listeners = '';
    connect();
    await until('a scout has looked', () => server.connections === 1);
    server.listeners = 'udp/127.0.0.1:5060';
    await until('a second one has', () => server.connections === 2);
    server.listeners = 'udp/127.0.0.1:5060,tcp/127.0.0.1:5060';
    await until('it is up', () => link.ready);
    expect(link.bound).toEqual(['udp/127.0.0.1:5060', 'tcp/127.0.0.1:5060']);
    // A command that comes before the SIP stack is there kills the server: scouts send none.
    expect(server.commands).toHaveLength(1);
    // What each scout saw before is told, and which of them saw which is the scheduler's.
    expect(log.length).toBeGreaterThan(1);
    expect(log.pop()).toBe('up');
    for (const entry of log) expect(entry).toMatch(/^retry: it (does not listen yet|listens on udp[^;]+);/);
  });

  test('it reconnects after the server went, again and again', async () => {
    connect();
    for (let i = 1; i <= 2; i++) {
      await until('it is up', () => link.ready);
      server.drop();
      await until('it is down', () => !link.ready);
      expect(log.at(-1)).toMatch(/^down: /);
    }
    await until('it is up', () => link.ready);
    expect(log.filter((entry) => entry === 'up')).toHaveLength(3);
  });

  test('a wrong secret is told as such', async () => {
    connect('wrong');
    await until('it is refused', () => log.length > 0);
    expect(log[0]).toBe('down for good: the server refuses the secret');
    expect(link.ready).toBe(false);
  });

  test('a server that answers nothing more is given up', async () => {
    connect();
    await until('it is up', () => link.ready);
    server.auto = () => false;
    send(SMALL);
    await until('it is down', () => !link.ready, 15_000);
    expect(log.at(-1)).toMatch(/no answer in/);
  });

  test('a lost answer is not a lost server', async () => {
    connect();
    await until('it is up', () => link.ready);
    server.auto = ({ head }) => head.includes('trunkline-probe');
    const refused: string[] = [];
    send(SMALL, refused);
    await until('the command is given up', () => refused.length === 1, 15_000);
    expect(refused).toEqual(['the server did not answer']);
    expect([link.ready, link.pending]).toEqual([true, 0]);
  });

  test('a stream out of step ends the connection and not the process', async () => {
    connect();
    await until('it is up', () => link.ready);
    server.deliver('nonsense', '');
    await until('it is down', () => !link.ready);
    await until('it is up again', () => link.ready);
  });

  test('after close there is no retry', async () => {
    connect();
    await until('it is up', () => link.ready);
    const { connections } = server;
    link.close();
    await until('it is down', () => !link.ready);
    expect(server.connections).toBe(connections);
  });
});

describe('messages', () => {
  const INVITE = [
    'INVITE sip:a@b SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1',
    'From: "Zo\u00eb" <sip:z@example.com>;tag=1',
    'To: <sip:a@b>',
    'Call-ID: c1',
    'CSeq: 1 INVITE',
    '\r\n',
  ].join('\r\n');

  beforeEach(async () => {
    connect();
    await until('it is up', () => link.ready);
  });

  test('octets cross as UTF-8, and header fields keep order, case and repetition', async () => {
    link.request(
      {
        method: 'MESSAGE',
        uri: 'sip:a@b',
        proxy: 'sip:192.0.2.1:5060;transport=tcp',
        headers: [
          { name: 'X-One', value: '1' },
          { name: 'x-Two', value: 'Zo\u00c3\u00ab' },
          { name: 'X-One', value: '2' },
        ],
        body: '',
      },
      { ...NOTHING, onRefused: () => undefined },
    );
    await until('the command', () => server.sip.length === 1);
    const [command] = server.sip;
    expect(command!.head).toBe('sip|||sip:192.0.2.1:5060;transport=tcp');
    expect(command!.text).toContain('X-One: 1\r\nx-Two: Zo\u00eb\r\nX-One: 2\r\n');
  });

  test('a value with a line end is not sent', async () => {
    const refused: string[] = [];
    link.request(
      { method: 'MESSAGE', uri: 'sip:a@b', headers: [{ name: 'From', value: '<sip:a>\r\nX: 1' }], body: '' },
      { ...NOTHING, onRefused: (reason) => refused.push(reason) },
    );
    await until('it is refused', () => refused.length === 1);
    expect(server.sip).toEqual([]);
  });

  test('a request arrives as octets, with where it came from', async () => {
    server.deliver('sip|network|300|udp|192.0.2.1|5062|10:00:00.000000|txn||127.0.0.1|5060|', INVITE);
    await until('the request', () => requests.length === 1);
    const [request] = requests;
    expect(request!.octets).toContain('"Zo\u00c3\u00ab"');
    expect(request!.source).toMatchObject({
      transport: 'udp',
      address: '192.0.2.1',
      port: 5062,
      receivedOn: '127.0.0.1:5060',
    });
    expect(request!.unsolicited).toBe(false);
  });

  test('every status from 300 to 699 can be answered', async () => {
    server.deliver('sip|network|300|udp|192.0.2.1|5062|10:00:00.000000|txn||127.0.0.1|5060|', INVITE);
    await until('the request', () => requests.length === 1);
    requests[0]!.respond(608, 'Rejected', { headers: [], body: '', toTag: 'tag1' }, () => undefined);
    await until('the response', () => server.sip.length === 1);
    expect(server.sip[0]!.text).toMatch(/^SIP\/2\.0 608 Rejected\r\n/);
    expect(server.sip[0]!.text).toContain('tag=tag1');
    expect(server.sip[0]!.head).toBe('sip|txn|');
  });
});
