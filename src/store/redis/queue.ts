/** Work that waits, in Redis, by Redis's own clock. */
import { type ClaimedItem, QUEUE_MAX, type Queue, type QueueItem } from '#directory/store.js';
import type { RedisClient } from './client.js';
import { escapePart, redisKey, unescapePart } from './keys.js';
import { QUEUE } from './scripts.js';

/** Items handed to Redis at once. */
const ADDED_AT_ONCE = 1_000;

export class RedisQueue implements Queue {
  readonly #client: RedisClient;
  readonly #guarded: <T>(work: () => Promise<T>) => Promise<T>;

  constructor(client: RedisClient, guarded: <T>(work: () => Promise<T>) => Promise<T>) {
    this.#client = client;
    this.#guarded = guarded;
  }

  async add(queue: string, items: readonly QueueItem[]): Promise<boolean> {
    for (let at = 0; at < items.length; at += ADDED_AT_ONCE) {
      const some = items.slice(at, at + ADDED_AT_ONCE);
      const args = some.flatMap(({ id, lane, payload }) => [id, escapePart(lane), payload]);
      if ((await this.#run(queue, 'add', [QUEUE_MAX, ...args])) !== 1) return false;
    }
    return true;
  }

  async claim(queue: string, limit: number, leaseMs: number): Promise<readonly ClaimedItem[]> {
    const answer = await this.#run(queue, 'claim', [limit, Math.ceil(leaseMs)]);
    const items: ClaimedItem[] = [];
    if (!Array.isArray(answer)) return items;
    for (let at = 0; at < answer.length; at += 5) {
      const [id, lane, payload, addedAt, attempt] = answer.slice(at, at + 5).map(String);
      items.push({
        id: id ?? '',
        lane: unescapePart(lane ?? ''),
        payload: payload ?? '',
        addedAt: Number(addedAt),
        attempt: Number(attempt),
      });
    }
    return items;
  }

  async finish(queue: string, id: string): Promise<void> {
    await this.#run(queue, 'finish', [id]);
  }

  async postpone(queue: string, id: string, delayMs: number): Promise<void> {
    await this.#run(queue, 'postpone', [id, Math.ceil(delayMs)]);
  }

  async size(queue: string): Promise<number> {
    return Number(await this.#guarded(() => this.#client.command('HLEN', redisKey('queue', queue, 'items'))));
  }

  #run(queue: string, mode: string, args: readonly (string | number)[]): Promise<unknown> {
    const keys = [redisKey('queue', queue, 'items'), redisKey('queue', queue, 'due')];
    const lanes = `${redisKey('queue', queue, 'lane')}:`;
    return this.#guarded(() => this.#client.run(QUEUE, keys, [mode, lanes, ...args]));
  }
}
