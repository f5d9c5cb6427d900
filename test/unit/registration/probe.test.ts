/** The staged probe against registrars that a test writes, on real sockets; time stands still where it counts. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { toTrunk } from '#directory/models.js';
import { trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import { EmbeddedEngine } from '#engine/embedded/engine.js';
import { probeConnection } from '#engine/embedded/transport/connection-probe.js';
import type { EngineHandlers } from '#engine/engine.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { Prober, type ProberOptions } from '#registration/probe/prober.js';
import type { ProbeReport, StageName } from '#registration/probe/report.js';
import { formatReport } from '#registration/probe/table.js';
import type { Dns } from '#targets/dns.js';
import { type Authority, createAuthority } from '../../kit/certificates.js';
import { response, source } from '../../kit/fake-engine.js';
import { freePort } from '../../kit/ports.js';
import { parameter } from '../../kit/sip-message.js';
import { type PeerOptions, type Received, SipPeer } from '../../kit/sip-peer.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const PASSWORD = 'correct horse';
const CHALLENGE = 'Digest realm="provider.example",nonce="n1",qop="auth",algorithm=MD5';

const HANDLERS: EngineHandlers = {
  screen: () => 'known',
  onInvite: () => undefined,
  onRequest: () => undefined,
  onNotice: () => undefined,
};

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));
const NO_DNS: Dns = {
  resolveNaptr: failing('ENOTFOUND'),
  resolveSrv: failing('ENOTFOUND'),
  resolve4: failing('ENOTFOUND'),
  resolve6: failing('ENOTFOUND'),
  lookup: failing('ENOTFOUND'),
};

type Answer = readonly [status: number, reason: string, headers?: readonly (readonly [string, string])[]];

let clock: Clock & { readonly armedCount: number };
let engine: EmbeddedEngine;
let peers: SipPeer[] = [];
let authority: Authority;

beforeAll(() => {
  authority = createAuthority();
});

beforeEach(async () => {
  clock = systemClock();
  engine = new EmbeddedEngine({
    listen: [{ transport: 'udp', host: '127.0.0.1', port: 0 }],
    clock,
    ids: new RandomIds(),
  });
  await engine.start(HANDLERS);
});

afterEach(async () => {
  await engine.stop(0);
  for (const peer of peers) await peer.close();
  peers = [];
});

function prober(options: Partial<ProberOptions> = {}): Prober {
  return new Prober({
    engine,
    dns: NO_DNS,
    clock,
    ids: new RandomIds(),
    random: () => 0,
    connect: (target, timeoutMs, done) => probeConnection(clock, target, timeoutMs, done),
    ...options,
  });
}

function trunk(server: string, fields: object = {}): Trunk {
  const account = { authUser: 'acme', authPassword: PASSWORD, domain: 'provider.example' };
  return toTrunk(trunkSchema.parse({ id: 'probe', server, ...account, ...fields }), 'manual');
}

async function probe(of: Trunk, options: Partial<ProberOptions> = {}): Promise<ProbeReport> {
  const report = await prober(options).probe(of);
  if (report === undefined) throw new Error('the probe was not run');
  return report;
}

/** A peer that answers every request by `answer`, which sees REGISTERs only; OPTIONS gets 200. */
async function registrar(
  answer: (register: Received, count: number) => Answer,
  transport: 'udp' | 'tcp' | 'tls' = 'udp',
  options: PeerOptions = {},
): Promise<SipPeer> {
  const peer = await SipPeer.open(transport, options);
  peers.push(peer);
  let registers = 0;
  peer.intercept = (message) => {
    if (message.status > 0) return false;
    const [status, reason, headers] =
      message.method === 'REGISTER' ? answer(message, ++registers) : ([200, 'OK'] as const);
    peer.respond(message, status, reason, { headers });
    return false;
  };
  return peer;
}

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/** RFC 7616 §3.4.1, computed apart from the code under test. */
function isRight(register: Received, password = PASSWORD): boolean {
  const value = register.header('Authorization');
  const part = (name: string): string => new RegExp(`[ ,]${name}="?([^",]+)`).exec(value)?.[1] ?? '';
  const ha1 = md5(`acme:${part('realm')}:${password}`);
  const ha2 = md5(`REGISTER:${part('uri')}`);
  return (
    part('response') === md5(`${ha1}:${part('nonce')}:${part('nc')}:${part('cnonce')}:${part('qop')}:${ha2}`)
  );
}

/** Asks for a password and knows which one. */
function sound(register: Received): Answer {
  if (!register.has('Authorization')) return [401, 'Unauthorized', [['WWW-Authenticate', CHALLENGE]]];
  if (!isRight(register)) return [403, 'Forbidden'];
  const expires = parameter(register.header('Contact'), 'expires');
  if (expires === '0') return [200, 'OK'];
  return [
    200,
    'OK',
    [
      ['Contact', '<sip:other@192.0.2.99>;expires=900'],
      ['Contact', register.header('Contact').replace(/expires=\d+/, 'expires=45')],
    ],
  ];
}

const stages = (report: ProbeReport): [StageName, string][] =>
  report.steps.map(({ stage, outcome }) => [stage, outcome]);

const step = (report: ProbeReport, stage: StageName): ProbeReport['steps'][number] => {
  const found = report.steps.find((each) => each.stage === stage);
  if (found === undefined) throw new Error(`no step ${stage}`);
  return found;
};

const registersOf = (peer: SipPeer): Received[] =>
  peer.received.filter(({ method }) => method === 'REGISTER');

describe('the probe', () => {
  it.each(['udp', 'tcp'] as const)(
    'goes through every stage over %s and leaves nothing behind',
    async (transport) => {
      const peer = await registrar(sound, transport);
      const report = await probe(trunk(peer.hostPort, { transport }));
      expect(report.verdict).toEqual({ code: 'ok', detail: 'registered', status: 200 });
      expect(stages(report)).toEqual([
        ['dns', 'pass'],
        ['connection', 'pass'],
        ['options', 'pass'],
        ['challenge', 'pass'],
        ['register', 'pass'],
        ['unregister', 'pass'],
      ]);
      expect(step(report, 'challenge').facts).toMatchObject({
        realm: 'provider.example',
        algorithm: 'MD5',
        qop: 'auth',
      });
      expect(step(report, 'register').facts).toMatchObject({ grantedExpirySeconds: 45, foreignBindings: 1 });
      const registers = registersOf(peer);
      expect(registers.every(({ uri }) => uri === 'sip:provider.example')).toBe(true);
      expect(new Set(registers.map(({ callId }) => callId)).size).toBe(1);
      const cseqs = registers.map(({ cseq }) => cseq);
      expect(cseqs).toEqual(cseqs.toSorted((a, b) => a - b));
      expect(new Set(cseqs).size).toBe(cseqs.length);
      expect(registers.at(-1)?.header('Expires')).toBe('0');
      expect(registers.at(-1)?.contactUri).toBe(registers[0]?.contactUri);
      expect([report.aor, report.server]).toEqual(['sip:acme@provider.example', peer.hostPort]);
    },
  );

  it('shows no password and no answer to a challenge', async () => {
    const peer = await registrar(sound);
    const report = await probe(trunk(peer.hostPort));
    for (const shown of [JSON.stringify(report), formatReport(report)]) {
      expect(shown).not.toContain(PASSWORD);
      expect(shown).not.toContain('response=');
    }
  });

  it('sends a rejected password once', async () => {
    const peer = await registrar(() => [401, 'Unauthorized', [['WWW-Authenticate', CHALLENGE]]]);
    const report = await probe(trunk(peer.hostPort));
    expect(report.verdict).toMatchObject({ code: 'auth_rejected', status: 401 });
    expect(registersOf(peer).filter((each) => each.has('Authorization'))).toHaveLength(1);
    expect(stages(report).at(-1)).toEqual(['register', 'fail']);
  });

  const refusals: readonly (readonly [string, (register: Received, count: number) => Answer, string])[] = [
    ['403 before a challenge', () => [403, 'Forbidden'], 'forbidden_before_auth'],
    ['404', () => [404, 'Not Found'], 'unknown_user'],
    ['405', () => [405, 'Method Not Allowed'], 'registration_not_supported'],
    ['503 with Retry-After', () => [503, 'Busy', [['Retry-After', '60']]], 'rate_limited'],
    ['500', () => [500, 'Server Internal Error'], 'server_error'],
    ['423 for ever', () => [423, 'Interval Too Brief', [['Min-Expires', '86400']]], 'interval_too_brief'],
    [
      'an algorithm we lack',
      () => [401, 'Unauthorized', [['WWW-Authenticate', 'Digest realm="r",nonce="n",algorithm=AKAv1-MD5']]],
      'algorithm_unsupported',
    ],
    [
      'the wrong password',
      (register) =>
        register.has('Authorization')
          ? [403, 'Forbidden']
          : [401, 'Unauthorized', [['WWW-Authenticate', CHALLENGE]]],
      'auth_rejected',
    ],
  ];
  it.each(refusals)('names %s', async (_name, answer, code) => {
    const peer = await registrar(answer);
    const report = await probe(trunk(peer.hostPort));
    expect(report.verdict.code).toBe(code);
    expect(registersOf(peer).length).toBeLessThanOrEqual(3);
  });

  it('gives a 423 the longer time it asks for, and still removes the binding', async () => {
    const peer = await registrar((register) => {
      const expires = Number(parameter(register.header('Contact'), 'expires'));
      if (expires > 0 && expires < 600) return [423, 'Interval Too Brief', [['Min-Expires', '600']]];
      return sound(register);
    });
    const report = await probe(trunk(peer.hostPort));
    expect(report.verdict.code).toBe('ok');
    expect(stages(report).at(-1)).toEqual(['unregister', 'pass']);
    expect(registersOf(peer).map((each) => each.header('Expires'))).toContain('600');
  });

  it('warns of another realm, and registers all the same', async () => {
    const peer = await registrar(sound);
    const report = await probe(trunk(peer.hostPort, { domain: 'else.example' }));
    expect(report.verdict.code).toBe('realm_mismatch');
    expect(step(report, 'challenge').outcome).toBe('warn');
    expect(stages(report).at(-1)).toEqual(['unregister', 'pass']);
  });

  it('ends with OPTIONS without a user, and with the challenge without a password', async () => {
    const peer = await registrar(sound);
    const anonymous = await probe(trunk(peer.hostPort, { authUser: undefined, authPassword: undefined }));
    expect(anonymous.verdict.code).toBe('ok');
    expect(registersOf(peer)).toHaveLength(0);
    const unarmed = await probe(trunk(peer.hostPort, { authPassword: undefined }));
    expect(unarmed.verdict.code).toBe('ok');
    expect(step(unarmed, 'register').outcome).toBe('skip');
    expect(registersOf(peer)).toHaveLength(1);
  });

  it('goes through an outbound proxy', async () => {
    const proxy = await registrar(sound);
    const report = await probe(trunk('provider.example', { outboundProxy: proxy.hostPort }));
    expect(report.verdict.code).toBe('ok');
    expect(registersOf(proxy)[0]?.header('Route')).toBe(`<sip:${proxy.hostPort};lr>`);
  });

  it('removes what a registrar gives without a password', async () => {
    const peer = await registrar(() => [200, 'OK']);
    const report = await probe(trunk(peer.hostPort));
    expect(report.verdict.code).toBe('ok');
    expect(registersOf(peer).map((each) => each.header('Expires'))).toEqual(['60', '0']);
  });

  it.each(['udp', 'tcp'] as const)('tells a dead port over %s', async (transport) => {
    const report = await probe(trunk(`127.0.0.1:${await freePort()}`, { transport }));
    expect(report.verdict.code).toBe('connection_refused');
    expect(stages(report)).toContainEqual(['register', 'skip']);
  });

  it('shows the records of a name, and takes the targets from them', async () => {
    const peer = await registrar(sound);
    const dns: Dns = {
      ...NO_DNS,
      resolveSrv: async (name) =>
        name === '_sip._udp.provider.example'
          ? [{ name: 'edge.provider.example', port: peer.port, priority: 10, weight: 5 }]
          : failing('ENOTFOUND')(),
      resolve4: async () => [{ address: '127.0.0.1', ttl: 60 }],
    };
    const report = await probe(trunk('provider.example'), { dns, families: [4] });
    expect(report.verdict.code).toBe('ok');
    expect(step(report, 'dns').facts).toMatchObject({
      targets: [`udp:127.0.0.1:${peer.port}`],
      records: [
        {
          type: 'SRV',
          name: '_sip._udp.provider.example',
          answer: [`10 5 ${peer.port} edge.provider.example`],
        },
        { type: 'A', name: 'edge.provider.example', answer: ['127.0.0.1'] },
      ],
    });
    expect(formatReport(report)).toContain(
      `SRV _sip._udp.provider.example: 10 5 ${peer.port} edge.provider.example`,
    );
  });

  it('names a name that leads nowhere', async () => {
    const report = await probe(trunk('nowhere.example'));
    expect(report.verdict.code).toBe('dns_not_found');
    expect(
      stages(report)
        .slice(1)
        .every(([, outcome]) => outcome === 'skip'),
    ).toBe(true);
  });
});

describe('the probe over TLS', () => {
  const pem = (files: { certFile: string; keyFile: string }): PeerOptions => ({
    tls: { cert: readFileSync(files.certFile, 'utf8'), key: readFileSync(files.keyFile, 'utf8') },
  });
  const ipName = ['IP:127.0.0.1'];

  it('shows the certificate of a good server', async () => {
    const peer = await registrar(sound, 'tls', pem(authority.issue('sip.provider.example', ipName)));
    const report = await probe(
      trunk(peer.hostPort, { transport: 'tls', tls: { ca: readFileSync(authority.caFile, 'utf8') } }),
    );
    expect(report.verdict.code).toBe('ok');
    const tls = step(report, 'tls');
    // Two days are left.
    expect(tls.outcome).toBe('warn');
    expect(tls.facts).toMatchObject({
      version: 'TLSv1.3',
      chain: [
        { subject: 'CN=sip.provider.example', issuer: 'CN=Test Authority', names: ['IP Address:127.0.0.1'] },
        { subject: 'CN=Test Authority' },
      ],
    });
  });

  it.each([
    ['tls_untrusted', () => authority.issue('a', ipName), false],
    ['tls_wrong_name', () => authority.issue('a', ['DNS:other.example']), true],
    ['tls_expired', () => authority.issue('a', ipName, -1), true],
  ] as const)('says %s, shows the certificate, and sends nothing', async (code, issue, trusted) => {
    const peer = await registrar(sound, 'tls', pem(issue()));
    const tls = trusted ? { ca: readFileSync(authority.caFile, 'utf8') } : {};
    const report = await probe(trunk(peer.hostPort, { transport: 'tls', tls }));
    expect(report.verdict.code).toBe(code);
    expect(step(report, 'tls').facts.chain).toContainEqual(expect.objectContaining({ subject: 'CN=a' }));
    expect(peer.received).toEqual([]);
  });

  it('says tls_failed where no TLS is spoken', async () => {
    const peer = await registrar(sound, 'tcp');
    peer.intercept = undefined;
    const connected = peer.connection();
    const probing = probe(trunk(peer.hostPort, { transport: 'tls' }));
    (await connected).send('SIP/2.0 400 Bad Request\r\n\r\n');
    expect((await probing).verdict.code).toBe('tls_failed');
  });
});

describe('the time of a probe', () => {
  /** Lets promises and timers take turns until the probe is over; gives the time that it took. */
  async function run(virtual: VirtualClock, options: Partial<ProberOptions>): Promise<ProbeReport> {
    let report: ProbeReport | undefined;
    void probe(trunk('192.0.2.1', { transport: 'tcp' }), { clock: virtual, ...options }).then((done) => {
      report = done;
    });
    for (let i = 0; report === undefined && i < 10_000; i++) {
      await Promise.resolve();
      if (i % 20 === 19) virtual.advance(100);
    }
    if (report === undefined) throw new Error('the probe hangs');
    return report;
  }

  const open: ProberOptions['connect'] = (_target, _timeoutMs, done) =>
    done({ connectMs: 1, tls: null, fault: null });

  it('is five seconds for a step that is not answered', async () => {
    const virtual = new VirtualClock();
    const report = await run(virtual, {
      connect: open,
      engine: { leavesFrom: () => undefined, request: () => undefined },
    });
    expect(report.verdict.code).toBe('no_response');
    expect(report.steps.every(({ durationMs }) => durationMs <= 5_020)).toBe(true);
    expect(report.durationMs).toBeLessThan(10_500);
    expect(stages(report)).toContainEqual(['challenge', 'fail']);
  });

  it('is half a minute at most, however slow every answer is', async () => {
    const virtual = new VirtualClock();
    let registers = 0;
    const later = (done: () => void): void => virtual.arm(new CallbackTimer(done), 4_900);
    const report = await run(virtual, {
      connect: (_target, _ms, done) => later(() => done({ connectMs: 4_900, tls: null, fault: null })),
      engine: {
        leavesFrom: () => undefined,
        request: ({ method }, done) => {
          // Each answer asks for a longer time than the one before.
          const lines = method === 'REGISTER' ? [`Min-Expires: ${100 * 2 ** ++registers}`] : [];
          const answer = response(method === 'REGISTER' ? 423 : 200, lines);
          later(() => done({ kind: 'response', response: answer, source: source() }));
        },
      },
    });
    expect(registers).toBeGreaterThan(2);
    expect(report.durationMs).toBeGreaterThan(20_000);
    expect(report.durationMs).toBeLessThanOrEqual(30_100);
  });

  it('is shared: beyond eight at once there is none', async () => {
    const busy = prober({ clock: new VirtualClock(), connect: () => undefined });
    const of = trunk('192.0.2.1', { transport: 'tcp' });
    for (let i = 0; i < 8; i++) void busy.probe(of);
    expect(await busy.probe(of)).toBeUndefined();
  });
});
