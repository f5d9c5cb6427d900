/** The parts of a registration by themselves: time line, turns, accounts. */
import { describe, expect, it } from 'vitest';
import { accountsOf } from '#registration/accounts.js';
import { Launcher } from '#registration/launcher.js';
import { newMachine, type RegistrationEvent, transition } from '#registration/machine.js';
import { Timeline, type TimelineEntry } from '#registration/timeline.js';
import { snapshotOf } from '../../kit/directory.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { DESCRIBED, TRUNK } from './kit.js';

describe('the time line', () => {
  const entry = (index: number, more: Partial<TimelineEntry> = {}): TimelineEntry => ({
    atMs: Date.UTC(2030, 0, 1) + index * 1_000,
    target: 'udp:198.51.100.1:5060',
    latencyMs: index,
    status: 200,
    fault: null,
    verdict: 'ok',
    detail: 'registered',
    ...more,
  });

  it('gives back what it was given', () => {
    const timeline = new Timeline();
    timeline.add(
      entry(1, { grantedExpirySeconds: 2 ** 32 - 1, foreignBindings: 3, natAddress: '203.0.113.5:4' }),
    );
    timeline.add(entry(2, { status: null, fault: 'timeout', verdict: 'no_response', latencyMs: 32_000 }));
    timeline.add(
      entry(3, { status: 699, grantedExpirySeconds: 0, foreignBindings: 0, realm: 'r', algorithm: 'MD5' }),
    );
    expect(timeline.attempts()).toEqual([
      {
        at: '2030-01-01T00:00:01.000Z',
        target: 'udp:198.51.100.1:5060',
        latencyMs: 1,
        status: 200,
        fault: null,
        verdict: 'ok',
        detail: 'registered',
        grantedExpirySeconds: 2 ** 32 - 1,
        foreignBindings: 3,
        natAddress: '203.0.113.5:4',
      },
      expect.objectContaining({ status: null, fault: 'timeout', verdict: 'no_response', latencyMs: 32_000 }),
      expect.objectContaining({
        status: 699,
        grantedExpirySeconds: 0,
        foreignBindings: 0,
        realm: 'r',
        algorithm: 'MD5',
      }),
    ]);
    expect(timeline.attempts()[1]).not.toHaveProperty('grantedExpirySeconds');
  });

  it('keeps the last fifty', () => {
    const timeline = new Timeline();
    for (let index = 0; index < 173; index++) timeline.add(entry(index));
    expect(timeline.attempts().map(({ latencyMs }) => latencyMs)).toEqual(
      Array.from({ length: 50 }, (_, index) => 123 + index),
    );
  });
});

describe('turns', () => {
  const run = (clock: VirtualClock, launcher: Launcher, lane: string, count: number) => {
    const times: number[] = [];
    for (let index = 0; index < count; index++)
      launcher.queue({ lane, turn: () => void times.push(clock.now()) });
    return times;
  };

  it('come evenly, and each lane has its own', () => {
    const clock = new VirtualClock();
    const launcher = new Launcher(clock, 10);
    const first = run(clock, launcher, 'a', 20);
    const second = run(clock, launcher, 'b', 20);
    expect(first).toEqual([]);
    clock.advance(3_000);
    expect(second).toEqual(first);
    const gaps = first.slice(1).map((at, index) => at - first[index]!);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(90);
    expect(first.at(-1)! - first[0]!).toBeGreaterThanOrEqual(1_890);
    expect(clock.armedCount).toBe(0);
    // Time without anybody is not saved up.
    clock.advance(60_000);
    const later = run(clock, launcher, 'a', 5);
    clock.advance(250);
    expect(later).toHaveLength(3);
  });

  it('make room for requests that left without a turn', () => {
    const clock = new VirtualClock();
    const launcher = new Launcher(clock, 10);
    const sent: number[] = [];
    // Each turn sends one request and, challenged at once, another.
    for (let index = 0; index < 20; index++) {
      launcher.queue({
        lane: 'a',
        turn: () => {
          sent.push(clock.now(), clock.now());
          launcher.charge('a', 1);
        },
      });
    }
    clock.advance(10_000);
    expect(sent).toHaveLength(40);
    for (const at of sent) {
      // 10 a second: the last of a second's pairs may stand at its edge.
      expect(sent.filter((other) => other >= at && other < at + 1_000).length).toBeLessThanOrEqual(12);
    }
    expect(clock.armedCount).toBe(0);
  });

  it('are kept apart by the rate also when they are asked for one by one', () => {
    const clock = new VirtualClock();
    const launcher = new Launcher(clock, 2);
    const times: number[] = [];
    for (let index = 0; index < 40; index++) {
      launcher.queue({ lane: 'a', turn: () => void times.push(clock.now()) });
      clock.advance(100);
    }
    expect(times.length).toBeGreaterThanOrEqual(8);
    expect(times.length).toBeLessThanOrEqual(9);
  });

  it('come in their order, thousands a second where that is the rate', () => {
    const clock = new VirtualClock();
    const launcher = new Launcher(clock, 5_000);
    const order: number[] = [];
    for (let index = 0; index < 5_000; index++)
      launcher.queue({ lane: 'a', turn: () => void order.push(index) });
    clock.advance(500);
    expect(order.length).toBeGreaterThan(2_000);
    expect(order.length).toBeLessThan(2_700);
    clock.advance(600);
    expect(order).toEqual(Array.from({ length: 5_000 }, (_, index) => index));
  });
});

describe('accounts', () => {
  it('are the same after a restart, and nobody else is', () => {
    const [first] = [...accountsOf(snapshotOf(DESCRIBED)).keys()];
    expect([...accountsOf(snapshotOf(DESCRIBED, 2)).keys()]).toEqual([first]);
    const others = [
      { ...TRUNK, authUser: 'other' },
      { ...TRUNK, domain: 'other.example' },
      { ...TRUNK, server: 'sip.provider.example:5070' },
      { ...TRUNK, transport: 'tcp' as const },
      { ...TRUNK, outboundProxy: 'proxy.provider.example' },
    ].map((trunk) => [...accountsOf(snapshotOf({ ...DESCRIBED, sipCredentials: [trunk] })).keys()][0]);
    expect(new Set([first, ...others]).size).toBe(6);
  });

  it('escape what a user may hold', () => {
    const trunk = { ...TRUNK, authUser: 'a@b c' };
    const [account] = accountsOf(snapshotOf({ ...DESCRIBED, sipCredentials: [trunk] })).values();
    expect(account?.aor).toBe('sip:a%40b%20c@provider.example');
    expect(account?.credentials?.username).toBe('a@b c');
  });

  it('without a domain are named by their server, with its port', () => {
    const trunk = { id: 'carrier', server: '[2001:db8::1]:5070', authUser: 'acme', authPassword: 'x' };
    const [account] = accountsOf(snapshotOf({ ...DESCRIBED, sipCredentials: [trunk] })).values();
    expect(account).toMatchObject({
      aor: 'sip:acme@[2001:db8::1]',
      registrar: 'sip:[2001:db8::1]:5070',
      expectedRealm: undefined,
    });
  });
});

describe('the machine', () => {
  const at = (now: number) => ({ now, random: 0.5 });
  const drive = (events: readonly [number, RegistrationEvent][]) => {
    let machine = newMachine({ expirySeconds: 600 }, false);
    const actions: (string | undefined)[] = [];
    for (const [now, event] of events) {
      const next = transition(machine, event, at(now));
      machine = next.machine;
      actions.push(next.action?.kind);
    }
    return { machine, actions };
  };
  const registered: [number, RegistrationEvent][] = [
    [0, { kind: 'want' }],
    [0, { kind: 'turn' }],
    [100, { kind: 'outcome', outcome: { kind: 'registered', grantedSeconds: 600 }, sent: 1 }],
  ];

  it.each<[string, [number, RegistrationEvent][], string[]]>([
    [
      'an answer that nobody waits for',
      [[0, { kind: 'outcome', outcome: { kind: 'auth-rejected' }, sent: 1 }]],
      [],
    ],
    ['a turn that was not asked for', [[0, { kind: 'turn' }]], []],
    ['an urge for what nobody wants', [[0, { kind: 'urge', force: true }]], []],
    [
      'wanting twice',
      [
        [0, { kind: 'want' }],
        [0, { kind: 'want' }],
      ],
      ['queue'],
    ],
    [
      'an urge in the queue',
      [
        [0, { kind: 'want' }],
        [1, { kind: 'urge', force: true }],
      ],
      ['queue'],
    ],
    [
      'not wanting what was never bound',
      [
        [0, { kind: 'want' }],
        [1, { kind: 'unwant' }],
      ],
      ['queue', 'drop'],
    ],
  ])('%s changes nothing more', (_what, events, expected) => {
    expect(drive(events).actions.filter((kind) => kind !== undefined)).toEqual(expected);
  });

  it('sends nothing within a second of the last answer, and three after three', () => {
    expect(drive([...registered, [500, { kind: 'urge', force: false }]]).actions.at(-1)).toBe('arm');
    expect(drive([...registered, [1_100, { kind: 'urge', force: false }]]).actions.at(-1)).toBe('queue');
    const challenged: [number, RegistrationEvent][] = [
      ...registered.slice(0, 2),
      [100, { kind: 'outcome', outcome: { kind: 'registered', grantedSeconds: 600 }, sent: 3 }],
    ];
    expect(drive([...challenged, [3_000, { kind: 'urge', force: true }]]).actions.at(-1)).toBe('arm');
    expect(drive([...challenged, [3_100, { kind: 'urge', force: true }]]).actions.at(-1)).toBe('queue');
  });

  it('takes off what was bound while it was no longer wanted', () => {
    const { machine, actions } = drive([
      ...registered.slice(0, 2),
      [50, { kind: 'unwant' }],
      [100, { kind: 'outcome', outcome: { kind: 'registered', grantedSeconds: 600 }, sent: 1 }],
      [1_100, { kind: 'due' }],
      [1_100, { kind: 'turn' }],
    ]);
    expect(actions).toEqual(['queue', 'send', undefined, 'arm', 'queue', 'send']);
    expect(machine.state).toBe('unregistering');
    const last = transition(
      machine,
      { kind: 'outcome', outcome: { kind: 'auth-rejected' }, sent: 1 },
      at(1_200),
    );
    expect(last.action?.kind).toBe('drop');
  });

  it('leaves rejected credentials alone when a connection comes and goes', () => {
    const rejected: [number, RegistrationEvent][] = [
      ...registered.slice(0, 2),
      [100, { kind: 'outcome', outcome: { kind: 'auth-rejected' }, sent: 2 }],
    ];
    expect(drive([...rejected, [9_000, { kind: 'urge', force: false }]]).actions.at(-1)).toBeUndefined();
    expect(drive([...rejected, [9_000, { kind: 'urge', force: true }]]).actions.at(-1)).toBe('queue');
  });

  it('tries new credentials that came while the old ones were being rejected', () => {
    const { actions } = drive([
      ...registered.slice(0, 2),
      [50, { kind: 'urge', force: true }],
      [100, { kind: 'outcome', outcome: { kind: 'auth-rejected' }, sent: 2 }],
    ]);
    expect(actions.at(-1)).toBe('arm');
  });
});
