/** Objects in SQLite. Everything here is synchronous, on the thread that has the database. */
import {
  type Expected,
  LIST_MAX,
  type ListOptions,
  type ObjectKey,
  type ObjectKind,
} from '#directory/store.js';
import type { Connection } from './database.js';
import type { RestoredRow, WrittenOutcome, WrittenRow } from './wire.js';

interface Row {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly organization: string;
  readonly version: number;
  readonly created_at: number;
  readonly updated_at: number;
  readonly document: string;
}

interface DeletionRow {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly version: number;
}

export class SqliteObjects {
  readonly #connection: Connection;
  readonly #deletionsKept: number;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(connection: Connection, deletionsKept: number) {
    this.#connection = connection;
    this.#deletionsKept = deletionsKept;
    this.#statements = prepare(connection);
  }

  get sequence(): number {
    return this.#counter('sequence');
  }

  /** JSON of the object. */
  get(kind: ObjectKind, id: string): string | undefined {
    const row = this.#statements.get.get(kind, id);
    return row === undefined ? undefined : textOf(row);
  }

  /** JSON of each. */
  list(kind: ObjectKind, { organizationId, after = '', limit }: ListOptions): string[] {
    const count = Math.min(Math.max(limit, 1), LIST_MAX);
    const rows =
      organizationId === undefined
        ? this.#statements.list.all(kind, after, count)
        : this.#statements.listOwn.all(kind, organizationId, after, count);
    return rows.map(textOf);
  }

  /** JSON of everything of these kinds. The connection is busy until the last one was read. */
  *all(kinds: readonly ObjectKind[]): Iterable<string> {
    for (const kind of kinds) for (const row of this.#statements.all.iterate(kind)) yield textOf(row);
  }

  /**
   * JSON of what has changed since, in order of the last change; undefined: that cannot be told any more. The connection is
   * busy until the last one was read.
   */
  changes(after: number): Iterable<string> | undefined {
    // A sequence from the future is from another life of this store.
    if (after < this.#counter('floor') || after > this.sequence) return undefined;
    return this.#since(after);
  }

  /** In a transaction of the caller's. */
  write(rows: readonly WrittenRow[], now: number, ifSequence: number | undefined): WrittenOutcome {
    const last = this.sequence;
    if (ifSequence !== undefined && ifSequence !== last) return { kind: 'stale', sequence: last };
    const present = rows.map(([kind, id]) => this.#statements.get.get(kind, id));
    const conflicts: (ObjectKey & { readonly version: number })[] = [];
    for (const [index, [kind, id, expect]] of rows.entries()) {
      const version = present[index]?.version ?? 0;
      if (!meets(expect, version)) conflicts.push({ kind, id, version });
    }
    if (conflicts.length > 0) return { kind: 'conflict', conflicts };
    const sequence = last + 1;
    const createdAt = rows.map((row, index) => this.#write(row, present[index], sequence, now));
    this.#statements.count.run(sequence, 'sequence');
    if (rows.some(([, , , , document]) => document === null)) this.#forgetDeletions();
    return { kind: 'committed', sequence, createdAt };
  }

  /** In a transaction of the caller's. @returns the sequence */
  replaceAll(rows: readonly RestoredRow[]): number {
    const sequence = this.sequence + 1;
    this.#connection.exec('DELETE FROM objects; DELETE FROM deletions;');
    for (const [kind, id, organizationId, createdAt, updatedAt, document] of rows) {
      this.#statements.put.run(kind, id, organizationId, sequence, createdAt, updatedAt, document);
    }
    this.#statements.count.run(sequence, 'sequence');
    this.#statements.count.run(sequence, 'floor');
    return sequence;
  }

  /** @returns when it was created */
  #write(
    [kind, id, , organizationId, document]: WrittenRow,
    before: Row | undefined,
    sequence: number,
    now: number,
  ): number {
    if (document === null) {
      this.#statements.remove.run(kind, id);
      this.#statements.deleted.run(kind, id, sequence);
      return before?.created_at ?? 0;
    }
    const createdAt = before?.created_at ?? now;
    this.#statements.put.run(kind, id, organizationId, sequence, createdAt, now, document);
    if (before === undefined) this.#statements.undeleted.run(kind, id);
    return createdAt;
  }

  /** Both in order of their versions, merged. */
  *#since(after: number): Iterable<string> {
    // Deletions are bounded (`DELETIONS_KEPT`) and small; objects are not.
    const deleted = this.#statements.deletedSince.all(after);
    let next = 0;
    const deletedBefore = function* (version: number): Iterable<string> {
      for (let row = deleted[next]; row !== undefined && row.version < version; row = deleted[++next]) {
        yield JSON.stringify({ ...row, document: null });
      }
    };
    for (const row of this.#statements.since.iterate(after)) {
      yield* deletedBefore(row.version);
      yield textOf(row);
    }
    yield* deletedBefore(Number.POSITIVE_INFINITY);
  }

  /** The oldest go, and `floor` rises to the last one gone. */
  #forgetDeletions(): void {
    const known = this.#statements.deletionCount.get()?.count ?? 0;
    if (known <= this.#deletionsKept) return;
    // A tenth more than needed, so that this is not done with every deletion.
    const surplus = known - Math.floor(this.#deletionsKept * 0.9);
    const floor = this.#statements.oldDeletion.get(surplus - 1)?.version ?? 0;
    this.#statements.forgetDeletions.run(floor);
    this.#statements.count.run(floor, 'floor');
  }

  #counter(name: 'sequence' | 'floor'): number {
    return this.#statements.counter.get(name)?.value ?? 0;
  }
}

function meets(expect: Expected, version: number): boolean {
  return expect === 'any' || (expect === 'absent' ? version === 0 : version === expect);
}

/** As `StoredObject` has it; the document is JSON already. */
function textOf(row: Row): string {
  const {
    kind,
    id,
    organization: organizationId,
    version,
    created_at: createdAt,
    updated_at: updatedAt,
  } = row;
  const head = JSON.stringify({ kind, id, organizationId, version, createdAt, updatedAt });
  return `${head.slice(0, -1)},"document":${row.document}}`;
}

function prepare(connection: Connection) {
  const columns = 'kind, id, organization, version, created_at, updated_at, document';
  return {
    get: connection.prepare<[string, string], Row>(
      `SELECT ${columns} FROM objects WHERE kind = ? AND id = ?`,
    ),
    list: connection.prepare<[string, string, number], Row>(
      `SELECT ${columns} FROM objects WHERE kind = ? AND id > ? ORDER BY id LIMIT ?`,
    ),
    listOwn: connection.prepare<[string, string, string, number], Row>(
      `SELECT ${columns} FROM objects WHERE kind = ? AND organization = ? AND id > ? ORDER BY id LIMIT ?`,
    ),
    all: connection.prepare<[string], Row>(`SELECT ${columns} FROM objects WHERE kind = ? ORDER BY id`),
    since: connection.prepare<[number], Row>(
      `SELECT ${columns} FROM objects WHERE version > ? ORDER BY version`,
    ),
    put: connection.prepare<[string, string, string, number, number, number, string]>(
      `INSERT OR REPLACE INTO objects (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    remove: connection.prepare<[string, string]>('DELETE FROM objects WHERE kind = ? AND id = ?'),
    deleted: connection.prepare<[string, string, number]>(
      'INSERT OR REPLACE INTO deletions (kind, id, version) VALUES (?, ?, ?)',
    ),
    undeleted: connection.prepare<[string, string]>('DELETE FROM deletions WHERE kind = ? AND id = ?'),
    deletedSince: connection.prepare<[number], DeletionRow>(
      'SELECT kind, id, version FROM deletions WHERE version > ? ORDER BY version',
    ),
    deletionCount: connection.prepare<[], { readonly count: number }>(
      'SELECT count(*) AS count FROM deletions',
    ),
    oldDeletion: connection.prepare<[number], { readonly version: number }>(
      'SELECT version FROM deletions ORDER BY version LIMIT 1 OFFSET ?',
    ),
    forgetDeletions: connection.prepare<[number]>('DELETE FROM deletions WHERE version <= ?'),
    counter: connection.prepare<[string], { readonly value: number }>(
      'SELECT value FROM counters WHERE name = ?',
    ),
    count: connection.prepare<[number, string]>('UPDATE counters SET value = ? WHERE name = ?'),
  };
}
