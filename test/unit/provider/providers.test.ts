/** Provider accounts on a real store and directory, against a server that speaks Twilio's OpenAPI documents. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { type ConnectRequest, Providers } from '#provider/providers.js';
import { TwilioConnector } from '#provider/twilio/twilio.js';
import { type Desk, deskOn, newBox, sqlitePlace } from '../../kit/editor.js';
import type { OpenApiServer } from '../../kit/openapi-server.js';
import { TWILIO_ACCOUNT, TWILIO_BASE, TWILIO_MISSING, TWILIO_TOKEN, twilioServer } from '../../kit/twilio.js';

const AUTHOR = { organizationId: 'default', name: 'administrator' };
const REQUEST: ConnectRequest = {
  type: 'twilio',
  accountSid: TWILIO_ACCOUNT,
  authToken: new Secret(TWILIO_TOKEN),
  originationUri: 'sip:198.51.100.7:5060',
  description: undefined,
  cpsLimit: undefined,
};

describe.skipIf(TWILIO_MISSING !== '')('provider accounts', () => {
  let server: OpenApiServer;
  let place: ReturnType<typeof sqlitePlace>;
  let desk: Desk;
  let providers: Providers;

  beforeEach(async () => {
    server = twilioServer();
    const url = await server.start();
    place = sqlitePlace();
    const box = newBox();
    desk = await deskOn(await place.open(), { box });
    providers = new Providers({
      store: desk.store,
      box,
      editor: desk.editor,
      numberOn: (trunkId, phoneNumber) =>
        [...snapshot().numbers()].find(
          (number) => number.credentialsId === trunkId && number.normalised === phoneNumber,
        )?.id,
      connectors: [new TwilioConnector({ clock: systemClock(), servers: { api: url, trunking: url } })],
      ids: new RandomIds(),
      clock: systemClock(),
    });
  });
  afterEach(async () => {
    await desk.close();
    await server.stop();
    place.remove();
  });

  const snapshot = () => desk.live.directory.current;
  const connected = async () => {
    const outcome = await providers.connect(AUTHOR, REQUEST);
    if (outcome.kind !== 'connected') throw new Error(JSON.stringify(outcome));
    return outcome.provider;
  };
  const atTwilio = () => [
    server.rows('/v1/Trunks').length,
    server.rows(`${TWILIO_BASE}/SIP/CredentialLists`).length,
  ];

  it('come with a read-only trunk that can be used at once', async () => {
    const provider = await connected();
    expect(provider).toMatchObject({ type: 'twilio', state: 'connected', accountSid: TWILIO_ACCOUNT });
    const trunk = snapshot().trunk(provider.credentialsId!)!;
    expect(trunk).toMatchObject({ source: 'provider', cpsLimit: 1, numberFormat: 'e164' });
    expect(trunk.server.host).toMatch(/^trunkline-prov-[a-z0-9]+\.pstn\.twilio\.com$/);
    const [list] = server.rows(`${TWILIO_BASE}/SIP/CredentialLists`) as [{ sid: string }];
    const [credential] = server.rows(`${TWILIO_BASE}/SIP/CredentialLists/${list.sid}/Credentials`);
    expect(credential).toMatchObject({ username: trunk.authUser });
    await expect(
      desk.editor.update(AUTHOR, 'sipCredentials', trunk.id, { cpsLimit: 5 }),
    ).resolves.toMatchObject({ kind: 'read_only', source: 'provider', providerId: provider.id });
    expect(await providers.list('default')).toEqual([provider]);
    expect(server.faults).toEqual([]);
  });

  it('are connected once, also when two ask at once', async () => {
    const both = await Promise.all([providers.connect(AUTHOR, REQUEST), providers.connect(AUTHOR, REQUEST)]);
    expect(both.map(({ kind }) => kind).sort()).toEqual(['busy', 'connected']);
    const id = (await providers.list('default'))[0]!.id;
    expect(await providers.connect(AUTHOR, REQUEST)).toEqual({ kind: 'exists', id });
    expect(atTwilio()).toEqual([1, 1]);
  });

  it('belong to one organisation', async () => {
    const { id } = await connected();
    expect(await providers.list('other')).toEqual([]);
    expect(await providers.get('other', id)).toBeUndefined();
    expect(await providers.availableNumbers('other', id)).toEqual({ kind: 'not_found' });
    const stranger = { organizationId: 'other', name: 'token x' };
    expect(await providers.importNumbers(stranger, id, [])).toEqual({ kind: 'not_found' });
    expect(await providers.remove(stranger, id, { force: true, abandon: true })).toEqual({
      kind: 'not_found',
    });
  });

  it('leave nothing when Twilio refuses a step', async () => {
    server.upset({ method: 'POST', path: '/OriginationUrls', with: { status: 400, body: { code: 1 } } });
    expect(await providers.connect(AUTHOR, REQUEST)).toMatchObject({ kind: 'fault', id: null });
    expect(atTwilio()).toEqual([0, 0]);
    expect(await providers.list('default')).toEqual([]);
    expect([...snapshot().trunks()]).toEqual([]);
  });

  it('stay as failed with what is left, and are taken up again', async () => {
    server.upset({ method: 'POST', path: '/OriginationUrls', with: { status: 400, body: { code: 1 } } });
    server.upset({
      method: 'DELETE',
      path: '/v1/Trunks/',
      after: 1,
      with: { status: 409, body: { code: 2 } },
    });
    const outcome = await providers.connect(AUTHOR, REQUEST);
    expect(outcome).toMatchObject({ kind: 'fault', id: expect.stringMatching(/^prov_/) });
    const [failed] = await providers.list('default');
    expect(failed).toMatchObject({ state: 'failed', resources: [{ kind: 'trunk' }] });
    const provider = await connected();
    expect(provider.id).toBe(failed!.id);
    expect(atTwilio()).toEqual([1, 1]);
  });

  it('import numbers row by row, again as well as once', async () => {
    const { id, credentialsId } = await connected();
    const put = (phone_number: string, more: object = {}) =>
      server.put(`${TWILIO_BASE}/IncomingPhoneNumbers`, {
        phone_number,
        friendly_name: `line ${phone_number}`,
        capabilities: { voice: true },
        trunk_sid: null,
        ...more,
      });
    const first = put('+14155550100');
    put('+14155550101');
    put('+14155550102', { capabilities: { voice: false } });
    put('+14155550103', { trunk_sid: `TK${'0'.repeat(32)}` });
    const numbers = await providers.availableNumbers('default', id);
    expect(numbers).toMatchObject({ kind: 'numbers', numbers: { length: 4 } });
    const outcome = await providers.importNumbers(AUTHOR, id, [
      { number: String(first.sid), displayName: 'Acme' },
      { number: '+14155550101', inboundAgentId: 'nobody' },
      { number: '+14155550102' },
      { number: '+14155550103' },
      { number: '+14155559999' },
    ]);
    expect(outcome).toMatchObject({
      kind: 'imported',
      rows: [
        { outcome: 'imported', id: expect.stringMatching(/^num_/), detail: null },
        { outcome: 'failed', detail: expect.stringContaining('inboundAgentId') },
        { outcome: 'failed', detail: 'the number carries no calls' },
        { outcome: 'failed', detail: expect.stringContaining('another trunk') },
        { outcome: 'failed', detail: 'the account has no such number' },
      ],
    });
    const [trunk] = server.rows('/v1/Trunks') as [{ sid: string }];
    // The one whose agent is unknown was given back.
    expect(server.rows(`/v1/Trunks/${trunk.sid}/PhoneNumbers`)).toMatchObject([
      { phone_number: '+14155550100' },
    ]);
    expect([...snapshot().numbers()]).toMatchObject([
      { phoneNumber: '+14155550100', credentialsId, displayName: 'Acme' },
    ]);
    server.upset({ method: 'POST', path: '/PhoneNumbers', with: { status: 400, body: { code: 3 } } });
    const again = await providers.importNumbers(AUTHOR, id, [{ number: '+14155550100' }]);
    expect(again).toMatchObject({ rows: [{ outcome: 'present' }] });
  });

  it('go with their trunk, on both sides; with numbers on it only when that is meant', async () => {
    const { id } = await connected();
    server.put(`${TWILIO_BASE}/IncomingPhoneNumbers`, {
      phone_number: '+14155550100',
      capabilities: { voice: true },
      trunk_sid: null,
    });
    await providers.importNumbers(AUTHOR, id, [{ number: '+14155550100' }]);
    const careful = await providers.remove(AUTHOR, id, { force: false, abandon: false });
    expect(careful).toMatchObject({ kind: 'refused', refusal: { kind: 'in_use' } });
    expect((await providers.get('default', id))?.state).toBe('connected');
    const gone = await providers.remove(AUTHOR, id, { force: true, abandon: false });
    expect(gone).toEqual({ kind: 'removed' });
    expect(atTwilio()).toEqual([0, 0]);
    expect([[...snapshot().trunks()], [...snapshot().numbers()]]).toEqual([[], []]);
    expect(await providers.list('default')).toEqual([]);
  });

  it('say what they could not remove, and try again or let it be', async () => {
    const { id } = await connected();
    const body = { code: 20_003, message: 'Authenticate' };
    for (let i = 0; i < 12; i++) server.upset({ method: 'DELETE', path: '', with: { status: 401, body } });
    const first = await providers.remove(AUTHOR, id, { force: false, abandon: false });
    expect(first).toMatchObject({ kind: 'left', left: { length: 5 } });
    expect(await providers.get('default', id)).toMatchObject({ state: 'failed', credentialsId: null });
    expect([...snapshot().trunks()]).toEqual([]);
    await providers.remove(AUTHOR, id, { force: false, abandon: true });
    expect(await providers.list('default')).toEqual([]);
  });

  it('show no secret, and keep none in the clear', async () => {
    const provider = await connected();
    const password = snapshot().trunk(provider.credentialsId!)!.authPassword!.reveal();
    expect(password).toMatch(/^Tk1[a-z2-7]{32}$/);
    const shown = JSON.stringify([
      await providers.list('default'),
      await providers.get('default', provider.id),
    ]);
    for (const path of [place.path, `${place.path}-wal`]) {
      const bytes = readFileSync(path).toString('latin1');
      for (const secret of [TWILIO_TOKEN, password]) expect(bytes + shown).not.toContain(secret);
    }
  });
});

it.runIf(TWILIO_MISSING !== '')('provider accounts at Twilio', ({ skip }) => {
  skip(TWILIO_MISSING);
});
