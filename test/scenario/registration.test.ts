/** A real Kamailio as registrar: over UDP, TCP and TLS an account registers, refreshes, is called and leaves. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../kit/certificates.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { freePort } from '../kit/ports.js';
import { Registrations } from '../kit/registrations.js';
import { Sipp } from '../kit/sipp.js';
import { QUICK } from './quick.js';

const TRANSPORTS = ['udp', 'tcp', 'tls'] as const;
const authority = createAuthority();

/** Grants so little that refreshes come within the test. */
const EXPIRES = 6;

/** An agent with an account of its own, and no number. */
const ownAgent = (registrarPort: number, port: number) => ({
  id: 'own',
  endpoints: [{ uri: `sip:agent@127.0.0.1:${port}` }],
  sipRegistration: {
    domain: 'registrar.test',
    username: 'own',
    password: 'secret',
    proxy: `127.0.0.1:${registrarPort}`,
  },
});

let registrar: KamailioRegistrar;
let agentPort = 0;
const open = () =>
  Registrations.open(
    {
      udp: { port: registrar.port },
      tcp: { port: registrar.port, transport: 'tcp' },
      tls: {
        host: 'localhost',
        port: registrar.tlsPort,
        transport: 'tls',
        trunk: { tls: { ca: authority.ca } },
      },
    },
    {
      config: { ...QUICK, agents: [ownAgent(registrar.port, agentPort)] },
      tls: authority.issue('gateway', ['DNS:localhost', 'IP:127.0.0.1']),
    },
  );
let lines: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  agentPort = await freePort();
  registrar = await KamailioRegistrar.start({
    users: { udp: 'secret', tcp: 'secret', tls: 'secret', own: 'secret' },
    maxExpires: EXPIRES,
    tls: { certificate: authority.issue('registrar', ['DNS:localhost']) },
  });
  lines = await open();
});

afterAll(async () => {
  await lines.gateway.stop();
  await registrar.stop();
});

test.each(TRANSPORTS)('%s: registers', async (name) => {
  const binding = await registrar.bound(name);
  const view = await lines.registered(name);
  expect(view).toMatchObject({
    aor: `sip:${name}@registrar.test`,
    trunkId: name,
    agentId: null,
    phoneNumbers: [lines.accounts[name].number],
    lastVerdict: { code: 'ok', status: 200 },
    timeline: [
      { status: 200, fault: null, verdict: 'ok', realm: 'registrar.test', grantedExpirySeconds: EXPIRES },
    ],
  });
  expect(view.registrar).toMatch(new RegExp(`^${name}:127\\.0\\.0\\.1:`));
  expect(view.contact).toContain(binding.contact);
  expect(new Date(view.expiresAt ?? 0).getTime()).toBeGreaterThan(Date.now() - EXPIRES * 1_000);
  const [first, second] = registrar.seen.filter(({ user }) => user === name);
  // Unauthorised, then with credentials: the same Call-ID, CSeq one higher.
  expect([first?.authorised, second?.authorised]).toEqual([false, true]);
  expect(second?.callId).toBe(first?.callId);
  expect(second?.cseq).toBe((first?.cseq ?? 0) + 1);
  // RFC 3261 §10.2: "The "userinfo" and "@" components of the SIP URI MUST NOT be present".
  expect(first?.requestUri).toMatch(/^sips?:registrar\.test(;|$)/);
  expect(first?.protocol).toBe(name);
});

test.each(TRANSPORTS)('%s: refreshes before the end, with the challenge remembered', async (name) => {
  const own = () => registrar.seen.filter(({ user }) => user === name);
  const before = await registrar.bound(name);
  const after = await registrar.bound(name, ({ cseq }) => cseq > before.cseq + 1, EXPIRES * 6_000);
  expect(after.callId).toBe(before.callId);
  expect(after.contact).toBe(before.contact);
  const [, ...later] = own();
  expect(later.every(({ authorised }) => authorised)).toBe(true);
  expect(later.map(({ cseq }) => cseq)).toEqual(later.map((_, i) => (later[0]?.cseq ?? 0) + i));
  // The flow of the first is the flow of all.
  expect(new Set(own().map(({ source }) => source)).size).toBe(1);
});

test.each(TRANSPORTS)('%s: is called through the binding', async (name) => {
  const { number, agentPort } = lines.accounts[name];
  await registrar.bound(name);
  const agent = await Sipp.start({ scenario: 'uas/answered', port: agentPort });
  const caller = await Sipp.start({ scenario: 'uac/answered', to: registrar.port, service: name });
  await Promise.all([caller.succeed(1), agent.succeed(1)]);
  const [record] = await lines.gateway.waitForRecords(1, ({ callId }) => callId.endsWith(caller.callIdEnd));
  expect(record).toMatchObject({
    trunkId: name,
    did: number,
    agentId: name,
    sipStatus: 200,
    transport: name,
  });
});

test("an agent's own account registers through its proxy, and its calls go to the agent", async () => {
  await registrar.bound('own');
  expect(await lines.registered('own')).toMatchObject({
    aor: 'sip:own@registrar.test',
    trunkId: null,
    agentId: 'own',
    phoneNumbers: [],
  });
  const agent = await Sipp.start({ scenario: 'uas/answered', port: agentPort });
  const caller = await Sipp.start({ scenario: 'uac/answered', to: registrar.port, service: 'own' });
  await Promise.all([caller.succeed(1), agent.succeed(1)]);
  const [record] = await lines.gateway.waitForRecords(1, ({ callId }) => callId.endsWith(caller.callIdEnd));
  expect(record).toMatchObject({ agentId: 'own', sipStatus: 200 });
});

test('un-registers when it stops', async () => {
  await Promise.all(TRANSPORTS.map((name) => registrar.bound(name)));
  const before = registrar.seen.length;
  const { code } = await lines.gateway.stop('SIGTERM', 30_000);
  expect(code).toBe(0);
  expect(await registrar.bindings()).toEqual([]);
  for (const name of TRANSPORTS) {
    const last = registrar.seen.slice(before).filter(({ user }) => user === name);
    expect(last.at(-1)).toMatchObject({ authorised: true });
    expect(`${last.at(-1)?.expires} ${last.at(-1)?.contact}`).toMatch(/^0 |expires=0/);
  }
});
