/** One line in this node's memory: who waits, when the next slot is, and what became of the last ones. */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import { LineStats } from './line-stats.js';
import { LiveTicket } from './live-ticket.js';
import type { PaceObserver } from './observer.js';
import { ASIDE_GRACE_MS, DEFAULT_SLOW_DOWN, type Pace, type SlowDown } from './pace.js';
import type { LineView, PaceRefusal, PaceRule, Ticket, TicketEvents, TicketRequest } from './pacer.js';
import { PRIORITIES, PriorityQueue, type Waiting } from './queue.js';
import { Slots } from './slots.js';

export interface MemoryLineOptions {
  readonly clock: Clock;
  readonly observer: PaceObserver;
  readonly slowDown?: SlowDown | null | undefined;
  readonly delayMs?: ((pace: Pace) => number) | undefined;
}

/** How often the places of those that wait are looked at; of a long line less often. */
const REVIEW_MS = 250;
const LONG_REVIEW_MS = 1_000;
const LONG = 100;
/** One that did not use its slot although it was ready is asked again after the next slot, and not sooner than this. */
const AGAIN_MS = 20;

class Seat extends LiveTicket {
  sequence = 0;
  /** When it could send at the earliest: its joining, or `ready`. */
  since = 0;
  /** The slot for which it was told to prepare. */
  preparedFor: number | undefined;
  /** It is refused as soon as it may be told. */
  verdict: PaceRefusal | undefined;

  get priority(): number {
    return this.request.priority;
  }
}

export class MemoryLine {
  readonly #clock: Clock;
  readonly #observer: PaceObserver;
  readonly #slowDown: SlowDown | null;
  readonly #slots: Slots;
  /** Ready to send. */
  readonly #queue = new PriorityQueue<Seat>();
  /** Must prepare, and have not been told to. */
  readonly #unready = new PriorityQueue<Seat>();
  /** Prepare. They keep their place in the order, and slots that come meanwhile are for those who are ready. */
  readonly #aside = new PriorityQueue<Seat>();
  /** Did not use their slot; back in the queue at `since`. */
  readonly #deferred = new Set<Seat>();
  readonly #stats = new LineStats();
  readonly #wake = new CallbackTimer(() => this.#run());
  readonly #reviewTimer = new CallbackTimer(() => this.#review());
  /** Joined since the timer last ran: nothing is called from inside `enqueue`. */
  #fresh: Seat[] = [];
  #rule: PaceRule;
  #sequence = 0;
  /** The slot for which the latest was told to prepare: each has one of its own, used or not. */
  #preparedUpTo = Number.NEGATIVE_INFINITY;
  #usedAt: number;

  constructor(rule: PaceRule, options: MemoryLineOptions) {
    this.#clock = options.clock;
    this.#observer = options.observer;
    this.#slowDown = options.slowDown === undefined ? DEFAULT_SLOW_DOWN : options.slowDown;
    this.#rule = rule;
    this.#usedAt = this.#clock.now();
    this.#slots = new Slots(rule, this.#slowDown ?? DEFAULT_SLOW_DOWN, this.#usedAt);
    const delayMs = options.delayMs?.(this.#slots.pace) ?? 0;
    if (delayMs > 0) this.#slots.hold(this.#usedAt + delayMs);
  }

  get waitingCount(): number {
    return this.#queue.size + this.#unready.size + this.#aside.size + this.#deferred.size;
  }

  /** When it was last used; Infinity while it is. */
  get idleSince(): number {
    return this.waitingCount > 0 || this.#slots.lowered ? Number.POSITIVE_INFINITY : this.#usedAt;
  }

  /** What the directory says now. Neither resets the line nor lets it burst. */
  rule(rule: PaceRule): void {
    this.#usedAt = this.#clock.now();
    const changed = rule.limit !== this.#rule.limit || rule.burst !== this.#rule.burst;
    this.#rule = rule;
    if (!changed) return;
    this.#slots.rule(rule, this.#usedAt);
    this.#arm();
  }

  /** @param verdict refuse it for that, as soon as it may be told */
  enqueue(request: TicketRequest, events: TicketEvents, verdict: PaceRefusal | undefined): Ticket {
    const now = this.#clock.now();
    const seat = new Seat(this.#clock, request, events, () => this.#refuse(seat, 'queue_timeout'));
    seat.sequence = ++this.#sequence;
    seat.since = now;
    const free = seat.isReady && this.#queue.size === 0 && this.#slots.next(now) <= now;
    const full = !free && this.waitingCount >= this.#rule.maxQueued;
    seat.verdict = verdict ?? (full ? 'queue_full' : undefined);
    if (seat.verdict === undefined) (seat.isReady ? this.#queue : this.#unready).add(seat);
    this.#fresh.push(seat);
    this.#clock.arm(this.#wake, 0);
    if (!this.#reviewTimer.armed) this.#clock.arm(this.#reviewTimer, REVIEW_MS);
    return {
      id: seat.id,
      get place() {
        return seat.place;
      },
      ready: () => this.#ready(seat),
      cancel: () => this.#leave(seat),
      rule: (changed) => this.rule(changed),
    };
  }

  /** The provider refused an INVITE for its speed. */
  slowDown(): void {
    const now = this.#clock.now();
    this.#stats.refusedByProvider++;
    this.#observer.refusedByProvider(this.#rule.key);
    if (this.#slowDown === null || this.#slots.lower(now) === undefined) return;
    this.#observer.paceLowered(this.#rule.key, this.#slots.perSecond(now));
    this.#arm();
    if (!this.#reviewTimer.armed) this.#clock.arm(this.#reviewTimer, REVIEW_MS);
  }

  view(): LineView {
    const now = this.#clock.now();
    const counts = new Array<number>(PRIORITIES).fill(0);
    for (let priority = 0; priority < PRIORITIES; priority++) {
      for (const queue of this.#queues) counts[priority]! += queue.countOf(priority);
    }
    for (const { priority } of this.#deferred) counts[priority]!++;
    return {
      key: this.#rule.key,
      waiting: counts
        .map((count, priority) => ({ priority, count }))
        .filter(({ count }) => count > 0)
        .reverse(),
      sentLastMinute: this.#stats.sentLastMinute(now),
      waitP50Ms: this.#stats.wait(now, 0.5),
      waitP95Ms: this.#stats.wait(now, 0.95),
      pace: this.#slots.perSecond(now),
      refusedByProvider: this.#stats.refusedByProvider,
      slotsLost: this.#stats.slotsLost,
    };
  }

  stop(): void {
    const waiting = [...this.#queue, ...this.#unready, ...this.#aside, ...this.#deferred];
    const fresh = this.#fresh.filter(({ verdict }) => verdict !== undefined);
    this.#fresh = [];
    for (const seat of waiting) this.#refuse(seat, 'shutdown');
    for (const seat of fresh) this.#refuse(seat, seat.verdict!);
    this.#clock.disarm(this.#wake);
    this.#clock.disarm(this.#reviewTimer);
  }

  #ready(seat: Seat): void {
    if (seat.ended || seat.isReady) return;
    seat.isReady = true;
    seat.since = this.#clock.now();
    if (this.#aside.remove(seat) || this.#unready.remove(seat)) this.#queue.add(seat);
    this.#arm();
  }

  #leave(seat: Seat): void {
    if (seat.ended) return;
    seat.end();
    this.#deferred.delete(seat);
    for (const queue of this.#queues) queue.remove(seat);
    // The slot that was to be its own is another's.
    if (seat.preparedFor !== undefined) this.#preparedUpTo -= this.#slots.intervalMs(this.#clock.now());
    this.#arm();
  }

  #refuse(seat: Seat, why: PaceRefusal): void {
    if (seat.ended) return;
    this.#leave(seat);
    this.#observer.callRefused(this.#rule.key, why);
    seat.events.onRefused(why);
  }

  #run(): void {
    this.#comeBack();
    this.#prepare();
    this.#giveSlots();
    const fresh = this.#fresh;
    this.#fresh = [];
    for (const seat of fresh) {
      if (seat.ended) continue;
      if (seat.verdict !== undefined) this.#refuse(seat, seat.verdict);
      else seat.placed(this.#placeOf(seat));
    }
    this.#arm();
  }

  #comeBack(): void {
    const now = this.#clock.now();
    for (const seat of this.#deferred) {
      if (seat.since > now) continue;
      this.#deferred.delete(seat);
      this.#queue.add(seat);
    }
  }

  /** Tells those to prepare whose slots are near enough. */
  #prepare(): void {
    for (let head = this.#unready.head(); head !== undefined; head = this.#unready.head()) {
      const now = this.#clock.now();
      const slot = this.#slotToPrepareFor(head, now);
      if (slot - leadOf(head) > now) return;
      this.#preparedUpTo = slot;
      head.preparedFor = slot;
      head.placed(this.#placeOf(head));
      this.#unready.remove(head);
      this.#aside.add(head);
      head.prepare();
    }
  }

  /**
   * Those before it that prepare have a slot each, whether they use it or not: so as many agents are rung as there are
   * slots, however long they take to answer. Those that have got ready meanwhile are waited for.
   */
  #slotToPrepareFor(seat: Seat, now: number): number {
    const interval = this.#slots.intervalMs(now);
    const behindReady = Math.max(now, this.#slots.next(now)) + this.#queue.before(seat) * interval;
    return Math.max(this.#preparedUpTo + interval, behindReady);
  }

  #giveSlots(): void {
    for (let head = this.#queue.head(); head !== undefined; head = this.#queue.head()) {
      const now = this.#clock.now();
      const slot = this.#slots.next(now);
      if (slot > now) return;
      this.#queue.remove(head);
      this.#offer(head, slot, now);
    }
  }

  #offer(seat: Seat, slot: number, now: number): void {
    const lost = this.#slots.take(slot, seat.since, now);
    if (seat.events.onSlot()) {
      this.#slots.left(this.#clock.now());
      seat.end();
      this.#stats.sent(now, now - seat.joinedAt);
      this.#observer.callPaced(this.#rule.key, now - seat.joinedAt);
      if (lost > 0) {
        this.#stats.slotsLost += lost;
        this.#observer.slotsLost(this.#rule.key, lost);
      }
      return;
    }
    this.#slots.undo();
    if (seat.ended) return;
    if (seat.request.leadMs === undefined) {
      seat.since = now + Math.max(AGAIN_MS, this.#slots.intervalMs(now));
      this.#deferred.add(seat);
    } else {
      seat.isReady = false;
      this.#aside.add(seat);
    }
  }

  #placeOf(seat: Seat): { position: number; waitMs: number } {
    const now = this.#clock.now();
    let position = this.#queue.before(seat) + this.#unready.before(seat);
    for (const other of this.#aside) if (isExpected(other, now) && goesBefore(other, seat)) position++;
    return { position, waitMs: this.#waitOf(position, now) };
  }

  get #queues(): readonly PriorityQueue<Seat>[] {
    return [this.#queue, this.#unready, this.#aside];
  }

  #inOrder(): Seat[] {
    const all = [...this.#queue];
    if (this.#unready.size + this.#aside.size === 0) return all;
    all.push(...this.#unready, ...this.#aside);
    return all.sort((one, other) => (goesBefore(one, other) ? -1 : 1));
  }

  #waitOf(position: number, now: number): number {
    return Math.max(0, this.#slots.next(now) - now) + position * this.#slots.intervalMs(now);
  }

  #review(): void {
    const now = this.#clock.now();
    if (this.#slots.restored(now)) this.#observer.paceRestored(this.#rule.key);
    let position = 0;
    for (const seat of this.#inOrder()) {
      seat.placed({ position, waitMs: this.#waitOf(position, now) });
      if (seat.isReady || seat.preparedFor === undefined || isExpected(seat, now)) position++;
    }
    this.#arm();
    if (this.waitingCount === 0 && !this.#slots.lowered) return;
    this.#clock.arm(this.#reviewTimer, this.waitingCount > LONG ? LONG_REVIEW_MS : REVIEW_MS);
  }

  #arm(): void {
    const now = this.#clock.now();
    let at = this.#queue.size > 0 ? this.#slots.next(now) : Number.POSITIVE_INFINITY;
    const toPrepare = this.#unready.head();
    if (toPrepare !== undefined) {
      at = Math.min(at, this.#slotToPrepareFor(toPrepare, now) - leadOf(toPrepare));
    }
    if (this.#fresh.length > 0) at = now;
    for (const { since } of this.#deferred) at = Math.min(at, since);
    if (at === Number.POSITIVE_INFINITY) this.#clock.disarm(this.#wake);
    else this.#clock.arm(this.#wake, at - now);
  }
}

function leadOf(seat: Seat): number {
  return seat.request.leadMs ?? 0;
}

/** Of those that prepare: who has let its slot pass by much is waited for by nobody. */
function isExpected(seat: Seat, now: number): boolean {
  return seat.preparedFor !== undefined && seat.preparedFor > now - ASIDE_GRACE_MS;
}

function goesBefore(one: Waiting, other: Waiting): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority;
  return one.sequence < other.sequence;
}
