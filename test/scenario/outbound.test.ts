/**
 * Calls of SIP agents through the real process: SIPp is the agent at one end and the provider at the other. The agent
 * and its provider share an address, so the agent is known by the port of its endpoint.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { DnsServer } from '../kit/dns-server.js';
import { Gateway } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { type HeaderLines, Message, unique } from '../kit/sip-message.js';
import { hopByHop, SipPeer } from '../kit/sip-peer.js';
import { Sipp, type SippOptions } from '../kit/sipp.js';
import { QUICK } from './quick.js';

const SDP = [
  'v=0',
  'o=caller 7 7 IN IP4 192.0.2.10',
  's=-',
  'c=IN IP4 192.0.2.10',
  't=0 0',
  'm=audio 40000 RTP/AVP 8 0 101',
  'a=rtpmap:8 PCMA/8000',
  'a=rtpmap:0 PCMU/8000',
  'a=rtpmap:101 telephone-event/8000',
  'a=fmtp:101 0-15',
  'a=ptime:20',
  'a=sendrecv',
  'a=x-sdp-of:caller',
  '',
].join('\r\n');
const CALLEE = '+15551230000';
const CREDENTIALS = { authUser: 'acme', authPassword: 'carrier-secret', domain: 'carrier.example' };

/** One agent per line, with a trunk of its own, or several. */
const LINES = {
  plain: [{}],
  login: [{}],
  challenged: [CREDENTIALS],
  wrong: [{ ...CREDENTIALS, authPassword: 'wrong' }],
  looped: [CREDENTIALS],
  second: [{}, {}],
  named: [{ server: 'sip.carrier.test' }],
  paced: [{ cpsLimit: 1 }],
  held: [{ cpsLimit: 0.1 }],
  slow: [{ cpsLimit: 0.1 }],
  full: [{ cpsLimit: 0.1 }],
} as const;
type Name = keyof typeof LINES;

interface Line {
  readonly port: number;
  /** Of the agent's other endpoint. */
  readonly otherPort: number;
  /** The number that the first trunk shows. */
  readonly number: string;
  readonly providers: readonly number[];
}

let gateway: Gateway;
let dns: DnsServer;
const lines = {} as Record<Name, Line>;

beforeAll(async () => {
  const sipCredentials: Record<string, unknown>[] = [];
  const phoneNumbers: Record<string, unknown>[] = [];
  const agents: Record<string, unknown>[] = [];
  let next = 14155550100;
  for (const [name, trunks] of Object.entries(LINES) as [Name, readonly object[]][]) {
    const [port = 0, otherPort = 0, ...providers] = await freePorts(2 + trunks.length);
    lines[name] = { port, otherPort, providers, number: `+${next}` };
    const numbers = trunks.map((trunk, i) => {
      const id = `${name}-${i + 1}`;
      sipCredentials.push({ id, server: `127.0.0.1:${providers[i]}`, ...trunk });
      phoneNumbers.push({ id, phoneNumber: `+${next++}`, credentialsId: id });
      return id;
    });
    agents.push({
      id: name,
      endpoints:
        name === 'login'
          ? []
          : (name === 'named' ? [port] : [port, otherPort]).map((each) => ({
              uri: `sip:sales@127.0.0.1:${each}`,
            })),
      outboundNumberId: numbers[0],
      fallbackNumberIds: numbers.slice(1),
      inboundAuth: name === 'login' ? { username: 'sales', password: 'agent-secret' } : undefined,
    });
  }
  dns = await DnsServer.start();
  dns.set(
    '_sip._udp.sip.carrier.test',
    { type: 'SRV', priority: 1, weight: 1, port: lines.named.providers[0]!, target: 'a.carrier.test' },
    { type: 'SRV', priority: 2, weight: 1, port: lines.named.otherPort, target: 'a.carrier.test' },
  );
  dns.set('a.carrier.test', { type: 'A', address: '127.0.0.1' });
  gateway = await Gateway.start({
    config: {
      dns: { servers: [dns.address], families: [4] },
      sip: QUICK.sip,
      calls: { ...QUICK.calls, queueTimeoutSeconds: 3, maxQueued: 2 },
      sipCredentials,
      phoneNumbers,
      agents,
    },
  });
});

afterAll(async () => {
  try {
    await gateway.idle();
  } finally {
    await gateway.stop();
    await dns.stop();
  }
});

interface Sides {
  readonly agentSide: Sipp;
  readonly providers: readonly Sipp[];
  readonly records: readonly CallRecord[];
}

/** Runs calls of a line's agent to their end; throws with SIPp's own account when a side is not content. */
async function call(
  name: Name,
  agent: string,
  provider: readonly string[],
  options: { calls?: number; agent?: Partial<SippOptions>; provider?: Partial<SippOptions> } = {},
): Promise<Sides> {
  const { port, providers: ports } = lines[name];
  const calls = options.calls ?? 1;
  const providers = await Promise.all(
    provider.map((scenario, i) =>
      Sipp.start({ scenario: `provider/${scenario}`, port: ports[i], calls, ...options.provider }),
    ),
  );
  const agentSide = await Sipp.start({
    scenario: `agent/${agent}`,
    to: gateway.port,
    port,
    calls,
    service: CALLEE,
    ...options.agent,
  });
  const sides = [agentSide, ...providers];
  await Promise.all(sides.map((side) => side.succeed(calls))).catch(async (error: unknown) => {
    await Promise.all(sides.map((side) => side.stop()));
    throw error;
  });
  const records = await gateway.waitForRecords(calls, ({ callId }) => callId.endsWith(agentSide.callIdEnd));
  return { agentSide, providers, records };
}

test('a telephone answers and the agent hangs up', async () => {
  const { agentSide, records } = await call('plain', 'answered', ['answered']);
  expect(records).toMatchObject([
    {
      direction: 'outbound',
      organizationId: 'default',
      trunkId: 'plain-1',
      phoneNumberId: 'plain-1',
      agentId: 'plain',
      callee: CALLEE,
      caller: lines.plain.number,
      sourcePort: agentSide.port,
      endedBy: 'agent',
      sipStatus: 200,
      code: 'normal_clearing',
      queuedAt: null,
      attempts: [
        { outcome: 'answered', trunkId: 'plain-1', target: `udp:127.0.0.1:${lines.plain.providers[0]}` },
      ],
    },
  ]);
});

test('the callee is busy', async () => {
  const { records } = await call('plain', 'busy', ['busy']);
  expect(records).toMatchObject([{ endedBy: 'callee', sipStatus: 486, code: 'callee_busy' }]);
});

test('the agent gives up while it rings', async () => {
  const { records } = await call('plain', 'cancel-ringing', ['cancelled']);
  expect(records).toMatchObject([{ endedBy: 'agent', sipStatus: 487, code: 'caller_cancelled' }]);
});

test('the offer comes from the callee', async () => {
  await call('plain', 'no-sdp', ['no-sdp']);
});

test('a reliable provisional response crosses reliably', async () => {
  await call('plain', 'prack', ['prack']);
});

test('the provider asks for credentials twice; the next call brings them along', async () => {
  const { records } = await call('challenged', 'answered', ['challenges']);
  expect(records[0]!.attempts).toMatchObject([{ outcome: 'answered', challenges: 2 }]);
  const again = await call('challenged', 'answered', ['remembers']);
  expect(again.records[0]!.attempts).toMatchObject([{ outcome: 'answered', challenges: 0 }]);
});

test('a provider that asks for ever is left after three answers', async () => {
  const { records, providers } = await call('looped', 'wrong-password', ['challenge-loop'], {
    provider: { trace: true },
  });
  const invites = providers[0]!.messages().filter(({ startLine }) => startLine.startsWith('INVITE'));
  expect(invites.length).toBe(4);
  expect(records).toMatchObject([
    { code: 'trunk_credentials_rejected', sipStatus: 502, attempts: [{ sipStatus: 401, challenges: 3 }] },
  ]);
});

test('a wrong password is tried once', async () => {
  const { records } = await call('wrong', 'wrong-password', ['rejects-password']);
  expect(records).toMatchObject([
    { code: 'trunk_credentials_rejected', attempts: [{ sipStatus: 401, challenges: 1 }] },
  ]);
});

test('a number that is not ours is not shown', async () => {
  const { records } = await call('plain', 'foreign-caller-id', []);
  expect(records).toMatchObject([{ direction: 'outbound', code: 'caller_id_refused', attempts: [] }]);
});

test('the second server of a trunk takes over from the first', async () => {
  const [first = 0] = lines.named.providers;
  const down = await Sipp.start({ scenario: 'provider/unavailable', port: first });
  const up = await Sipp.start({ scenario: 'provider/answered', port: lines.named.otherPort });
  const { records } = await call('named', 'answered', []);
  await Promise.all([down.succeed(1), up.succeed(1)]);
  expect(records[0]!.attempts).toMatchObject([
    { trunkId: 'named-1', target: `udp:127.0.0.1:${first}`, outcome: 'rejected', sipStatus: 503 },
    { trunkId: 'named-1', target: `udp:127.0.0.1:${lines.named.otherPort}`, outcome: 'answered' },
  ]);
});

test('a second trunk takes over from one that fails', async () => {
  const { records } = await call('second', 'answered', ['unavailable', 'answered']);
  expect(records).toMatchObject([
    {
      trunkId: 'second-2',
      phoneNumberId: 'second-2',
      attempts: [
        { trunkId: 'second-1', outcome: 'rejected', sipStatus: 503 },
        { trunkId: 'second-2', outcome: 'answered' },
      ],
    },
  ]);
});

test('a second trunk takes over from one that says nothing', async () => {
  const sides = await Sipp.start({ scenario: 'provider/answered', port: lines.second.providers[1] });
  const silent = await call('second', 'answered', []);
  await sides.succeed(1);
  expect(silent.records[0]!.attempts).toMatchObject([
    { trunkId: 'second-1', outcome: 'cancelled', cause: 'provider_silent' },
    { trunkId: 'second-2', outcome: 'answered' },
  ]);
});

test('an agent with a password is asked for it, wherever it calls from', async () => {
  const [provider = 0] = lines.login.providers;
  const callee = await Sipp.start({ scenario: 'provider/busy', port: provider });
  // No trunk calls from there, and no agent is known by the address.
  const agent = await SipPeer.open('udp', { host: '127.0.0.9' });
  try {
    const to = { host: '127.0.0.1', port: gateway.port };
    const uri = `sip:${CALLEE}@127.0.0.1:${gateway.port}`;
    const way = await agent.way(to);
    const common = { method: 'INVITE', to, uri, fromTag: 'a', callId: unique('login'), body: SDP };
    /** Sends an INVITE, and acknowledges the final answer. */
    const invite = async (cseq: number, status: number, headers: HeaderLines = []) => {
      const octets = agent.request({ ...common, cseq, headers });
      way.send(octets);
      const final = await agent.expect(status);
      way.send(hopByHop('ACK', new Message(octets), final.header('To')));
      return final;
    };
    const challenge = (await invite(1, 401)).header('WWW-Authenticate');
    expect(challenge).toContain('SHA-256');
    const nonce = /nonce="([^"]+)"/.exec(challenge)?.[1] ?? '';
    const sha = (text: string) => createHash('sha256').update(text).digest('hex');
    const answer = (password: string, nc: string) => {
      const digest = sha(
        `${sha(`sales:trunkline:${password}`)}:${nonce}:${nc}:0a4f:auth:${sha(`INVITE:${uri}`)}`,
      );
      return `Digest username="sales",realm="trunkline",nonce="${nonce}",uri="${uri}",response="${digest}",algorithm=SHA-256,qop=auth,nc=${nc},cnonce="0a4f"`;
    };
    const refused = await invite(2, 403, [['Authorization', answer('wrong', '00000001')]]);
    expect(refused.header('X-Trunkline-Reason')).toBe('caller_credentials_wrong');
    await invite(3, 486, [['Authorization', answer('agent-secret', '00000002')]]);
    await callee.succeed(1);
    const records = await gateway.waitForRecords(2, ({ callId }) => callId === common.callId);
    expect(records).toMatchObject([
      { direction: 'outbound', agentId: 'login', code: 'caller_credentials_wrong' },
      { direction: 'outbound', agentId: 'login', code: 'callee_busy', sourceAddress: '127.0.0.9' },
    ]);
  } finally {
    await agent.close();
  }
});

test('calls wait for their slots: 182, even spacing, one at a time', async () => {
  const { providers, records } = await call('paced', 'held-or-not', ['answered'], {
    calls: 3,
    agent: { rate: 50 },
    provider: { trace: true },
  });
  const invites = providers[0]!.messages().filter(({ startLine }) => startLine.startsWith('INVITE'));
  expect(invites.length).toBe(3);
  for (let i = 1; i < invites.length; i++)
    expect(invites[i]!.at - invites[i - 1]!.at).toBeGreaterThanOrEqual(1_000);
  const waited = records.map(({ waitedMs }) => waitedMs ?? -1).sort((a, b) => a - b);
  expect(waited[0]).toBeLessThan(500);
  expect(waited[1]).toBeGreaterThan(500);
  expect(waited[2]).toBeGreaterThan(1_500);
  expect(records.every(({ cpsKey }) => cpsKey === 'paced-1')).toBe(true);
});

test('a call that waits can be given up, and uses no slot', async () => {
  await call('held', 'answered', ['answered']);
  const { records } = await call('held', 'cancel-held', []);
  expect(records).toMatchObject([
    { code: 'caller_cancelled', sipStatus: 487, attempts: [], cpsKey: 'held-1' },
  ]);
});

test('a call that waits too long is refused with its reason', async () => {
  await call('slow', 'answered', ['answered']);
  const { records } = await call('slow', 'queue-timeout', []);
  expect(records).toMatchObject([{ code: 'held_too_long', sipStatus: 503, attempts: [] }]);
  expect(records[0]!.waitedMs).toBeGreaterThan(2_500);
});

test('one call too many in line is refused at once', async () => {
  await call('full', 'answered', ['answered']);
  const { port, otherPort } = lines.full;
  const waiting = await Sipp.start({
    scenario: 'agent/queue-timeout',
    to: gateway.port,
    port,
    calls: 2,
    service: CALLEE,
  });
  await gateway.program.until('two calls wait', async () => {
    const answer = (await (await gateway.get('/api/v1/calls')).json()) as { items: CallRecord[] };
    return answer.items.filter(({ agentId, state }) => agentId === 'full' && state === 'queued').length === 2;
  });
  const late = await Sipp.start({
    scenario: 'agent/queue-full',
    to: gateway.port,
    port: otherPort,
    service: CALLEE,
  });
  await late.succeed(1);
  await waiting.succeed(2);
});
