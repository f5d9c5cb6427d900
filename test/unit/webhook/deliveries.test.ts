import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import { silentLogger } from '#lib/logger.js';
import { SqliteStore } from '#store/sqlite/store.js';
import type { Backlog, DeadLetter } from '#webhook/backlog.js';
import { Deliveries, GIVEN_UP_AFTER_MS } from '#webhook/deliveries.js';
import type { Delivery } from '#webhook/sender.js';
import type { Occurrence, Webhook } from '#webhook/webhook.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const webhook = (id: string, more: Partial<Webhook> = {}): Webhook => ({
  id,
  organizationId: 'default',
  url: 'https://hooks.example.com/',
  events: ['*'],
  secrets: [new Secret('key')],
  enabled: true,
  ...more,
});
let last = 0;
const occurrence = (subject: string, type = 'call.changed', organizationId = 'default'): Occurrence => ({
  id: `evt_${++last}`,
  type,
  at: '2030-01-01T00:00:00.000Z',
  organizationId,
  subject,
  data: { subject },
});
const OK: Delivery = { ok: true, status: 204, detail: 'answered 204' };
const NO: Delivery = { ok: false, status: 500, detail: 'answered 500' };

describe('deliveries, on a backlog in SQLite', () => {
  let folder: string;
  let clock: VirtualClock;
  let store: SqliteStore;
  let sent: { webhook: string; event: string; at: number }[];
  let answer: (webhook: Webhook, occurrence: Occurrence) => Promise<Delivery>;
  let buried: DeadLetter[];
  let counts: Record<string, number>;
  let warnings: string[];
  let infos: string[];
  let deliveries: Deliveries;

  /** What the store has not answered yet. */
  let asked: number;
  const counted = async <T>(answered: Promise<T>): Promise<T> => {
    asked++;
    return answered.finally(() => asked--);
  };
  const backlogOf = (of: SqliteStore): Backlog => ({
    add: (items) => counted(of.queue.add('webhooks', items)),
    claim: (limit, leaseMs) => counted(of.queue.claim('webhooks', limit, leaseMs)),
    finish: (id) => counted(of.queue.finish('webhooks', id)),
    postpone: (id, delayMs) => counted(of.queue.postpone('webhooks', id, delayMs)),
  });
  const made = (backlog: Backlog) =>
    new Deliveries({
      clock,
      random: () => 1,
      log: {
        ...silentLogger,
        warn: (_fields: object, message: string) => warnings.push(message),
        info: (_fields: object, message: string) => infos.push(message),
      },
      backlog,
      send: (to, what) => {
        sent.push({ webhook: to.id, event: what.id, at: clock.now() });
        return answer(to, what);
      },
      bury: async (letter) => {
        buried.push(letter);
      },
      observer: {
        delivered: (outcome) => {
          counts[outcome] = (counts[outcome] ?? 0) + 1;
        },
      },
    });
  /** Lets time pass in steps, and everything that was asked for in between be answered. */
  const pass = async (ms: number, step = 50): Promise<void> => {
    for (let passed = 0; passed < ms; passed += step) {
      clock.advance(step);
      do await new Promise((resolve) => setImmediate(resolve));
      while (asked > 0);
    }
  };

  beforeEach(async () => {
    asked = 0;
    folder = mkdtempSync(join(tmpdir(), 'trunkline-webhooks-'));
    clock = new VirtualClock();
    store = await SqliteStore.open({ path: join(folder, 'store.db'), clock, log: silentLogger });
    sent = [];
    buried = [];
    counts = {};
    warnings = [];
    infos = [];
    answer = async () => OK;
    deliveries = made(backlogOf(store));
  });
  afterEach(async () => {
    await deliveries.stop();
    await store.close();
    rmSync(folder, { recursive: true });
  });

  it('tells those that want it, and of their own organisation only', async () => {
    deliveries.configure([
      webhook('all'),
      webhook('ended', { events: ['call.ended'] }),
      webhook('family', { events: ['registration.*'] }),
      webhook('off', { enabled: false }),
      webhook('other', { organizationId: 'other' }),
    ]);
    const one = occurrence('call_1', 'call.started');
    const two = occurrence('call_1', 'call.ended');
    const three = occurrence('reg_1', 'registration.changed');
    for (const what of [one, two, three]) deliveries.tell(what);
    await pass(200);
    const of = (id: string) => sent.filter((one) => one.webhook === id).map(({ event }) => event);
    expect(of('all').sort()).toEqual([one.id, two.id, three.id].sort());
    expect(of('ended')).toEqual([two.id]);
    expect(of('family')).toEqual([three.id]);
    expect(of('off')).toEqual([]);
    expect(of('other')).toEqual([]);
    expect(counts).toEqual({ delivered: 5 });
    expect(await store.queue.size('webhooks')).toBe(0);
  });

  it('keeps the order within a call while attempts fail, and does not hold up other calls', async () => {
    deliveries.configure([webhook('all')]);
    const first = [1, 2, 3].map(() => occurrence('call_1'));
    const other = occurrence('call_2');
    let failures = 2;
    answer = async (_to, { id }) => (id === first[0]!.id && failures-- > 0 ? NO : OK);
    for (const what of [...first, other]) deliveries.tell(what);
    await pass(500);
    expect(sent.map(({ event }) => event)).toEqual([first[0]!.id, other.id]);
    await pass(10_000);
    const lane = sent.filter(({ event }) => event !== other.id).map(({ event }) => event);
    expect(lane).toEqual([first[0]!.id, first[0]!.id, ...first.map(({ id }) => id)]);
    expect(counts).toEqual({ failed: 2, delivered: 4 });
  });

  it('tries ever later, and asks an address that is down by one delivery at a time', async () => {
    deliveries.configure([webhook('down')]);
    answer = async () => NO;
    for (let i = 0; i < 20; i++) deliveries.tell(occurrence(`call_${i}`));
    // Suspected after three rounds of failures: at once, 1 s and 5 s later.
    await pass(10_000);
    expect(sent.length).toBeGreaterThan(40);
    const before = sent.length;
    await pass(600_000, 500);
    // Steps of 15 s, 1 minute, 5 minutes and 15: one attempt each.
    expect(sent.length - before).toBeGreaterThanOrEqual(2);
    expect(sent.length - before).toBeLessThanOrEqual(4);
    answer = async () => OK;
    await pass(900_000 * 2, 500);
    expect(counts.delivered).toBe(20);
    expect(await store.queue.size('webhooks')).toBe(0);
  });

  it('says once that an address fails and once that it is back, and why as long as it does', async () => {
    deliveries.configure([webhook('down')]);
    answer = async () => NO;
    deliveries.tell(occurrence('call_1'));
    await pass(500);
    expect(deliveries.troubleOf('down')).toMatchObject({ failures: 1, detail: 'answered 500' });
    await pass(600_000, 500);
    expect(warnings).toEqual(['a webhook is not delivered: it is tried again for a day, ever later']);
    answer = async () => OK;
    await pass(900_000, 500);
    expect(counts.delivered).toBe(1);
    expect(deliveries.troubleOf('down')).toBeNull();
    expect(infos).toEqual(['a webhook is delivered again']);
  });

  it('says once that the store fails, until it has worked again', async () => {
    await deliveries.stop();
    let broken = true;
    const backlog = backlogOf(store);
    deliveries = made({
      ...backlog,
      claim: (limit, leaseMs) =>
        broken ? Promise.reject(new Error('no store')) : backlog.claim(limit, leaseMs),
    });
    deliveries.start();
    await pass(20_000, 500);
    expect(warnings).toHaveLength(1);
    broken = false;
    await pass(5_000, 500);
    broken = true;
    await pass(20_000, 500);
    expect(warnings).toHaveLength(2);
  });

  it('gives up after a day and keeps the dead letter', async () => {
    deliveries.configure([webhook('down')]);
    answer = async () => NO;
    const what = occurrence('call_1', 'call.ended');
    deliveries.tell(what);
    await pass(GIVEN_UP_AFTER_MS + 1_000_000, 10_000);
    expect(buried).toMatchObject([
      {
        webhookId: 'down',
        organizationId: 'default',
        type: 'call.ended',
        detail: 'answered 500',
        data: { subject: 'call_1' },
      },
    ]);
    expect(counts.dead).toBe(1);
    expect(await store.queue.size('webhooks')).toBe(0);
  });

  it('goes on with what an earlier process left', async () => {
    deliveries.configure([webhook('all')]);
    answer = async () => NO;
    const lane = [occurrence('call_1'), occurrence('call_1')];
    for (const what of lane) deliveries.tell(what);
    await pass(200);
    await deliveries.stop();
    sent = [];
    answer = async () => OK;
    deliveries = made(backlogOf(store));
    deliveries.configure([webhook('all')]);
    deliveries.start();
    await pass(5_000);
    expect(sent.map(({ event }) => event)).toEqual(lane.map(({ id }) => id));
  });

  it('writes what has just happened before it stops', async () => {
    deliveries.configure([webhook('all')]);
    deliveries.tell(occurrence('call_1'));
    await deliveries.stop();
    expect(await store.queue.size('webhooks')).toBe(1);
  });

  it('drops what a deleted webhook would have been told', async () => {
    deliveries.configure([webhook('all')]);
    answer = async () => NO;
    deliveries.tell(occurrence('call_1'));
    await pass(200);
    deliveries.configure([]);
    await pass(5_000);
    expect(await store.queue.size('webhooks')).toBe(0);
  });

  it('keeps what happens while the store takes nothing, and writes it later, in order', async () => {
    let down = true;
    const backlog = backlogOf(store);
    await deliveries.stop();
    deliveries = made({
      ...backlog,
      add: (items) => (down ? Promise.reject(new Error('gone')) : backlog.add(items)),
    });
    deliveries.configure([webhook('all')]);
    const first = occurrence('call_1');
    deliveries.tell(first);
    await pass(200);
    const second = occurrence('call_1');
    deliveries.tell(second);
    await pass(3_000);
    expect(sent).toEqual([]);
    down = false;
    await pass(3_000);
    expect(sent.map(({ event }) => event)).toEqual([first.id, second.id]);
    expect(counts).toEqual({ delivered: 2 });
  });
});
