/**
 * The store in Redis, shared by all nodes. What Redis has acknowledged is as safe as its own settings make it: the
 * README says which are needed. Nothing here is on the way of a call.
 */
import {
  type Change,
  type ChangedObject,
  type Changes,
  checkChanges,
  DELETIONS_KEPT,
  type Document,
  encodeDocument,
  LIST_MAX,
  type ListOptions,
  MEMORY_ENTRIES_MAX,
  type ObjectKey,
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
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { RedisClient, RedisFault } from './client.js';
import { escapePart, redisKey, unescapePart } from './keys.js';
import { RedisMemory } from './memory.js';
import { RedisQueue } from './queue.js';
import { CHANGES, LIST, REPLACE, TRANSACTION } from './scripts.js';

export interface RedisStoreOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Logger;
  /** Default `DELETIONS_KEPT`. */
  readonly deletionsKept?: number | undefined;
  /** Default `MEMORY_ENTRIES_MAX`. */
  readonly memoryEntriesMax?: number | undefined;
}

/** How what is stored is written; a Redis with a higher one belongs to a newer gateway. */
const SCHEMA = 1;
/** Messages may be lost: so often the sequence is asked for. */
const LOOK_MS = 800;
/** A transaction of a hundred thousand changes takes its time. */
const COMMAND_TIMEOUT_MS = 10_000;
const STAGED_AT_ONCE = 500;
const STAGING_SECONDS = 600;
const LOAD_TRIES = 10;

const KEYS = ['objects', 'versions', 'deletions', 'state'].map((name) => redisKey('store', name));
const OBJECTS = KEYS[0]!;
const STATE = KEYS[3]!;
const PREFIX = `${redisKey('store')}:`;
const CHANNEL = redisKey('store', 'changed');

export class RedisStore implements Store {
  readonly memory: RedisMemory;
  readonly queue: RedisQueue;
  readonly #client: RedisClient;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #deletionsKept: number;
  readonly #listeners = new Set<(sequence: number) => void>();
  readonly #look = new CallbackTimer(() => void this.#lookAround());
  /** What the listeners have been told. */
  #told = -1;
  #closed = false;

  private constructor(client: RedisClient, options: RedisStoreOptions) {
    this.#client = client;
    this.#clock = options.clock;
    this.#ids = options.ids;
    this.#deletionsKept = options.deletionsKept ?? DELETIONS_KEPT;
    const run = <T>(work: () => Promise<T>): Promise<T> => this.#guarded(work);
    this.memory = new RedisMemory(client, run, options.memoryEntriesMax ?? MEMORY_ENTRIES_MAX);
    this.queue = new RedisQueue(client, run);
    client.subscribe(CHANNEL, (message) => this.#tell(Number(message)));
    client.onTurn((up) => {
      // What was published while there was no connection is lost.
      if (up && this.#listeners.size > 0) void this.#lookAround();
    });
  }

  /** Rejects with StoreUnavailable that says what to mend. */
  static async open(options: RedisStoreOptions): Promise<RedisStore> {
    const client = new RedisClient({
      url: options.url,
      log: options.log,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
    });
    await client.start();
    try {
      if (!client.up) {
        throw new StoreUnavailable(
          `the store is in Redis (redis.url), and there is ${client.health().detail}`,
        );
      }
      await client.command('HSETNX', STATE, 'schema', SCHEMA);
      const schema = Number(await client.command('HGET', STATE, 'schema'));
      if (schema > SCHEMA) {
        throw new StoreUnavailable(
          `Redis at ${client.address} was written by a newer Trunkline (schema ${schema}, this one knows ${SCHEMA}): start that one`,
        );
      }
      await warnOfLoss(client, options.log);
      return new RedisStore(client, options);
    } catch (error) {
      client.close();
      throw unavailable(error);
    }
  }

  async get(kind: ObjectKind, id: string): Promise<StoredObject | undefined> {
    const stored = await this.#guarded(() => this.#client.command('HGET', OBJECTS, `${kind}/${id}`));
    return typeof stored === 'string' ? objectOf({ kind, id }, stored) : undefined;
  }

  async list(
    kind: ObjectKind,
    { organizationId, after = '', limit }: ListOptions,
  ): Promise<readonly StoredObject[]> {
    const count = Math.min(Math.max(limit, 1), LIST_MAX);
    const owner = organizationId === undefined ? '' : escapePart(organizationId);
    const answer = await this.#run(LIST, [kind, owner, after, count]);
    const objects: StoredObject[] = [];
    for (let at = 0; at < answer.length; at += 2) {
      objects.push(objectOf({ kind, id: String(answer[at]) }, String(answer[at + 1])));
    }
    return objects;
  }

  /** Page by page, so that others get their turn in Redis; then once more what changed meanwhile. */
  async load(kinds: readonly ObjectKind[]): Promise<StoreState> {
    for (let tries = 1; tries <= LOAD_TRIES; tries++) {
      const start = await this.#sequence();
      const objects = new Map<string, StoredObject>();
      for (const kind of kinds) {
        for (let after: string | undefined; ; ) {
          const page = await this.list(kind, { after, limit: LIST_MAX });
          for (const object of page) objects.set(`${kind}/${object.id}`, object);
          if (page.length < LIST_MAX) break;
          after = page.at(-1)?.id;
        }
      }
      const changes = await this.changes(start);
      if (changes.kind === 'lost') continue;
      for (const object of changes.objects) {
        if (object.document === null) objects.delete(`${object.kind}/${object.id}`);
        else if (kinds.includes(object.kind)) objects.set(`${object.kind}/${object.id}`, object);
      }
      return { sequence: changes.sequence, objects: [...objects.values()] };
    }
    throw new StoreUnavailable('the store was replaced again and again while it was read');
  }

  async transaction(
    changes: readonly Change[],
    { ifSequence }: TransactionOptions = {},
  ): Promise<TransactionOutcome> {
    checkChanges(changes);
    const now = this.#clock.wallNow();
    const encoded = changes.map((change) =>
      change.document === null
        ? [change.kind, change.id, String(change.expect), '', '']
        : [
            change.kind,
            change.id,
            String(change.expect),
            escapePart(change.organizationId),
            encodeDocument(change, change.document),
          ],
    );
    const answer = await this.#run(TRANSACTION, [
      now,
      ifSequence ?? '',
      this.#deletionsKept,
      JSON.stringify(encoded),
    ]);
    if (answer[0] === 'stale') return { kind: 'stale', sequence: Number(answer[1]) };
    if (answer[0] === 'conflict') return { kind: 'conflict', conflicts: conflictsOf(answer, changes) };
    const sequence = Number(answer[1]);
    this.#tell(sequence);
    const objects = changes.map((change, index): ChangedObject => {
      const { kind, id } = change;
      if (change.document === null) return { kind, id, version: sequence, document: null };
      const { organizationId, document } = change;
      const createdAt = Number(answer[index + 2]);
      return { kind, id, organizationId, version: sequence, createdAt, updatedAt: now, document };
    });
    return { kind: 'committed', sequence, objects };
  }

  async changes(after: number): Promise<Changes> {
    const answer = await this.#run(CHANGES, [after]);
    if (answer[0] === 'lost') return { kind: 'lost' };
    const objects: ChangedObject[] = [];
    for (let at = 2; at < answer.length; at += 3) {
      const key = keyOf(String(answer[at]));
      const stored = String(answer[at + 2]);
      const version = Number(answer[at + 1]);
      objects.push(stored === '' ? { ...key, version, document: null } : objectOf(key, stored));
    }
    return { kind: 'changes', sequence: Number(answer[1]), objects };
  }

  async replaceAll(objects: readonly RestoredObject[]): Promise<number> {
    const staging = redisKey('store', 'staging', this.#ids.token(80));
    const encoded = objects.map((object): [string, string] => {
      const { kind, id, organizationId, createdAt, updatedAt } = object;
      const head = `${escapePart(organizationId)} ${createdAt} ${updatedAt}`;
      return [`${kind}/${id}`, `${head}\n${encodeDocument(object, object.document)}`];
    });
    const answer = await this.#guarded(async () => {
      for (let at = 0; at < encoded.length; at += STAGED_AT_ONCE) {
        await this.#client.command('HSET', staging, ...encoded.slice(at, at + STAGED_AT_ONCE).flat());
        // Whoever dies half-way leaves nothing behind.
        await this.#client.command('EXPIRE', staging, STAGING_SECONDS);
      }
      return this.#client.run(REPLACE, [...KEYS, staging], [PREFIX, CHANNEL, encoded.length]);
    });
    const [outcome, sequence] = answer as unknown[];
    if (outcome !== 'replaced') throw new StoreUnavailable('not all objects reached Redis: try again');
    this.#tell(Number(sequence));
    return Number(sequence);
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
    const { ok, detail } = this.#client.health();
    return { ok, detail: `store in Redis: ${detail}` };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.disarm(this.#look);
    this.#listeners.clear();
    this.#client.close();
  }

  async #run(
    script: Parameters<RedisClient['run']>[0],
    args: readonly (string | number)[],
  ): Promise<readonly unknown[]> {
    const answer = await this.#guarded(() => this.#client.run(script, KEYS, [PREFIX, CHANNEL, ...args]));
    if (!Array.isArray(answer)) throw new StoreUnavailable('Redis gave an answer that makes no sense');
    return answer;
  }

  async #sequence(): Promise<number> {
    return Number((await this.#guarded(() => this.#client.command('HGET', STATE, 'sequence'))) ?? 0);
  }

  async #lookAround(): Promise<void> {
    try {
      const sequence = await this.#sequence();
      if (sequence !== this.#told) this.#tell(sequence);
    } catch {
      // No connection: `health` says so, and the next look finds out what was missed.
    }
    if (this.#listeners.size > 0 && !this.#closed) this.#clock.arm(this.#look, LOOK_MS);
  }

  #tell(sequence: number): void {
    this.#told = sequence;
    for (const listener of this.#listeners) listener(sequence);
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new StoreUnavailable('the store is closed');
    try {
      return await work();
    } catch (error) {
      throw unavailable(error);
    }
  }
}

function unavailable(error: unknown): unknown {
  return error instanceof RedisFault ? new StoreUnavailable(error.message, { cause: error }) : error;
}

/** `organisation version createdAt updatedAt`, a line feed, the document. */
function objectOf(key: ObjectKey, stored: string): StoredObject {
  const end = stored.indexOf('\n');
  const [organization = '', version, createdAt, updatedAt] = stored.slice(0, end).split(' ');
  return {
    ...key,
    organizationId: unescapePart(organization),
    version: Number(version),
    createdAt: Number(createdAt),
    updatedAt: Number(updatedAt),
    document: JSON.parse(stored.slice(end + 1)) as Document,
  };
}

function keyOf(text: string): ObjectKey {
  const slash = text.indexOf('/');
  return { kind: text.slice(0, slash) as ObjectKind, id: text.slice(slash + 1) };
}

function conflictsOf(
  answer: readonly unknown[],
  changes: readonly Change[],
): (ObjectKey & { readonly version: number })[] {
  const conflicts: (ObjectKey & { readonly version: number })[] = [];
  for (let at = 1; at < answer.length; at += 2) {
    const change = changes[Number(answer[at])];
    if (change !== undefined) {
      conflicts.push({ kind: change.kind, id: change.id, version: Number(answer[at + 1]) });
    }
  }
  return conflicts;
}

/** Says when this Redis would forget what it has acknowledged. One that does not tell is taken at its word. */
async function warnOfLoss(client: RedisClient, log: Logger): Promise<void> {
  try {
    const settings = await client.command('CONFIG', 'GET', 'append*');
    const value = (name: string): unknown =>
      Array.isArray(settings) ? settings[settings.indexOf(name) + 1] : undefined;
    if (value('appendonly') === 'yes' && value('appendfsync') === 'always') return;
    log.warn(
      { appendonly: value('appendonly'), appendfsync: value('appendfsync') },
      'this Redis may lose what it has acknowledged when it dies: set appendonly yes and appendfsync always',
    );
  } catch (error) {
    if (!(error instanceof RedisFault) || error.kind !== 'refused') throw error;
  }
}
