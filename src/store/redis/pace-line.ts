/**
 * This node's side of one line in Redis: its calls there, what is to be said about them, and what to do with what Redis
 * says. It sends nothing itself; the pacer asks for its section of the next request when it wants one (`soon`).
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { PaceObserver } from '#pacing/observer.js';
import { type Pace, paceOf } from '#pacing/pace.js';
import type { PaceRefusal, PaceRule, Ticket, TicketEvents, TicketRequest } from '#pacing/pacer.js';
import { escapePart } from './keys.js';
import { PaceSeat } from './pace-seat.js';
import type { Grant, LineNews, LineSection, PaceOp } from './pace-wire.js';

/** What the line needs of its pacer. */
export interface PaceLineHost {
  readonly clock: Clock;
  readonly observer: PaceObserver;
  /** A request with this line's section is due in so many milliseconds. */
  soon(line: PaceLine, delayMs: number): void;
  /** The answers of Redis can be had. */
  readonly up: boolean;
  /** When a moment of Redis's has come on this node's clock, as far as is known now; and before when it has not. */
  local(v: number): number;
  localAtLeast(v: number): number;
}

/** Who is next in line asks for slots so long before the first of them. */
const PUMP_LEAD_MS = 60;
/** Slots a window after an INVITE depend on when it left, so that is told so long before they are given out, at the latest. */
const REPORT_LEAD_MS = 250;
/** Who is later than this for its slot leaves some room to the one before it. */
const LATE_MS = 2;
const OPS_PER_REQUEST = 400;
/** Places asked for in one heartbeat. */
const ASKED_PER_BEAT = 64;
const ASK_MIN_MS = 900;
const ASK_MAX_MS = 30_000;
/** One that did not use its slot although it was ready asks again after that, or after the next slot. */
const AGAIN_MS = 20;

export class PaceLine {
  readonly key: string;
  readonly escaped: string;
  /** When a request is due because of this line; Infinity: it has nothing urgent. */
  dueAt = Number.POSITIVE_INFINITY;
  /** It was used without Redis since the last request. */
  usedAlone = false;
  readonly seats = new Map<string, PaceSeat>();
  readonly #host: PaceLineHost;
  readonly #pump = new CallbackTimer(() => this.#host.soon(this, 0));
  /** When the next slots are to be asked for, as far as is known. */
  #pumpAt = 0;
  #rule: PaceRule;
  #pace: Pace;
  /** Part of the limit that there is now. */
  #factor = 1;
  #ops: PaceOp[] = [];
  /** Their slots have passed, and they leave as soon as they may. */
  readonly #late: PaceSeat[] = [];
  readonly #lateTimer = new CallbackTimer(() => this.#useLate());
  /** GCRA: when there is room for one of them after what has left here, of a burst the last. */
  #roomAt = Number.NEGATIVE_INFINITY;
  #refusals: { readonly seat: PaceSeat; readonly why: PaceRefusal }[] = [];

  constructor(rule: PaceRule, host: PaceLineHost) {
    this.key = rule.key;
    this.escaped = escapePart(rule.key);
    this.#rule = rule;
    this.#pace = paceOf(rule);
    this.#host = host;
  }

  get limit(): PaceRule {
    return this.#rule;
  }

  /** Nobody waits, nothing is to be said, and no pace is to be watched until it is full again. */
  get idle(): boolean {
    return this.seats.size === 0 && this.#ops.length === 0 && this.#factor === 1;
  }

  get hasOps(): boolean {
    return this.#ops.length > 0;
  }

  rule(rule: PaceRule): void {
    const changed = rule.limit !== this.#rule.limit || rule.burst !== this.#rule.burst;
    this.#rule = rule;
    if (!changed) return;
    this.#pace = paceOf(rule);
    if (this.seats.size > 0) this.#host.soon(this, 0);
  }

  /** @param adopted a place that this node took over */
  enqueue(request: TicketRequest, events: TicketEvents, adopted?: { readonly score: string }): Ticket {
    const seat: PaceSeat = new PaceSeat(this.#host.clock, request, events, () =>
      this.refuse(seat, 'queue_timeout'),
    );
    seat.onSlotTime = () => this.#slotCame(seat);
    this.seats.set(seat.id, seat);
    if (adopted !== undefined) {
      seat.score = adopted.score;
      seat.announced = true;
    }
    // Redis says whether there is room; without it, this node's own calls are counted.
    if (adopted === undefined && !this.#host.up && this.seats.size > this.#rule.maxQueued) {
      this.refuseSoon(seat, 'queue_full');
    } else {
      this.#announce(seat);
      this.#host.soon(this, 0);
    }
    return {
      id: seat.id,
      get place() {
        return seat.place;
      },
      ready: () => this.#ready(seat),
      cancel: () => this.#leave(seat, true),
      rule: (rule) => this.rule(rule),
    };
  }

  /** Refuses from a timer, since nothing may be called from inside `enqueue`. */
  refuseSoon(seat: PaceSeat, why: PaceRefusal): void {
    this.#refusals.push({ seat, why });
    this.#host.soon(this, 0);
  }

  refuse(seat: PaceSeat, why: PaceRefusal): void {
    if (seat.ended) return;
    this.#leave(seat, why !== 'taken_over' && !(why === 'shutdown' && seat.portable));
    this.#host.observer.callRefused(this.key, why);
    seat.events.onRefused(why);
  }

  slowDown(): void {
    this.#host.observer.refusedByProvider(this.key);
    this.#ops.push(['p']);
    this.#host.soon(this, 0);
  }

  /** Tells Redis of every call again: it may have forgotten, or never heard. */
  resync(): void {
    // What was given before is given; all else is asked anew.
    const announced = new Set(this.#ops.filter(([kind]) => kind === 'e').map((op) => op[1]));
    for (const seat of this.seats.values()) {
      if (seat.slot === undefined && !announced.has(seat.id)) this.#announce(seat);
    }
    if (!this.idle) this.#host.soon(this, 0);
  }

  /** A place that nobody here wants. */
  discard(id: string): void {
    this.#ops.push(['c', id]);
    this.#host.soon(this, 0);
  }

  /** This node's own line, which stands in for Redis, gives the call a slot. True: its INVITE left. */
  slotWithoutRedis(seat: PaceSeat): boolean {
    if (seat.ended || !seat.events.onSlot()) return false;
    // The stand-in ends its own ticket.
    seat.local = undefined;
    this.usedAlone = true;
    const waited = this.#host.clock.now() - seat.joinedAt;
    this.#leave(seat, true);
    this.#host.observer.callPaced(this.key, waited);
    return true;
  }

  deliverRefusals(): void {
    const refusals = this.#refusals;
    this.#refusals = [];
    for (const { seat, why } of refusals) this.refuse(seat, why);
  }

  /** What is to be said now, and, with the heartbeat, whose places are wanted. `failed` gives it back. */
  section(beat: boolean): { readonly section: LineSection; readonly failed: () => void } {
    const now = this.#host.clock.now();
    const ops = this.#ops.slice(0, OPS_PER_REQUEST);
    this.#ops = this.#ops.slice(OPS_PER_REQUEST);
    for (const op of ops) {
      const seat = op[0] === 'e' ? this.seats.get(op[1]) : undefined;
      if (seat !== undefined) seat.announced = true;
    }
    this.dueAt = Number.POSITIVE_INFINITY;
    if (this.#ops.length > 0) this.#host.soon(this, 0);
    const alone = this.usedAlone;
    this.usedAlone = false;
    const asked = beat ? this.#askFor(now) : [];
    const { intervalMs, peakMs, burst, windowCount, windowMs, toleranceMs } = this.#pace;
    const section: LineSection = {
      k: this.escaped,
      r: [intervalMs, peakMs, burst, windowCount, windowMs, toleranceMs, this.#rule.maxQueued],
      o: ops.length > 0 ? ops : undefined,
      q: asked.length > 0 ? asked : undefined,
      w: alone ? 1 : undefined,
    };
    const failed = (): void => {
      this.#ops = [...ops, ...this.#ops];
      this.usedAlone ||= alone;
    };
    return { section, failed };
  }

  /** The part of the limit that there is now, as the answer to a request says. */
  paceIs(factor: number): void {
    const { observer } = this.#host;
    if (factor < this.#factor) observer.paceLowered(this.key, this.#rule.limit * factor);
    else if (factor === 1 && this.#factor < 1) observer.paceRestored(this.key);
    this.#factor = factor;
  }

  /** What Redis says of this line. @param vLocal when Redis said it, on this node's clock */
  heard(news: LineNews, vLocal: number): void {
    for (const [id, score] of news.d ?? []) {
      const seat = this.seats.get(id);
      if (seat !== undefined) seat.score = score;
    }
    for (const grant of news.g ?? []) this.#granted(grant, vLocal);
    for (const id of news.full ?? []) this.#refuseById(id, 'queue_full');
    for (const id of news.taken ?? []) this.#refuseById(id, 'taken_over');
    for (const [id, position, waitMs] of news.p ?? []) this.#placed(id, position, waitMs, vLocal);
    for (const [id, inMs, slotInMs] of news.a ?? []) this.#toPrepare(id, vLocal + inMs, vLocal + slotInMs);
    for (const id of news.gone ?? []) this.#forgotten(id);
    if (news.lost !== undefined) this.#host.observer.slotsLost(this.key, news.lost);
    if (news.s !== undefined) this.#pumpAt = vLocal + news.s - PUMP_LEAD_MS;
    if (news.h !== undefined) {
      this.#pumpAt = vLocal + news.h - PUMP_LEAD_MS;
      this.#host.clock.arm(this.#pump, Math.max(0, this.#pumpAt - this.#host.clock.now()));
    }
  }

  stop(): void {
    this.deliverRefusals();
    for (const seat of [...this.seats.values()]) this.refuse(seat, 'shutdown');
    this.#host.clock.disarm(this.#pump);
    this.#host.clock.disarm(this.#lateTimer);
  }

  #announce(seat: PaceSeat): void {
    const { priority, payload, leadMs } = seat.request;
    // One without leadMs is unready between a slot that it did not use and the next.
    const lead = seat.isReady ? false : (leadMs ?? 0);
    const age = Math.round(this.#host.clock.now() - seat.joinedAt);
    this.#ops.push(['e', seat.id, priority, age, lead, payload ?? false, seat.score ?? false]);
  }

  #leave(seat: PaceSeat, tellRedis: boolean): void {
    if (seat.ended) return;
    this.#end(seat);
    const waits = this.#ops.some((op) => op[0] === 'e' && op[1] === seat.id);
    if (waits) this.#ops = this.#ops.filter((op) => op[0] === 'p' || op[1] !== seat.id);
    // One that Redis cannot have heard of need not be taken back.
    if (!tellRedis || !seat.announced) return;
    this.#ops.push(['c', seat.id]);
    this.#host.soon(this, seat.slot === undefined ? 20 : 0);
  }

  #end(seat: PaceSeat): void {
    seat.end();
    this.seats.delete(seat.id);
    this.#host.clock.disarm(seat.slotTimer);
    this.#host.clock.disarm(seat.prepareTimer);
    if (seat.again !== undefined) this.#host.clock.disarm(seat.again);
    seat.local?.cancel();
  }

  #ready(seat: PaceSeat): void {
    if (seat.ended || seat.isReady) return;
    seat.isReady = true;
    seat.local?.ready();
    this.#ops.push(['r', seat.id]);
    // It goes with what is said anyway, and by itself when the next slot is given out, and its own.
    const at = Math.max(this.#pumpAt, seat.preparedFor - PUMP_LEAD_MS);
    this.#host.soon(this, Math.max(0, at - this.#host.clock.now()));
  }

  #toPrepare(id: string, at: number, slotAt: number): void {
    const seat = this.seats.get(id);
    if (seat !== undefined) seat.preparedFor = slotAt;
    if (seat === undefined || seat.request.leadMs === undefined || seat.prepared) return;
    const inMs = at - this.#host.clock.now();
    if (inMs > 0) this.#host.clock.arm(seat.prepareTimer, inMs);
    else {
      this.#host.clock.disarm(seat.prepareTimer);
      seat.prepare();
    }
  }

  #granted([id, inMs, slot, toleranceMs]: Grant, vLocal: number): void {
    const seat = this.seats.get(id);
    if (seat === undefined) {
      // It left meanwhile; the slot is another's.
      this.#ops.push(['c', id]);
      this.#host.soon(this, 0);
      return;
    }
    // Said twice: it is there, or was there and is over.
    if (seat.slot === slot || seat.pastSlot === slot) return;
    seat.slot = slot;
    seat.slotAt = vLocal + inMs;
    seat.toleranceMs = toleranceMs;
    this.#host.clock.arm(seat.slotTimer, Math.max(0, seat.slotAt - this.#host.clock.now()));
  }

  /** In its slot a call leaves at once. Those that are late go one after the other, in order. */
  #slotCame(seat: PaceSeat): void {
    if (seat.ended || seat.slot === undefined) return;
    const now = this.#host.clock.now();
    // The time of Redis may be known better than when the slot was given.
    seat.slotAt = Math.min(seat.slotAt, this.#host.local(Number(seat.slot)));
    if (this.#late.length === 0 && now - seat.slotAt <= LATE_MS) this.#use(seat, now);
    else {
      this.#late.push(seat);
      this.#useLate();
    }
  }

  #useLate(): void {
    for (let seat = this.#late[0]; seat !== undefined; seat = this.#late[0]) {
      const now = this.#host.clock.now();
      const { burst, peakMs } = this.#pace;
      const inMs = this.#roomAt - ((burst - 1) * peakMs) / this.#factor - now;
      if (inMs > 0) {
        this.#host.clock.arm(this.#lateTimer, inMs);
        return;
      }
      this.#late.shift();
      // It may have been given another slot meanwhile, and has its own timer again.
      if (now >= seat.slotAt) this.#use(seat, now);
    }
  }

  #use(seat: PaceSeat, now: number): void {
    const { slot } = seat;
    if (seat.ended || slot === undefined) return;
    seat.slot = undefined;
    seat.pastSlot = slot;
    const slotAtLeast = this.#host.localAtLeast(Number(slot));
    if (now - slotAtLeast > seat.toleranceMs) {
      this.#host.observer.slotsLost(this.key, 1);
      this.#ops.push(['l', seat.id, slot]);
      this.#host.soon(this, 0);
      return;
    }
    if (!seat.events.onSlot()) {
      this.#unused(seat, slot, now);
      return;
    }
    this.#end(seat);
    // By now it has left for certain; the machine may have been busy with others while it did.
    const sentAt = this.#host.clock.now();
    // The clock's tick may be longer than the spacing.
    this.#roomAt = Math.max(this.#roomAt, sentAt - LATE_MS) + this.#pace.peakMs / this.#factor;
    const waited = sentAt - seat.joinedAt;
    const late = Math.max(0, sentAt - slotAtLeast);
    this.#ops.push(['s', seat.id, slot, round(late), Math.round(waited)]);
    // Until it is told, Redis counts on the tolerance.
    const inMs = late > seat.toleranceMs ? 0 : Math.max(0, this.#pace.windowMs - REPORT_LEAD_MS);
    this.#host.soon(this, inMs);
    this.#host.observer.callPaced(this.key, waited);
  }

  #unused(seat: PaceSeat, slot: string, now: number): void {
    if (seat.ended) return;
    seat.isReady = false;
    this.#ops.push(['b', seat.id, slot]);
    this.#host.soon(this, 0);
    if (seat.request.leadMs !== undefined) return;
    seat.again = new CallbackTimer(() => this.#ready(seat));
    const spacing = this.#pace.intervalMs / this.#factor;
    this.#host.clock.arm(seat.again, Math.max(AGAIN_MS, seat.slotAt + spacing - now));
  }

  #placed(id: string, position: number, waitMs: number, vLocal: number): void {
    const seat = this.seats.get(id);
    if (seat === undefined) return;
    const now = this.#host.clock.now();
    seat.askAt = now + Math.min(ASK_MAX_MS, Math.max(ASK_MIN_MS, waitMs / 10));
    seat.placed({ position, waitMs: Math.max(0, waitMs - (now - vLocal)) });
  }

  #refuseById(id: string, why: PaceRefusal): void {
    const seat = this.seats.get(id);
    if (seat !== undefined) this.refuse(seat, why);
  }

  /** Redis does not know it (any more): it is announced with the place that it had. */
  #forgotten(id: string): void {
    const seat = this.seats.get(id);
    if (seat === undefined || seat.slot !== undefined) return;
    this.#announce(seat);
    this.#host.soon(this, 0);
  }

  #askFor(now: number): string[] {
    const asked: string[] = [];
    for (const seat of this.seats.values()) {
      if (seat.slot !== undefined || seat.askAt > now) continue;
      asked.push(seat.id);
      seat.askAt = now + ASK_MIN_MS;
      if (asked.length === ASKED_PER_BEAT) break;
    }
    return asked;
  }
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
