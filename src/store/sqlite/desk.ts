/**
 * The database and what may be asked of it, on the thread that has it. Requests that wait are done together: what they
 * write is in one transaction and costs one sync to disk, each in a savepoint of its own, so that one that fails takes
 * nothing else along; and nobody hears of a write before it is on disk.
 *
 * What is frequent and short-lived (memory, queues) goes over a connection that does not wait for the disk and still
 * survives the process.
 */
import type { ListOptions, ObjectKind, QueueItem } from '#directory/store.js';
import { type Connection, faultOf, openDatabase, openReader } from './database.js';
import { SqliteMemory } from './memory.js';
import { SqliteObjects } from './objects.js';
import { SqliteQueue } from './queue.js';
import type {
  Chunk,
  Reading,
  Reply,
  Request,
  RestoredRow,
  ThreadData,
  WrittenOutcome,
  WrittenRow,
} from './wire.js';

/** What is read in one go: about a millisecond's work for who hears it. */
const CHUNK_ROWS = 500;
const CHUNK_CHARACTERS = 262_144;

type Rows = readonly (WrittenRow | RestoredRow)[];

/** Everything that may be asked, by name. `now` is the asking clock's: milliseconds since 1970. */
export class Operations {
  readonly #path: string;
  readonly #objects: SqliteObjects;
  readonly #memory: SqliteMemory;
  readonly #queue: SqliteQueue;
  /** One that nobody reads from. */
  #spare: Reader | undefined;
  readonly #cursors = new Map<number, Cursor>();
  #lastCursor = 0;
  /** Rows that belong to a request that is yet to come. */
  readonly #staged = new Map<number, Rows[]>();

  constructor(durable: Connection, quick: Connection, { path, deletionsKept, memoryEntriesMax }: ThreadData) {
    this.#path = path;
    this.#objects = new SqliteObjects(durable, deletionsKept);
    this.#memory = new SqliteMemory(quick, memoryEntriesMax);
    this.#queue = new SqliteQueue(quick);
  }

  sequence(): number {
    return this.#objects.sequence;
  }

  get(kind: ObjectKind, id: string): string | undefined {
    return this.#objects.get(kind, id);
  }

  list(kind: ObjectKind, options: ListOptions): string {
    return `[${this.#objects.list(kind, options).join()}]`;
  }

  load(kinds: readonly ObjectKind[]): Reading {
    return this.#read((objects) => objects.all(kinds)) ?? { sequence: 0, text: '[]', cursor: undefined };
  }

  /** undefined: that cannot be told any more. */
  changes(after: number): Reading | undefined {
    return this.#read((objects) => objects.changes(after));
  }

  more(id: number): Chunk {
    const cursor = this.#cursors.get(id);
    return cursor === undefined ? { text: '[]', cursor: undefined } : this.#chunk(id, cursor);
  }

  /** Rows for the request that will name `key`: many are sent bit by bit. */
  stage(key: number, rows: Rows): void {
    const staged = this.#staged.get(key);
    if (staged === undefined) this.#staged.set(key, [rows]);
    else staged.push(rows);
  }

  /** Forgets what was staged: the request does not come. */
  unstage(key: number): void {
    this.#staged.delete(key);
  }

  /** @param rows behind those that were staged under `key` */
  transaction(
    key: number,
    rows: readonly WrittenRow[],
    now: number,
    ifSequence: number | undefined,
  ): WrittenOutcome {
    return this.#objects.write(this.#all(key, rows) as readonly WrittenRow[], now, ifSequence);
  }

  /** @param rows behind those that were staged under `key` */
  replaceAll(key: number, rows: readonly RestoredRow[]): number {
    return this.#objects.replaceAll(this.#all(key, rows) as readonly RestoredRow[]);
  }

  remember(key: string, value: string, ttlMs: number, now: number): string | undefined {
    return this.#memory.remember(key, value, ttlMs, now);
  }

  replace(key: string, value: string, ttlMs: number, now: number): void {
    this.#memory.replace(key, value, ttlMs, now);
  }

  recall(key: string, now: number): string | undefined {
    return this.#memory.recall(key, now);
  }

  forget(key: string, now: number): boolean {
    return this.#memory.forget(key, now);
  }

  add(queue: string, items: readonly QueueItem[], now: number): boolean {
    return this.#queue.add(queue, items, now);
  }

  claim(queue: string, limit: number, leaseMs: number, now: number): ReturnType<SqliteQueue['claim']> {
    return this.#queue.claim(queue, limit, leaseMs, now);
  }

  finish(queue: string, id: string, now: number): void {
    this.#queue.finish(queue, id, now);
  }

  postpone(queue: string, id: string, delayMs: number, now: number): void {
    this.#queue.postpone(queue, id, delayMs, now);
  }

  size(queue: string): number {
    return this.#queue.size(queue);
  }

  /** Closes the connections that it has opened. */
  close(): void {
    for (const { reader, rows } of this.#cursors.values()) {
      rows.return?.();
      reader.connection.close();
    }
    this.#cursors.clear();
    this.#spare?.connection.close();
  }

  /** Reads as of one moment, over a connection of its own: others write meanwhile. */
  #read(open: (objects: SqliteObjects) => Iterable<string> | undefined): Reading | undefined {
    const reader = this.#spare ?? newReader(this.#path);
    this.#spare = undefined;
    reader.connection.exec('BEGIN');
    const { sequence } = reader.objects;
    const rows = open(reader.objects);
    if (rows === undefined) {
      this.#release(reader);
      return undefined;
    }
    return { sequence, ...this.#chunk(++this.#lastCursor, { reader, rows: rows[Symbol.iterator]() }) };
  }

  #chunk(id: number, cursor: Cursor): Chunk {
    const texts: string[] = [];
    let characters = 0;
    while (texts.length < CHUNK_ROWS && characters < CHUNK_CHARACTERS) {
      const { done, value } = cursor.rows.next();
      if (done === true) {
        this.#cursors.delete(id);
        this.#release(cursor.reader);
        return { text: `[${texts.join()}]`, cursor: undefined };
      }
      texts.push(value);
      characters += value.length;
    }
    this.#cursors.set(id, cursor);
    return { text: `[${texts.join()}]`, cursor: id };
  }

  #release(reader: Reader): void {
    reader.connection.exec('COMMIT');
    if (this.#spare === undefined) this.#spare = reader;
    else reader.connection.close();
  }

  #all(key: number, rows: Rows): Rows {
    const staged = this.#staged.get(key);
    if (staged === undefined) return rows;
    this.#staged.delete(key);
    return [...staged, rows].flat();
  }
}

interface Reader {
  readonly connection: Connection;
  readonly objects: SqliteObjects;
}

interface Cursor {
  readonly reader: Reader;
  readonly rows: Iterator<string>;
}

function newReader(path: string): Reader {
  const connection = openReader(path);
  return { connection, objects: new SqliteObjects(connection, 0) };
}

export type OperationName = Exclude<keyof Operations, 'close'>;

/** What changes what is on disk. Everything else is read, as of what has been acknowledged. */
const DURABLE: ReadonlySet<string> = new Set<OperationName>(['transaction', 'replaceAll']);
const QUICK: ReadonlySet<string> = new Set<OperationName>([
  'remember',
  'replace',
  'forget',
  'add',
  'claim',
  'finish',
  'postpone',
]);

export class Desk {
  readonly #durable: Connection;
  readonly #quick: Connection;
  readonly #operations: Operations;

  /** @throws StoreUnavailable naming the file and what to mend */
  constructor(data: ThreadData) {
    this.#durable = openDatabase(data.path, 'full');
    this.#quick = openDatabase(data.path, 'process');
    this.#operations = new Operations(this.#durable, this.#quick, data);
  }

  /** Does what was asked and calls `send` with the answers: as soon as they are known, and safe. */
  perform(requests: readonly Request[], send: (replies: readonly Reply[]) => void): void {
    const durable = requests.filter(({ name }) => DURABLE.has(name));
    const quick = requests.filter(({ name }) => QUICK.has(name));
    const reads = requests.filter(({ name }) => !DURABLE.has(name) && !QUICK.has(name));
    if (reads.length > 0) send(reads.map((request) => this.#answer(request)));
    if (quick.length > 0) send(this.#together(this.#quick, quick));
    if (durable.length > 0) send(this.#together(this.#durable, durable));
  }

  close(): void {
    this.#operations.close();
    this.#quick.close();
    this.#durable.close();
  }

  /** In one transaction. What cannot be committed has not happened for any of them. */
  #together(connection: Connection, requests: readonly Request[]): Reply[] {
    // Inside another transaction this one is a savepoint.
    const apart = connection.transaction((request: Request): Reply => this.#call(request));
    const all = connection.transaction((): Reply[] =>
      requests.map((request) => {
        try {
          return apart(request);
        } catch (error) {
          // A full disk, say, takes back everything at once.
          if (!connection.inTransaction) throw error;
          return failed(request, error);
        }
      }),
    );
    try {
      return all.immediate();
    } catch (error) {
      return requests.map((request) => failed(request, error));
    }
  }

  #answer(request: Request): Reply {
    try {
      return this.#call(request);
    } catch (error) {
      return failed(request, error);
    }
  }

  #call({ id, name, args }: Request): Reply {
    const operations = this.#operations as unknown as Readonly<
      Record<string, (...given: readonly unknown[]) => unknown>
    >;
    const operation = operations[name];
    if (operation === undefined) throw new Error(`there is no operation ${name}`);
    return { id, value: operation.apply(operations, [...args]) };
  }
}

function failed({ id }: Request, error: unknown): Reply {
  return { id, ...faultOf(error) };
}
