/** The INVITE server machine: figure 7 of RFC 3261 as amended by RFC 6026 figure 5, CANCEL, and strangers. */

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
    name: '100 by itself after 200 ms, and again for each retransmission',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [100, 'INVITE'],
      [500, 'INVITE'],
    ],
    // At 100 nothing has been sent yet, so there is nothing to repeat.
    log: ['0 up INVITE', '200 reply 100', '500 reply 100', '500 stays'],
  },
  {
    name: 'no 100 when the user was faster',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [150, '180'],
      [500, 'INVITE'],
      [600, '183'],
      [1500, 'INVITE'],
    ],
    log: ['0 up INVITE', '150 reply 180', '500 reply 180', '600 reply 183', '1500 reply 183', '1500 stays'],
  },
  {
    name: '2xx: retransmissions absorbed, the 2xx repeated by the user only, until timer L',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [100, '200'],
      [500, 'INVITE'],
      [600, 'resend'],
      [650, '200'],
      [660, '486'],
      [670, '180'],
      [700, 'ACK'],
      [800, 'CANCEL'],
      [32_090, 'INVITE'],
    ],
    log: ['0 up INVITE', '100 reply 200', '600 reply 200', '700 up ACK', '800 reply 200', '32800 gone'],
  },
  {
    name: 'timer L runs on a stream too',
    transport: 'tcp',
    script: [
      [0, 'INVITE'],
      [100, '200'],
      [120, 'ACK'],
    ],
    log: ['0 up INVITE', '100 reply 200', '120 up ACK', '32100 gone'],
  },
  {
    name: 'final non-2xx: timers G and H',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [0, '486'],
    ],
    log: [
      '0 up INVITE',
      '0 reply 486',
      ...[500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500].map(
        (at) => `${at} reply 486`,
      ),
      '32000 lost: final response never acknowledged (timer H)',
      '32000 gone',
    ],
  },
  {
    name: 'no timer G on a stream, timer H all the same',
    transport: 'tcp',
    script: [
      [0, 'INVITE'],
      [0, '486'],
      [100, 'INVITE'],
    ],
    log: [
      '0 up INVITE',
      '0 reply 486',
      '100 reply 486',
      '32000 lost: final response never acknowledged (timer H)',
      '32000 gone',
    ],
  },
  {
    name: 'ACK: Confirmed, everything absorbed until timer I',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [100, '486'],
      [300, 'INVITE'],
      [700, 'ACK'],
      [800, 'ACK'],
      [900, 'INVITE'],
      [1000, 'resend'],
      [5690, 'ACK'],
    ],
    log: ['0 up INVITE', '100 reply 486', '300 reply 486', '600 reply 486', '5700 gone'],
  },
  {
    name: 'timer I is 0 on a stream',
    transport: 'tls',
    script: [
      [0, 'INVITE'],
      [100, '603'],
      [200, 'ACK'],
    ],
    log: ['0 up INVITE', '100 reply 603', '200 gone'],
  },
  {
    name: 'an ACK before any final response is absorbed',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [10, '180'],
      [20, 'ACK'],
    ],
    log: ['0 up INVITE', '10 reply 180', '20 stays'],
  },
  {
    name: 'CANCEL: 200, and the user answers the INVITE',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [100, '180'],
      [1000, 'CANCEL'],
      [1000, '487'],
      [1100, 'ACK'],
      [1500, 'CANCEL'],
      // The INVITE is gone (timer I at 6100); the CANCEL is still known until timer J.
      [10_000, 'CANCEL'],
    ],
    log: [
      '0 up INVITE',
      '100 reply 180',
      '1000 reply 200',
      '1000 up CANCEL',
      '1000 reply 487',
      '1500 reply 200',
      '10000 reply 200',
      '33000 gone',
    ],
  },
  {
    name: 'CANCEL again before the user has answered: told once',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [100, 'CANCEL'],
      [120, 'CANCEL'],
      [130, 'CANCEL on another branch of nothing'],
    ],
    log: [
      '0 up INVITE',
      '100 reply 200',
      '100 up CANCEL',
      '120 reply 200',
      '130 reply 481',
      '200 reply 100',
      '32100 stays',
    ],
  },
  {
    name: 'CANCEL on a stream twice (timer J is 0 there): told once',
    transport: 'tcp',
    script: [
      [0, 'INVITE'],
      [100, 'CANCEL'],
      [120, 'CANCEL'],
    ],
    log: ['0 up INVITE', '100 reply 200', '100 up CANCEL', '120 reply 200', '200 reply 100', '200 stays'],
  },
  {
    name: 'CANCEL after a final non-2xx has no effect',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [10, '486'],
      [20, 'CANCEL'],
      [30, 'ACK'],
    ],
    log: ['0 up INVITE', '10 reply 486', '20 reply 200', '32020 gone'],
  },
  {
    name: 'a reliable provisional response is sent again by the user',
    transport: 'udp',
    script: [
      [0, 'INVITE'],
      [10, '183'],
      [510, 'resend'],
      [600, '486'],
      [610, 'resend'],
      [620, 'ACK'],
    ],
    log: ['0 up INVITE', '10 reply 183', '510 reply 183', '600 reply 486', '5620 gone'],
  },
  {
    name: "a stranger's final response goes once and leaves nothing",
    transport: 'udp',
    standing: 'stranger',
    script: [
      [0, 'INVITE'],
      [1000, 'INVITE'],
      [2000, '403'],
      [2100, 'ACK'],
      [2200, '403'],
      [2500, 'INVITE'],
      [2500, '403'],
    ],
    log: [
      '0 up INVITE',
      '2000 reply 403',
      // The dialog layer knows no such dialog and is silent.
      '2100 up ACK',
      '2500 up INVITE',
      '2500 reply 403',
      '2500 gone',
    ],
  },
  {
    name: 'a stranger that gets a provisional response is known from then on',
    transport: 'udp',
    standing: 'stranger',
    script: [
      [0, 'INVITE'],
      [1000, '180'],
      [1500, 'INVITE'],
      [2000, '486'],
      [2600, 'ACK'],
    ],
    log: ['0 up INVITE', '1000 reply 180', '1500 reply 180', '2000 reply 486', '2500 reply 486', '7600 gone'],
  },
  {
    name: 'a stranger that gets a 2xx is known from then on',
    transport: 'udp',
    standing: 'stranger',
    script: [
      [0, 'INVITE'],
      [1000, '200'],
      [1500, 'resend'],
      [1600, 'ACK'],
    ],
    log: ['0 up INVITE', '1000 reply 200', '1500 reply 200', '1600 up ACK', '33000 gone'],
  },
  {
    name: "a stranger's CANCEL",
    transport: 'udp',
    standing: 'stranger',
    script: [
      [0, 'INVITE'],
      [1000, 'CANCEL'],
      [1000, '487'],
      [1500, 'CANCEL'],
    ],
    log: ['0 up INVITE', '1000 reply 200', '1000 up CANCEL', '1000 reply 487', '1500 reply 481', '1500 gone'],
  },
];

/** Enough optional header fields that any short answer fits into what came. */
const ROOMY = { more: ['Contact: <sip:caller@192.0.2.9:5080>', 'User-Agent: somebody', 'Supported: timer'] };

function run(bench: Bench, row: Row): void {
  const { transport, standing = 'known' } = row;
  let last = '';
  const respond = (status: number) => () => {
    const octets = bench.incoming.at(-1)!.respond(status, '', '', '');
    if (octets !== '') last = octets;
  };
  const receive = (method: string, branch?: string) => () =>
    bench.receive(
      incoming({ ...ROOMY, method, transport, ...(branch === undefined ? {} : { branch }) }),
      transport,
      standing,
    );
  play(bench, row.script, {
    INVITE: receive('INVITE'),
    ACK: receive('ACK'),
    CANCEL: receive('CANCEL'),
    'CANCEL on another branch of nothing': receive('CANCEL', 'z9hG4bKother'),
    resend: () => bench.incoming.at(-1)!.resend(last),
    '180': respond(180),
    '183': respond(183),
    '200': respond(200),
    '403': respond(403),
    '486': respond(486),
    '487': respond(487),
    '603': respond(603),
  });
  bench.untilGone();
}

describe('INVITE server', () => {
  it.each(rows)('$name ($transport)', (row) => {
    const bench = new Bench();
    run(bench, row);
    expect(bench.log).toEqual(row.log);
  });

  it('copies what §8.2.6.2 says and adds one To tag to all but the 100', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.clock.advance(200);
    const transaction = bench.incoming[0]!;
    transaction.respond(180, 'Ringing', 'X-A: 1\r\n', '');
    transaction.respond(486, 'Busy Here', '', 'body');
    const common = (tag: string): string[] => [
      'Via: SIP/2.0/UDP 192.0.2.9:5080;branch=z9hG4bKpeer1',
      'From: "Caller" <sip:caller@example.org>;tag=caller',
      `To: <sip:+14155550100@example.com>${tag}`,
      'Call-ID: in-1@example.org',
      'CSeq: 1 INVITE',
    ];
    const tag = `;tag=${transaction.localTag}`;
    expect(transaction.localTag.length).toBeGreaterThanOrEqual(8);
    expect(bench.replies.map((reply) => reply.octets)).toEqual([
      ['SIP/2.0 100 Trying', ...common(''), 'Content-Length: 0', '', ''].join('\r\n'),
      ['SIP/2.0 180 Ringing', ...common(tag), 'X-A: 1', 'Content-Length: 0', '', ''].join('\r\n'),
      ['SIP/2.0 486 Busy Here', ...common(tag), 'Content-Length: 4', '', 'body'].join('\r\n'),
    ]);
  });

  it('takes the tag that the user names, and keeps the one that the request has', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.incoming[0]!.respond(183, '', '', '', 'fork-1');
    bench.incoming[0]!.respond(200, '', '', '', 'fork-2');
    bench.receive(incoming({ branch: 'z9hG4bKagain', toTag: 'dialog', cseq: 2 }));
    bench.incoming[1]!.respond(200, '', '', '', 'ignored');
    expect(bench.incoming[1]!.localTag).toBe('dialog');
    expect(bench.replies.map((reply) => readResponse(reply.octets).to.tag)).toEqual([
      'fork-1',
      'fork-2',
      'dialog',
    ]);
  });

  it('answers the CANCEL with the tag of the INVITE (§9.2)', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.receive(incoming({ method: 'CANCEL' }));
    bench.incoming[0]!.respond(487, '', '', '');
    const [ok, terminated] = bench.replies.map((reply) => readResponse(reply.octets));
    expect([ok!.status, ok!.cseq.method]).toEqual([200, 'CANCEL']);
    expect([terminated!.status, terminated!.cseq.method]).toEqual([487, 'INVITE']);
    expect(ok!.to.tag).toBe(terminated!.to.tag);
  });

  it('answers a cancelled INVITE itself when nobody listens', () => {
    const bench = new Bench();
    bench.listens = false;
    bench.receive(incoming());
    bench.receive(incoming({ method: 'CANCEL' }));
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 200', '0 reply 487']);
  });

  it('copies Timestamp into the 100, with the delay (§8.2.6.1)', () => {
    const bench = new Bench();
    bench.receive(incoming({ more: ['Timestamp: 54.21'] }));
    bench.clock.advance(200);
    bench.receive(incoming({ more: ['Timestamp: 7'], branch: 'z9hG4bKb', callId: 'b' }));
    bench.incoming[1]!.respond(100, 'Trying', '', '');
    bench.incoming[1]!.respond(180, 'Ringing', '', '');
    expect(bench.replies.map((reply) => readResponse(reply.octets).to.tag !== undefined)).toEqual([
      false,
      false,
      true,
    ]);
    expect(bench.replies.map((reply) => readResponse(reply.octets).headers.get('timestamp'))).toEqual([
      '54.21 0.2',
      '7',
      undefined,
    ]);
  });

  it.each([0, 99, 700, 1000, 200.5, Number.NaN])('never sends the status %d', (status) => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.incoming[0]!.respond(status, 'Nonsense', 'X-A: 1\r\n', 'b');
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 500']);
  });

  it('answers inside onRequest', () => {
    const bench = new Bench();
    bench.onNew = (transaction) => transaction.respond(404, 'Not Found', '', '');
    bench.receive(incoming());
    bench.receive(incoming({ method: 'ACK' }));
    bench.untilGone();
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 404', '5000 gone']);
  });
});
