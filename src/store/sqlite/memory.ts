/** What is remembered for a while, in SQLite. Synchronous, like everything on the thread that has the database. */
import type { Connection } from './database.js';

/** Expired entries that a write clears away: more than it adds. */
const SWEEP = 20;
/** Entries pushed out at once where too many are kept. */
const PUSH_OUT = 1_000;

export class SqliteMemory {
  readonly #max: number;
  readonly #statements: ReturnType<typeof prepare>;
  /** About right: other processes add and remove too, so it is counted anew before anything is pushed out. */
  #count: number;

  constructor(connection: Connection, max: number) {
    this.#max = max;
    this.#statements = prepare(connection);
    this.#count = this.#counted();
  }

  remember(key: string, value: string, ttlMs: number, now: number): string | undefined {
    const there = this.recall(key, now);
    if (there === undefined) this.replace(key, value, ttlMs, now);
    return there;
  }

  replace(key: string, value: string, ttlMs: number, now: number): void {
    this.#count -= this.#statements.sweep.run(now, SWEEP).changes;
    this.#count += 1;
    this.#statements.put.run(key, value, now + ttlMs);
    if (this.#count <= this.#max) return;
    this.#count = this.#counted();
    const surplus = this.#count - this.#max;
    if (surplus <= 0) return;
    const some = Math.max(surplus, Math.min(PUSH_OUT, Math.floor(this.#max / 10)));
    this.#count -= this.#statements.pushOut.run(key, some).changes;
  }

  recall(key: string, now: number): string | undefined {
    return this.#statements.get.get(key, now)?.value;
  }

  forget(key: string, now: number): boolean {
    const there = this.recall(key, now) !== undefined;
    this.#count -= this.#statements.remove.run(key).changes;
    return there;
  }

  #counted(): number {
    return this.#statements.count.get()?.count ?? 0;
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
