/** What is answered without a transaction: faults, strangers' byte rule, the bound, streams that lost their framing. */

import { describe, expect, it } from 'vitest';
import type { TransportName } from '#engine/engine.js';
import { Bench, incoming, message, readResponse, sourceOf } from './kit.js';

const LONG = ['Contact: <sip:caller@192.0.2.9:5080>', `User-Agent: ${'x'.repeat(200)}`];

describe('faulty requests', () => {
  const twice = (name: string): string =>
    incoming({ more: LONG }).replace(new RegExp(`(${name}: [^\\r]+\\r\\n)`), '$1$1');

  it.each(['From', 'To', 'Call-ID', 'CSeq', 'Content-Length'])('400 for a doubled %s, once', (name) => {
    const bench = new Bench();
    bench.receive(twice(name));
    expect(bench.log).toEqual(['0 reply 400']);
    const answer = readResponse(bench.replies[0]!.octets);
    expect(answer.reason.toLowerCase()).toContain(name.toLowerCase());
    expect(answer.callId).toBe('in-1@example.org');
    expect(bench.layer.size).toBe(0);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: 400, malformed: true }]);
  });

  it('505 for another version', () => {
    const bench = new Bench();
    bench.receive(incoming({ more: LONG }).replace('SIP/2.0\r\n', 'SIP/7.0\r\n'));
    expect(bench.log).toEqual(['0 reply 505']);
  });

  it('silence when there is no Via to answer by', () => {
    const bench = new Bench();
    bench.receive(incoming({ more: LONG }).replace(/Via: [^\r]+\r\n/, ''));
    expect(bench.log).toEqual([]);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: 0, malformed: true }]);
  });

  it.each(['\0', 'jaK', 'keep-alive\r\n'])('%j keeps a way open, and is no attempt at SIP', (octets) => {
    const bench = new Bench();
    bench.receive(octets);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: 0, malformed: false }]);
  });

  it.each(['From', 'To', 'Call-ID', 'CSeq'])('400 with what there is when %s is missing', (name) => {
    const bench = new Bench();
    bench.receive(incoming({ more: LONG }).replace(new RegExp(`${name}: [^\\r]+\\r\\n`), ''));
    expect(bench.replies.length).toBe(1);
    const { octets } = bench.replies[0]!;
    expect(octets).toMatch(/^SIP\/2\.0 400 /);
    for (const other of ['From', 'To', 'Call-ID', 'CSeq']) {
      expect(octets.includes(`\r\n${other}: `), other).toBe(other !== name);
    }
    expect(octets.endsWith('\r\nContent-Length: 0\r\n\r\n')).toBe(true);
  });

  it('400 with the Via as it came when it cannot be read', () => {
    const bench = new Bench();
    bench.receive(
      incoming({ more: LONG }).replace(/Via: [^\r]+\r\n/, 'Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n'),
    );
    expect(bench.replies[0]?.octets).toMatch(
      /^SIP\/2\.0 400 .*\r\nVia: SIP\/2\.0\/UDP 192\.0\.2\.15;;,;,,\r\n/,
    );
  });

  it('never an answer to an ACK', () => {
    const bench = new Bench();
    const octets = incoming({ method: 'ACK', more: LONG });
    bench.receive(octets.replace('Call-ID: ', 'Call-ID: other\r\nCall-ID: '));
    bench.receive(octets.replace('SIP/2.0\r\n', 'SIP/3.0\r\n'));
    expect(bench.log).toEqual([]);
    expect(bench.notices.length).toBe(2);
  });

  it('never an answer to a response', () => {
    const bench = new Bench();
    bench.request('INVITE', bench.newOutlet('udp'));
    const lines = ['Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx', 'From: <sip:a@b>', 'To: <sip:c@d>'];
    bench.receive(message('SIP/2.0 200 OK', [...lines, 'Call-ID: a', 'Call-ID: b', 'CSeq: 314 INVITE']));
    bench.receive(message('SIP/2.0 999 No', [...lines, 'Call-ID: a', 'CSeq: 314 INVITE']));
    expect(bench.replies).toEqual([]);
    expect(bench.passedUp).toEqual([]);
  });

  it.each<[TransportName, 'known' | 'stranger', number]>([
    ['udp', 'known', 1],
    ['udp', 'stranger', 0],
    ['tcp', 'stranger', 0],
    ['tcp', 'known', 1],
  ])('%s, %s: %d answers when none is as short as the request', (transport, standing, count) => {
    const bench = new Bench();
    // Content-Length once more: short, and the answer would add a To tag.
    const octets = `OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:b>\r\nTo: <sip:c>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\nl: 0\r\n\r\n`;
    bench.receive(octets, transport, standing);
    expect(bench.replies.length).toBe(count);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: count === 0 ? 0 : 400 }]);
  });
});

describe("strangers' byte rule", () => {
  const RESPONSE_LINES = `Reason: X;text="${'y'.repeat(100)}"\r\n`;

  /** Requests from short to long by one octet each; the answer must never be longer. */
  it('never sends more than came, and drops lines first, the phrase next', () => {
    const shapes = new Set<string>();
    for (let pad = 0; pad < 400; pad++) {
      const bench = new Bench();
      const octets = `OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:b>;tag=1\r\nt: <sip:c>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nX: ${'z'.repeat(pad)}\r\n\r\n`;
      bench.receive(octets, 'udp', 'stranger');
      const returned = bench.incoming[0]!.respond(403, 'Forbidden', RESPONSE_LINES, 'body');
      expect(bench.layer.size).toBe(0);
      if (returned === '') {
        expect(bench.replies).toEqual([]);
        shapes.add('silence');
        continue;
      }
      expect(bench.replies.map((reply) => reply.octets)).toEqual([returned]);
      expect(returned.length).toBeLessThanOrEqual(octets.length);
      const answer = readResponse(returned);
      shapes.add(
        `${answer.reason === '' ? 'no phrase' : 'phrase'}${answer.headers.has('reason') ? ' and lines' : ''}`,
      );
    }
    expect([...shapes]).toEqual(['silence', 'no phrase', 'phrase', 'phrase and lines']);
  });

  it('drops first what may be left out, then writes what is left as short as can be', () => {
    const shapes = new Set<string>();
    const [first, second] = [`X-First: ${'a'.repeat(40)}\r\n`, `X-Second: ${'b'.repeat(40)}\r\n`];
    for (let pad = 0; pad < 400; pad++) {
      const bench = new Bench();
      const octets = `INVITE sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:b>;tag=1\r\nt: <sip:c>\r\ni: 1\r\nCSeq: 1 INVITE\r\nX: ${'z'.repeat(pad)}\r\n\r\n`;
      bench.receive(octets, 'udp', 'stranger');
      const returned = bench.incoming[0]!.respond(401, '', first + second, '', undefined, second);
      expect(bench.layer.size).toBe(0);
      expect(returned.length).toBeLessThanOrEqual(octets.length);
      if (returned === '') continue;
      const { reason, headers } = readResponse(returned);
      const shape = ['x-first', 'x-second'].filter((name) => headers.has(name));
      shapes.add([reason === '' ? 'no phrase' : 'phrase', ...shape].join(' '));
      for (const name of ['via', 'from', 'to', 'call-id', 'cseq']) expect(headers.has(name)).toBe(true);
    }
    expect([...shapes]).toEqual([
      'no phrase',
      'phrase',
      'no phrase x-second',
      'phrase x-second',
      'phrase x-first x-second',
    ]);
  });

  it('is for datagrams: a stream leads to whom it says', () => {
    const bench = new Bench();
    const octets = incoming({ method: 'OPTIONS' });
    bench.receive(octets, 'tcp', 'stranger');
    const returned = bench.incoming[0]!.respond(403, 'Forbidden', RESPONSE_LINES.repeat(5), '');
    expect(returned.length).toBeGreaterThan(octets.length);
    expect(bench.replies.map((reply) => reply.octets)).toEqual([returned]);
    expect(bench.layer.size).toBe(0);
  });

  it('answers a repeated request with the same tag (§8.2.7)', () => {
    const bench = new Bench();
    bench.onNew = (transaction) => transaction.respond(403, '', '', '');
    bench.receive(incoming({ more: LONG }), 'udp', 'stranger');
    bench.receive(incoming({ more: LONG }), 'udp', 'stranger');
    expect(bench.replies.length).toBe(2);
    expect(bench.replies[0]!.octets).toBe(bench.replies[1]!.octets);
  });

  it('holds for the 481, the 482 and the 503 too', () => {
    const cut = (method: string, branch: string): string =>
      `${method} sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK${branch}\r\nFrom: <sip:b>;tag=1\r\nTo: <sip:c>\r\nCall-ID: 1\r\nCSeq: 1 ${method}\r\n\r\n`;
    const bench = new Bench({ limit: 1 });
    bench.receive(cut('OPTIONS', '1'));
    bench.receive(cut('OPTIONS', '2'), 'udp', 'stranger');
    bench.receive(cut('CANCEL', '3'), 'udp', 'stranger');
    bench.receive(cut('MESSAGE', '4'), 'udp', 'stranger');
    expect(bench.log).toEqual(['0 up OPTIONS']);
    expect(bench.notices.filter((notice) => notice.kind === 'rejected').length).toBe(3);
  });
});

describe('the bound', () => {
  it('turns new requests away with 503 and Retry-After, and tells', () => {
    const bench = new Bench({ limit: 2 });
    bench.receive(incoming({ method: 'OPTIONS' }));
    bench.request('OPTIONS', bench.newOutlet('udp'));
    bench.receive(incoming({ callId: 'c', branch: 'z9hG4bKc', more: LONG }));
    expect(bench.log).toEqual(['0 up OPTIONS', '0 send OPTIONS', '0 reply 503']);
    expect(readResponse(bench.replies[0]!.octets).headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(bench.notices).toMatchObject([
      { kind: 'limit', limit: 'transactions' },
      { kind: 'rejected', status: 503 },
    ]);
    expect(bench.layer.size).toBe(2);
  });

  it('gives our own requests a capacity fault and sends nothing', () => {
    const bench = new Bench({ limit: 1 });
    bench.receive(incoming({ method: 'OPTIONS' }));
    const head = {
      method: 'INVITE',
      uri: 'sip:a',
      from: 'f',
      to: 't',
      callId: 'c',
      cseq: 1,
      maxForwards: 1,
      routeLines: '',
    };
    const outcome = bench.layer.request(head, '', '', bench.newOutlet('udp'), bench.clientUser);
    expect(outcome).toMatchObject({ kind: 'capacity' });
    expect(bench.sent).toEqual([]);
    expect(bench.notices).toMatchObject([{ kind: 'limit', limit: 'transactions' }]);
  });

  it('still finds what belongs to transactions that exist', () => {
    const bench = new Bench({ limit: 1 });
    bench.receive(incoming());
    bench.receive(incoming({ method: 'CANCEL' }));
    bench.incoming[0]!.respond(487, '', '', '');
    bench.receive(incoming());
    bench.receive(incoming({ method: 'ACK' }));
    expect(bench.log).toEqual(['0 up INVITE', '0 reply 200', '0 up CANCEL', '0 reply 487', '0 reply 487']);
  });

  it('takes new requests again when old ones have ended', () => {
    const bench = new Bench({ limit: 1 });
    bench.receive(incoming({ method: 'OPTIONS' }));
    bench.incoming[0]!.respond(200, '', '', '');
    bench.clock.advance(32_000);
    bench.receive(incoming({ branch: 'z9hG4bKb' }));
    expect(bench.incoming.length).toBe(2);
  });
});

describe('a stream that cannot be framed further', () => {
  const problem = { status: 400, detail: 'bad Content-Length' } as const;

  it('is told why, when the head is a request', () => {
    const bench = new Bench();
    const head = incoming({ transport: 'tcp', more: LONG }).replace(
      'Content-Length: 0',
      'Content-Length: nonsense',
    );
    const answer = bench.layer.onUnframeable(head, sourceOf('tcp'), problem);
    expect(readResponse(answer!)).toMatchObject({ status: 400, reason: 'bad Content-Length' });
    // It is the transport's to send.
    expect(bench.replies).toEqual([]);
    expect(bench.notices).toMatchObject([{ kind: 'rejected', status: 400 }]);
  });

  it.each([
    [
      'an ACK',
      incoming({ method: 'ACK', transport: 'tcp' }).replace('Content-Length: 0', 'Content-Length: x'),
    ],
    ['a response', 'SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: x\r\n\r\n'],
    ['nonsense', 'x'.repeat(5000)],
    ['nothing', ''],
  ])('gets nothing for %s', (_name, head) => {
    const bench = new Bench();
    expect(bench.layer.onUnframeable(head, sourceOf('tcp'), problem)).toBeUndefined();
  });
});
