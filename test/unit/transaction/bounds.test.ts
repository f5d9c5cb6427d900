/** What a waiting transaction keeps, what never leaves, and how everything ends at once. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { ServerTransaction } from '#engine/embedded/transaction/transaction.js';
import { Bench, HEAD, incoming, readResponse, responseTo, sourceOf } from './kit.js';

/** All strings that can be reached from an object without entering the layer, the outlet or the listener. */
function keptOctets(root: object): number {
  let sum = 0;
  const seen = new Set<object>();
  const visit = (value: unknown): void => {
    if (typeof value === 'string') sum += value.length;
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    for (const [key, member] of Object.entries(value)) {
      if (!['owner', 'listener', 'next', 'prev'].includes(key)) visit(member);
    }
  };
  visit(root);
  return sum;
}

describe('a waiting server transaction', () => {
  const big = 'v'.repeat(2000);

  it.each([
    ['Completed', 486],
    ['Accepted', 200],
  ])('%s: has let go of request and user', (_name, status) => {
    const bench = new Bench();
    bench.receive(incoming({ body: big }));
    const transaction: ServerTransaction = bench.incoming[0]!;
    const tag = transaction.localTag;
    expect(transaction.request.body).toBe(big);
    transaction.respond(status, '', '', '');
    expect(transaction.request).toBeUndefined();
    expect(transaction.localTag).toBe(tag);
    expect(keptOctets(transaction)).toBeLessThan(600);
    if (status === 486) bench.receive(incoming({ method: 'ACK' }));
    expect(transaction.user).toBeNull();
    expect(bench.layer.size).toBe(1);
  });

  it('Completed, not INVITE: likewise', () => {
    const bench = new Bench();
    bench.receive(incoming({ method: 'INFO', body: big }));
    bench.incoming[0]!.respond(200, '', '', '');
    expect(bench.incoming[0]!.request).toBeUndefined();
    expect(bench.incoming[0]!.user).toBeNull();
    expect(keptOctets(bench.incoming[0]!)).toBeLessThan(600);
  });
});

describe('memory', () => {
  it('20,000 waiting transactions cost less than 2 KB each', () => {
    const bench = new Bench();
    const before = heap();
    for (let i = 0; i < 20_000; i++) {
      bench.receive(incoming({ branch: `z9hG4bK${i}`, callId: `c${i}`, body: 'v'.repeat(3000) }));
      bench.incoming.pop()!.respond(200, '', '', '');
      bench.replies.length = 0;
      bench.log.length = 0;
    }
    expect(bench.layer.size).toBe(20_000);
    expect((heap() - before) / 20_000).toBeLessThan(2048);
  });

  /** Collects first: the flag makes `gc` appear in contexts made after it. */
  function heap(): number {
    setFlagsFromString('--expose-gc');
    runInNewContext('gc')();
    return process.memoryUsage().heapUsed;
  }
});

describe('what never leaves', () => {
  const evil = 'a\r\nX-Evil: 1\r\n\r\nBYE';

  it('a line end in a value of the head', () => {
    for (const field of ['uri', 'from', 'to', 'callId'] as const) {
      for (const method of ['INVITE', 'BYE']) {
        const bench = new Bench();
        const transaction = bench.request(method, bench.newOutlet('udp'), { [field]: `sip:${evil}` });
        transaction.cancel('');
        const sound = bench.sent[0]!;
        expect(sound.split('\r\n').some((line) => line.startsWith('X-Evil'))).toBe(false);
        expect(sound.indexOf('\r\n\r\n')).toBe(sound.length - 4);
      }
    }
  });

  it('a line end in the ACK or the CANCEL', () => {
    const bench = new Bench();
    // In a display name, where the parser of the other side would still read the rest.
    const head = { ...HEAD, from: `"${evil}" <sip:a@b>;tag=1`, callId: 'c' };
    const started = bench.layer.request(head, '', '', bench.newOutlet('udp'), bench.clientUser);
    if ('kind' in started) throw new Error('not sent');
    const invite = bench.sent[0]!;
    bench.receive(responseTo(invite, 180));
    started.cancel('');
    bench.receive(responseTo(invite, 487));
    const ack = bench.layer.ack({ ...head, method: 'ACK' }, '', '', bench.newOutlet('udp'));
    expect(bench.log.filter((line) => line.includes('send'))).toEqual([
      '0 send INVITE',
      '0 send CANCEL',
      '0 send ACK',
      '0 send ACK',
    ]);
    for (const octets of [...bench.sent, ack]) expect(octets).not.toContain('\r\nX-Evil');
  });

  it('a line end in a reason phrase', () => {
    const bench = new Bench();
    bench.receive(incoming());
    bench.incoming[0]!.respond(486, `Busy\r\nX-Evil: 1\r\n\r\n\0`, '', '');
    const answer = readResponse(bench.replies[0]!.octets);
    expect(answer.headers.has('x-evil')).toBe(false);
    expect(answer.reason).toBe('Busy X-Evil: 1 ');
  });

  it('a line end or NUL of a faulty request', () => {
    let answers = 0;
    for (const inside of ['\r', '\n', '\0', '\r\r', '\n\nX-Evil: 1\n']) {
      const bench = new Bench();
      const octets = incoming({ more: [`User-Agent: ${'x'.repeat(200)}`] });
      bench.receive(octets.replace('sip:caller@', `sip:cal${inside}ler@`));
      bench.receive(octets.replace('in-1@', `in${inside}1@`));
      answers += bench.replies.length;
      for (const { octets: answer } of bench.replies) {
        expect(answer).not.toMatch(/[^\r]\n|\r[^\n]|\0|\nX-Evil/);
      }
    }
    expect(answers).toBeGreaterThan(0);
  });
});

describe('close', () => {
  it('ends everything without sending, tells who waits, and is final', () => {
    const bench = new Bench();
    const outlet = bench.newOutlet('udp');
    for (const method of ['INVITE', 'OPTIONS']) {
      bench.request(method, outlet);
      bench.respond(bench.sent.at(-1)!, 100);
      bench.request(method, outlet, { callId: 'done' });
      bench.respond(bench.sent.at(-1)!, 200);
      bench.receive(incoming({ method, callId: `${method}-waits`, branch: `z9hG4bK-${method}-1` }));
      bench.receive(incoming({ method, callId: `${method}-done`, branch: `z9hG4bK-${method}-2` }));
      bench.incoming.at(-1)!.respond(200, '', '', '');
    }
    expect(bench.layer.size).toBe(8);
    bench.log.length = 0;
    bench.layer.close();
    expect(bench.log.sort()).toEqual([
      '0 fault engine-down',
      '0 fault engine-down',
      '0 lost: the transaction layer is closed',
      '0 lost: the transaction layer is closed',
    ]);
    expect(bench.layer.size).toBe(0);
    expect(bench.clock.armedCount).toBe(0);
    expect(outlet.owners.size).toBe(0);

    bench.log.length = 0;
    bench.layer.close();
    for (const transaction of bench.incoming) expect(transaction.respond(486, '', '', '')).toBe('');
    bench.layer.onMessage(incoming({ branch: 'z9hG4bKlate' }), sourceOf('udp'), 'known');
    expect(bench.layer.request(HEAD, '', '', outlet, bench.clientUser)).toMatchObject({
      kind: 'engine-down',
    });
    bench.layer.ack({ ...HEAD, method: 'ACK' }, '', '', outlet);
    expect(bench.log).toEqual([]);
  });
});
