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
  /** While it stands aside: it counts for those behind it until then. */
  expectedUntil = 0;
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
  readonly #queue = new PriorityQueue<Seat>();
  /** Had their turn before they were ready. They keep their place in the order. */
  readonly #aside = new Set<Seat>();
  /** Did not use their slot; back in the queue at `since`. */
  readonly #deferred = new Set<Seat>();
  readonly #stats = new LineStats();
  readonly #wake = new CallbackTimer(() => this.#run());
  readonly #reviewTimer = new CallbackTimer(() => this.#review());
  /** Joined since the timer last ran: nothing is called from inside `enqueue`. */
  #fresh: Seat[] = [];
  #rule: PaceRule;
  #sequence = 0;
  #usedAt: number;

  constructor(rule: PaceRule, options: MemoryLineOptions) {
    this.#clock = options.clock;
    this.#observer = options.observer;
    this.#slowDown = options.slowDown === undefined ? DEFAULT_SLOW_DOWN : options.slowDown;
    this.#rule = rule;
    this.#usedAt = this.#clock.now();
    this.#slots = new Slots(rule, this.#slowDown ?? DEFAULT_SLOW_DOWN);
    const delayMs = options.delayMs?.(this.#slots.pace) ?? 0;
    if (delayMs > 0) this.#slots.hold(this.#usedAt + delayMs);
  }

  get waitingCount(): number {
    return this.#queue.size + this.#aside.size + this.#deferred.size;
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
    this.#slots.rule(rule);
    this.#arm();
  }

  /** @param verdict refuse it for that, as soon as it may be told */
  enqueue(request: TicketRequest, events: TicketEvents, verdict: PaceRefusal | undefined): Ticket {
    const now = this.#clock.now();
    const seat = new Seat(this.#clock, request, events, () => this.#refuse(seat, 'queue_timeout'));
    seat.sequence = ++this.#sequence;
    seat.since = now;
    const free = this.#queue.size === 0 && this.#slots.next(now) <= now;
    const full = !free && this.waitingCount >= this.#rule.maxQueued;
    seat.verdict = verdict ?? (full ? 'queue_full' : undefined);
    if (seat.verdict === undefined) this.#queue.add(seat);
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
    for (let priority = 0; priority < PRIORITIES; priority++)
      counts[priority] = this.#queue.countOf(priority);
    for (const set of [this.#aside, this.#deferred]) for (const { priority } of set) counts[priority]!++;
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
    const waiting = [...this.#queue, ...this.#aside, ...this.#deferred];
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
    if (this.#aside.delete(seat)) this.#queue.add(seat);
    this.#arm();
  }

  #leave(seat: Seat): void {
    if (seat.ended) return;
    seat.end();
    if (!this.#aside.delete(seat) && !this.#deferred.delete(seat)) this.#queue.remove(seat);
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
    this.#giveSlots();
    const fresh = this.#fresh;
    this.#fresh = [];
    for (const seat of fresh) {
      if (seat.ended) continue;
      if (seat.verdict !== undefined) this.#refuse(seat, seat.verdict);
      else seat.placed(this.#aside.has(seat) ? this.#asidePlace(seat) : this.#placeOf(seat));
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

  #giveSlots(): void {
    for (let head = this.#queue.head(); head !== undefined; head = this.#queue.head()) {
      const now = this.#clock.now();
      const slot = this.#slots.next(now);
      if (slot > now) return;
      this.#queue.remove(head);
      if (head.isReady) this.#offer(head, Math.max(slot, head.since), now);
      else {
        this.#aside.add(head);
        const place = this.#asidePlace(head);
        head.expectedUntil = now + place.waitMs + ASIDE_GRACE_MS;
        head.placed(place);
      }
    }
  }

  #offer(seat: Seat, slot: number, now: number): void {
    const lost = this.#slots.take(slot, now);
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
    const position = this.#queue.before(seat) + this.#expectedAside(now);
    return { position, waitMs: this.#waitOf(position, now) };
  }

  /**
   * Whoever stands aside may expect to go after those who stand there longer. Time runs on for it, also while those are
   * not ready.
   */
  #asidePlace(seat: Seat): { position: number; waitMs: number } {
    const now = this.#clock.now();
    let position = 0;
    for (const other of this.#aside) if (other.expectedUntil > now && goesBefore(other, seat)) position++;
    const waitMs = Math.min(this.#waitOf(position, now), seat.place?.waitMs ?? Number.POSITIVE_INFINITY);
    return { position, waitMs };
  }

  /** Who stands aside and is still expected to go first. */
  #expectedAside(now: number): number {
    let count = 0;
    for (const { expectedUntil } of this.#aside) if (expectedUntil > now) count++;
    return count;
  }

  #waitOf(position: number, now: number): number {
    return Math.max(0, this.#slots.next(now) - now) + position * this.#slots.intervalMs(now);
  }

  #review(): void {
    const now = this.#clock.now();
    if (this.#slots.restored(now)) this.#observer.paceRestored(this.#rule.key);
    let position = this.#expectedAside(now);
    for (const seat of [...this.#queue]) seat.placed({ position, waitMs: this.#waitOf(position++, now) });
    for (const seat of [...this.#aside]) seat.placed(this.#asidePlace(seat));
    this.#arm();
    if (this.waitingCount === 0 && !this.#slots.lowered) return;
    this.#clock.arm(this.#reviewTimer, this.#queue.size > LONG ? LONG_REVIEW_MS : REVIEW_MS);
  }

  #arm(): void {
    const now = this.#clock.now();
    let at = this.#queue.size > 0 ? this.#slots.next(now) : Number.POSITIVE_INFINITY;
    if (this.#fresh.length > 0) at = now;
    for (const { since } of this.#deferred) at = Math.min(at, since);
    if (at === Number.POSITIVE_INFINITY) this.#clock.disarm(this.#wake);
    else this.#clock.arm(this.#wake, at - now);
  }
}

function goesBefore(one: Waiting, other: Waiting): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority;
  return one.sequence < other.sequence;
}
