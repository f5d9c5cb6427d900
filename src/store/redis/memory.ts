/** What is remembered for a while, in Redis, by Redis's own clock. */
import { checkMemory, type Memory } from '#directory/store.js';
import type { RedisClient } from './client.js';
import { redisKey } from './keys.js';
import { MEMORY } from './scripts.js';

const KEYS = [redisKey('memory', 'values'), redisKey('memory', 'expiries')];

export class RedisMemory implements Memory {
  readonly #client: RedisClient;
  readonly #guarded: <T>(work: () => Promise<T>) => Promise<T>;
  readonly #max: number;

  constructor(client: RedisClient, guarded: <T>(work: () => Promise<T>) => Promise<T>, max: number) {
    this.#client = client;
    this.#guarded = guarded;
    this.#max = max;
  }

  async remember(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    checkMemory(key, value, ttlMs);
    return this.#run('remember', key, value, ttlMs);
  }

  async replace(key: string, value: string, ttlMs: number): Promise<void> {
    checkMemory(key, value, ttlMs);
    await this.#run('replace', key, value, ttlMs);
  }

  recall(key: string): Promise<string | undefined> {
    return this.#run('recall', key, '', 0);
  }

  async forget(key: string): Promise<boolean> {
    return (await this.#run('forget', key, '', 0)) !== undefined;
  }

  async #run(mode: string, key: string, value: string, ttlMs: number): Promise<string | undefined> {
    const answer = await this.#guarded(() =>
      this.#client.run(MEMORY, KEYS, [mode, key, value, Math.ceil(ttlMs), this.#max]),
    );
    return typeof answer === 'string' ? answer : undefined;
  }
}
