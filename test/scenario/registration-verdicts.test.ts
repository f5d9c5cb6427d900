/**
 * What is wrong, and the word for it: every way in which a registration fails at a real Kamailio, or finds nobody,
 * has its own verdict. All of them live in one gateway, so none disturbs another.
 */
import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProbeReport } from '#registration/probe/report.js';
import type { VerdictCode } from '#registration/verdict.js';
import { createAuthority } from '../kit/certificates.js';
import { API_TOKEN } from '../kit/gateway.js';
import { KamailioRegistrar, type RegistrarOptions } from '../kit/kamailio-registrar.js';
import { freePort } from '../kit/ports.js';
import { Program, ROOT } from '../kit/processes.js';
import { type AccountOptions, Registrations } from '../kit/registrations.js';
import { QUICK } from './quick.js';

const authority = createAuthority();
const stranger = createAuthority('Stranger');

interface Row {
  readonly what: string;
  /** Absent: what `at` does not start is not there. */
  readonly registrar?: Omit<RegistrarOptions, 'users'>;
  readonly account?: Partial<AccountOptions>;
  /** Which of the registrar's ports. Default `port`. */
  readonly door?: 'port' | 'tlsPort';
  readonly verdict: VerdictCode;
  /** Where the probe finds out more than a REGISTER does. */
  readonly probed?: VerdictCode;
  readonly state: 'registered' | 'retrying' | 'auth_rejected' | 'failed';
  /** Of the newest attempt. */
  readonly attempt: Readonly<Record<string, unknown>>;
}

const tls = (names: readonly string[], days?: number, by = authority): Omit<RegistrarOptions, 'users'> => ({
  tls: { certificate: by.issue('registrar', names, days) },
});
const OVER_TLS: Partial<AccountOptions> = {
  host: 'localhost',
  transport: 'tls',
  trunk: { tls: { ca: authority.ca } },
};

const ROWS = {
  right: {
    what: 'user and password are right',
    registrar: {},
    verdict: 'ok',
    state: 'registered',
    attempt: { status: 200, realm: 'registrar.test', algorithm: 'MD5' },
  },
  sha256: {
    what: 'SHA-256 only',
    registrar: { algorithm: 'SHA-256' },
    verdict: 'ok',
    state: 'registered',
    attempt: { status: 200, algorithm: 'SHA-256' },
  },
  password: {
    what: 'wrong password',
    registrar: {},
    account: { password: 'wrong' },
    verdict: 'auth_rejected',
    state: 'auth_rejected',
    attempt: { status: 401 },
  },
  user: {
    what: 'unknown user',
    registrar: { unknownUser: 404 },
    account: { user: 'nobody' },
    verdict: 'unknown_user',
    state: 'failed',
    attempt: { status: 404 },
  },
  address: {
    what: 'IP not allowed',
    registrar: { allowedSources: ['192.0.2.1'] },
    verdict: 'forbidden_before_auth',
    state: 'failed',
    attempt: { status: 403 },
  },
  realm: {
    what: 'wrong realm',
    registrar: { realm: 'other.test' },
    verdict: 'realm_mismatch',
    state: 'registered',
    attempt: { status: 200, realm: 'other.test' },
  },
  brief: {
    what: '423 for what is asked at first',
    registrar: { minExpires: 7_200, maxExpires: 7_200 },
    verdict: 'ok',
    state: 'registered',
    attempt: { status: 200, grantedExpirySeconds: 7_200 },
  },
  tooBrief: {
    what: '423 for anything within reason',
    registrar: { minExpires: 100_000, maxExpires: 100_000 },
    verdict: 'interval_too_brief',
    state: 'retrying',
    attempt: { status: 423 },
  },
  busy: {
    what: '503 with Retry-After',
    registrar: { unavailable: 600 },
    verdict: 'rate_limited',
    state: 'retrying',
    attempt: { status: 503 },
  },
  unsupported: {
    what: 'no registrar at all',
    registrar: { noRegistrar: true },
    verdict: 'registration_not_supported',
    state: 'failed',
    attempt: { status: 405 },
  },
  deadTcp: {
    what: 'dead port over TCP',
    account: { transport: 'tcp' },
    verdict: 'connection_refused',
    state: 'retrying',
    attempt: { status: null, fault: 'refused' },
  },
  deadTls: {
    what: 'dead port over TLS',
    account: OVER_TLS,
    verdict: 'connection_refused',
    state: 'retrying',
    attempt: { status: null, fault: 'refused' },
  },
  // Nothing tells the gateway's own UDP socket that a port is closed: there is only silence. The probe asks with another.
  deadUdp: {
    what: 'dead port over UDP',
    verdict: 'no_response',
    probed: 'connection_refused',
    state: 'retrying',
    attempt: { status: null, fault: 'timeout' },
  },
  silent: {
    what: 'silent host',
    verdict: 'no_response',
    state: 'retrying',
    attempt: { status: null, fault: 'timeout' },
  },
  tlsToUdp: {
    what: 'TLS port given to UDP',
    registrar: tls(['DNS:localhost']),
    door: 'tlsPort',
    verdict: 'no_response',
    probed: 'connection_refused',
    state: 'retrying',
    attempt: { status: null, fault: 'timeout' },
  },
  tlsToTcp: {
    what: 'TLS port given to TCP',
    registrar: tls(['DNS:localhost']),
    account: { transport: 'tcp' },
    door: 'tlsPort',
    verdict: 'no_response',
    state: 'retrying',
    attempt: { status: null },
  },
  tcpToTls: {
    what: 'TCP port given to TLS',
    registrar: {},
    account: OVER_TLS,
    // The connection opens and the handshake gets no answer.
    verdict: 'tls_failed',
    state: 'retrying',
    attempt: { status: null, fault: 'tls' },
  },
  trusted: {
    what: 'certificate as it should be',
    registrar: tls(['DNS:localhost']),
    account: OVER_TLS,
    door: 'tlsPort',
    verdict: 'ok',
    state: 'registered',
    attempt: { status: 200 },
  },
  untrusted: {
    what: 'untrusted certificate',
    registrar: tls(['DNS:localhost'], 2, stranger),
    account: OVER_TLS,
    door: 'tlsPort',
    verdict: 'tls_untrusted',
    state: 'retrying',
    attempt: { status: null, fault: 'tls' },
  },
  expired: {
    what: 'expired certificate',
    registrar: tls(['DNS:localhost'], -1),
    account: OVER_TLS,
    door: 'tlsPort',
    verdict: 'tls_expired',
    state: 'retrying',
    attempt: { status: null, fault: 'tls' },
  },
  misnamed: {
    what: 'misnamed certificate',
    registrar: tls(['DNS:elsewhere.test']),
    account: OVER_TLS,
    door: 'tlsPort',
    verdict: 'tls_wrong_name',
    state: 'retrying',
    attempt: { status: null, fault: 'tls' },
  },
} as const satisfies Record<string, Row>;
type Name = keyof typeof ROWS;
const NAMES = Object.keys(ROWS) as Name[];

const registrars: Partial<Record<Name, KamailioRegistrar>> = {};
const blackHole = createSocket('udp4');
const accounts = {} as Record<Name, AccountOptions>;
let lines: Registrations<Name>;

/** Starts what the row needs; returns the port that the account is given. */
async function arrange(name: Name): Promise<number> {
  const row: Row = ROWS[name];
  if (name === 'silent') {
    await new Promise<void>((resolve) => blackHole.bind(0, '127.0.0.1', resolve));
    return blackHole.address().port;
  }
  if (row.registrar === undefined) return freePort();
  const registrar = await KamailioRegistrar.start({ users: { [name]: 'secret' }, ...row.registrar });
  registrars[name] = registrar;
  return registrar[row.door ?? 'port'];
}

beforeAll(async () => {
  for (const name of NAMES) {
    const row: Row = ROWS[name];
    accounts[name] = { ...row.account, port: await arrange(name) };
  }
  lines = await Registrations.open(accounts, {
    config: QUICK,
    tls: authority.issue('gateway', ['DNS:localhost']),
  });
});

afterAll(async () => {
  await lines.close();
  await Promise.all(Object.values(registrars).map((registrar) => registrar.stop()));
  blackHole.close();
});

test.each(NAMES.map((name) => [ROWS[name].what, name] as const))('%s (%s)', async (_, name) => {
  const row: Row = ROWS[name];
  await lines.attempts(name);
  const view = await lines.until(name, 'has settled', ({ state }) => state === row.state);
  expect(view.lastVerdict).toMatchObject({ code: row.verdict });
  expect(view.timeline.at(-1)).toMatchObject({ verdict: row.verdict, ...row.attempt });
  expect(view.lastVerdict?.detail).toMatch(/\w/);
});

test('423 is a verdict of its own before more is asked for', async () => {
  const { timeline } = await lines.view('brief');
  expect(timeline.map(({ verdict }) => verdict)).toEqual(['interval_too_brief', 'ok']);
});

test.each([
  // As Retry-After says.
  ['busy', 600],
  // A wrong password is not insisted on: providers block who does.
  ['password', 900],
] as const)('%s: the next attempt is at least %i s away', async (name, seconds) => {
  const { timeline, nextAttemptAt } = await lines.view(name);
  expect(timeline).toHaveLength(1);
  const [{ at } = { at: '' }] = timeline;
  expect(Date.parse(nextAttemptAt ?? '') - Date.parse(at)).toBeGreaterThanOrEqual(seconds * 1_000);
});

test('no answer and no log line has a password', async () => {
  const said = `${JSON.stringify(await lines.all())}${lines.gateway.program.stdout}${lines.gateway.program.stderr}`;
  expect(said).toContain('registrar.test');
  // The key of the store has its own name, `secret-key`.
  for (const word of [/\bsecret\b(?!-key)/, /response=/]) expect(said).not.toMatch(word);
});

/** Runs `npm run probe` on an account. */
async function probe(name: Name): Promise<{ report: ProbeReport; code: number | null }> {
  const { host = '127.0.0.1', port, transport = 'udp', user = name, password = 'secret' } = accounts[name];
  const program = new Program(
    'probe',
    process.execPath,
    [
      ...[join(ROOT, 'dist/probe.js'), `${host}:${port}`, '--transport', transport, '--user', user],
      ...[
        '--domain',
        'registrar.test',
        '--json',
        ...(transport === 'tls' ? ['--ca-file', authority.caFile] : []),
      ],
    ],
    { env: { ...process.env, TRUNKLINE_PROBE_PASSWORD: password } },
  );
  const { code } = await program.exited;
  if (program.stdout === '') throw new Error(program.tail);
  return { report: JSON.parse(program.stdout) as ProbeReport, code };
}

/** Every row by HTTP, of the saved trunk and of a body that is not saved, in turn: only so many probes run at once. */
test('POST /sip-credentials/{id}/test and /sip-credentials/test say the same', {
  timeout: 300_000,
}, async () => {
  const { gateway } = lines;
  const post = async (path: string, body?: object): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/sip-credentials/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${API_TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  const ask = async (name: Name, saved: boolean): Promise<void> => {
    const { host = '127.0.0.1', port, transport = 'udp', user = name, password, trunk } = accounts[name];
    const { status, text } = await (saved
      ? post(`${name}/test`)
      : post('test', {
          server: `${host}:${port}`,
          transport,
          authUser: user,
          authPassword: password ?? 'secret',
          domain: 'registrar.test',
          ...trunk,
        }));
    expect({ name, status, text }).toMatchObject({ status: 200 });
    const { verdict: live, probed = live }: Row = ROWS[name];
    const report = JSON.parse(text) as ProbeReport;
    expect({ name, saved, code: report.verdict.code }).toEqual({ name, saved, code: probed });
    expect(text).not.toContain('secret');
  };
  const left = NAMES.flatMap((name) => [[name, true] as const, [name, false] as const]);
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await ask(next[0], next[1]);
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  expect((await post('nobody/test')).status).toBe(404);
  const bad = await post('test', { server: 'sip:x@y', authPasswort: 'secret' });
  expect(bad.status).toBe(400);
  expect(bad.text).toContain('authPasswort');
  expect(bad.text).not.toContain('"secret"');
});

test.concurrent.each(NAMES.map((name) => [ROWS[name].what, name] as const))(
  'the probe says of: %s (%s)',
  async (_, name) => {
    const { verdict: live, probed: verdict = live }: Row = ROWS[name];
    const { report, code } = await probe(name);
    expect(report.verdict).toMatchObject({ code: verdict });
    expect(code).toBe(verdict === 'ok' ? 0 : 1);
    // What it tried on the way, in order, and nothing of the password.
    expect(report.steps.map(({ stage }) => stage)).toEqual(
      expect.arrayContaining(['dns', 'options', 'register']),
    );
    expect(JSON.stringify(report)).not.toContain('secret');
    // Its own binding is gone again; that of the gateway stays.
    if (ROWS[name].state === 'registered') expect(await registrars[name]?.bindings()).toHaveLength(1);
  },
);
