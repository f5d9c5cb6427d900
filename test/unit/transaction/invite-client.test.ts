/** The INVITE client machine: figure 5 of RFC 3261 as amended by RFC 6026 figure 4, and CANCEL (§9.1). */

import { describe, expect, it } from 'vitest';
import type { TransportName } from '#engine/engine.js';
import { Bench, HEAD, play, readRequest } from './kit.js';

interface Row {
  readonly name: string;
  readonly transport: TransportName;
  readonly script: readonly (readonly [number, string])[];
  readonly log: readonly string[];
}

const A_UNTIL_B = [
  '0 send INVITE',
  '500 send INVITE',
  '1500 send INVITE',
  '3500 send INVITE',
  '7500 send INVITE',
  '15500 send INVITE',
  '31500 send INVITE',
];

const rows: readonly Row[] = [
  {
    name: 'timers A and B: sent again at doubled intervals, given up after 64*T1',
    transport: 'udp',
    script: [[0, 'invite']],
    log: [...A_UNTIL_B, '32000 fault timeout unheard', '32000 gone'],
  },
  {
    name: 'no timer A on a stream, timer B all the same',
    transport: 'tcp',
    script: [[0, 'invite']],
    log: ['0 send INVITE', '32000 fault timeout unheard', '32000 gone'],
  },
  {
    name: 'a provisional response stops A and B, and nothing bounds Proceeding',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [600, '100'],
      [900, '180'],
      [100_000, '183'],
    ],
    log: ['0 send INVITE', '500 send INVITE', '600 up 100', '900 up 180', '100000 up 183', '100000 stays'],
  },
  {
    name: '2xx: Accepted, further 2xx passed up, everything else absorbed until timer M',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [100, '200'],
      [600, '200'],
      [700, '200 of another fork'],
      [800, '180'],
      [900, '486'],
      [32_090, '200'],
      [32_200, '200'],
    ],
    log: [
      '0 send INVITE',
      '100 up 200',
      '600 up 200',
      '700 up 200',
      '32090 up 200',
      // 32100: timer M
      '32200 gone',
    ],
  },
  {
    name: 'timer M runs on a stream too',
    transport: 'tls',
    script: [
      [0, 'invite'],
      [0, '180'],
      [100, '200'],
    ],
    log: ['0 send INVITE', '0 up 180', '100 up 200', '32100 gone'],
  },
  {
    name: 'final non-2xx: ACK, again for each retransmission, until timer D',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [100, '486'],
      [600, '486'],
      [700, '180'],
      [800, '200'],
      [32_090, '486'],
      [32_200, '486'],
    ],
    log: [
      '0 send INVITE',
      '100 send ACK',
      '100 up 486',
      '600 send ACK',
      '32090 send ACK',
      // 32100: timer D
      '32200 gone',
    ],
  },
  {
    name: 'timer D is 0 on a stream',
    transport: 'tcp',
    script: [
      [0, 'invite'],
      [50, '100'],
      [100, '503'],
      [200, '503'],
    ],
    log: ['0 send INVITE', '50 up 100', '100 send ACK', '100 up 503', '200 gone'],
  },
  {
    name: 'transport error in Calling',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [10, 'refused'],
      [20, '180'],
    ],
    log: ['0 send INVITE', '10 fault refused', '20 gone'],
  },
  {
    name: 'transport error in Proceeding',
    transport: 'tcp',
    script: [
      [0, 'invite'],
      [10, '180'],
      [20, 'flow-lost'],
    ],
    log: ['0 send INVITE', '10 up 180', '20 fault flow-lost', '20 gone'],
  },
  {
    name: 'the connection may close once a final response is there',
    transport: 'tcp',
    script: [
      [0, 'invite'],
      [10, '200'],
      [20, 'flow-lost'],
    ],
    log: ['0 send INVITE', '10 up 200', '32010 gone'],
  },
  {
    name: 'CANCEL waits for the first provisional response',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [100, 'cancel'],
      [200, 'cancel'],
      [700, '100'],
      [710, '180'],
      [720, '200 of the CANCEL'],
      [730, '487'],
    ],
    log: [
      '0 send INVITE',
      '500 send INVITE',
      '700 send CANCEL',
      '700 up 100',
      '710 up 180',
      '730 send ACK',
      '730 up 487',
      '32730 gone',
    ],
  },
  {
    name: 'CANCEL wanted but nothing heard: timer B ends it, and no CANCEL leaves',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [100, 'cancel'],
    ],
    log: [...A_UNTIL_B, '32000 fault timeout unheard', '32000 gone'],
  },
  {
    name: 'CANCEL wanted and answered before a provisional response: no CANCEL leaves',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [100, 'cancel'],
      [200, '200'],
    ],
    log: ['0 send INVITE', '200 up 200', '32200 gone'],
  },
  {
    name: 'CANCEL without final response: 64*T1, counted from the CANCEL',
    transport: 'tcp',
    script: [
      [0, 'invite'],
      [10, '180'],
      [50_000, 'cancel'],
      [50_010, '200 of the CANCEL'],
      [60_000, '180'],
    ],
    log: [
      '0 send INVITE',
      '10 up 180',
      '50000 send CANCEL',
      '60000 up 180',
      '82000 fault timeout heard',
      '82000 gone',
    ],
  },
  {
    name: 'CANCEL is sent again by timer E while unanswered',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [0, '180'],
      [1000, 'cancel'],
      [3000, '200 of the CANCEL'],
      [3100, '487'],
    ],
    log: [
      '0 send INVITE',
      '0 up 180',
      '1000 send CANCEL',
      '1500 send CANCEL',
      '2500 send CANCEL',
      '3100 send ACK',
      '3100 up 487',
      '35100 gone',
    ],
  },
  {
    name: 'a 2xx that crosses the CANCEL is passed up',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [0, '180'],
      [1000, 'cancel'],
      [1010, '200'],
      [1020, '200 of the CANCEL'],
      [1500, '200'],
    ],
    log: ['0 send INVITE', '0 up 180', '1000 send CANCEL', '1010 up 200', '1500 up 200', '33010 gone'],
  },
  {
    name: 'cancel after a final response does nothing',
    transport: 'udp',
    script: [
      [0, 'invite'],
      [10, '486'],
      [20, 'cancel'],
    ],
    log: ['0 send INVITE', '10 send ACK', '10 up 486', '32010 gone'],
  },
];

function run(bench: Bench, row: Row): void {
  const outlet = bench.newOutlet(row.transport);
  let cancel: () => void = () => undefined;
  const respond = (status: number, toTag?: string) => () =>
    bench.respond(bench.sent[0]!, status, toTag === undefined ? {} : { toTag });
  play(bench, row.script, {
    invite: () => {
      const transaction = bench.request('INVITE', outlet);
      cancel = () => transaction.cancel('Reason: SIP;cause=200\r\n');
    },
    cancel: () => cancel(),
    '100': respond(100),
    '180': respond(180),
    '183': respond(183),
    '200': respond(200),
    '486': respond(486),
    '487': respond(487),
    '503': respond(503),
    '200 of another fork': respond(200, 'fork'),
    '200 of the CANCEL': () => bench.respond(bench.sent.find((octets) => octets.startsWith('CANCEL'))!, 200),
    refused: () => outlet.fail({ kind: 'refused', detail: 'ECONNREFUSED' }),
    'flow-lost': () => outlet.fail({ kind: 'flow-lost', detail: 'closed' }),
  });
  bench.untilGone();
  expect(outlet.owners.size).toBe(row.log.some((line) => line.endsWith('stays')) ? 1 : 0);
}

describe('INVITE client', () => {
  it.each(rows)('$name ($transport)', (row) => {
    const bench = new Bench();
    run(bench, row);
    expect(bench.log).toEqual(row.log);
  });

  it('repeats the very same octets', () => {
    const bench = new Bench();
    bench.request('INVITE', bench.newOutlet('udp'), {}, 'v=0\r\n');
    bench.clock.advance(32_000);
    expect(bench.sent.length).toBe(7);
    expect(new Set(bench.sent).size).toBe(1);
  });

  it('writes the request with the fields that §8.1.1 wants', () => {
    const bench = new Bench();
    const transaction = bench.request('INVITE', bench.newOutlet('udp'), {}, 'v=0\r\n');
    expect(bench.sent[0]).toBe(
      [
        'INVITE sip:agent@192.0.2.9:5080 SIP/2.0',
        `Via: SIP/2.0/UDP 192.0.2.1:5060;branch=${transaction.branch};rport`,
        'Route: <sip:proxy.example.com;lr>',
        'Max-Forwards: 69',
        'From: <sip:+14155550100@example.com>;tag=ours',
        'To: <sip:agent@example.com>',
        'Call-ID: call-1',
        'CSeq: 314 INVITE',
        'Contact: <sip:192.0.2.1:5060>',
        'Supported: 100rel',
        'Content-Length: 5',
        '',
        'v=0\r\n',
      ].join('\r\n'),
    );
    expect(transaction.branch).toMatch(/^z9hG4bK[a-z0-9]{8,}\.[a-z0-9]+$/);
  });

  it('acknowledges a final non-2xx with the To of the response and the rest of the INVITE (§17.1.1.3)', () => {
    const bench = new Bench();
    bench.request('INVITE', bench.newOutlet('udp'));
    bench.respond(bench.sent[0]!, 404, { toTag: 'not-here' });
    const invite = readRequest(bench.sent[0]!);
    expect(bench.sent[1]).toBe(
      [
        `ACK ${HEAD.uri} SIP/2.0`,
        `Via: ${invite.headers.get('via')}`,
        'Route: <sip:proxy.example.com;lr>',
        'Max-Forwards: 69',
        `From: ${HEAD.from}`,
        'To: <sip:agent@example.com>;tag=not-here',
        'Call-ID: call-1',
        'CSeq: 314 ACK',
        'Content-Length: 0',
        '',
        '',
      ].join('\r\n'),
    );
  });

  it('cancels with the branch, tags and CSeq number of the INVITE and the To without tag (§9.1)', () => {
    const bench = new Bench();
    const transaction = bench.request('INVITE', bench.newOutlet('udp'));
    bench.respond(bench.sent[0]!, 180);
    transaction.cancel('Reason: Q.850;cause=16\r\n');
    const invite = readRequest(bench.sent[0]!);
    expect(bench.sent[1]).toBe(
      [
        `CANCEL ${HEAD.uri} SIP/2.0`,
        `Via: ${invite.headers.get('via')}`,
        'Route: <sip:proxy.example.com;lr>',
        'Max-Forwards: 69',
        `From: ${HEAD.from}`,
        `To: ${HEAD.to}`,
        'Call-ID: call-1',
        'CSeq: 314 CANCEL',
        'Reason: Q.850;cause=16',
        'Content-Length: 0',
        '',
        '',
      ].join('\r\n'),
    );
  });

  it('can be cancelled from the callback of its first provisional response', () => {
    const bench = new Bench();
    const heard: number[] = [];
    const started = bench.layer.request(HEAD, '', '', bench.newOutlet('udp'), {
      onResponse: (response) => {
        heard.push(response.status);
        if (!('kind' in started)) started.cancel('');
      },
      onFault: () => undefined,
    });
    bench.respond(bench.sent[0]!, 180);
    bench.respond(bench.sent[0]!, 183);
    expect(bench.log).toEqual(['0 send INVITE', '0 send CANCEL']);
    expect(heard).toEqual([180, 183]);
  });

  it('names the transport in Via, and asks for rport on UDP only', () => {
    for (const [transport, via] of [
      ['udp', /^SIP\/2\.0\/UDP 192\.0\.2\.1:5060;branch=[^;]+;rport$/],
      ['tcp', /^SIP\/2\.0\/TCP 192\.0\.2\.1:5060;branch=[^;]+$/],
      ['tls', /^SIP\/2\.0\/TLS 192\.0\.2\.1:5061;branch=[^;]+$/],
    ] as const) {
      const bench = new Bench();
      bench.request('INVITE', bench.newOutlet(transport));
      expect(readRequest(bench.sent[0]!).headers.get('via')).toMatch(via);
    }
  });
});
