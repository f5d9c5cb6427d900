/**
 * Two real Kamailios behind one name: an account registers at the first that answers, stays where its binding lives,
 * and goes elsewhere only when it must. Their health shows, too.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TargetView } from '#registration/target-view.js';
import { DnsServer } from '../kit/dns-server.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { until } from '../kit/processes.js';
import { Registrations } from '../kit/registrations.js';

const NAMES = ['udp', 'tcp'] as const;
type Name = (typeof NAMES)[number];
const PING = { optionsPing: { intervalSeconds: 1, failAfter: 2, okAfter: 2 } };
/** Refreshes come within the test. */
const EXPIRES = 6;

let dns: DnsServer;
let first: KamailioRegistrar;
let second: KamailioRegistrar;

const open = () =>
  Registrations.open(
    {
      udp: { port: 0, transport: 'udp', trunk: { ...PING, server: 'sip.provider.test' } },
      tcp: { port: 0, transport: 'tcp', trunk: { ...PING, server: 'sip.provider.test' } },
      // Does not register: known by its address alone.
      plain: { port: 0, trunk: { ...PING, server: `127.0.0.1:${first.port}` } },
    },
    {
      config: {
        dns: { servers: [dns.address] },
        // A transaction gives up after 64 of T1.
        sip: { timers: { t1: 50, t2: 200, t4: 500 } },
      },
    },
  );
let lines: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  dns = await DnsServer.start();
  const users = { udp: 'secret', tcp: 'secret' };
  [first, second] = await Promise.all([
    KamailioRegistrar.start({ users, maxExpires: EXPIRES }),
    KamailioRegistrar.start({ users, maxExpires: EXPIRES }),
  ]);
  for (const transport of NAMES) {
    dns.set(
      `_sip._${transport}.sip.provider.test`,
      { type: 'SRV', priority: 10, weight: 1, port: first.port, target: 'a.provider.test' },
      { type: 'SRV', priority: 20, weight: 1, port: second.port, target: 'b.provider.test' },
    );
  }
  dns.set('a.provider.test', { type: 'A', address: '127.0.0.1' });
  dns.set('b.provider.test', { type: 'A', address: '127.0.0.1' });
  await first.kill();
  lines = await open();
  lines.edit((config) => {
    config.phoneNumbers = config.phoneNumbers.map((number) =>
      number.credentialsId === 'plain' ? { ...number, registration: false } : number,
    );
  });
});

afterAll(async () => {
  await lines.close();
  await Promise.all([first.stop(), second.stop(), dns.stop()]);
});

async function targets(): Promise<Record<string, string>> {
  const answer = await lines.gateway.get('/api/v1/targets');
  const { items } = (await answer.json()) as { items: TargetView[] };
  return Object.fromEntries(items.map(({ target, health }) => [target, health]));
}

const seenAt = (registrar: KamailioRegistrar, name: Name): number =>
  registrar.seen.filter(({ user }) => user === name).length;
const isAt = (name: Name, registrar: KamailioRegistrar): Promise<unknown> =>
  lines.until(
    name,
    `is registered at ${registrar.port}`,
    ({ state, registrar: at }) => state === 'registered' && at === `${name}:127.0.0.1:${registrar.port}`,
    60_000,
  );

test('the first is dead, so the second is used', { timeout: 90_000 }, async () => {
  await Promise.all(NAMES.map((name) => second.bound(name, undefined, 60_000)));
  await Promise.all(NAMES.map((name) => isAt(name, second)));
  const { timeline } = await lines.view('tcp');
  expect(timeline[0]).toMatchObject({ target: `tcp:127.0.0.1:${first.port}`, fault: expect.any(String) });
  expect(timeline.find(({ status }) => status === 200)?.target).toBe(`tcp:127.0.0.1:${second.port}`);
  await until(
    'a dead server shows',
    async () => (await targets())[`udp:127.0.0.1:${first.port}`] === 'down',
    60_000,
  );
  expect((await targets())[`udp:127.0.0.1:${second.port}`]).toBe('up');
  const series = (port: number): string => `trunkline_target_up{target="udp:127.0.0.1:${port}"}`;
  const metrics = await lines.gateway.metrics();
  expect([metrics.get(series(first.port)), metrics.get(series(second.port))]).toEqual([0, 1]);
});

test('the time line says that the first refused the connection', async () => {
  expect((await lines.view('tcp')).timeline[0]).toMatchObject({ fault: 'refused' });
});

test('the first is back, and nobody leaves the second', { timeout: 90_000 }, async () => {
  await first.restart();
  await until('it shows', async () => (await targets())[`udp:127.0.0.1:${first.port}`] === 'up', 60_000);
  const before = NAMES.map((name) => [seenAt(first, name), seenAt(second, name)] as const);
  // Two refreshes each.
  await Promise.all(
    NAMES.map((name, index) =>
      until(`${name} refreshes twice`, () => seenAt(second, name) >= (before[index]?.[1] ?? 0) + 2, 60_000),
    ),
  );
  expect(NAMES.map((name) => seenAt(first, name))).toEqual(before.map(([atFirst]) => atFirst));
});

test('the second dies, so all go back to the first', { timeout: 90_000 }, async () => {
  await second.kill();
  await Promise.all(NAMES.map((name) => first.bound(name, undefined, 60_000)));
  await Promise.all(NAMES.map((name) => isAt(name, first)));
});
