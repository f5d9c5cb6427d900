/** Webhooks on a real store. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SecretBox } from '#directory/secret-box.js';
import type { Store } from '#directory/store.js';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import type { Trouble } from '#webhook/deliveries.js';
import { WEBHOOKS_MAX, WebhookRegistry } from '#webhook/registry.js';
import type { Webhook } from '#webhook/webhook.js';
import { newBox, sqlitePlace } from '../../kit/editor.js';

const AUTHOR = { organizationId: 'acme', name: 'token t1' };
const FIELDS = { url: 'https://hooks.example.com/', events: ['call.*'], description: null, enabled: true };

describe('webhooks in the store', () => {
  let place: ReturnType<typeof sqlitePlace>;
  let store: Store;
  let box: SecretBox;
  let registry: WebhookRegistry;
  let configured: readonly Webhook[];
  const troubles = new Map<string, Trouble>();

  const made = (of: Store, configure: (webhooks: readonly Webhook[]) => void) =>
    new WebhookRegistry({
      store: of,
      box,
      ids: new RandomIds(),
      clock: systemClock(),
      log: silentLogger,
      configure,
      closed: (url) => (url.includes('192.0.2.1') ? 'closed there' : null),
      troubleOf: (id) => troubles.get(id) ?? null,
      deadLettersMax: 10,
    });
  const create = async (fields = FIELDS, author = AUTHOR) => {
    const outcome = await registry.create(author, fields);
    if (outcome.kind !== 'written') throw new Error(outcome.kind);
    return outcome;
  };

  beforeEach(async () => {
    place = sqlitePlace();
    store = await place.open();
    box = newBox();
    registry = made(store, (webhooks) => {
      configured = webhooks;
    });
    await registry.start();
  });
  afterEach(async () => {
    registry.stop();
    await store.close();
    place.remove();
  });

  it('are refused where nothing could be sent, and changed nothing then', async () => {
    const closed = { kind: 'closed', detail: 'closed there' };
    const url = 'https://192.0.2.1/';
    expect(await registry.create(AUTHOR, { ...FIELDS, url })).toEqual(closed);
    const { webhook } = await create();
    expect(await registry.update(AUTHOR, webhook.id, { url })).toEqual(closed);
    expect(await registry.list('acme')).toEqual([webhook]);
  });

  it('say why they are not told', async () => {
    const { webhook } = await create();
    expect(webhook.trouble).toBeNull();
    const trouble = { failures: 2, at: '2030-01-01T00:00:00.000Z', detail: 'answered 500' };
    troubles.set(webhook.id, trouble);
    expect(await registry.get('acme', webhook.id)).toEqual({ ...webhook, trouble });
    expect(await registry.list('acme')).toEqual([{ ...webhook, trouble }]);
  });

  it('are in force at once, and on other nodes soon', async () => {
    const second = await place.open();
    let there: readonly Webhook[] = [];
    const other = made(second, (webhooks) => {
      there = webhooks;
    });
    await other.start();
    const { webhook, secret } = await create();
    expect(secret.reveal()).toMatch(/^whsec_[a-z2-7]{52}$/);
    await expect.poll(() => configured.length).toBe(1);
    await expect
      .poll(() => there.map(({ id, secrets }) => [id, secrets[0]!.reveal()]))
      .toEqual([[webhook.id, secret.reveal()]]);
    other.stop();
    await second.close();
  });

  it('are changed, seen and removed by their organisation only', async () => {
    const { webhook } = await create();
    const stranger = { organizationId: 'other', name: 'token t2' };
    expect(await registry.get('other', webhook.id)).toBeUndefined();
    expect(await registry.list('other')).toEqual([]);
    expect(await registry.update(stranger, webhook.id, { enabled: false })).toEqual({ kind: 'not_found' });
    expect(await registry.rotate(stranger, webhook.id)).toEqual({ kind: 'not_found' });
    expect(await registry.remove(stranger, webhook.id)).toEqual({ kind: 'not_found' });
    expect(await registry.update(AUTHOR, webhook.id, { enabled: false }, webhook.version)).toMatchObject({
      webhook: { enabled: false, url: FIELDS.url, version: 2 },
    });
    expect(await registry.update(AUTHOR, webhook.id, { enabled: true }, webhook.version)).toEqual({
      kind: 'changed',
    });
    expect(await registry.remove(AUTHOR, webhook.id)).toEqual({ kind: 'removed' });
    await expect.poll(() => configured).toEqual([]);
  });

  it('sign with the former secret too, until the one after the next', async () => {
    const { webhook, secret } = await create();
    const second = await registry.rotate(AUTHOR, webhook.id);
    const third = await registry.rotate(AUTHOR, webhook.id);
    if (second.kind !== 'written' || third.kind !== 'written') throw new Error('not rotated');
    await expect
      .poll(() => configured[0]?.secrets.map((each) => each.reveal()))
      .toEqual([third.secret.reveal(), second.secret.reveal()]);
    expect(third.secret.reveal()).not.toBe(secret.reveal());
  });

  it('keep their secrets sealed, and name every change', async () => {
    const { secret } = await create();
    const bytes = [place.path, `${place.path}-wal`]
      .map((path) => readFileSync(path).toString('latin1'))
      .join('');
    expect(bytes).not.toContain(secret.reveal());
    expect(bytes).toContain('hooks.example.com');
    const audit = await store.list('auditEntry', { organizationId: 'acme', limit: 10 });
    expect(audit.map(({ document }) => document)).toMatchObject([
      {
        by: 'token t1',
        action: 'create',
        kind: 'webhook',
        fields: ['url', 'events', 'description', 'enabled'],
      },
    ]);
  });

  it('are bounded', async () => {
    for (let i = 0; i < WEBHOOKS_MAX; i++) await create();
    expect(await registry.create(AUTHOR, FIELDS)).toEqual({ kind: 'too_many', most: WEBHOOKS_MAX });
    expect((await create(FIELDS, { organizationId: 'other', name: 'x' })).kind).toBe('written');
  });

  it('leave dead letters, the latest first and bounded', async () => {
    const letter = (at: number, organizationId = 'acme') => ({
      id: 'x',
      webhookId: 'wh_1',
      organizationId,
      type: 'call.ended',
      at: `at ${at}`,
      failedAt: '2030-01-01T00:00:00.000Z',
      detail: 'answered 500',
      data: { callId: 'c' },
    });
    await registry.bury(letter(0, 'other'));
    for (let i = 1; i <= 3; i++) {
      await registry.bury(letter(i));
    }
    const dead = await registry.deadLetters('acme');
    expect(dead.map(({ at }) => at)).toEqual(['at 3', 'at 2', 'at 1']);
    expect(await registry.forgetDeadLetter('other', dead[0]!.id)).toBe(false);
    expect(await registry.forgetDeadLetter('acme', dead[0]!.id)).toBe(true);
    expect((await registry.deadLetters('acme')).map(({ at }) => at)).toEqual(['at 2', 'at 1']);
    for (let i = 4; i <= 10 + 5; i++) await registry.bury(letter(i));
    expect(await registry.deadLetters('acme')).toHaveLength(10);
    expect(await registry.deadLetters('other')).toHaveLength(1);
  });
});
