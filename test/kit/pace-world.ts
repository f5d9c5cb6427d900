/**
 * Nodes that pace together in virtual time, from a seed: the pacers and the script are those of production, the script
 * runs on a real Redis, and only time is made up. Nodes are busy when they should send, ways are slow, clocks differ.
 */
import type { Clock } from '#lib/clock.js';
import { silentLogger } from '#lib/logger.js';
import { type Alarm, FINE_TICK_MS, TimerWheel } from '#lib/wheel.js';
import type { PaceObserver } from '#pacing/observer.js';
import { type RedisClient, RedisFault, RedisScript } from '#store/redis/client.js';
import { PACE_SCRIPT } from '#store/redis/pace-script.js';
import { type PaceConnection, RedisPacer } from '#store/redis/redis-pacer.js';

/** Mulberry32. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How the world is, in milliseconds and chances; durations are exponential with these means. */
export interface Weather {
  /** What a node does takes it so long. */
  readonly workMs: number;
  /** So many times a second, others have the machine for a while; and sometimes for long. */
  readonly busy: number;
  readonly busyMs: number;
  readonly stalled: number;
  readonly stalledMs: number;
  /** Between the look at the clock and the INVITE on the wire, the machine may do something else. */
  readonly preempted: number;
  readonly preemptedMs: number;
  /** One way to Redis: at least, and more. */
  readonly wayMs: number;
  readonly moreWayMs: number;
  /** A node's way to Redis may be cut: per request, and for how long. */
  readonly cut: number;
  readonly cutMs: number;
  /** What is published may be lost, as when the connection for it is just being made again. */
  readonly deaf: number;
}

export const FAIR: Weather = {
  workMs: 0.05,
  busy: 0,
  busyMs: 0,
  stalled: 0,
  stalledMs: 0,
  preempted: 0,
  preemptedMs: 0,
  wayMs: 0.1,
  moreWayMs: 0.2,
  cut: 0,
  cutMs: 0,
  deaf: 0,
};

const TIMEOUT_MS = 1_000;

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly node: WorldNode | undefined;
  readonly run: () => void | Promise<void>;
  off: boolean;
}

/** The script with virtual time, which tells what it published. */
const SCRIPT = new RedisScript(
  virtual(PACE_SCRIPT.source, [
    ["redis.call('TIME')", 'cjson.decode(ARGV[2])'],
    ["redis.call('PUBLISH', ", 'published('],
    ["redis.call('PUBSUB', 'NUMSUB', ", 'listening('],
    ['return cjson.encode(reply)', 'return {cjson.encode(reply), unpack(box)}'],
  ]),
);

function virtual(source: string, changes: readonly (readonly [from: string, to: string])[]): string {
  let text = source;
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`the script has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return `local box = {}
local function published(channel, message) box[#box + 1] = channel; box[#box + 1] = message end
local function listening(channel) return {channel, 1} end
${text}`;
}

export class PaceWorld {
  now = 1_000_000;
  weather: Weather;
  readonly random: () => number;
  readonly nodes: WorldNode[] = [];
  /** Requests that Redis carried out, since this was last set. */
  requests = 0;
  /** Until then Redis stands still. */
  pausedUntil = 0;
  readonly #redis: RedisClient;
  #happenings: Happening[] = [];
  #order = 0;

  /** @param redis a Redis that nobody else uses */
  constructor(seed: number, weather: Weather, redis: RedisClient) {
    this.random = generator(seed);
    this.weather = weather;
    this.#redis = redis;
  }

  /** Exponential with that mean. */
  some(meanMs: number): number {
    return -Math.log(1 - this.random()) * meanMs;
  }

  /** A node that is known to the others. */
  async node(observer: PaceObserver): Promise<WorldNode> {
    const node = new WorldNode(this, `node-${this.nodes.length}`, observer);
    this.nodes.push(node);
    node.pacer.start();
    node.interrupt(
      ({ busy }) => busy,
      ({ busyMs }) => busyMs,
    );
    node.interrupt(
      ({ stalled }) => stalled,
      ({ stalledMs }) => stalledMs,
    );
    await this.pass(1_200);
    return node;
  }

  at(at: number, node: WorldNode | undefined, run: () => void | Promise<void>): Happening {
    const happening = { at, order: this.#order++, node, run, off: false };
    let place = this.#happenings.length;
    while (place > 0 && this.#happenings[place - 1]!.at > at) place--;
    this.#happenings.splice(place, 0, happening);
    return happening;
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (let next = this.#happenings[0]; next !== undefined && next.at <= end; next = this.#happenings[0]) {
      this.#happenings.shift();
      if (next.off) continue;
      const busyUntil = next.node?.busyUntil ?? 0;
      if (busyUntil > next.at) {
        // In the order in which they came.
        this.#later(next, busyUntil);
        continue;
      }
      this.now = Math.max(this.now, next.at);
      await next.run();
      // What waited for it goes on.
      await new Promise(setImmediate);
      next.node?.worked();
    }
    this.now = end;
  }

  async until(what: string, condition: () => boolean, limitMs: number): Promise<void> {
    const end = this.now + limitMs;
    while (!condition()) {
      if (this.now >= end) throw new Error(`Waited ${limitMs} ms in vain: ${what}`);
      await this.pass(50);
    }
  }

  /** Carries a request out, and tells the nodes what was published. */
  async carryOut(keys: readonly string[], args: readonly (string | number)[]): Promise<string> {
    this.requests++;
    const us = Math.round(this.now * 1000);
    const time = JSON.stringify([String(Math.floor(us / 1e6)), String(us % 1e6)]);
    const answer = await this.#redis.run(SCRIPT, keys, [...args, time]);
    const [reply = '', ...published] = (answer as unknown[]).map(String);
    for (let n = 0; n < published.length; n += 2) {
      const to = this.nodes.find(({ channel }) => channel === published[n]);
      const message = published[n + 1]!;
      if (this.random() < this.weather.deaf) continue;
      to?.link.arrives(() => to.onMessage?.(message));
    }
    return reply;
  }

  #later(happening: Happening, at: number): void {
    const later = { ...happening, at };
    let place = 0;
    while (
      place < this.#happenings.length &&
      (this.#happenings[place]!.at < at ||
        (this.#happenings[place]!.at === at && this.#happenings[place]!.order < later.order))
    )
      place++;
    this.#happenings.splice(place, 0, later);
    // Whoever would have cancelled it cancels what it became.
    Object.defineProperty(happening, 'off', {
      set: (off: boolean) => {
        later.off = off;
      },
    });
  }
}

/** A node's two ways; what goes first arrives first. */
class Link {
  readonly #world: PaceWorld;
  readonly #node: WorldNode;
  #thereAt = 0;
  #backAt = 0;
  #cutUntil = 0;

  constructor(world: PaceWorld, node: WorldNode) {
    this.#world = world;
    this.#node = node;
  }

  leaves(run: () => Promise<void>): void {
    const { weather, random } = this.#world;
    const { now } = this.#node;
    if (random() < weather.cut) this.#cutUntil = now + this.#world.some(weather.cutMs);
    this.#thereAt = Math.max(this.#thereAt, this.#way(now), this.#world.pausedUntil);
    this.#world.at(this.#thereAt, undefined, run);
  }

  arrives(run: () => void): void {
    this.#backAt = Math.max(this.#backAt, this.#way(this.#world.now));
    this.#world.at(this.#backAt, this.#node, run);
  }

  #way(now: number): number {
    const { weather } = this.#world;
    return Math.max(now, this.#cutUntil) + weather.wayMs + this.#world.some(weather.moreWayMs);
  }
}

export class WorldNode {
  readonly pacer: RedisPacer;
  readonly link: Link;
  readonly channel: string;
  busyUntil = 0;
  onMessage: ((message: string) => void) | undefined;
  readonly #world: PaceWorld;
  /** Its clock began at another time. */
  readonly #offset: number;
  /** It has been away from the machine since the world's now. */
  #ahead = 0;

  constructor(world: PaceWorld, id: string, observer: PaceObserver) {
    this.#world = world;
    this.link = new Link(world, this);
    this.#offset = Math.floor(world.random() * 1e6);
    this.channel = `trunkline:pace:to:${id}`;
    this.pacer = new RedisPacer({
      client: this.#connection(),
      clock: this.#clock(),
      ids: { token: () => id } as never,
      observer,
      log: silentLogger,
      whenDown: 'hold',
    });
  }

  get now(): number {
    return this.#world.now + this.#ahead;
  }

  worked(): void {
    this.busyUntil = Math.max(this.busyUntil, this.now + this.#world.some(this.#world.weather.workMs));
    this.#ahead = 0;
  }

  /** From now on others have the machine now and then. */
  interrupt(rate: (weather: Weather) => number, ms: (weather: Weather) => number): void {
    const { weather } = this.#world;
    const often = rate(weather);
    this.#world.at(this.#world.now + this.#world.some(1000 / (often || 1)), undefined, () => {
      if (often > 0)
        this.busyUntil = Math.max(this.busyUntil, this.#world.now) + this.#world.some(ms(weather));
      this.interrupt(rate, ms);
    });
  }

  /** An INVITE leaves now, or a little later when the machine did something else first. Gives when. */
  send(): number {
    const { weather, random } = this.#world;
    if (random() < weather.preempted) this.#ahead += this.#world.some(weather.preemptedMs);
    return this.now;
  }

  #clock(): Clock {
    const now = (): number => this.now + this.#offset;
    let set: Happening | undefined;
    const alarm: Alarm = {
      set: (delayMs, wake) => {
        if (set !== undefined) set.off = true;
        set = this.#world.at(this.now + delayMs, this, wake);
      },
      cancel: () => {
        if (set !== undefined) set.off = true;
      },
    };
    return new TimerWheel({ now, wallNow: now }, alarm, FINE_TICK_MS);
  }

  #connection(): PaceConnection {
    const world = this.#world;
    return {
      address: 'virtual',
      up: true,
      health: () => ({ ok: true, detail: 'virtual' }),
      onTurn: () => () => undefined,
      command: async () => 'run_id:virtual\r\n',
      subscribe: (_channel, listener) => {
        this.onMessage = listener;
      },
      run: (_script, keys, args) =>
        new Promise((resolve, reject) => {
          this.link.leaves(async () => {
            const reply = await world.carryOut(keys, args);
            this.link.arrives(() => resolve(reply));
          });
          world.at(world.now + TIMEOUT_MS, this, () => reject(new RedisFault('timeout', 'no answer')));
        }),
    };
  }
}
