/** REFER of an agent: what it may say, what it is answered, and what it hears after that. The SIPp scenarios show the way. */
import { describe, expect, it } from 'vitest';
import { readRefer } from '#origination/referral.js';
import { Transfers } from '#origination/transfers.js';
import type { OutboundDecision } from '#routing/outbound-decision.js';
import { FakeRequest, request, response } from '../../kit/fake-engine.js';
import { acceptance, CallHouse, route } from '../call/kit.js';

const refer = (...lines: string[]) => request('REFER', lines);
const IS_SDP = 'Content-Type: application/sdp';
const TARGET = 'v=0\r\no=- 9 9 IN IP4 192.0.2.77\r\ns=-\r\nm=audio 4 RTP/AVP 0\r\n';
const TO = 'Refer-To: <sip:+14155550199@gateway.example>';

describe('a REFER', () => {
  it.each([
    ['a number', [TO], 'sip:+14155550199@gateway.example', true],
    [
      'without brackets',
      ['Refer-To: sip:+14155550199@gateway.example'],
      'sip:+14155550199@gateway.example',
      true,
    ],
    ['in compact form', ['r: "Sales" <tel:+14155550199>'], 'tel:+14155550199', true],
    ['that wants no NOTIFY', [TO, 'Refer-Sub: False'], 'sip:+14155550199@gateway.example', false],
    ['with header fields for the INVITE', ['Refer-To: <sip:100@gateway?X-Queue=7>'], 'sip:100@gateway', true],
    [
      'with INVITE as its method',
      ['Refer-To: <sip:100@gateway;method=invite>'],
      'sip:100@gateway;method=invite',
      true,
    ],
  ])('is read: %s', (_, lines, to, notifies) => {
    expect(readRefer(refer(...lines))).toEqual({ kind: 'referral', to, notifies });
  });

  it.each([
    ['no Refer-To', [], 400],
    ['two', [TO, TO], 400],
    ['two in one', ['Refer-To: <sip:1@a>, <sip:2@a>'], 400],
    ['a broken one', ['Refer-To: <sip:1@a'], 400],
    ['a broken URI', ['Refer-To: <sip:@>'], 400],
    ['a web page', ['Refer-To: <https://example.com/>'], 416],
    ['another method', ['Refer-To: <sip:1@a;method=BYE>'], 603],
    ['another dialog', ['Refer-To: <sip:1@a?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db>'], 603],
    ['another dialog, further on', ['Refer-To: <sip:1@a?X-A=1&replaces=x>'], 603],
  ])('is refused: %s', (_, lines, status) => {
    expect(readRefer(refer(...lines))).toMatchObject({ kind: 'refused', status });
  });
});

function talking(decision: () => OutboundDecision = () => acceptance()) {
  const house = new CallHouse();
  const asked: unknown[] = [];
  new Transfers({
    calls: house.calls,
    decide: (question) => {
      asked.push(question);
      return decision();
    },
    number: () => undefined,
    random: () => 0.5,
  });
  const caller = house.call(route());
  const agent = house.engine.last.answer();
  const ask = (...lines: string[]): FakeRequest => {
    const asking = new FakeRequest(refer(...lines));
    agent.events!.onRequest(asking);
    return asking;
  };
  /** What the agent was told by NOTIFY. */
  const told = () =>
    agent.requests
      .filter(({ options }) => options.method === 'NOTIFY')
      .map(({ options: { headers = [], body } }) => [
        headers.find(({ name }) => name === 'Subscription-State')?.value.split(';')[0],
        body?.trim(),
      ]);
  return { house, caller, agent, ask, told, asked };
}

describe('the agent of an answered call', () => {
  it('is told of each step by NOTIFY, then released', () => {
    const { house, caller, agent, ask, told, asked } = talking();
    expect(ask(TO).status).toBe(202);
    expect(asked).toMatchObject([{ agentId: 'sales', to: 'sip:+14155550199@gateway.example' }]);
    const callee = house.engine.last;
    callee.progress(180);
    callee.progress(180);
    callee.answer([IS_SDP], TARGET);
    expect(agent.bye).toBeNull();
    const reinvite = caller.dialog!.requests.find(({ options }) => options.method === 'INVITE')!;
    reinvite.done({
      kind: 'response',
      response: response(200, [IS_SDP], TARGET),
      ack: () => undefined,
    });
    expect(told()).toEqual([
      ['active', 'SIP/2.0 100 Trying'],
      ['active', 'SIP/2.0 180 Ringing'],
      ['terminated', 'SIP/2.0 200 OK'],
    ]);
    expect(agent.bye).toMatchObject({ reason: expect.stringContaining('transferred') });
  });

  it('is told why it came to nothing, and may ask again', () => {
    const { house, ask, told } = talking();
    ask(TO);
    expect(ask(TO)).toMatchObject({ status: 491, headers: { 'x-trunkline-reason': 'transfer_pending' } });
    house.engine.last.reject(486);
    expect(told()).toEqual([
      ['active', 'SIP/2.0 100 Trying'],
      ['terminated', 'SIP/2.0 486 Busy Here'],
    ]);
    expect(ask(TO).status).toBe(202);
  });

  it('is told that the telephone does not go there', () => {
    const { house, caller, ask, told } = talking();
    ask(TO);
    house.engine.last.answer([IS_SDP], TARGET);
    const reinvite = caller.dialog!.requests.find(({ options }) => options.method === 'INVITE')!;
    reinvite.done({ kind: 'response', response: response(488) });
    expect(told().at(-1)).toEqual(['terminated', 'SIP/2.0 488 Not Acceptable Here']);
  });

  it('is told nothing more once it does not want to hear, or asked for that', () => {
    const { house, agent, ask, told } = talking();
    ask(TO);
    agent.requests.at(-1)!.done({ kind: 'response', response: response(481) });
    house.engine.last.progress(180);
    house.engine.last.reject(486);
    expect(told()).toHaveLength(1);
    expect(ask(TO, 'Refer-Sub: false')).toMatchObject({ status: 202, headers: { 'refer-sub': 'false' } });
    expect(told()).toHaveLength(1);
  });

  it('hears nothing more once it has hung up', () => {
    const { house, agent, ask, told } = talking();
    ask(TO);
    const callee = house.engine.last;
    agent.peerEnds();
    callee.progress(180);
    callee.reject(486);
    expect(told()).toHaveLength(1);
    expect(house.engine.misuse).toEqual([]);
  });

  it('gets the reason where nobody may be called', () => {
    const { ask, told, house } = talking(() => ({
      kind: 'refuse',
      code: 'destination_denied',
      status: 403,
      reason: 'Forbidden',
      httpStatus: 403,
      detail: 'numbers beginning with 1900 are not called',
      field: 'to',
      organizationId: 'default',
      agent: undefined,
      trunk: undefined,
      number: undefined,
      explanation: [],
    }));
    const calls = house.engine.invites.length;
    expect(ask(TO)).toMatchObject({ status: 403, headers: { 'x-trunkline-reason': 'destination_denied' } });
    expect(ask('Refer-To: <sip:1@a>, <sip:2@a>').status).toBe(400);
    expect(told()).toEqual([]);
    expect(house.engine.invites).toHaveLength(calls);
  });
});
