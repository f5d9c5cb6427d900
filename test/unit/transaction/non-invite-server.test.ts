/** The non-INVITE server machine: figure 8 of RFC 3261, held back as RFC 4320 says. */

import { describe, expect, it } from 'vitest';
import type { TransportName } from '#engine/engine.js';
import { Bench, incoming, play, readResponse } from './kit.js';

interface Row {
  readonly name: string;
  readonly transport: TransportName;
  readonly standing?: 'known' | 'stranger';
  readonly script: readonly (readonly [number, string])[];
  readonly log: readonly string[];
}

const rows: readonly Row[] = [
  {
    name: 'answered: the response again for each retransmission until timer J',
    transport: 'udp',
    script: [
      [0, 'request'],
      [10, 'request'],
      [100, '200'],
      [150, '481'],
      [600, 'request'],
      [32_090, 'request'],
    ],
    log: ['0 up INFO', '100 reply 200', '600 reply 200', '32090 reply 200', '32100 gone'],
  },
  {
    name: 'timer J is 0 on a stream',
    transport: 'tcp',
    script: [
      [0, 'request'],
      [100, '200'],
    ],
    log: ['0 up INFO', '100 reply 200', '100 gone'],
  },
  {
    name: '100 only when timer E of the client has reached T2, then the final response',
    transport: 'udp',
    script: [
      [0, 'request'],
      [3490, 'request'],
      [4000, 'request'],
      [5000, '200'],
      [6000, 'request'],
    ],
    log: ['0 up INFO', '3500 reply 100', '4000 reply 100', '5000 reply 200', '6000 reply 200', '37000 gone'],
  },
  {
    name: 'the 100 on a stream',
    transport: 'tls',
    script: [
      [0, 'request'],
      [5000, '200'],
    ],
    log: ['0 up INFO', '3500 reply 100', '5000 reply 200', '5000 gone'],
  },
  {
    name: 'no other provisional response, and no early 100',
    transport: 'udp',
    script: [
      [0, 'request'],
      [10, '100'],
      [20, '180'],
      [30, '200'],
    ],
    log: ['0 up INFO', '30 reply 200', '32030 gone'],
  },
  {
    name: 'no 408, and silence for what comes again',
    transport: 'udp',
    script: [
      [0, 'request'],
      [10, '408'],
      [500, 'request'],
      [600, '200'],
    ],
    log: ['0 up INFO', '32010 gone'],
  },
  {
    name: 'never answered: forgotten when the client has given up, and a late answer goes nowhere',
    transport: 'udp',
    script: [
      [0, 'request'],
      [32_100, '200'],
    ],
    log: ['0 up INFO', '3500 reply 100', '32000 lost: not answered within 64*T1', '32100 gone'],
  },
  {
    name: "a stranger's response goes once, also when it is 2xx",
    transport: 'udp',
    standing: 'stranger',
    script: [
      [0, 'request'],
      [10, 'request'],
      [100, '200'],
      [500, 'request'],
      [500, '403'],
    ],
    log: ['0 up INFO', '100 reply 200', '500 up INFO', '500 reply 403', '500 gone'],
  },
  {
    name: 'a stranger gets no 100, and is forgotten too',
    transport: 'udp',
    standing: 'stranger',
    script: [[0, 'request']],
    log: ['0 up INFO', '32000 lost: not answered within 64*T1', '32000 gone'],
  },
];

describe('non-INVITE server', () => {
  it.each(rows)('$name ($transport)', ({ transport, standing = 'known', script, log }) => {
    const bench = new Bench();
    const respond = (status: number) => () => void bench.incoming.at(-1)!.respond(status, '', '', '');
    play(bench, script, {
      request: () => bench.receive(incoming({ method: 'INFO', transport }), transport, standing),
      '100': respond(100),
      '180': respond(180),
      '200': respond(200),
      '403': respond(403),
      '408': respond(408),
      '481': respond(481),
    });
    bench.untilGone();
    expect(bench.log).toEqual(log);
  });

  it('copies Timestamp into its 100', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'INFO', more: ['Timestamp: 54'] }));
    bench.clock.advance(4000);
    expect(readResponse(bench.replies[0]!.octets).headers.get('timestamp')).toBe('54 3.5');
  });
});
