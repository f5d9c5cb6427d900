/** What is remembered for a while, in SQLite. */
import { checkMemory, type Memory } from '#directory/store.js';
import type { Clock } from '#lib/clock.js';
import { type Connection, guarded } from './database.js';

/** Expired entries that a write clears away: more than it adds. */
const SWEEP = 20;
/** Entries pushed out at once where too many are kept. */
const PUSH_OUT = 1_000;

export class SqliteMemory implements Memory {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #max: number;
  readonly #statements: ReturnType<typeof prepare>;
  /** About right: other processes add and remove too, so it is counted anew before anything is pushed out. */
  #count: number;

  constructor(connection: Connection, clock: Clock, max: number) {
    this.#connection = connection;
    this.#clock = clock;
    this.#max = max;
    this.#statements = prepare(connection);
    this.#count = this.#counted();
  }

  async remember(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    checkMemory(key, value, ttlMs);
    return this.#atOnce((now) => {
      const there = this.#statements.get.get(key, now)?.value;
      if (there === undefined) this.#put(key, value, now + ttlMs, now);
      return there;
    });
  }

  async replace(key: string, value: string, ttlMs: number): Promise<void> {
    checkMemory(key, value, ttlMs);
    this.#atOnce((now) => this.#put(key, value, now + ttlMs, now));
  }

  async recall(key: string): Promise<string | undefined> {
    return guarded(() => this.#statements.get.get(key, this.#clock.wallNow())?.value);
  }

  async forget(key: string): Promise<boolean> {
    return this.#atOnce((now) => {
      const there = this.#statements.get.get(key, now) !== undefined;
      this.#count -= this.#statements.remove.run(key).changes;
      return there;
    });
  }

  #put(key: string, value: string, expiresAt: number, now: number): void {
    this.#count -= this.#statements.sweep.run(now, SWEEP).changes;
    this.#count += 1;
    this.#statements.put.run(key, value, expiresAt);
    if (this.#count <= this.#max) return;
    this.#count = this.#counted();
    const surplus = this.#count - this.#max;
    if (surplus <= 0) return;
    const some = Math.max(surplus, Math.min(PUSH_OUT, Math.floor(this.#max / 10)));
    this.#count -= this.#statements.pushOut.run(key, some).changes;
  }

  #counted(): number {
    return this.#statements.count.get()?.count ?? 0;
  }

  #atOnce<T>(work: (now: number) => T): T {
    const now = this.#clock.wallNow();
    return guarded(() => this.#connection.transaction(() => work(now)).immediate());
  }
}

function prepare(connection: Connection) {
  return {
    get: connection.prepare<[string, number], { readonly value: string }>(
      'SELECT value FROM memory WHERE key = ? AND expires_at > ?',
    ),
    put: connection.prepare<[string, string, number]>(
      'INSERT OR REPLACE INTO memory (key, value, expires_at) VALUES (?, ?, ?)',
    ),
    remove: connection.prepare<[string]>('DELETE FROM memory WHERE key = ?'),
    sweep: connection.prepare<[number, number]>(
      'DELETE FROM memory WHERE key IN (SELECT key FROM memory WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)',
    ),
    pushOut: connection.prepare<[string, number]>(
      'DELETE FROM memory WHERE key IN (SELECT key FROM memory WHERE key <> ? ORDER BY expires_at LIMIT ?)',
    ),
    count: connection.prepare<[], { readonly count: number }>('SELECT count(*) AS count FROM memory'),
  };
}
