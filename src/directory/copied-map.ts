/**
 * Maps that are another's until they are changed. A large one is not copied for a small change: what differs lies in a
 * layer above it, until that has grown and both are made one.
 */

/** Changes above a shared map. An edit copies at most so many; one in so many edits copies all. */
const LAYER_MAX = 1_024;

const REMOVED = Symbol('removed');

/** Values must not be undefined. Nobody changes it once its draft is finished. */
class LayeredMap<K, V> implements ReadonlyMap<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  readonly #changes: Map<K, V | typeof REMOVED>;
  #size: number;

  constructor(base: ReadonlyMap<K, V>, changes: Map<K, V | typeof REMOVED>, size: number) {
    this.#base = base;
    this.#changes = changes;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    const changed = this.#changes.get(key);
    if (changed === undefined) return this.#base.get(key);
    return changed === REMOVED ? undefined : (changed as V);
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  set(key: K, value: V): this {
    if (!this.has(key)) this.#size++;
    this.#changes.set(key, value);
    return this;
  }

  delete(key: K): boolean {
    if (!this.has(key)) return false;
    this.#size--;
    if (this.#base.has(key)) this.#changes.set(key, REMOVED);
    else this.#changes.delete(key);
    return true;
  }

  *entries(): MapIterator<[K, V]> {
    for (const [key, value] of this.#base) {
      const changed = this.#changes.get(key);
      if (changed === undefined) yield [key, value];
      else if (changed !== REMOVED) yield [key, changed as V];
    }
    for (const [key, value] of this.#changes) {
      if (value !== REMOVED && !this.#base.has(key)) yield [key, value as V];
    }
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [key, value] of this.#base) {
      const changed = this.#changes.get(key);
      if (changed === undefined) yield value;
      else if (changed !== REMOVED) yield changed as V;
    }
    for (const [key, value] of this.#changes) {
      if (value !== REMOVED && !this.#base.has(key)) yield value as V;
    }
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }

  /** One that may be changed without changing this one. */
  copy(): LayeredMap<K, V> {
    return new LayeredMap(this.#base, new Map(this.#changes), this.#size);
  }

  /** The same as one map, when the layer has grown. */
  settled(): ReadonlyMap<K, V> {
    return this.#changes.size > LAYER_MAX ? new Map(this.entries()) : this;
  }
}

export type ChangeableMap<K, V> = ReadonlyMap<K, V> & {
  set(key: K, value: V): unknown;
  delete(key: K): boolean;
};

/** A copy to change, cheap where little changes. */
export function changeable<K, V>(base: ReadonlyMap<K, V>): ChangeableMap<K, V> {
  if (base instanceof LayeredMap) return base.copy();
  return base.size <= LAYER_MAX ? new Map(base) : new LayeredMap(base, new Map(), base.size);
}

/** To be kept: what has grown under many changes is made one map. */
export function settled<K, V>(map: ReadonlyMap<K, V>): ReadonlyMap<K, V> {
  return map instanceof LayeredMap ? map.settled() : map;
}

export class CopiedMap<K, V> {
  #map: ReadonlyMap<K, V>;
  #own: ChangeableMap<K, V> | undefined;

  constructor(base: ReadonlyMap<K, V>) {
    this.#map = base;
  }

  get map(): ReadonlyMap<K, V> {
    return this.#map;
  }

  own(): ChangeableMap<K, V> {
    if (this.#own === undefined) {
      this.#own = changeable(this.#map);
      this.#map = this.#own;
    }
    return this.#own;
  }
}
