/** The non-INVITE client machine: figure 6 of RFC 3261. */

import { describe, expect, it } from 'vitest';
import type { TransportName } from '#engine/engine.js';
import { Bench, play } from './kit.js';

interface Row {
  readonly name: string;
  readonly transport: TransportName;
  readonly script: readonly (readonly [number, string])[];
  readonly log: readonly string[];
}

const rows: readonly Row[] = [
  {
    name: 'timers E and F: doubled up to T2, given up after 64*T1',
    transport: 'udp',
    script: [[0, 'request']],
    log: [
      ...[0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500].map(
        (at) => `${at} send BYE`,
      ),
      '32000 fault timeout unheard',
      '32000 gone',
    ],
  },
  {
    name: 'no timer E on a stream, timer F all the same',
    transport: 'tls',
    script: [[0, 'request']],
    log: ['0 send BYE', '32000 fault timeout unheard', '32000 gone'],
  },
  {
    name: 'Proceeding: E goes on with T2, F still runs',
    transport: 'udp',
    script: [
      [0, 'request'],
      [600, '100'],
    ],
    log: [
      '0 send BYE',
      '500 send BYE',
      '600 up 100',
      ...[1500, 5500, 9500, 13_500, 17_500, 21_500, 25_500, 29_500].map((at) => `${at} send BYE`),
      '32000 fault timeout heard',
      '32000 gone',
    ],
  },
  {
    name: 'Proceeding on a stream: F still runs',
    transport: 'tcp',
    script: [
      [0, 'request'],
      [600, '100'],
    ],
    log: ['0 send BYE', '600 up 100', '32000 fault timeout heard', '32000 gone'],
  },
  {
    name: 'a final response in Trying: repetitions absorbed until timer K',
    transport: 'udp',
    script: [
      [0, 'request'],
      [100, '200'],
      [600, '200'],
      [700, '100'],
      [800, '481'],
    ],
    log: ['0 send BYE', '100 up 200', '5100 gone'],
  },
  {
    name: 'a final response in Proceeding',
    transport: 'udp',
    script: [
      [0, 'request'],
      [100, '100'],
      [200, '481'],
    ],
    log: ['0 send BYE', '100 up 100', '200 up 481', '5200 gone'],
  },
  {
    name: 'timer K is 0 on a stream',
    transport: 'tcp',
    script: [
      [0, 'request'],
      [100, '200'],
      [200, '200'],
    ],
    log: ['0 send BYE', '100 up 200', '200 gone'],
  },
  {
    name: 'transport error in Trying',
    transport: 'udp',
    script: [
      [0, 'request'],
      [20, 'refused'],
    ],
    log: ['0 send BYE', '20 fault refused', '20 gone'],
  },
  {
    name: 'transport error in Proceeding',
    transport: 'tls',
    script: [
      [0, 'request'],
      [10, '100'],
      [20, 'tls'],
    ],
    log: ['0 send BYE', '10 up 100', '20 fault tls', '20 gone'],
  },
  {
    name: 'no fault after a final response',
    transport: 'udp',
    script: [
      [0, 'request'],
      [10, '200'],
      [20, 'refused'],
    ],
    log: ['0 send BYE', '10 up 200', '5010 gone'],
  },
  {
    name: 'cancel does nothing',
    transport: 'udp',
    script: [
      [0, 'request'],
      [10, '100'],
      [20, 'cancel'],
      [30, '200'],
    ],
    log: ['0 send BYE', '10 up 100', '30 up 200', '5030 gone'],
  },
];

describe('non-INVITE client', () => {
  it.each(rows)('$name ($transport)', (row) => {
    const bench = new Bench();
    const outlet = bench.newOutlet(row.transport);
    let cancel: () => void = () => undefined;
    const respond = (status: number) => () => bench.respond(bench.sent[0]!, status);
    play(bench, row.script, {
      request: () => {
        const transaction = bench.request('BYE', outlet);
        cancel = () => transaction.cancel('');
      },
      cancel: () => cancel(),
      '100': respond(100),
      '200': respond(200),
      '481': respond(481),
      refused: () => outlet.fail({ kind: 'refused', detail: 'ECONNREFUSED' }),
      tls: () => outlet.fail({ kind: 'tls', reason: 'expired', detail: 'certificate expired' }),
    });
    bench.untilGone();
    expect(bench.log).toEqual(row.log);
    expect(outlet.owners.size).toBe(0);
  });
});
