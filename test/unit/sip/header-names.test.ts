/** Names of header fields are found in place in every spelling. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CANONICAL, canonicalName, keyId, NAMES } from '#sip/header-names.js';

/** RFC 3261 §7.3.3 and IANA's registry. */
const COMPACT: [string, string][] = [
  ['a', 'accept-contact'],
  ['b', 'referred-by'],
  ['c', 'content-type'],
  ['d', 'request-disposition'],
  ['e', 'content-encoding'],
  ['f', 'from'],
  ['i', 'call-id'],
  ['j', 'reject-contact'],
  ['k', 'supported'],
  ['l', 'content-length'],
  ['m', 'contact'],
  ['n', 'identity-info'],
  ['o', 'event'],
  ['r', 'refer-to'],
  ['s', 'subject'],
  ['t', 'to'],
  ['u', 'allow-events'],
  ['v', 'via'],
  ['x', 'session-expires'],
  ['y', 'identity'],
];

test.each(COMPACT)('%s is %s', (short, long) => {
  expect(canonicalName(short)).toBe(long);
  expect(canonicalName(short.toUpperCase())).toBe(long);
  expect(canonicalName(long.toUpperCase())).toBe(long);
});

test('letters without a registered meaning stay what they are', () => {
  const registered = new Set(COMPACT.map(([short]) => short));
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
    if (!registered.has(letter)) expect(canonicalName(letter)).toBe(letter);
  }
});

test('every name is found in any case, and its neighbours are not', () => {
  const anyCase = fc.constantFrom(...CANONICAL).chain((key) =>
    fc.array(fc.boolean(), { minLength: key.length, maxLength: key.length }).map((flags) => ({
      key,
      spelled: [...key].map((c, i) => (flags[i] ? c.toUpperCase() : c)).join(''),
    })),
  );
  fc.assert(fc.property(anyCase, ({ key, spelled }) => canonicalName(spelled) === key));
  for (const name of NAMES) {
    expect(keyId(canonicalName(`${name}x`))).toBe(-1);
    expect(canonicalName(name.replaceAll('-', '_'))).toBe(
      name.includes('-') ? name.replaceAll('-', '_').toLowerCase() : name.toLowerCase(),
    );
  }
});
