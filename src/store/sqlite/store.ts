/**
 * The store in one SQLite file: for a gateway that is alone, or several processes of one machine. The database is on a
 * thread of its own (`thread.ts`, `desk.ts`), since a write waits for the disk and calls must not. If that thread dies, it
 * is said, and another one is started.
 */
import {
  type Change,
  type ChangedObject,
  type Changes,
  type ClaimedItem,
  checkChanges,
  checkMemory,
  DELETIONS_KEPT,
  encodeDocument,
  type ListOptions,
  MEMORY_ENTRIES_MAX,
  type Memory,
  type ObjectKind,
  type Queue,
  type QueueItem,
  type RestoredObject,
  type Store,
  type StoredObject,
  type StoreHealth,
  type StoreState,
  StoreUnavailable,
  type TransactionOptions,
  type TransactionOutcome,
  type WatchListener,
} from '#directory/store.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { OperationName, Operations } from './desk.js';
import { StoreThread } from './thread.js';
import type { Chunk, RestoredRow, ThreadData, WrittenRow } from './wire.js';

export interface SqliteStoreOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default `DELETIONS_KEPT`. */
  readonly deletionsKept?: number | undefined;
  /** Default `MEMORY_ENTRIES_MAX`. */
  readonly memoryEntriesMax?: number | undefined;
  /** What the thread runs; default: the store's own. */
  readonly script?: URL | undefined;
}

/** How often to look whether another process has written. */
const LOOK_MS = 200;
const START_AGAIN_MS = 1_000;
/** Objects that are sent to the thread at once: about a millisecond's work. */
const SENT_AT_ONCE = 500;

type Ask = <N extends OperationName>(
  name: N,
  ...args: Parameters<Operations[N]>
) => Promise<ReturnType<Operations[N]>>;

export class SqliteStore implements Store {
  readonly memory: Memory;
  readonly queue: Queue;
  readonly #options: SqliteStoreOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<WatchListener>();
  readonly #look = new CallbackTimer(() => void this.#lookAround());
  readonly #again = new CallbackTimer(() => void this.#startAgain());
  #thread: StoreThread | undefined;
  /** What the listeners have been told. */
  #told = -1;
  #fault: string | undefined;
  #lastKey = 0;
  #closed: Promise<void> | undefined;

  private constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.#clock = options.clock;
    const ask: Ask = (name, ...args) => this.#ask(name, ...args);
    this.memory = new SqliteMemory(ask, options.clock);
    this.queue = new SqliteQueue(ask, options.clock);
  }

  /** Rejects with StoreUnavailable that says what to mend. */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const store = new SqliteStore(options);
    store.#thread = await store.#start();
    store.#told = await store.#ask('sequence');
    return store;
  }

  async get(kind: ObjectKind, id: string): Promise<StoredObject | undefined> {
    const text = await this.#ask('get', kind, id);
    return text === undefined ? undefined : (JSON.parse(text) as StoredObject);
  }

  async list(kind: ObjectKind, options: ListOptions): Promise<readonly StoredObject[]> {
    return JSON.parse(await this.#ask('list', kind, options)) as StoredObject[];
  }

  async load(kinds: readonly ObjectKind[]): Promise<StoreState> {
    const reading = await this.#ask('load', kinds);
    return { sequence: reading.sequence, objects: await this.#read<StoredObject>(reading) };
  }

  async transaction(
    changes: readonly Change[],
    { ifSequence }: TransactionOptions = {},
  ): Promise<TransactionOutcome> {
    checkChanges(changes);
    const now = this.#clock.wallNow();
    const outcome = await this.#staged(changes, rowOf, (key, rows) =>
      this.#ask('transaction', key, rows, now, ifSequence),
    );
    if (outcome.kind !== 'committed') return outcome;
    const { sequence, createdAt } = outcome;
    this.#tell(sequence, new Set(changes.map(({ kind }) => kind)));
    const objects = changes.map((change, index): ChangedObject => {
      const { kind, id } = change;
      if (change.document === null) return { kind, id, version: sequence, document: null };
      const { organizationId, document } = change;
      const created = createdAt[index] ?? now;
      return { kind, id, organizationId, version: sequence, createdAt: created, updatedAt: now, document };
    });
    return { kind: 'committed', sequence, objects };
  }

  async changes(after: number): Promise<Changes> {
    const reading = await this.#ask('changes', after);
    if (reading === undefined) return { kind: 'lost' };
    const objects = await this.#read<ChangedObject>(reading);
    return { kind: 'changes', sequence: reading.sequence, objects };
  }

  async replaceAll(objects: readonly RestoredObject[]): Promise<number> {
    const sequence = await this.#staged(objects, restoredRowOf, (key, rows) =>
      this.#ask('replaceAll', key, rows),
    );
    this.#tell(sequence);
    return sequence;
  }

  watch(listener: WatchListener): () => void {
    this.#listeners.add(listener);
    if (!this.#look.armed) this.#clock.arm(this.#look, LOOK_MS);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#clock.disarm(this.#look);
    };
  }

  health(): StoreHealth {
    if (this.#fault !== undefined) return { ok: false, detail: this.#fault };
    return { ok: true, detail: `SQLite, ${this.#options.path}` };
  }

  async close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#clock.disarm(this.#look);
      this.#clock.disarm(this.#again);
      this.#listeners.clear();
      this.#closed = this.#thread?.close() ?? Promise.resolve();
    }
    await this.#closed;
  }

  #start(): Promise<StoreThread> {
    const { path, deletionsKept, memoryEntriesMax, script } = this.#options;
    const data: ThreadData = {
      path,
      deletionsKept: deletionsKept ?? DELETIONS_KEPT,
      memoryEntriesMax: memoryEntriesMax ?? MEMORY_ENTRIES_MAX,
    };
    return StoreThread.start({ data, script, onLost: (fault) => this.#lost(fault) });
  }

  #lost(fault: string): void {
    this.#thread = undefined;
    this.#fault = fault;
    const { path, log } = this.#options;
    log.error(
      { path, fault },
      'the store was lost: it is opened again, and what was being written is unknown',
    );
    if (this.#closed === undefined) this.#clock.arm(this.#again, START_AGAIN_MS);
  }

  async #startAgain(): Promise<void> {
    try {
      const thread = await this.#start();
      if (this.#closed !== undefined) return await thread.close();
      this.#thread = thread;
      this.#fault = undefined;
      this.#options.log.info({ path: this.#options.path }, 'the store is open again');
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
      if (this.#closed === undefined) this.#clock.arm(this.#again, START_AGAIN_MS);
    }
  }

  async #lookAround(): Promise<void> {
    try {
      const sequence = await this.#ask('sequence');
      if (sequence !== this.#told && this.#closed === undefined) this.#tell(sequence);
    } catch (error) {
      this.#fault ??= error instanceof Error ? error.message : String(error);
    }
    // Only now: a database that does not answer is not asked again and again.
    if (this.#listeners.size > 0 && !this.#look.armed) this.#clock.arm(this.#look, LOOK_MS);
  }

  /** @param written by the transaction of this sequence */
  #tell(sequence: number, written?: ReadonlySet<ObjectKind>): void {
    const kinds = sequence === this.#told + 1 ? written : undefined;
    this.#told = sequence;
    for (const listener of this.#listeners) listener(sequence, kinds);
  }

  /** Chunk by chunk, so that calls get their turn between; the next one is made while this one is read. */
  async #read<T>(first: Chunk): Promise<T[]> {
    const objects = JSON.parse(first.text) as T[];
    if (first.cursor === undefined) return objects;
    let next: Promise<Chunk> | undefined = this.#ask('more', first.cursor);
    while (next !== undefined) {
      const { text, cursor }: Chunk = await next;
      next = cursor === undefined ? undefined : this.#ask('more', cursor);
      for (const object of JSON.parse(text) as T[]) objects.push(object);
    }
    return objects;
  }

  /** Sends many bit by bit, so that calls get their turn between; the last bit goes with the request itself. */
  async #staged<T, R extends WrittenRow | RestoredRow, A>(
    all: readonly T[],
    encode: (each: T) => R,
    request: (key: number, rows: readonly R[]) => Promise<A>,
  ): Promise<A> {
    const key = ++this.#lastKey;
    let at = 0;
    try {
      for (; all.length - at > SENT_AT_ONCE; at += SENT_AT_ONCE) {
        await this.#ask('stage', key, all.slice(at, at + SENT_AT_ONCE).map(encode));
      }
      return await request(key, all.slice(at).map(encode));
    } catch (error) {
      if (at > 0 && this.#closed === undefined) await this.#ask('unstage', key);
      throw error;
    }
  }

  async #ask<N extends OperationName>(
    name: N,
    ...args: Parameters<Operations[N]>
  ): Promise<ReturnType<Operations[N]>> {
    if (this.#closed !== undefined) throw new StoreUnavailable('the store is closed');
    if (this.#thread === undefined) throw new StoreUnavailable(this.#fault ?? 'the store is not open');
    try {
      const value = await this.#thread.ask(name, ...args);
      this.#fault = undefined;
      return value;
    } catch (error) {
      if (error instanceof StoreUnavailable) this.#fault = error.message;
      throw error;
    }
  }
}

class SqliteMemory implements Memory {
  readonly #ask: Ask;
  readonly #clock: Clock;

  constructor(ask: Ask, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  async remember(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    checkMemory(key, value, ttlMs);
    return this.#ask('remember', key, value, ttlMs, this.#clock.wallNow());
  }

  async replace(key: string, value: string, ttlMs: number): Promise<void> {
    checkMemory(key, value, ttlMs);
    return this.#ask('replace', key, value, ttlMs, this.#clock.wallNow());
  }

  recall(key: string): Promise<string | undefined> {
    return this.#ask('recall', key, this.#clock.wallNow());
  }

  forget(key: string): Promise<boolean> {
    return this.#ask('forget', key, this.#clock.wallNow());
  }
}

class SqliteQueue implements Queue {
  readonly #ask: Ask;
  readonly #clock: Clock;

  constructor(ask: Ask, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  add(queue: string, items: readonly QueueItem[]): Promise<boolean> {
    return this.#ask('add', queue, items, this.#clock.wallNow());
  }

  claim(queue: string, limit: number, leaseMs: number): Promise<readonly ClaimedItem[]> {
    return this.#ask('claim', queue, limit, leaseMs, this.#clock.wallNow());
  }

  finish(queue: string, id: string): Promise<void> {
    return this.#ask('finish', queue, id, this.#clock.wallNow());
  }

  postpone(queue: string, id: string, delayMs: number): Promise<void> {
    return this.#ask('postpone', queue, id, delayMs, this.#clock.wallNow());
  }

  size(queue: string): Promise<number> {
    return this.#ask('size', queue);
  }
}

function rowOf(change: Change): WrittenRow {
  const { kind, id, expect } = change;
  if (change.document === null) return [kind, id, expect, '', null];
  return [kind, id, expect, change.organizationId, encodeDocument(change, change.document)];
}

function restoredRowOf(object: RestoredObject): RestoredRow {
  const { kind, id, organizationId, createdAt, updatedAt } = object;
  return [kind, id, organizationId, createdAt, updatedAt, encodeDocument(object, object.document)];
}
