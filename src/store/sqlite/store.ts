/**
 * The store in one SQLite file: for a gateway that is alone, or several processes of one machine. better-sqlite3 works
 * synchronously, so a write holds the event loop for as long as the disk takes to sync: edits are rare. What is
 * frequent (memory, queues) goes over a connection that does not wait for the disk and still survives the process.
 */
import {
  type Change,
  type Changes,
  DELETIONS_KEPT,
  type ListOptions,
  MEMORY_ENTRIES_MAX,
  type ObjectKind,
  type RestoredObject,
  type Store,
  type StoredObject,
  type StoreHealth,
  type StoreState,
  StoreUnavailable,
  type TransactionOptions,
  type TransactionOutcome,
} from '#directory/store.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import { type Connection, guarded, openDatabase } from './database.js';
import { SqliteMemory } from './memory.js';
import { SqliteObjects } from './objects.js';
import { SqliteQueue } from './queue.js';

export interface SqliteStoreOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Default `DELETIONS_KEPT`. */
  readonly deletionsKept?: number | undefined;
  /** Default `MEMORY_ENTRIES_MAX`. */
  readonly memoryEntriesMax?: number | undefined;
}

/** How often to look whether another process has written. One counter in shared memory is read. */
const LOOK_MS = 200;

export class SqliteStore implements Store {
  readonly memory: SqliteMemory;
  readonly queue: SqliteQueue;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #quick: Connection;
  readonly #objects: SqliteObjects;
  readonly #listeners = new Set<(sequence: number) => void>();
  readonly #look = new CallbackTimer(() => this.#lookAround());
  /** What the listeners have been told. */
  #told: number;
  #fault: string | undefined;
  #closed = false;

  /** @throws StoreUnavailable */
  constructor({ path, clock, deletionsKept, memoryEntriesMax }: SqliteStoreOptions) {
    this.#path = path;
    this.#clock = clock;
    this.#connection = openDatabase(path, 'full');
    this.#quick = openDatabase(path, 'process');
    this.#objects = new SqliteObjects(this.#connection, deletionsKept ?? DELETIONS_KEPT);
    this.memory = new SqliteMemory(this.#quick, clock, memoryEntriesMax ?? MEMORY_ENTRIES_MAX);
    this.queue = new SqliteQueue(this.#quick, clock);
    this.#told = this.#objects.sequence;
  }

  async get(kind: ObjectKind, id: string): Promise<StoredObject | undefined> {
    return this.#guarded(() => this.#objects.get(kind, id));
  }

  async list(kind: ObjectKind, options: ListOptions): Promise<readonly StoredObject[]> {
    return this.#guarded(() => this.#objects.list(kind, options));
  }

  async load(kinds: readonly ObjectKind[]): Promise<StoreState> {
    return this.#guarded(() => this.#objects.load(kinds));
  }

  async transaction(
    changes: readonly Change[],
    options: TransactionOptions = {},
  ): Promise<TransactionOutcome> {
    const outcome = this.#guarded(() => this.#objects.transaction(changes, this.#clock.wallNow(), options));
    if (outcome.kind === 'committed') this.#tell(outcome.sequence);
    return outcome;
  }

  async changes(after: number): Promise<Changes> {
    return this.#guarded(() => this.#objects.changes(after));
  }

  async replaceAll(objects: readonly RestoredObject[]): Promise<number> {
    const sequence = this.#guarded(() => this.#objects.replaceAll(objects));
    this.#tell(sequence);
    return sequence;
  }

  watch(listener: (sequence: number) => void): () => void {
    this.#listeners.add(listener);
    if (!this.#look.armed) this.#clock.arm(this.#look, LOOK_MS);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#clock.disarm(this.#look);
    };
  }

  health(): StoreHealth {
    if (this.#fault !== undefined) return { ok: false, detail: this.#fault };
    return { ok: true, detail: `SQLite, ${this.#path}` };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.disarm(this.#look);
    this.#listeners.clear();
    this.#quick.close();
    this.#connection.close();
  }

  #lookAround(): void {
    try {
      const { sequence } = this.#objects;
      this.#fault = undefined;
      if (sequence !== this.#told) this.#tell(sequence);
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
    }
    if (this.#listeners.size > 0) this.#clock.arm(this.#look, LOOK_MS);
  }

  #tell(sequence: number): void {
    this.#told = sequence;
    for (const listener of this.#listeners) listener(sequence);
  }

  #guarded<T>(work: () => T): T {
    if (this.#closed) throw new StoreUnavailable('the store is closed');
    try {
      const result = guarded(work);
      this.#fault = undefined;
      return result;
    } catch (error) {
      if (error instanceof StoreUnavailable) this.#fault = error.message;
      throw error;
    }
  }
}
