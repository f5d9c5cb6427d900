/** The parser by example: what it reads, and for each fault the answer it deserves. */
import { describe, expect, test } from 'vitest';
import { type ParseOptions, parseMessage } from '#sip/parse.js';
import { answer, invite, octets, request, response } from './messages.js';

describe('a request', () => {
  const message = request(
    octets(`INVITE sip:+14155550100@gw.example.com:5070;user=phone SIP/2.0
v: SIP/2.0/udp [2001:db8::9]:5066 ;branch=z9hG4bKx1;rport, SIP/2.0/TCP far.example.com
VIA: SIP/2.0/TLS third.example.com
f: "Al \\"the\\" ice" <sip:alice@example.com;transport=tcp>;tag=t1;x="a,b"
t: Bob Example <sip:bob@example.com>
i: abc@host
CSeq: 0007 INVITE
m: <sip:alice@192.0.2.1>, <sip:alice@192.0.2.2>;q=0.1
X-Trace:   one${' '}
x-trace: two
X-Empty:
l: 4

body and octets that follow`),
  );

  test('has its line, its core fields and its body', () => {
    expect(message.method).toBe('INVITE');
    expect(message.uri).toBe('sip:+14155550100@gw.example.com:5070;user=phone');
    expect(message.requestUri.user).toBe('+14155550100');
    expect(message.callId).toBe('abc@host');
    expect({ ...message.cseq }).toMatchObject({ number: 7, method: 'INVITE' });
    expect(message.maxForwards).toBe(70);
    expect(message.body).toBe('body');
  });

  test('has the first Via, compact or not', () => {
    expect(message.topVia).toMatchObject({
      transport: 'UDP',
      host: '2001:db8::9',
      port: 5066,
      branch: 'z9hG4bKx1',
      rport: '',
      raw: 'SIP/2.0/udp [2001:db8::9]:5066 ;branch=z9hG4bKx1;rport',
    });
    expect(message.headers.count('via')).toBe(2);
  });

  test('has From, To and the first Contact', () => {
    expect(message.from.displayName).toBe('Al "the" ice');
    expect(message.from.tag).toBe('t1');
    expect(message.from.params.get('x')).toBe('a,b');
    expect(message.to.displayName).toBe('Bob Example');
    expect(message.to.tag).toBeUndefined();
    expect(message.contact?.uri).toBe('sip:alice@192.0.2.1');
  });

  test('keeps unknown fields in order and case, and finds them in any case', () => {
    const seen: string[] = [];
    message.headers.forEach((key, name, value) => {
      seen.push(`${key}|${name}|${value}`);
    });
    expect(seen).toHaveLength(message.headers.size);
    expect(seen.slice(6)).toEqual([
      'contact|m|<sip:alice@192.0.2.1>, <sip:alice@192.0.2.2>;q=0.1',
      'x-trace|X-Trace|one',
      'x-trace|x-trace|two',
      'x-empty|X-Empty|',
      'content-length|l|4',
    ]);
    expect(message.headers.all('x-trace')).toEqual(['one', 'two']);
    expect(message.headers.get('x-empty')).toBe('');
    expect(message.headers.has('x-none')).toBe(false);
  });
});

test('folded fields are unfolded to one blank', () => {
  const message = request(invite({ more: ['Subject: one', '\t two  ', '  three', 'X-Fold:', ' here'] }));
  expect(message.headers.get('subject')).toBe('one two three');
  expect(message.headers.get('x-fold')).toBe('here');
});

test('line ends before the start line are skipped', () => {
  expect(request(`\r\n\r\n${invite()}`).method).toBe('INVITE');
});

test('without Content-Length a datagram ends the body', () => {
  expect(request(`${invite({ fields: { 'Content-Length': null } })}rest`).body).toBe('rest');
});

test('octets of every value pass through the body', () => {
  const body = Array.from({ length: 256 }, (_, c) => String.fromCharCode(c)).join('');
  expect(request(invite({ body })).body).toBe(body);
});

test('a response', () => {
  const message = answer(
    response({ line: 'sip/2.0 487 Request  Terminated ', fields: { To: '<sip:b@c>;tag=9' } }),
  );
  expect(message.status).toBe(487);
  expect(message.reason).toBe('Request  Terminated ');
  expect(message.to.tag).toBe('9');
  expect(answer(response({ line: 'SIP/2.0 200' })).reason).toBe('');
});

test('a malformed Contact of a response is no Contact, and the response is heard', () => {
  expect(answer(response({ fields: { Contact: '<sip:a b>' } })).contact).toBeUndefined();
});

test('an ACK needs no Max-Forwards, a REGISTER may have Contact: *', () => {
  const register = { line: 'REGISTER sip:example.com SIP/2.0', fields: { CSeq: '1 REGISTER', Contact: '*' } };
  expect(request(invite(register)).contact).toBeUndefined();
  expect(request(invite({ fields: { 'Max-Forwards': null } })).maxForwards).toBe(70);
});

/** Octets, and the status that they deserve. */
const faults: [what: string, octets: string, status: number, options?: ParseOptions][] = [
  ['another version', invite({ line: 'INVITE sip:a@b SIP/3.0' }), 505],
  [
    'another version with another Via',
    invite({ line: 'INVITE sip:a@b SIP/2.1', fields: { Via: 'SIP/2.1/UDP a' } }),
    505,
  ],
  ['another protocol', invite({ line: 'INVITE sip:a@b HTTP/1.1' }), 400],
  ['no version', invite({ line: 'INVITE sip:a@b' }), 400],
  ['two blanks', invite({ line: 'INVITE  sip:a@b SIP/2.0' }), 400],
  ['blank behind the version', invite({ line: 'INVITE sip:a@b SIP/2.0 ' }), 400],
  ['tab in the request line', invite({ line: 'INVITE\tsip:a@b SIP/2.0' }), 400],
  ['blank in the Request-URI', invite({ line: 'INVITE sip:a@b; lr SIP/2.0' }), 400],
  ['Request-URI in angle brackets', invite({ line: 'INVITE <sip:a@b> SIP/2.0' }), 400],
  ['Request-URI with headers', invite({ line: 'INVITE sip:a@b?Route=x SIP/2.0' }), 400],
  ['Request-URI without scheme', invite({ line: 'INVITE a@b SIP/2.0' }), 400],
  ['Request-URI with two @', invite({ line: 'INVITE sip:a@b@c SIP/2.0' }), 400],
  ['Request-URI port', invite({ line: 'INVITE sip:a@b:65536 SIP/2.0' }), 400],
  ['no Via', invite({ fields: { Via: null } }), 400],
  ['no From', invite({ fields: { From: null } }), 400],
  ['no To', invite({ fields: { To: null } }), 400],
  ['no Call-ID', invite({ fields: { 'Call-ID': null } }), 400],
  ['no CSeq', invite({ fields: { CSeq: null } }), 400],
  ['second From', invite({ more: ['f: <sip:x@y>;tag=2'] }), 400],
  ['second To', invite({ more: ['T: <sip:x@y>'] }), 400],
  ['second Call-ID', invite({ more: ['i: other'] }), 400],
  ['second CSeq', invite({ more: ['cseq: 1 INVITE'] }), 400],
  ['second Content-Length', invite({ more: ['l: 0'] }), 400],
  ['second Max-Forwards', invite({ more: ['Max-Forwards: 70'] }), 400],
  ['two values in From', invite({ fields: { From: '<sip:x@y>;tag=2, <sip:z@y>' } }), 400],
  ['two tags', invite({ fields: { From: '<sip:x@y>;tag=2;TAG=3' } }), 400],
  ['empty tag', invite({ fields: { From: '<sip:x@y>;tag=' } }), 400],
  ['quoted tag', invite({ fields: { From: '<sip:x@y>;tag="2"' } }), 400],
  ['open quote', invite({ fields: { To: '"Bob <sip:x@y>' } }), 400],
  ['open quote behind a backslash', invite({ fields: { To: '"Bob\\" <sip:x@y>' } }), 400],
  ['open bracket', invite({ fields: { To: '<sip:x@y' } }), 400],
  ['empty To', invite({ fields: { To: '' } }), 400],
  ['addr-spec with a question mark', invite({ fields: { To: 'sip:x@y?a=b' } }), 400],
  ['Call-ID of two words', invite({ fields: { 'Call-ID': 'a b' } }), 400],
  ['empty Call-ID', invite({ fields: { 'Call-ID': '' } }), 400],
  ['CSeq at 2^31', invite({ fields: { CSeq: '2147483648 INVITE' } }), 400],
  ['negative CSeq', invite({ fields: { CSeq: '-1 INVITE' } }), 400],
  ['CSeq without method', invite({ fields: { CSeq: '1' } }), 400],
  ['CSeq of another method', invite({ fields: { CSeq: '1 BYE' } }), 400],
  ['CSeq of the method in another case', invite({ fields: { CSeq: '1 invite' } }), 400],
  ['Max-Forwards over 255', invite({ fields: { 'Max-Forwards': '256' } }), 400],
  ['Max-Forwards empty', invite({ fields: { 'Max-Forwards': '' } }), 400],
  ['Expires over 2^32', invite({ more: ['Expires: 4294967296'] }), 400],
  ['Content-Length with a sign', invite({ fields: { 'Content-Length': '+0' } }), 400],
  ['Content-Length in hex', invite({ fields: { 'Content-Length': '0x0' } }), 400],
  ['Content-Length list', invite({ fields: { 'Content-Length': '0, 0' } }), 400],
  ['Content-Length beyond the datagram', invite({ fields: { 'Content-Length': '1' } }), 400],
  ['Content-Length beyond all numbers', invite({ fields: { 'Content-Length': '9'.repeat(400) } }), 400],
  ['no Content-Length on a stream', invite({ fields: { 'Content-Length': null } }), 400, { stream: true }],
  ['malformed Contact', invite({ fields: { Contact: 'sip:a@b?Route=c' } }), 400],
  ['malformed second Contact', invite({ more: ['m: <sip:a b>'] }), 400],
  ['malformed second value in Contact', invite({ fields: { Contact: '<sip:a@b>, c' } }), 400],
  ['Contact: * in an INVITE', invite({ fields: { Contact: '*' } }), 400],
  ['branch is the cookie alone', invite({ fields: { Via: 'SIP/2.0/UDP h;branch=z9hG4bK' } }), 400],
  ['two branches', invite({ fields: { Via: 'SIP/2.0/UDP h;branch=z9hG4bK1;branch=z9hG4bK2' } }), 400],
  ['Via without host', invite({ fields: { Via: 'SIP/2.0/UDP ;branch=z9hG4bK1' } }), 400],
  ['Via port 0', invite({ fields: { Via: 'SIP/2.0/UDP h:0;branch=z9hG4bK1' } }), 400],
  ['a header line without colon', invite({ more: ['Foobar roobar'] }), 400],
  ['a header line without name', invite({ more: [': x'] }), 400],
  ['a header name that is no token', invite({ more: ['X(y): x'] }), 400],
  ['a header name with blanks inside', invite({ more: ['X y: x'] }), 400],
  ['a fold behind the start line', invite().replace('\r\n', '\r\n x: y\r\n'), 400],
  ['NUL in a value', invite({ more: ['X-A: a\0b'] }), 400],
  ['NUL behind a quoted string', invite({ more: ['X-A: "a"\\\0b'] }), 400],
  ['NUL in a name', invite({ more: ['X\0A: a'] }), 400],
  ['CR in a value', invite({ more: ['X-A: a\rb'] }), 400],
  ['LF in a value', invite({ more: ['X-A: a\nX-B: b'] }), 400],
  ['LF at every line', invite().replaceAll('\r\n', '\n'), 400],
  ['CR at every line', invite().replaceAll('\r\n', '\r'), 400],
  ['CR before CRLF', invite({ more: ['X-A: a\r'] }), 400],
  ['no empty line', invite().slice(0, -2), 400],
  ['half an empty line', invite().slice(0, -1), 400],
  [
    'half an empty line without Content-Length',
    invite({ fields: { 'Content-Length': null } }).slice(0, -1),
    400,
  ],
  ['LF twice in a value', invite({ more: ['X-A: a\n\nX-B: b'] }), 400],
  ['257 fields', invite({ more: new Array<string>(249).fill('X-A: b') }), 513],
  ['a large head', invite({ more: [`X-A: ${'b'.repeat(70_000)}`] }), 513],
  ['a large body', invite({ body: 'b'.repeat(70_000) }), 413],
];

describe('a faulty request', () => {
  test.each(faults)('%s', (_what, text, status, options) => {
    const parsed = parseMessage(text, options);
    if (parsed.kind !== 'fault') throw new Error('accepted');
    expect(parsed.status).toBe(status);
    expect(parsed.reason).not.toBe('');
    expect(parsed.detail).toMatch(/^[\x20-\x7e]+$/);
    expect(parsed.request?.method).toBe('INVITE');
  });

  test('can be answered from what it brought, and its line ends and NULs stay out', () => {
    const parsed = parseMessage(invite({ more: ['X-A: \0', 'X-B: 1\nX-C: 2\r\n 3', 'v: SIP/2.0/TCP next'] }));
    if (parsed.kind !== 'fault' || parsed.request === undefined) throw new Error('not answerable');
    const { headers } = parsed.request;
    expect(headers.all('via')).toEqual(['SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc', 'SIP/2.0/TCP next']);
    expect(headers.get('from')).toBe('"Alice" <sip:alice@example.com>;tag=a1');
    expect(headers.get('call-id')).toBe('c1@192.0.2.1');
    expect(headers.get('cseq')).toBe('1 INVITE');
    expect(headers.has('x-a')).toBe(false);
    expect(headers.get('x-b')).toBe('1');
    expect(headers.get('x-c')).toBe('2 3');
  });

  test('is not answered when it is an ACK', () => {
    const parsed = parseMessage(invite({ line: 'ACK sip:a@b SIP/2.0' }));
    expect(parsed).toMatchObject({ kind: 'fault', status: 0, request: undefined });
  });

  test.each(['', '\r\n\r\n', '\0', 'hello', ' INVITE sip:a@b SIP/2.0\r\n\r\n', '\x16\x03\x01\x02\x00'])(
    '%j is nothing to answer',
    (text) => {
      expect(parseMessage(text)).toMatchObject({ kind: 'fault', status: 0 });
    },
  );
});

describe('a faulty response is never answered', () => {
  test.each([
    ['status 99', response({ line: 'SIP/2.0 099 X' })],
    ['status 700', response({ line: 'SIP/2.0 700 X' })],
    ['status 1000', response({ line: 'SIP/2.0 1000 X' })],
    ['status in letters', response({ line: 'SIP/2.0 2xx X' })],
    ['another version', response({ line: 'SIP/3.0 200 OK' })],
    ['CR in the phrase', response({ line: 'SIP/2.0 200 O\rK' })],
    ['NUL in the phrase', response({ line: 'SIP/2.0 200 O\0K' })],
    ['no CSeq', response({ fields: { CSeq: null } })],
    ['CSeq too large', response({ fields: { CSeq: '99999999999 INVITE' } })],
    ['two To', response({ more: ['To: <sip:x@y>'] })],
  ])('%s', (_what, text) => {
    expect(parseMessage(text)).toMatchObject({ kind: 'fault', status: 0, request: undefined });
  });
});

test('NUL may stand in a quoted-pair, as RFC 4475 §3.1.1.2 has it', () => {
  expect(request(invite({ fields: { To: '"a\\\0b" <sip:x@y>' } })).to.displayName).toBe('a\0b');
});

test('what one message held does not leak into the next', () => {
  const long = request(invite({ more: ['Expires: 5', 'X-Long: '.padEnd(900, 'x')] }));
  const short = request(invite());
  expect(parseMessage(invite().slice(0, -1)).kind).toBe('fault');
  expect(short.headers.has('expires')).toBe(false);
  expect(long.headers.get('x-long')).toHaveLength(892);
  expect(long.headers.get('expires')).toBe('5');
});
