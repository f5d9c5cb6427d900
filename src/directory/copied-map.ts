/**
 * Maps that are another's until they are changed. A large one is not copied for a small change: it lies in buckets, and
 * only those are copied in which something changes, so that no edit costs what the whole map has.
 */

/** Entries up to which a map is copied whole. */
const SMALL = 512;
/** Of a map that has just outgrown that; ever so many times more when the buckets have grown too large. */
const BUCKETS = 64;
const TIMES_MORE = 16;
/** Entries of a bucket, on average, before there are more buckets. */
const BUCKET_MAX = 512;

/** Values must not be undefined. Nobody changes it once its draft is finished. */
class BucketMap<V> implements ReadonlyMap<string, V> {
  #buckets: (Map<string, V> | undefined)[];
  /** Buckets that are no other map's. */
  #own = new Set<number>();
  #size: number;

  private constructor(buckets: (Map<string, V> | undefined)[], size: number) {
    this.#buckets = buckets;
    this.#size = size;
  }

  static of<V>(entries: ReadonlyMap<string, V>): BucketMap<V> {
    let count = BUCKETS;
    while (entries.size > count * BUCKET_MAX) count *= TIMES_MORE;
    const made = new BucketMap<V>(new Array<undefined>(count).fill(undefined), 0);
    entries.forEach((value, key) => {
      made.set(key, value);
    });
    return made;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    return this.#buckets[this.#place(key)]?.get(key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  set(key: string, value: V): this {
    const bucket = this.#ownBucket(this.#place(key));
    const before = bucket.size;
    bucket.set(key, value);
    this.#size += bucket.size - before;
    if (this.#size > this.#buckets.length * BUCKET_MAX) {
      const { length } = this.#buckets;
      const all = this.#buckets;
      this.#buckets = new Array<undefined>(length * TIMES_MORE).fill(undefined);
      this.#own = new Set();
      for (const one of all) {
        one?.forEach((each, name) => {
          this.#ownBucket(this.#place(name)).set(name, each);
        });
      }
    }
    return this;
  }

  delete(key: string): boolean {
    if (!this.has(key)) return false;
    this.#size--;
    return this.#ownBucket(this.#place(key)).delete(key);
  }

  entries(): MapIterator<[string, V]> {
    return new Chain(this.#buckets, (bucket) => bucket.entries());
  }

  keys(): MapIterator<string> {
    return new Chain(this.#buckets, (bucket) => bucket.keys());
  }

  values(): MapIterator<V> {
    return new Chain(this.#buckets, (bucket) => bucket.values());
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const bucket of this.#buckets) {
      bucket?.forEach((value, key) => {
        callback(value, key, this);
      });
    }
  }

  /** One that may be changed without changing this one. */
  copy(): BucketMap<V> {
    return new BucketMap(this.#buckets.slice(), this.#size);
  }

  #ownBucket(at: number): Map<string, V> {
    const there = this.#buckets[at];
    if (there !== undefined && this.#own.has(at)) return there;
    const own = new Map(there);
    this.#buckets[at] = own;
    this.#own.add(at);
    return own;
  }

  /** FNV-1a; their number is a power of two. */
  #place(key: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#buckets.length - 1);
  }
}

/** One bucket after the other. A generator would do the same in six times the time. */
class Chain<V, T> implements MapIterator<T> {
  readonly #buckets: readonly (Map<string, V> | undefined)[];
  readonly #open: (bucket: Map<string, V>) => MapIterator<T>;
  #at = 0;
  #inner: MapIterator<T> | undefined;

  constructor(
    buckets: readonly (Map<string, V> | undefined)[],
    open: (bucket: Map<string, V>) => MapIterator<T>,
  ) {
    this.#buckets = buckets;
    this.#open = open;
  }

  next(): IteratorResult<T, undefined> {
    for (;;) {
      const result = this.#inner?.next();
      if (result !== undefined && result.done !== true) return result;
      this.#inner = undefined;
      if (this.#at === this.#buckets.length) return { done: true, value: undefined };
      const bucket = this.#buckets[this.#at++];
      if (bucket !== undefined) this.#inner = this.#open(bucket);
    }
  }

  [Symbol.iterator](): MapIterator<T> {
    return this;
  }
}

export type ChangeableMap<V> = ReadonlyMap<string, V> & {
  set(key: string, value: V): unknown;
  delete(key: string): boolean;
};

/** A copy to change, cheap where little changes. */
export function changeable<V>(base: ReadonlyMap<string, V>): ChangeableMap<V> {
  if (base instanceof BucketMap) return base.copy();
  return base.size <= SMALL ? new Map(base) : BucketMap.of(base);
}

/** To be kept: one that has become large is laid in buckets. */
export function settled<V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  return map instanceof BucketMap || map.size <= SMALL ? map : BucketMap.of(map);
}

export class CopiedMap<V> {
  #map: ReadonlyMap<string, V>;
  #own: ChangeableMap<V> | undefined;

  constructor(base: ReadonlyMap<string, V>) {
    this.#map = base;
  }

  get map(): ReadonlyMap<string, V> {
    return this.#map;
  }

  own(): ChangeableMap<V> {
    if (this.#own === undefined) {
      this.#own = changeable(this.#map);
      this.#map = this.#own;
    }
    return this.#own;
  }
}
