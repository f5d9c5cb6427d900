import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RandomIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { redisKey } from '#store/redis/keys.js';
import { RedisStore } from '#store/redis/store.js';
import { deskOn, newBox } from '../../kit/editor.js';
import { until } from '../../kit/processes.js';
import { RedisServer } from '../../kit/redis.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { put, storeContract } from './store.contract.js';

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

describe('the change feed of Redis', () => {
  it('is a push: another node hears of a write while its time stands still', async () => {
    await server.command('FLUSHALL');
    const base = { url: server.url, ids: new RandomIds(), log: silentLogger };
    const channel = redisKey('store', 'changed');
    const listening = async (): Promise<number> =>
      Number(((await server.command('PUBSUB', 'NUMSUB', channel)) as unknown[])[1]);
    await until('nobody listens', async () => (await listening()) === 0);
    const one = await RedisStore.open({ ...base, clock: systemClock() });
    const two = await RedisStore.open({ ...base, clock: new VirtualClock() });
    await until('both listen', async () => (await listening()) === 2);
    let heard = 0;
    two.watch((sequence) => {
      heard = sequence;
    });
    for (let n = 0; n < 3; n++) {
      const outcome = await one.transaction([put('agent', 'a', { n })]);
      if (outcome.kind !== 'committed') throw new Error(outcome.kind);
      await until('it is heard', () => heard === outcome.sequence);
    }
    await one.close();
    await two.close();
  });

  it('looks when nothing was pushed: a message that was lost is made up for within a second', async () => {
    await server.command('FLUSHALL');
    const clock = new VirtualClock();
    const store = await RedisStore.open({ url: server.url, clock, ids: new RandomIds(), log: silentLogger });
    const heard: number[] = [];
    store.watch((sequence) => heard.push(sequence));
    // As a write does, but for the message.
    const sequence = await server.command('HINCRBY', redisKey('store', 'state'), 'sequence', '41');
    expect(await store.load([])).toMatchObject({ sequence: Number(sequence) });
    expect(heard).toEqual([]);
    clock.advance(999);
    await until('it is heard', () => heard.length > 0);
    expect(heard).toEqual([Number(sequence)]);
    await store.close();
  });
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
