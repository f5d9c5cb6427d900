/** What a well-formed request deserves before anybody looks at its meaning. */
import { expect, test } from 'vitest';
import { inspectRequest } from '#sip/inspect.js';
import { invite, request } from './messages.js';

const understood = {
  methods: new Set(['INVITE', 'ACK', 'CANCEL', 'BYE']),
  extensions: new Set(['100rel', 'timer']),
};

function inspect(line: string, more: readonly string[] = []): unknown {
  const method = line.split(' ')[0]!;
  return inspectRequest(
    request(invite({ line: `${line} SIP/2.0`, fields: { CSeq: `1 ${method}` }, more })),
    understood,
  );
}

test('nothing is wrong', () => {
  expect(inspect('INVITE sip:a@b')).toBeNull();
  expect(inspect('INVITE sips:a@b')).toBeNull();
  expect(inspect('INVITE tel:+1')).toBeNull();
  expect(inspect('INVITE sip:a@b', ['Require: 100REL', 'Require: timer', 'Proxy-Require: timer'])).toBeNull();
});

test('a method that is registered but not served is 405, another 501', () => {
  const allow = [{ name: 'Allow', value: 'INVITE, ACK, CANCEL, BYE' }];
  expect(inspect('PUBLISH sip:a@b')).toEqual({ status: 405, reason: 'Method Not Allowed', headers: allow });
  expect(inspect('invite sip:a@b')).toEqual({ status: 501, reason: 'Not Implemented', headers: allow });
});

test('a scheme that we cannot route is 416', () => {
  expect(inspect('INVITE http://a')).toEqual({ status: 416, reason: 'Unsupported URI Scheme', headers: [] });
});

test('extensions that we do not understand are 420 and named', () => {
  expect(inspect('BYE sip:a@b', ['Require: Foo, 100rel', 'Require: bar', 'Proxy-Require: baz'])).toEqual({
    status: 420,
    reason: 'Bad Extension',
    headers: [{ name: 'Unsupported', value: 'Foo, bar, baz' }],
  });
});

test('ACK is never refused, and a CANCEL not for its Require', () => {
  expect(inspect('ACK http://a', ['Require: foo'])).toBeNull();
  expect(inspect('CANCEL sip:a@b', ['Require: foo'])).toBeNull();
});
