/** Providers by the API: a real store and directory, and a server that speaks Twilio's OpenAPI documents. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { Providers } from '#provider/providers.js';
import { TwilioConnector } from '#provider/twilio/twilio.js';
import { type Api, apiOn } from '../../kit/api.js';
import { faultyFields, itemsOf, madeBy } from '../../kit/ask.js';
import { newBox, sqlitePlace } from '../../kit/editor.js';
import type { OpenApiServer } from '../../kit/openapi-server.js';
import { TWILIO_ACCOUNT, TWILIO_BASE, TWILIO_MISSING, TWILIO_TOKEN, twilioServer } from '../../kit/twilio.js';

const BODY = {
  type: 'twilio',
  accountSid: TWILIO_ACCOUNT,
  authToken: TWILIO_TOKEN,
  originationUri: 'sip:198.51.100.7:5060',
};

describe.skipIf(TWILIO_MISSING !== '')('the API of providers', () => {
  let server: OpenApiServer;
  let place: ReturnType<typeof sqlitePlace>;
  let api: Api;

  beforeEach(async () => {
    server = twilioServer();
    const url = await server.start();
    place = sqlitePlace();
    const box = newBox();
    const store = await place.open();
    // The API comes before what it stands on: both are one house.
    const house: { providers?: Providers } = {};
    const providers = () => house.providers!;
    api = await apiOn(store, {
      box,
      ports: {
        providers: {
          list: (...given) => providers().list(...given),
          get: (...given) => providers().get(...given),
          connect: (...given) => providers().connect(...given),
          availableNumbers: (...given) => providers().availableNumbers(...given),
          importNumbers: (...given) => providers().importNumbers(...given),
          remove: (...given) => providers().remove(...given),
        },
      },
    });
    house.providers = new Providers({
      store,
      box,
      editor: api.editor,
      numberOn: (trunkId, number) => api.live.directory.current.number(trunkId, number)?.id,
      connectors: [new TwilioConnector({ clock: systemClock(), servers: { api: url, trunking: url } })],
      ids: new RandomIds(),
      clock: systemClock(),
    });
  });
  afterEach(async () => {
    await api.close();
    await server.stop();
    place.remove();
  });

  it('connects, lists and takes over numbers, and removes it all', async () => {
    const made = await api.ask('/providers', { method: 'POST', body: BODY });
    expect([made.status, made.body]).toMatchObject([201, { state: 'connected', hasAuthToken: true }]);
    expect(made.headers.get('location')).toBe(`/api/v1/providers/${made.body.id}`);
    expect((await api.ask('/providers', { method: 'POST', body: BODY })).body).toMatchObject({
      status: 409,
      code: 'conflict',
      providerId: made.body.id,
    });
    const trunk = await api.ask(`/sip-credentials/${made.body.credentialsId}`);
    expect(trunk.body).toMatchObject({ source: 'provider', providerId: made.body.id, hasPassword: true });
    const patched = await api.ask(`/sip-credentials/${trunk.body.id}`, {
      method: 'PATCH',
      body: { cpsLimit: 9 },
    });
    expect([patched.status, patched.body.code]).toEqual([409, 'read_only']);
    server.put(`${TWILIO_BASE}/IncomingPhoneNumbers`, {
      phone_number: '+14155550100',
      capabilities: { voice: true },
      trunk_sid: null,
    });
    const path = `/providers/${made.body.id}`;
    expect((await api.ask(`${path}/available-numbers`)).body.items).toMatchObject([
      { phoneNumber: '+14155550100', voice: true, assigned: 'none' },
    ]);
    const taken = await api.ask(`${path}/import`, {
      method: 'POST',
      body: { numbers: [{ number: '+14155550100' }, { number: '+1' }] },
    });
    expect(taken.body.rows).toMatchObject([{ outcome: 'imported' }, { outcome: 'failed' }]);
    const careful = await api.ask(path, { method: 'DELETE' });
    expect(careful.body).toMatchObject({ status: 409, code: 'in_use', phoneNumbers: [{}] });
    const gone = await api.ask(`${path}?force=true`, { method: 'DELETE' });
    expect([gone.status, gone.text]).toEqual([204, '']);
    expect((await api.ask(path)).status).toBe(404);
    expect((await api.ask('/phone-numbers')).body.items).toEqual([]);
    expect(server.faults).toEqual([]);
  });

  it('DELETE: 502 names what is left and keeps the account; again it is 204, and then 404', async () => {
    const { id } = (await api.ask('/providers', { method: 'POST', body: BODY })).body;
    const path = `/providers/${id}`;
    const body = { code: 20_009, message: 'in use' };
    server.upset({ method: 'DELETE', path: '/v1/Trunks/TK', with: { status: 409, body } });
    const first = await api.ask(path, { method: 'DELETE' });
    expect(first.body).toMatchObject({ status: 502, code: 'left_at_provider', title: 'Bad gateway' });
    expect(first.body.detail).toContain('abandon=true');
    const { left = [] } = first.body;
    expect(left.length).toBeGreaterThan(0);
    for (const each of left) {
      expect(each).toEqual({ kind: each.kind, id: expect.any(String), reason: expect.any(String) });
    }
    const kept = (await api.ask(path)).body;
    expect(kept).toMatchObject({
      state: 'failed',
      credentialsId: null,
      detail: expect.stringContaining('in use'),
    });
    expect(kept.resources).toEqual(left.map(({ kind, id: at }) => ({ kind, id: at })));
    expect((await api.ask(path, { method: 'DELETE' })).status).toBe(204);
    expect(server.rows('/v1/Trunks')).toEqual([]);
    expect((await api.ask(path, { method: 'DELETE' })).status).toBe(404);
  });

  it('DELETE with abandon=true: 204, and the audit log names what was left', async () => {
    const { id, resources = [] } = madeBy(await api.ask('/providers', { method: 'POST', body: BODY }));
    for (let i = 0; i < 12; i++)
      server.upset({
        method: 'DELETE',
        path: '',
        with: { status: 401, body: { code: 20_003, message: 'no' } },
      });
    const gone = await api.ask(`/providers/${id}?abandon=true`, { method: 'DELETE' });
    expect([gone.status, gone.text]).toEqual([204, '']);
    expect((await api.ask(`/providers/${id}`)).status).toBe(404);
    const entry = itemsOf(await api.ask('/audit')).find(({ action }) => action === 'abandon');
    expect(entry).toMatchObject({ kind: 'provider', objectId: id, fields: [] });
    expect(resources.length).toBeGreaterThan(0);
    for (const each of resources) expect(entry?.detail).toContain(`${each.kind} ${each.id}`);
  });

  it('says which field is wrong', async () => {
    const bad = await api.ask('/providers', {
      method: 'POST',
      body: { type: 'twilio', accountSid: 'AC1', authToken: '', originationUri: 'http://x' },
    });
    expect(faultyFields(bad.body.errors)).toEqual(['accountSid', 'authToken', 'originationUri']);
    const unknown = await api.ask('/providers', { method: 'POST', body: { ...BODY, type: 'other' } });
    expect(unknown.body.errors).toMatchObject([{ path: 'type', hint: 'one of twilio' }]);
    const wrong = await api.ask('/providers', { method: 'POST', body: { ...BODY, authToken: 'wrong-one' } });
    expect(wrong.body).toMatchObject({ status: 400, errors: [{ path: 'authToken' }] });
    expect(wrong.text).not.toContain('wrong-one');
    server.upset({
      method: 'POST',
      path: '/Trunks',
      with: { status: 400, body: { code: 21_000, message: 'no' } },
    });
    const refused = await api.ask('/providers', { method: 'POST', body: BODY });
    expect(refused.body).toMatchObject({
      status: 502,
      code: 'provider_fault',
      detail: 'Twilio answered 400, error 21000: no',
      providerStatus: 400,
      providerCode: 21_000,
      providerId: null,
    });
  });

  it('is nothing to another organisation, and shows no token', async () => {
    const made = await api.ask('/providers', { method: 'POST', body: BODY });
    await api.ask('/organizations', { method: 'POST', body: { id: 'other', name: 'Other' } });
    const token = await api.token('other');
    const path = `/providers/${made.body.id}`;
    expect((await api.ask('/providers', { token })).body.items).toEqual([]);
    for (const [method, to] of [
      ['GET', path],
      ['GET', `${path}/available-numbers`],
      ['DELETE', `${path}?force=true&abandon=true`],
    ] as const) {
      expect((await api.ask(to, { method, token })).status, `${method} ${to}`).toBe(404);
    }
    const shown = [made.text, (await api.ask(path)).text, (await api.ask('/audit')).text].join();
    expect(shown).toContain(TWILIO_ACCOUNT);
    expect(shown).not.toContain(TWILIO_TOKEN);
  });
});

it.runIf(TWILIO_MISSING !== '')('the API of providers', ({ skip }) => {
  skip(TWILIO_MISSING);
});
