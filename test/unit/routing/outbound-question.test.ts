/** What an agent's INVITE asks for. */
import { describe, expect, it } from 'vitest';
import { outboundQuestion } from '#routing/outbound-question.js';
import { fromText } from '#sip/octets.js';
import { parseMessage } from '#sip/parse.js';
import { snapshotOf } from '../../kit/directory.js';

const agent = snapshotOf({
  agents: [
    {
      id: '77',
      endpoints: [{ uri: 'sip:1001@192.0.2.5' }],
      inboundAuth: { username: '2002', password: 'secret' },
    },
  ],
}).agent('77')!;

function asked(from: string, headers: readonly string[] = [], uri = 'sip:+14155550199@gateway.example') {
  const message = parseMessage(
    fromText(
      [
        `INVITE ${uri} SIP/2.0`,
        'Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK1',
        `From: ${from};tag=1`,
        'To: <sip:whoever@gateway.example>',
        'Call-ID: 1',
        'CSeq: 1 INVITE',
        ...headers,
        'Content-Length: 0',
        '\r\n',
      ].join('\r\n'),
    ),
  );
  if (message.kind !== 'request') throw new Error('no request');
  return outboundQuestion(message, agent);
}

describe('an agent asks', () => {
  it('for whom its Request-URI names', () => {
    expect(asked('<sip:a@x>')).toEqual({
      agentId: '77',
      to: 'sip:+14155550199@gateway.example',
      from: undefined,
      displayName: undefined,
      privacy: undefined,
      xDestUser: undefined,
    });
    expect(asked('<sip:a@x>', [], 'tel:+1-415-555-0199').to).toBe('tel:+1-415-555-0199');
  });

  it.each([
    ['"Müller" <sip:+14155550100@x>', [], '+14155550100', 'Müller'],
    ['<sip:+14155550100;npdi@x>', [], '+14155550100', undefined],
    ['"" <tel:+1-415-555-0100>', [], '+1-415-555-0100', ''],
    ['"Sales bot" <sip:sales@x>', [], undefined, undefined],
    ['"Me" <sip:1001@x>', [], undefined, undefined],
    ['"Me" <sip:2002@x>', [], undefined, undefined],
    ['"Me" <sip:77@x>', [], undefined, undefined],
    ['<sip:x>', [], undefined, undefined],
    ['<sip:sales@x>', ['P-Asserted-Identity: "A" <sip:+1@x>, <tel:+2>'], '+1', 'A'],
    ['<sip:sales@x>', ['P-Asserted-Identity: <sip:a@x>, <tel:+2>'], '+2', undefined],
    [
      '<sip:sales@x>',
      ['P-Asserted-Identity: <sip:+1@x>', 'P-Preferred-Identity: <sip:+3@x>'],
      '+3',
      undefined,
    ],
    ['<sip:+14155550100@x>', ['P-Asserted-Identity: <sip:+1@x>'], '+14155550100', undefined],
    ['<sip:sales@x>', ['P-Asserted-Identity: <<<', 'P-Preferred-Identity:'], undefined, undefined],
  ])('with From %s and %j to show %s', (from, headers, number, displayName) => {
    expect(asked(from, headers)).toMatchObject({ from: number, displayName });
  });

  it.each([
    ['<sip:anonymous@anonymous.invalid>', [], true],
    ['<sip:Anonymous@x>', [], true],
    ['<sip:thisis@anonymous.invalid>', [], true],
    ['<sip:a@x>', ['Privacy: id'], true],
    ['<sip:a@x>', ['Privacy: header; User;critical'], true],
    ['<sip:a@x>', ['Privacy: session'], undefined],
    ['<sip:a@x>', ['Privacy: none'], false],
    ['<sip:a@x>', [], undefined],
  ])('with From %s and %j for privacy %s', (from, headers, privacy) => {
    expect(asked(from, headers).privacy).toBe(privacy);
  });

  it('for X-Dest-User as it stands', () => {
    expect(asked('<sip:a@x>', ['X-Dest-User:  desk ']).xDestUser).toBe('desk');
    expect(asked('<sip:a@x>', ['X-Dest-User:']).xDestUser).toBe('');
  });
});
