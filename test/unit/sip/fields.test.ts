/** Nothing that is sent can end a line early. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { echoLines, headerLine, headerLines, isSafeValue, isToken } from '#sip/fields.js';
import { detach, fromText, printable, toText } from '#sip/octets.js';
import { isStatus, reasonPhrase } from '#sip/status.js';
import { invite, request } from './messages.js';

test('a line is name, colon, value, CRLF', () => {
  expect(headerLine('X-A', 'b \xe4\t"c"')).toBe('X-A: b \xe4\t"c"\r\n');
  expect(
    headerLines([
      { name: 'A', value: '1' },
      { name: 'B', value: '' },
    ]),
  ).toBe('A: 1\r\nB: \r\n');
});

test.each([
  '\r',
  '\n',
  '\r\n',
  '\0',
  '\x01',
  '\x1f',
  '\x7f',
  '\u0100',
  '\u010d',
  '\u010a',
  '\u2028',
  'ü'.normalize('NFD'),
])('a value with %j is refused', (bad) => {
  for (const value of [bad, `a${bad}b`, `a${bad}`]) {
    expect(isSafeValue(value)).toBe(false);
    expect(() => headerLine('X-A', value)).toThrow(RangeError);
    expect(() =>
      headerLines([
        { name: 'X-A', value: 'ok' },
        { name: 'X-B', value },
      ]),
    ).toThrow(RangeError);
  }
});

test.each(['', 'X A', 'X:A', 'X\rA', 'X\n', 'ü', 'X(A)', ' X'])('the name %j is refused', (name) => {
  expect(isToken(name)).toBe(false);
  expect(() => headerLine(name, 'v')).toThrow(RangeError);
});

test('a line holds exactly one line end, whatever is given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (name, value) => {
      let line: string;
      try {
        line = headerLine(name, value);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        return;
      }
      expect(line).toBe(`${name}: ${value}\r\n`);
      expect(line.slice(0, -2)).not.toMatch(/[\r\n\0]/);
    }),
  );
});

test('echoed lines repeat the fields in order', () => {
  const message = request(invite({ more: ['v: SIP/2.0/UDP b'] }));
  expect(echoLines(message.headers, 'via', 'Via')).toBe(
    'Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc\r\nVia: SIP/2.0/UDP b\r\n',
  );
  expect(echoLines(message.headers, 'route', 'Route')).toBe('');
});

test('statuses', () => {
  expect(reasonPhrase(486)).toBe('Busy Here');
  expect(reasonPhrase(499)).toBe('Request Failure');
  expect(reasonPhrase(299)).toBe('Success');
  expect(reasonPhrase(999)).toBe('Unknown');
  expect([99, 100, 699, 700, 200.5, Number.NaN].map(isStatus)).toEqual([
    false,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('octets', () => {
  expect(toText(fromText('Jürgen 電'))).toBe('Jürgen 電');
  expect(detach('a\xff')).toBe('a\xff');
  expect(printable('a\r\nb\0\x1b[31m')).toBe('a\\x0d\\x0ab\\x00\\x1b[31m');
  expect(printable('x'.repeat(300), 10)).toBe(`${'x'.repeat(10)}…`);
});
