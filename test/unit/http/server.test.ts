/** A real server on a free port, asked with fetch; what lies behind it is scripted. */
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import type { HealthCheck, HttpPorts, RouteQuestion } from '#http/ports.js';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import { REASONS } from '#routing/refusals.js';
import { callRecord, refusedRecord } from '../observe/records.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';
let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

interface Scripted {
  checks?: HealthCheck[];
  records?: CallRecord[];
  metrics?: () => Promise<string>;
  explain?: HttpPorts['explainInbound'];
}

async function start(
  scripted: Scripted = {},
): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const records = scripted.records ?? [];
  server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: TOKEN,
    log: silentLogger,
    ports: scriptedPorts({
      ...(scripted.checks === undefined ? {} : { readiness: () => scripted.checks ?? [] }),
      ...(scripted.metrics === undefined
        ? {}
        : { metrics: { contentType: 'text/plain; version=0.0.4', text: scripted.metrics } }),
      ...(scripted.explain === undefined ? {} : { explainInbound: scripted.explain }),
      calls: {
        ...scriptedPorts().calls,
        list: () => records,
        get: (id) => records.find((record) => record.id === id),
      },
    }),
  });
  const url = await server.start();
  return (path, init) => fetch(url + path, init);
}

const bearer = (token = TOKEN) => ({ headers: { authorization: `Bearer ${token}` } });

async function problem(response: Response): Promise<Record<string, unknown>> {
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  const body = (await response.json()) as Record<string, unknown>;
  expect(body).toMatchObject({
    status: response.status,
    code: expect.stringMatching(/^[a-z_]+$/),
    title: expect.any(String),
    detail: expect.any(String),
  });
  return body;
}

describe('health', () => {
  it('says that the process is alive, without a token', async () => {
    const ask = await start({ checks: [{ name: 'sip', ok: false, detail: 'idle' }] });
    const response = await ask('/healthz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ok' });
  });

  it('is ready when everything is, and otherwise 503 with the reasons', async () => {
    const checks = [{ name: 'sip', ok: true, detail: '2 listeners' }];
    const ask = await start({ checks });
    expect((await ask('/readyz')).status).toBe(200);
    checks.push({ name: 'draining', ok: false, detail: '3 calls in progress' });
    const response = await ask('/readyz');
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: 'not ready', checks });
  });

  it('gives metrics as Prometheus wants them, without a token', async () => {
    const response = await (await start())('/metrics');
    expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(await response.text()).toBe('trunkline_x 1\n');
  });
});

describe('the token', () => {
  it.each([
    ['none', {}],
    ['another one', bearer('another-token')],
    ['a part of it', bearer(TOKEN.slice(0, -1))],
    ['an empty one', bearer('')],
    ['another scheme', { headers: { authorization: `Basic ${TOKEN}` } }],
  ])('%s is answered 401', async (_what, init) => {
    const ask = await start();
    for (const path of ['/api/v1/calls', '/api/v1/calls/x', '/api/v1/reasons', '/api/v1/unknown']) {
      const response = await ask(path, init);
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      expect((await problem(response)).code).toBe('unauthorized');
    }
  });

  it('opens the API', async () => {
    expect((await (await start())('/api/v1/calls', bearer())).status).toBe(200);
  });
});

describe('calls', () => {
  const at = (second: number) => `2026-01-01T00:00:${String(second).padStart(2, '0')}.000Z`;
  const list = async (response: Response) =>
    (await response.json()) as { items: CallRecord[]; nextCursor: string | null };

  it('are listed in pages, newest first, none twice and none left out though calls end and start meanwhile', async () => {
    const records = Array.from({ length: 7 }, (_, i) => callRecord({ id: `c${i}`, startedAt: at(i) }));
    const ask = await start({ records });
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page = await list(await ask(`/api/v1/calls?limit=3${query}`, bearer()));
      expect(page.items.length).toBeLessThanOrEqual(3);
      ids.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
      records.unshift(callRecord({ id: 'late', startedAt: at(59) }));
      records.reverse();
    } while (cursor !== null);
    expect(ids).toEqual(['c6', 'c5', 'c4', 'c3', 'c2', 'c1', 'c0']);
  });

  it('can be asked for by state, trunk, agent and reason code', async () => {
    const ask = await start({
      records: [
        callRecord({ id: 'live', state: 'answered' }),
        callRecord({ id: 'ended' }),
        refusedRecord({ id: 'refused', trunkId: 'carrier-b', agentId: null }),
      ],
    });
    const ids = async (query: string) =>
      (await list(await ask(`/api/v1/calls?${query}`, bearer()))).items.map(({ id }) => id).sort();
    expect(await ids('state=live')).toEqual(['live']);
    expect(await ids('state=ended')).toEqual(['ended', 'refused']);
    expect(await ids('trunkId=carrier-b')).toEqual(['refused']);
    expect(await ids('agentId=sales&state=ended')).toEqual(['ended']);
    expect(await ids('code=unknown_number')).toEqual(['refused']);
  });

  it('are shown one by one', async () => {
    const record = refusedRecord({ id: 'c1' });
    const ask = await start({ records: [record] });
    expect(await (await ask('/api/v1/calls/c1', bearer())).json()).toEqual(record);
    const missing = await ask('/api/v1/calls/c2', bearer());
    expect(missing.status).toBe(404);
    expect((await problem(missing)).code).toBe('not_found');
  });

  it('are refused with every faulty parameter named at once', async () => {
    const response = await (await start())('/api/v1/calls?limit=0&state=dead&colour=red', bearer());
    expect(response.status).toBe(400);
    const { code, errors } = await problem(response);
    expect(code).toBe('invalid_request');
    expect((errors as { path: string }[]).map(({ path }) => path).sort()).toEqual([
      'colour',
      'limit',
      'state',
    ]);
  });

  it.each(['x', '%00', Buffer.from('no place').toString('base64url')])(
    'refuse the cursor %s',
    async (cursor) => {
      const response = await (await start())(`/api/v1/calls?cursor=${cursor}`, bearer());
      expect(response.status).toBe(400);
      await problem(response);
    },
  );
});

describe('reasons', () => {
  it('are all listed and explained', async () => {
    const ask = await start();
    const { items } = (await (await ask('/api/v1/reasons', bearer())).json()) as {
      items: { code: string }[];
    };
    expect(items.map(({ code }) => code)).toEqual(Object.keys(REASONS));
    const one = await (await ask('/api/v1/reasons/unknown_source', bearer())).json();
    expect(one).toEqual({ code: 'unknown_source', ...REASONS.unknown_source });
  });

  it.each(['made_up', '__proto__', 'constructor'])('do not know %s', async (code) => {
    expect((await (await start())(`/api/v1/reasons/${code}`, bearer())).status).toBe(404);
  });
});

describe('routes/explain', () => {
  it('passes the question on and gives the answer', async () => {
    const asked: RouteQuestion[] = [];
    const answer = {
      direction: 'inbound',
      decision: 'refuse',
      status: 404,
      code: 'unknown_number',
      trunkId: 'carrier-a',
      phoneNumberId: null,
      agentId: null,
      did: null,
      endpoints: [],
      explanation: [{ subject: 'trunk carrier-a', test: 't', outcome: 'pass', detail: 'd' }],
    } as const;
    const ask = await start({
      explain: (question) => {
        asked.push(question);
        return answer;
      },
    });
    const query = 'direction=inbound&to=%2B14155550100&from=%2B1555&source=192.0.2.1';
    expect(await (await ask(`/api/v1/routes/explain?${query}`, bearer())).json()).toEqual(answer);
    expect(asked).toEqual([
      { to: '+14155550100', from: '+1555', source: '192.0.2.1', organizationId: undefined },
    ]);
  });

  it('refuses what is no question', async () => {
    const ask = await start({ explain: () => 'to: is not a number' });
    for (const query of [
      '',
      'to=1&source=here',
      'to=1',
      'to=1&direction=outbound',
      'to=1&direction=outbound&agentId=a&source=192.0.2.1',
      'to=1&direction=outbound&agentId=a&privacy=perhaps',
      'to=1&agentId=a',
      'to=1&direction=sideways',
    ]) {
      const response = await ask(`/api/v1/routes/explain?${query}`, bearer());
      expect(response.status).toBe(400);
      await problem(response);
    }
  });
});

describe('limits', () => {
  const limited = async (): Promise<string> => {
    server = new HttpServer({
      host: '127.0.0.1',
      port: 0,
      token: TOKEN,
      log: silentLogger,
      requestsPerSecond: 0.5,
      ports: scriptedPorts(),
    });
    return server.start();
  };

  it('answer 429 with Retry-After to one request too many of a token, and health to everybody', async () => {
    const url = await limited();
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push((await fetch(`${url}/api/v1/reasons`, bearer())).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    const refused = await fetch(`${url}/api/v1/reasons`, bearer());
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect((await problem(refused)).code).toBe('too_many_requests');
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  it('shut out an address that guesses tokens, not one that repeats a wrong one', async () => {
    const url = await limited();
    const ask = async (token: string) => (await fetch(`${url}/api/v1/reasons`, bearer(token))).status;
    for (let i = 0; i < 50; i++) expect(await ask('the-same-wrong-token')).toBe(401);
    const statuses = [];
    for (let i = 0; i < 40; i++) statuses.push(await ask(`guess-${i}`));
    expect(statuses.at(0)).toBe(401);
    expect(statuses.at(-1)).toBe(429);
    expect(await ask(TOKEN)).toBe(429);
  });

  it('refuse a body that is too large, and a type that is not taken', async () => {
    const url = await limited();
    const post = (body: string, type: string) =>
      fetch(`${url}/api/v1/agents`, {
        method: 'POST',
        body,
        headers: { ...bearer().headers, 'content-type': type },
      });
    const large = await post(JSON.stringify({ name: 'x'.repeat(300_000) }), 'application/json');
    expect([large.status, (await problem(large)).code]).toEqual([413, 'body_too_large']);
    const strange = await post('<a/>', 'application/xml');
    expect([strange.status, (await problem(strange)).code]).toEqual([415, 'unsupported_media_type']);
  });
});

describe('the server', () => {
  it('answers what it does not know with 404, and a failure of its own with 500 that tells nothing', async () => {
    const ask = await start({ metrics: () => Promise.reject(new Error('secret inside')) });
    expect((await ask('/nowhere')).status).toBe(404);
    await problem(await ask('/nowhere'));
    await problem(await ask('/api/v1/nowhere', bearer()));
    expect((await ask('/healthz', { method: 'POST' })).status).toBe(404);
    const failed = await ask('/metrics');
    expect(failed.status).toBe(500);
    expect(JSON.stringify(await problem(failed))).not.toContain('secret');
  });

  it('takes a request that names a type and has no body for one without a body', async () => {
    const ask = await start();
    const typed = (method: string, body?: string) =>
      ask('/api/v1/registrations/nothing/refresh', {
        method,
        headers: { ...bearer().headers, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body }),
      });
    expect((await typed('POST')).status).toBe(404);
    const broken = await typed('POST', '{"a":');
    expect([broken.status, (await problem(broken)).code]).toEqual([400, 'invalid_request']);
    const poisoned = await typed('POST', '{"__proto__":{"a":1}}');
    expect(poisoned.status).toBe(400);
    expect((await problem(poisoned)).detail).toContain('__proto__');
  });

  it('takes no text for JSON, says what to send, and repeats no endless path', async () => {
    const ask = await start();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const refused = await ask('/api/v1/sip-credentials/test', {
        method: 'POST',
        headers: { ...bearer().headers, 'content-type': type },
        body: '{"server":"127.0.0.1"}',
      });
      expect(refused.status).toBe(415);
      expect((await problem(refused)).detail).toContain('Content-Type: application/json');
    }
    const endless = await ask(`/api/v1/agents/${'x'.repeat(5_000)}`, bearer());
    expect(endless.status).toBe(414);
    expect(String((await problem(endless)).detail).length).toBeLessThanOrEqual(200);
  });

  it('says which address is taken', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const address = blocker.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const second = new HttpServer({
      host: '127.0.0.1',
      port,
      token: TOKEN,
      log: silentLogger,
      ports: scriptedPorts(),
    });
    await expect(second.start()).rejects.toThrow(`127.0.0.1:${port} (EADDRINUSE)`);
    await second.stop();
    await new Promise((resolve) => blocker.close(resolve));
  });
});
