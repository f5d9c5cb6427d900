/**
 * Registrations against registrars that do anything, from a seed. Whatever is answered: no AOR sends more than one
 * REGISTER a second (but for the answer to a challenge), none goes to a place that was not configured, something
 * always follows, and in the end nothing is left.
 */
import { describe, expect, it } from 'vitest';
import type { OutgoingRequestOptions } from '#engine/engine.js';
import { answer, bench, granted, type Reply, TRUNK } from '../unit/registration/kit.js';

const RUNS = Number(process.env.SIMULATION_REGISTRATION_RUNS ?? 20);
const FIRST = Number(process.env.SIMULATION_SEED ?? 1);
const HOUR_MS = 3_600_000;

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

class Chaos {
  readonly random: () => number;
  #nonces = 0;

  constructor(random: () => number) {
    this.random = random;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  reply(options: OutgoingRequestOptions): Reply {
    const afterMs = this.pick([0, 5, 50, 900, 20_000]);
    const contact = options.contact ?? '<sip:nobody@example.com>';
    const challenge = () =>
      `Digest realm="r${this.below(3)}", nonce="${this.#nonces++}"${this.pick(['', ', stale=true', ', qop="auth"', ', algorithm=SHA-256', ', algorithm=none'])}`;
    switch (this.below(14)) {
      case 0:
        return null;
      case 1:
        return {
          fault: this.pick([
            { kind: 'refused', detail: '' },
            { kind: 'flow-lost', detail: '' },
            { kind: 'capacity', detail: '' },
            { kind: 'unreachable', detail: '' },
            { kind: 'tls', reason: 'expired', detail: '' },
          ] as const),
          afterMs,
        };
      case 2:
        return { response: answer(401, [`WWW-Authenticate: ${challenge()}, ${challenge()}`]), afterMs };
      case 3:
        return {
          response: answer(407, [`Proxy-Authenticate: ${challenge()}`]),
          afterMs,
          from: this.pick(['198.51.100.1', '203.0.113.66']),
        };
      case 4:
        return {
          response: answer(423, [
            `Min-Expires: ${this.pick(['0', '60', '700', '4000', '999999999', 'x', '-1'])}`,
          ]),
          afterMs,
        };
      case 5:
        return {
          response: answer(this.pick([300, 301, 302, 380]), ['Contact: <sip:acme@203.0.113.9>']),
          afterMs,
        };
      case 6:
        return { response: answer(this.pick([400, 403, 404, 405, 439, 480, 494, 501, 600, 699])), afterMs };
      case 7:
        return {
          response: answer(this.pick([408, 429, 500, 503, 599]), [
            `Retry-After: ${this.pick(['0', '1', '30', '99999999', 'soon', '-5'])}`,
          ]),
          afterMs,
        };
      case 8:
        return {
          response: answer(200, [`Contact: ${granted(contact, this.pick([0, 1, 2, 3_000_000_000]))}`]),
          afterMs,
        };
      case 9:
        return {
          response: answer(200, [
            `Contact: ${'<sip:x@192.0.2.7>,'.repeat(this.pick([150, 500]))}<sip:y@192.0.2.7>`,
            `Expires: ${this.pick(['0', '1', '60', 'x'])}`,
            'Service-Route: nonsense, <x:>',
          ]),
          afterMs,
        };
      default:
        return {
          response: answer(200, [
            `Contact: ${contact}`,
            // A NAT, or a server that makes one up.
            `Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKtest;received=203.0.113.5;rport=${40_000 + this.below(3)}`,
          ]),
          afterMs,
          flow: options.target.transport === 'udp' ? 0 : 1 + this.below(5),
        };
    }
  }
}

function run(seed: number): void {
  const random = generator(seed);
  const chaos = new Chaos(random);
  const made = bench({ random, seed, settings: { perSecond: chaos.pick([1, 5, 50]) } });
  made.engine.script = (options) => chaos.reply(options);
  const described = (count: number, password: string) => ({
    sipCredentials: Array.from({ length: count }, (_, index) => ({
      ...TRUNK,
      id: `t${index}`,
      authUser: `u${index}`,
      authPassword: password,
      transport: (['udp', 'tcp', 'tls'] as const)[index % 3]!,
    })),
    phoneNumbers: Array.from({ length: count }, (_, index) => ({
      id: `n${index}`,
      phoneNumber: `+1415555${1000 + index}`,
      credentialsId: `t${index}`,
      registration: true,
    })),
  });
  const wanted = 1 + chaos.below(6);
  made.apply(described(wanted, 'p'));
  for (let step = 0; step < 200; step++) {
    made.clock.advance(chaos.pick([10, 500, 3_000, 40_000, 400_000]));
    switch (chaos.below(8)) {
      case 0:
        made.apply(described(chaos.below(wanted + 1), chaos.pick(['p', 'q'])));
        break;
      case 1:
        made.registrations.connectionClosed(1 + chaos.below(5));
        break;
      case 2: {
        const [first] = made.registrations.all();
        if (first !== undefined) made.registrations.refresh(first.id);
        break;
      }
      case 4:
        made.engine.address = `192.0.2.${1 + chaos.below(3)}`;
        made.registrations.addressesChanged();
        break;
      case 3:
        made.addresses = chaos.pick([
          ['198.51.100.1'],
          ['198.51.100.1', '198.51.100.2', '198.51.100.3'],
          { kind: 'timeout', detail: '' },
        ] as const);
    }
  }
  // It never stops: within the longest wait there is another attempt for whoever is wanted.
  made.addresses = ['198.51.100.1'];
  made.apply(described(wanted, 'p'));
  made.clock.advance(HOUR_MS);
  const since = made.clock.now();
  // Longest of all is a granted day.
  made.clock.advance(25 * HOUR_MS);
  const users = new Set(
    made.engine.registers.filter(({ at }) => at >= since).map(({ options }) => options.to),
  );
  expect(users.size, 'AORs that went on').toBe(wanted);

  const byAor = new Map<string, number[]>();
  for (const { at, options } of made.engine.registers) {
    expect(options.target.address).toMatch(/^198\.51\.100\.[123]$/);
    expect(options.uri).toBe('sip:provider.example');
    const times = byAor.get(`${options.callId}`) ?? [];
    times.push(at);
    byAor.set(`${options.callId}`, times);
  }
  for (const times of byAor.values()) {
    for (const [index, at] of times.entries()) {
      // Over any stretch: one a second, and a challenged one may take three more.
      const within = times.slice(index).filter((other) => other < at + 10_000).length;
      expect(within, `in the ten seconds from ${at}`).toBeLessThanOrEqual(10 + 4);
    }
  }
  const cseqs = new Map<string, number>();
  for (const { options } of made.engine.registers) {
    const before = cseqs.get(`${options.callId}`) ?? 0;
    expect(options.cseq).toBeGreaterThan(before);
    cseqs.set(`${options.callId}`, options.cseq!);
  }

  made.engine.script = () => ({ response: answer(200) });
  made.apply({});
  made.clock.advance(HOUR_MS);
  expect(made.registrations.size, 'left over').toBe(0);
  expect(made.clock.armedCount, 'timers left over').toBe(0);
}

describe('registrations among registrars that do anything', () => {
  it.each(Array.from({ length: RUNS }, (_, index) => FIRST + index))('hold with seed %i', (seed) =>
    run(seed),
  );
});
