/** Holds the snapshot in force and tells who wants to know when it is replaced. */
import type { Snapshot } from './snapshot.js';

export type DirectoryListener = (current: Snapshot, previous: Snapshot) => void;

export class Directory {
  #current: Snapshot;
  readonly #listeners = new Set<DirectoryListener>();

  constructor(initial: Snapshot) {
    this.#current = initial;
  }

  /** Take it once per decision: two reads may see two snapshots. */
  get current(): Snapshot {
    return this.#current;
  }

  /** Swaps the whole snapshot, then calls the listeners in the order of their registration. */
  replace(snapshot: Snapshot): void {
    const previous = this.#current;
    if (snapshot === previous) return;
    this.#current = snapshot;
    for (const listener of this.#listeners) listener(snapshot, previous);
  }

  /** Returns the function that takes the listener off. */
  onChange(listener: DirectoryListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
