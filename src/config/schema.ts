/**
 * Every setting of the gateway: type, unit (in the name), default, and why. The sample file, the faults and the
 * `Config` type all come from here. Names are those of the API.
 */
import * as z from 'zod';
import { parseCidr } from '#directory/cidr.js';
import { failoverStatus, field, headerPattern, hostName, ipAddress, secret } from '#directory/field-kinds.js';
import { agentSchema, numberSchema, organizationSchema, trunkSchema } from '#directory/schema.js';
import { TRANSPORTS } from '#directory/trunk.js';

export const DEFAULT_CDR_PATH = 'data/cdr.jsonl';

const port = (min: 0 | 1) => z.int().min(min).max(65_535);
const count = (max: number) => z.int().min(1).max(max);
const milliseconds = (max: number) => z.int().min(1).max(max);
const seconds = (max: number) => z.number().positive().max(max);
const path = () => z.string().min(1).max(4_096);
const isLoopback = (address: string) => address === '::1' || address.startsWith('127.');
const isRedisUrl = (value: string) => URL.canParse(value) && /^rediss?:$/.test(new URL(value).protocol);

const listener = z
  .strictObject({
    transport: field(z.enum(TRANSPORTS), 'udp, tcp or tls.', 'udp'),
    host: field(
      ipAddress(),
      'Address to listen on. 0.0.0.0 or :: for all; then set `externalAddress`.',
      '127.0.0.1',
    ),
    port: field(port(0).optional(), 'Port; 0 takes a free one. Default 5060, for tls 5061.', 5060),
    externalAddress: field(
      hostName().nullable().default(null),
      'Advertised in Via and Contact instead of `host`, for this listener; default `sip.externalAddress`.',
    ),
    certFile: field(
      path().optional(),
      'PEM file of our certificate with its chain (tls).',
      '/etc/trunkline/cert.pem',
    ),
    keyFile: field(path().optional(), 'PEM file of its private key (tls).', '/etc/trunkline/key.pem'),
    caFile: field(
      path().optional(),
      'PEM file of the authorities whose client certificates are taken (tls).',
      '/etc/trunkline/clients-ca.pem',
    ),
    requestClientCert: field(
      z.boolean().default(false),
      'Ask clients for a certificate and refuse those without a valid one (tls).',
    ),
    minVersion: field(
      z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
      'Oldest TLS version to accept (tls).',
    ),
  })
  .superRefine((value, context) => {
    const files = ['certFile', 'keyFile', 'caFile'] as const;
    for (const name of files) {
      if (value.transport !== 'tls' && value[name] !== undefined) {
        context.addIssue({
          code: 'custom',
          path: [name],
          message: 'is for transport tls only',
          input: undefined,
        });
      }
      if (value.transport === 'tls' && name !== 'caFile' && value[name] === undefined) {
        context.addIssue({
          code: 'custom',
          path: [name],
          message: 'is needed for transport tls',
          input: undefined,
        });
      }
    }
  })
  .transform((value) => ({ ...value, port: value.port ?? (value.transport === 'tls' ? 5061 : 5060) }));

const listeners = z
  .array(listener)
  .min(1)
  .max(64)
  .superRefine((list, context) => {
    const seen = new Set<string>();
    for (const [index, { transport, host, port: number }] of list.entries()) {
      // TCP and TLS would share one port.
      const key = `${transport === 'udp' ? 'udp' : 'tcp'} ${host} ${number}`;
      if (number !== 0 && seen.has(key)) {
        const message = 'is taken by a listener above';
        context.addIssue({ code: 'custom', path: [index, 'port'], message, input: undefined });
      }
      seen.add(key);
    }
  });

const limits = z.strictObject({
  transactions: field(
    count(10_000_000).default(500_000),
    'SIP transactions at once. One call leaves about five behind for 5 to 32 seconds.',
  ),
  dialogs: field(count(10_000_000).default(100_000), 'Dialogs at once; a call is two.'),
  connections: field(count(1_000_000).default(10_000), 'TCP and TLS connections, both directions.'),
  connectionsPerAddress: field(
    count(1_000_000).default(2_000),
    'Of those from one address, so that one peer cannot take them all.',
  ),
  messageBytes: field(
    z.int().min(1_500).max(16_777_216).default(65_536),
    'Bytes of one message, body included.',
  ),
  headBytes: field(
    z.int().min(1_000).max(1_048_576).default(32_768),
    'Bytes of start line and header fields.',
  ),
  headers: field(z.int().min(16).max(10_000).default(256), 'Header fields of one message.'),
  messageTimeoutMs: field(
    milliseconds(600_000).default(30_000),
    'Milliseconds for a message to arrive whole on a connection once it has begun.',
  ),
  idleTimeoutMs: field(
    milliseconds(86_400_000).default(600_000),
    'Milliseconds without message or keep-alive after which an incoming connection without dialogs closes.',
  ),
  connectTimeoutMs: field(milliseconds(60_000).default(5_000), 'Milliseconds to establish a connection.'),
  sendQueueBytes: field(
    z.int().min(65_536).max(1_073_741_824).default(1_048_576),
    'Bytes queued for a connection whose peer does not read; then it closes.',
  ),
});

const timers = z.strictObject({
  t1: field(
    z.int().min(50).max(5_000).default(500),
    'Milliseconds: estimate of the round trip (RFC 3261 T1). A transaction gives up after 64 of it.',
  ),
  t2: field(
    z.int().min(100).max(60_000).default(4_000),
    'Milliseconds: longest pause between retransmissions (T2).',
  ),
  t4: field(
    z.int().min(100).max(60_000).default(5_000),
    'Milliseconds that a message stays in the network (T4).',
  ),
});

const drachtioServer = {
  host: field(hostName(), 'Host of drachtio-server.', '127.0.0.1'),
  port: field(port(1).default(9_022), 'Its admin port.'),
  secret: field(secret(), 'Its shared secret.', '${DRACHTIO_SECRET}'),
  tls: field(
    z
      .strictObject({
        ca: field(
          z.string().min(1).max(262_144).optional(),
          'PEM that replaces the roots of the system; a file by ${file:PATH}.',
          '${file:/etc/trunkline/drachtio-ca.pem}',
        ),
        serverName: field(
          hostName().optional(),
          'Name that its certificate must carry; default: host.',
          'drachtio.example',
        ),
      })
      .optional(),
    'TLS to the admin port; leave it out for TCP.',
  ),
} as const;

const sip = z.strictObject({
  engine: field(
    z.enum(['embedded', 'drachtio']).default('embedded'),
    'The SIP stack: the one inside, or a drachtio-server (then `sip.drachtio` says where it is).',
  ),
  listen: field(
    listeners.prefault([
      { transport: 'udp', host: '127.0.0.1', port: 5060 },
      { transport: 'tcp', host: '127.0.0.1', port: 5060 },
    ]),
    'Where SIP is taken, any number of each transport. Default: udp and tcp on 127.0.0.1:5060.',
  ),
  externalAddress: field(
    hostName().nullable().default(null),
    'Address or name advertised in Via and Contact when behind NAT; null: the address of the listener.',
  ),
  unknownSources: field(
    z.enum(['reject', 'drop']).default('reject'),
    'Calls from addresses of no trunk: reject with 403 (asked first for a password, where there is an `inboundAuth` for any address), or drop without an answer.',
  ),
  digestAlgorithms: field(
    z
      .array(z.enum(['SHA-256', 'MD5']))
      .min(1)
      .max(2)
      .refine((names) => new Set(names).size === names.length, { error: 'must not have one twice' })
      .default(['SHA-256', 'MD5']),
    'What callers with `inboundAuth` are asked for, the most preferred first (RFC 8760); an INVITE too short for all gets the last. [MD5] for equipment that reads the first challenge only.',
  ),
  udpToTcpBytes: field(
    z.int().min(0).max(65_535).default(1_300),
    'Requests longer than this go over TCP instead of UDP where the peer takes it (RFC 3261 §18.1.1); 0: never.',
  ),
  limits: field(
    limits.prefault({}),
    'Bounds. At a bound something is refused (503 with Retry-After, or a closed connection) and counted.',
  ),
  timers: field(timers.prefault({}), 'Timers of the transactions. Change them for slow links only.'),
  drachtio: field(
    z
      .strictObject({
        ...drachtioServer,
        more: field(
          z.array(z.strictObject(drachtioServer)).max(16).default([]),
          'Further servers, each with host, port, secret, tls. All are connected at once and share the calls.',
        ),
        unverifiedTls: field(
          z.enum(['refuse', 'accept']).default('refuse'),
          'drachtio-server checks no certificate: refuse targets that want one checked, or accept that.',
        ),
      })
      .optional(),
    'Where drachtio-server is, for engine drachtio.',
  ),
});

const dns = z.strictObject({
  servers: field(
    z
      .array(z.string().regex(/^[0-9a-fA-F.:[\]]+$/, { error: 'must be an address, or address:port' }))
      .max(8)
      .default([]),
    'Name servers, address or address:port. Default: those of the system.',
    ['192.0.2.53'],
  ),
  families: field(
    z
      .array(z.union([z.literal(4), z.literal(6)]))
      .min(1)
      .max(2)
      .default([4, 6]),
    'IP versions of the addresses looked for, the preferred one first.',
  ),
  timeoutSeconds: field(
    seconds(60).default(5),
    'Seconds that a call waits for DNS before the next endpoint is tried.',
  ),
});

const calls = z.strictObject({
  setupTimeoutSeconds: field(
    seconds(600).default(30),
    'Seconds from the INVITE to the first sign of ringing, all attempts together; then the caller gets an answer.',
  ),
  ringTimeoutSeconds: field(
    seconds(3_600).default(30),
    'Seconds from the INVITE to the answer when the agent rings. Agents and trunks may say otherwise.',
  ),
  attemptTimeoutSeconds: field(
    seconds(600).default(4),
    'Seconds of silence from one endpoint, or from one server of a trunk, after which the next one is tried.',
  ),
  failoverStatuses: field(
    z.array(failoverStatus()).max(64).default([408, 500, 502, 503, 504]),
    "Answers of an agent's endpoint or a trunk's server after which the next one is tried. Busy and decline are answers for the caller.",
  ),
  calleeRingTimeoutSeconds: field(
    seconds(3_600).default(60),
    'Seconds from the INVITE to the answer when a telephone rings; what a call waits for a slot does not count. Trunks may say otherwise.',
  ),
  queueTimeoutSeconds: field(
    seconds(86_400).default(60),
    'Seconds that a call may wait for slots of its calls-per-second limit, all attempts together; then it is refused with 503.',
  ),
  maxQueued: field(
    count(1_000_000).default(1_000),
    'Calls that may wait for slots of one cpsKey; one more is refused at once with 503 and Retry-After.',
  ),
  maxAttempts: field(
    z.int().min(1).max(64).default(6),
    'INVITEs to providers for one call, over all servers and trunks; repeats with credentials do not count.',
  ),
  maxChallenges: field(
    z.int().min(0).max(3).default(3),
    'Challenges (401, 407) that are answered for one INVITE; 0: none.',
  ),
  heedCpsRefusals: field(
    z.boolean().default(true),
    "Whether a provider's refusal for too many calls per second (503, or its words) makes the call wait once more and lowers the pace of its cpsKey for a while.",
  ),
  refer: field(
    z.enum(['accept', 'decline']).default('accept'),
    'REFER (RFC 3515) of an agent inside its call: accept and transfer the call, or decline with 603.',
  ),
  maxConcurrentCalls: field(
    count(10_000_000).default(40_000),
    'Calls in progress, all trunks together; one more is refused with 503.',
  ),
  maxDurationSeconds: field(
    seconds(604_800).nullable().default(null),
    'Longest call in seconds, for trunks that do not say; null: no end.',
  ),
  relayHeaders: field(
    z.array(headerPattern()).max(64).default([]),
    'Header fields of INVITEs, of every trunk, that reach the agent besides those that always do (caller identity, User-to-User, X-…). A trailing * matches a prefix.',
    ['P-Charging-Vector'],
  ),
  maxForwards: field(
    z.int().min(1).max(255).default(70),
    'Largest Max-Forwards that is sent; a relayed request counts down from what came in.',
  ),
  endedKept: field(
    z.int().min(0).max(1_000_000).default(1_000),
    'Ended calls that the API still shows; all are in the call records.',
  ),
});

/** A rule between sections is checked whenever those sections are valid, whatever is wrong elsewhere. */
function sound(...sections: readonly string[]): (payload: z.core.ParsePayload) => boolean {
  return ({ issues }) =>
    !issues.some(({ path }) => path === undefined || path.length === 0 || sections.includes(String(path[0])));
}

/** http or https, without a path. */
const httpUrl = (fallback: string) =>
  z
    .string()
    .refine((value) => /^https?:\/\/[^/?#@\s]+$/.test(value) && URL.canParse(value), {
      error: `must be like ${fallback}`,
    })
    .default(fallback);

export const configSchema = z
  .strictObject({
    sip: field(sip.prefault({}), 'SIP: who listens where, and within which bounds.'),
    http: field(
      z
        .strictObject({
          host: field(
            ipAddress().default('127.0.0.1'),
            'Address to listen on. Off loopback it takes `tls`; behind a proxy that does TLS, leave it on loopback.',
          ),
          port: field(port(0).default(8_080), 'Port; 0 takes a free one.'),
          token: field(
            secret().optional(),
            'Bearer token of the API. Default: TRUNKLINE_API_TOKEN from the environment, or one generated at first start, kept and printed.',
            '${TRUNKLINE_API_TOKEN}',
          ),
          tls: field(
            z
              .strictObject({
                certFile: field(
                  path(),
                  'PEM file of the certificate with its chain.',
                  '/etc/trunkline/cert.pem',
                ),
                keyFile: field(path(), 'PEM file of its private key.', '/etc/trunkline/key.pem'),
              })
              .optional(),
            'Speak HTTPS. SIGHUP reads the files again.',
          ),
          insecure: field(
            z.boolean().default(false),
            'Listen without TLS on an address that others reach: token and calls can then be read on the way.',
          ),
          requestsPerSecond: field(
            z.number().positive().max(100_000).default(100),
            'Requests that one token may make, on average over 10 seconds; more are answered 429.',
          ),
        })
        .refine(({ host, insecure, tls }) => insecure || tls !== undefined || isLoopback(host), {
          path: ['host'],
          error: 'is not a loopback address, and there is no http.tls',
        })
        .prefault({}),
      'The management API, health and metrics.',
    ),
    store: field(
      z
        .strictObject({
          kind: field(
            z.enum(['sqlite', 'redis']).default('sqlite'),
            'sqlite for one node, redis for several.',
          ),
          path: field(path().default('data/trunkline.db'), 'File of the database (sqlite).'),
          secretKeyFile: field(
            path().default('data/secret-key'),
            'File with the key that passwords are sealed with, made at first start. TRUNKLINE_SECRET_KEY in the environment goes before it.',
          ),
        })
        .prefault({}),
      'Where what the API writes is kept.',
    ),
    redis: field(
      z
        .strictObject({
          url: field(
            z
              .string()
              .refine(isRedisUrl, { error: 'must be redis://… or rediss://…' })
              .nullable()
              .default(null),
            'redis://… or rediss://…; set: calls-per-second limits and what nodes share live there. null: this node is alone.',
          ),
        })
        .prefault({}),
      'Redis, for several nodes.',
    ),
    pacing: field(
      z
        .strictObject({
          whenRedisIsDown: field(
            z.enum(['hold', 'share']).default('hold'),
            "Without Redis, hold paced calls, or dial on with this node's share of each limit.",
          ),
          slowDown: field(
            z
              .strictObject({
                factor: field(
                  z.number().min(0.1).max(1).default(0.8),
                  'What a refusal makes of the pace; 1: nothing. At least a second lies between two that count.',
                ),
                holdSeconds: field(seconds(3_600).default(30), 'Seconds at the lower pace.'),
                recoverySeconds: field(
                  seconds(3_600).default(60),
                  'Seconds after those in which the pace climbs back to the limit.',
                ),
              })
              .prefault({}),
            'How the pace of a cpsKey follows when its provider refuses calls for their speed (`calls.heedCpsRefusals`).',
          ),
        })
        .prefault({}),
      'Calls per second towards providers.',
    ),
    log: field(
      z
        .strictObject({
          level: field(
            z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
            'Least severity that is logged.',
          ),
          format: field(
            z.enum(['auto', 'json', 'text']).default('auto'),
            'json for machines, text for people; auto: text on a terminal.',
          ),
          calls: field(z.boolean().default(true), 'One line per call when it has ended.'),
        })
        .prefault({}),
      'The log on standard output.',
    ),
    cdr: field(
      z
        .strictObject({
          path: field(
            path().nullable().default(DEFAULT_CDR_PATH),
            'File for one JSON line per call attempt, refused ones included; null: none.',
          ),
        })
        .prefault({}),
      'Call records.',
    ),
    trace: field(
      z
        .strictObject({
          megabytes: field(
            z.int().min(0).max(4_096).default(16),
            'Memory for the latest SIP messages; each megabyte holds about 1,500. `GET /api/v1/calls/{id}/trace` shows those of a call. 0: none are kept.',
          ),
        })
        .prefault({}),
      'What crossed the wire, for whoever asks why a call failed. Not with drachtio, which has a log of its own.',
    ),
    dns: field(dns.prefault({}), 'Finding servers by name (RFC 3263).'),
    calls: field(calls.prefault({}), 'How calls are set up.'),
    registrations: field(
      z
        .strictObject({
          perSecond: field(
            z.number().positive().max(10_000).default(50),
            'REGISTERs per second to one server, evenly spaced, however many accounts start or fail at once.',
          ),
          expirySeconds: field(
            z.int().min(60).max(86_400).default(600),
            'Seconds that a registration is asked to last; the server may grant less. It is refreshed well before.',
          ),
        })
        .prefault({}),
      'Accounts that are registered at providers.',
    ),
    webhooks: field(
      z
        .strictObject({
          allowedAddresses: field(
            z
              .array(
                z.string().refine((value) => typeof parseCidr(value) !== 'string', {
                  error: 'must be an address or a CIDR block',
                }),
              )
              .max(256)
              .default([]),
            'Private addresses (loopback and the like) that webhooks may reach all the same, as CIDR. Public ones always may.',
            ['10.20.0.0/16'],
          ),
          timeoutSeconds: field(
            seconds(60).default(10),
            'Seconds that a webhook has to answer before it is tried again.',
          ),
        })
        .prefault({}),
      'Telling others what happens.',
    ),
    providers: field(
      z
        .strictObject({
          twilio: field(
            z
              .strictObject({
                apiUrl: field(httpUrl('https://api.twilio.com'), "Twilio's API, or a proxy in front of it."),
                trunkingUrl: field(
                  httpUrl('https://trunking.twilio.com'),
                  "Twilio's trunking API, or a proxy in front of it.",
                ),
              })
              .prefault({}),
            'Where Twilio is asked.',
          ),
        })
        .prefault({}),
      'Providers whose accounts the gateway sets up by itself.',
    ),
    drain: field(
      z
        .strictObject({
          timeoutSeconds: field(
            z.number().min(0).max(86_400).default(300),
            'Seconds that SIGTERM lets live calls go on before they are ended.',
          ),
        })
        .prefault({}),
      'Stopping.',
    ),
    organizations: field(
      z.array(organizationSchema).max(100_000).default([]),
      'Organisations, where their calls have bounds. What says nothing else belongs to `default`.',
    ),
    sipCredentials: field(z.array(trunkSchema).max(100_000).default([]), 'Trunks: accounts at providers.'),
    phoneNumbers: field(
      z.array(numberSchema).max(2_000_000).default([]),
      'Numbers, each on a trunk, with the agent that answers.',
    ),
    agents: field(z.array(agentSchema).max(1_000_000).default([]), 'Voice agents and where they answer.'),
  })
  .refine((config) => config.sip.engine !== 'drachtio' || config.sip.drachtio !== undefined, {
    path: ['sip', 'drachtio'],
    error: 'is needed for engine drachtio',
    when: sound('sip'),
  })
  .refine((config) => config.store.kind !== 'redis' || config.redis.url !== null, {
    path: ['redis', 'url'],
    error: 'is needed for store redis',
    when: sound('store', 'redis'),
  });

/** A validated configuration with every default filled in. `sipCredentials` and the like are compiled apart. */
export type Config = Readonly<z.output<typeof configSchema>>;
