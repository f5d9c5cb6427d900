/** Whatever is asked, what leaves is one INVITE that says what was meant and nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CALLER_ID_MODES, NUMBER_FORMATS } from '#directory/trunk.js';
import { calleeOf, routeOutbound } from '#routing/outbound.js';
import { headerLines, isSafeValue } from '#sip/fields.js';
import { parseNameAddr } from '#sip/name-addr.js';
import { toText } from '#sip/octets.js';
import { parseMessage } from '#sip/parse.js';
import { parseUri, unescapeUser } from '#sip/uri.js';
import { type Described, snapshotOf } from '../../kit/directory.js';
import { bound, IDLE } from './outbound-kit.js';

/** What people and peers write, with a taste for what could hurt. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      '\r',
      '\n',
      '"',
      '\\',
      '<',
      '>',
      ';',
      ',',
      '@',
      ':',
      '%',
      ' ',
      '\t',
      '\0',
      '0',
      'a',
      'é',
    ),
    maxLength: 30,
  }),
  fc.constantFrom('sip:a@b', 'sips:x', 'tel:+1-2;ext=1', 'a>\r\nVia: x', '%0d%0a', '+1 (415) 555-0199', '😀'),
);

const trunk = fc.record({
  callerIdMode: fc.constantFrom(...CALLER_ID_MODES),
  numberFormat: fc.constantFrom(...NUMBER_FORMATS),
  userPhone: fc.boolean(),
  privacy: fc.boolean(),
  fromUser: fc.option(fc.constantFrom('acme', 'a b', 'x@y', 'é;"<'), { nil: undefined }),
  fromDomain: fc.option(fc.constantFrom('from.example', '[2001:db8::1]'), { nil: undefined }),
  domain: fc.option(fc.constantFrom('provider.example'), { nil: undefined }),
  server: fc.constantFrom('sip.example.com', '192.0.2.1:5080', '[2001:db8::2]:5070'),
  techPrefix: fc.option(fc.constantFrom('99#', '*31*'), { nil: undefined }),
});

const header = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom('X-A', 'x-b', 'Subject'), fc.constantFrom('1', 'é', 'a, b')),
  },
  fc.tuple(hostile, hostile),
);

const question = fc.record(
  {
    to: hostile,
    displayName: hostile,
    privacy: fc.boolean(),
    xDestUser: fc.oneof({ weight: 3, arbitrary: fc.constantFrom('desk', 'a+b@c~d/e-f._', '') }, hostile),
    headers: fc.array(header, { maxLength: 2 }).map((list) => new Map(list)),
  },
  { requiredKeys: ['to'] },
);

describe('an INVITE that leaves', () => {
  it('parses again, has every field once, and no line that nobody meant', () => {
    let sent = 0;
    fc.assert(
      fc.property(trunk, question, fc.boolean(), hostile, (fields, asked, registered, displayName) => {
        const described: Described = {
          sipCredentials: [{ id: 'a', country: 'GB', ...fields }],
          phoneNumbers: [{ id: 'n', phoneNumber: '+442071234567', credentialsId: 'a' }],
          agents: [{ id: 'sales', outboundNumberId: 'n' }],
        };
        const standing = registered ? bound('sip:acme@aor.example') : ({ kind: 'unregistered' } as const);
        const decision = routeOutbound(
          snapshotOf(described),
          { agentId: 'sales', displayName, ...asked },
          { ...IDLE, bindings: { bindingOf: () => standing } },
        );
        if (decision.kind === 'refuse') {
          expect(decision.code).toBe('bad_request');
          expect(isSafeValue(decision.detail) || /[^\x20-\x7e]/.test(decision.detail)).toBe(true);
          expect(decision.detail).not.toMatch(/[\r\n]/);
          return;
        }
        sent++;
        const route = decision.routes[0]!;
        const text =
          `INVITE ${route.uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n` +
          `From: ${route.from};tag=1\r\nTo: ${route.to}\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n` +
          `${headerLines(route.headers)}Content-Length: 0\r\n\r\n`;
        const message = parseMessage(text);
        if (message.kind !== 'request') throw new Error(text);
        expect(text.split('\r\n')).toHaveLength(9 + route.headers.length);
        const uri = parseUri(message.uri);
        expect(unescapeUser(uri?.user ?? '')).toBe(wellFormed(route.dialled));
        expect(unescapeUser(parseUri(message.to.uri)?.user ?? '')).toBe(wellFormed(route.dialled));
        expect(uri?.headers).toBeUndefined();
        expect([...(uri?.params.keys() ?? [])].every((name) => name === 'user')).toBe(true);
        const from = parseUri(message.from.uri);
        expect(from?.port).toBeUndefined();
        expect(message.from.params.size).toBe(1);
        for (const { name, value } of route.headers) {
          expect(message.headers.all(name.toLowerCase())).toHaveLength(1);
          if (/^P-(Asserted|Preferred)-Identity$|^Remote-Party-ID$|^Diversion$/.test(name)) {
            expect(parseUri(parseNameAddr(value)?.uri ?? '')?.user).toMatch(/^\+?\d+$/);
          }
        }
        const name = asked.displayName ?? displayName;
        if (!isWithheld(fields.privacy, asked.privacy) && isSafeValue(name) && name !== '') {
          expect(toText(message.from.displayName ?? '')).toBe(toText(Buffer.from(name).toString('latin1')));
        }
      }),
      { numRuns: 1_500 },
    );
    expect(sent).toBeGreaterThan(300);
  });

  it('is for somebody, whatever the callee looks like', () => {
    fc.assert(
      fc.property(hostile, (to) => {
        const callee = calleeOf(to);
        expect(callee).toBe(callee.trim());
        expect(callee).not.toContain(';');
      }),
    );
  });
});

/** As UTF-8 leaves it: half a surrogate pair is no character. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

function isWithheld(trunkPrivacy: boolean, asked: boolean | undefined): boolean {
  return asked ?? trunkPrivacy;
}
