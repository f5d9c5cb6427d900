/** What every pacer promises calls that need time before they can send: `TicketRequest.leadMs`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PaceRule, Pacer } from '#pacing/pacer.js';
import { FakeCall, inOrder, moments, mostWithin, type PacingRig, ruleOf } from './pacing-rig.js';

/** As long as it takes an agent to answer. */
const RINGS_MS = 500;
const LEAD_MS = 2_000;

export function leadContract(name: string, createRig: () => Promise<PacingRig>): void {
  describe(`${name}: calls that prepare`, () => {
    let rig: PacingRig;
    let pacer: Pacer;

    beforeEach(async () => {
      rig = await createRig();
      pacer = await rig.open();
    });

    afterEach(() => rig.close());

    const join = (count: number, rule: PaceRule): FakeCall[] =>
      Array.from({ length: count }, () => new FakeCall(rig, pacer, rule, { leadMs: LEAD_MS }));
    const prepared = (calls: readonly FakeCall[]): FakeCall[] =>
      calls.filter(({ preparedAt }) => preparedAt !== undefined);
    /** Agents that answer a while after they were rung. */
    const answering = (calls: readonly FakeCall[]): (() => void) => {
      const waiting = new Set(calls);
      return () => {
        for (const call of waiting) {
          if (call.preparedAt === undefined || rig.now() - call.preparedAt < RINGS_MS) continue;
          waiting.delete(call);
          call.ticket.ready();
        }
      };
    };

    it('are told one after the other, each when its own slot is near, and leave once they are ready', async () => {
      const rule = ruleOf(1);
      const calls = join(20, rule);
      const answer = answering(calls);
      const start = rig.now();
      await rig.until('all know their place', () => calls.every(({ ticket }) => ticket.place), 400);
      // Those that prepare count as if each took one slot.
      for (const n of [4, 10, 19]) {
        expect(calls[n]!.ticket.place!.position).toBe(n);
        expect(Math.abs(calls[n]!.ticket.place!.waitMs - n * 1_006)).toBeLessThan(900);
      }
      await rig.pass(300);
      expect(prepared(calls).length).toBeGreaterThanOrEqual(2);
      expect(prepared(calls).length).toBeLessThanOrEqual(4);

      const lastFew = (): boolean => {
        answer();
        return moments(calls).length >= 4;
      };
      await rig.until('some leave', lastFew, 8_000);
      const rung = prepared(calls);
      expect(rung).toEqual(calls.slice(0, rung.length));
      expect(rung.length).toBeLessThanOrEqual(8);
      for (const [n, { preparedAt }] of rung.entries()) {
        // The slot of the n-th is n spacings away, and it is told so long before.
        expect(preparedAt! - start).toBeGreaterThan(n * 1_000 - LEAD_MS - 400);
      }

      calls[19]!.ticket.rule({ ...rule, limit: 10 });
      const all = (): boolean => {
        answer();
        return calls.every(({ sent }) => sent);
      };
      await rig.until('all leave', all, 8_000);
      expect(calls.every(({ heard }) => heard.filter((what) => what === 'prepare').length === 1)).toBe(true);
      for (const { preparedAt, slotAt } of calls) expect(slotAt! - preparedAt!).toBeLessThan(LEAD_MS + 1_500);
      expect(mostWithin(moments(calls), 1_000)).toBeLessThanOrEqual(10);
    });

    it('go on being told at the pace of the line although their agents take longer', async () => {
      const rule = ruleOf(2);
      const calls = Array.from({ length: 12 }, () => new FakeCall(rig, pacer, rule, { leadMs: 300 }));
      await rig.pass(3_000);
      const rung = prepared(calls).length;
      expect(rung).toBeGreaterThanOrEqual(5);
      expect(rung).toBeLessThanOrEqual(8);
    });

    it('make room for the next when one of them gives up', async () => {
      const calls = join(9, ruleOf(1));
      await rig.pass(500);
      const first = prepared(calls);
      expect(first.length).toBeGreaterThanOrEqual(2);
      expect(first.length).toBeLessThanOrEqual(4);
      for (const { ticket } of first) ticket.cancel();
      await rig.until('the next are told', () => prepared(calls).length >= first.length + 2, 400);
      expect(prepared(calls)).toEqual(calls.slice(0, prepared(calls).length));
      await rig.pass(200);
      expect(prepared(calls).length).toBeLessThanOrEqual(first.length + 5);
      const second = prepared(calls).slice(first.length);
      for (const { ticket } of second) ticket.ready();
      await rig.until('they leave', () => second.every(({ sent }) => sent), 5_000);
      expect(inOrder(second)).toEqual(second);
      expect(first.some(({ sent }) => sent)).toBe(false);
    });

    it('leave their slots to others as long as they are not ready, and have their places after that', async () => {
      const rule = ruleOf(4);
      const slow = join(12, rule);
      const others = Array.from({ length: 4 }, () => new FakeCall(rig, pacer, rule));
      await rig.until(
        'they know their place',
        () => others.slice(1).every(({ ticket }) => ticket.place),
        200,
      );
      // They cannot know that nobody before them will be ready.
      const { position, waitMs } = others[3]!.ticket.place!;
      expect(position).toBeGreaterThanOrEqual(12);
      expect(waitMs).toBeGreaterThan(2_500);
      await rig.until('the others leave', () => others.every(({ sent }) => sent), 2_500);
      expect(inOrder(others)).toEqual(others);
      expect(others[3]!.slotAt! - others[0]!.slotAt!).toBeLessThan(1_100);
      const later = Array.from({ length: 8 }, () => new FakeCall(rig, pacer, rule));
      await rig.until('the line is busy', () => later[0]!.sent, 1_000);
      slow[1]!.ticket.ready();
      slow[0]!.ticket.ready();
      await rig.until('they leave', () => slow[0]!.sent && slow[1]!.sent, 1_500);
      expect(slow[0]!.slotAt!).toBeLessThan(slow[1]!.slotAt!);
      await rig.until('those behind too', () => later.every(({ sent }) => sent), 4_000);
      expect(later[7]!.slotAt!).toBeGreaterThan(slow[1]!.slotAt!);
    });

    it('count as waiting, and are refused when as many wait as may', async () => {
      const rule = ruleOf(1, { maxQueued: 5 });
      const calls = join(7, rule);
      await rig.until('two are refused', () => calls.filter(({ refusal }) => refusal).length === 2, 700);
      expect(calls.slice(5).map(({ refusal }) => refusal)).toEqual(['queue_full', 'queue_full']);
      const view = await pacer.line(rule.key, rule.limit);
      expect(view.waiting).toEqual([{ priority: 5, count: 5 }]);
      for (const { ticket } of calls) ticket.cancel();
      await rig.pass(300);
      expect((await pacer.line(rule.key, rule.limit)).waiting).toEqual([]);
    });
  });
}
