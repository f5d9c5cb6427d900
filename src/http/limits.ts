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

export class RequestLimits {
  readonly #requests: RateLimiterAbstract;
  readonly #wrongTokens: RateLimiterAbstract;

  /** @param redis a connected ioredis client that nodes share, if there is one */
  constructor(settings: LimitSettings, redis?: object) {
    this.#requests = limiter('requests', settings.requestsPerSecond * WINDOW_SECONDS, WINDOW_SECONDS, redis);
    this.#wrongTokens = limiter('wrong-tokens', settings.wrongTokensPerMinute, MINUTE_SECONDS, redis);
  }

  /** One more request. Rejects with a Problem (429) when it is one too many. */
  async request(who: string): Promise<void> {
    await take(this.#requests, who, 'too many requests with this token');
  }

  /** One more wrong token from this address. Rejects with a Problem (429) when it is one too many. */
  async wrongToken(address: string): Promise<void> {
    await take(this.#wrongTokens, address, 'too many wrong tokens from this address');
  }

  /** Rejects with a Problem (429) while the address has tried too many wrong tokens. */
  async check(address: string): Promise<void> {
    const known = await this.#wrongTokens.get(address);
    if (known !== null && known.remainingPoints <= 0 && known.consumedPoints > this.#wrongTokens.points) {
      throw tooMany(known, 'too many wrong tokens from this address');
    }
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

async function take(limits: RateLimiterAbstract, key: string, detail: string): Promise<void> {
  try {
    await limits.consume(key);
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
