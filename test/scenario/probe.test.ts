/** `npm run probe` as a process, and the probe of a running gateway, against a real Kamailio. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { ProbeReport } from '#registration/probe/report.js';
import { type Authority, createAuthority } from '../kit/certificates.js';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { ROOT, temporaryFolder } from '../kit/processes.js';

const PASSWORD = 'opensesame';

let authority: Authority;
let registrar: KamailioRegistrar;

beforeAll(async () => {
  authority = createAuthority();
  registrar = await KamailioRegistrar.start({
    users: { acme: PASSWORD },
    tls: { certificate: authority.issue('registrar.test', ['DNS:localhost', 'IP:127.0.0.1']) },
  });
});
afterAll(() => registrar.stop());

interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

function probe(args: readonly string[], password: string | undefined = PASSWORD): Promise<Run> {
  const fault = inject('buildFault');
  if (fault) throw new Error(fault);
  const child = spawn(process.execPath, [join(ROOT, 'dist/probe.js'), ...args], {
    cwd: ROOT,
    env: { ...process.env, TRUNKLINE_PROBE_PASSWORD: password },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output, errors })));
}

const account = ['--user', 'acme', '--domain', 'registrar.test'];

describe('npm run probe', () => {
  it.each(['udp', 'tcp', 'tls'] as const)(
    'finds a good account over %s and leaves no binding',
    async (transport) => {
      const tls = transport === 'tls';
      const { code, output, errors } = await probe([
        `127.0.0.1:${tls ? registrar.tlsPort : registrar.port}`,
        ...account,
        ...['--transport', transport],
        ...(tls ? ['--ca-file', authority.caFile] : []),
      ]);
      expect(errors).toBe('');
      expect(output).toContain('Verdict: ok: registered');
      expect(output).toContain(`as sip:acme@registrar.test`);
      if (tls) expect(output).toContain('CN=registrar.test, by CN=Test Authority');
      expect(output).not.toContain(PASSWORD);
      expect(code).toBe(0);
      await registrar.unbound('acme');
    },
  );

  it('says that a password is wrong, sends it once, and exits with 1', async () => {
    const before = registrar.seen.filter(({ authorised }) => authorised).length;
    const { code, output } = await probe([`127.0.0.1:${registrar.port}`, ...account, '--json'], 'wrong');
    const report = JSON.parse(output) as ProbeReport;
    expect(report.verdict).toMatchObject({ code: 'auth_rejected', status: 401 });
    expect(report.steps.map(({ stage, outcome }) => `${stage} ${outcome}`)).toEqual([
      'dns pass',
      'connection pass',
      'options pass',
      'challenge pass',
      'register fail',
    ]);
    expect(registrar.seen.filter(({ authorised }) => authorised).length - before).toBe(1);
    expect(code).toBe(1);
  });

  it('takes the password from a file, with or without a line end', async () => {
    const file = join(temporaryFolder('probe'), 'password');
    writeFileSync(file, `${PASSWORD}\n`);
    const { code } = await probe(
      [`127.0.0.1:${registrar.port}`, ...account, '--password-file', file],
      undefined,
    );
    expect(code).toBe(0);
  });

  it('warns of another realm and does not call that ok', async () => {
    const { code, output } = await probe([
      `127.0.0.1:${registrar.port}`,
      ...['--user', 'acme', '--domain', 'else.test'],
    ]);
    expect(output).toContain('Verdict: realm_mismatch: ');
    expect(code).toBe(1);
  });

  it('does not trust a certificate that nobody vouches for', async () => {
    const { code, output } = await probe([
      `127.0.0.1:${registrar.tlsPort}`,
      ...account,
      ...['--transport', 'tls'],
    ]);
    expect(output).toContain('Verdict: tls_untrusted: ');
    expect(code).toBe(1);
  });

  it.each([
    ['no server', []],
    ['two servers', ['a.example', 'b.example']],
    ['a server that is none', ['sip:a.example']],
    ['an unknown option', ['a.example', '--pasword', 'x']],
    ['a password for everybody to see', ['a.example', '--password', 'x']],
    ['a file that is not there', ['a.example', '--password-file', '/nowhere/at/all']],
    ['an unknown transport', ['a.example', '--transport', 'sctp']],
  ])('exits with 2 at %s, and says what may be said', async (_name, args) => {
    const { code, output, errors } = await probe(args);
    expect(errors).toContain('Usage: npm run probe');
    expect([code, output]).toEqual([2, '']);
  });
});

describe('the probe of a running gateway', () => {
  it('tests credentials that are saved, and a body that is not', async () => {
    const server = `127.0.0.1:${registrar.port}`;
    const gateway = await Gateway.start({
      config: {
        // The registrar is nobody's trunk here: its answers are let in because it was asked.
        sip: { unknownSources: 'drop' },
        sipCredentials: [
          { id: 'good', server, authUser: 'acme', authPassword: PASSWORD, domain: 'registrar.test' },
        ].map((trunk) => ({ ...trunk, allowedAddresses: ['192.0.2.1'] })),
      },
    });
    const test = async (path: string, body?: object): Promise<ProbeReport> => {
      const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/sip-credentials/${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${API_TOKEN}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      expect(text).not.toContain(PASSWORD);
      expect(response.status).toBe(200);
      return JSON.parse(text) as ProbeReport;
    };
    try {
      expect((await test('good/test')).verdict.code).toBe('ok');
      const body = { server, transport: 'tcp', authUser: 'nobody', authPassword: PASSWORD };
      expect((await test('test', body)).verdict.code).toBe('auth_rejected');
      await registrar.unbound('acme');
    } finally {
      await gateway.stop();
    }
  });
});
