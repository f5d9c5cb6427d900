/**
 * The pacer of nodes that share a Redis: one line per key over all of them. Each node gathers what its calls have to
 * say and sends it in few requests; whoever has the next call in line asks for slots when they are near, and the script
 * tells the others by a message. A heartbeat each second keeps the node alive, asks for places, and takes over what
 * dead nodes left.
 *
 * Without Redis (`whenDown`): `hold`, calls wait until it is back or their time is over; or `share`, they go by this
 * node's part of each limit. A call that another node may take over (it has a payload, and Redis was told of it) waits
 * in either case: this node cannot know whether the others have Redis and take it for dead.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { quantile, WAITS_MS } from '#pacing/line-stats.js';
import { emptyLine } from '#pacing/memory-pacer.js';
import type { PaceObserver } from '#pacing/observer.js';
import { DEFAULT_SLOW_DOWN, factorNow, type SlowDown } from '#pacing/pace.js';
import type {
  LineView,
  Orphan,
  PaceRule,
  Pacer,
  Ticket,
  TicketEvents,
  TicketRequest,
} from '#pacing/pacer.js';
import { type RedisClient, RedisFault } from './client.js';
import { escapePart, redisKey, unescapePart } from './keys.js';
import { PaceLine, type PaceLineHost } from './pace-line.js';
import { PACE_SCRIPT, VIEW_SCRIPT } from './pace-script.js';
import { PaceShare } from './pace-share.js';
import type { PaceAnswer, PaceRequest } from './pace-wire.js';
import { SteadyTime } from './steady-time.js';

export type WhenRedisIsDown = 'hold' | 'share';

/** What the pacer needs of the connection. */
export type PaceConnection = Pick<
  RedisClient,
  'address' | 'up' | 'health' | 'onTurn' | 'command' | 'run' | 'subscribe'
>;

export interface RedisPacerOptions {
  /** Started and closed by whoever made it. */
  readonly client: PaceConnection;
  /** With a tick that suits the fastest line: `FINE_TICK_MS`. */
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observer: PaceObserver;
  readonly log: Logger;
  /** null: a provider's refusals change nothing. */
  readonly slowDown?: SlowDown | null | undefined;
  readonly whenDown: WhenRedisIsDown;
}

const PREFIX = redisKey('pace');
const BEAT_MS = 1_000;
/** A request that is made anyway is the heartbeat when the last one was so long ago. */
const BEAT_RIDES_MS = 700;
/** Without an answer for so long, Redis is down. */
const DOWN_MS = 2_000;
/** Beyond, lines without calls are forgotten here; Redis keeps them. */
const LINES_KEPT = 1_000;
/** Answers from which the time of Redis is told. */
const TIME_SAMPLES = 8;
/** Whoever is farther from Redis misses its slots. */
const FAR_MAX_MS = 400;
/** Requests that wait for their answers; beyond, Redis stands still and the heartbeat tries again. */
const PENDING_MAX = 8;

export class RedisPacer implements Pacer {
  readonly shared = true;
  onOrphan: ((orphan: Orphan) => void) | undefined;
  whenDown: WhenRedisIsDown;
  /** Of this run of this process. */
  readonly nodeId: string;
  readonly #client: PaceConnection;
  readonly #clock: Clock;
  readonly #observer: PaceObserver;
  readonly #log: Logger;
  readonly #slowDown: SlowDown | null;
  readonly #lines = new Map<string, PaceLine>();
  readonly #byEscaped = new Map<string, PaceLine>();
  readonly #steady = new SteadyTime();
  readonly #flushTimer = new CallbackTimer(() => this.#flush(false));
  readonly #beatTimer = new CallbackTimer(() => this.#beat());
  readonly #host: PaceLineHost;
  readonly #endTurns: () => void;
  #share: PaceShare | undefined;
  #flushAt = Number.POSITIVE_INFINITY;
  #run: string | undefined;
  #pending = 0;
  #beatAt = Number.NEGATIVE_INFINITY;
  /** The time of Redis is being found out; slots given meanwhile would be badly timed. */
  #listening = false;
  #heardAt: number;
  #nodes = 1;
  #rank = 0;
  #known = false;
  #stopped = false;

  constructor(options: RedisPacerOptions) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#observer = options.observer;
    this.#log = options.log;
    this.#slowDown = options.slowDown === undefined ? DEFAULT_SLOW_DOWN : options.slowDown;
    this.whenDown = options.whenDown;
    this.nodeId = options.ids.token(80);
    this.#heardAt = this.#clock.now();
    const isUp = (): boolean => this.#client.up;
    this.#host = {
      clock: this.#clock,
      observer: this.#observer,
      soon: (line, delayMs) => this.#soon(line, delayMs),
      get up() {
        return isUp();
      },
      local: (v) => this.#steady.local(v),
      localAtLeast: (v) => this.#steady.localAtLeast(v),
    };
    this.#endTurns = this.#client.onTurn((up) => {
      if (up) void this.#connected();
    });
  }

  /** Begins; before it, calls wait. */
  start(): void {
    this.#client.subscribe(`${PREFIX}:to:${this.nodeId}`, (message) => this.#told(message));
    if (this.#client.up) void this.#connected();
    this.#clock.arm(this.#beatTimer, BEAT_MS);
  }

  /** Calls of this node that wait. */
  get waitingCount(): number {
    let count = 0;
    for (const line of this.#lines.values()) count += line.seats.size;
    return count;
  }

  enqueue(request: TicketRequest, events: TicketEvents): Ticket {
    const line = this.#line(request.rule);
    const ticket = line.enqueue(request, events);
    const seat = line.seats.get(ticket.id);
    if (this.#stopped && seat !== undefined) line.refuseSoon(seat, 'shutdown');
    return ticket;
  }

  slowDown(rule: PaceRule): void {
    this.#line(rule).slowDown();
  }

  /** Without Redis, what this node knows by itself. */
  async line(key: string, limit: number): Promise<LineView> {
    try {
      return viewOf(
        key,
        limit,
        JSON.parse(String(await this.#client.run(VIEW_SCRIPT, [PREFIX], [escapePart(key), WAITS_MS]))),
        this.#slowDown,
      );
    } catch (error) {
      if (!(error instanceof RedisFault)) throw error;
      const counts = new Map<number, number>();
      for (const { request } of this.#lines.get(key)?.seats.values() ?? []) {
        counts.set(request.priority, (counts.get(request.priority) ?? 0) + 1);
      }
      const waiting = [...counts].map(([priority, count]) => ({ priority, count }));
      return { ...emptyLine(key, limit), waiting: waiting.sort((a, b) => b.priority - a.priority) };
    }
  }

  health(): { readonly ok: boolean; readonly detail: string } {
    const { ok, detail } = this.#client.health();
    const silent = this.#clock.now() - this.#heardAt;
    if (ok && silent < DOWN_MS)
      return { ok: true, detail: `${detail}, ${this.#nodes} node(s) pace together` };
    const what = ok ? `${this.#client.address} has not answered for ${Math.round(silent / 1000)} s` : detail;
    return {
      ok: false,
      detail:
        this.#share === undefined
          ? `${what}; paced calls are held, others are not concerned`
          : `${what}; paced calls go by this node's share, one in ${this.#nodes}`,
    };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#clock.disarm(this.#beatTimer);
    await this.#share?.stop();
    for (const line of this.#lines.values()) line.stop();
    this.#endTurns();
    // What may go on elsewhere is there for others at once.
    while (this.#client.up && [...this.#lines.values()].some(({ hasOps }) => hasOps)) {
      if (!(await this.#request(false))) break;
    }
    this.#clock.disarm(this.#flushTimer);
    if (this.#client.up) await this.#request(false, { bye: 1 });
  }

  #line(rule: PaceRule): PaceLine {
    let line = this.#lines.get(rule.key);
    if (line === undefined) {
      line = new PaceLine(rule, this.#host);
      this.#lines.set(rule.key, line);
      this.#byEscaped.set(line.escaped, line);
    }
    line.rule(rule);
    return line;
  }

  #soon(line: PaceLine, delayMs: number): void {
    const at = this.#clock.now() + delayMs;
    line.dueAt = Math.min(line.dueAt, at);
    if (at >= this.#flushAt && this.#flushTimer.armed) return;
    this.#flushAt = at;
    this.#clock.arm(this.#flushTimer, delayMs);
  }

  #flush(beat: boolean): void {
    this.#flushAt = Number.POSITIVE_INFINITY;
    for (const line of this.#lines.values()) line.deliverRefusals();
    this.#share?.take(this.#lines.values());
    // Without an answer to the first, more requests would only lie about until they are no longer true.
    if (this.#client.up && !this.#listening && this.#pending < PENDING_MAX) void this.#request(beat);
  }

  /** One request with whatever there is to say. True when Redis answered. */
  async #request(asked: boolean, more: Partial<PaceRequest> = {}): Promise<boolean> {
    const now = this.#clock.now();
    const beat = asked || (!this.#stopped && now - this.#beatAt > BEAT_RIDES_MS);
    if (beat) this.#beatAt = now;
    const taken: ReturnType<PaceLine['section']>[] = [];
    let dueAt = Number.POSITIVE_INFINITY;
    for (const line of this.#lines.values()) {
      if (line.hasOps || line.dueAt <= now || (beat && !line.idle)) taken.push(line.section(beat));
      dueAt = Math.min(dueAt, line.dueAt);
    }
    if (dueAt !== Number.POSITIVE_INFINITY && !this.#stopped) {
      this.#flushAt = dueAt;
      this.#clock.arm(this.#flushTimer, Math.max(0, dueAt - now));
    }
    const request: PaceRequest = {
      n: this.nodeId,
      x: this.#steady.expected(now),
      run: this.#run,
      hb: beat ? 1 : undefined,
      far: beat ? this.#far() : undefined,
      slow:
        this.#slowDown === null
          ? undefined
          : [this.#slowDown.factor, this.#slowDown.holdMs, this.#slowDown.recoveryMs],
      lines: taken.map(({ section }) => section),
      ...more,
    };
    this.#pending++;
    try {
      const answer = await this.#client.run(PACE_SCRIPT, [PREFIX], [JSON.stringify(request)]);
      this.#pending--;
      this.#answered(JSON.parse(String(answer)) as PaceAnswer, beat, now);
      // What found too many requests under way goes now.
      for (const line of this.#lines.values()) if (line.dueAt <= now) this.#soon(line, 0);
      return true;
    } catch (error) {
      this.#pending--;
      if (!(error instanceof RedisFault)) throw error;
      // It may have been carried out all the same, or be later: everything in it may be said twice.
      for (const { failed } of taken) failed();
      const level = error.kind === 'refused' ? 'error' : 'debug';
      this.#log[level]({ fault: error.message, kind: error.kind }, 'a pacing request to Redis failed');
      return false;
    }
  }

  /** A slot's tolerance allows for it, or a node far from Redis would be late for all of them. */
  #far(): number | undefined {
    const { doubtMs } = this.#steady;
    return doubtMs < FAR_MAX_MS ? Math.max(0, Math.ceil(doubtMs)) : undefined;
  }

  #answered(answer: PaceAnswer, beat: boolean, askedAt: number): void {
    this.#heardAt = this.#clock.now();
    if (answer.nodes !== undefined) this.#nodes = Math.max(1, answer.nodes);
    if (answer.rank !== undefined) this.#rank = answer.rank;
    this.#heard(answer, askedAt);
    for (const { k, f } of answer.lines ?? []) this.#byEscaped.get(k)?.paceIs(f ?? 1);
    if (beat && !this.#stopped) this.#clock.arm(this.#beatTimer, BEAT_MS);
    if (beat && answer.unknown === 1) {
      // Taken for dead, or Redis has forgotten: what became of each call shows when it is told of again.
      if (this.#known) for (const line of this.#lines.values()) line.resync();
      this.#known = true;
    }
    for (const orphan of answer.orphans ?? []) this.#orphaned(orphan);
    if (this.#lines.size > LINES_KEPT) this.#forgetIdle();
    if (this.#share !== undefined && !this.#stopped) this.#endShare();
  }

  #told(message: string): void {
    if (this.#stopped) return;
    this.#heard(JSON.parse(message) as PaceAnswer, undefined);
  }

  #heard({ v, e, lines }: PaceAnswer, askedAt: number | undefined): void {
    const time = Number(v);
    if (this.#steady.heard(time, e, this.#clock.now(), askedAt)) void this.#listen();
    const local = this.#steady.local(time);
    for (const part of lines ?? []) {
      let line = this.#byEscaped.get(part.k);
      // Nothing is left of the line here, but slots for it must be given back.
      if (line === undefined && part.g !== undefined) {
        line = this.#line(unused(unescapePart(part.k)));
      }
      line?.heard(part, local);
    }
  }

  #orphaned([escaped, id, state, payload, score]: NonNullable<PaceAnswer['orphans']>[number]): void {
    const key = unescapePart(escaped);
    if (state === 'c') {
      this.onOrphan?.({ kind: 'unknown', id, key, payload });
      return;
    }
    let adopted = false;
    this.onOrphan?.({
      kind: 'waiting',
      id,
      key,
      payload,
      adopt: (request, events) => {
        adopted = true;
        // The line's own rule stays: who only leaves it brings none.
        const line = this.#lines.get(key) ?? this.#line({ ...request.rule, key });
        return line.enqueue({ ...request, id }, events, { score });
      },
    });
    // Nobody wants it.
    if (!adopted) (this.#lines.get(key) ?? this.#line(unused(key))).discard(id);
  }

  async #connected(): Promise<void> {
    this.#steady.forget();
    this.#run = await this.#serverRun();
    await this.#listen();
    for (const line of this.#lines.values()) line.resync();
    this.#flush(true);
  }

  /** Asks for the time a few times in a row: of several answers one has come without delay. */
  async #listen(): Promise<void> {
    if (this.#listening) return;
    this.#listening = true;
    try {
      for (let n = 0; n < TIME_SAMPLES; n++) {
        const request: PaceRequest = { n: this.nodeId, run: this.#run, lines: [] };
        const askedAt = this.#clock.now();
        const answer = await this.#client.run(PACE_SCRIPT, [PREFIX], [JSON.stringify(request)]);
        this.#heard(JSON.parse(String(answer)) as PaceAnswer, askedAt);
      }
    } catch (error) {
      // The next request fails too, and says so.
      if (!(error instanceof RedisFault)) throw error;
    } finally {
      this.#listening = false;
    }
    if (!this.#stopped) this.#flush(false);
  }

  /** Names this run of the server, so that one which has lost its latest writes is not trusted at once. */
  async #serverRun(): Promise<string> {
    try {
      const info = String(await this.#client.command('INFO', 'server'));
      return /^run_id:(\w+)/m.exec(info)?.[1] ?? 'unnamed';
    } catch (error) {
      if (!(error instanceof RedisFault)) throw error;
      return `unnamed-${this.#clock.wallNow()}`;
    }
  }

  #beat(): void {
    this.#clock.arm(this.#beatTimer, BEAT_MS);
    const silent = this.#clock.now() - this.#heardAt;
    if (this.whenDown === 'share' && silent > DOWN_MS && this.#share === undefined) this.#beginShare();
    this.#flush(true);
  }

  /** Keys come and go with the directory. */
  #forgetIdle(): void {
    for (const line of this.#lines.values()) {
      if (!line.idle) continue;
      this.#lines.delete(line.key);
      this.#byEscaped.delete(line.escaped);
    }
  }

  #beginShare(): void {
    this.#log.warn(
      { nodes: this.#nodes },
      "Redis is down: paced calls go by this node's share of each limit",
    );
    this.#share = new PaceShare({
      clock: this.#clock,
      observer: this.#observer,
      slowDown: this.#slowDown,
      nodes: this.#nodes,
      rank: this.#rank,
    });
    this.#share.take(this.#lines.values());
  }

  #endShare(): void {
    this.#log.info({}, 'Redis is back: paced calls go by the common lines again');
    const share = this.#share;
    this.#share = undefined;
    share?.giveBack(this.#lines.values());
  }
}

/** For a line that this node has only to leave. */
function unused(key: string): PaceRule {
  return { key, limit: 1, burst: 1, maxQueued: 0 };
}

interface RawView {
  readonly waiting: readonly number[];
  readonly sent: number;
  readonly waits?: readonly number[];
  readonly lost: number;
  readonly refused: number;
  readonly lf?: number;
  readonly since?: number;
}

function viewOf(key: string, limit: number, raw: RawView, slowDown: SlowDown | null): LineView {
  const lowered =
    raw.lf === undefined || raw.since === undefined ? undefined : { factor: raw.lf, at: -raw.since };
  const waits = raw.waits ?? [];
  return {
    key,
    waiting: raw.waiting
      .map((count, priority) => ({ priority, count }))
      .filter(({ count }) => count > 0)
      .reverse(),
    sentLastMinute: raw.sent,
    waitP50Ms: quantile(waits, 0.5),
    waitP95Ms: quantile(waits, 0.95),
    pace: limit * factorNow(lowered, slowDown ?? DEFAULT_SLOW_DOWN, 0),
    refusedByProvider: raw.refused,
    slotsLost: raw.lost,
  };
}
