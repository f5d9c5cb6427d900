/**
 * How often may be asked: by one token, and with wrong tokens from one address. Counted in fixed windows, in Redis
 * where nodes share one, else (and while it cannot be reached) by this node alone.
 */
import {
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from 'rate-limiter-flexible';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import { Problem } from './problem.js';

export interface LimitSettings {
  /** Requests per second of one token, over `WINDOW_SECONDS`. */
  readonly requestsPerSecond: number;
  /** Different wrong tokens per minute from one address. */
  readonly wrongTokensPerMinute: number;
}

export const DEFAULT_LIMITS: LimitSettings = { requestsPerSecond: 100, wrongTokensPerMinute: 30 };

const WINDOW_SECONDS = 10;
const MINUTE_SECONDS = 60;
/**
 * Parts of a window's requests that are taken from Redis at once: it would write every single one to its disk, and the
 * request would wait for that. What a node has taken and not used when the window ends is lost to the others.
 */
const PORTIONS = 50;
/** For so long an address that may try tokens is not asked about again. */
const CHECKED_MS = 1_000;
const KEPT_MAX = 10_000;

const TOO_MANY = 'too many requests with this token';

interface Portion {
  left: number;
  /** In `now` time; the window is over then. */
  readonly until: number;
}

export class RequestLimits {
  readonly #requests: RateLimiterAbstract;
  readonly #wrongTokens: RateLimiterAbstract;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #portionSize: number;
  readonly #portions = new BoundedMap<string, Portion>(KEPT_MAX);
  /** Portions that are being taken; whoever else needs one waits along. */
  readonly #asking = new Map<string, Promise<void>>();
  /** Address → until when it need not be checked. */
  readonly #checked = new BoundedMap<string, number>(KEPT_MAX);

  /** @param redis a connected ioredis client that nodes share, if there is one */
  constructor(settings: LimitSettings, clock: Pick<Clock, 'now'>, redis?: object) {
    this.#clock = clock;
    this.#requests = limiter('requests', settings.requestsPerSecond * WINDOW_SECONDS, WINDOW_SECONDS, redis);
    this.#wrongTokens = limiter('wrong-tokens', settings.wrongTokensPerMinute, MINUTE_SECONDS, redis);
    this.#portionSize = redis === undefined ? 1 : Math.max(1, Math.floor(this.#requests.points / PORTIONS));
  }

  /** One more request. Rejects with a Problem (429) when it is one too many. */
  async request(who: string): Promise<void> {
    if (this.#portionSize === 1) {
      await take(this.#requests, who, 1, TOO_MANY);
      return;
    }
    for (;;) {
      const portion = this.#portions.get(who);
      if (portion !== undefined && portion.left > 0 && this.#clock.now() < portion.until) {
        portion.left--;
        return;
      }
      let asking = this.#asking.get(who);
      if (asking === undefined) {
        asking = this.#ask(who).finally(() => this.#asking.delete(who));
        this.#asking.set(who, asking);
      }
      await asking;
    }
  }

  /** One more wrong token from this address. Rejects with a Problem (429) when it is one too many. */
  async wrongToken(address: string): Promise<void> {
    this.#checked.delete(address);
    await take(this.#wrongTokens, address, 1, 'too many wrong tokens from this address');
  }

  /** Rejects with a Problem (429) while the address has tried too many wrong tokens, at another node up to a second ago. */
  async check(address: string): Promise<void> {
    const now = this.#clock.now();
    if ((this.#checked.get(address) ?? now) > now) return;
    const known = await this.#wrongTokens.get(address);
    if (known !== null && known.remainingPoints <= 0 && known.consumedPoints > this.#wrongTokens.points) {
      throw tooMany(known, 'too many wrong tokens from this address');
    }
    this.#checked.set(address, now + CHECKED_MS);
  }

  async #ask(who: string): Promise<void> {
    const now = this.#clock.now();
    const { msBeforeNext } = await take(this.#requests, who, this.#portionSize, TOO_MANY);
    this.#portions.set(who, { left: this.#portionSize, until: now + Math.max(1, msBeforeNext) });
  }
}

function limiter(
  name: string,
  points: number,
  duration: number,
  redis: object | undefined,
): RateLimiterAbstract {
  const options = { keyPrefix: `trunkline:http:${name}`, points: Math.max(1, Math.round(points)), duration };
  const own = new RateLimiterMemory(options);
  if (redis === undefined) return own;
  return new RateLimiterRedis({
    ...options,
    storeClient: redis,
    insuranceLimiter: own,
    rejectIfRedisNotReady: true,
  });
}

async function take(
  limits: RateLimiterAbstract,
  key: string,
  points: number,
  detail: string,
): Promise<RateLimiterRes> {
  try {
    return await limits.consume(key, points);
  } catch (refused) {
    if (refused instanceof RateLimiterRes) throw tooMany(refused, detail);
    throw refused;
  }
}

function tooMany({ msBeforeNext }: RateLimiterRes, detail: string): Problem {
  const seconds = Math.max(1, Math.ceil(msBeforeNext / 1000));
  return new Problem(
    429,
    'too_many_requests',
    'Too many requests',
    `${detail}: try again in ${seconds} seconds`,
    undefined,
    {},
    { 'retry-after': String(seconds) },
  );
}
