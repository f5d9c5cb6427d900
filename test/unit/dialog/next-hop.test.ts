/** Goal: requests inside a dialog go where RFC 3261 §12.2.1.1 says, and back through NAT where it cannot know. */
import { describe, expect, it } from 'vitest';
import { nextHop } from '#engine/embedded/dialog/next-hop.js';
import type { Source, TransportName } from '#engine/engine.js';
import { parseUri } from '#sip/uri.js';

const IDENTITY = { name: 'sip.example.com', tls: { verify: true } };

function source(transport: TransportName, address: string, port: number, flow = 0): Source {
  return {
    transport,
    address,
    port,
    flow,
    listener: { id: `${transport}:1`, transport, host: '0.0.0.0', port: 5060 },
  };
}

describe('nextHop', () => {
  const rows: [name: string, uri: string, last: Source, expected: object][] = [
    [
      'an address literal with port is used as it is',
      'sip:bob@192.0.2.7:5080',
      source('udp', '192.0.2.1', 5060),
      { transport: 'udp', address: '192.0.2.7', port: 5080 },
    ],
    [
      'without port the default port of the transport',
      'sip:bob@192.0.2.7',
      source('udp', '192.0.2.1', 5062),
      { transport: 'udp', address: '192.0.2.7', port: 5060 },
    ],
    [
      'sips goes over TLS, port 5061',
      'sips:bob@192.0.2.7',
      source('udp', '192.0.2.1', 5062),
      { transport: 'tls', address: '192.0.2.7', port: 5061, flow: undefined },
    ],
    [
      'a host name is answered where it last spoke from',
      'sip:bob@pbx.example.com:5090',
      source('udp', '192.0.2.1', 5062),
      { transport: 'udp', address: '192.0.2.1', port: 5062 },
    ],
    [
      'a private Contact of a public peer is a Contact from behind NAT',
      'sip:bob@192.168.1.20:5060',
      source('udp', '203.0.113.9', 40_000),
      { transport: 'udp', address: '203.0.113.9', port: 40_000 },
    ],
    [
      'a private Contact of a private peer is meant',
      'sip:bob@192.168.1.20:5060',
      source('udp', '10.0.0.1', 5060),
      { transport: 'udp', address: '192.168.1.20', port: 5060 },
    ],
    [
      'a stream stays in use',
      'sip:bob@192.0.2.7:5080',
      source('tcp', '192.0.2.1', 40_000, 7),
      { transport: 'tcp', address: '192.0.2.7', port: 5080, flow: 7 },
    ],
    [
      'a Contact that asks for TCP after UDP gets TCP, without a flow',
      'sip:bob@192.0.2.7:5080;transport=tcp',
      source('udp', '192.0.2.1', 5060),
      { transport: 'tcp', address: '192.0.2.7', port: 5080, flow: undefined },
    ],
    [
      'transport=tcp of a peer that speaks TLS never falls back to clear text',
      'sip:bob@192.0.2.7:5080;transport=tcp',
      source('tls', '192.0.2.1', 40_000, 9),
      { transport: 'tls', address: '192.0.2.7', flow: 9 },
    ],
    [
      'IPv6',
      'sip:bob@[2001:db8::5]:5080',
      source('udp', '2001:db8::1', 5060),
      { transport: 'udp', address: '2001:db8::5', port: 5080 },
    ],
  ];

  it.each(rows)('%s', (_name, uri, last, expected) => {
    const target = nextHop(parseUri(uri), last, IDENTITY);
    expect(target).toMatchObject(expected);
    expect(target.name).toBe('sip.example.com');
  });

  it('goes back to the source when the URI cannot be read', () => {
    expect(nextHop(undefined, source('udp', '192.0.2.1', 5062), IDENTITY)).toMatchObject({
      transport: 'udp',
      address: '192.0.2.1',
      port: 5062,
    });
  });
});
