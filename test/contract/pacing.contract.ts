/** What every pacer promises, whatever its lines are kept in. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PaceObserver } from '#pacing/observer.js';
import type { Pacer } from '#pacing/pacer.js';
import { FakeCall, inOrder, moments, mostWithin, type PacingRig, ruleOf } from './pacing-rig.js';

export function recordingObserver(): PaceObserver & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    callPaced: () => seen.push('paced'),
    callRefused: (_key, why) => seen.push(`refused ${why}`),
    slotsLost: (_key, count) => seen.push(`lost ${count}`),
    refusedByProvider: () => seen.push('refused by provider'),
    paceLowered: (_key, pace) => seen.push(`lowered ${pace.toFixed(2)}`),
    paceRestored: () => seen.push('restored'),
  };
}

export function pacingContract(name: string, createRig: () => Promise<PacingRig>): void {
  describe(`${name}: one line`, () => {
    let rig: PacingRig;
    let pacer: Pacer;
    const observer = recordingObserver();

    beforeEach(async () => {
      rig = await createRig();
      observer.seen.length = 0;
      pacer = await rig.open({ observer, slowDown: { factor: 0.5, holdMs: 1_500, recoveryMs: 700 } });
    });

    afterEach(() => rig.close());

    /** They left in this order. On a machine so busy that a slot was missed, its call leaves with the next one. */
    const inLine = (expected: readonly FakeCall[]): void => {
      if (observer.seen.some((each) => each.startsWith('lost'))) return;
      expect(inOrder(expected).map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    };

    it('lets a call leave at once when nobody has just left', async () => {
      const call = new FakeCall(rig, pacer, ruleOf(1));
      await rig.until('it leaves', () => call.sent, 1_000);
      expect(call.slotAt! - call.joinedAt).toBeLessThan(250);
      expect(call.refusal).toBeUndefined();
    });

    it('spaces calls evenly, never more than the limit in any second, in order of arrival', async () => {
      const rule = ruleOf(20);
      const calls = Array.from({ length: 50 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('all leave', () => calls.every(({ sent }) => sent), 10_000);
      inLine(calls);
      expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(20);
      // Whoever is late is made up for at twice the pace, and never is anybody ahead of the plan.
      expect(mostWithin(moments(calls), 100)).toBeLessThanOrEqual(6);
      const [first = 0, ...others] = moments(calls).sort((a, b) => a - b);
      for (const [n, at] of others.entries()) expect(at - first).toBeGreaterThan(50 * (n + 1) - 45);
    });

    it('takes a limit below one per second', async () => {
      const rule = ruleOf(0.8);
      const calls = [new FakeCall(rig, pacer, rule), new FakeCall(rig, pacer, rule)];
      await rig.until('both leave', () => calls.every(({ sent }) => sent), 5_000);
      const apart = calls[1]!.slotAt! - calls[0]!.slotAt!;
      expect(apart).toBeGreaterThanOrEqual(1_250);
      expect(apart).toBeLessThan(2_500);
    });

    it('keeps lines apart', async () => {
      const slow = ruleOf(0.5);
      const first = new FakeCall(rig, pacer, slow);
      const held = new FakeCall(rig, pacer, slow);
      const other = new FakeCall(rig, pacer, ruleOf(0.5));
      await rig.until('the other line goes', () => first.sent && other.sent, 1_000);
      expect(held.sent).toBe(false);
    });

    it('lets the highest priority go first, then who came first', async () => {
      const rule = ruleOf(10);
      const first = new FakeCall(rig, pacer, rule);
      await rig.until('the line is in use', () => first.sent, 1_000);
      // What is given out already stays given out, so the comparison begins behind it.
      const filler = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule, { priority: 9 }));
      const low = [0, 1].map(() => new FakeCall(rig, pacer, rule, { priority: 1 }));
      const high = [0, 1].map(() => new FakeCall(rig, pacer, rule, { priority: 8 }));
      const middle = new FakeCall(rig, pacer, rule, { priority: 4 });
      const all = [...filler, ...low, ...high, middle];
      await rig.until('all leave', () => all.every(({ sent }) => sent), 5_000);
      inLine([...filler, ...high, middle, ...low]);
    });

    it('gives the slot of a call that leaves to the next, and calls nothing after cancel', async () => {
      const rule = ruleOf(2);
      const calls = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule));
      calls[1]!.ticket.cancel();
      calls[1]!.ticket.cancel();
      await rig.until('the others leave', () => [0, 2, 3].every((i) => calls[i]!.sent), 5_000);
      expect(calls[1]!.heard.filter((what) => what !== 'place')).toEqual([]);
      // Two spacings for three calls: the cancelled one has used none.
      const span = calls[3]!.slotAt! - calls[0]!.slotAt!;
      expect(span).toBeGreaterThanOrEqual(1_000);
      expect(span).toBeLessThan(1_480);
    });

    it('ends the wait of a call in time, without using a slot', async () => {
      const rule = ruleOf(1);
      const first = new FakeCall(rig, pacer, rule);
      const impatient = new FakeCall(rig, pacer, rule, { timeoutMs: 300 });
      const patient = new FakeCall(rig, pacer, rule);
      await rig.until('it is refused', () => impatient.refusal !== undefined, 900);
      expect(impatient.refusal).toBe('queue_timeout');
      await rig.until('the next leaves', () => patient.sent, 3_000);
      expect(patient.slotAt! - first.slotAt!).toBeLessThan(1_480);
      expect(observer.seen).toContain('refused queue_timeout');
    });

    it('refuses at once when as many wait as may', async () => {
      const rule = ruleOf(1, { maxQueued: 2 });
      const first = new FakeCall(rig, pacer, rule);
      await rig.until('the line is in use', () => first.sent, 1_000);
      const calls = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('two are refused', () => calls.filter(({ refusal }) => refusal).length === 2, 700);
      expect(calls.map(({ refusal }) => refusal)).toEqual([undefined, undefined, 'queue_full', 'queue_full']);
      calls[0]!.ticket.cancel();
      const late = new FakeCall(rig, pacer, rule);
      await rig.until('the others leave', () => calls[1]!.sent && late.sent, 4_000);
    });

    it('lets as many go at once as burst says, after a rest, and averages on', async () => {
      const rule = ruleOf(4, { burst: 3 });
      const calls = Array.from({ length: 7 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('all leave', () => calls.every(({ sent }) => sent), 4_000);
      const at = moments(calls);
      expect(at[2]! - at[0]!).toBeLessThan(200);
      expect(at[3]! - at[0]!).toBeGreaterThan(200);
      expect(at[6]! - at[0]!).toBeGreaterThan(950);
      expect(mostWithin(at, 1_000)).toBeLessThanOrEqual(4 + 2);
    });

    it('follows a limit that is lowered or raised, without a burst', async () => {
      const fast = ruleOf(20);
      const calls = Array.from({ length: 40 }, () => new FakeCall(rig, pacer, fast));
      await rig.until('some leave', () => calls.filter(({ sent }) => sent).length >= 15, 3_000);
      calls[39]!.ticket.rule({ ...fast, limit: 4 });
      const changed = rig.now();
      await rig.pass(1_800);
      // What had its slot already may leave; from then on the new limit holds, counting what left before.
      const settled = moments(calls).filter((at) => at > changed + 400);
      expect(mostWithin(settled, 1_000)).toBeLessThanOrEqual(4);
      calls[39]!.ticket.rule({ ...fast, limit: 20 });
      await rig.until('all leave', () => calls.every(({ sent }) => sent), 5_000);
      expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(20);
      inLine(calls);
    });

    it('tells each call its place and when it may expect to leave', async () => {
      const rule = ruleOf(2);
      const calls = Array.from({ length: 7 }, () => new FakeCall(rig, pacer, rule));
      await rig.until(
        'all know their place',
        () => calls.slice(1).every(({ places }) => places.length > 0),
        400,
      );
      const promised = calls.map(({ places }) =>
        places[0] === undefined ? undefined : rig.now() + places[0].waitMs,
      );
      expect(calls.slice(2).map(({ places }) => places[0]!.position)).toEqual(
        expect.arrayContaining([2, 3, 4].map((position) => position)),
      );
      expect(calls[6]!.ticket.place!.waitMs).toBeGreaterThan(2_000);
      await rig.until('all leave', () => calls.every(({ sent }) => sent), 8_000);
      const errors = calls.slice(2).map((call, i) => Math.abs(call.slotAt! - promised[i + 2]!));
      expect(errors.sort((a, b) => a - b)[2]).toBeLessThan(300);
      // The last one saw itself move up.
      const positions = calls[6]!.places.map(({ position }) => position);
      expect(positions.length).toBeGreaterThan(1);
      expect(positions).toEqual([...positions].sort((a, b) => b - a));
    });

    it('has a call prepare before its slot, and lets others pass while it is not ready', async () => {
      const rule = ruleOf(4);
      const first = new FakeCall(rig, pacer, rule);
      const slow = new FakeCall(rig, pacer, rule, { leadMs: 400 });
      const others = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('the others leave', () => others.every(({ sent }) => sent), 4_000);
      expect(first.sent).toBe(true);
      expect(slow.heard.filter((what) => what !== 'place')).toEqual(['prepare']);
      // It has used no slot: four spacings for five calls.
      expect(others[3]!.slotAt! - first.slotAt!).toBeLessThan(1_240);
      const later = Array.from({ length: 3 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('the line is busy again', () => later[0]!.sent, 1_000);
      slow.ticket.ready();
      await rig.until('it leaves', () => slow.sent && later.every(({ sent }) => sent), 3_000);
      // At its old place, before those that came after it.
      expect(slow.slotAt!).toBeLessThan(later[2]!.slotAt!);
    });

    it('has calls that join a free line together prepare one after the other, each in its time', async () => {
      const rule = ruleOf(2);
      const calls = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule, { leadMs: 200 }));
      for (const call of calls) call.onPrepared = () => call.ticket.ready();
      await rig.until('all know their place', () => calls.every(({ places }) => places.length > 0), 400);
      // The first may have left already.
      expect(calls[3]!.places[0]!.position).toBeGreaterThanOrEqual(2);
      const promised = calls[3]!.joinedAt + calls[3]!.places[0]!.waitMs;
      expect(calls[3]!.preparedAt).toBeUndefined();
      await rig.until('all leave', () => calls.every(({ sent }) => sent), 5_000);
      expect(Math.abs(calls[3]!.slotAt! - promised)).toBeLessThan(600);
      expect(calls[3]!.slotAt! - calls[3]!.preparedAt!).toBeLessThan(900);
    });

    it('tells a call that needs time to prepare at once where the line is free', async () => {
      const rule = ruleOf(1);
      const call = new FakeCall(rig, pacer, rule, { leadMs: 5_000 });
      await rig.until('it prepares', () => call.preparedAt !== undefined, 400);
      // Meanwhile the line is not held up.
      const other = new FakeCall(rig, pacer, rule);
      await rig.until('another leaves', () => other.sent, 400);
      expect(call.sent).toBe(false);
      await rig.pass(1_300);
      call.ticket.ready();
      call.ticket.ready();
      await rig.until('it leaves as soon as it is ready', () => call.sent, 400);
    });

    it('passes the slot on when the call does not send, and offers another', async () => {
      const rule = ruleOf(4);
      const unwilling = new FakeCall(rig, pacer, rule);
      unwilling.sends = false;
      const next = new FakeCall(rig, pacer, rule);
      await rig.until('the next leaves', () => next.sent, 2_000);
      expect(unwilling.heard).toContain('slot');
      unwilling.sends = true;
      await rig.until('it is offered another', () => unwilling.sent, 2_000);
      expect(mostWithin([unwilling.slotAt!, next.slotAt!], 249)).toBe(1);
    });

    it('waits for ready again after a call that prepares did not send', async () => {
      const rule = ruleOf(10);
      const call = new FakeCall(rig, pacer, rule, { leadMs: 100 });
      call.sends = false;
      await rig.until('it prepares', () => call.preparedAt !== undefined, 1_000);
      call.ticket.ready();
      await rig.until('it is offered a slot', () => call.heard.includes('slot'), 1_000);
      call.sends = true;
      await rig.pass(500);
      expect(call.sent).toBe(false);
      call.ticket.ready();
      await rig.until('it leaves', () => call.sent, 1_000);
    });

    it('lowers the pace when the provider refuses, once for those under way together, and recovers', async () => {
      const rule = ruleOf(10);
      pacer.slowDown(rule);
      pacer.slowDown(rule);
      await rig.until('it is lowered', () => observer.seen.some((each) => each.startsWith('lowered')), 500);
      const before = await pacer.line(rule.key, rule.limit);
      expect(before.pace).toBeCloseTo(5);
      expect(before.refusedByProvider).toBe(2);
      const calls = Array.from({ length: 6 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('calls go on', () => calls.every(({ sent }) => sent), 3_000);
      expect(calls[5]!.slotAt! - calls[0]!.slotAt!).toBeGreaterThan(950);
      await rig.until('it is full again', () => observer.seen.includes('restored'), 6_000);
      expect((await pacer.line(rule.key, rule.limit)).pace).toBe(10);
      expect(observer.seen.filter((each) => /lowered|restored/.test(each))).toEqual([
        'lowered 5.00',
        'restored',
      ]);
    });

    it('shows its lines', async () => {
      const rule = ruleOf(5);
      expect(await pacer.line(rule.key, 5)).toEqual({
        key: rule.key,
        waiting: [],
        sentLastMinute: 0,
        waitP50Ms: null,
        waitP95Ms: null,
        pace: 5,
        refusedByProvider: 0,
        slotsLost: 0,
      });
      const calls = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule, { priority: 7 }));
      const held = Array.from(
        { length: 3 },
        () => new FakeCall(rig, pacer, { ...rule }, { leadMs: 10, priority: 2 }),
      );
      await rig.until('four leave', () => calls.every(({ sent }) => sent), 3_000);
      await rig.until(
        'the others prepare',
        () => held.every(({ preparedAt }) => preparedAt !== undefined),
        3_000,
      );
      // What left is told to the others with what is told anyway.
      await rig.pass(1_300);
      const view = await pacer.line(rule.key, 5);
      expect(view.waiting).toEqual([{ priority: 2, count: 3 }]);
      expect(view.sentLastMinute).toBe(4);
      expect(view.waitP50Ms).toBeGreaterThan(50);
      expect(view.waitP95Ms).toBeGreaterThanOrEqual(view.waitP50Ms!);
      expect(view.waitP95Ms).toBeLessThan(2_000);
    });

    it('refuses everybody when it stops, and whoever comes after', async () => {
      const rule = ruleOf(1);
      const calls = Array.from({ length: 3 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('one leaves', () => calls[0]!.sent, 1_000);
      await pacer.stop();
      expect(calls.map(({ refusal }) => refusal)).toEqual([undefined, 'shutdown', 'shutdown']);
      const late = new FakeCall(rig, pacer, rule);
      await rig.until('it is refused', () => late.refusal === 'shutdown', 500);
    });
  });
}
