/** Long requests over TCP instead of UDP, and back again (§18.1.1). */

import { describe, expect, it } from 'vitest';
import type { EngineFault } from '#engine/faults.js';
import { Bench, HEAD, readRequest, responseTo } from './kit.js';

const LONG = 'x'.repeat(1300);
const REFUSED: EngineFault = { kind: 'refused', detail: 'ECONNREFUSED' };

function newBench(options: ConstructorParameters<typeof Bench>[0] = {}): Bench {
  const bench = new Bench(options);
  bench.showTransport = true;
  return bench;
}

describe.each(['INVITE', 'MESSAGE'])('a long %s', (method) => {
  it('goes over TCP with a Via that says so', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    expect(bench.log).toEqual([`0 send ${method} tcp`]);
    expect(bench.outlets[0]!.target).toMatchObject({ transport: 'tcp', address: '192.0.2.9', port: 5080 });
    expect(readRequest(bench.sent[0]!).topVia).toMatchObject({ transport: 'TCP', rport: undefined });
    bench.clock.advance(10_000);
    expect(bench.sent.length).toBe(1);
  });

  it('changes over exactly above the length on the wire', () => {
    const probe = newBench();
    probe.request(method, probe.newOutlet('udp'), {}, 'x'.repeat(500));
    const head = probe.sent[0]!.length - 500;
    for (const [bytes, transport] of [
      [1300, 'udp'],
      [1301, 'tcp'],
    ] as const) {
      const bench = newBench();
      // Content-Length has three digits here as there.
      bench.request(method, bench.newOutlet('udp'), {}, 'x'.repeat(bytes - head));
      expect(bench.log).toEqual([`0 send ${method} ${transport}`]);
      if (transport === 'udp') expect(bench.sent[0]!.length).toBe(bytes);
    }
  });

  it.each<EngineFault>([
    REFUSED,
    { kind: 'unreachable', detail: '' },
    { kind: 'timeout', heard: false, detail: 'connect' },
    { kind: 'flow-lost', detail: 'reset' },
  ])('falls back to UDP on $kind, with the same branch, its own Via and timers', (fault) => {
    const bench = newBench();
    const transaction = bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.clock.advance(1000);
    bench.outlets[0]!.fail(fault);
    const retried = readRequest(bench.sent[1]!);
    expect(retried.topVia).toMatchObject({ transport: 'UDP', branch: transaction.branch, rport: '' });
    expect(retried.body).toBe(LONG);
    bench.clock.advance(1500);
    expect(bench.log).toEqual([
      `0 send ${method} tcp`,
      `1000 send ${method} udp`,
      `1500 send ${method} udp`,
      `2500 send ${method} udp`,
    ]);
    // Timer B or F still counts from the beginning.
    bench.untilGone();
    expect(bench.faults).toMatchObject([{ kind: 'timeout', heard: false }]);
    expect(bench.clock.now()).toBe(32_000);
  });

  it('spares a peer that refused TCP the attempt for five minutes', () => {
    const bench = newBench();
    const send = (): void => void bench.request(method, bench.newOutlet('udp'), {}, LONG);
    send();
    bench.outlets[0]!.fail(REFUSED);
    bench.respond(bench.sent[1]!, 486);
    bench.log.length = 0;
    bench.clock.advance(299_000);
    send();
    bench.respond(bench.sent.at(-1)!, 486);
    bench.clock.advance(1000);
    send();
    expect(bench.log.filter((line) => line.includes(method))).toEqual([
      `299000 send ${method} udp`,
      `300000 send ${method} tcp`,
    ]);
  });

  it('a second refusal of the same request is a fault', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.outlets[0]!.fail(REFUSED);
    bench.outlets[1]!.fail(REFUSED);
    expect(bench.faults).toEqual([REFUSED]);
    expect(bench.layer.size).toBe(0);
  });

  it('does not fall back once the peer has spoken', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.respond(bench.sent[0]!, 100);
    bench.outlets[0]!.fail({ kind: 'flow-lost', detail: 'closed' });
    expect(bench.sent.length).toBe(1);
    expect(bench.faults).toMatchObject([{ kind: 'flow-lost' }]);
  });

  it('does not fall back while the engine stops', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.outlets[0]!.fail({ kind: 'engine-down', detail: '' });
    expect(bench.sent.length).toBe(1);
    expect(bench.faults).toMatchObject([{ kind: 'engine-down' }]);
  });

  it('falls back at a bound of ours without holding it against the peer', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.outlets[0]!.fail({ kind: 'capacity', detail: 'connections' });
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    expect(bench.outlets.map((outlet) => outlet.transport)).toEqual(['tcp', 'udp', 'tcp']);
  });

  it('a peer that takes TCP and says nothing gets UDP next time', () => {
    const bench = newBench();
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    bench.untilGone();
    expect(bench.faults).toMatchObject([{ kind: 'timeout', heard: false }]);
    bench.request(method, bench.newOutlet('udp'), {}, LONG);
    expect(bench.outlets.at(-1)!.transport).toBe('udp');
  });

  it('stays on UDP when there is no TCP listener, when told so, and when it is short', () => {
    const without = newBench();
    without.noTcp = { kind: 'unreachable', detail: 'no listener' };
    without.request(method, without.newOutlet('udp'), {}, LONG);
    const off = newBench({ streamAboveBytes: 0 });
    off.request(method, off.newOutlet('udp'), {}, LONG.repeat(10));
    const short = newBench();
    short.request(method, short.newOutlet('udp'));
    const higher = newBench({ streamAboveBytes: 5000 });
    higher.request(method, higher.newOutlet('udp'), {}, LONG);
    for (const bench of [without, off, short, higher]) expect(bench.log).toEqual([`0 send ${method} udp`]);
  });
});

it('CANCEL and ACK of a long INVITE take the same way and Via (§9.1)', () => {
  const bench = newBench();
  const transaction = bench.request('INVITE', bench.newOutlet('udp'), {}, LONG);
  bench.respond(bench.sent[0]!, 180);
  transaction.cancel('');
  bench.receive(responseTo(bench.sent[0]!, 487), 'tcp');
  expect(bench.log).toEqual([
    '0 send INVITE tcp',
    '0 up 180',
    '0 send CANCEL tcp',
    '0 send ACK tcp',
    '0 up 487',
  ]);
  expect(new Set(bench.sent.map((octets) => readRequest(octets).headers.get('via'))).size).toBe(1);
  expect(new Set(bench.outlets).size).toBe(1);
});

it('the ACK of a 2xx stays with its outlet however long it is', () => {
  const bench = newBench();
  const outlet = bench.newOutlet('udp');
  const octets = bench.layer.ack({ ...HEAD, method: 'ACK' }, '', LONG, outlet);
  expect(bench.log).toEqual(['0 send ACK udp']);
  expect(octets).toBe(bench.sent[0]);
  expect(bench.layer.size).toBe(0);
});
