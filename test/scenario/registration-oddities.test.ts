/**
 * Registrars as they should not be, by SIPp: what they demand is done where it can be, and nothing that they answer
 * makes the gateway send more than a REGISTER a second, or any to a place that was not configured.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RegistrationAttempt } from '#registration/registration-view.js';
import { freePort } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { type AccountOptions, Registrations } from '../kit/registrations.js';
import { Sipp, type SippMessage } from '../kit/sipp.js';
import { QUICK } from './quick.js';

/** End by themselves, content or not. */
const CONTENT = {
  noOutbound: 'no-outbound',
  severalChallenges: 'several-challenges',
  proxyThenRegistrar: 'proxy-then-registrar',
  nextNonce: 'next-nonce',
  foreignBindings: 'foreign-bindings',
  serviceRoute: 'service-route',
} as const;
/** Go on for ever. */
const LOOPS = {
  staleLoop: 'stale-loop',
  challengeLoop: 'challenge-loop',
  unsupportedAlgorithm: 'unsupported-algorithm',
  forbidsAccount: 'forbids-account',
  shortGrant: 'short-grant',
  redirect: 'redirect',
  manyContacts: 'many-contacts',
  nonsense: 'nonsense',
  tooBriefForEver: 'too-brief-for-ever',
  failing: 'failing',
} as const;
type Content = keyof typeof CONTENT;
type Loop = keyof typeof LOOPS;
type Name = Content | Loop;

const sipps = {} as Record<Name, Sipp>;
let lines: Registrations<Name>;
/** Where the redirecting registrar sends everybody. */
let elsewhere = 0;
let visitors = 0;
const datagrams = createSocket('udp4');
const connections = createServer();

beforeAll(async () => {
  elsewhere = await freePort();
  datagrams.on('message', () => visitors++);
  connections.on('connection', () => visitors++);
  await new Promise<void>((resolve) => datagrams.bind(elsewhere, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => connections.listen(elsewhere, '127.0.0.1', resolve));
  const accounts = {} as Record<Name, AccountOptions>;
  for (const [name, scenario] of Object.entries({ ...CONTENT, ...LOOPS }) as [Name, string][]) {
    // Flows to keep, and so outbound, are for connections.
    const transport = name === 'noOutbound' ? 'tcp' : 'udp';
    sipps[name] = await Sipp.start({
      transport: transport === 'tcp' ? 't1' : 'u1',
      scenario: `registrar/${scenario}`,
      service: String(elsewhere),
      trace: true,
      timeoutSeconds: 200,
    });
    accounts[name] = { port: sipps[name].port, transport };
  }
  lines = await Registrations.open(accounts, { config: QUICK });
});

afterAll(async () => {
  await Promise.all(Object.values(sipps).map((sipp) => sipp.stop()));
  await lines.close();
  datagrams.close();
  connections.close();
});

function field({ text }: SippMessage, name: string): string {
  return new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i').exec(text)?.[1] ?? '';
}

/** REGISTERs that have reached a registrar, each once. */
function registers(name: Name): SippMessage[] {
  const seen = new Set<string>();
  return sipps[name].messages().filter((message) => {
    const { direction, startLine, text } = message;
    if (direction !== 'received' || !startLine.startsWith('REGISTER ') || seen.has(text)) return false;
    seen.add(text);
    return true;
  });
}

test.each([
  [
    'noOutbound',
    'comes again without outbound where the first hop lacks it (439)',
    { status: 200, grantedExpirySeconds: 600 },
  ],
  [
    'severalChallenges',
    'answers the strongest of several challenges',
    { status: 200, algorithm: 'SHA-512-256', realm: 'registrar.test' },
  ],
  ['proxyThenRegistrar', 'answers a proxy and then the registrar', { status: 200 }],
  ['nextNonce', 'uses the next nonce that it was given', { status: 200, grantedExpirySeconds: 600 }],
  [
    'foreignBindings',
    'finds its own among the bindings of others, and its address as it is seen',
    {
      status: 200,
      grantedExpirySeconds: 900,
      foreignBindings: 2,
      natAddress: expect.stringContaining('203.0.113.9'),
    },
  ],
] as const satisfies readonly (readonly [Content, string, Partial<RegistrationAttempt>])[])(
  '%s: %s',
  async (name, _, attempt) => {
    await sipps[name].succeed(1);
    const { timeline } = await lines.until(
      name,
      'shows the last attempt',
      (view) => view.state === 'registered' && view.timeline.at(-1)?.grantedExpirySeconds !== 4,
    );
    expect(timeline.at(-1)).toMatchObject(attempt);
    const all = registers(name);
    expect(new Set(all.map((message) => field(message, 'Call-ID'))).size).toBe(1);
    const cseqs = all.map((message) => Number.parseInt(field(message, 'CSeq'), 10));
    expect(cseqs).toEqual(cseqs.map((_cseq, i) => (cseqs[0] ?? 0) + i));
  },
);

test('a Service-Route is kept for later requests, and Path is offered', async () => {
  await lines.registered('serviceRoute');
  expect((await lines.view('serviceRoute')).serviceRoute).toEqual([
    '<sip:orig@edge.registrar.test;lr>',
    '<sip:core.registrar.test;lr>',
  ]);
  expect((await lines.view('foreignBindings')).serviceRoute).toEqual([]);
  expect(registers('serviceRoute').map((message) => field(message, 'Supported'))).toEqual(['path']);
});

test.each([
  ['staleLoop', 'auth_rejected', 'auth_rejected'],
  ['challengeLoop', 'auth_rejected', 'auth_rejected'],
  ['forbidsAccount', 'auth_rejected', 'auth_rejected'],
  ['unsupportedAlgorithm', 'failed', 'algorithm_unsupported'],
  ['redirect', 'failed', 'server_error'],
  ['tooBriefForEver', 'retrying', 'interval_too_brief'],
  ['failing', 'retrying', 'server_error'],
] as const)('%s ends as %s: %s', async (name, state, code) => {
  const view = await lines.until(name, `is ${state}`, (now) => now.state === state);
  expect(view.lastVerdict).toMatchObject({ code });
});

test('hundreds of contacts of others are counted, and 200 without anything to read is taken at its word', async () => {
  expect(await lines.attempts('manyContacts')).toMatchObject({ status: 200, foreignBindings: 500 });
  expect(await lines.registered('nonsense')).toMatchObject({ lastVerdict: { code: 'ok' } });
});

test('no registrar gets credentials for an algorithm that is not computed', () => {
  for (const message of registers('unsupportedAlgorithm')) expect(field(message, 'Authorization')).toBe('');
});

/** Requests of one exchange, the challenged one and its repeats, are one attempt. */
const CHALLENGES = 4;

test('no registrar makes an account send more than one REGISTER a second', async () => {
  await lines.until('shortGrant', 'has been refreshed', ({ timeline }) => timeline.length >= 5);
  await until('six REGISTERs where every one asks for the next', () => registers('shortGrant').length >= 6);
  for (const name of Object.keys(LOOPS) as Loop[]) {
    const times = registers(name)
      .filter((message) => field(message, 'Authorization') === '')
      .map(({ at }) => at);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    expect({ name, tooSoon: gaps.filter((gap) => gap < 990) }).toEqual({ name, tooSoon: [] });
    // The cap on challenges: no second holds more than one exchange.
    const all = registers(name).map(({ at }) => at);
    for (const at of all) {
      expect(all.filter((other) => other >= at && other < at + 990).length).toBeLessThanOrEqual(CHALLENGES);
    }
  }
});

test('nobody goes where a registrar redirects to', () => {
  expect(registers('redirect').length).toBeGreaterThan(0);
  expect(visitors).toBe(0);
});
