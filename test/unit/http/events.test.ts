/** Events as a stream, over real connections. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HttpPorts } from '#http/ports.js';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { EVENT_TYPES, Events } from '#observe/events.js';
import { snapshotOf } from '../../kit/directory.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';

/** One open stream, read block by block. */
class Stream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #abort: AbortController;
  #text = '';

  constructor(response: Response, abort: AbortController) {
    this.#reader = response.body!.getReader();
    this.#abort = abort;
  }

  /** The next block that is an event; undefined when the stream has ended. */
  async next(): Promise<{ id: string | undefined; event: string; data: unknown } | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end < 0) {
        const { done, value } = await this.#reader.read();
        if (done) return undefined;
        this.#text += new TextDecoder().decode(value);
        continue;
      }
      const lines = this.#text.slice(0, end).split('\n');
      this.#text = this.#text.slice(end + 2);
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const event = field('event');
      if (event !== undefined) return { id: field('id'), event, data: JSON.parse(field('data')!) };
    }
  }

  close(): void {
    this.#abort.abort();
  }
}

describe('the stream of events', () => {
  let events: Events;
  let server: HttpServer;
  let url: string;

  let following: number;

  const follow: HttpPorts['events']['follow'] = (after, listener) => {
    const { missed, stop } = events.follow(after, listener);
    following++;
    return {
      missed,
      stop: () => {
        following--;
        stop();
      },
    };
  };

  beforeEach(async () => {
    following = 0;
    events = new Events({ clock: systemClock(), log: silentLogger, epoch: 'evt_t' });
    server = new HttpServer({
      host: '127.0.0.1',
      port: 0,
      token: TOKEN,
      log: silentLogger,
      ports: scriptedPorts({
        events: { types: EVENT_TYPES, follow },
        directory: { current: snapshotOf({ agents: [{ id: 'a', organizationId: 'acme' }] }) },
        tokens: {
          ...scriptedPorts().tokens,
          authenticate: (token) =>
            token === 'acme-token' ? { tokenId: 't1', organizationId: 'acme', scopes: ['read'] } : undefined,
        },
      }),
    });
    url = `${await server.start()}/api/v1/events`;
  });
  afterEach(async () => {
    await server.stop();
  });

  const get = async (query = '', headers: Record<string, string> = {}, token = TOKEN) => {
    const abort = new AbortController();
    const response = await fetch(url + query, {
      headers: { authorization: `Bearer ${token}`, ...headers },
      signal: abort.signal,
    });
    return { response, abort };
  };
  const open = async (...given: Parameters<typeof get>): Promise<Stream> => {
    const { response, abort } = await get(...given);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    return new Stream(response, abort);
  };
  const happen = (subject: string, organizationId = 'default') =>
    events.publish(organizationId, 'registration.removed', subject, {
      registrationId: subject,
      aor: 'sip:line\n\nend@b',
    });

  it('tells what happens, one event a block, whatever is in the data', async () => {
    const stream = await open();
    happen('r1');
    expect(await stream.next()).toEqual({
      id: 'evt_t-1',
      event: 'registration.removed',
      data: {
        id: 'evt_t-1',
        type: 'registration.removed',
        at: expect.stringMatching(/^\d{4}-.*Z$/),
        organizationId: 'default',
        data: { registrationId: 'r1', aor: 'sip:line\n\nend@b' },
      },
    });
    stream.close();
  });

  it('goes on behind Last-Event-ID', async () => {
    const first = await open();
    happen('r1');
    const { id } = (await first.next())!;
    first.close();
    happen('r2');
    happen('r3');
    const again = await open('', { 'last-event-id': id! });
    expect([await again.next(), await again.next()].map((event) => event?.id)).toEqual([
      'evt_t-2',
      'evt_t-3',
    ]);
    again.close();
    const asked = await open(`?after=${id}`);
    expect((await asked.next())?.id).toBe('evt_t-2');
    asked.close();
  });

  it('says when it cannot tell what was missed', async () => {
    const stream = await open('', { 'last-event-id': 'evt_of_before-17' });
    expect(await stream.next()).toEqual({ id: undefined, event: 'events.missed', data: {} });
    happen('r1');
    expect((await stream.next())?.id).toBe('evt_t-1');
    stream.close();
  });

  it('tells an organisation of its own only', async () => {
    const own = await open('', {}, 'acme-token');
    const chosen = await open('?organizationId=acme');
    happen('r1');
    happen('r2', 'acme');
    expect((await own.next())?.id).toBe('evt_t-2');
    expect((await chosen.next())?.id).toBe('evt_t-2');
    own.close();
    chosen.close();
    expect((await get('?organizationId=default', {}, 'acme-token')).response.status).toBe(404);
  });

  it('tells of the types that are wanted', async () => {
    const stream = await open('?types=pacing.*,presence.changed');
    happen('r1');
    events.publish('default', 'pacing.lowered', 'k', { cpsKey: 'k', limit: 10, pace: 8 });
    expect((await stream.next())?.event).toBe('pacing.lowered');
    stream.close();
    const { response } = await get('?types=calls.*');
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { code: 'invalid_request', errors: [{ path: 'types', message: 'has no events: calls.*' }] },
    ]);
  });

  it('lets go of a client that does not read', async () => {
    const { abort } = await get();
    expect(following).toBe(1);
    // More than the kernel's buffers and ours hold.
    const data = { cpsKey: 'k'.repeat(100_000), limit: 1, pace: 1 };
    for (let i = 0; i < 2_000 && following > 0; i++) {
      events.publish('default', 'pacing.lowered', 'k', data);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(following).toBe(0);
    abort.abort();
  });

  it('stops listening for a client that has gone', async () => {
    const stream = await open();
    expect(following).toBe(1);
    stream.close();
    await expect.poll(() => following).toBe(0);
  });

  it('ends with the server', async () => {
    const stream = await open();
    await server.stop();
    await expect(stream.next().catch(() => undefined)).resolves.toBeUndefined();
  });

  it('refuses who has no token', async () => {
    expect((await get('', {}, 'wrong')).response.status).toBe(401);
  });
});
