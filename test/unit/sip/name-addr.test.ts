/** From, To, Contact and Route values: what is read from them, and that writing and reading agree. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatNameAddr, parseNameAddr, parseNameAddrList } from '#sip/name-addr.js';

test.each([
  ['<sip:a@b>', undefined, 'sip:a@b'],
  ['sip:a@b', undefined, 'sip:a@b'],
  ['  sip:a@b  ', undefined, 'sip:a@b'],
  ['Bob <sip:a@b>', 'Bob', 'sip:a@b'],
  ['Bob  B. Example<sip:a@b>', 'Bob  B. Example', 'sip:a@b'],
  ['"Bob" <sip:a@b>', 'Bob', 'sip:a@b'],
  ['"a \\"b\\" \\\\ c"<sip:a@b>', 'a "b" \\ c', 'sip:a@b'],
  ['"<sip:x@y>, \\"" <sip:a@b>', '<sip:x@y>, "', 'sip:a@b'],
  ['J\xc3\xbcrgen <sip:a@b>', 'J\xc3\xbcrgen', 'sip:a@b'],
  ['Sales (EU) <sip:a@b>', 'Sales (EU)', 'sip:a@b'],
  ['"" <sip:a@b>', '', 'sip:a@b'],
  ['<sip:a;b=c,d?e@h;lr?x=y>', undefined, 'sip:a;b=c,d?e@h;lr?x=y'],
  ['tel:+1-415-555', undefined, 'tel:+1-415-555'],
  ['<urn:service:sos>', undefined, 'urn:service:sos'],
])('%s', (value, displayName, uri) => {
  const parsed = parseNameAddr(value);
  expect(parsed?.displayName).toBe(displayName);
  expect(parsed?.uri).toBe(uri);
});

test('without angle brackets the parameters belong to the field', () => {
  const parsed = parseNameAddr('sip:a@b;tag=1;Flag; X = "q;,>" ;host=[::1]');
  expect(parsed?.uri).toBe('sip:a@b');
  expect(parsed?.tag).toBe('1');
  expect([...(parsed?.params ?? [])]).toEqual([
    ['tag', '1'],
    ['flag', ''],
    ['x', 'q;,>'],
    ['host', '[::1]'],
  ]);
});

test.each([
  '',
  '   ',
  '<>',
  '<a@b>',
  'a@b',
  '<sip:>',
  'sip:',
  '<sip:a@b',
  'sip:a@b>',
  '"Bob <sip:a@b>',
  '"Bob" sip:a@b',
  'Bell, A <sip:a@b>',
  '< sip:a@b>',
  '<sip:a@b >',
  '<sip:a b>',
  '<sip:a@b>x',
  '<sip:a@b>;',
  '<sip:a@b>;;tag=1',
  '<sip:a@b>;=x',
  '<sip:a@b>;x=',
  '<sip:a@b>;x="y',
  '<sip:a@b>;tag',
  'sip:a@b?x=y',
  '<<sip:a@b>>',
  '<sip:a@b>, <sip:c@d>',
  '*',
  '<1sip:a@b>',
])('%j is refused', (value) => {
  expect(parseNameAddr(value)).toBeUndefined();
});

describe('a list', () => {
  test('is divided at commas outside quotes and brackets', () => {
    const list = parseNameAddrList('"a,b" <sip:x,y@h>;q=0.5 , sip:c@d;expires=3,<sip:e@f;lr>');
    expect(list?.map((one) => one.uri)).toEqual(['sip:x,y@h', 'sip:c@d', 'sip:e@f;lr']);
    expect(list?.[0]?.params.get('q')).toBe('0.5');
    expect(list?.[1]?.params.get('expires')).toBe('3');
  });

  test.each(['<sip:a@b>,', ',<sip:a@b>', '<sip:a@b>,,<sip:c@d>', '<sip:a@b> <sip:c@d>', ''])(
    '%j is refused',
    (value) => {
      expect(parseNameAddrList(value)).toBeUndefined();
    },
  );
});

const octet = fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c));
const sendable = octet.filter((c) => (c >= ' ' && c !== '\x7f') || c === '\t');
const display = fc.array(sendable).map((characters) => characters.join(''));
const token = fc
  .array(fc.constantFrom(..."abcXYZ019-.!%*_+`'~"), { minLength: 1, maxLength: 8 })
  .map((c) => c.join(''));
const params = fc
  .uniqueArray(
    fc.tuple(
      token.map((name) => name.toLowerCase()),
      display,
    ),
    { selector: ([name]) => name, maxLength: 4 },
  )
  .map((entries) => entries.filter(([name]) => name !== 'tag'));

test('what is written is read again', () => {
  fc.assert(
    fc.property(display, params, fc.option(token, { nil: undefined }), (name, entries, tag) => {
      const all = tag === undefined ? entries : [...entries, ['tag', tag] as const];
      const text = formatNameAddr({ displayName: name, uri: 'sip:u@h;lr?x=y', params: new Map(all) });
      const parsed = parseNameAddr(text);
      expect(parsed).toBeDefined();
      expect(parsed?.displayName ?? '').toBe(name);
      expect(parsed?.uri).toBe('sip:u@h;lr?x=y');
      expect(parsed?.tag).toBe(tag);
      expect([...(parsed?.params ?? [])]).toEqual(all);
      expect(parseNameAddrList(`${text}, ${text}`)).toHaveLength(2);
    }),
  );
});

test('nothing written ends a line or holds NUL, whatever the display name', () => {
  fc.assert(
    fc.property(fc.string({ unit: octet }), (name) => {
      const text = formatNameAddr({ displayName: name, uri: 'sip:u@h', params: new Map([['x', name]]) });
      expect(text).not.toMatch(/[\0\r\n]/);
      expect(parseNameAddr(text)?.uri).toBe('sip:u@h');
    }),
  );
});

test('no octets make it throw', () => {
  const pieces = fc.array(
    fc.oneof(octet, fc.constantFrom('"', '<', '>', ';', ',', '=', '\\', 'sip:', 'tag', ' ', 'a@b')),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      const value = parts.join('');
      for (const one of [parseNameAddr(value), ...(parseNameAddrList(value) ?? [])]) {
        if (one === undefined) continue;
        expect(one.params.get('tag') ?? undefined).toBe(one.tag);
        expect(parseNameAddr(formatNameAddr(one))?.uri).toBe(one.uri);
      }
    }),
  );
});
