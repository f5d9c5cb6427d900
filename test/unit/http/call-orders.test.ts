/** Placing and ending calls by HTTP, once per Idempotency-Key; what lies behind is scripted. */
import { afterEach, describe, expect, it } from 'vitest';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import type { CallOrder } from '#origination/order.js';
import type { OrderedCall, OrderRefusal } from '#origination/originations.js';
import type { NoTransfer, OrderedTransfer, TransferOrder } from '#origination/transfers.js';
import { TransientMemory } from '../../kit/transient-memory.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { callRecord } from '../observe/records.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';
let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

interface House {
  readonly orders: CallOrder[];
  readonly transfers: [id: string, order: TransferOrder][];
  transfer: OrderedTransfer | NoTransfer | OrderRefusal;
  readonly ended: string[];
  readonly clock: VirtualClock;
  /** What comes of the next orders; the last one goes on. */
  outcomes: (OrderedCall | OrderRefusal)[];
  /** Holds orders back until it is called. */
  release: (() => void) | undefined;
  hold: boolean;
  ask(method: string, path: string, body?: unknown, key?: string): Promise<Response>;
}

const ordered = (id: string): OrderedCall => ({
  kind: 'ordered',
  id,
  state: 'queued',
  position: 3,
  estimatedStartAt: Date.UTC(2030, 0, 1),
  cpsKey: 'carrier-a',
  effectiveCps: 0.5,
});

const refused = (more: Partial<OrderRefusal>): OrderRefusal => ({
  kind: 'refused',
  code: 'no_outbound_config',
  httpStatus: 409,
  detail: 'agent sales has no number to call from',
  field: undefined,
  retryAfterSeconds: undefined,
  ...more,
});

async function start(): Promise<House> {
  const clock = new VirtualClock();
  const waiting: (() => void)[] = [];
  const house: House = {
    orders: [],
    transfers: [],
    transfer: { kind: 'impossible', why: 'not_answered' },
    ended: [],
    clock,
    outcomes: [],
    hold: false,
    release: () => {
      for (const go of waiting.splice(0)) go();
    },
    ask: (method, path, body, key) =>
      fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(key === undefined ? {} : { 'idempotency-key': key }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  };
  const record = callRecord({ id: 'call_1', organizationId: 'default' });
  const foreign = callRecord({ id: 'call_2', organizationId: 'other' });
  server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: TOKEN,
    log: silentLogger,
    ports: scriptedPorts({
      memory: new TransientMemory(clock),
      calls: {
        list: () => [record, foreign],
        get: (id) => [record, foreign].find((each) => each.id === id),
        hangUp: (id) => house.ended.push(id) > 0,
        place: async (order) => {
          house.orders.push(order);
          const number = house.orders.length;
          if (house.hold) await new Promise<void>((go) => waiting.push(go));
          return house.outcomes[number - 1] ?? house.outcomes.at(-1) ?? ordered(`call_${number}`);
        },
        transfer: (id, order) => {
          house.transfers.push([id, order]);
          return house.transfer;
        },
      },
    }),
  });
  const url = await server.start();
  return house;
}

const ORDER = { agentId: 'sales', to: '+12125550199' };

describe('POST /calls/{id}/transfer', () => {
  const TRANSFER = { to: '+12125550199' };

  it('answers 202 with the call that is made', async () => {
    const house = await start();
    house.transfer = { kind: 'ordered', id: 'call_9' };
    const full = { ...TRANSFER, trunkId: 'b', ringTimeoutSeconds: 20, headers: { 'X-A': 'b' } };
    const response = await house.ask('POST', '/calls/call_1/transfer', full);
    expect(response.status).toBe(202);
    expect(response.headers.get('location')).toBe('/api/v1/calls/call_9');
    expect(await response.json()).toEqual({ id: 'call_9', transferredFrom: 'call_1', state: 'dialing' });
    expect(house.transfers).toEqual([['call_1', full]]);
  });

  it.each(['not_answered', 'transfer_pending', 'no_agent'] as const)(
    'says why there is nobody to transfer: %s',
    async (why) => {
      const house = await start();
      house.transfer = { kind: 'impossible', why };
      const response = await house.ask('POST', '/calls/call_1/transfer', TRANSFER);
      expect([response.status, await response.json()]).toMatchObject([409, { code: why }]);
    },
  );

  it('gives a refusal of the new call as a problem', async () => {
    const house = await start();
    house.transfer = refused({ code: 'bad_request', httpStatus: 400, field: 'trunkId' });
    const response = await house.ask('POST', '/calls/call_1/transfer', TRANSFER);
    expect([response.status, await response.json()]).toMatchObject([400, { errors: [{ path: 'trunkId' }] }]);
  });

  it('knows no call of nobody or of others, and names what is faulty', async () => {
    const house = await start();
    expect((await house.ask('POST', '/calls/call_0/transfer', TRANSFER)).status).toBe(404);
    expect((await house.ask('POST', '/calls/call_2/transfer', TRANSFER)).status).toBe(404);
    const wrong = await house.ask('POST', '/calls/call_1/transfer', {
      ringTimeoutSeconds: 0,
      headers: { To: 'x' },
      colour: 'red',
    });
    expect(wrong.status).toBe(400);
    const { errors } = (await wrong.json()) as { errors: { path: string }[] };
    expect(errors.map(({ path }) => path)).toEqual(expect.arrayContaining(['to', 'ringTimeoutSeconds']));
    expect(house.transfers).toEqual([]);
  });
});

describe('POST /calls', () => {
  it('answers 202 with the place in line', async () => {
    const house = await start();
    const full = {
      ...ORDER,
      from: '+14155550100',
      displayName: 'Acme',
      headers: { 'X-Campaign': 'spring' },
      xDestUser: 'sub@1',
      priority: 9,
      queueTimeoutSeconds: 30,
      ringTimeoutSeconds: 20,
      metadata: { order: '4711' },
    };
    const response = await house.ask('POST', '/calls', full);
    expect(response.status).toBe(202);
    expect(response.headers.get('location')).toBe('/api/v1/calls/call_1');
    expect(await response.json()).toEqual({
      id: 'call_1',
      state: 'queued',
      position: 3,
      estimatedStartAt: '2030-01-01T00:00:00.000Z',
      cpsKey: 'carrier-a',
      effectiveCps: 0.5,
    });
    expect(house.orders).toEqual([{ ...full, organizationId: 'default' }]);
  });

  it('names every faulty field at once', async () => {
    const house = await start();
    const response = await house.ask('POST', '/calls', {
      to: '',
      priority: 10,
      displayName: 'a\nb',
      metadata: { a: 1 },
      colour: 'red',
    });
    expect(response.status).toBe(400);
    const { errors } = (await response.json()) as { errors: { path: string }[] };
    expect(errors.map(({ path }) => path).sort()).toEqual([
      'agentId',
      'colour',
      'displayName',
      'metadata.a',
      'priority',
      'to',
    ]);
    const wrong = await house.ask('POST', '/calls', {
      ...ORDER,
      headers: { To: 'x', 'P-Asserted-Identity': 'x', 'X-Good': 'x' },
      xDestUser: 'a b',
    });
    const answer = (await wrong.json()) as { errors: { path: string }[] };
    expect(answer.errors.map(({ path }) => path).sort()).toEqual([
      'headers.P-Asserted-Identity',
      'headers.To',
      'xDestUser',
    ]);
    expect(house.orders).toEqual([]);
  });

  it.each([
    [refused({}), 409, 'No outbound config', null],
    [refused({ code: 'unknown_agent', httpStatus: 404, field: 'agentId' }), 404, 'Unknown agent', null],
    [refused({ code: 'queue_full', httpStatus: 429, retryAfterSeconds: 5 }), 429, 'Queue full', '5'],
  ])('gives a refusal as a problem: %j', async (refusal, status, title, retryAfter) => {
    const house = await start();
    house.outcomes = [refusal];
    const response = await house.ask('POST', '/calls', ORDER);
    expect(response.status).toBe(status);
    expect(response.headers.get('retry-after')).toBe(retryAfter);
    expect(await response.json()).toMatchObject({
      status,
      code: refusal.code,
      title,
      detail: refusal.detail,
    });
  });
});

describe('Idempotency-Key', () => {
  it('has a call placed once, and answers the same', async () => {
    const house = await start();
    const first = await house.ask('POST', '/calls', ORDER, 'key-1');
    const second = await house.ask('POST', '/calls', ORDER, 'key-1');
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(await second.json()).toEqual(await first.json());
    expect(second.headers.get('location')).toBe('/api/v1/calls/call_1');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(house.orders.length).toBe(1);
    // Another key is another call, and so is none.
    await house.ask('POST', '/calls', ORDER, 'key-2');
    await house.ask('POST', '/calls', ORDER);
    expect(house.orders.length).toBe(3);
  });

  it('refuses another body, and another operation', async () => {
    const house = await start();
    await house.ask('POST', '/calls', ORDER, 'key-1');
    const response = await house.ask('POST', '/calls', { ...ORDER, to: '+13105550199' }, 'key-1');
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: 'idempotency_key_reused' });
    expect((await house.ask('POST', '/registrations/x/refresh', undefined, 'key-1')).status).toBe(422);
    expect(house.orders.length).toBe(1);
  });

  it('lets those wait who ask while it is done', async () => {
    const house = await start();
    house.hold = true;
    const asked = [1, 2, 3].map(() => house.ask('POST', '/calls', ORDER, 'key-1'));
    while (house.orders.length === 0) await new Promise((go) => setImmediate(go));
    // The others have come to wait by the time that a later request is answered.
    await house.ask('GET', '/calls');
    house.release!();
    const answers = (await Promise.all((await Promise.all(asked)).map((response) => response.json()))) as {
      id: string;
    }[];
    expect(answers.map(({ id }) => id)).toEqual(['call_1', 'call_1', 'call_1']);
    expect(house.orders.length).toBe(1);
  });

  it('does what was refused again', async () => {
    const house = await start();
    house.outcomes = [refused({ code: 'queue_full', httpStatus: 429 }), ordered('call_2')];
    expect((await house.ask('POST', '/calls', ORDER, 'key-1')).status).toBe(429);
    expect((await house.ask('POST', '/calls', ORDER, 'key-1')).status).toBe(202);
  });

  it('is forgotten after a day', async () => {
    const house = await start();
    await house.ask('POST', '/calls', ORDER, 'key-1');
    house.clock.advance(86_399_000);
    await house.ask('POST', '/calls', ORDER, 'key-1');
    expect(house.orders.length).toBe(1);
    house.clock.advance(2_000);
    await house.ask('POST', '/calls', ORDER, 'key-1');
    expect(house.orders.length).toBe(2);
  });

  it.each(['', ' ', 'a b', 'x'.repeat(256)])('must be 1 to 255 visible characters: %j', async (key) => {
    const house = await start();
    const response = await house.ask('POST', '/calls', ORDER, key);
    expect(response.status).toBe(400);
    expect(house.orders).toEqual([]);
  });
});

describe('DELETE /calls/{id}', () => {
  it('ends a call of the organisation', async () => {
    const house = await start();
    expect((await house.ask('DELETE', '/calls/call_1')).status).toBe(204);
    expect((await house.ask('DELETE', '/calls/call_2')).status).toBe(404);
    expect((await house.ask('DELETE', '/calls/call_3')).status).toBe(404);
    expect(house.ended).toEqual(['call_1']);
  });
});
