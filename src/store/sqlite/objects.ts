/** Objects in SQLite. Everything here is synchronous: `store.ts` makes promises of it. */
import type {
  Change,
  ChangedObject,
  Changes,
  Document,
  Expected,
  ListOptions,
  ObjectKey,
  ObjectKind,
  RestoredObject,
  StoredObject,
  StoreState,
  TransactionOptions,
  TransactionOutcome,
} from '#directory/store.js';
import { checkChanges, encodeDocument, LIST_MAX } from '#directory/store.js';
import type { Connection } from './database.js';

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

  get(kind: ObjectKind, id: string): StoredObject | undefined {
    const row = this.#statements.get.get(kind, id);
    return row === undefined ? undefined : objectOf(row);
  }

  list(kind: ObjectKind, { organizationId, after = '', limit }: ListOptions): StoredObject[] {
    const count = Math.min(Math.max(limit, 1), LIST_MAX);
    const rows =
      organizationId === undefined
        ? this.#statements.list.all(kind, after, count)
        : this.#statements.listOwn.all(kind, organizationId, after, count);
    return rows.map(objectOf);
  }

  load(kinds: readonly ObjectKind[]): StoreState {
    return this.#connection.transaction(() => {
      const objects: StoredObject[] = [];
      for (const kind of kinds) {
        for (const row of this.#statements.all.iterate(kind)) objects.push(objectOf(row));
      }
      return { sequence: this.sequence, objects };
    })();
  }

  transaction(changes: readonly Change[], now: number, options: TransactionOptions): TransactionOutcome {
    checkChanges(changes);
    const texts = changes.map((change) =>
      change.document === null ? null : encodeDocument(change, change.document),
    );
    return this.#connection
      .transaction((): TransactionOutcome => {
        const last = this.sequence;
        const { ifSequence } = options;
        if (ifSequence !== undefined && ifSequence !== last) return { kind: 'stale', sequence: last };
        const present = changes.map(({ kind, id }) => this.#statements.get.get(kind, id));
        const conflicts: (ObjectKey & { readonly version: number })[] = [];
        for (const [index, { kind, id, expect }] of changes.entries()) {
          const version = present[index]?.version ?? 0;
          if (!meets(expect, version)) conflicts.push({ kind, id, version });
        }
        if (conflicts.length > 0) return { kind: 'conflict', conflicts };
        const sequence = last + 1;
        const objects = changes.map((change, index) =>
          this.#write(change, present[index], texts[index] ?? null, sequence, now),
        );
        this.#statements.count.run(sequence, 'sequence');
        this.#forgetDeletions();
        return { kind: 'committed', sequence, objects };
      })
      .immediate();
  }

  changes(after: number): Changes {
    return this.#connection.transaction((): Changes => {
      const sequence = this.sequence;
      // A sequence from the future is from another life of this store.
      if (after < this.#counter('floor') || after > sequence) return { kind: 'lost' };
      if (after === sequence) return { kind: 'changes', sequence, objects: [] };
      const objects: ChangedObject[] = this.#statements.since.all(after).map(objectOf);
      for (const row of this.#statements.deletedSince.all(after)) objects.push({ ...row, document: null });
      objects.sort((a, b) => a.version - b.version);
      return { kind: 'changes', sequence, objects };
    })();
  }

  replaceAll(restored: readonly RestoredObject[]): number {
    return this.#connection
      .transaction(() => {
        const sequence = this.sequence + 1;
        this.#connection.exec('DELETE FROM objects; DELETE FROM deletions;');
        for (const object of restored) {
          const { kind, id, organizationId, createdAt, updatedAt } = object;
          const text = encodeDocument(object, object.document);
          this.#statements.put.run(kind, id, organizationId, sequence, createdAt, updatedAt, text);
        }
        this.#statements.count.run(sequence, 'sequence');
        this.#statements.count.run(sequence, 'floor');
        return sequence;
      })
      .immediate();
  }

  #write(
    change: Change,
    before: Row | undefined,
    text: string | null,
    sequence: number,
    now: number,
  ): ChangedObject {
    const { kind, id } = change;
    if (change.document === null || text === null) {
      this.#statements.remove.run(kind, id);
      this.#statements.deleted.run(kind, id, sequence);
      return { kind, id, version: sequence, document: null };
    }
    const { organizationId, document } = change;
    const createdAt = before?.created_at ?? now;
    this.#statements.put.run(kind, id, organizationId, sequence, createdAt, now, text);
    if (before === undefined) this.#statements.undeleted.run(kind, id);
    return { kind, id, organizationId, version: sequence, createdAt, updatedAt: now, document };
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

function objectOf(row: Row): StoredObject {
  return {
    kind: row.kind,
    id: row.id,
    organizationId: row.organization,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    document: JSON.parse(row.document) as Document,
  };
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
      'SELECT kind, id, version FROM deletions WHERE version > ?',
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
