/** Lines of calls per second over HTTP; the pacer behind them is scripted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import { snapshotOf } from '../../kit/directory.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';
const trunk = { server: 'sip.carrier.example' };

describe('GET /api/v1/cps-keys', () => {
  let server: HttpServer;
  let url: string;
  const asked: string[] = [];

  beforeEach(async () => {
    asked.length = 0;
    const current = snapshotOf({
      sipCredentials: [
        { ...trunk, id: 'east', cpsKey: 'carrier', cpsLimit: 20 },
        { ...trunk, id: 'west', cpsKey: 'carrier', cpsLimit: 10 },
        { ...trunk, id: 'spare', cpsKey: 'carrier' },
        { ...trunk, id: 'open' },
      ],
    });
    server = new HttpServer({
      host: '127.0.0.1',
      port: 0,
      token: TOKEN,
      log: silentLogger,
      ports: scriptedPorts({
        directory: { current },
        pacing: {
          line: async (key, limit) => {
            asked.push(`${key} ${limit}`);
            return {
              key,
              waiting: [{ priority: 7, count: 2 }],
              sentLastMinute: 599,
              waitP50Ms: 1200,
              waitP95Ms: 2400,
              pace: 8,
              refusedByProvider: 3,
              slotsLost: 1,
            };
          },
        },
      }),
    });
    url = await server.start();
  });

  afterEach(() => server.stop());

  const get = async (path: string): Promise<{ status: number; body: unknown }> => {
    const answer = await fetch(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${TOKEN}` } });
    return { status: answer.status, body: await answer.json() };
  };

  const carrier = {
    cpsKey: 'carrier',
    trunkIds: ['east', 'west', 'spare'],
    limit: 10,
    cpsBurst: 1,
    pace: 8,
    warning: expect.stringContaining('east 20, west 10'),
    waiting: [{ priority: 7, count: 2 }],
    sentLastMinute: 599,
    waitP50Ms: 1200,
    waitP95Ms: 2400,
    refusedByProvider: 3,
    slotsLost: 1,
  };

  it('lists every line with its members, its limit and how it goes', async () => {
    const { status, body } = await get('/cps-keys');
    expect(status).toBe(200);
    expect(body).toEqual({
      items: [
        carrier,
        expect.objectContaining({ cpsKey: 'open', trunkIds: ['open'], limit: null, pace: null }),
      ],
      nextCursor: null,
    });
    expect(asked.sort()).toEqual(['default/carrier 10', 'default/open 0']);
  });

  it('shows one, and says where to look when there is none', async () => {
    expect(await get('/cps-keys/carrier')).toEqual({ status: 200, body: carrier });
    expect(await get('/cps-keys/nobody')).toMatchObject({
      status: 404,
      body: { code: 'not_found', detail: expect.stringContaining('/api/v1/cps-keys') },
    });
  });
});
