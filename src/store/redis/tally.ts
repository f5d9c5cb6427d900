/**
 * What nodes use up of common bounds, counted together: each node says what it has in progress and what it counted today,
 * shortly after that changes and once a second, and hears the same of the others. Nobody waits for an answer: whoever asks
 * gets what is known. A node that is silent has nothing in progress any more; what it counted today stays counted.
 *
 *   tally  hash  node → when it said so, a line feed, its report as JSON; '' → what nodes counted that are gone for long
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { type RedisClient, RedisFault, RedisScript } from './client.js';
import { redisKey } from './keys.js';

/** Of one node: counts by subject. */
export interface TallyReport {
  readonly now: Readonly<Record<string, number>>;
  /** Days since 1970 (UTC), and what was counted on that one. */
  readonly day: number;
  readonly today: Readonly<Record<string, number>>;
}

export interface RedisTallyOptions {
  /** Started and closed by whoever made it. */
  readonly client: RedisClient;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Logger;
  /** After so many milliseconds, what a silent node counted is no longer kept under its name. Default: an hour. */
  readonly longGoneMs?: number | undefined;
}

const KEY = redisKey('tally');
const BEAT_MS = 1_000;
/** Changes are gathered for so long. */
const GATHER_MS = 30;
/** A node that has said nothing for so long is gone. */
const GONE_MS = 4_000;
/** What it counted is kept under its name for so long, since it may come back; then with that of all such nodes. */
const LONG_GONE_MS = 3_600_000;
const EXPIRE_MS = 2 * 86_400_000;

/**
 * KEYS: the hash, which is the channel too. ARGV: node, its report as JSON, its day, after how many milliseconds a silent
 * node is gone, and for long. Answers the reports of the others, each after its node's name.
 */
const TALLY = new RedisScript(`
local key, me, report, today = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function keep(node, text) redis.call('HSET', key, node, string.format('%.0f', now) .. '\\n' .. text) end
keep(me, report)
local answer, left = {}, {now = {}, day = today, today = {}}
local function leave(its)
  for subject, count in pairs(its.today) do left.today[subject] = (left.today[subject] or 0) + count end
end
local folded = false
local all = redis.call('HGETALL', key)
for n = 1, #all, 2 do
  local node = all[n]
  local at, text = string.match(all[n + 1], '^(%d+)\\n(.*)$')
  local silent = now - tonumber(at)
  if node ~= me then
    local its = (node == '' or silent > tonumber(ARGV[4])) and cjson.decode(text)
    if its and (its.day < today or next(its.today) == nil) then
      redis.call('HDEL', key, node)
    elseif its and (node == '' or silent > tonumber(ARGV[5])) then
      leave(its)
      if node ~= '' then
        redis.call('HDEL', key, node)
        folded = true
      end
    else
      answer[#answer + 1] = node
      if its then
        its.now = {}
        text = cjson.encode(its)
      end
      answer[#answer + 1] = text
    end
  end
end
local text = cjson.encode(left)
if folded then keep('', text) end
answer[#answer + 1] = ''
answer[#answer + 1] = text
redis.call('PEXPIRE', key, ${EXPIRE_MS})
redis.call('PUBLISH', key, me .. '\\n' .. report)
return answer
`);

export class RedisTally {
  /** What this node has to say; undefined: nothing is bounded, and nothing is asked. */
  source: () => TallyReport | undefined = () => undefined;
  readonly #client: RedisClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #node: string;
  readonly #longGoneMs: number;
  readonly #timer = new CallbackTimer(() => void this.#exchange());
  /** By node. */
  #others = new Map<string, TallyReport>();
  #heardAt = Number.NEGATIVE_INFINITY;
  #asking = false;
  #changed = false;
  #stopped = false;

  constructor({ client, clock, ids, log, longGoneMs = LONG_GONE_MS }: RedisTallyOptions) {
    this.#longGoneMs = longGoneMs;
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#node = ids.token(80);
  }

  start(): void {
    this.#client.subscribe(KEY, (message) => this.#heard(message));
    this.#clock.arm(this.#timer, 0);
  }

  stop(): void {
    this.#stopped = true;
    this.#clock.disarm(this.#timer);
  }

  /** Others are told soon. */
  changed(): void {
    if (this.#changed || this.#stopped) return;
    this.#changed = true;
    if (!this.#asking) this.#clock.arm(this.#timer, GATHER_MS);
  }

  /** What other nodes have in progress; 0 while Redis is gone. */
  inProgress(subject: string): number {
    if (this.#clock.now() - this.#heardAt > GONE_MS) return 0;
    let sum = 0;
    for (const { now } of this.#others.values()) sum += now[subject] ?? 0;
    return sum;
  }

  /** What other nodes counted on that day, as far as was heard. */
  today(subject: string, day: number): number {
    let sum = 0;
    for (const report of this.#others.values()) if (report.day === day) sum += report.today[subject] ?? 0;
    return sum;
  }

  async #exchange(): Promise<void> {
    if (this.#asking || this.#stopped) return;
    this.#changed = false;
    const own = this.source();
    if (own !== undefined && this.#client.up) {
      this.#asking = true;
      await this.#ask(own);
      this.#asking = false;
    }
    if (!this.#stopped) this.#clock.arm(this.#timer, this.#changed ? GATHER_MS : BEAT_MS);
  }

  async #ask(report: TallyReport): Promise<void> {
    const args = [this.#node, JSON.stringify(report), report.day, GONE_MS, this.#longGoneMs];
    try {
      const answer = (await this.#client.run(TALLY, [KEY], args)) as readonly unknown[];
      const others = new Map<string, TallyReport>();
      for (let n = 0; n + 1 < answer.length; n += 2) {
        others.set(String(answer[n]), JSON.parse(String(answer[n + 1])) as TallyReport);
      }
      this.#others = others;
      this.#heardAt = this.#clock.now();
    } catch (error) {
      if (!(error instanceof RedisFault)) throw error;
      this.#log.debug({ fault: error.message, kind: error.kind }, 'counts were not shared');
    }
  }

  #heard(message: string): void {
    const end = message.indexOf('\n');
    const node = message.slice(0, end);
    if (node === this.#node) return;
    this.#others.set(node, JSON.parse(message.slice(end + 1)) as TallyReport);
  }
}
