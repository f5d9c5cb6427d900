/** Which transaction a message belongs to: §17.1.3, §17.2.3, merged requests (§8.2.2.2), CANCEL (§9.2), RFC 2543. */
import { describe, expect, it } from 'vitest';
import { Bench, type Incoming, incoming, message, readResponse, responseTo, sourceOf } from './kit.js';

const OLD_VIA = 'SIP/2.0/UDP old.example.org:5080';

describe('responses (§17.1.3)', () => {
  const strays: readonly (readonly [string, (invite: string) => string])[] = [
    ['another branch', (invite) => responseTo(invite, 180, { branch: 'z9hG4bKunknown' })],
    ['another method in CSeq', (invite) => responseTo(invite, 180).replace('314 INVITE', '314 OPTIONS')],
    [
      'CANCEL in CSeq when none was sent',
      (invite) => responseTo(invite, 200).replace('314 INVITE', '314 CANCEL'),
    ],
    ['no branch', (invite) => responseTo(invite, 180).replace(/;branch=[^;\r]+/, '')],
    [
      'a second Via (§8.1.3.3)',
      (invite) =>
        responseTo(invite, 180).replace(
          '\r\nFrom:',
          '\r\nVia: SIP/2.0/UDP other:5060;branch=z9hG4bKx\r\nFrom:',
        ),
    ],
  ];

  it.each(strays)('drops one with %s', (_name, stray) => {
    const bench = new Bench();
    bench.request('INVITE', bench.newOutlet('udp'));
    bench.receive(stray(bench.sent[0]!));
    expect(bench.passedUp).toEqual([]);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: 0 }]);
    expect(bench.replies).toEqual([]);
    bench.receive(responseTo(bench.sent[0]!, 180));
    expect(bench.passedUp.map((response) => response.status)).toEqual([180]);
  });

  it('tells requests apart that differ in nothing but their branch', () => {
    const bench = new Bench();
    const outlet = bench.newOutlet('udp');
    bench.request('OPTIONS', outlet);
    bench.request('OPTIONS', outlet);
    bench.respond(bench.sent[1]!, 200);
    expect(bench.passedUp.length).toBe(1);
    bench.clock.advance(500);
    // The first is still waiting and repeats itself.
    expect(bench.sent.length).toBe(3);
    expect(bench.sent[2]).toBe(bench.sent[0]);
  });

  it('makes 100,000 branches, all different', () => {
    const bench = new Bench();
    const outlet = { ...bench.newOutlet('udp'), send: () => undefined, forget: () => undefined };
    const branches = new Set<string>();
    for (let i = 0; i < 100_000; i++) branches.add(bench.request('OPTIONS', outlet).branch);
    expect(branches.size).toBe(100_000);
  });
});

describe('requests (§17.2.3)', () => {
  const repeats: readonly (readonly [string, string, string])[] = [
    ['the same octets', incoming(), incoming()],
    ['another Call-ID, since the branch alone counts', incoming(), incoming({ callId: 'changed' })],
    [
      'RFC 2543: the same Request-URI, tags, Call-ID, CSeq and Via',
      incoming({ via: OLD_VIA }),
      incoming({ via: OLD_VIA }),
    ],
    [
      'RFC 2543 without From tag',
      incoming({ via: OLD_VIA, fromTag: '' }),
      incoming({ via: OLD_VIA, fromTag: '' }),
    ],
    [
      'a branch without the cookie',
      incoming({ via: `${OLD_VIA};branch=1` }),
      incoming({ via: `${OLD_VIA};branch=1` }),
    ],
  ];

  it.each(repeats)('recognises a retransmission: %s', (_name, first, second) => {
    const bench = new Bench();
    bench.receive(first);
    bench.incoming[0]!.respond(486, '', '', '');
    bench.receive(second);
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 486', '0 reply 486']);
  });

  const different: readonly (readonly [string, string, string])[] = [
    ['another branch', incoming({ callId: 'a' }), incoming({ callId: 'b', branch: 'z9hG4bKpeer2' })],
    ['another sent-by host', incoming(), incoming({ sentBy: '192.0.2.10:5080', cseq: 2 })],
    ['another sent-by port', incoming(), incoming({ sentBy: '192.0.2.9:5081', cseq: 2 })],
    ['no sent-by port', incoming(), incoming({ sentBy: '192.0.2.9', cseq: 2 })],
    ['another method', incoming(), incoming({ method: 'OPTIONS' })],
    ['RFC 2543, another CSeq', incoming({ via: OLD_VIA }), incoming({ via: OLD_VIA, cseq: 2 })],
    ['RFC 2543, another Call-ID', incoming({ via: OLD_VIA }), incoming({ via: OLD_VIA, callId: 'b' })],
    ['RFC 2543, another From tag', incoming({ via: OLD_VIA }), incoming({ via: OLD_VIA, fromTag: 'b' })],
    ['RFC 2543, a To tag', incoming({ via: OLD_VIA }), incoming({ via: OLD_VIA, toTag: 'b' })],
    [
      'RFC 2543, another Via',
      incoming({ via: OLD_VIA }),
      incoming({ via: 'SIP/2.0/UDP other.example.org', callId: 'b' }),
    ],
  ];

  it.each(different)('takes for a new request: %s', (_name, first, second) => {
    const bench = new Bench();
    bench.receive(first);
    bench.receive(second);
    expect(bench.incoming.length).toBe(2);
    expect(bench.replies).toEqual([]);
  });

  it('finds a retransmission that came from another port of the peer', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.incoming[0]!.respond(486, '', '', '');
    bench.layer.onMessage(incoming(), sourceOf('udp', '192.0.2.9', 6000), 'known');
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 486', '0 reply 486']);
    // … and answers where the request came from first, not where a forger would like it.
    expect(bench.replies[1]!.source.port).toBe(5080);
  });
});

describe('ACK', () => {
  it('of a 2xx goes up, with a branch of its own or that of the INVITE', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.incoming[0]!.respond(200, '', '', '', 'answer');
    bench.receive(incoming({ method: 'ACK', branch: 'z9hG4bKack', toTag: 'answer' }));
    bench.receive(incoming({ method: 'ACK', toTag: 'answer' }));
    expect(bench.acks.map((ack) => ack.to.tag)).toEqual(['answer', 'answer']);
  });

  it('that matches nothing goes up, and is never answered', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'ACK' }), 'udp', 'stranger');
    expect(bench.log).toEqual(['0 up ACK']);
    expect(bench.layer.size).toBe(0);
  });

  it.each([
    ['opens a dialog', undefined, 'ours'],
    ['stands in a dialog', 'dialog', 'dialog'],
  ])('of RFC 2543 ends an INVITE that %s', (_name, toTag, ackTag) => {
    const bench = new Bench();
    const via = OLD_VIA;
    bench.receive(incoming({ via, ...(toTag === undefined ? {} : { toTag }) }));
    bench.incoming[0]!.respond(486, '', '', '', 'ours');
    bench.receive(incoming({ via, method: 'ACK', toTag: 'else' }));
    expect(bench.log.at(-1)).toBe('0 up ACK');
    bench.receive(incoming({ via, method: 'ACK', toTag: ackTag }));
    bench.untilGone();
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 486', '0 up ACK', '5000 gone']);
  });

  it('of RFC 2543 for a 2xx goes up', () => {
    const bench = new Bench();
    bench.receive(incoming({ via: OLD_VIA }));
    bench.incoming[0]!.respond(200, '', '', '', 'ours');
    bench.receive(incoming({ via: OLD_VIA, method: 'ACK', toTag: 'ours' }));
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 200', '0 up ACK']);
  });
});

describe('CANCEL (§9.2)', () => {
  it('without its INVITE is answered 481 and leaves nothing', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'CANCEL' }));
    expect(bench.log).toEqual(['0 reply 481']);
    expect(bench.layer.size).toBe(0);
  });

  it('does not cancel another method with that branch', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'OPTIONS' }));
    bench.receive(incoming({ method: 'CANCEL' }));
    expect(bench.log).toEqual(['0 up OPTIONS', '0 reply 481']);
  });

  it('of RFC 2543', () => {
    const bench = new Bench();
    bench.receive(incoming({ via: OLD_VIA }));
    bench.receive(incoming({ via: OLD_VIA, method: 'CANCEL' }));
    bench.receive(incoming({ via: OLD_VIA, method: 'CANCEL', cseq: 2 }));
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 200', '0 up CANCEL', '0 reply 481']);
  });

  it('is neither merged nor taken for its INVITE', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.receive(incoming({ method: 'CANCEL', branch: 'z9hG4bKelse' }));
    expect(readResponse(bench.replies[0]!.octets).status).toBe(481);
  });
});

describe('merged requests (§8.2.2.2)', () => {
  it.each(['INVITE', 'OPTIONS', 'MESSAGE'])('%s by two ways: 482 for the second', (method) => {
    const bench = new Bench();
    bench.receive(incoming({ method }));
    bench.receive(incoming({ method, branch: 'z9hG4bKsecond' }));
    expect(bench.log).toEqual([`0 up ${method}`, '0 reply 482']);
    const rejected = readResponse(bench.replies[0]!.octets);
    expect(rejected.topVia.branch).toBe('z9hG4bKsecond');
    expect(rejected.to.tag).toBeDefined();
    expect(bench.layer.size).toBe(1);
    // A statelessly answered request is answered alike when it comes again (§8.2.7).
    bench.receive(incoming({ method, branch: 'z9hG4bKsecond' }));
    expect(bench.replies[1]!.octets).toBe(bench.replies[0]!.octets);
  });

  it.each<[string, Incoming, Incoming]>([
    ['inside a dialog', {}, { toTag: 'dialog' }],
    ['with another CSeq', { cseq: 1 }, { cseq: 2 }],
    ['with another From tag', { fromTag: 'one' }, { fromTag: 'two' }],
    ['with another Call-ID', { callId: 'one' }, { callId: 'two' }],
    ['with another method', { method: 'OPTIONS' }, { method: 'INFO' }],
  ])('is not seen %s', (_name, first, second) => {
    const bench = new Bench();
    bench.receive(incoming(first));
    bench.receive(incoming({ ...second, branch: 'z9hG4bKsecond' }));
    expect(bench.incoming.length).toBe(2);
  });

  it.each(['INVITE', 'OPTIONS'])('%s: seen after a 2xx, not after a rejection', (method) => {
    for (const [status, seen] of [
      [200, true],
      [503, false],
    ] as const) {
      const bench = new Bench();
      bench.receive(incoming({ method }));
      bench.incoming[0]!.respond(status, '', '', '');
      bench.receive(incoming({ method, branch: 'z9hG4bKsecond' }));
      expect(bench.log.at(-1)).toBe(seen ? '0 reply 482' : `0 up ${method}`);
    }
  });

  it('is forgotten with the transaction', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'OPTIONS' }));
    bench.incoming[0]!.respond(200, '', '', '');
    bench.untilGone();
    bench.receive(incoming({ method: 'OPTIONS', branch: 'z9hG4bKsecond' }));
    expect(bench.incoming.length).toBe(2);
  });
});

it('a message that is neither leaves no trace but a notice', () => {
  const bench = new Bench();
  for (const octets of ['', '\r\n\r\n', 'hello', '\0'.repeat(100), message('SIP/2.0 999 No', ['Via: x'])]) {
    bench.receive(octets);
  }
  expect(bench.log).toEqual([]);
  expect(bench.notices.every((notice) => notice.kind === 'rejected' && notice.status === 0)).toBe(true);
});
