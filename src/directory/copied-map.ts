/** A map that is another's until it is changed. */
export class CopiedMap<K, V> {
  #map: ReadonlyMap<K, V>;
  #own: Map<K, V> | undefined;

  constructor(base: ReadonlyMap<K, V>) {
    this.#map = base;
  }

  get map(): ReadonlyMap<K, V> {
    return this.#map;
  }

  own(): Map<K, V> {
    if (this.#own === undefined) {
      this.#own = new Map(this.#map);
      this.#map = this.#own;
    }
    return this.#own;
  }
}
