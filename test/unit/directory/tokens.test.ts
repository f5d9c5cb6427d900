import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '#directory/store.js';
import { Tokens } from '#directory/tokens.js';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { sqlitePlace } from '../../kit/editor.js';
import { until } from '../../kit/processes.js';

const ACME = { organizationId: 'acme', name: 'administrator' };
let place: ReturnType<typeof sqlitePlace>;
const opened: { store: Store; tokens: Tokens }[] = [];

async function node(): Promise<Tokens> {
  const store = await place.open();
  const tokens = new Tokens({
    store,
    memory: store.memory,
    ids: new RandomIds(),
    clock: systemClock(),
    log: silentLogger,
  });
  await tokens.start();
  opened.push({ store, tokens });
  return tokens;
}

beforeEach(() => {
  place = sqlitePlace();
});

afterEach(async () => {
  for (const { store, tokens } of opened.splice(0)) {
    tokens.stop();
    await store.close();
  }
  place.remove();
});

describe('a token', () => {
  it('says who holds it, and is nowhere kept', async () => {
    const tokens = await node();
    const { token, view } = await tokens.create(ACME, 'ci', ['read', 'calls']);
    expect(token).toMatch(/^tl_[a-z2-7]{16}_[A-Za-z0-9_-]{43}$/);
    expect(tokens.authenticate(token)).toEqual({
      tokenId: view.tokenId,
      organizationId: 'acme',
      scopes: ['read', 'calls'],
    });
    const { objects } = await opened[0]!.store.load(['token', 'auditEntry']);
    expect(JSON.stringify(objects)).not.toContain(token.split('_')[2]);
  });

  it('is nobody with another secret, id or form', async () => {
    const tokens = await node();
    const one = (await tokens.create(ACME, 'one', ['read'])).token;
    const two = (await tokens.create(ACME, 'two', ['read'])).token;
    const mixed = `${one.slice(0, 20)}${two.slice(20)}`;
    for (const wrong of [
      mixed,
      one.slice(0, -1),
      `${one}A`,
      one.toUpperCase(),
      '',
      'tl__',
      'x'.repeat(10_000),
    ]) {
      expect(tokens.authenticate(wrong), wrong.slice(0, 60)).toBeUndefined();
    }
  });

  it('is known to every node, and refused by every node once revoked', async () => {
    const [one, two] = [await node(), await node()];
    const { token, view } = await one.create(ACME, 'ci', ['read']);
    await until('the other node knows it', () => two.authenticate(token) !== undefined, 2_000);
    expect(await two.revoke({ ...ACME, organizationId: 'other' }, view.tokenId)).toBe(false);
    expect(await two.revoke(ACME, view.tokenId)).toBe(true);
    expect(await two.revoke(ACME, view.tokenId)).toBe(true);
    expect(two.authenticate(token)).toBeUndefined();
    await until('the other node refuses it', () => one.authenticate(token) === undefined, 2_000);
    const third = await node();
    expect(third.authenticate(token)).toBeUndefined();
  });

  it('is listed by organisation, with its last use', async () => {
    const tokens = await node();
    const { token, view } = await tokens.create(ACME, 'ci', ['read']);
    await tokens.create({ ...ACME, organizationId: 'other' }, 'theirs', ['write']);
    expect(await tokens.list('acme')).toMatchObject([{ name: 'ci', lastUsedAt: null, revokedAt: null }]);
    tokens.authenticate(token);
    await until('its use is noted', async () => (await tokens.list('acme'))[0]?.lastUsedAt !== null);
    expect(await tokens.list()).toHaveLength(2);
    await tokens.revoke(ACME, view.tokenId);
    expect((await tokens.list('acme'))[0]?.revokedAt).toBeTypeOf('number');
  });
});
