/** Work that waits, in SQLite. Only the first item of a lane has a time at which it is due. */
import { type ClaimedItem, QUEUE_MAX, type QueueItem } from '#directory/store.js';
import type { Connection } from './database.js';

interface Row {
  readonly position: number;
  readonly id: string;
  readonly lane: string;
  readonly payload: string;
  readonly added_at: number;
  readonly attempts: number;
}

export class SqliteQueue {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(connection: Connection) {
    this.#statements = prepare(connection);
  }

  add(queue: string, items: readonly QueueItem[], now: number): boolean {
    // The table's first and last position bound the count without reading all of it.
    const { first, last } = this.#statements.span.get() ?? { first: 0, last: 0 };
    if (last - first + items.length >= QUEUE_MAX && this.size(queue) + items.length > QUEUE_MAX) return false;
    for (const { id, lane, payload } of items) {
      const alone = this.#statements.head.get(queue, lane) === undefined;
      this.#statements.add.run(queue, id, lane, payload, now, alone ? now : null);
    }
    return true;
  }

  claim(queue: string, limit: number, leaseMs: number, now: number): ClaimedItem[] {
    return this.#statements.due.all(queue, now, limit).map((row) => {
      this.#statements.lease.run(now + leaseMs, row.position);
      const { id, lane, payload, attempts, added_at: addedAt } = row;
      return { id, lane, payload, attempt: attempts + 1, addedAt };
    });
  }

  finish(queue: string, id: string, now: number): void {
    const lane = this.#statements.finish.get(queue, id)?.lane;
    if (lane === undefined) return;
    const next = this.#statements.head.get(queue, lane);
    if (next !== undefined && next.due_at === null) this.#statements.wake.run(now, next.position);
  }

  postpone(queue: string, id: string, delayMs: number, now: number): void {
    this.#statements.postpone.run(now + delayMs, queue, id);
  }

  size(queue: string): number {
    return this.#statements.size.get(queue)?.count ?? 0;
  }
}

function prepare(connection: Connection) {
  return {
    span: connection.prepare<[], { readonly first: number; readonly last: number }>(
      'SELECT coalesce(min(position), 0) AS first, coalesce(max(position), 0) AS last FROM queue',
    ),
    size: connection.prepare<[string], { readonly count: number }>(
      'SELECT count(*) AS count FROM queue WHERE queue = ?',
    ),
    head: connection.prepare<[string, string], { readonly position: number; readonly due_at: number | null }>(
      'SELECT position, due_at FROM queue WHERE queue = ? AND lane = ? ORDER BY position LIMIT 1',
    ),
    add: connection.prepare<[string, string, string, string, number, number | null]>(
      'INSERT OR IGNORE INTO queue (queue, id, lane, payload, added_at, due_at) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    due: connection.prepare<[string, number, number], Row>(
      `SELECT position, id, lane, payload, added_at, attempts FROM queue
       WHERE queue = ? AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at, position LIMIT ?`,
    ),
    lease: connection.prepare<[number, number]>(
      'UPDATE queue SET due_at = ?, attempts = attempts + 1 WHERE position = ?',
    ),
    wake: connection.prepare<[number, number]>('UPDATE queue SET due_at = ? WHERE position = ?'),
    finish: connection.prepare<[string, string], { readonly lane: string }>(
      'DELETE FROM queue WHERE queue = ? AND id = ? RETURNING lane',
    ),
    postpone: connection.prepare<[number, string, string]>(
      'UPDATE queue SET due_at = ? WHERE queue = ? AND id = ? AND due_at IS NOT NULL',
    ),
  };
}
