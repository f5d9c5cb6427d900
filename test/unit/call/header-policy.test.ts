/** The header policy as a table: what crosses with which kind of message, and what never does. */
import { describe, expect, it } from 'vitest';
import {
  ACK,
  ANSWER,
  allowFor,
  BYE,
  CANCEL,
  ExtraHeaders,
  HEADER_POLICY,
  INVITE,
  ORIGINATE,
  PROGRESS,
  REJECT,
  REQUEST,
  RESPONSE,
  relayed,
  requireFor,
  supportedFor,
} from '#call/header-policy.js';
import { request } from '../../kit/fake-engine.js';

const KINDS = { INVITE, ORIGINATE, PROGRESS, ANSWER, REJECT, CANCEL, BYE, ACK, REQUEST, RESPONSE };

/** The kinds of message that a field crosses with. */
function crossesWith(line: string, body = 'sdp'): string[] {
  const name = line.slice(0, line.indexOf(':'));
  const message = request('INFO', ['Content-Type: text/plain', line], body);
  return Object.entries(KINDS)
    .filter(([, kind]) =>
      relayed(message, kind, []).some((field) => field.name.toLowerCase() === name.toLowerCase()),
    )
    .map(([kind]) => kind);
}

const ALL = Object.keys(KINDS);

describe('what crosses', () => {
  it.each([
    ['X-Anything: 1', ALL],
    ['Session-ID: ab30317f1a784dc48ff824d0d3715d86', ALL],
    ['User-to-User: 01;encoding=hex', ['INVITE', 'ORIGINATE', 'PROGRESS', 'ANSWER', 'REJECT', 'BYE']],
    ['P-Asserted-Identity: <sip:a@b>', ['INVITE', 'PROGRESS', 'ANSWER', 'REQUEST', 'RESPONSE']],
    ['Privacy: id', ['INVITE', 'PROGRESS', 'ANSWER', 'REQUEST', 'RESPONSE']],
    ['Diversion: <sip:a@b>;reason=unconditional', ['INVITE']],
    ['History-Info: <sip:a@b>;index=1', ['INVITE']],
    ['Identity: x', ['INVITE']],
    ['Subject: hello', ['INVITE', 'ORIGINATE']],
    ['Call-Info: <http://x>', ['INVITE', 'ORIGINATE', 'PROGRESS', 'ANSWER']],
    ['Session-Expires: 1800', ['INVITE', 'ORIGINATE', 'ANSWER', 'REJECT', 'REQUEST', 'RESPONSE']],
    ['Min-SE: 90', ['INVITE', 'ORIGINATE', 'ANSWER', 'REJECT', 'REQUEST', 'RESPONSE']],
    ['Reason: Q.850;cause=16', ['PROGRESS', 'REJECT', 'CANCEL', 'BYE', 'REQUEST']],
    ['Warning: 399 a "b"', ['REJECT', 'RESPONSE']],
    ['Retry-After: 5', ['REJECT', 'RESPONSE']],
    ['Info-Package: dtmf', ['REQUEST']],
    ['Content-Disposition: session', ALL],
  ])('%s', (line, kinds) => {
    expect(crossesWith(line)).toEqual(kinds);
  });

  it('describes a body only where there is one', () => {
    expect(crossesWith('Content-Disposition: session', '')).toEqual([]);
  });
});

describe('what never crosses', () => {
  it.each([
    'X-Trunkline-Call-Id: forged',
    'x-trunkline-anything: forged',
    'Authorization: Digest x="y"',
    'Proxy-Authorization: Digest x="y"',
    'WWW-Authenticate: Digest realm="x"',
    'Contact: <sip:a@10.0.0.1>',
    'Record-Route: <sip:10.0.0.1;lr>',
    'Route: <sip:10.0.0.1;lr>',
    'Replaces: abc;to-tag=1;from-tag=2',
    'Join: abc;to-tag=1;from-tag=2',
    'Refer-To: <sip:a@b>',
    'In-Reply-To: abc',
    'Server: secret/1.0',
    'User-Agent: secret/1.0',
    'P-Charging-Vector: icid-value=1',
    'P-Access-Network-Info: x',
    'Supported: replaces',
    'Require: timer',
    'Allow: REFER',
    'RSeq: 1',
    'Unheard-Of: 1',
  ])('%s', (line) => {
    expect(crossesWith(line)).toEqual([]);
  });

  it('hides what the engine owns, in every kind of message', () => {
    const owned = ['via', 'from', 'to', 'call-id', 'cseq', 'max-forwards', 'content-length'];
    for (const kind of Object.values(KINDS)) {
      const crossed = relayed(request('INFO', [], 'sdp'), kind, []).map(({ name }) => name.toLowerCase());
      expect(crossed.filter((name) => owned.includes(name))).toEqual([]);
    }
  });

  it('lets no value through that could break a message', () => {
    const message = { ...request('INFO'), body: '', headers: { ...headers([['x-a', 'X-A', 'b\rVia: c']]) } };
    expect(relayed(message, INVITE, [])).toEqual([]);
  });

  it('leaves out what the gateway sets itself', () => {
    const message = request('INVITE', ['X-A: 1', 'X-B: 2']);
    expect(relayed(message, INVITE, [], null, new Set(['x-a']))).toEqual([{ name: 'X-B', value: '2' }]);
  });
});

describe('the table', () => {
  it('names each field once, by its canonical key, and says why', () => {
    const names = HEADER_POLICY.flatMap((row) => row.names);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z0-9-]+$/);
    for (const row of HEADER_POLICY) expect(row.why).not.toBe('');
  });
});

describe("a trunk's own additions", () => {
  const extra = new ExtraHeaders(['P-Custom', 'Acme-*', 'Contact', 'X-Trunkline-Call-Id', 'Via*']);

  it('cross with the INVITE, by name or by prefix', () => {
    const message = request('INVITE', [
      'P-Custom: 1',
      'Acme-Lane: 2',
      'Other: 3',
      'Contact: <sip:a@b>',
      'X-Trunkline-Call-Id: x',
    ]);
    expect(relayed(message, INVITE, [], extra)).toEqual([
      { name: 'P-Custom', value: '1' },
      { name: 'Acme-Lane', value: '2' },
    ]);
  });

  it('cannot overrule the table', () => {
    expect(
      ['via', 'contact', 'x-trunkline-call-id', 'authorization'].filter((key) => extra.covers(key)),
    ).toEqual([]);
  });
});

describe('what is offered on', () => {
  it.each([
    [[], false, ''],
    [[], true, '100rel'],
    [['Supported: 100rel, TIMER, replaces, gruu'], false, 'timer'],
    [['Supported: 100rel, timer'], true, '100rel, timer'],
    [['Supported: timer', 'k: histinfo'], false, 'timer, histinfo'],
    [['Supported:'], true, '100rel'],
  ])('Supported %j (reliable %s): %s', (lines, reliable, supported) => {
    const { headers: fields } = request('INVITE', lines);
    expect(supportedFor(fields, reliable)).toBe(supported);
    // From memory.
    expect(supportedFor(fields, reliable)).toBe(supported);
  });

  it('Require keeps what the ends agree on, and drops what ends at a leg', () => {
    expect(requireFor(request('INVITE', ['Require: 100rel, timer']).headers)).toBe('timer');
    expect(requireFor(request('INVITE').headers)).toBe('');
  });

  it.each([
    [[], 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK'],
    [['Allow: INVITE, ACK, UPDATE, REFER, INFO'], 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO'],
    [['Allow: INVITE', 'Allow: MESSAGE'], 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, MESSAGE'],
  ])('Allow %j: %s', (lines, allow) => {
    expect(allowFor(request('INVITE', lines).headers, false)).toBe(allow);
    expect(allowFor(request('INVITE', lines).headers, true)).toBe(`${allow}, REFER`);
  });
});

function headers(
  fields: readonly (readonly [string, string, string])[],
): ReturnType<typeof request>['headers'] {
  return {
    size: fields.length,
    get: (key) => fields.find(([k]) => k === key)?.[2],
    all: (key) => fields.filter(([k]) => k === key).map(([, , value]) => value),
    has: (key) => fields.some(([k]) => k === key),
    count: (key) => fields.filter(([k]) => k === key).length,
    forEach: (visit) => {
      for (const [key, name, value] of fields) visit(key, name, value);
    },
  };
}
