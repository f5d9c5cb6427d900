/** Small things remembered by this process alone: the store of a server under test. */
import { checkMemory, MEMORY_ENTRIES_MAX, type Memory } from '#directory/store.js';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';

interface Entry {
  readonly value: string;
  readonly expiresAt: number;
}

export class TransientMemory implements Memory {
  readonly #clock: Pick<Clock, 'now'>;
  /** Bounded by number; what has expired is passed over when it is asked for. */
  readonly #entries: BoundedMap<string, Entry>;

  constructor(clock: Pick<Clock, 'now'>, limit = MEMORY_ENTRIES_MAX) {
    this.#clock = clock;
    this.#entries = new BoundedMap(limit);
  }

  async remember(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    checkMemory(key, value, ttlMs);
    const known = this.#live(key);
    if (known === undefined) this.#keep(key, value, ttlMs);
    return known;
  }

  async replace(key: string, value: string, ttlMs: number): Promise<void> {
    checkMemory(key, value, ttlMs);
    this.#keep(key, value, ttlMs);
  }

  async recall(key: string): Promise<string | undefined> {
    return this.#live(key);
  }

  async forget(key: string): Promise<boolean> {
    const known = this.#live(key) !== undefined;
    this.#entries.delete(key);
    return known;
  }

  #keep(key: string, value: string, ttlMs: number): void {
    // Anew, so that it goes behind what was kept before: the oldest is the one to expire first, more or less.
    this.#entries.delete(key);
    this.#entries.set(key, { value, expiresAt: this.#clock.now() + ttlMs });
  }

  #live(key: string): string | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.#clock.now() < entry.expiresAt) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }
}
