/**
 * Calls of agents to providers that want different things, over the wire: SIPp plays each provider, checks every octet
 * that says who calls whom, challenges the INVITE and checks the answer. Its own result is the verdict.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { until } from '../kit/processes.js';
import { Sipp, type SippMessage } from '../kit/sipp.js';
import { QUICK } from './quick.js';

const PROVIDERS = ['twilio', 'vonage', 'voipms', 'sipgate', 'busy', 'spare'] as const;
type Provider = (typeof PROVIDERS)[number];

const TRUNKS: Readonly<Record<Provider, object>> = {
  twilio: { server: 'acme.pstn.twilio.com', authUser: 'acme', numberFormat: 'e164', country: 'US' },
  vonage: {
    server: 'sip.nexmo.com',
    authUser: 'a1b2c3d4',
    fromUser: 'a1b2c3d4',
    callerIdMode: 'pai',
    numberFormat: 'plain',
  },
  voipms: {
    server: 'atlanta1.voip.ms:5080',
    domain: 'atlanta1.voip.ms',
    authUser: '100000_desk',
    fromUser: '100000_desk',
    callerIdMode: 'rpid',
    numberFormat: 'national',
    country: 'US',
  },
  sipgate: {
    server: 'sipconnect.sipgate.de',
    authUser: '8501234t0',
    fromUser: '8501234t0',
    callerIdMode: 'ppi',
    numberFormat: 'e164',
    country: 'DE',
    userPhone: true,
  },
  busy: { server: 'busy.pstn.twilio.com' },
  spare: { server: 'spare.example' },
};

const NUMBERS: Readonly<Record<Provider, object>> = {
  twilio: { phoneNumber: '+14155550100', displayName: 'Acme' },
  vonage: { phoneNumber: '+14155550101' },
  voipms: { phoneNumber: '+14155550102', displayName: 'Acme', registration: true },
  sipgate: { phoneNumber: '+49211300100', displayName: 'Müller' },
  busy: { phoneNumber: '+14155550103' },
  spare: { phoneNumber: '+14155550104' },
};

/** More fields of an agent. */
const AGENTS: Readonly<Partial<Record<Provider, object>>> = { busy: { fallbackNumberIds: ['spare'] } };

let gateway: Gateway;
const providerPorts = {} as Record<Provider, number>;
const agentPorts = {} as Record<Provider, number>;
let registrar: Sipp;

beforeAll(async () => {
  const ports = await freePorts(2 * PROVIDERS.length);
  for (const [index, name] of PROVIDERS.entries()) {
    providerPorts[name] = ports[2 * index]!;
    agentPorts[name] = ports[2 * index + 1]!;
  }
  // It takes the REGISTER as one call, and the call as another.
  registrar = await provider('voipms', 'voipms', 2);
  gateway = await Gateway.start({
    config: {
      ...QUICK,
      sipCredentials: PROVIDERS.map((id) => ({
        id,
        // The names are the providers' own; who is asked is a SIPp.
        outboundProxy: `127.0.0.1:${providerPorts[id]}`,
        authPassword: 'authUser' in TRUNKS[id] ? 'secret' : undefined,
        ...TRUNKS[id],
      })),
      phoneNumbers: PROVIDERS.map((id) => ({ id, credentialsId: id, ...NUMBERS[id] })),
      agents: PROVIDERS.map((id) => ({
        id,
        endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPorts[id]}` }],
        outboundNumberId: id,
        ...AGENTS[id],
      })),
    },
  });
});

afterAll(async () => {
  await gateway?.stop();
});

function provider(name: Provider, scenario: string, calls = 1): Promise<Sipp> {
  return Sipp.start({ scenario: `provider/${scenario}`, port: providerPorts[name], calls, trace: true });
}

interface Called {
  readonly record: CallRecord;
  /** INVITEs as each provider got them. */
  readonly invites: readonly (readonly SippMessage[])[];
}

/** An agent calls; throws with SIPp's own account when anybody is not content. */
async function call(agent: Provider, to: string, sides: readonly Sipp[], destUser = ''): Promise<Called> {
  const caller = await Sipp.start({
    scenario: 'agent/dest-user',
    to: gateway.port,
    port: agentPorts[agent],
    service: to,
    pauseMs: 50,
    keys: { dest_user: destUser },
  });
  const results = await Promise.all([caller, ...sides].map((side) => side.result()));
  for (const result of results) expect(result, result.errors).toMatchObject({ exitCode: 0, failed: 0 });
  const [record] = await gateway.waitForRecords(1, ({ agentId }) => agentId === agent);
  const invites = sides.map((side) =>
    side
      .messages()
      .filter(({ direction, startLine }) => direction === 'received' && /^INVITE/.test(startLine)),
  );
  return { record: record!, invites };
}

const field = (message: SippMessage | undefined, name: string): string | undefined =>
  new RegExp(`\r\n${name}: *([^\r]+)`, 'i').exec(message?.text ?? '')?.[1];

/** RFC 7616 §3.4.1 with MD5, computed anew. */
function expectRightAnswer(invite: SippMessage | undefined): void {
  const credentials = field(invite, 'Proxy-Authorization') ?? field(invite, 'Authorization') ?? '';
  const parameter = (name: string): string => {
    const match = new RegExp(`[ ,]${name}=(?:"([^"]*)"|([^ ,]*))`).exec(credentials);
    return match?.[1] ?? match?.[2] ?? '';
  };
  const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
  const secret = md5(`${parameter('username')}:${parameter('realm')}:secret`);
  const request = md5(`INVITE:${parameter('uri')}`);
  const qop = parameter('qop');
  const nonce = [parameter('nonce'), ...(qop === '' ? [] : [parameter('nc'), parameter('cnonce'), qop])];
  expect(parameter('response')).toBe(md5([secret, ...nonce, request].join(':')));
  expect(parameter('uri')).toBe(invite?.startLine.split(' ')[1]);
}

test.each([
  ['twilio', '4155550199', 'twilio'],
  ['vonage', '+442071234567', 'vonage'],
  ['sipgate', '030-1234567', 'sipgate'],
] as const)('%s gets what it wants, and an answer to its challenge', async (name, to, scenario) => {
  const { record, invites } = await call(name, to, [await provider(name, scenario)]);
  const [first, second] = invites[0] ?? [];
  // RFC 3261 §22.2: the repeat keeps Call-ID and From with its tag.
  for (const kept of ['Call-ID', 'From', 'To']) expect(field(second, kept)).toBe(field(first, kept));
  expectRightAnswer(second);
  expect(record).toMatchObject({
    direction: 'outbound',
    trunkId: name,
    code: 'normal_clearing',
    sipStatus: 200,
  });
});

test('voip.ms is called the way that is registered, by the Contact that it knows', async () => {
  await until(
    () => 'the account is registered',
    async () => {
      const { items } = (await (await gateway.get('/api/v1/registrations')).json()) as {
        items: { state: string }[];
      };
      return items.some(({ state }) => state === 'registered');
    },
    15_000,
  );
  const { record, invites } = await call('voipms', '4155550199', [registrar], '100000_desk');
  const register = registrar.messages().find(({ startLine }) => /^REGISTER/.test(startLine));
  const user = (message: SippMessage | undefined) =>
    /<sip:([^@]+)@/.exec(field(message, 'Contact') ?? '')?.[1];
  expect(user(register)).toMatch(/./);
  expect(user(invites[0]?.[0])).toBe(user(register));
  expect(record).toMatchObject({ direction: 'outbound', trunkId: 'voipms', code: 'normal_clearing' });
});

test('a provider that is called too fast is left for the next trunk, whose number is shown there', async () => {
  const { record } = await call('busy', '+14155550199', [
    await provider('busy', 'too-fast'),
    await provider('spare', 'spare'),
  ]);
  expect(record).toMatchObject({
    direction: 'outbound',
    trunkId: 'spare',
    attempts: [{ sipStatus: 500 }, { sipStatus: 200 }],
  });
});
