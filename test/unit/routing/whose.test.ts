/** What the directory refuses, and yet came about: the same text is a number of two organisations. */
import { expect, it } from 'vitest';
import type { PhoneNumber } from '#directory/number.js';
import type { ObjectSource } from '#directory/trunk.js';
import { DidReader } from '#routing/did.js';
import { type Whose, whoseCall } from '#routing/whose.js';
import { parseMessage } from '#sip/parse.js';
import { snapshotOf } from '../../kit/directory.js';

const made = parseMessage(
  'INVITE sip:+14155550100@g SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\n' +
    'To: <sip:b@h>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n',
);
if (made.kind !== 'request') throw new Error('no request');
const request = made;
// Apart when they were compiled; asked as if they met.
const snapshot = snapshotOf({
  sipCredentials: ['a', 'b'].map((organizationId, index) => ({
    id: `of-${organizationId}`,
    organizationId,
    server: 's',
    allowedAddresses: [`192.0.2.${index}`],
  })),
  phoneNumbers: ['a', 'b'].map((organizationId) => ({
    id: organizationId,
    organizationId,
    credentialsId: `of-${organizationId}`,
    phoneNumber: '+14155550100',
  })),
});

function whose(a: ObjectSource, b: ObjectSource): Whose {
  const sources: Record<string, ObjectSource> = { a, b };
  const number = (trunkId: string, text: string): PhoneNumber | undefined => {
    const found = snapshot.number(trunkId, text);
    return found === undefined ? undefined : { ...found, source: sources[found.id]! };
  };
  return whoseCall({ plan: (id) => snapshot.plan(id), number }, new DidReader(request), [
    ...snapshot.trunks(),
  ]);
}

it.each<[ObjectSource, ObjectSource, Whose]>([
  ['config', 'manual', { organizationId: 'a' }],
  ['provider', 'config', { organizationId: 'b' }],
  ['manual', 'manual', 'several'],
  ['config', 'config', 'several'],
])('a number from %s and from %s', (a, b, expected) => {
  expect(whose(a, b)).toEqual(expected);
});
