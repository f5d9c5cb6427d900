import { afterAll, beforeAll, expect, it } from 'vitest';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { RedisStore } from '#store/redis/store.js';
import { deskOn, newBox } from '../../kit/editor.js';
import { until } from '../../kit/processes.js';
import { RedisServer } from '../../kit/redis.js';
import { storeContract } from './store.contract.js';

let server: RedisServer;

beforeAll(async () => {
  server = await RedisServer.start();
});

afterAll(() => server.stop());

storeContract('Redis', async () => {
  await server.command('FLUSHALL');
  const base = { url: server.url, clock: systemClock(), ids: new RandomIds(), log: silentLogger };
  return {
    open: (limits) => RedisStore.open({ ...base, ...limits }),
    remove: async () => undefined,
  };
});

it('Redis that dies changes nothing of what nodes know; back again, they catch up and write on', async () => {
  await server.command('FLUSHALL');
  const base = { url: server.url, clock: systemClock(), ids: new RandomIds(), log: silentLogger };
  const box = newBox();
  const one = await deskOn(await RedisStore.open(base), { box });
  const two = await deskOn(await RedisStore.open(base), { box });
  const author = { organizationId: 'acme', name: 'token t' };
  expect((await one.editor.create(author, 'agent', { id: 'before' })).kind).toBe('written');
  await until('the other has it', () => two.live.directory.current.agent('before') !== undefined);
  await server.kill();
  await expect(one.editor.create(author, 'agent', { id: 'meanwhile' })).rejects.toThrow(/connection/);
  expect(one.live.directory.current.agent('before')).toBeDefined();
  await until('it is noticed', () => !one.store.health().ok && !two.store.health().ok);
  await server.restart('kept');
  await until('both are back', () => one.store.health().ok && two.store.health().ok);
  expect((await one.editor.create(author, 'agent', { id: 'after' })).kind).toBe('written');
  await until('the other has it', () => two.live.directory.current.agent('after') !== undefined);
  expect(two.live.directory.current.agent('before')).toBeDefined();
  expect(two.live.directory.current.agent('meanwhile')).toBeUndefined();
  await one.close();
  await two.close();
});
