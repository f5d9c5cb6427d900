import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import { systemClock } from '#lib/wheel.js';
import { type Ledger, ProviderFault, type RemoteResource } from '#provider/provider.js';
import { TwilioConnector } from '#provider/twilio/twilio.js';
import type { OpenApiServer } from '../../kit/openapi-server.js';
import { TWILIO_ACCOUNT, TWILIO_BASE, TWILIO_MISSING, TWILIO_TOKEN, twilioServer } from '../../kit/twilio.js';

const ACCOUNT = TWILIO_ACCOUNT;
const TOKEN = TWILIO_TOKEN;
const BASE = TWILIO_BASE;

class MemoryLedger implements Ledger {
  resources: RemoteResource[] = [];
  async intend(kind: string): Promise<void> {
    this.resources.push({ kind, id: null });
  }
  async made(kind: string, id: string): Promise<void> {
    this.resources = this.resources.filter((one) => one.kind !== kind || (one.id !== null && one.id !== id));
    this.resources.push({ kind, id });
  }
  async gone(kind: string, id: string | null): Promise<void> {
    this.resources = this.resources.filter((one) => one.kind !== kind || one.id !== id);
  }
}

describe.skipIf(TWILIO_MISSING !== '')("Twilio's API by its OpenAPI documents", () => {
  let server: OpenApiServer;
  let connector: TwilioConnector;
  let ledger: MemoryLedger;
  const account = { providerId: 'prov_7k2m', accountSid: ACCOUNT, authToken: new Secret(TOKEN) };
  const options = {
    originationUri: 'sip:198.51.100.7:5060',
    credentials: { username: 'trunkline', password: new Secret('Tk1-not-to-be-seen-either') },
  };
  const DOMAIN = 'trunkline-prov-7k2m.pstn.twilio.com';

  beforeEach(async () => {
    server = twilioServer();
    const url = await server.start();
    ledger = new MemoryLedger();
    connector = new TwilioConnector({
      clock: systemClock(),
      timeoutMs: 5_000,
      servers: { api: url, trunking: url },
    });
  });
  afterEach(async () => {
    await server.stop();
  });

  const trunks = () => server.rows('/v1/Trunks');
  const lists = () => server.rows(`${BASE}/SIP/CredentialLists`);

  it('makes trunk, credential list, credential, tie and origination URL, and nothing that the document forbids', async () => {
    const trunk = await connector.connect(account, options, ledger);
    expect(trunk).toMatchObject({ server: DOMAIN, transport: 'udp', numberFormat: 'e164', cpsLimit: 1 });
    expect(trunks()).toHaveLength(1);
    expect(trunks()[0]).toMatchObject({ domain_name: DOMAIN, friendly_name: 'trunkline prov_7k2m' });
    const [{ sid }] = trunks() as [{ sid: string }];
    const [list] = lists() as [{ sid: string }];
    expect(server.rows(`${BASE}/SIP/CredentialLists/${list.sid}/Credentials`)).toMatchObject([
      { username: 'trunkline' },
    ]);
    expect(server.rows(`/v1/Trunks/${sid}/CredentialLists`)).toMatchObject([{ sid: list.sid }]);
    expect(server.rows(`/v1/Trunks/${sid}/OriginationUrls`)).toMatchObject([
      { sip_url: 'sip:198.51.100.7:5060', weight: 10, priority: 10, enabled: true },
    ]);
    expect(server.faults).toEqual([]);
  });

  it('connects again without making anything twice', async () => {
    await connector.connect(account, options, ledger);
    const before = server.requests.length;
    await connector.connect(account, options, ledger);
    expect(server.requests).toHaveLength(before);
  });

  it.each([
    ['/v1/Trunks', () => trunks()],
    ['/SIP/CredentialLists.json', () => lists()],
  ])('finds what was made when the answer to POST %s is lost', async (path, rows) => {
    server.upset({ method: 'POST', path, with: 'lose' });
    await connector.connect(account, options, ledger);
    expect(rows()).toHaveLength(1);
    expect(ledger.resources.map(({ kind }) => kind).sort()).toEqual([
      'credential',
      'credentialList',
      'originationUrl',
      'trunk',
      'trunkCredentialList',
    ]);
  });

  it('makes the credential anew when its answer is lost, since its password cannot be asked for', async () => {
    server.upset({ method: 'POST', path: '/Credentials.json', with: 'lose' });
    await expect(connector.connect(account, options, ledger)).rejects.toMatchObject({ ambiguous: true });
    await connector.connect(account, options, ledger);
    const [list] = lists() as [{ sid: string }];
    expect(server.rows(`${BASE}/SIP/CredentialLists/${list.sid}/Credentials`)).toHaveLength(1);
  });

  it('goes on where a refusal stopped it', async () => {
    const body = { code: 21_212, message: 'Invalid\r\nSipUrl', status: 400 };
    server.upset({ method: 'POST', path: '/OriginationUrls', with: { status: 400, body } });
    const fault = await connector.connect(account, options, ledger).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(ProviderFault);
    expect(fault).toMatchObject({ kind: 'refused', status: 400, code: 21_212, ambiguous: false });
    expect((fault as Error).message).toBe('Twilio answered 400, error 21212: Invalid SipUrl');
    expect(ledger.resources.some(({ kind }) => kind === 'originationUrl')).toBe(false);
    await connector.connect(account, options, ledger);
    expect(trunks()).toHaveLength(1);
  });

  it('sends a POST again after 429 only, and a GET after 5xx too', async () => {
    server.upset({
      method: 'POST',
      path: '/v1/Trunks',
      with: { status: 429, headers: { 'retry-after': '0' } },
    });
    await connector.connect(account, options, ledger);
    expect(trunks()).toHaveLength(1);
    server.upset({ method: 'GET', path: 'IncomingPhoneNumbers', with: { status: 503 } });
    await expect(connector.availableNumbers(account, ledger)).resolves.toEqual([]);
  });

  it('says that the token is wrong, without saying the token', async () => {
    const wrong = { ...account, authToken: new Secret('another-one') };
    const fault: unknown = await connector.connect(wrong, options, ledger).catch((error: unknown) => error);
    expect(fault).toMatchObject({ kind: 'unauthorised', status: 401, code: 20_003 });
    expect(String(fault)).not.toContain('another-one');
    expect(ledger.resources).toEqual([]);
  });

  it('says that Twilio cannot be reached', async () => {
    await server.stop();
    await expect(connector.availableNumbers(account, ledger)).rejects.toMatchObject({ kind: 'unreachable' });
  });

  it('lists every page of the numbers, from the server that was asked', async () => {
    for (let i = 0; i < 8; i++) {
      server.put(`${BASE}/IncomingPhoneNumbers`, {
        phone_number: `+1415555010${i}`,
        friendly_name: `line ${i}`,
        capabilities: { voice: i !== 7 },
        trunk_sid: i === 6 ? `TK${'0'.repeat(32)}` : null,
      });
    }
    const numbers = await connector.availableNumbers(account, ledger);
    expect(numbers.map(({ phoneNumber }) => phoneNumber)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `+1415555010${i}`),
    );
    expect(numbers[6]).toMatchObject({ assigned: 'elsewhere', friendlyName: 'line 6', voice: true });
    expect(numbers[7]).toMatchObject({ assigned: 'none', voice: false });
  });

  it('puts a number on the trunk, twice as well as once, and takes it off', async () => {
    await connector.connect(account, options, ledger);
    const number = server.put(`${BASE}/IncomingPhoneNumbers`, { phone_number: '+14155550100' });
    const id = String(number.sid);
    await connector.assign(account, id, ledger);
    const [trunk] = trunks() as [{ sid: string }];
    expect(server.rows(`/v1/Trunks/${trunk.sid}/PhoneNumbers`)).toMatchObject([
      { phone_number: '+14155550100' },
    ]);
    server.upset({ method: 'POST', path: '/PhoneNumbers', with: { status: 409, body: { code: 21_000 } } });
    await connector.assign(account, id, ledger);
    await connector.release(account, id, ledger);
    expect(server.rows(`/v1/Trunks/${trunk.sid}/PhoneNumbers`)).toEqual([]);
    await connector.release(account, id, ledger);
    expect(ledger.resources.some(({ kind }) => kind === 'phoneNumber')).toBe(false);
  });

  it('removes all that it made', async () => {
    await connector.connect(account, options, ledger);
    const number = server.put(`${BASE}/IncomingPhoneNumbers`, { phone_number: '+14155550100' });
    await connector.assign(account, String(number.sid), ledger);
    await expect(connector.disconnect(account, ledger)).resolves.toEqual([]);
    expect(trunks()).toEqual([]);
    expect(lists()).toEqual([]);
    expect(server.rows(`${BASE}/IncomingPhoneNumbers`)).toHaveLength(1);
    expect(ledger.resources).toEqual([]);
    expect(server.faults).toEqual([]);
  });

  it('says what it could not remove, and removes it the next time', async () => {
    await connector.connect(account, options, ledger);
    const body = { code: 20_009, message: 'in use', status: 400 };
    server.upset({ method: 'DELETE', path: '/SIP/CredentialLists/CL', with: { status: 400, body } });
    const left = await connector.disconnect(account, ledger);
    expect(left).toMatchObject([{ kind: 'credential', reason: 'Twilio answered 400, error 20009: in use' }]);
    await expect(connector.disconnect(account, ledger)).resolves.toEqual([]);
    expect(lists()).toEqual([]);
  });

  it('makes each thing once and leaves nothing, whichever request fails and however', async () => {
    const kinds = ['lose', 'refuse', { status: 400, body: { code: 1, message: 'no' } }] as const;
    for (const kind of kinds) {
      for (let failing = 0; failing < 5; failing++) {
        const own = new MemoryLedger();
        server.upset({ method: 'POST', path: '', after: failing, with: kind });
        const first = await connector.connect(account, options, own).catch((fault: unknown) => fault);
        // What was done and not told may be found again; what was not done fails.
        if (kind !== 'lose') expect(first).toBeInstanceOf(ProviderFault);
        await connector.connect(account, options, own);
        expect(trunks(), `${JSON.stringify(kind)} at POST ${failing}`).toHaveLength(1);
        expect(lists()).toHaveLength(1);
        const [trunk] = trunks() as [{ sid: string }];
        const [list] = lists() as [{ sid: string }];
        expect(server.rows(`/v1/Trunks/${trunk.sid}/OriginationUrls`)).toHaveLength(1);
        expect(server.rows(`/v1/Trunks/${trunk.sid}/CredentialLists`)).toHaveLength(1);
        expect(server.rows(`${BASE}/SIP/CredentialLists/${list.sid}/Credentials`)).toHaveLength(1);
        await expect(connector.disconnect(account, own)).resolves.toEqual([]);
        expect([trunks(), lists(), own.resources]).toEqual([[], [], []]);
      }
    }
  });

  it('removes what was made while its answer was lost', async () => {
    await ledger.intend('trunk');
    server.put('/v1/Trunks', { domain_name: DOMAIN });
    await expect(connector.disconnect(account, ledger)).resolves.toEqual([]);
    expect(trunks()).toEqual([]);
  });
});

it.runIf(TWILIO_MISSING !== '')('Twilio by its OpenAPI documents', ({ skip }) => {
  skip(TWILIO_MISSING);
});
