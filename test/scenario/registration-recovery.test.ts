/** What a registration lives through: the registrar dies and returns, connections break, the configuration changes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../kit/certificates.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { Registrations } from '../kit/registrations.js';
import { TcpRelay } from '../kit/tcp-relay.js';

const authority = createAuthority();
const USERS = {
  udp: 'secret',
  tcp: 'secret',
  tls: 'secret',
  cut: 'secret',
  cutTls: 'secret',
  frozen: 'secret',
  leaving: 'secret',
  staying: 'secret',
  mended: 'right',
};
const OVER_TLS = { host: 'localhost', transport: 'tls', trunk: { tls: { ca: authority.ca } } } as const;
/** A registrar's death is noticed by OPTIONS where nothing else tells. */
const PING = { optionsPing: { intervalSeconds: 1, failAfter: 2, okAfter: 1 } };

let mortal: KamailioRegistrar;
let lasting: KamailioRegistrar;
let cutRelay: TcpRelay;
let cutTlsRelay: TcpRelay;
let frozenRelay: TcpRelay;

const open = () =>
  Registrations.open(
    {
      udp: { port: mortal.port, trunk: PING },
      tcp: { port: mortal.port, transport: 'tcp', trunk: PING },
      tls: { ...OVER_TLS, port: mortal.tlsPort, trunk: { ...OVER_TLS.trunk, ...PING } },
      cut: { port: cutRelay.port, transport: 'tcp' },
      cutTls: { ...OVER_TLS, port: cutTlsRelay.port },
      frozen: { port: frozenRelay.port, transport: 'tcp', trunk: PING },
      leaving: { port: lasting.port },
      staying: { port: lasting.port },
      mended: { port: lasting.port, password: 'wrong' },
    },
    // A transaction gives up after 64 of T1.
    {
      config: { sip: { timers: { t1: 50, t2: 200, t4: 500 } } },
      tls: authority.issue('gateway', ['DNS:localhost']),
    },
  );
let lines: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  const tls = { certificate: authority.issue('registrar', ['DNS:localhost']) };
  [mortal, lasting] = await Promise.all([
    KamailioRegistrar.start({ users: USERS, tls }),
    KamailioRegistrar.start({ users: USERS, tls }),
  ]);
  [cutRelay, cutTlsRelay, frozenRelay] = await Promise.all([
    TcpRelay.open(lasting.port),
    TcpRelay.open(lasting.tlsPort),
    TcpRelay.open(lasting.port),
  ]);
  lines = await open();
});

afterAll(async () => {
  await lines.close();
  await Promise.all([mortal, lasting].map((registrar) => registrar.stop()));
  await Promise.all([cutRelay, cutTlsRelay, frozenRelay].map((relay) => relay.close()));
});

test.concurrent('Kamailio is killed and comes back: registered again within 10 s', {
  timeout: 120_000,
}, async () => {
  const names = ['udp', 'tcp', 'tls'] as const;
  await Promise.all(names.map((name) => mortal.bound(name)));
  await mortal.kill();
  // It stays away until everybody has noticed, and tried again in vain.
  await Promise.all(
    names.map((name) =>
      lines.until(name, 'has noticed', (view) => view.timeline.some(({ fault }) => fault !== null), 60_000),
    ),
  );
  await mortal.restart();
  await Promise.all(names.map((name) => mortal.bound(name, undefined, 10_000)));
  for (const name of names) {
    const { lastVerdict } = await lines.registered(name);
    expect(lastVerdict).toMatchObject({ code: 'ok' });
  }
});

test.concurrent('a connection that goes silent is found and left', { timeout: 150_000 }, async () => {
  const before = await lasting.bound('frozen');
  await lines.registered('frozen');
  frozenRelay.freeze();
  const after = await lasting.bound('frozen', ({ received }) => received !== before.received, 130_000);
  expect(after.cseq).toBeGreaterThan(before.cseq);
  await lines.registered('frozen');
});

test.each([
  ['cut', () => cutRelay],
  ['cutTls', () => cutTlsRelay],
] as const)('%s: a connection that breaks is opened and registered again at once', async (name, relay) => {
  const before = await lasting.bound(name);
  await lines.registered(name);
  const connections = relay().accepted;
  relay().cut();
  const after = await lasting.bound(name, ({ received }) => received !== before.received);
  expect(after.callId).toBe(before.callId);
  expect(after.cseq).toBeGreaterThan(before.cseq);
  expect(relay().accepted).toBeGreaterThan(connections);
  await lines.registered(name);
});

test('a number that goes un-registers its account, and no other one', async () => {
  await Promise.all([lasting.bound('leaving'), lasting.bound('staying')]);
  await Promise.all([lines.registered('leaving'), lines.registered('staying')]);
  const seen = () => lasting.seen.filter(({ user }) => user === 'staying').length;
  const before = seen();
  lines.edit((config) => {
    config.phoneNumbers = config.phoneNumbers.filter((number) => number.credentialsId !== 'leaving');
  });
  await lasting.unbound('leaving');
  expect((await lasting.bindings('staying')).length).toBe(1);
  expect(seen()).toBe(before);
});

test('a rejected password is tried again at once when it changes', async () => {
  await lines.until('mended', 'is rejected', ({ state }) => state === 'auth_rejected');
  expect(await lasting.bindings('mended')).toEqual([]);
  lines.edit((config) => {
    const trunk = config.sipCredentials.find(({ id }) => id === 'mended');
    if (trunk !== undefined) trunk.authPassword = 'right';
  });
  await lasting.bound('mended');
  await lines.registered('mended');
});
