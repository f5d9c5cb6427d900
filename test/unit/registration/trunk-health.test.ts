/** Servers of trunks that do not register: asked as `optionsPing` says, down and up by its thresholds. */
import { describe, expect, it } from 'vitest';
import type { Target } from '#engine/engine.js';
import type { TargetView } from '#registration/target-view.js';
import { targetViews } from '#registration/target-view.js';
import { TrunkHealth } from '#registration/trunk-health.js';
import type { Dns } from '#targets/dns.js';
import { Resolver } from '#targets/resolver.js';
import { type Described, snapshotOf } from '../../kit/directory.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { answer, bench, DESCRIBED, granting, ScriptedEngine, TRUNK } from './kit.js';

const PING = { intervalSeconds: 10, failAfter: 3, okAfter: 2 };
const trunk = (id: string, server: string, more: object = {}) => ({
  id,
  server,
  optionsPing: PING,
  ...more,
});

class Rig {
  readonly clock = new VirtualClock();
  readonly engine = new ScriptedEngine(this.clock);
  readonly dead = new Set<string>();
  readonly resolver = new Resolver({
    dns: NO_DNS,
    clock: this.clock,
    random: () => 0.5,
  });
  readonly health = new TrunkHealth({
    engine: this.engine,
    clock: this.clock,
    random: () => 0.5,
    resolver: this.resolver,
  });
  #version = 0;

  constructor() {
    this.engine.script = ({ target }) =>
      this.dead.has(target.address)
        ? { fault: { kind: 'refused', detail: 'nobody' } }
        : { response: answer(200) };
  }

  apply(described: Described): void {
    this.health.apply(snapshotOf(described, ++this.#version));
  }

  views(organizationId?: string): TargetView[] {
    return targetViews(this.health.ways(), organizationId);
  }

  get states(): string[] {
    return this.views().map(({ target, health }) => `${target} ${health}`);
  }

  asked(address: string): number {
    return this.engine.of('OPTIONS').filter(({ options }) => options.target.address === address).length;
  }
}

/** All servers here are addresses. */
const none = (): Promise<never> => Promise.reject(new Error('nobody asks'));
const NO_DNS: Dns = { resolveNaptr: none, resolveSrv: none, resolve4: none, resolve6: none, lookup: none };
const A: Target = { transport: 'udp', address: '198.51.100.1', port: 5060 };

describe('the health of trunks', () => {
  it('is asked for where the trunk says so and does not register, as often as it says', () => {
    const rig = new Rig();
    rig.apply({
      sipCredentials: [
        trunk('asked', '198.51.100.1'),
        { id: 'silent', server: '198.51.100.2' },
        trunk('registers', '198.51.100.3', { authUser: 'acme', authPassword: 'p' }),
      ],
      phoneNumbers: [{ phoneNumber: '+14155550100', credentialsId: 'registers', registration: true }],
    });
    expect(rig.states).toEqual(['udp:198.51.100.1:5060 unknown']);
    rig.clock.advance(60_000);
    expect(rig.asked('198.51.100.1')).toBeGreaterThanOrEqual(6);
    expect(rig.engine.of('OPTIONS').length).toBe(rig.asked('198.51.100.1'));
    expect(rig.engine.of('OPTIONS')[0]?.options).toMatchObject({
      uri: 'sip:198.51.100.1',
      from: '<sip:trunkline@198.51.100.1>',
    });
    expect(rig.views()).toEqual([
      {
        target: 'udp:198.51.100.1:5060',
        health: 'up',
        since: expect.stringMatching(/^2030-01-01T00:00:/),
        missed: 0,
        trunkIds: ['asked'],
      },
    ]);
  });

  it('goes down after failAfter misses and up after okAfter answers, and calls try who is down last', () => {
    const rig = new Rig();
    rig.apply({ sipCredentials: [trunk('a', '198.51.100.1')] });
    rig.clock.advance(20_000);
    rig.dead.add('198.51.100.1');
    const misses: [number, string][] = [];
    for (let i = 0; i < 200 && misses.at(-1)?.[1] !== 'down'; i++) {
      rig.clock.advance(250);
      const [{ missed, health } = { missed: 0, health: 'unknown' }] = rig.views();
      if (misses.at(-1)?.[0] !== missed) misses.push([missed, health]);
    }
    expect(misses).toEqual([
      [0, 'up'],
      [1, 'up'],
      [2, 'up'],
      [3, 'down'],
    ]);
    expect(rig.resolver.isQuarantined(A)).toBe(true);
    // For as long as it is down, and not for one quarantine.
    rig.clock.advance(300_000);
    expect(rig.resolver.isQuarantined(A)).toBe(true);
    rig.dead.clear();
    const before = rig.asked('198.51.100.1');
    while (rig.asked('198.51.100.1') === before) rig.clock.advance(100);
    rig.clock.advance(500);
    expect(rig.states).toEqual(['udp:198.51.100.1:5060 down']);
    rig.clock.advance(5_000);
    expect(rig.states).toEqual(['udp:198.51.100.1:5060 up']);
    expect(rig.resolver.isQuarantined(A)).toBe(false);
  });

  it('is that of each organisation alone, and ends with the trunk', () => {
    const rig = new Rig();
    rig.apply({
      sipCredentials: [
        trunk('a', '198.51.100.1'),
        trunk('b', '198.51.100.1', { organizationId: 'other' }),
        trunk('c', '198.51.100.2', { organizationId: 'other' }),
      ],
    });
    rig.clock.advance(30_000);
    expect(rig.views('default').map(({ trunkIds }) => trunkIds)).toEqual([['a']]);
    expect(rig.views('other').map(({ trunkIds }) => trunkIds)).toEqual([['b'], ['c']]);
    // One question for both.
    expect(rig.asked('198.51.100.1')).toBeLessThanOrEqual(4);
    rig.dead.add('198.51.100.2');
    rig.clock.advance(60_000);
    rig.apply({ sipCredentials: [trunk('a', '198.51.100.1')] });
    expect(rig.states).toEqual(['udp:198.51.100.1:5060 up']);
    expect(rig.resolver.isQuarantined({ ...A, address: '198.51.100.2' })).toBe(false);
    rig.health.stop();
    expect(rig.states).toEqual([]);
    expect(rig.clock.armedCount).toBe(0);
  });

  it('of a server that is registered at shows too, and silence to OPTIONS alone is not down', () => {
    const made = bench();
    made.engine.script = (options, sent) => (options.method === 'OPTIONS' ? null : granting()(options, sent));
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, optionsPing: PING }] });
    made.clock.advance(5_000);
    const views = () => targetViews(made.registrations.ways());
    expect(views()).toMatchObject([{ target: 'udp:198.51.100.1:5060', health: 'up', trunkIds: ['carrier'] }]);
    made.clock.advance(300_000);
    expect(views()).toMatchObject([{ health: 'up' }]);
    expect(made.quarantined.size).toBe(0);
    made.engine.script = () => null;
    made.clock.advance(300_000);
    expect(views()).toMatchObject([{ health: 'down' }]);
    expect(made.quarantined.size).toBe(1);
    made.engine.script = granting();
    made.clock.advance(120_000);
    expect(views()).toMatchObject([{ health: 'up' }]);
    expect(made.quarantined.size).toBe(0);
  });
});
