/**
 * Properties of the parser over generated input: writing and reading agree, and no octets make it throw, hang or let
 * a line end through. Failures print the seed and the shrunk input.
 */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SipMessage } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { serialise } from '../../kit/serialise.js';
import { invite, response } from './messages.js';

const torture = new URL('../../torture/messages/', import.meta.url);
const seeds = [
  invite({ body: 'v=0\r\n' }),
  response({ fields: { To: '<sip:bob@example.com>;tag=b' } }),
  ...['rfc4475', 'rfc5118'].flatMap((rfc) =>
    readdirSync(new URL(`${rfc}/`, torture)).map((file) =>
      readFileSync(new URL(`${rfc}/${file}`, torture), 'latin1'),
    ),
  ),
];

const octet = fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c));
const octets = fc.array(octet, { maxLength: 300 }).map((all) => all.join(''));

/** Everything that a user of the message may ask for. */
function readAll(message: SipMessage): unknown[] {
  const seen: unknown[] = [
    message.callId,
    message.cseq.number,
    message.cseq.method,
    message.body,
    message.topVia.raw,
  ];
  for (const party of [message.from, message.to, message.contact]) {
    if (party !== undefined) seen.push(party.uri, party.tag, party.displayName, [...party.params]);
  }
  if (message.kind === 'request') {
    const { requestUri } = message;
    seen.push(message.method, message.uri, message.maxForwards, requestUri.scheme, requestUri.user, [
      ...requestUri.params,
    ]);
  } else seen.push(message.status, message.reason);
  const fields: string[] = [];
  message.headers.forEach((key, name, value) => {
    fields.push(`${key}\n${name}\n${value}`);
    expect(message.headers.all(key)).toContain(value);
    expect(name + value).not.toMatch(/[\r\n]/);
  });
  expect(fields).toHaveLength(message.headers.size);
  return [...seen, fields];
}

/** Holds for every input, accepted or not. */
function check(text: string): void {
  const parsed = parseMessage(text);
  if (parsed.kind === 'fault') {
    expect(parsed.detail).toMatch(/^[\x20-\x7e]+$/);
    expect(parsed.status === 0).toBe(parsed.request === undefined);
    parsed.request?.headers.forEach((_key, name, value) => {
      expect(name + value).not.toMatch(/[\r\n\0]/);
    });
    return;
  }
  const written = serialise(parsed);
  const again = parseMessage(written);
  if (again.kind === 'fault') throw new Error(`refused what was accepted: ${again.detail}`);
  expect(readAll(again)).toEqual(readAll(parsed));
  expect(serialise(again)).toBe(written);
}

const token = fc
  .array(fc.constantFrom(..."abcxyzABC019-.!%*_+`'~"), { minLength: 1, maxLength: 12 })
  .map((all) => all.join(''));
const visible = fc
  .array(
    octet.filter((c) => (c >= ' ' && c !== '\x7f') || c === '\t'),
    { maxLength: 30 },
  )
  .map((all) => all.join(''));
const fold = fc.constantFrom('', ' ', '\r\n ', '\r\n\t ', '  \r\n  ');

/** Well-formed messages: unknown fields of any name and value, folded, with any body. */
const wellFormed = fc
  .record({
    method: token,
    displayName: visible.map((name) => name.replace(/["\\]/g, '\\$&')),
    more: fc.array(
      fc.tuple(
        token.map((name) => `X-${name}`),
        visible,
        fold,
      ),
      { maxLength: 6 },
    ),
    body: octets,
    isResponse: fc.boolean(),
    status: fc.integer({ min: 100, max: 699 }),
    reason: visible,
  })
  .map(({ method, displayName, more, body, isResponse, status, reason }) => {
    const parts = {
      line: isResponse ? `SIP/2.0 ${status} ${reason}` : `${method} sip:bob@example.com SIP/2.0`,
      fields: { CSeq: `9 ${method}`, From: `"${displayName}" <sip:a@b>;tag=x` },
      more: more.map(([name, value, folded]) => `${name}:${folded}${value}`),
      body,
    };
    return isResponse ? response(parts) : invite(parts);
  });

test('well-formed messages are accepted, and parse and serialise agree', () => {
  fc.assert(
    fc.property(wellFormed, (text) => {
      const parsed = parseMessage(text);
      expect(parsed.kind === 'fault' ? parsed.detail : '').toBe('');
      check(text);
    }),
    { numRuns: 300 },
  );
});

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  drop: fc.nat({ max: 6 }),
  insert: fc.oneof(
    octets.map((text) => text.slice(0, 4)),
    fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      '\r\n\r\n',
      '\r\n ',
      '\0',
      ':',
      ';',
      ',',
      '"',
      '\\',
      '<',
      '>',
      '=',
      '@',
      '[',
      ']',
      '?',
      ' ',
      '\t',
    ),
    fc.constantFrom('\r\nTo: <sip:x@y>\r\n', '\r\nl: 5\r\n', ';tag=', ';branch=', '99999999999', 'SIP/2.0'),
  ),
});
const mutated = fc
  .tuple(fc.constantFrom(...seeds), fc.array(edit, { minLength: 1, maxLength: 6 }))
  .map(([seed, edits]) =>
    edits.reduce((text, { at, drop, insert }) => {
      const position = Math.floor(at * text.length);
      return text.slice(0, position) + insert + text.slice(position + drop);
    }, seed),
  );

test('mutated messages never throw', () => {
  fc.assert(fc.property(mutated, check), { numRuns: 3_000 });
});

test('arbitrary octets never throw', () => {
  fc.assert(fc.property(octets, check), { numRuns: 500 });
  fc.assert(
    fc.property(octets, (text) => check(`INVITE sip:a@b SIP/2.0\r\n${text}`)),
    { numRuns: 500 },
  );
});

test('every beginning of a message is a fault or a message, never an exception', () => {
  const text = invite({ more: ['Subject: a', ' b', 'X-Q: "\\\0"'], body: 'body' });
  for (let length = 0; length < text.length; length++) {
    const parsed = parseMessage(text.slice(0, length));
    expect(parsed.kind).toBe('fault');
    check(text.slice(0, length));
  }
  check(text);
});

/**
 * Input made to be slow: 64 KiB of one thing. A quadratic scan needs 4·10⁹ steps for it, and the run would meet the
 * time-out of the test; nothing here is timed.
 */
test.each([
  ['blanks in a value', invite({ more: [`X: a${' '.repeat(60_000)}b`] })],
  ['folds', invite({ more: [`X: a${'\r\n '.repeat(20_000)}b`] })],
  ['folds of blanks', invite({ more: [`X: a${`\r\n${' '.repeat(200)}`.repeat(300)}b`] })],
  ['quotes', invite({ fields: { To: `${'"'.repeat(60_000)} <sip:a@b>` } })],
  ['backslashes', invite({ fields: { To: `"${'\\'.repeat(60_000)}" <sip:a@b>` } })],
  ['open brackets', invite({ fields: { To: '<'.repeat(60_000) } })],
  ['semicolons', invite({ fields: { Via: `SIP/2.0/UDP h${';a=b'.repeat(15_000)}` } })],
  [
    'parameters',
    invite({
      fields: { From: `<sip:a@b>${Array.from({ length: 6_000 }, (_, i) => `;p${i}=x`).join('')};tag=1` },
    }),
  ],
  [
    'Contact values',
    invite({ fields: { Contact: Array.from({ length: 3_000 }, () => '<sip:a@b>').join(',') } }),
  ],
  ['many Contacts', invite({ more: new Array<string>(240).fill(`m: ${'<sip:a@b>,'.repeat(20)}<sip:a@b>`) })],
  ['commas in Contact', invite({ fields: { Contact: ','.repeat(60_000) } })],
  ['line ends before', `${'\r\n'.repeat(30_000)}${invite()}`],
  ['colons in the Request-URI', invite({ line: `INVITE sip:${':'.repeat(60_000)} SIP/2.0` })],
  ['lone line ends', invite().replace('\r\n', '\n'.repeat(60_000))],
  ['NULs in quotes', invite({ fields: { To: `"${'\\\0'.repeat(30_000)}" <sip:a@b>` } })],
  [
    'continuations of a faulty message',
    invite({ fields: { CSeq: null }, more: [`X: a${'\r\n b'.repeat(15_000)}`] }),
  ],
])('%s', (_what, text) => {
  for (let i = 0; i < 5; i++) check(text);
});
