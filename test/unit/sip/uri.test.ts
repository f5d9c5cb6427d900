/** SIP, SIPS, tel and other URIs. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { escapeUser, formatUri, hostPort, parseUri, unescapeUser } from '#sip/uri.js';

describe('a URI is read', () => {
  test('with every part', () => {
    const uri = parseUri('SIP:alice:pass;w@Example.COM:5070;Transport=TCP;lr;x=%41?Subject=a&p=b@c');
    expect(uri).toMatchObject({
      scheme: 'sip',
      user: 'alice',
      password: 'pass;w',
      host: 'example.com',
      port: 5070,
      headers: 'Subject=a&p=b@c',
    });
    expect([...(uri?.params ?? [])]).toEqual([
      ['transport', 'TCP'],
      ['lr', ''],
      ['x', '%41'],
    ]);
  });

  test.each([
    ['sip:host', undefined, 'host', undefined],
    ['sips:host:5061', undefined, 'host', 5061],
    ['sip:[2001:DB8::1]', undefined, '2001:db8::1', undefined],
    ['sip:u@[2001:db8::1]:5070;lr', 'u', '2001:db8::1', 5070],
    ['sip:+1;phone-context=x@h', '+1;phone-context=x', 'h', undefined],
    ['sip:1_(a)&b=c+$,?/;d@h', '1_(a)&b=c+$,?/;d', 'h', undefined],
    ['sip:sips%3Auser%40x@h', 'sips%3Auser%40x', 'h', undefined],
    ['sip:a_b.example', undefined, 'a_b.example', undefined],
    ['sip:@h', undefined, '', undefined],
  ])('%s', (text, user, host, port) => {
    const uri = parseUri(text);
    if (host === '') expect(uri).toBeUndefined();
    else expect({ user: uri?.user, host: uri?.host, port: uri?.port }).toEqual({ user, host, port });
  });

  test('tel', () => {
    const uri = parseUri('tel:+1-201-555-0123;phone-context=example.com;ext=7');
    expect(uri).toMatchObject({ scheme: 'tel', user: '+1-201-555-0123', host: '', port: undefined });
    expect(uri?.params.get('ext')).toBe('7');
  });

  test('of schemes that we do not know', () => {
    expect(parseUri('soap.beep://192.0.2.103:3002')).toMatchObject({
      scheme: 'soap.beep',
      user: '//192.0.2.103:3002',
      host: '',
    });
    expect(parseUri('URN:service:sos')?.scheme).toBe('urn');
  });
});

test.each([
  '',
  'sip',
  'sip:',
  ':',
  '//h',
  '1sip:h',
  'sip:u@',
  'sip:h:',
  'sip:h:x',
  'sip:h:70000',
  'sip:h:-1',
  'sip:u@h@i',
  'sip:h;',
  'sip:h;;lr',
  'sip:h;=x',
  'sip:u@h;x=a@b',
  'sip:2001:db8::10',
  'sip:[]',
  'sip:[::1',
  'sip:[::g]',
  'sip:[::1]x',
  'sip:h i',
  'sip:<h>',
  'sip:"h"',
  'sip:h\0',
  'sip:h\r\n',
  'sip:h\x7f',
  'sip:u@h/x',
  'sip:%41',
  'tel:',
  'tel:;x=y',
  'sip::p@h',
  'sip:h\u0141',
  'sip:\u010d@h',
])('%j is refused', (text) => {
  expect(parseUri(text)).toBeUndefined();
});

test('hostPort puts IPv6 into brackets', () => {
  expect(hostPort('::1', 5060)).toBe('[::1]:5060');
  expect(hostPort('::1')).toBe('[::1]');
  expect(hostPort('h', 5060)).toBe('h:5060');
  expect(hostPort('h')).toBe('h');
});

test('users are unescaped to text, and back', () => {
  expect(unescapeUser('I%20have%20%C3%BC')).toBe('I have ü');
  expect(unescapeUser('%00%zz%4')).toBe('\0%zz%4');
  expect(unescapeUser('J\xc3\xbc')).toBe('Jü');
  expect(escapeUser('a b@ü:')).toBe('a%20b%40%C3%BC%3A');
  expect(escapeUser('+1;x=y')).toBe('+1;x=y');
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (text) => unescapeUser(escapeUser(text)) === Buffer.from(text).toString(),
    ),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
      expect(parseUri(`sip:${escapeUser(text)}@h`)?.user).toBe(escapeUser(text));
    }),
  );
});

test('what is written is read again, and no octets make it throw', () => {
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(
        'sip:',
        'sips:',
        'tel:',
        'x:',
        'u',
        '@',
        ':',
        'h',
        'B.c',
        '[::1]',
        ';',
        '=',
        '?',
        '&',
        '%41',
        '5060',
        '"',
        '<',
        ' ',
        ',',
      ),
      fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)),
    ),
    { maxLength: 16 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      const uri = parseUri(parts.join(''));
      if (uri === undefined) return;
      const written = formatUri(uri);
      const again = parseUri(written);
      expect(again === undefined ? undefined : formatUri(again)).toBe(written);
      expect(again).toMatchObject({
        scheme: uri.scheme,
        user: uri.user,
        host: uri.host,
        port: uri.port,
        headers: uri.headers,
      });
    }),
    { numRuns: 2_000 },
  );
});
