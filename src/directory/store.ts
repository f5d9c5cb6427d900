/**
 * The store: the port. It keeps what people and programs write (trunks, numbers, agents, tokens, webhooks…) as plain
 * JSON documents, tells every node what has changed, and remembers small things for a while. What a document means and
 * whether it may be written is the directory's business; a store compares versions, and writes all of a transaction or
 * nothing. `test/contract/store` states what every store promises.
 *
 * Secrets enter a store sealed (`secret-box.ts`), never in the clear.
 */

/** Kinds of objects. A store takes any of them and knows none. */
export const OBJECT_KINDS = [
  'organization',
  'token',
  'sipCredentials',
  'phoneNumber',
  'agent',
  'provider',
  'webhook',
  /** What a webhook was to be told and could not. */
  'deadLetter',
  'auditEntry',
  /** What rooms keep for themselves: key checks, settings. */
  'internal',
] as const;
export type ObjectKind = (typeof OBJECT_KINDS)[number];

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export type Document = { readonly [name: string]: JsonValue };

/** The name of an object: unique over all organisations within its kind. */
export interface ObjectKey {
  readonly kind: ObjectKind;
  /** 1 to 128 characters as `idSchema` has them. */
  readonly id: string;
}

export interface StoredObject extends ObjectKey {
  readonly organizationId: string;
  /** Sequence of the transaction that wrote it last: it grows with every change, and no two states share one. */
  readonly version: number;
  /** Milliseconds since 1970, by the writing node's clock. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly document: Document;
}

/** What became of an object; `document` null: it was deleted. */
export type ChangedObject =
  | StoredObject
  | (ObjectKey & { readonly version: number; readonly document: null });

/** The version that an object must have: a number, 'absent', or 'any' for whatever is there or not. */
export type Expected = number | 'absent' | 'any';

export type Change =
  | (ObjectKey & {
      readonly expect: Expected;
      readonly organizationId: string;
      readonly document: Document;
    })
  | (ObjectKey & { readonly expect: Expected; readonly document: null });

export interface TransactionOptions {
  /**
   * Write only if nothing was written since this sequence: for changes that were checked against everything that was
   * known then.
   */
  readonly ifSequence?: number | undefined;
}

export type TransactionOutcome =
  /** Written, and safe when this is heard. */
  | { readonly kind: 'committed'; readonly sequence: number; readonly objects: readonly ChangedObject[] }
  /** Nothing was written: objects with another version than expected; `version` 0: there is no such object. */
  | {
      readonly kind: 'conflict';
      readonly conflicts: readonly (ObjectKey & { readonly version: number })[];
    }
  /** Nothing was written: others have written since `ifSequence`. */
  | { readonly kind: 'stale'; readonly sequence: number };

export interface ListOptions {
  readonly organizationId?: string | undefined;
  /** Only ids behind this one. */
  readonly after?: string | undefined;
  /** 1 to 1000. */
  readonly limit: number;
}

/** The state as of one sequence. */
export interface StoreState {
  readonly sequence: number;
  readonly objects: readonly StoredObject[];
}

export type Changes =
  /** Each object that changed since, once, as it is as of `sequence`; in order of their last change. */
  | { readonly kind: 'changes'; readonly sequence: number; readonly objects: readonly ChangedObject[] }
  /** The store cannot tell any more (deletions are remembered for a while only, or it was restored): `load` anew. */
  | { readonly kind: 'lost' };

/** Rejects with this when the store cannot be reached or fails; whether the write was done is then unknown. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/**
 * @param kinds where it is known that nothing but one transaction of these was written since the listener was called last
 */
export type WatchListener = (sequence: number, kinds?: ReadonlySet<ObjectKind>) => void;

/** Objects. Every promise may reject with `StoreUnavailable`. */
export interface ObjectStore {
  get(kind: ObjectKind, id: string): Promise<StoredObject | undefined>;
  /** Objects of a kind in order of their ids (by code unit). */
  list(kind: ObjectKind, options: ListOptions): Promise<readonly StoredObject[]>;
  /** Everything of these kinds. */
  load(kinds: readonly ObjectKind[]): Promise<StoreState>;
  /**
   * All or nothing. An object may be named once only, and at most `TRANSACTION_MAX` of them.
   * @throws RangeError for what no store could write: too many changes, a key twice, a document above `DOCUMENT_BYTES_MAX`
   */
  transaction(changes: readonly Change[], options?: TransactionOptions): Promise<TransactionOutcome>;
  /** @param after a sequence that `load`, `changes` or `transaction` has told */
  changes(after: number): Promise<Changes>;
  /**
   * Calls the listener with the store's sequence soon (on every node, in well under a second) after somebody has
   * written, at least once for a run of writes. It says that there is something to ask `changes` for, no more.
   * @returns the function that takes the listener off
   */
  watch(listener: WatchListener): () => void;
  /**
   * Puts these in the place of everything: for restoring a back-up. Versions are new ones; whoever watches finds its
   * changes `lost` and loads anew. What memory and queues hold stays.
   */
  replaceAll(objects: readonly RestoredObject[]): Promise<number>;
}

/** An object of a back-up. */
export type RestoredObject = Omit<StoredObject, 'version'>;

/**
 * Small things remembered for a while by all nodes: idempotency records, when a token was used last. Bounded:
 * where too many are kept, those that would expire first go first.
 */
export interface Memory {
  /**
   * Keeps `value` under `key` unless something is there.
   * @returns what was there and still is; undefined: nothing was, and `value` is kept now
   */
  remember(key: string, value: string, ttlMs: number): Promise<string | undefined>;
  /** Keeps `value` under `key` whatever is there. */
  replace(key: string, value: string, ttlMs: number): Promise<void>;
  recall(key: string): Promise<string | undefined>;
  /** @returns whether something was there */
  forget(key: string): Promise<boolean>;
}

export interface QueueItem {
  /** Unique in its queue; adding one that waits already changes nothing. */
  readonly id: string;
  /** Items of one lane are handed out one after the other, in the order in which they were added. */
  readonly lane: string;
  readonly payload: string;
}

export interface ClaimedItem extends QueueItem {
  /** From 1. */
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly addedAt: number;
}

/**
 * Work that must not get lost, shared by all nodes: webhooks that wait to be delivered. An item is handed to one node
 * for a time; when that node does not report back, to another: at least once, and in order within a lane.
 */
export interface Queue {
  /** @returns false when `QUEUE_MAX` items wait already; of more than a thousand, some may have been added then */
  add(queue: string, items: readonly QueueItem[]): Promise<boolean>;
  /** Takes up to `limit` items that are due, the oldest first, at most the first of each lane. */
  claim(queue: string, limit: number, leaseMs: number): Promise<readonly ClaimedItem[]>;
  /** Done, or given up: the item goes, the next of its lane is due. */
  finish(queue: string, id: string): Promise<void>;
  /** Try again in `delayMs`; its lane waits. */
  postpone(queue: string, id: string, delayMs: number): Promise<void>;
  size(queue: string): Promise<number>;
}

export interface StoreHealth {
  readonly ok: boolean;
  readonly detail: string;
}

export interface Store extends ObjectStore {
  readonly memory: Memory;
  readonly queue: Queue;
  health(): StoreHealth;
  close(): Promise<void>;
}

export const TRANSACTION_MAX = 100_000;
export const DOCUMENT_BYTES_MAX = 1_048_576;
export const MEMORY_KEY_MAX = 256;
export const MEMORY_VALUE_MAX = 65_536;
export const MEMORY_ENTRIES_MAX = 1_000_000;
export const QUEUE_MAX = 1_000_000;
export const LIST_MAX = 1_000;
/** Deletions that a store remembers for nodes that were away. */
export const DELETIONS_KEPT = 100_000;

/**
 * What every store refuses before it writes.
 * @throws RangeError
 */
export function checkChanges(changes: readonly Change[]): void {
  if (changes.length > TRANSACTION_MAX) {
    throw new RangeError(`a transaction may have ${TRANSACTION_MAX} changes, not ${changes.length}`);
  }
  const keys = new Set<string>();
  for (const { kind, id } of changes) {
    const key = `${kind}/${id}`;
    if (keys.has(key)) throw new RangeError(`a transaction may change ${key} once only`);
    keys.add(key);
  }
}

/** @throws RangeError when it is too large */
export function encodeDocument({ kind, id }: ObjectKey, document: Document): string {
  const text = JSON.stringify(document);
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX) {
    throw new RangeError(`${kind}/${id} is larger than ${DOCUMENT_BYTES_MAX} bytes`);
  }
  return text;
}

/** @throws RangeError */
export function checkMemory(key: string, value: string, ttlMs: number): void {
  if (key.length === 0 || key.length > MEMORY_KEY_MAX) {
    throw new RangeError(`a key has 1 to ${MEMORY_KEY_MAX} characters`);
  }
  if (Buffer.byteLength(value) > MEMORY_VALUE_MAX) {
    throw new RangeError(`a value has at most ${MEMORY_VALUE_MAX} bytes`);
  }
  if (!(ttlMs > 0)) throw new RangeError('what is remembered needs a time above 0');
}
