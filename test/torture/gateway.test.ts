/**
 * Every message of RFC 4475 and RFC 5118, byte for byte, to the gateway as a process, from a known trunk, over UDP and
 * over TCP. `expectations.tsv` says which reactions are right.
 *
 * The messages name all sorts of ports in their Via and ask for no rport, so the peer listens wherever RFC 3261
 * §18.2.2 sends the answers: on those ports of the address that it sends from.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { ownLoopback } from '../kit/loopback.js';
import { until } from '../kit/processes.js';
import { Message } from '../kit/sip-message.js';
import { type Connection, type Received, SipPeer } from '../kit/sip-peer.js';

const here = fileURLToPath(new URL('.', import.meta.url));

interface Row {
  readonly file: string;
  readonly note: string;
  readonly octets: string;
  /** Right reactions by transport; the first is the ideal. */
  readonly expected: Readonly<Record<'udp' | 'tcp', readonly string[]>>;
  readonly maxAnswers: Readonly<Record<'udp' | 'tcp', number>>;
}

/** `expect` lists reactions; `mode` may say otherwise for TCP (`tcp.expect=400|close`) and how many answers may come. */
function rows(): Row[] {
  const [header, ...lines] = readFileSync(`${here}expectations.tsv`, 'latin1').trimEnd().split('\n');
  const names = header!.split('\t');
  return lines.map((line) => {
    const cells = line.split('\t');
    const cell = (name: string): string => cells[names.indexOf(name)] ?? '';
    const mode = new Map(
      cell('mode')
        .split(',')
        .map((entry) => entry.split('=') as [string, string]),
    );
    const udp = cell('expect').split(',');
    const maxAnswers = Number(mode.get('maxresp') ?? 1);
    return {
      file: cell('file'),
      note: cell('note'),
      octets: readFileSync(`${here}messages/${cell('file')}`, 'latin1'),
      expected: { udp, tcp: mode.get('tcp.expect')?.split('|') ?? udp },
      maxAnswers: { udp: maxAnswers, tcp: Number(mode.get('tcp.maxresp') ?? maxAnswers) },
    };
  });
}

/** A well-formed message may meet any answer but these. */
const MALFORMED = [400, 500, 505, 513];

function accepts(expected: readonly string[], reaction: number | 'drop' | 'close'): boolean {
  if (expected.includes(`!${reaction}`)) return false;
  if (expected.includes(String(reaction))) return true;
  return expected.includes('VALID') && typeof reaction === 'number' && !MALFORMED.includes(reaction);
}

const ROWS = rows();
const TRUNK = ownLoopback();

/** Where answers to the top Via of a message go, whatever host it claims. */
function viaPort(octets: string): number {
  const via = new Message(octets).header('Via').split(',')[0]!;
  const sentBy = via.replace(/;.*$/, '').trim();
  return Number(/\]?:\s*(\d+)$/.exec(sentBy.replace(/\[[^\]]*\]/, 'v6'))?.[1] ?? 5060);
}

/**
 * The RFCs use some branches in several messages, which §17.2.3 makes retransmissions of one transaction. So they are
 * sent in rounds without such a pair, and between rounds the transactions end.
 */
function inRounds(all: readonly Row[]): (Row & { readonly startsRound: boolean })[] {
  const rounds: Row[][] = [];
  const times = new Map<string, number>();
  for (const row of all) {
    const { branch, method } = new Message(row.octets);
    const key = `${branch} ${method}`;
    const round = times.get(key) ?? 0;
    times.set(key, round + 1);
    rounds[round] ??= [];
    rounds[round].push(row);
  }
  return rounds.flatMap((round, number) =>
    round.map((row, index) => ({ ...row, startsRound: number > 0 && index === 0 })),
  );
}

test('the table has every message', () => {
  expect(ROWS).toHaveLength(62);
});

const CONFIG = {
  // Silent transactions end in 3 s, so that the end of the run can look for what is left.
  sip: { timers: { t1: 50, t2: 200, t4: 250 } },
  sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: [TRUNK] }],
};

describe('over UDP', () => {
  let gateway: Gateway;
  const peers = new Map<number, SipPeer>();
  const received = (): Received[] => [...peers.values()].flatMap((peer) => peer.received);

  beforeAll(async () => {
    gateway = await Gateway.start({ config: CONFIG });
    const ports = new Set([5060, ...ROWS.map(({ octets }) => viaPort(octets))]);
    for (const port of ports) {
      if (port > 0 && port < 65_536) peers.set(port, await SipPeer.open('udp', { host: TRUNK, port }));
    }
  });

  afterAll(async () => {
    for (const peer of peers.values()) await peer.close();
    await gateway.stop();
  });

  test.each(inRounds(ROWS))('$file: $note', async ({ octets, expected, maxAnswers, startsRound }) => {
    if (startsRound) await gateway.idle(20_000);
    const sender = peers.get(5060)!;
    const to = { host: '127.0.0.1', port: gateway.port };
    const way = await sender.way(to);
    const before = new Set(received().map(({ raw }) => raw));
    const fresh = (): Received[] => received().filter(({ raw, status }) => !before.has(raw) && status >= 200);
    const answers = (): Received[] => [
      ...new Map(
        fresh()
          .filter(({ callId }) => !callId.startsWith('fence'))
          .map((m) => [m.raw, m]),
      ).values(),
    ];
    way.send(octets);
    await sender.fence(to, way);
    if (!expected.udp.includes('drop')) await until('an answer', () => answers().length > 0, 3_000);
    // Whatever is going to come at once has come with the answer to a second fence.
    await sender.fence(to, way);
    const came = answers();
    expect(came.length).toBeLessThanOrEqual(maxAnswers.udp);
    const reaction = came[0]?.status ?? 'drop';
    expect(accepts(expected.udp, reaction), `${reaction}, not ${expected.udp.join(' or ')}`).toBe(true);
  });

  test('nothing is left of them', async () => {
    await gateway.idle(20_000);
    expect(gateway.program.exit).toBeUndefined();
    expect(gateway.log().filter(({ level }) => level === 50 || level === 'error')).toEqual([]);
  });
});

describe('over TCP', () => {
  let gateway: Gateway;
  let peer: SipPeer;

  beforeAll(async () => {
    gateway = await Gateway.start({ config: CONFIG });
    peer = await SipPeer.open('tcp', { host: TRUNK });
  });

  afterAll(async () => {
    await peer.close();
    await gateway.stop();
  });

  test.each(inRounds(ROWS))('$file: $note', async ({ octets, expected, maxAnswers, startsRound }) => {
    const to = { host: '127.0.0.1', port: gateway.port };
    if (startsRound) await gateway.idle(20_000);
    const connection: Connection = await peer.connect(to);
    const first = peer.received.length;
    const answers = (): Received[] =>
      peer.received.slice(first).filter((m) => m.connection === connection && m.status >= 200);
    connection.send(octets);
    // A stream that waits for the rest of a body would swallow a fence of its own.
    await peer.fence(to, await peer.connect(to));
    if (!expected.tcp.includes('drop')) {
      await until('an answer or the end', () => answers().length > 0 || connection.closed, 3_000);
    }
    await peer.fence(to, await peer.connect(to));
    expect(answers().length).toBeLessThanOrEqual(maxAnswers.tcp);
    const reaction = answers()[0]?.status ?? (connection.closed ? 'close' : 'drop');
    expect(accepts(expected.tcp, reaction), `${reaction}, not ${expected.tcp.join(' or ')}`).toBe(true);
    peer.disconnect();
  });

  test('nothing is left of them', async () => {
    await gateway.idle(20_000);
    await until('no connection', async () => (await gateway.held()).connections === 0);
    expect(gateway.program.exit).toBeUndefined();
    expect(gateway.log().filter(({ level }) => level === 50 || level === 'error')).toEqual([]);
  });
});
