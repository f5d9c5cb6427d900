/** Lists, parameters, option tags and Reason. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { optionTags, parseParams, splitList } from '#sip/lists.js';
import { formatReason, parseReason } from '#sip/reason.js';

test('lists are divided at commas outside quotes and brackets', () => {
  expect(splitList('a, b ,c')).toEqual(['a', 'b', 'c']);
  expect(splitList('"a,\\",b" x, <c,d>;e="f,g", h')).toEqual(['"a,\\",b" x', '<c,d>;e="f,g"', 'h']);
  expect(splitList(' , ,, a')).toEqual(['a']);
  expect(splitList('')).toEqual([]);
  expect(splitList('"open, quote')).toEqual(['"open, quote']);
});

test('option tags of all fields in lower case', () => {
  expect(optionTags(['100rel, Timer', '', 'x'])).toEqual(['100rel', 'timer', 'x']);
});

test('parameters behind a value', () => {
  const parsed = parseParams(' text/plain ; Charset = "a;b" ; flag;charset=other');
  expect(parsed?.value).toBe('text/plain');
  expect([...(parsed?.params ?? [])]).toEqual([
    ['charset', 'a;b'],
    ['flag', ''],
  ]);
  expect(parseParams('v')?.params.size).toBe(0);
  expect(parseParams(';a=b')?.value).toBe('');
  for (const bad of ['v;', 'v;;a', 'v;=b', 'v;a=', 'v;a="b', 'v;a=b c'])
    expect(parseParams(bad)).toBeUndefined();
});

test('Reason is read and written', () => {
  expect(parseReason('Q.850 ;cause=16 ;text="Normal, call clearing", SIP;cause=200;text="done"')).toEqual([
    { protocol: 'Q.850', cause: 16, text: 'Normal, call clearing' },
    { protocol: 'SIP', cause: 200, text: 'done' },
  ]);
  expect(parseReason('SIP;cause=x, ;cause=1, SIP;cause=99999, Q.850;text="a')).toEqual([
    { protocol: 'SIP', cause: undefined, text: undefined },
    { protocol: 'SIP', cause: undefined, text: undefined },
  ]);
  expect(formatReason('Q.850', 16, 'say "hi"\r\nX: y')).toBe('Q.850;cause=16;text="say \\"hi\\"  X: y"');
  expect(formatReason('SIP', undefined)).toBe('SIP');
});

test('a Reason that is written is read again', () => {
  const text = fc.string({
    unit: fc
      .integer({ min: 32, max: 255 })
      .filter((c) => c !== 127)
      .map((c) => String.fromCharCode(c)),
  });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999 }), text, (cause, said) => {
      expect(parseReason(formatReason('SIP', cause, said))).toEqual([{ protocol: 'SIP', cause, text: said }]);
    }),
  );
});
