import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Target } from '#engine/engine.js';
import { parseUri } from '#sip/uri.js';
import { type Dns, systemDns } from '#targets/dns.js';
import {
  type Resolved,
  type ResolveOptions,
  Resolver,
  type ResolverOptions,
  targetKey,
} from '#targets/resolver.js';
import { DnsServer } from '../../kit/dns-server.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

let server: DnsServer;
let clock: VirtualClock;

beforeEach(async () => {
  server = await DnsServer.start();
  clock = new VirtualClock();
});

afterEach(async () => {
  server.release();
  await server.stop();
});

function make(options: Partial<ResolverOptions> = {}): Resolver {
  const dns: Dns = {
    ...systemDns({ servers: [server.address], tryTimeoutMs: 250, tries: 1 }),
    // The system's own resolver would ask beyond loopback.
    lookup: () => Promise.reject(Object.assign(new Error('not here'), { code: 'ENOTFOUND' })),
  };
  return new Resolver({ dns, clock, random: () => 0, ...options });
}

function parse(text: string) {
  const uri = parseUri(text);
  if (uri === undefined) throw new Error(`bad URI ${text}`);
  return uri;
}

function ask(resolver: Resolver, uri: string, options?: ResolveOptions): Promise<Resolved> {
  return new Promise((resolve) => resolver.resolve(parse(uri), resolve, options));
}

/** What is answered before `resolve` returns; undefined when nothing is. */
function askNow(resolver: Resolver, uri: string, options?: ResolveOptions): Resolved | undefined {
  let answer: Resolved | undefined;
  resolver.resolve(
    parse(uri),
    (result) => {
      answer = result;
    },
    options,
  );
  return answer;
}

function keys(resolved: Resolved | undefined): string[] {
  if (resolved === undefined || !Array.isArray(resolved))
    throw new Error(`no targets: ${JSON.stringify(resolved)}`);
  return (resolved as readonly Target[]).map(targetKey);
}

const a = (address: string, ttl = 300) => ({ type: 'A', address, ttl }) as const;
const srv = (priority: number, weight: number, port: number, target: string) =>
  ({ type: 'SRV', priority, weight, port, target }) as const;
const naptr = (order: number, preference: number, service: string, replacement: string, flags = 's') =>
  ({ type: 'NAPTR', order, preference, flags, service, replacement }) as const;

describe('an address', () => {
  it.each([
    ['sip:a@192.0.2.1', undefined, 'udp:192.0.2.1:5060'],
    ['sip:a@192.0.2.1:5090', undefined, 'udp:192.0.2.1:5090'],
    ['sip:a@192.0.2.1;transport=TCP', undefined, 'tcp:192.0.2.1:5060'],
    ['sip:a@192.0.2.1;transport=tls', undefined, 'tls:192.0.2.1:5061'],
    ['sips:a@192.0.2.1', undefined, 'tls:192.0.2.1:5061'],
    ['sips:a@192.0.2.1;transport=tcp', undefined, 'tls:192.0.2.1:5061'],
    ['sip:a@[2001:db8::1]:5070', undefined, 'udp:[2001:db8::1]:5070'],
    ['sip:a@192.0.2.1', 'tcp', 'tcp:192.0.2.1:5060'],
    ['sip:a@192.0.2.1;transport=udp', 'tls', 'udp:192.0.2.1:5060'],
    ['sip:a@example.test;maddr=192.0.2.9', undefined, 'udp:192.0.2.9:5060'],
  ] as const)('%s by default %s is %s, at once and without DNS', (uri, transport, expected) => {
    expect(keys(askNow(make(), uri, { transport }))).toEqual([expected]);
    expect(server.questions).toEqual([]);
  });

  it.each(['tel:+14155550100', 'sip:a@192.0.2.1;transport=sctp', 'sips:a@192.0.2.1;transport=udp'])(
    '%s is unsupported',
    (uri) => {
      expect(askNow(make(), uri)).toMatchObject({ kind: 'unsupported' });
    },
  );

  it('carries the TLS options to TLS targets only', () => {
    const tls = { serverName: 'sip.example.test' };
    expect(askNow(make(), 'sips:a@192.0.2.1', { tls })).toMatchObject([{ tls }]);
    expect(askNow(make(), 'sip:a@192.0.2.1', { tls })).toMatchObject([{ tls: undefined }]);
  });
});

describe('a name (RFC 3263)', () => {
  it('with a port asks for addresses only', async () => {
    server.set('example.test', a('192.0.2.1'), { type: 'AAAA', address: '2001:db8::1' });
    expect(keys(await ask(make(), 'sip:a@EXAMPLE.test:5070'))).toEqual([
      'udp:192.0.2.1:5070',
      'udp:[2001:db8::1]:5070',
    ]);
    expect(server.questions.toSorted()).toEqual(['A example.test', 'AAAA example.test']);
  });

  it('asks for the families that can be sent to, the preferred one first', async () => {
    server.set('example.test', a('192.0.2.1'), { type: 'AAAA', address: '2001:db8::1' });
    expect(keys(await ask(make({ families: [6] }), 'sip:a@example.test:5070'))).toEqual([
      'udp:[2001:db8::1]:5070',
    ]);
    expect(server.questions).toEqual(['AAAA example.test']);
  });

  it('with a transport asks for its SRV', async () => {
    server.set(
      '_sip._tcp.example.test',
      srv(2, 0, 5062, 'b.example.test'),
      srv(1, 0, 5061, 'a.example.test'),
    );
    server.set('a.example.test', a('192.0.2.1'), a('192.0.2.2'));
    server.set('b.example.test', a('192.0.2.3'));
    const targets = await ask(make(), 'sip:a@example.test;transport=tcp');
    expect(keys(targets)).toEqual(['tcp:192.0.2.1:5061', 'tcp:192.0.2.2:5061', 'tcp:192.0.2.3:5062']);
    // The certificate must be for the name that was asked for (RFC 5922 §7.2), not for the server's.
    expect(targets).toMatchObject([{ name: 'example.test' }, {}, {}]);
    expect(server.questions[0]).toBe('SRV _sip._tcp.example.test');
  });

  it('takes the default transport instead of asking NAPTR', async () => {
    server.set('_sips._tcp.example.test', srv(1, 0, 5061, 'a.example.test'));
    server.set('a.example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sip:a@example.test', { transport: 'tls' }))).toEqual([
      'tls:192.0.2.1:5061',
    ]);
    expect(server.questions.some((question) => question.startsWith('NAPTR'))).toBe(false);
  });

  it('without transport follows NAPTR by order and preference', async () => {
    server.set(
      'example.test',
      naptr(20, 1, 'SIP+D2U', '_sip._udp.example.test'),
      naptr(10, 2, 'SIP+D2T', 'tcp.example.test'),
      naptr(10, 1, 'SIP+D2S', 'sctp.example.test'),
      naptr(5, 1, 'E2U+sip', 'enum.example.test', 'u'),
    );
    server.set('tcp.example.test', srv(1, 0, 5070, 'a.example.test'));
    server.set('a.example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sip:a@example.test'))).toEqual(['tcp:192.0.2.1:5070']);
  });

  it('sips: takes SIPS services only', async () => {
    server.set(
      'example.test',
      naptr(1, 1, 'SIP+D2T', '_sip._tcp.example.test'),
      naptr(2, 1, 'SIPS+D2T', '_sips._tcp.example.test'),
    );
    server.set('_sip._tcp.example.test', srv(1, 0, 5060, 'a.example.test'));
    server.set('_sips._tcp.example.test', srv(1, 0, 5071, 'a.example.test'));
    server.set('a.example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sips:a@example.test'))).toEqual(['tls:192.0.2.1:5071']);
  });

  it('without NAPTR tries the SRV of each transport, then the address', async () => {
    server.set('example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sip:a@example.test'))).toEqual(['udp:192.0.2.1:5060']);
    expect(server.questions.slice(0, 4)).toEqual([
      'NAPTR example.test',
      'SRV _sip._udp.example.test',
      'SRV _sip._tcp.example.test',
      'SRV _sips._tcp.example.test',
    ]);
    server.set('_sip._tcp.other.test', srv(1, 0, 5080, 'example.test'));
    expect(keys(await ask(make(), 'sip:a@other.test'))).toEqual(['tcp:192.0.2.1:5080']);
    expect(keys(await ask(make(), 'sips:a@example.test'))).toEqual(['tls:192.0.2.1:5061']);
  });

  it('goes on without NAPTR where a server fails on it', async () => {
    server.fail('NAPTR example.test', 'refused');
    server.set('example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sip:a@example.test'))).toEqual(['udp:192.0.2.1:5060']);
  });

  it('shares calls among SRV records of one priority by weight, every time anew', async () => {
    server.set(
      '_sip._udp.example.test',
      srv(1, 1, 5061, 'a.example.test'),
      srv(1, 9, 5062, 'a.example.test'),
      srv(0, 0, 5063, 'a.example.test'),
    );
    server.set('a.example.test', a('192.0.2.1'));
    let draw = 0;
    const resolver = make({ random: () => draw });
    const uri = 'sip:a@example.test;transport=udp';
    expect(keys(await ask(resolver, uri))).toEqual([
      'udp:192.0.2.1:5063',
      'udp:192.0.2.1:5061',
      'udp:192.0.2.1:5062',
    ]);
    draw = 0.99;
    expect(keys(askNow(resolver, uri))).toEqual([
      'udp:192.0.2.1:5063',
      'udp:192.0.2.1:5062',
      'udp:192.0.2.1:5061',
    ]);
  });

  it('uses the servers whose addresses are known when others are not', async () => {
    server.set(
      '_sip._udp.example.test',
      srv(1, 0, 5061, 'gone.example.test'),
      srv(2, 0, 5062, 'a.example.test'),
    );
    server.set('a.example.test', a('192.0.2.1'));
    expect(keys(await ask(make(), 'sip:a@example.test;transport=udp'))).toEqual(['udp:192.0.2.1:5062']);
  });

  it('localhost is asked of the system', async () => {
    const resolver = make({ dns: systemDns({ servers: [server.address] }), families: [4] });
    expect(keys(await ask(resolver, 'sip:a@localhost:5090'))).toEqual(['udp:127.0.0.1:5090']);
    expect(server.questions).toEqual([]);
  });

  it('in the hosts file is found although the DNS does not know it', async () => {
    const dns: Dns = {
      ...systemDns({ servers: [server.address] }),
      lookup: () => Promise.resolve([{ address: '192.0.2.8', family: 4 }]),
    };
    expect(keys(await ask(make({ dns }), 'sip:a@pbx.lan:5060'))).toEqual(['udp:192.0.2.8:5060']);
  });
});

describe('a fault', () => {
  it('says that there is none', async () => {
    expect(await ask(make(), 'sip:a@nowhere.test')).toEqual({
      kind: 'not-found',
      detail: 'no address for nowhere.test',
    });
  });

  it('says that the service is not offered', async () => {
    server.set('_sip._udp.example.test', srv(0, 0, 0, '.'));
    server.set('example.test', a('192.0.2.1'));
    expect(await ask(make(), 'sip:a@example.test;transport=udp')).toMatchObject({
      kind: 'not-found',
      detail: expect.stringContaining('no such service'),
    });
  });

  it('says that the server failed', async () => {
    server.fail('*', 'servfail');
    expect(await ask(make(), 'sip:a@example.test')).toEqual({
      kind: 'server-failure',
      detail: 'DNS failed (ESERVFAIL) for SRV _sip._udp.example.test',
    });
  });

  it('does not guess a port when SRV fails', async () => {
    server.fail('SRV _sip._udp.example.test', 'servfail');
    server.set('example.test', a('192.0.2.1'));
    expect(await ask(make(), 'sip:a@example.test;transport=udp')).toMatchObject({ kind: 'server-failure' });
  });

  it('says that nobody answered', async () => {
    server.fail('*', 'silent');
    expect(await ask(make(), 'sip:a@example.test:5060')).toMatchObject({ kind: 'timeout' });
  });

  it('comes when the caller has waited long enough, and a late answer still counts', async () => {
    server.set('example.test', a('192.0.2.1'));
    server.hold();
    const resolver = make({ timeoutMs: 1_000, families: [4] });
    const waiting = ask(resolver, 'sip:a@example.test:5060');
    await server.asked(1);
    clock.advance(1_020);
    expect(await waiting).toMatchObject({ kind: 'timeout' });
    server.release();
    clock.advance(20_000);
    expect(keys(await ask(resolver, 'sip:a@example.test:5060'))).toEqual(['udp:192.0.2.1:5060']);
    expect(server.questions).toHaveLength(1);
  });
});

describe('the memory', () => {
  const uri = 'sip:a@example.test:5060';

  it('answers at once until the time to live is over', async () => {
    server.set('example.test', a('192.0.2.1', 100));
    const resolver = make({ families: [4] });
    await ask(resolver, uri);
    clock.advance(79_000);
    expect(keys(askNow(resolver, uri))).toEqual(['udp:192.0.2.1:5060']);
    expect(server.questions).toHaveLength(1);
    clock.advance(30_000);
    server.set('example.test', a('192.0.2.2', 100));
    expect(askNow(resolver, uri)).toBeUndefined();
    expect(keys(await ask(resolver, uri))).toEqual(['udp:192.0.2.2:5060']);
    expect(server.questions).toHaveLength(2);
  });

  it('renews in the background what is nearly too old', async () => {
    server.set('example.test', a('192.0.2.1', 100));
    const resolver = make({ families: [4] });
    await ask(resolver, uri);
    server.set('example.test', a('192.0.2.2', 100));
    clock.advance(85_000);
    expect(keys(askNow(resolver, uri))).toEqual(['udp:192.0.2.1:5060']);
    await expect.poll(() => keys(askNow(resolver, uri))).toEqual(['udp:192.0.2.2:5060']);
    expect(server.questions).toHaveLength(2);
  });

  it('asks once for all who wait', async () => {
    server.set('example.test', a('192.0.2.1'));
    server.hold();
    const resolver = make({ families: [4] });
    const all = Promise.all(Array.from({ length: 50 }, () => ask(resolver, uri)));
    await server.asked(1);
    server.release();
    for (const result of await all) expect(keys(result)).toEqual(['udp:192.0.2.1:5060']);
    expect(server.questions).toHaveLength(1);
  });

  it('serves the last good answer for an hour while the DNS fails', async () => {
    server.set('example.test', a('192.0.2.1', 60));
    const resolver = make({ families: [4] });
    await ask(resolver, uri);
    server.fail('*', 'servfail');
    clock.advance(61_000);
    expect(keys(await ask(resolver, uri))).toEqual(['udp:192.0.2.1:5060']);
    // From then on without waiting, and without a question per call.
    const before = server.questions.length;
    for (let i = 0; i < 100; i++) expect(keys(askNow(resolver, uri))).toEqual(['udp:192.0.2.1:5060']);
    expect(server.questions).toHaveLength(before);
    clock.advance(3_600_000);
    expect(await ask(resolver, uri)).toMatchObject({ kind: 'server-failure' });
    server.recover();
    clock.advance(11_000);
    expect(keys(await ask(resolver, uri))).toEqual(['udp:192.0.2.1:5060']);
  });

  it('forgets a name that is no more', async () => {
    server.set('example.test', a('192.0.2.1', 60));
    const resolver = make({ families: [4] });
    await ask(resolver, uri);
    server.set('example.test');
    clock.advance(61_000);
    expect(await ask(resolver, uri)).toMatchObject({ kind: 'not-found' });
    expect(askNow(resolver, uri)).toMatchObject({ kind: 'not-found' });
  });

  it('is bounded', async () => {
    const resolver = make({ cacheLimit: 3, families: [4] });
    for (let i = 0; i < 10; i++) {
      server.set(`h${i}.test`, a('192.0.2.1'));
      await ask(resolver, `sip:h${i}.test:5060`);
    }
    expect(resolver.cacheSize).toBe(3);
  });
});

describe('health', () => {
  const uri = 'sip:a@example.test:5060';

  async function three(): Promise<{ resolver: Resolver; targets: readonly Target[] }> {
    server.set('example.test', a('192.0.2.1'), a('192.0.2.2'), a('192.0.2.3'));
    const resolver = make({ families: [4] });
    const targets = await ask(resolver, uri);
    if ('kind' in targets) throw new Error(targets.detail);
    return { resolver, targets };
  }

  it('puts a quarantined target last, until its time is over or it answers', async () => {
    const { resolver, targets } = await three();
    const [first, second, third] = keys(targets);
    resolver.quarantine(targets[0]!, 5_000);
    expect(keys(askNow(resolver, uri))).toEqual([second, third, first]);
    clock.advance(5_010);
    expect(keys(askNow(resolver, uri))).toEqual([first, second, third]);
    resolver.quarantine(targets[1]!);
    expect(keys(askNow(resolver, uri))).toEqual([first, third, second]);
    resolver.release(targets[1]!);
    expect(keys(askNow(resolver, uri))).toEqual([first, second, third]);
  });

  it('still tries them when all are in quarantine', async () => {
    const { resolver, targets } = await three();
    for (const each of targets) resolver.quarantine(each);
    expect(keys(askNow(resolver, uri))).toEqual(keys(targets));
    expect(resolver.isQuarantined(targets[2]!)).toBe(true);
  });
});
