/**
 * Originated calls among peers and a line that do anything at any moment: whatever happens, a call ends once, both its
 * sides are over, every request was answered, nothing was done that a peer forbids, and no timer is left.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type FakeDialog,
  type FakeOutgoingInvite,
  FakeRequest,
  request,
  response,
} from '../kit/fake-engine.js';
import { trunk } from '../unit/call/kit.js';
import { OriginationHouse, way } from '../unit/origination/kit.js';

const sdp = (who: string, port: number): string =>
  `v=0\r\no=${who} 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0\r\n`;
const BODIES = [4_000, 4_002, 5_000, 5_002].flatMap((port) => [sdp('a', port), sdp('b', port)]).concat('');
const STATUSES = [404, 408, 480, 486, 488, 491, 500, 503, 603];

/** Takes decisions from a list; after its end always the first choice. */
class Fate {
  readonly #rolls: readonly number[];
  #next = 0;

  constructor(rolls: readonly number[]) {
    this.#rolls = rolls;
  }

  get over(): boolean {
    return this.#next >= this.#rolls.length;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[(this.#rolls[this.#next++] ?? 0) % choices.length]!;
  }
}

class World {
  readonly house = new OriginationHouse();
  readonly fate: Fate;
  readonly asked: FakeRequest[] = [];
  readonly #settled = new Set<object>();

  constructor(fate: Fate, calleeFirst: boolean, limit: number | undefined) {
    this.fate = fate;
    const routes = ['carrier-a', 'carrier-b'].map((id) =>
      way({
        trunk: trunk({ id, cpsKey: id, delayedOffer: calleeFirst }),
        pace: { key: `default/${id}`, limit, burst: 1, countsChallenges: false },
      }),
    );
    this.house.decision = this.house.acceptance(routes, {
      originate: calleeFirst ? 'calleeFirst' : 'agentFirst',
      endpoints: [1, 2].map((i) => ({ uri: `sip:agent@192.0.2.${i}`, priority: i, weight: 1 })),
    });
  }

  /** One thing that may happen now. */
  step(): void {
    const deeds: (() => void)[] = [() => this.house.clock.advance(this.fate.pick([10, 500, 5_000, 25_000]))];
    for (const ticket of this.house.pacer.tickets) {
      if (ticket.over || ticket.cancelled) continue;
      const slot = (): void => void ticket.slot();
      deeds.push(slot, slot, slot, slot, () => ticket.at(1, 100));
      if (this.fate.pick([0, 1, 2, 3]) === 3) {
        deeds.push(() => ticket.refuse(this.fate.pick(['queue_timeout', 'queue_full', 'shutdown'] as const)));
      }
      if (!this.#settled.has(ticket) && ticket.request.leadMs !== undefined) {
        const prepare = (): void => {
          this.#settled.add(ticket);
          ticket.prepare();
        };
        deeds.push(prepare, prepare, prepare);
      }
    }
    for (const invite of this.house.engine.invites) this.#deedsOf(invite, deeds);
    if (this.fate.pick(Array.from({ length: 60 }, (_, i) => i)) === 59) {
      deeds.push(() => this.house.calls.hangUp(this.house.calls.list()[0]!.id));
    }
    this.fate.pick(deeds)();
  }

  #deedsOf(invite: FakeOutgoingInvite, deeds: (() => void)[]): void {
    const { dialog } = invite;
    if (invite.pending) {
      const answer = (): void => void invite.answer([], this.fate.pick(BODIES));
      deeds.push(
        () => invite.progress(this.fate.pick([100, 180, 183]), { body: this.fate.pick(BODIES) }),
        answer,
        answer,
        answer,
        answer,
        () => invite.reject(this.fate.pick(STATUSES)),
        () => invite.fault({ kind: 'timeout', heard: false, detail: 'silence' }),
      );
    } else if (!invite.over) deeds.push(() => invite.reject(487));
    if (dialog === null) return;
    for (const sent of dialog.requests) {
      if (!this.#settled.has(sent)) deeds.push(() => this.#settle(sent));
    }
    if (!dialog.alive) return;
    deeds.push(() => this.#ask(dialog));
    if (this.fate.pick([0, 1, 2, 3]) !== 3) return;
    deeds.push(
      () => dialog.peerEnds(),
      () => dialog.peerEnds({ kind: 'gone', detail: '481 to INVITE' }),
    );
  }

  #settle(sent: FakeDialog['requests'][number]): void {
    this.#settled.add(sent);
    if (this.fate.pick([0, 1, 2]) === 2) {
      sent.done({
        kind: 'fault',
        fault: { kind: this.fate.pick(['glare', 'flow-lost'] as const), detail: '' },
      });
      return;
    }
    const status = this.fate.pick([...STATUSES.map(() => 200), ...STATUSES, 491]);
    const body = status === 200 ? this.fate.pick(BODIES) : '';
    const invite = sent.options.method === 'INVITE';
    let acks = 0;
    sent.done({
      kind: 'response',
      response: response(status, [], body),
      ...(invite && status === 200 ? { ack: () => acks++ } : {}),
    });
    expect(acks).toBeLessThanOrEqual(1);
  }

  #ask(dialog: FakeDialog): void {
    const method = this.fate.pick(['INVITE', 'UPDATE', 'INFO', 'OPTIONS', 'REFER']);
    const asked = new FakeRequest(request(method, [], this.fate.pick(BODIES)));
    this.asked.push(asked);
    dialog.events!.onRequest(asked);
  }

  /** Lets everything that is under way come to its end. */
  finish(): void {
    for (const { id } of this.house.calls.list()) this.house.calls.hangUp(id);
    for (const invite of this.house.engine.invites) {
      if (!invite.over && invite.cancelled !== null) invite.reject(487);
      for (const sent of invite.dialog?.requests ?? []) if (!this.#settled.has(sent)) this.#settle(sent);
    }
    this.house.clock.advance(120_000);
  }
}

test('always end, once, with nothing left', () => {
  fc.assert(
    fc.property(
      fc.array(fc.noBias(fc.nat()), { maxLength: 200, size: 'max' }),
      fc.boolean(),
      fc.constantFrom(10, undefined),
      (rolls, calleeFirst, limit) => {
        const world = new World(new Fate(rolls), calleeFirst, limit);
        const { house, fate } = world;
        void house.place();
        while (!fate.over && house.calls.activeCount > 0) world.step();
        world.finish();
        house.expectClean();
        expect(house.observer.records.length).toBe(1);
        // Everything that a peer asked was answered once.
        expect(world.asked.filter(({ answers }) => answers === 0)).toEqual([]);
        // No answer to an INVITE goes without its ACK.
        for (const { dialog, acks } of house.engine.invites) if (dialog !== null) expect(acks).toBe(1);
      },
    ),
    { numRuns: 2_000 },
  );
});
