/** NUL, CR and LF inside header fields: never relayed to the other side, never raw in log or record. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { until } from '../kit/processes.js';
import { type Address, Message, SDP, unique } from '../kit/sip-message.js';
import { hopByHop, PeerDialog, SipPeer, type Way } from '../kit/sip-peer.js';

const NUMBER = '+14155550100';
const CONTROLS = ['\u0000', '\r', '\n', '\n ', '\r\u0000\n', '\u001b[31m', '\u0007', '\u007f', '\u0085'];

let gateway: Gateway;
let agent: SipPeer;
let caller: SipPeer;
let to: Address;
let way: Way;

beforeAll(async () => {
  agent = await SipPeer.open('udp');
  caller = await SipPeer.open('udp');
  gateway = await Gateway.start({
    config: {
      sip: { timers: { t1: 50, t2: 200, t4: 250 } },
      log: { level: 'debug' },
      calls: { relayHeaders: ['X-*', 'Subject', 'User-Agent'] },
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
      phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'agent' }],
      agents: [
        {
          id: 'agent',
          name: 'Agent',
          endpoints: [{ uri: `sip:a@${agent.hostPort}`, priority: 1, weight: 1 }],
        },
      ],
    },
  });
  to = { host: '127.0.0.1', port: gateway.port };
  way = await caller.way(to);
});

afterAll(async () => {
  await agent.close();
  await caller.close();
  await gateway.stop();
});

/** The head has line ends where lines end, no other control but HTAB, and no field that was smuggled in. */
function expectClean(message: Message): void {
  expect(headOf(message)).not.toMatch(/[\u0000-\u0008\u000a-\u001f\u007f]/);
  expect(message.has('X-Evil')).toBe(false);
}

/** An answer repeats From, To, Call-ID and Via as they came (§8.2.6.2), but no line end and no NUL. */
function expectCleanEcho(message: Message): void {
  expect(headOf(message)).not.toMatch(/[\r\n\u0000]/);
  expect(message.has('X-Evil')).toBe(false);
}

function headOf({ raw, body }: Message): string {
  return raw.slice(0, raw.length - body.length).replaceAll('\r\n', '');
}

function expectCleanOutput(): void {
  // Lines that are no JSON are ours for people; none holds what a terminal would obey.
  expect(gateway.program.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  expect(gateway.program.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  const lines = gateway.program.stdout.split('\n').filter((line) => line.includes('X-Evil: 1'));
  for (const line of lines) expect(line.startsWith('{')).toBe(true);
}

const invite = (callId: string): string =>
  caller.request({
    method: 'INVITE',
    to,
    uri: `sip:${NUMBER}@127.0.0.1`,
    callId,
    headers: [
      ['X-Colour', 'MARK'],
      ['Subject', 'MARK'],
      ['User-Agent', 'MARK'],
      ['User-to-User', 'MARK'],
    ],
    body: SDP,
  });

/** Where a control is put: each makes another part of the message hostile. */
const PLACES: readonly { readonly name: string; hurt(octets: string, control: string): string }[] = [
  { name: 'a relayed header', hurt: (o, c) => o.replace('X-Colour: MARK', `X-Colour: a${c}X-Evil: 1`) },
  { name: 'a header name', hurt: (o, c) => o.replace('X-Colour:', `X-Co${c}lour:`) },
  { name: 'User-Agent', hurt: (o, c) => o.replace('User-Agent: MARK', `User-Agent: a${c}X-Evil: 1`) },
  { name: 'User-to-User', hurt: (o, c) => o.replace('User-to-User: MARK', `User-to-User: 41${c}X-Evil: 1`) },
  { name: 'a display name', hurt: (o, c) => o.replace('From: <', `From: "a${c}X-Evil: 1" <`) },
  { name: 'From', hurt: (o, c) => o.replace('sip:peer@', `sip:pe${c}er@`) },
  { name: 'To', hurt: (o, c) => o.replace('To: <sip:', `To: "x${c}X-Evil: 1" <sip:`) },
  { name: 'Call-ID', hurt: (o, c) => o.replace(/^(Call-ID: .*)$/m, `$1${c}X-Evil: 1`) },
  { name: 'the Request-URI', hurt: (o, c) => o.replace(NUMBER, `${NUMBER}${c}X-Evil: 1`) },
  { name: 'Contact', hurt: (o, c) => o.replace('Contact: <', `Contact: "a${c}X-Evil: 1" <`) },
  { name: 'Via', hurt: (o, c) => o.replace(';rport', `;rport;x="a${c}X-Evil: 1"`) },
  { name: 'an escaped URI', hurt: (o, c) => o.replace('sip:peer@', `sip:pe%${hex(c)}er@`) },
];

function hex(control: string): string {
  return control.charCodeAt(0).toString(16).padStart(2, '0');
}

test.each(PLACES)('controls in $name of an INVITE reach no agent', async ({ hurt }) => {
  for (const control of CONTROLS) {
    const octets = hurt(invite(unique('c')), control);
    way.send(octets);
    const marker = invite(unique('marker'));
    // What came before the marker has been dealt with once the marker has reached the agent.
    way.send(marker);
    const colour = 'MARK';
    const arrived = await agent.expect(
      (message) =>
        message.method === 'INVITE' && message.header('X-Trunkline-Call-Id') !== '' && isOf(message, marker),
    );
    expect(arrived.header('X-Colour')).toBe(colour);
    for (const received of agent.received) {
      if (received.method !== 'INVITE') continue;
      expectClean(received);
      agent.respond(received, 486, 'Busy Here');
    }
    for (const received of caller.received) expectCleanEcho(received);
    // Their bodies crossed, if they crossed at all, as they were.
    for (const { method, body } of agent.received) if (method === 'INVITE') expect(body).toBe(SDP);
    agent.received.length = 0;
  }
  expectCleanOutput();
});

/** The agent gets the inbound Call-ID in a header of ours. */
function isOf(message: Message, marker: string): boolean {
  const { callId } = new Message(marker);
  return message.fields.some(([, value]) => value === callId);
}

test('controls in the answers of an agent reach no caller', async () => {
  agent.intercept = undefined;
  for (const control of CONTROLS) {
    for (const place of ['reason', 'header', 'contact', 'to'] as const) {
      agent.received.length = 0;
      const octets = invite(unique('answered'));
      const sent = new Message(octets);
      way.send(octets);
      const reached = await agent.expect((message) => message.method === 'INVITE' && isOf(message, octets));
      const evil = `a${control}X-Evil: 1`;
      agent.respond(reached, 183, place === 'reason' ? evil : 'Session Progress', {
        contact: place === 'contact' ? `sip:${evil}@x` : agent.contact,
        headers: [['X-Answer', place === 'header' ? evil : 'fine']],
        toTag: place === 'to' ? evil : 'uas',
        body: SDP,
      });
      agent.respond(reached, 480, place === 'reason' ? evil : 'Temporarily Unavailable', {
        headers: [['X-Answer', place === 'header' ? evil : 'fine']],
        toTag: place === 'to' ? evil : 'uas',
      });
      agent.respond(reached, 486, 'Busy Here');
      const final = await caller.expect((message) => message.status >= 300 && message.callId === sent.callId);
      way.send(hopByHop('ACK', sent, final.header('To')));
      for (const received of caller.received) if (received.callId === sent.callId) expectClean(received);
    }
  }
  expectCleanOutput();
});

test('controls in requests inside a dialog do not cross', async () => {
  agent.received.length = 0;
  const octets = invite(unique('dialog'));
  const sent = new Message(octets);
  way.send(octets);
  const reached = await agent.expect((message) => message.method === 'INVITE' && isOf(message, octets));
  agent.respond(reached, 200, 'OK', { contact: agent.contact, body: SDP });
  const answer = await caller.expect((message) => message.status === 200 && message.callId === sent.callId);
  const dialog = PeerDialog.ofCaller(caller, sent, answer);
  way.send(dialog.request('ACK', { cseq: sent.cseq }));
  agent.intercept = (message) => {
    if (message.method !== '' && message.method !== 'ACK')
      agent.respond(message, 200, 'OK', { contact: agent.contact });
    return false;
  };
  for (const control of CONTROLS) {
    for (const method of ['INFO', 'MESSAGE', 'UPDATE']) {
      way.send(
        dialog.request(method, { headers: [['X-Colour', `a${control}X-Evil: 1`]], body: `b${control}` }),
      );
    }
  }
  way.send(dialog.request('BYE', { headers: [['Reason', 'SIP;cause=200;text="a\u0000\rX-Evil: 1"']] }));
  way.send(dialog.request('BYE'));
  await agent.expect('BYE');
  for (const received of agent.received) expectClean(received);
  for (const received of caller.received) if (received.callId === sent.callId) expectClean(received);
  agent.intercept = undefined;
});

test('records are one JSON object a line, and nothing is left', { timeout: 90_000 }, async () => {
  agent.intercept = (message) => {
    if (message.method === 'INVITE') agent.respond(message, 486, 'Busy Here');
    return true;
  };
  await gateway.idle(60_000);
  await until('records', () => gateway.records().length > 0);
  for (const record of gateway.records()) expect(JSON.stringify(record)).not.toMatch(/[\u0000-\u001f]/);
  expect(gateway.log().filter(({ level }) => level === 50 || level === 'error')).toEqual([]);
  expectCleanOutput();
});
