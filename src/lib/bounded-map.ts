/**
 * A map that cannot grow past its limit: what peers may fill must have a bound. The entry inserted first goes
 * first; setting a key that is there keeps its place.
 */
export class BoundedMap<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #limit: number;
  readonly #onEvict: ((key: K, value: V) => void) | undefined;
  /**
   * Kept from one eviction to the next: a fresh iterator would step over every entry deleted since the map was
   * last rehashed, which makes a full map under churn quadratic.
   */
  #oldest: MapIterator<K>;

  /** `onEvict` hears of entries pushed out by the limit, not of those deleted. Throws RangeError for a limit below 1. */
  constructor(limit: number, onEvict?: (key: K, value: V) => void) {
    if (!(limit >= 1)) throw new RangeError(`a bounded map needs a limit of at least 1, not ${limit}`);
    this.#limit = limit;
    this.#onEvict = onEvict;
    this.#oldest = this.#entries.keys();
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  set(key: K, value: V): this {
    this.#entries.set(key, value);
    if (this.#entries.size > this.#limit) this.#evict();
    return this;
  }

  delete(key: K): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#oldest = this.#entries.keys();
  }

  keys(): MapIterator<K> {
    return this.#entries.keys();
  }

  values(): MapIterator<V> {
    return this.#entries.values();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.#entries[Symbol.iterator]();
  }

  #evict(): void {
    let oldest = this.#oldest.next();
    if (oldest.done) {
      this.#oldest = this.#entries.keys();
      oldest = this.#oldest.next();
      if (oldest.done) return;
    }
    const key = oldest.value;
    const value = this.#entries.get(key);
    this.#entries.delete(key);
    // The iterator yields keys that are in the map, so `value` is only undefined where V allows it.
    this.#onEvict?.(key, value as V);
  }
}
