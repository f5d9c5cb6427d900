/**
 * The fields of trunks, numbers and agents as the config file and the API take them: type, unit, default and why.
 * What leaves here is valid by itself; what one object says about another is checked by `draft.ts`.
 */
import * as z from 'zod';
import { ORIGINATE_ORDERS } from './agent.js';
import {
  cidr,
  destUser,
  endpointUri,
  failoverStatus,
  field,
  headerMap,
  headerPattern,
  hostName,
  hostPort,
  idSchema,
  numberPrefix,
  pem,
  seconds,
  secret,
  text,
} from './field-kinds.js';
import { isCountry, unseenFault } from './number-format.js';
import { Secret } from './secret.js';
import { CALLER_ID_MODES, DEFAULT_ORGANIZATION, DID_SOURCES, NUMBER_FORMATS, TRANSPORTS } from './trunk.js';

const organizationId = () =>
  field(
    idSchema.default(DEFAULT_ORGANIZATION),
    'The organisation that it belongs to. Objects refer to those of their own organisation only.',
  );

const endpoint = z.strictObject({
  uri: field(
    endpointUri(),
    'Where the agent answers: a SIP URI, sent as Request-URI. `;transport=tcp` or `tls` chooses the transport; an explicit port turns SRV off (RFC 3263).',
    'sip:sales@agents.example.com;transport=tls',
  ),
  priority: field(
    z.int().min(0).max(65_535).default(1),
    'The lowest number is tried first; the next ones when it does not answer.',
  ),
  weight: field(
    z.int().min(0).max(65_535).default(1),
    'Share of calls among endpoints of one priority (RFC 2782).',
  ),
});

/** @param example user and password, for people */
const inboundAuth = (...example: [username: string, password: string]) =>
  z.strictObject({
    username: field(text(256), 'Digest user; no two of all trunks and agents may have the same.', example[0]),
    password: field(secret(), 'Digest password. Never printed, logged or answered by the API.', example[1]),
  });

const optionsPing = z.strictObject({
  intervalSeconds: field(seconds(86_400).default(30), 'Seconds between two OPTIONS.'),
  failAfter: field(z.int().min(1).max(100).default(3), 'Unanswered OPTIONS in a row that take a target out.'),
  okAfter: field(z.int().min(1).max(100).default(1), 'Answers in a row that bring it back.'),
});

const trunkTls = z.strictObject({
  verify: field(
    z.boolean().optional(),
    "Check the provider's certificate. Leave it on: without, anybody on the way can listen.",
    true,
  ),
  ca: field(
    pem().optional(),
    "PEM of the certificate authorities to trust instead of the system's; a file by ${file:PATH}.",
    '${file:/etc/trunkline/provider-ca.pem}',
  ),
  clientCert: field(
    pem().optional(),
    'PEM of our certificate, for providers that ask for one.',
    '${file:/etc/trunkline/client.pem}',
  ),
  clientKey: field(
    pem()
      .transform((value) => new Secret(value))
      .optional(),
    'PEM of its private key.',
    '${file:/etc/trunkline/client.key}',
  ),
  serverName: field(
    hostName().optional(),
    'Name for SNI and for the certificate check when it differs from `server`.',
    'sip.provider.example',
  ),
  minVersion: field(z.enum(['TLSv1.2', 'TLSv1.3']).optional(), 'Oldest TLS version to accept.', 'TLSv1.2'),
});

const destinations = () =>
  z.strictObject({
    allow: field(
      z.array(numberPrefix()).max(10_000).default([]),
      'Beginnings of the numbers that may be called; none: all. Begin with + for E.164.',
      ['+1', '+44'],
    ),
    deny: field(
      z.array(numberPrefix()).max(10_000).default([]),
      'Beginnings of those that may not. The longest beginning that fits decides.',
      ['+1900'],
    ),
  });

const callsAtOnce = () => z.int().min(1).max(1_000_000).optional();
const callsPerDay = () => z.int().min(1).max(100_000_000).optional();

const organizationLimits = z.strictObject({
  destinations: field(destinations().prefault({}), 'Where calls of the organisation may go.'),
  maxConcurrentCalls: field(callsAtOnce(), 'Its own calls in progress at once. Unset: no bound.', 100),
  callsPerDay: field(callsPerDay(), 'Its own calls from midnight to midnight UTC. Unset: no bound.', 10_000),
  maxDurationSeconds: field(
    seconds(604_800).optional(),
    'Longest call in seconds, ended with BYE. Unset: as the trunk says.',
    14_400,
  ),
});

export const organizationSchema = z.strictObject({
  id: field(idSchema, 'Name of the organisation, for `organizationId`, logs and metrics.', 'default'),
  name: field(text(256).optional(), 'Name for people; default: the id.', 'Acme Ltd'),
  limits: field(organizationLimits.prefault({}), 'Bounds of the calls that it makes.'),
});

/** What the fields of a trunk say about each other. */
export function trunkRules(
  trunk: {
    readonly numberFormat: string;
    readonly cpsBurst: number;
    readonly cpsLimit?: number | undefined;
    readonly country?: string | undefined;
    readonly authPassword?: Secret | undefined;
    readonly authUser?: string | undefined;
    readonly authUsername?: string | undefined;
    readonly tls: { readonly clientCert?: string | undefined; readonly clientKey?: Secret | undefined };
  },
  context: z.core.$RefinementCtx,
): void {
  const complain = (name: string, message: string) =>
    context.addIssue({ code: 'custom', path: [name], message, input: undefined });
  if (trunk.numberFormat === 'national' && trunk.country === undefined) {
    complain('country', 'is needed for numberFormat national');
  }
  if (trunk.cpsBurst > Math.max(1, Math.ceil(trunk.cpsLimit ?? 1))) {
    complain('cpsBurst', 'must not be more than cpsLimit');
  }
  if (trunk.authPassword !== undefined && (trunk.authUser ?? trunk.authUsername) === undefined) {
    complain('authUser', 'is needed with authPassword');
  }
  if ((trunk.tls.clientCert === undefined) !== (trunk.tls.clientKey === undefined)) {
    complain('tls', 'needs both of clientCert and clientKey, or none');
  }
}

export const trunkSchema = z
  .strictObject({
    id: field(idSchema, 'Name of the trunk, for numbers, logs and metrics.', 'carrier-a'),
    organizationId: organizationId(),
    server: field(
      hostPort(),
      'Host name or address with optional port. Without a port, DNS may name several servers (SRV).',
      'sip.provider.example',
    ),
    transport: field(
      z.enum(TRANSPORTS).default('udp'),
      'How to reach the server: udp, tcp or tls. Default port 5060, TLS 5061.',
    ),
    description: field(text(1_024).optional(), 'Label for people.', 'Main carrier'),
    authUser: field(
      text(256).optional(),
      'User of the account: user part of the AOR, and digest user.',
      'acme',
    ),
    authUsername: field(text(256).optional(), 'Digest user when it differs from `authUser`.', 'acme-auth'),
    authPassword: field(
      secret().optional(),
      'Digest password. Never printed, logged or answered by the API.',
      '${CARRIER_A_PASSWORD}',
    ),
    domain: field(
      hostName().optional(),
      'Host part of From, To and the AOR, and the realm we expect; default: the host of `server`.',
      'provider.example',
    ),
    outboundProxy: field(
      hostPort().optional(),
      'Send requests here instead of to `server`.',
      'proxy.provider.example:5060',
    ),
    allowedAddresses: field(
      z.array(cidr()).max(10_000).optional(),
      'Addresses and CIDR blocks that calls of this provider come from; everybody else is refused. Default: with `inboundAuth` any address, else the address in `server`, if it is one. The most specific block decides among trunks.',
      ['192.0.2.0/24', '2001:db8::/32'],
    ),
    inboundAuth: field(
      inboundAuth('office-pbx', '${PBX_PASSWORD}').optional(),
      'User and password that every call of this provider or PBX shows (digest). With `allowedAddresses`: both are needed; without: from any address.',
    ),
    didSource: field(
      z
        .array(z.enum(DID_SOURCES))
        .min(1)
        .max(DID_SOURCES.length)
        .default(['ruri', 'to', 'x-dest-user', 'diversion']),
      `Where the dialled number stands in an INVITE, of ${DID_SOURCES.join(', ')}. The first that names a number of this trunk wins.`,
    ),
    country: field(
      z
        .string()
        .refine((value) => /^[A-Z]{2}$/.test(value) && isCountry(value), {
          error: 'must be an ISO 3166 country code in capitals, such as US, GB or DE',
        })
        .optional(),
      'How this provider writes numbers without +: 0044…, 020… and 44… are one number with GB. Unset: only +44… is E.164.',
      'US',
    ),
    numberFormat: field(
      z.enum(NUMBER_FORMATS).default('asIs'),
      'How numbers are written on calls to this provider: as given, +E.164, E.164 without +, or national (needs `country`).',
    ),
    techPrefix: field(text(32).optional(), 'Digits put before every number that is dialled.', '99#'),
    callerIdMode: field(
      z.enum(CALLER_ID_MODES).default('from'),
      "Header field that carries the caller's number on calls to this provider.",
    ),
    fromUser: field(
      text(256).optional(),
      'User part of From where the provider wants its account there.',
      'acme',
    ),
    fromDomain: field(hostName().optional(), 'Host part of From; default `domain`.', 'provider.example'),
    userPhone: field(z.boolean().default(false), 'Add ;user=phone to URIs with a number.'),
    privacy: field(
      z.boolean().default(false),
      "Withhold the caller's number on all calls to this provider: anonymous From and `Privacy: id`, the number in P-Asserted-Identity or what `callerIdMode` says.",
    ),
    headers: field(headerMap().default(new Map()), 'Header fields added to every INVITE to this provider.', {
      'X-Account': 'acme',
    }),
    relayHeaders: field(
      z.array(headerPattern()).max(64).default([]),
      'Header fields of INVITEs of this provider that reach the agent, besides `calls.relayHeaders`.',
      ['X-Carrier-*'],
    ),
    cpsLimit: field(
      z.number().positive().max(100_000).optional(),
      'New calls per second that the provider accepts, fractions allowed (0.5 is one call in two seconds). Unset: not paced.',
      10,
    ),
    cpsKey: field(
      idSchema.optional(),
      "Trunks with one key share one limit, the smallest of theirs. Default: the trunk's own id.",
      'carrier-a',
    ),
    cpsBurst: field(
      z.int().min(1).max(1_000).default(1),
      'Calls that may leave at once after a rest, for providers known to average; 1 spaces all calls evenly.',
    ),
    cpsCountsChallenges: field(
      z.boolean().default(false),
      'This provider counts the repeat of an INVITE that it challenged as another call.',
    ),
    maxConcurrentCalls: field(
      callsAtOnce(),
      'Calls in progress on this trunk, both directions; one more is refused with 503. Unset: no bound of its own.',
      100,
    ),
    callsPerDay: field(
      callsPerDay(),
      'Calls to this provider from midnight to midnight UTC. Unset: no bound.',
      10_000,
    ),
    destinations: field(
      destinations().prefault({}),
      'Where calls by this trunk may go, besides what the organisation says.',
    ),
    ringTimeoutSeconds: field(
      seconds(3_600).optional(),
      'Seconds that a call of this trunk may ring; default `calls.ringTimeoutSeconds`.',
      45,
    ),
    maxDurationSeconds: field(
      seconds(604_800).optional(),
      'Longest call in seconds, ended with BYE. Unset: no end.',
      14_400,
    ),
    failoverStatuses: field(
      z.array(failoverStatus()).max(64).optional(),
      'Answers after which the next target is tried; default `calls.failoverStatuses`.',
      [500, 503],
    ),
    delayedOffer: field(z.boolean().default(false), 'Send INVITEs to this provider without an offer.'),
    tls: field(trunkTls.prefault({}), 'What a TLS connection to this provider must look like.'),
    optionsPing: field(
      optionsPing.optional(),
      'How often to ask the server for its health with OPTIONS. Unset: a server that we are registered at every 25 seconds, others not.',
    ),
  })
  .superRefine(trunkRules);

export const numberSchema = z.strictObject({
  id: field(
    idSchema.optional(),
    'Name of the number for references; default: the number itself. Needed when it lives on two trunks.',
    'main-line',
  ),
  organizationId: organizationId(),
  phoneNumber: field(
    text(128)
      .refine((value) => value.trim() === value, { error: 'must not begin or end with a space' })
      .superRefine((value, context) => {
        const message = unseenFault(value);
        if (message !== undefined) context.addIssue({ code: 'custom', message });
      }),
    'The number that is dialled, best in E.164. A name or a short code is taken as it is.',
    '+14155550100',
  ),
  credentialsId: field(idSchema, 'The trunk that it lives on.', 'carrier-a'),
  inboundAgentId: field(idSchema.optional(), 'The agent that answers; without one, calls get 480.', 'sales'),
  displayName: field(text(256).optional(), 'Name shown with calls from this number.', 'Acme'),
  description: field(text(1_024).optional(), 'Label for people.', 'Main line'),
  registration: field(z.boolean().default(false), 'Register this number at the provider.'),
  transferTrunkId: field(
    idSchema.optional(),
    'Trunk for calls transferred away from this number.',
    'carrier-a',
  ),
});

export const sipRegistrationSchema = z.strictObject({
  domain: field(
    hostName(),
    'Where the account lives: host part of its address, and the realm we expect.',
    'pbx.example.com',
  ),
  username: field(text(256), 'User of the account, and its extension.', '1001'),
  password: field(
    secret(),
    'Digest password. Never printed, logged or answered by the API.',
    '${AGENT_PASSWORD}',
  ),
  authUsername: field(text(256).optional(), 'Digest user when it differs from `username`.', '1001-auth'),
  proxy: field(hostPort().optional(), 'Send requests here instead of to `domain`.', 'proxy.example.com:5060'),
  port: field(
    z.int().min(1).max(65_535).optional(),
    'Port of `domain`. Unset: DNS (SRV), else 5060, TLS 5061.',
    5060,
  ),
  transport: field(z.enum(TRANSPORTS).default('udp'), 'How to reach it: udp, tcp or tls.'),
  subscribe: field(z.boolean().default(false), 'Watch presence and calls of the account (BLF).'),
  did: field(
    text(128).optional(),
    'Number that calls of this agent show: user of From, and in the header field of `callerIdMode`. Default: `username`.',
    '+14155550100',
  ),
  callerIdMode: field(
    z.enum(CALLER_ID_MODES).default('from'),
    'Header field that carries the number on calls of this agent.',
  ),
  xDestUser: field(
    destUser(),
    'Sent as X-Dest-User with calls of this agent. Unset or empty: not sent.',
    'sub-account',
  ),
});

export const agentSchema = z.strictObject({
  id: field(idSchema, 'Name of the agent, for numbers, logs and metrics.', 'sales'),
  organizationId: organizationId(),
  name: field(text(256).optional(), 'Name for people; default: the id.', 'Sales'),
  enabled: field(z.boolean().default(true), 'A disabled agent takes no calls: 480.'),
  platform: field(
    z
      .string()
      .regex(/^[a-z0-9-]{1,32}$/, { error: 'must be 1 to 32 of the characters a-z 0-9 -' })
      .default('sip'),
    'What the agent runs on: sip, livekit or another.',
  ),
  endpoints: field(z.array(endpoint).max(64).default([]), 'Where it answers. Without any, calls get 480.'),
  headers: field(headerMap().default(new Map()), 'Header fields added to every INVITE to this agent.', {
    'X-Tenant': 'acme',
  }),
  outboundNumberId: field(
    text(128).optional(),
    'The number that it calls from: the id of the number, or the number itself.',
    '+14155550100',
  ),
  fallbackNumberIds: field(
    z.array(text(128)).max(16).default([]),
    'Further numbers: when a call cannot leave by the trunk of the first, these are tried in order, each by its own trunk.',
    ['+14155550101'],
  ),
  callerPrivacy: field(
    z.boolean().default(false),
    'Withhold its number, unless a call says otherwise (RFC 3323).',
  ),
  originate: field(
    z.enum(ORIGINATE_ORDERS).default('agentFirst'),
    'Who is rung first in calls made by the API: agentFirst, or calleeFirst, which needs a trunk with `delayedOffer`.',
  ),
  inboundAuth: field(
    inboundAuth('sales', '${AGENT_PASSWORD}').optional(),
    'User and password that the agent shows when it calls, whatever address it calls from.',
  ),
  allowedAddresses: field(
    z.array(cidr()).max(1_000).default([]),
    'Addresses and CIDR blocks that its calls come from, besides the addresses among its endpoints.',
    ['192.0.2.0/24'],
  ),
  ringTimeoutSeconds: field(
    seconds(3_600).optional(),
    "Seconds that this agent may ring before the next endpoint is tried; default: the trunk's, then `calls.ringTimeoutSeconds`.",
    30,
  ),
  sipRegistration: field(
    sipRegistrationSchema.optional(),
    'An account of its own at a PBX or provider, registered while the agent is enabled. Its calls go to this agent.',
  ),
});
