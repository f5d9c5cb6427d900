/** Registrations, numbers and the probe over HTTP; what lies behind them is scripted. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Trunk } from '#directory/trunk.js';
import type { HttpPorts } from '#http/ports.js';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { ProbeReport } from '#registration/probe/report.js';
import type { RegistrationView } from '#registration/registration-view.js';
import { snapshotOf } from '../../kit/directory.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';
const PASSWORD = 'never to be shown';
let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const directory = {
  current: snapshotOf({
    sipCredentials: [
      { id: 'carrier', server: 'sip.carrier.example', authUser: 'acme', authPassword: PASSWORD },
    ],
    phoneNumbers: [
      { phoneNumber: '+14155550100', credentialsId: 'carrier', registration: true },
      { phoneNumber: '+14155550101', credentialsId: 'carrier', registration: true },
      { phoneNumber: '+14155550102', credentialsId: 'carrier' },
    ],
    agents: [
      {
        id: 'desk',
        sipRegistration: { domain: 'pbx.example', username: '200', password: PASSWORD, subscribe: true },
      },
      { id: 'plain' },
    ],
  }),
};

function view(id: string, changes: Partial<RegistrationView> = {}): RegistrationView {
  return {
    id,
    organizationId: 'default',
    aor: `sip:${id}@pbx.example`,
    callId: `${id}-call-id`,
    trunkId: null,
    agentId: null,
    phoneNumbers: [],
    state: 'registered',
    registrar: 'udp:192.0.2.1:5060',
    serviceRoute: [],
    contact: 'sip:reg_x@192.0.2.7:5060',
    expiresAt: '2030-01-01T00:10:00.000Z',
    nextAttemptAt: '2030-01-01T00:05:00.000Z',
    lastVerdict: { code: 'ok', detail: 'registered', status: 200 },
    timeline: [
      {
        at: '2030-01-01T00:00:00.000Z',
        target: 'udp:192.0.2.1:5060',
        latencyMs: 12,
        status: 200,
        fault: null,
        verdict: 'ok',
        detail: 'registered',
      },
    ],
    ...changes,
  };
}

const presence: PresenceView = {
  registrationId: 'desk-1',
  busy: true,
  available: null,
  dialogs: [{ id: 'd1', state: 'confirmed', direction: 'recipient', remote: 'sip:carol@example.com' }],
  tuples: [],
  updatedAt: '2030-01-01T00:00:01.000Z',
  subscriptions: [],
};

const REPORT: ProbeReport = {
  verdict: { code: 'auth_rejected', detail: 'wrong user or password (401 Unauthorized)', status: 401 },
  server: 'sip.carrier.example',
  transport: 'udp',
  aor: 'sip:acme@sip.carrier.example',
  startedAt: '2030-01-01T00:00:00.000Z',
  durationMs: 12,
  steps: [],
};

interface Asking {
  readonly method?: string;
  readonly body?: unknown;
}

async function start(ports: Partial<HttpPorts>): Promise<(path: string, how?: Asking) => Promise<Response>> {
  server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: TOKEN,
    log: silentLogger,
    ports: scriptedPorts({ directory, ...ports }),
  });
  const url = await server.start();
  return (path, { method = 'GET', body } = {}) =>
    fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
}

function registrations(
  views: readonly RegistrationView[],
  more: Partial<HttpPorts['registrations']> = {},
): Pick<HttpPorts, 'registrations'> {
  return {
    registrations: {
      all: () =>
        views.map((each) => ({
          id: each.id,
          organizationId: each.organizationId,
          state: each.state,
          trunkIds: each.trunkId === null ? [] : [each.trunkId],
          agentIds: each.agentId === null ? [] : [each.agentId],
          view: () => each,
        })),
      get: (id) => views.find((each) => each.id === id),
      ofNumber: () => undefined,
      ofAgent: (agentId) => views.find((each) => each.agentId === agentId),
      refresh: () => true,
      ...more,
    },
  };
}

async function problemOf(response: Response): Promise<{ code: string; detail: string; errors?: unknown }> {
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  return (await response.json()) as { code: string; detail: string; errors?: unknown };
}

describe('registrations', () => {
  it('are listed by pages, without time lines, and filtered', async () => {
    const views = ['c', 'a', 'b'].map((id) => view(id, id === 'b' ? { state: 'failed', trunkId: 't' } : {}));
    const ask = await start(registrations(views));
    const first = (await (await ask('/registrations?limit=2')).json()) as {
      items: RegistrationView[];
      nextCursor: string;
    };
    expect(first.items.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(first.items[0]).not.toHaveProperty('timeline');
    const second = await (await ask(`/registrations?limit=2&cursor=${first.nextCursor}`)).json();
    expect(second).toMatchObject({ items: [{ id: 'c' }], nextCursor: null });
    for (const query of ['state=failed', 'trunkId=t']) {
      expect(await (await ask(`/registrations?${query}`)).json()).toMatchObject({ items: [{ id: 'b' }] });
    }
    const wrong = await ask('/registrations?state=asleep&limit=0');
    expect(wrong.status).toBe(400);
    expect((await problemOf(wrong)).errors).toHaveLength(2);
  });

  it('are shown one by one with the time line and what presence tells', async () => {
    const ask = await start({
      ...registrations([view('desk-1')]),
      presence: { ofRegistration: (id) => (id === 'desk-1' ? presence : undefined) },
    });
    const shown = await (await ask('/registrations/desk-1')).json();
    expect(shown).toEqual({ ...view('desk-1'), presence });
    const missing = await ask('/registrations/none');
    expect([missing.status, (await problemOf(missing)).code]).toEqual([404, 'not_found']);
  });

  it('are tried again when asked, unless nobody wants them', async () => {
    const asked: string[] = [];
    const views = [view('a'), view('leaving', { state: 'unregistering' })];
    const ask = await start(
      registrations(views, {
        refresh: (id) => {
          asked.push(id);
          return id === 'a';
        },
      }),
    );
    const taken = await ask('/registrations/a/refresh', { method: 'POST' });
    expect([taken.status, ((await taken.json()) as RegistrationView).id]).toEqual([202, 'a']);
    const refused = await ask('/registrations/leaving/refresh', { method: 'POST' });
    expect([refused.status, (await problemOf(refused)).code]).toEqual([409, 'registration_not_wanted']);
    expect((await ask('/registrations/none/refresh', { method: 'POST' })).status).toBe(404);
    expect(asked).toEqual(['a', 'leaving']);
  });
});

describe("an agent's SIP registration", () => {
  it('shows settings and status, and of the password only that there is one', async () => {
    const ask = await start({
      ...registrations([view('desk-1', { agentId: 'desk' })]),
      presence: { ofRegistration: () => presence },
    });
    const text = await (await ask('/agents/desk/sip-registration')).text();
    expect(text).not.toContain(PASSWORD);
    expect(JSON.parse(text)).toMatchObject({
      agentId: 'desk',
      sipRegistrationData: {
        registrationEnabled: true,
        domain: 'pbx.example',
        username: '200',
        extension: '200',
        hasPassword: true,
        subscribe: true,
      },
      state: 'registered',
      registrar: 'udp:192.0.2.1:5060',
      lastVerdict: { code: 'ok' },
      timeline: [{ verdict: 'ok' }],
      presence: { busy: true },
    });
  });

  it('is unregistered before there is a registration, and 404 where there is no agent or no account', async () => {
    const ask = await start(registrations([]));
    expect(await (await ask('/agents/desk/sip-registration')).json()).toMatchObject({
      state: 'unregistered',
      registrar: null,
      timeline: [],
      presence: null,
    });
    const noAgent = await ask('/agents/nobody/sip-registration');
    expect([noAgent.status, (await problemOf(noAgent)).detail]).toEqual([404, 'Agent not found']);
    expect((await ask('/agents/plain/sip-registration')).status).toBe(404);
  });
});

describe('phone numbers', () => {
  it('tell how their registration is, and null where they ask for none', async () => {
    const ask = await start(
      registrations([], {
        ofNumber: (id) => (id === '+14155550100' ? view('a', { state: 'auth_rejected' }) : undefined),
      }),
    );
    const list = (await (await ask('/phone-numbers')).json()) as { items: Record<string, unknown>[] };
    expect(list.items.map(({ id, registrationStatus }) => [id, registrationStatus])).toEqual([
      ['+14155550100', 'auth_rejected'],
      ['+14155550101', 'unregistered'],
      ['+14155550102', null],
    ]);
    const one = await ask(`/phone-numbers/${encodeURIComponent('+14155550100')}`);
    expect(await one.json()).toMatchObject({ credentialsId: 'carrier', registrationStatus: 'auth_rejected' });
    expect((await ask('/phone-numbers/none')).status).toBe(404);
    expect(await (await ask('/phone-numbers?credentialsId=other')).json()).toEqual({
      items: [],
      nextCursor: null,
    });
  });
});

describe('the probe', () => {
  it('runs on saved credentials', async () => {
    const probed: Trunk[] = [];
    const ask = await start({
      probe: async (trunk) => {
        probed.push(trunk);
        return REPORT;
      },
    });
    const response = await ask('/sip-credentials/carrier/test', { method: 'POST' });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(REPORT);
    expect(probed).toEqual([directory.current.trunk('carrier')]);
    expect((await ask('/sip-credentials/none/test', { method: 'POST' })).status).toBe(404);
  });

  it('runs on a body that has not been saved', async () => {
    const probed: Trunk[] = [];
    const ask = await start({
      probe: async (trunk) => {
        probed.push(trunk);
        return REPORT;
      },
    });
    const body = {
      server: 'sip.new.example:5070',
      transport: 'tcp',
      authUser: 'new',
      authPassword: PASSWORD,
    };
    const response = await ask('/sip-credentials/test', { method: 'POST', body });
    expect(response.status).toBe(200);
    expect(probed[0]).toMatchObject({
      server: { host: 'sip.new.example', port: 5070 },
      transport: 'tcp',
      authUser: 'new',
    });
    expect(probed[0]?.authPassword?.reveal()).toBe(PASSWORD);
  });

  it('names every faulty field, and shows no password back', async () => {
    const ask = await start({ probe: async () => REPORT });
    const body = { server: 'sip:acme@x', transport: 'smoke', authPassword: PASSWORD };
    const response = await ask('/sip-credentials/test', { method: 'POST', body });
    expect(response.status).toBe(400);
    const problem = await problemOf(response);
    const paths = (problem.errors as { path: string }[]).map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['server', 'transport']));
    expect(JSON.stringify(problem)).not.toContain(PASSWORD);
    for (const empty of [undefined, [], 'text']) {
      const refused = await ask('/sip-credentials/test', { method: 'POST', body: empty });
      expect(refused.status).toBe(400);
      await problemOf(refused);
    }
  });

  it('is refused with 429 while too many run', async () => {
    const ask = await start({ probe: async () => undefined });
    const response = await ask('/sip-credentials/carrier/test', { method: 'POST' });
    expect(response.headers.get('retry-after')).toBe('10');
    expect([response.status, (await problemOf(response)).code]).toEqual([429, 'too_many_probes']);
  });
});
