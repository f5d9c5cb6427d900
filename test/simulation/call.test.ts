/**
 * Calls with peers that do anything the port allows, in any order, at any time. A run is a seed and a number of steps;
 * a failure names both and fast-check makes them small.
 *
 * What must hold at the end of every run:
 * - the caller got exactly one final answer, unless it left first; then none;
 * - nothing was done on a leg that was over (the scripted engine notes it as misuse);
 * - no leg is left: every INVITE to an agent ended or was cancelled, every dialog ended, no timer runs;
 * - each call left one record, and every answer of a callee one ACK;
 * - no call stands in line any more, and on a paced trunk no more INVITEs were sent than slots given;
 * - every request inside the call got at most one answer, and one that was not relayed exactly one.
 *
 * `SIMULATION_SEED` and `SIMULATION_RUNS` replay or extend: `SIMULATION_RUNS=100000 npx vitest run … test/simulation`.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineFault } from '#engine/faults.js';
import type { OutboundAcceptance } from '#routing/outbound-decision.js';
import {
  type FakeDialog,
  type FakeIncomingInvite,
  type FakeOutgoingInvite,
  FakeRequest,
  request,
  response,
  SDP,
} from '../kit/fake-engine.js';
import type { ScriptedTicket } from '../kit/scripted-pacer.js';
import { acceptance, agent, CallHouse, route, trunk } from '../unit/call/kit.js';

const SEED = Number(process.env.SIMULATION_SEED ?? 20_261);
const RUNS = Number(process.env.SIMULATION_RUNS ?? 3_000);

const FAULTS: readonly EngineFault[] = [
  { kind: 'refused', detail: '' },
  { kind: 'unreachable', detail: '' },
  { kind: 'tls', reason: 'alert', detail: '' },
  { kind: 'timeout', heard: false, detail: '' },
  { kind: 'timeout', heard: true, detail: '' },
  { kind: 'flow-lost', detail: '' },
  { kind: 'capacity', detail: '' },
  { kind: 'engine-down', detail: '' },
];
const REJECTIONS = [302, 401, 404, 408, 486, 487, 500, 503, 504, 600, 603, 699];
const PROVISIONALS = [180, 181, 183, 199];
const METHODS = ['INVITE', 'UPDATE', 'INFO', 'OPTIONS', 'REFER', 'BREW'];
const SPANS = [1, 20, 500, 4_000, 15_000, 31_000];

type Act = () => void;

class Run {
  readonly house: CallHouse;
  readonly caller: FakeIncomingInvite;
  readonly requests: FakeRequest[] = [];
  readonly #choose: (count: number) => number;
  readonly #done = new Set<unknown>();
  #acked = false;
  #gentle: Act[] = [];
  #ends: Act[] = [];

  constructor(choose: (count: number) => number, outbound: boolean) {
    this.#choose = choose;
    this.house = new CallHouse({
      maxDurationMs: this.#one([0, 60_000]),
      ringTimeoutMs: this.#one([10_000, 30_000, 90_000]),
    });
    this.house.resolver.hold = this.#one([false, true]);
    this.house.resolver.names.set(
      'many.example',
      [21, 22].map((host) => ({ transport: 'udp', address: `192.0.2.${host}`, port: 5060 })),
    );
    this.house.resolver.names.set('none.example', { kind: 'not-found', detail: 'none' });
    if (this.#one([false, true])) this.house.resolver.quarantined.set('192.0.2.9', undefined);
    const endpoints = this.#one([
      ['sip:a@192.0.2.9'],
      ['sip:a@192.0.2.9', 'sip:a@192.0.2.10'],
      ['sip:a@many.example', 'sip:a@192.0.2.9'],
      ['sip:a@none.example', 'sip:a@192.0.2.9', 'mailto:nobody'],
    ]);
    const lines = this.#one([[], ['Supported: 100rel'], ['Require: 100rel']]);
    this.caller = outbound
      ? this.house.originate(this.#ways(), lines, this.#one([SDP, '']))
      : this.house.call(route(endpoints, { trunk: trunk(), agent: agent() }), lines, this.#one([SDP, '']));
  }

  #ways(): OutboundAcceptance {
    const limit = this.#one([undefined, 2]);
    const more = { password: 'secret', countsChallenges: this.#one([false, true]) };
    return acceptance(
      this.#one([
        [{ limit, ...more }],
        [{ limit, ...more }, { limit: 5 }],
        [
          { server: 'many.example', limit },
          { limit, ...more },
        ],
        [{ server: 'none.example', limit: 1 }, { limit }, { server: 'many.example' }],
      ]),
    );
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#choose(list.length)]!;
  }

  /** One of the things that may happen now, by the port's rules. Ends are rarer than the rest, or no run gets far. */
  step(): void {
    this.#gentle = [() => this.house.clock.advance(this.#one(SPANS))];
    this.#ends = [() => this.house.clock.advance(40_000), () => this.house.calls.endAll('stop')];
    const { resolver } = this.house;
    if (resolver.held.length > 0) this.#gentle.push(() => resolver.held.shift()!());
    this.#callerActs();
    for (const ticket of this.house.pacer.tickets) this.#lineActs(ticket);
    for (const leg of this.house.engine.invites) this.#legActs(leg);
    this.#one(this.#choose(6) === 0 ? this.#ends : this.#gentle)();
  }

  #lineActs(ticket: ScriptedTicket): void {
    if (!ticket.waits) return;
    this.#gentle.push(
      () => ticket.slot(),
      () => ticket.slot(),
      () => ticket.at(this.#choose(9), this.#one([0, 600, 30_000])),
    );
    this.#ends.push(() => ticket.refuse(this.#one(['queue_full', 'queue_timeout', 'shutdown'])));
  }

  #callerActs(): void {
    const { caller } = this;
    if (!caller.over && caller.finals === 0) {
      this.#ends.push(
        () => caller.cancel(),
        () => caller.lose('gone'),
      );
      const reliable = caller.progressed.filter((sent) => sent.reliable);
      if (reliable.length > 0) {
        const early = this.#one(reliable).early ?? 0;
        this.#gentle.push(() => caller.events.onPrack?.(request('PRACK', [], 'answer'), early));
        this.#ends.push(() => caller.events.onPrackTimeout?.(early));
      }
      if (caller.progressed.length > 0) {
        const early = this.#one(caller.progressed).early ?? 0;
        this.#gentle.push(() => caller.events.onRequest?.(this.#inside(), early));
      }
    }
    this.#outcomes(caller.early);
    const { dialog } = caller;
    if (dialog === null) return;
    this.#dialogActs(dialog);
    if (!dialog.alive || this.#acked) return;
    this.#gentle.push(() => {
      this.#acked = true;
      dialog.events!.onAck?.(request('ACK', [], 'answer'));
    });
    this.#ends.push(() => dialog.peerEnds({ kind: 'no-ack' }));
  }

  #legActs(leg: FakeOutgoingInvite): void {
    this.#outcomes(leg.early);
    if (leg.dialog !== null) this.#dialogActs(leg.dialog);
    if (leg.over) return;
    if (leg.cancelled !== null) {
      this.#gentle.push(
        () => leg.reject(487),
        () => leg.fault({ kind: 'cancelled', detail: '' }),
        () => leg.fault({ kind: 'timeout', heard: false, detail: '' }),
      );
      return;
    }
    const offer = this.caller.request.body === '';
    this.#gentle.push(
      () => leg.progress(100),
      // Early dialogs are numbered in order of appearance.
      () =>
        leg.progress(this.#one(PROVISIONALS), { early: this.#choose(Math.min(leg.shown.size + 2, 4)) - 1 }),
      () =>
        leg.progress(183, {
          early: this.#choose(Math.min(leg.shown.size + 1, 3)),
          body: 'sdp',
          reliable: true,
          offer,
        }),
      () => leg.reject(this.#one([408, 500, 502, 503, 504])),
      () => leg.answer([], this.#one([SDP, '']), this.#choose(3) - 1),
      () => leg.answer([], SDP, 0),
    );
    const nonce = this.#choose(3);
    this.#gentle.push(() =>
      leg.reject(401, [`WWW-Authenticate: Digest realm="r",nonce="${nonce}",qop="auth"`]),
    );
    this.#ends.push(
      () => leg.reject(this.#one(REJECTIONS)),
      () => leg.fault(this.#one(FAULTS)),
    );
    if (leg.shown.size > 0)
      this.#gentle.push(() => leg.events.onRequest?.(this.#inside(), this.#one([...leg.shown])));
  }

  #dialogActs(dialog: FakeDialog): void {
    this.#outcomes(dialog.requests);
    if (!dialog.alive) return;
    this.#gentle.push(() => dialog.events!.onRequest(this.#inside()));
    this.#ends.push(
      () => dialog.peerEnds(),
      () => dialog.peerEnds({ kind: 'gone', detail: '' }),
      () => dialog.peerEnds({ kind: 'engine-down', detail: '' }),
    );
  }

  #inside(): FakeRequest {
    const inside = new FakeRequest(request(this.#one(METHODS), [], this.#one(['', 'sdp'])));
    this.requests.push(inside);
    return inside;
  }

  #outcomes(relayed: FakeDialog['requests']): void {
    for (const sent of relayed) {
      if (this.#done.has(sent)) continue;
      this.#gentle.push(
        () => {
          this.#done.add(sent);
          sent.done({
            kind: 'response',
            response: response(this.#one([200, 488, 491, 500]), [], 'sdp'),
            ack: () => undefined,
          });
        },
        () => {
          this.#done.add(sent);
          sent.done({ kind: 'fault', fault: this.#one(FAULTS) });
        },
      );
    }
  }

  /** Lets every time-out pass, ends what talks on, and looks at what is left. */
  finish(): void {
    const { house, caller } = this;
    for (const arrive of house.resolver.held.splice(0)) arrive();
    house.clock.advance(200_000);
    if (caller.finals === 0 && !caller.over) throw new Error('the caller waits for ever');
    house.calls.endAll('the run is over');

    expect(house.engine.misuse).toEqual([]);
    expect(house.errors).toEqual([]);
    expect(caller.finals).toBe(caller.over ? 0 : 1);
    if (caller.dialog !== null) expect(caller.dialog.alive).toBe(false);
    for (const leg of house.engine.invites) {
      expect(leg.pending).toBe(false);
      if (leg.dialog !== null) {
        expect(leg.dialog.alive).toBe(false);
        expect(leg.acks).toBe(1);
      }
    }
    expect(house.engine.invites.filter((leg) => leg.dialog !== null).length).toBe(
      caller.accepted === null ? 0 : 1,
    );
    expect(house.clock.armedCount).toBe(0);
    expect(house.calls.activeCount).toBe(0);
    for (const id of ['carrier-a', 'carrier-1', 'carrier-2', 'carrier-3']) {
      expect(house.calls.activeOnTrunk(id)).toBe(0);
    }
    expect(house.calls.usage.callsOfOrganization('default')).toBe(0);
    expect(house.pacer.tickets.filter((ticket) => ticket.waits)).toEqual([]);
    const limited = new Set(house.pacer.tickets.map(({ request: { rule } }) => rule.key));
    for (const key of limited) {
      const address = `203.0.113.${key.slice(-1)}`;
      const sent = house.engine.invites.filter(
        ({ options: { target, repeat } }) => target.address === address && repeat === undefined,
      );
      expect(sent.length).toBeLessThanOrEqual(
        house.pacer.tickets.filter((ticket) => ticket.used && ticket.request.rule.key === key).length,
      );
    }
    const record = house.observer.record;
    expect(record.sipStatus).toBe(caller.accepted?.status ?? caller.rejected?.status ?? record.sipStatus);
    expect(record.attempts.every((attempt) => attempt.outcome !== 'pending')).toBe(true);
    for (const inside of this.requests) expect(inside.answers).toBeLessThanOrEqual(1);
    const relayed = [
      caller.early,
      caller.dialog?.requests ?? [],
      ...house.engine.invites.flatMap((leg) => [leg.early, leg.dialog?.requests ?? []]),
    ].flat().length;
    expect(this.requests.filter((inside) => inside.answers === 1).length).toBeGreaterThanOrEqual(
      this.requests.length - relayed,
    );
  }
}

/** A stream of choices that is the same for the same seed. */
function chooser(seed: number): (count: number) => number {
  let state = seed >>> 0 || 1;
  return (count) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % count;
  };
}

function play(seed: number, steps: number, outbound = false): Run {
  const run = new Run(chooser(Math.imul(seed + 1, 2_654_435_761)), outbound);
  for (let i = 0; i < steps; i++) run.step();
  run.finish();
  return run;
}

describe('a call among peers that do anything', () => {
  it('always ends, once, with nothing left', () => {
    let answered = 0;
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 40 }), (seed, steps) => {
        if (play(seed, steps).caller.accepted !== null) answered++;
      }),
      { seed: SEED, numRuns: RUNS },
    );
    // The peers must get far enough for the rules to mean something.
    expect(answered).toBeGreaterThan(RUNS / 4);
  });

  it('always ends, once, with nothing left, when it is an agent’s', () => {
    let answered = 0;
    let held = 0;
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 40 }), (seed, steps) => {
        const { caller, house } = play(seed, steps, true);
        if (caller.accepted !== null) answered++;
        if (house.pacer.tickets.length > 0) held++;
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(answered).toBeGreaterThan(RUNS / 8);
    expect(held).toBeGreaterThan(RUNS / 4);
  });

  it('can be played again from its seed', () => {
    const records = (): string => JSON.stringify(play(4711, 40).house.observer.records);
    expect(records()).toBe(records());
  });
});
