/**
 * Trunks with `inboundAuth` through the real process: PBXs at addresses that nobody knows log in by digest, others need
 * address and password, and strangers learn nothing. SIPp takes the first challenge that comes, and knows MD5 only.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CallRecord } from '#call/observer.js';
import { Gateway } from '../kit/gateway.js';
import { ownLoopback } from '../kit/loopback.js';
import { freePorts } from '../kit/ports.js';
import { type HeaderLines, Message, SDP, unique } from '../kit/sip-message.js';
import { hopByHop, type Received, SipPeer } from '../kit/sip-peer.js';
import { Sipp, type SippOptions } from '../kit/sipp.js';
import { QUICK } from './quick.js';

/** An address of `allowedAddresses`, and one that no trunk names. */
const KNOWN = '127.0.0.3';
const UNKNOWN = '127.0.0.7';
const OFFICE = { username: 'office', password: 'office-secret' };
const ROAMING = { username: 'roaming', password: 'roaming-secret' };
const SALES = { username: 'sales', password: 'sales-secret' };
const NUMBERS = { office: '+14155550101', roaming: '+14155550102', carrier: '+14155550103' };
const CALLEE = '+15551230000';

let gateway: Gateway;
let agentPort = 0;
let calleePort = 0;

async function open(sip: object): Promise<void> {
  [agentPort = 0, calleePort = 0] = await freePorts(2);
  gateway = await Gateway.start({
    config: {
      ...QUICK,
      sip: { ...QUICK.sip, ...sip },
      sipCredentials: [
        { id: 'carrier', server: `127.0.0.1:${calleePort}` },
        {
          id: 'office',
          server: 'office.example',
          allowedAddresses: [KNOWN],
          inboundAuth: OFFICE,
        },
        { id: 'roaming', server: 'roaming.example', inboundAuth: ROAMING },
      ],
      phoneNumbers: Object.entries(NUMBERS).map(([id, phoneNumber]) => ({
        id,
        phoneNumber,
        credentialsId: id,
        inboundAgentId: 'desk',
      })),
      agents: [
        { id: 'desk', endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }] },
        { id: 'sales', outboundNumberId: 'carrier', inboundAuth: SALES },
      ],
    },
  });
}

const phone = (scenario: string, more: Partial<SippOptions>): Promise<Sipp> =>
  Sipp.start({ scenario, to: gateway.port, pauseMs: 0, ...more });

const recordOf = async ({ callIdEnd }: Sipp): Promise<CallRecord> => {
  const [record] = await gateway.waitForRecords(1, ({ callId }) => callId.endsWith(callIdEnd));
  return record!;
};

/** A PBX calls, and the agent answers. */
async function answered(more: Partial<SippOptions>): Promise<{ pbx: Sipp; record: CallRecord }> {
  const agent = await Sipp.start({ scenario: 'uas/answered', port: agentPort, pauseMs: 0 });
  const pbx = await phone('uac/login', more);
  await Promise.all([pbx.succeed(1), agent.succeed(1)]).catch(async (error: unknown) => {
    await Promise.all([pbx.stop(), agent.stop()]);
    throw error;
  });
  return { pbx, record: await recordOf(pbx) };
}

const to = () => ({ host: '127.0.0.1', port: gateway.port });
const uriOf = (number: string) => `sip:${number}@127.0.0.1:${gateway.port}`;
const nonceIn = (challenge: Message): string =>
  /nonce="([^"]+)"/.exec(challenge.header('WWW-Authenticate'))?.[1] ?? '';

/** RFC 7616 with SHA-256, computed by itself. */
function answerTo(
  { username, password }: typeof OFFICE,
  number: string,
  nonce: string,
  nc = '00000001',
): string {
  const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
  const uri = uriOf(number);
  const inner = sha(`${username}:trunkline:${password}`);
  const response = sha(`${inner}:${nonce}:${nc}:0a4f:auth:${sha(`INVITE:${uri}`)}`);
  return `Digest username="${username}",realm="trunkline",nonce="${nonce}",uri="${uri}",response="${response}",algorithm=SHA-256,qop=auth,nc=${nc},cnonce="0a4f"`;
}

/** An INVITE as long as telephones' are. */
const LONG: HeaderLines = [
  ['Allow', 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY'],
  ['User-Agent', `pbx/1.0 (${'x'.repeat(200)})`],
];

class Pbx {
  readonly peer: SipPeer;
  readonly #callId = unique('pbx');
  #cseq = 0;

  constructor(peer: SipPeer) {
    this.peer = peer;
  }

  static async at(host: string, transport: 'udp' | 'tcp' = 'udp'): Promise<Pbx> {
    return new Pbx(await SipPeer.open(transport, { host }));
  }

  /** Sends an INVITE, waits for its final answer and acknowledges it. */
  async invite(number: string, status: number, authorization?: string): Promise<Received> {
    const octets = this.peer.request({
      method: 'INVITE',
      to: to(),
      uri: uriOf(number),
      fromTag: 'a',
      callId: this.#callId,
      cseq: ++this.#cseq,
      body: SDP,
      headers: authorization === undefined ? LONG : [...LONG, ['Authorization', authorization]],
    });
    const way = await this.peer.way(to());
    way.send(octets);
    const final = await this.peer.expect((message) => message.status >= 200 && message.cseq === this.#cseq);
    expect(final.status).toBe(status);
    way.send(hopByHop('ACK', new Message(octets), final.header('To')));
    return final;
  }

  record(): Promise<CallRecord[]> {
    return gateway.waitForRecords(1, ({ callId }) => callId === this.#callId);
  }
}

describe('asked in MD5 only', () => {
  beforeAll(() => open({ digestAlgorithms: ['MD5'] }));
  afterAll(async () => {
    try {
      await gateway.idle();
    } finally {
      await gateway.stop();
    }
  });

  test.each(['u1', 't1'] as const)(
    'a PBX at an unknown address logs in, calls and hangs up (%s)',
    async (transport) => {
      const address = ownLoopback();
      const { record } = await answered({
        address,
        transport,
        login: ROAMING,
        service: NUMBERS.roaming,
        calls: 1,
      });
      expect(record).toMatchObject({
        direction: 'inbound',
        trunkId: 'roaming',
        phoneNumberId: 'roaming',
        agentId: 'desk',
        sourceAddress: address,
        code: 'normal_clearing',
        endedBy: 'caller',
      });
    },
  );

  test('a trunk with addresses and a password needs both', async () => {
    const { record } = await answered({ address: KNOWN, login: OFFICE, service: NUMBERS.office });
    expect(record).toMatchObject({ trunkId: 'office', code: 'normal_clearing' });
    const elsewhere = await phone('uac/login-refused', {
      address: UNKNOWN,
      login: OFFICE,
      service: NUMBERS.office,
    });
    await elsewhere.succeed(1);
    const refused = await recordOf(elsewhere);
    expect(refused).toMatchObject({ trunkId: 'office', sipStatus: 403, code: 'caller_credentials_wrong' });
    expect(refused.explanation).toContainEqual(
      expect.objectContaining({ test: 'is in allowedAddresses of trunk office', outcome: 'fail' }),
    );
  });

  test('a wrong password is refused, with a record for its trunk', async () => {
    const login = { ...ROAMING, password: 'wrong' };
    const pbx = await phone('uac/login-refused', { address: UNKNOWN, login, service: NUMBERS.roaming });
    await pbx.succeed(1);
    expect(await recordOf(pbx)).toMatchObject({
      direction: 'inbound',
      trunkId: 'roaming',
      sipStatus: 403,
      code: 'caller_credentials_wrong',
      detail: 'user "roaming" or the password is wrong',
    });
  });

  test("a password opens the numbers of its own trunk, and no others'", async () => {
    for (const service of [NUMBERS.office, NUMBERS.carrier, '+14155559999']) {
      const pbx = await phone('uac/login-unknown-number', { address: UNKNOWN, login: ROAMING, service });
      await pbx.succeed(1);
      expect(await recordOf(pbx)).toMatchObject({ trunkId: 'roaming', code: 'unknown_number' });
    }
  });

  test('the carrier that is known by its address is not asked', async () => {
    const agent = await Sipp.start({ scenario: 'uas/answered', port: agentPort, pauseMs: 0 });
    const carrier = await phone('uac/answered', { service: NUMBERS.carrier });
    await Promise.all([carrier.succeed(1), agent.succeed(1)]);
    const unknown = await phone('uac/unknown-number', { service: '+14155559999' });
    await unknown.succeed(1);
  });
});

describe('asked as by default', () => {
  beforeAll(() => open({}));
  afterAll(async () => {
    try {
      await gateway.idle();
    } finally {
      await gateway.stop();
    }
  });

  test('a PBX whose INVITE is too short for two challenges gets the one that it knows', async () => {
    const { pbx } = await answered({
      address: ownLoopback(),
      login: ROAMING,
      service: NUMBERS.roaming,
      trace: true,
    });
    const messages = pbx.messages();
    const invite = messages.find(({ startLine }) => startLine.startsWith('INVITE'))!;
    const challenge = messages.find(({ startLine }) => startLine.startsWith('SIP/2.0 401'))!;
    expect(invite.text.length).toBeLessThan(500);
    expect(challenge.text.length).toBeLessThanOrEqual(invite.text.length);
    expect(challenge.text.match(/algorithm=[^,]+/g)).toEqual(['algorithm=MD5']);
  });

  test('an agent whose INVITE is too short for two challenges gets the one that it knows', async () => {
    const callee = await Sipp.start({ scenario: 'provider/answered', port: calleePort, pauseMs: 0 });
    const agent = await phone('agent/login', { address: ownLoopback(), login: SALES, service: CALLEE });
    await Promise.all([agent.succeed(1), callee.succeed(1)]);
    expect(await recordOf(agent)).toMatchObject({ direction: 'outbound', agentId: 'sales', sipStatus: 200 });
  });

  test('a challenge over UDP has no more octets than the INVITE of the stranger that it goes to', async () => {
    const offers: string[] = [];
    for (let pad = 0; pad <= 260; pad += 20) {
      const stranger = await SipPeer.open('udp', { host: ownLoopback() });
      const headers: HeaderLines = [['X-Pad', 'x'.repeat(pad)]];
      const octets = stranger.request({ method: 'INVITE', to: to(), uri: uriOf(NUMBERS.roaming), headers });
      (await stranger.way(to())).send(octets);
      const { raw, status } = await stranger.expect((message) => message.status > 0);
      expect(status).toBe(401);
      expect(raw.length).toBeLessThanOrEqual(octets.length);
      offers.push((raw.match(/algorithm=[^,]+/g) ?? ['nothing']).join(' and ').replaceAll('algorithm=', ''));
      await stranger.close();
    }
    expect([...new Set(offers)]).toEqual(['nothing', 'MD5', 'SHA-256 and MD5']);
  });

  test('over TCP, where a stranger is who it says, the shortest INVITE gets both challenges', async () => {
    const stranger = await SipPeer.open('tcp', { host: ownLoopback() });
    const way = await stranger.way(to());
    way.send(stranger.request({ method: 'INVITE', to: to(), uri: uriOf(NUMBERS.roaming) }));
    const { raw } = await stranger.expect(401);
    expect(raw.match(/algorithm=[^,]+/g)).toEqual(['algorithm=SHA-256', 'algorithm=MD5']);
    await stranger.close();
  });

  test('strangers get one and the same challenge, whatever number they call', async () => {
    const told = new Set<string>();
    for (const number of [...Object.values(NUMBERS), '+14155559999', 'nobody', '100']) {
      const stranger = await Pbx.at(ownLoopback());
      const { raw } = await stranger.invite(number, 401);
      const what = raw
        .replace(/nonce="[^"]+"/g, 'nonce')
        .split('\r\n')
        .filter((line) => !/^(Via|From|To|Call-ID|CSeq):/.test(line));
      told.add(what.join('\n'));
      await stranger.peer.close();
    }
    expect([...told]).toHaveLength(1);
    expect([...told][0]).not.toContain('X-Trunkline');
  });

  test('strangers hear the same of a wrong user, a wrong password and a wrong address', async () => {
    const told = new Set<string>();
    for (const login of [
      OFFICE,
      { ...OFFICE, password: 'no' },
      { ...ROAMING, password: 'no' },
      { ...SALES, password: 'no' },
      { username: 'nobody', password: 'no' },
    ]) {
      const stranger = await Pbx.at(ownLoopback());
      const nonce = nonceIn(await stranger.invite(NUMBERS.office, 401));
      const { raw } = await stranger.invite(NUMBERS.office, 403, answerTo(login, NUMBERS.office, nonce));
      const what = raw
        .replace(/(X-Trunkline-Call-Id: ).*/, '$1')
        .split('\r\n')
        .filter((line) => !/^(Via|From|To|Call-ID|CSeq):/.test(line));
      told.add(what.join('\n'));
      await stranger.peer.close();
    }
    expect([...told]).toHaveLength(1);
    expect([...told][0]).toContain('X-Trunkline-Reason: caller_credentials_wrong');
  });

  test('an answer that was overheard is worth nothing, from nowhere', async () => {
    const agent = await SipPeer.open('udp', { port: agentPort });
    const pbx = await Pbx.at(ownLoopback());
    const nonce = nonceIn(await pbx.invite(NUMBERS.roaming, 401));
    const answer = answerTo(ROAMING, NUMBERS.roaming, nonce);
    const busy = agent.expect('INVITE').then((invite) => agent.respond(invite, 486, 'Busy Here'));
    await pbx.invite(NUMBERS.roaming, 486, answer);
    await busy;
    for (const thief of [pbx, await Pbx.at(ownLoopback())]) {
      const again = await thief.invite(NUMBERS.roaming, 401, answer);
      expect(again.header('WWW-Authenticate')).toContain('stale=true');
      if (thief !== pbx) await thief.peer.close();
    }
    // The nonce itself may be used again, with the next count.
    const next = agent.expect('INVITE').then((invite) => agent.respond(invite, 486, 'Busy Here'));
    await pbx.invite(NUMBERS.roaming, 486, answerTo(ROAMING, NUMBERS.roaming, nonce, '00000002'));
    await next;
    await agent.close();
    await pbx.peer.close();
  });

  test('after ten wrong answers not even the right one is looked at, from that address', async () => {
    const pbx = await Pbx.at(KNOWN);
    const wrong = { ...OFFICE, password: 'guess' };
    const nonce = nonceIn(await pbx.invite(NUMBERS.office, 401));
    for (let i = 1; i <= 10; i++) {
      await pbx.invite(
        NUMBERS.office,
        403,
        answerTo(wrong, NUMBERS.office, nonce, `0000000${i.toString(16)}`),
      );
    }
    await pbx.invite(NUMBERS.office, 403, answerTo(OFFICE, NUMBERS.office, nonce, '0000000b'));
    const records = await gateway.waitForRecords(11, ({ sourceAddress }) => sourceAddress === KNOWN);
    expect(records.at(-1)).toMatchObject({
      code: 'caller_credentials_wrong',
      detail: expect.stringContaining(`too often from ${KNOWN}`),
    });
    await pbx.peer.close();
  });

  test('CANCEL, ACK, and what is asked inside the call are not challenged', async () => {
    const agent = await SipPeer.open('udp', { port: agentPort });
    const pbx = await SipPeer.open('udp', { host: ownLoopback() });
    const way = await pbx.way(to());
    const common = {
      method: 'INVITE',
      to: to(),
      uri: uriOf(NUMBERS.roaming),
      fromTag: 'a',
      callId: unique('cancelled'),
      body: SDP,
    };
    const first = pbx.request({ ...common, cseq: 1, headers: LONG });
    way.send(first);
    const challenge = await pbx.expect(401);
    way.send(hopByHop('ACK', new Message(first), challenge.header('To')));
    const authorization = answerTo(ROAMING, NUMBERS.roaming, nonceIn(challenge));
    const second = pbx.request({ ...common, cseq: 2, headers: [...LONG, ['Authorization', authorization]] });
    way.send(second);
    const rung = await agent.expect('INVITE');
    expect(rung.has('Authorization')).toBe(false);
    agent.respond(rung, 180, 'Ringing', { toTag: 'agent' });
    await pbx.expect(180);
    way.send(hopByHop('CANCEL', new Message(second), new Message(second).header('To')));
    await pbx.expect('200 CANCEL');
    const cancel = await agent.expect('CANCEL');
    agent.respond(cancel, 200, 'OK');
    agent.respond(rung, 487, 'Request Terminated', { toTag: 'agent' });
    const ended = await pbx.expect(487);
    way.send(hopByHop('ACK', new Message(second), ended.header('To')));
    const [record] = await gateway.waitForRecords(1, ({ callId }) => callId === common.callId);
    expect(record).toMatchObject({ trunkId: 'roaming', code: 'caller_cancelled' });
    await agent.close();
    await pbx.close();
  });

  test('the dry run says who is asked, and what becomes of those who answer', async () => {
    const explain = async (query: string) =>
      (await (await gateway.get(`/api/v1/routes/explain?${query}`)).json()) as Record<string, unknown>;
    const number = encodeURIComponent(NUMBERS.roaming);
    expect(await explain(`to=${number}&source=${UNKNOWN}`)).toMatchObject({
      decision: 'refuse',
      status: 401,
      code: 'credentials_needed',
    });
    expect(await explain(`to=${number}&source=${UNKNOWN}&username=roaming`)).toMatchObject({
      decision: 'route',
      trunkId: 'roaming',
      agentId: 'desk',
    });
    expect(await explain(`to=${number}&source=${UNKNOWN}&username=office`)).toMatchObject({
      status: 403,
      code: 'caller_credentials_wrong',
      trunkId: 'office',
    });
  });
});
