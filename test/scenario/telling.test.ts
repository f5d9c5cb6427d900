/** What happens to a call, told while it happens: to a webhook over HTTP, and to a stream of server-sent events. */
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { API_TOKEN } from '../kit/gateway.js';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard(
  { answered: {} },
  { config: { ...QUICK, webhooks: { allowedAddresses: ['127.0.0.1'] } } },
);

interface Told {
  readonly id: string;
  readonly type: string;
  readonly data: { readonly id: string; readonly state: string; readonly code: string | null };
}

let receiver: Server;
let target: string;
let told: { event: Told; signature: string; body: string }[] = [];
/** What the receiver answers to the next deliveries; 204 after them. */
let answers: number[] = [];

beforeAll(async () => {
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => {
      body += part;
    });
    request.on('end', () => {
      const signature = String(request.headers['x-trunkline-signature']);
      const status = answers.shift() ?? 204;
      if (status === 204) told.push({ event: JSON.parse(body) as Told, signature, body });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  target = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
});
afterAll(async () => {
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

const api = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${board.gateway.httpPort}/api/v1${path}`, {
    ...init,
    headers: {
      authorization: `Bearer ${API_TOKEN}`,
      ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
  });

test('a call is told in order, signed, again after a failure, and streamed at the same time', async () => {
  const made = await api('/webhooks', {
    method: 'POST',
    body: JSON.stringify({ url: target, events: ['call.*'] }),
  });
  expect(made.status).toBe(201);
  const { id, secret } = (await made.json()) as { id: string; secret: string };
  const abort = new AbortController();
  const stream = await api('/events?types=call.*', { signal: abort.signal });
  answers = [500];

  await board.call({ line: 'answered', caller: 'answered', agent: 'answered' });
  await expect.poll(() => told.at(-1)?.event.type, { timeout: 20_000 }).toBe('call.ended');
  const types = told.map(({ event }) => event.type);
  expect([types[0], types.at(-1)]).toEqual(['call.started', 'call.ended']);
  expect(told.map(({ event }) => event.data.state)).toEqual(['dialing', 'ringing', 'answered', 'ended']);
  expect(new Set(told.map(({ event }) => event.data.id)).size).toBe(1);
  for (const { signature, body } of told) {
    const [, seconds] = /^t=(\d+),v1=/.exec(signature)!;
    const mac = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
    expect(signature).toBe(`t=${seconds},v1=${mac}`);
  }

  let text = '';
  const reader = stream.body!.getReader();
  while (!text.includes('event: call.ended')) text += new TextDecoder().decode((await reader.read()).value);
  abort.abort();
  expect([...text.matchAll(/^id: (.*)$/gm)].map(([, each]) => each)).toEqual(
    told.map(({ event }) => event.id),
  );

  const metrics = await board.gateway.metrics();
  expect(metrics.get('trunkline_webhook_deliveries_total{outcome="delivered"}')).toBe(4);
  expect(metrics.get('trunkline_webhook_deliveries_total{outcome="failed"}')).toBe(1);
  expect(metrics.get('trunkline_webhook_deliveries_total{outcome="dead"}')).toBe(0);

  expect((await api(`/webhooks/${id}`, { method: 'PATCH', body: '{"enabled":false}' })).status).toBe(200);
  told = [];
  await board.call({ line: 'answered', caller: 'answered', agent: 'answered' });
  expect((await api(`/webhooks/${id}`, { method: 'DELETE' })).status).toBe(204);
  expect(told).toEqual([]);
});
