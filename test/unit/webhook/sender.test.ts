import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import { systemClock } from '#lib/wheel.js';
import { AddressGuard } from '#webhook/address-guard.js';
import { closedFor, Sender, type SenderOptions } from '#webhook/sender.js';
import type { Occurrence, Webhook } from '#webhook/webhook.js';

const occurrence: Occurrence = {
  id: 'evt_1',
  type: 'call.ended',
  at: '2030-01-01T00:00:00.000Z',
  organizationId: 'default',
  subject: 'call_1',
  data: { callId: 'call_1', code: 'normal_clearing' },
};

describe('the delivery of a webhook', () => {
  let server: Server;
  let port: number;
  let answer: { status: number; headers?: Record<string, string> } | 'silence' | 'cut';
  let seen: {
    method: string | undefined;
    url: string | undefined;
    headers: IncomingHttpHeaders;
    body: string;
  }[];

  beforeEach(async () => {
    seen = [];
    answer = { status: 204 };
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        seen.push({ method: request.method, url: request.url, headers: request.headers, body });
        if (answer === 'cut') request.socket.destroy();
        else if (answer !== 'silence') response.writeHead(answer.status, answer.headers).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const webhook = (url: string): Webhook => ({
    id: 'wh_1',
    organizationId: 'default',
    url,
    events: ['*'],
    secrets: [new Secret('present'), new Secret('former')],
    enabled: true,
  });
  const sender = (more: Partial<SenderOptions> = {}) =>
    new Sender({
      clock: systemClock(),
      guard: new AddressGuard(['127.0.0.0/8']),
      lookup: () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' })),
      timeoutMs: 5_000,
      ...more,
    });

  it('posts the occurrence, signed with every key, so that a receiver can check it', async () => {
    const delivery = await sender().send(webhook(`http://127.0.0.1:${port}/hook?x=1`), occurrence);
    expect(delivery).toEqual({ ok: true, status: 204, detail: 'answered 204' });
    const [{ method, url, headers, body }] = seen as [(typeof seen)[0]];
    expect([method, url]).toEqual(['POST', '/hook?x=1']);
    expect(JSON.parse(body)).toEqual({
      id: 'evt_1',
      type: 'call.ended',
      at: '2030-01-01T00:00:00.000Z',
      organizationId: 'default',
      data: { callId: 'call_1', code: 'normal_clearing' },
    });
    const signature = String(headers['x-trunkline-signature']);
    const [, seconds] = /^t=(\d+),v1=[0-9a-f]{64},v1=[0-9a-f]{64}$/.exec(signature)!;
    const mac = (key: string) => createHmac('sha256', key).update(`${seconds}.${body}`).digest('hex');
    expect(signature).toBe(`t=${seconds},v1=${mac('present')},v1=${mac('former')}`);
    expect(headers).toMatchObject({ 'x-trunkline-event': 'call.ended', 'x-trunkline-delivery': 'evt_1' });
  });

  it.each([301, 307, 400, 410, 500, 503])(
    'counts %i as not delivered and goes nowhere else',
    async (status) => {
      answer = { status, headers: { location: `http://127.0.0.1:${port}/elsewhere` } };
      const delivery = await sender().send(webhook(`http://127.0.0.1:${port}/hook`), occurrence);
      expect(delivery).toEqual({ ok: false, status, detail: `answered ${status}` });
      expect(seen.map(({ url }) => url)).toEqual(['/hook']);
    },
  );

  it('does not reach a private address, also behind a public name', async () => {
    const closed = sender({
      guard: new AddressGuard([]),
      lookup: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
    });
    for (const host of [
      '127.0.0.1',
      'hooks.example.com',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0x7f.1',
      '2130706433',
    ]) {
      const delivery = await closed.send(webhook(`http://${host}:${port}/hook`), occurrence);
      expect(delivery.ok, host).toBe(false);
      expect(delivery.detail).toContain('webhooks may not reach');
    }
    expect(seen).toEqual([]);
  });

  it('connects to the address that was checked and names the host', async () => {
    const open = sender({ lookup: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]) });
    const delivery = await open.send(webhook(`http://hooks.example.invalid:${port}/hook`), occurrence);
    expect(delivery.ok).toBe(true);
    expect(seen[0]!.headers.host).toBe(`hooks.example.invalid:${port}`);
  });

  it('says what was wrong', async () => {
    const unknown = await sender().send(webhook('https://nowhere.invalid/'), occurrence);
    expect(unknown.detail).toBe('nowhere.invalid could not be found: ENOTFOUND');
    answer = 'silence';
    const silent = await sender({ timeoutMs: 50 }).send(webhook(`http://127.0.0.1:${port}/`), occurrence);
    expect(silent).toEqual({ ok: false, status: 0, detail: 'no answer within 50 ms' });
    answer = 'cut';
    const cut = await sender().send(webhook(`http://127.0.0.1:${port}/`), occurrence);
    expect(cut).toEqual({ ok: false, status: 0, detail: 'ECONNRESET' });
    const tls = await sender().send(webhook(`https://127.0.0.1:${port}/`), occurrence);
    expect(tls).toMatchObject({ ok: false, status: 0 });
  });
});

describe('a URL whose host is an address', () => {
  const guard = new AddressGuard(['10.1.0.0/16']);

  it.each([
    'http://127.0.0.1:8080/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://169.254.169.254/latest',
    'http://10.2.0.1/',
  ])('%s is known to be closed before anything is sent', (url) => {
    expect(closedFor(url, guard)).toContain('webhooks.allowedAddresses');
  });

  it.each(['https://10.1.2.3/', 'https://8.8.8.8/', 'https://hooks.example.com/', 'http://[2001:4860::1]/'])(
    '%s may be open',
    (url) => {
      expect(closedFor(url, guard)).toBeNull();
    },
  );
});
