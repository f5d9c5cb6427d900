/** The ways that registrations have taken: when they are looked at, and what happens when they or our address change. */
import { describe, expect, it } from 'vitest';
import {
  answer,
  type Bench,
  bench,
  DESCRIBED,
  granted,
  granting,
  type ScriptedEngine,
  TRUNK,
} from './kit.js';

/** Accounts `u0`, `u1`… at one server. */
const accounts = (count: number, trunk: object = {}) => ({
  sipCredentials: Array.from({ length: count }, (_, index) => ({
    ...TRUNK,
    id: `t${index}`,
    authUser: `u${index}`,
    ...trunk,
  })),
  phoneNumbers: Array.from({ length: count }, (_, index) => ({
    id: `n${index}`,
    phoneNumber: `+1415555010${index}`,
    credentialsId: `t${index}`,
    registration: true,
  })),
});
const sentBy = (made: Bench, user: string) =>
  made.engine.registers.filter(({ options }) => options.to.includes(`:${user}@`));

describe('OPTIONS', () => {
  const PING = { intervalSeconds: 6, failAfter: 3, okAfter: 2 };

  it('come as often as the trunk wishes from the first one on', () => {
    const made = bench();
    made.engine.script = granting(3_600);
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, optionsPing: PING }] });
    made.clock.advance(1_000);
    expect(made.engine.of('OPTIONS')).toHaveLength(0);
    made.clock.advance(6_000);
    expect(made.engine.of('OPTIONS')).toHaveLength(1);
    made.clock.advance(30_000);
    expect(made.engine.of('OPTIONS').length).toBeGreaterThanOrEqual(5);
  });

  it('come as often as the most eager of all wishes who share a way', () => {
    const made = bench();
    made.engine.script = granting(3_600);
    made.apply(accounts(1));
    made.clock.advance(2_000);
    const both = accounts(2);
    made.apply({
      ...both,
      sipCredentials: both.sipCredentials.map((trunk, index) =>
        index === 1 ? { ...trunk, optionsPing: PING } : trunk,
      ),
    });
    made.clock.advance(8_000);
    expect(made.engine.of('OPTIONS').length).toBeGreaterThanOrEqual(1);
    made.clock.advance(30_000);
    expect(made.engine.of('OPTIONS').length).toBeGreaterThanOrEqual(5);
  });
});

describe('a connection', () => {
  /** The first connection goes silent when `frozen`; others serve. */
  function tcp(): Bench & { frozen: boolean; dead: boolean } {
    const made = Object.assign(bench(), { frozen: false, dead: false });
    made.engine.script = ({ method, target, contact }) => {
      if (made.dead || (made.frozen && target.flow === 1)) return null;
      const flow = target.flow ?? (made.frozen ? 2 : 1);
      return method === 'OPTIONS'
        ? { response: answer(200), flow }
        : { response: answer(200, [`Contact: ${granted(contact ?? '', 3_600)}`]), flow };
    };
    return made;
  }

  it('that is half open is replaced as soon as a REGISTER on it has failed', () => {
    const made = tcp();
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' }] });
    made.clock.advance(5_000);
    made.frozen = true;
    made.clock.advance(120_000);
    const [, onOld, onNew] = made.engine.registers;
    expect(onOld?.options.target.flow).toBe(1);
    expect(onNew?.options.target.flow).toBeUndefined();
    // Timer F of the one, then the other; it must be a second later than the one at least.
    expect((onNew?.at ?? 0) - (onOld?.at ?? 0)).toBeLessThanOrEqual(32_000 + 1_100);
    expect(made.engine.closed).toContain(1);
    expect(made.quarantined.size).toBe(0);
    expect(made.registrations.list()[0]).toMatchObject({ state: 'registered' });
    expect(made.engine.registers).toHaveLength(3);
  });

  it('to a server that is away is tried once, then as failures are', () => {
    const made = tcp();
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' }] });
    made.clock.advance(5_000);
    made.dead = true;
    made.clock.advance(115_000);
    // On the old connection, on a new one, and no third before its back-off.
    expect(made.engine.registers).toHaveLength(3);
    made.clock.advance(600_000);
    expect(made.engine.registers.length).toBeLessThanOrEqual(12);
  });

  it('that keeps closing is opened at once a few times, then less and less often', () => {
    const made = tcp();
    let flow = 0;
    made.engine.script = ({ contact }) => ({
      response: answer(200, [`Contact: ${granted(contact ?? '', 3_600)}`]),
      flow: ++flow,
    });
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' }] });
    made.clock.advance(5_000);
    for (let second = 0; second < 3_000; second++) {
      made.registrations.connectionClosed(flow);
      made.clock.advance(1_000);
    }
    const times = made.engine.registers.map(({ at }) => at);
    expect(times[3]).toBeLessThan(12_000);
    expect(times.length).toBeGreaterThan(5);
    expect(times.length).toBeLessThan(20);
  });
});

describe('our address', () => {
  const via = (port: number) =>
    `Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKtest;received=203.0.113.5;rport=${port}`;

  it('that a NAT has changed is told to the registrar for all, as soon as one of them learns of it', () => {
    const made = bench();
    let port = 40_000;
    made.engine.script = ({ contact }) => ({
      response: answer(200, [`Contact: ${granted(contact ?? '<sip:x@y>', 3_600)}`, via(port)]),
    });
    made.apply(accounts(3, { optionsPing: { intervalSeconds: 3_600, failAfter: 2, okAfter: 1 } }));
    made.clock.advance(60_000);
    expect(made.engine.registers).toHaveLength(3);
    port = 40_001;
    made.registrations.refresh(made.registrations.list()[0]?.id ?? '');
    made.clock.advance(2_000);
    // Each once: who brought the news has told them with it.
    expect(made.engine.registers).toHaveLength(6);
    for (const user of ['u0', 'u1', 'u2']) expect(sentBy(made, user)).toHaveLength(2);
    made.clock.advance(60_000);
    expect(made.engine.registers).toHaveLength(6);
  });

  it('that a server gives differently each time keeps nobody busy', () => {
    const made = bench();
    let port = 40_000;
    made.engine.script = ({ contact }) => ({
      response: answer(200, [`Contact: ${granted(contact ?? '<sip:x@y>', 3_600)}`, via(++port)]),
    });
    made.apply(accounts(3));
    made.clock.advance(600_000);
    expect(made.engine.registers.length).toBeLessThan(3 * 25);
  });

  /** Registered from 192.0.2.1. */
  function moving(transport: 'udp' | 'tcp', script: ScriptedEngine['script']): Bench {
    const made = bench();
    made.engine.address = '192.0.2.1';
    made.engine.script = script;
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport }] });
    made.clock.advance(5_000);
    return made;
  }

  it('that an interface has changed is registered at once, and the old one taken off by the same request', () => {
    const made = moving('udp', granting(3_600));
    made.registrations.addressesChanged();
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(1);
    made.engine.address = '192.0.2.77';
    made.registrations.addressesChanged();
    made.clock.advance(5_000);
    const [first, second] = made.engine.registers;
    const user = /<sip:([^@]+)@192\.0\.2\.1:5060>/.exec(first?.options.contact ?? '')?.[1];
    expect(second?.options.contact).toBe(
      `<sip:${user}@192.0.2.77:5060>;expires=600, <sip:${user}@192.0.2.1:5060>;expires=0`,
    );
    expect(made.registrations.list()[0]).toMatchObject({
      state: 'registered',
      contact: `sip:${user}@192.0.2.77:5060`,
    });
    made.registrations.addressesChanged();
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(2);
    made.apply({});
    made.clock.advance(5_000);
    expect(made.engine.registers.at(-1)?.options.contact).toBe(`<sip:${user}@192.0.2.77:5060>;expires=0`);
  });

  it('takes off what is bound, also when the new address never was', () => {
    const made = moving('udp', granting(3_600));
    made.engine.address = '192.0.2.77';
    made.engine.script = () => ({ fault: { kind: 'unreachable', detail: 'no route' } });
    made.registrations.addressesChanged();
    made.clock.advance(5_000);
    made.engine.script = granting(3_600);
    made.apply({});
    made.clock.advance(60_000);
    expect(made.engine.registers.at(-1)?.options.contact).toMatch(/@192\.0\.2\.1:5060>;expires=0$/);
  });

  it('over a stream ends the old connections, since they lead from where we are no more', () => {
    let flow = 0;
    const made = moving('tcp', ({ contact, target }) => ({
      response: answer(200, [`Contact: ${granted((contact ?? '').split(',')[0] ?? '', 3_600)}`]),
      flow: target.flow ?? ++flow,
    }));
    made.engine.address = '192.0.2.77';
    made.registrations.addressesChanged();
    made.clock.advance(5_000);
    expect(made.engine.closed).toEqual([1]);
    expect(made.engine.registers).toHaveLength(2);
    expect(made.engine.registers[1]?.options.target.flow).toBeUndefined();
    expect(made.engine.registers[1]?.options.contact).toContain('@192.0.2.77:5060;transport=tcp>');
  });
});
