/** The client against a real Redis that comes and goes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import { RedisClient, RedisFault, RedisScript } from '#store/redis/client.js';
import { until } from '../../kit/processes.js';
import { RedisServer } from '../../kit/redis.js';

const script = new RedisScript("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}");

describe('the Redis client', () => {
  let server: RedisServer;
  let client: RedisClient;

  beforeAll(async () => {
    server = await RedisServer.start();
    client = new RedisClient({ url: server.url, log: silentLogger, commandTimeoutMs: 300 });
    await client.start();
  });

  afterAll(async () => {
    client.close();
    await server.stop();
  });

  it('gives commands and says that it is well', async () => {
    expect(client.health()).toEqual({ ok: true, detail: `connected to 127.0.0.1:${server.port}` });
    expect(await client.command('SET', 'a', 1)).toBe('OK');
    expect(await client.command('GET', 'a')).toBe('1');
    expect(
      await client.transaction([
        ['SET', 'a', '2'],
        ['GET', 'a'],
      ]),
    ).toEqual(['OK', '2']);
  });

  it('gives a script to a Redis that does not know it', async () => {
    await client.command('SET', 'k', 'v');
    await client.command('SCRIPT', 'FLUSH');
    expect(await client.run(script, ['k'], ['x'])).toEqual(['k', 'x', 'v']);
    const before = (await server.commandCounts()).get('eval') ?? 0;
    expect(await client.run(script, ['k'], ['x'])).toEqual(['k', 'x', 'v']);
    expect((await server.commandCounts()).get('eval')).toBe(before);
  });

  it('tells a refusal by Redis from a Redis that cannot be reached', async () => {
    await expect(client.command('INCR', 'k')).rejects.toMatchObject({ kind: 'refused' });
    await expect(client.run(new RedisScript('return nonsense('), [], [])).rejects.toMatchObject({
      kind: 'refused',
    });
    await expect(
      client.transaction([
        ['SET', 'k', 'v'],
        ['INCR', 'k'],
      ]),
    ).rejects.toBeInstanceOf(RedisFault);
  });

  it('hears what is published', async () => {
    const heard: string[] = [];
    client.subscribe('one', (message) => heard.push(`1 ${message}`));
    client.subscribe('two', (message) => heard.push(`2 ${message}`));
    await until('both are heard', async () => {
      await client.command('PUBLISH', 'one', 'a');
      await client.command('PUBLISH', 'two', 'b');
      return heard.includes('1 a') && heard.includes('2 b');
    });
  });

  it('fails soon while Redis stands still, and goes on after it', async () => {
    server.pause();
    await expect(client.command('GET', 'a')).rejects.toMatchObject({ kind: 'timeout' });
    server.resume();
    await until('it answers again', () =>
      client.command('PING').then(
        (answer) => answer === 'PONG',
        () => false,
      ),
    );
  });

  it('gives up a connection that has gone silent and opens another', async () => {
    const turns: boolean[] = [];
    const end = client.onTurn((up) => turns.push(up));
    server.pause();
    // As whoever lives on Redis does: it asks again and again.
    await until('the connection is given up', async () => {
      await client.command('PING').catch(() => undefined);
      return turns.length > 0;
    });
    expect(turns).toEqual([false]);
    server.resume();
    await until('it is back', () => client.up);
    expect(await client.command('PING')).toBe('PONG');
    end();
  });

  it('fails at once without Redis, and comes back with its subscriptions', async () => {
    await server.kill();
    await until('the loss is noticed', () => !client.up);
    expect(client.health().ok).toBe(false);
    expect(client.health().detail).toContain(`127.0.0.1:${server.port}`);
    await expect(client.command('PING')).rejects.toMatchObject({ kind: 'down' });
    await server.restart('kept');
    await until('it is back', () => client.up);
    expect(await client.command('GET', 'a')).toBe('2');
    const heard: string[] = [];
    client.subscribe('one', (message) => heard.push(message));
    await until('it is heard', async () => {
      await client.command('PUBLISH', 'one', 'again');
      return heard.includes('again');
    });
  });

  it('finds nothing in a Redis that comes back empty', async () => {
    await server.kill();
    await server.restart('empty');
    await until('it is back', () => client.up);
    expect(await client.command('GET', 'a')).toBeNull();
    expect(await client.run(script, ['k'], ['x'])).toEqual(['k', 'x', null]);
  });

  it('says no password when it cannot connect', async () => {
    const lost = new RedisClient({ url: 'redis://user:pa55word@127.0.0.1:1/', log: silentLogger });
    await lost.start();
    expect(lost.health().detail).toMatch(/^no connection to 127\.0\.0\.1:1: /);
    expect(lost.health().detail).not.toContain('pa55word');
    await expect(lost.command('PING')).rejects.toMatchObject({ kind: 'down' });
    lost.close();
  });
});

describe('a Redis whose clock is moved', () => {
  it('steps back and forward', async () => {
    const server = await RedisServer.start({ movableClock: true });
    const seconds = async (): Promise<number> => Number((await server.command('TIME'))[0]);
    const start = await seconds();
    server.shiftClock(-100);
    expect((await seconds()) - start).toBeLessThan(-90);
    server.shiftClock(100);
    expect((await seconds()) - start).toBeGreaterThan(90);
    await server.stop();
  });
});

describe('a Redis that cannot be reached', () => {
  const told = async (url: string): Promise<object[]> => {
    const warnings: object[] = [];
    const log = { ...silentLogger, warn: (fields: object) => warnings.push(fields) };
    const client = new RedisClient({ url, log });
    await client.start();
    // Several attempts further, there is still nothing new to say.
    const attempts = await new Promise<number>((resolve) => {
      let count = 0;
      client.connection.on('close', () => {
        if (++count === 3) resolve(count);
      });
    });
    expect(attempts).toBe(3);
    expect(client.health().detail).not.toContain('Connection is closed');
    client.close();
    return warnings;
  };

  it('is told once, with the cause: nobody listens', async () => {
    const server = await RedisServer.start();
    await server.stop();
    expect(await told(server.url)).toEqual([
      { redis: `127.0.0.1:${server.port}`, fault: expect.stringContaining('ECONNREFUSED') },
    ]);
  });

  it('is told once, with the cause: a wrong password', async () => {
    const server = await RedisServer.start();
    const open = new RedisClient({ url: server.url, log: silentLogger });
    await open.start();
    await open.command('CONFIG', 'SET', 'requirepass', 'sesame');
    open.close();
    const warnings = await told(server.url.replace('redis://', 'redis://:wrong@'));
    await server.stop();
    expect(warnings).toEqual([
      { redis: `127.0.0.1:${server.port}`, fault: expect.stringContaining('WRONGPASS') },
    ]);
  });
});
