/** The top Via of a response: `received` (§18.2.1), `rport` (RFC 3581), and everything else as it came. */

import { describe, expect, it } from 'vitest';
import { stampVia } from '#engine/embedded/transaction/response.js';
import { parseVia } from '#sip/via.js';
import { Bench, incoming, PEER, readResponse, sourceOf } from './kit.js';

const B = ';branch=z9hG4bK1';

describe('stampVia', () => {
  const rows: readonly (readonly [string, string, string, string])[] = [
    ['sent-by is the source', `SIP/2.0/UDP 192.0.2.9:5080${B}`, PEER, `SIP/2.0/UDP 192.0.2.9:5080${B}`],
    [
      'sent-by is another address',
      `SIP/2.0/UDP 10.0.0.1${B}`,
      PEER,
      `SIP/2.0/UDP 10.0.0.1${B};received=192.0.2.9`,
    ],
    [
      'sent-by is a name',
      `SIP/2.0/UDP pbx.example.org${B}`,
      PEER,
      `SIP/2.0/UDP pbx.example.org${B};received=192.0.2.9`,
    ],
    [
      'rport asked for',
      `SIP/2.0/UDP 192.0.2.9:5080;rport${B}`,
      PEER,
      `SIP/2.0/UDP 192.0.2.9:5080${B};received=192.0.2.9;rport=5080`,
    ],
    [
      'rport and received claimed',
      `SIP/2.0/UDP 192.0.2.9;received=1.2.3.4;rport=99${B}`,
      PEER,
      `SIP/2.0/UDP 192.0.2.9${B};received=192.0.2.9;rport=5080`,
    ],
    [
      'received claimed',
      `SIP/2.0/UDP 192.0.2.9;received=1.2.3.4${B}`,
      PEER,
      `SIP/2.0/UDP 192.0.2.9${B};received=192.0.2.9`,
    ],
    [
      'more values behind it',
      `SIP/2.0/UDP h${B} , SIP/2.0/UDP i;rport;branch=x`,
      PEER,
      `SIP/2.0/UDP h${B};received=192.0.2.9 , SIP/2.0/UDP i;rport;branch=x`,
    ],
    [
      'blanks',
      `SIP / 2.0 / UDP  h ; rport ${B}`,
      PEER,
      `SIP / 2.0 / UDP  h ${B};received=192.0.2.9;rport=5080`,
    ],
    [
      'IPv6, the source itself',
      `SIP/2.0/UDP [2001:db8::1]:5080${B}`,
      '2001:db8::1',
      `SIP/2.0/UDP [2001:db8::1]:5080${B}`,
    ],
    [
      'IPv6, another source',
      `SIP/2.0/UDP [2001:db8::2]${B}`,
      '2001:db8::1',
      `SIP/2.0/UDP [2001:db8::2]${B};received=2001:db8::1`,
    ],
    [
      'quotes that look like parameters',
      `SIP/2.0/UDP h;x="a;rport;received=b"${B}`,
      PEER,
      `SIP/2.0/UDP h;x="a;rport;received=b"${B};received=192.0.2.9`,
    ],
    [
      'maddr is kept and ignored',
      `SIP/2.0/UDP h;maddr=203.0.113.5${B}`,
      PEER,
      `SIP/2.0/UDP h;maddr=203.0.113.5${B};received=192.0.2.9`,
    ],
    [
      'names that only begin so',
      `SIP/2.0/UDP h;rportal=1;received-x=2${B}`,
      PEER,
      `SIP/2.0/UDP h;rportal=1;received-x=2${B};received=192.0.2.9`,
    ],
  ];

  it.each(rows)('%s', (_name, field, address, expected) => {
    const via = parseVia(field);
    expect(via).toBeDefined();
    expect(stampVia(field, via!, sourceOf('udp', address))).toBe(expected);
  });
});

describe('Via lines of a response', () => {
  it('are all there, in order, only the first one completed', () => {
    const bench = new Bench();
    bench.receive(
      incoming({
        method: 'OPTIONS',
        via: `SIP/2.0/UDP proxy.example.net;rport${B}, SIP/2.0/TCP second;branch=z9hG4bK2;rport`,
        more: ['v: SIP/2.0/UDP third;branch=z9hG4bK3'],
      }),
    );
    bench.incoming[0]!.respond(200, 'OK', '', '');
    expect(readResponse(bench.replies[0]!.octets).headers.all('via')).toEqual([
      `SIP/2.0/UDP proxy.example.net${B};received=192.0.2.9;rport=5080, SIP/2.0/TCP second;branch=z9hG4bK2;rport`,
      'SIP/2.0/UDP third;branch=z9hG4bK3',
    ]);
  });

  it.each([
    ['sent-by port', 'pbx.example.org:5099', { host: PEER, port: 5099, rport: false }],
    ['no port', 'pbx.example.org', { host: PEER, port: undefined, rport: false }],
    ['rport', 'pbx.example.org:5099;rport', { host: PEER, port: 5099, rport: true }],
    ['maddr', 'pbx.example.org;maddr=203.0.113.5', { host: PEER, port: undefined, rport: false }],
  ])('say where to answer: %s, never to a host that the sender names', (_name, sentBy, expected) => {
    const bench = new Bench();
    bench.receive(incoming({ via: `SIP/2.0/UDP ${sentBy};branch=z9hG4bK7` }));
    bench.incoming[0]!.respond(180, '', '', '');
    // Statelessly too: the same request by another way.
    bench.receive(incoming({ via: `SIP/2.0/UDP ${sentBy};branch=z9hG4bK8` }));
    expect(bench.replies.length).toBe(2);
    for (const reply of bench.replies) expect(reply).toMatchObject(expected);
  });
});
