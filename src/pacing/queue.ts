/** Who waits in a line, in order: the highest priority first, then who came first. Pure. */

export const PRIORITIES = 10;

export interface Waiting {
  /** 0 to 9; the highest goes first. */
  readonly priority: number;
  /** Order of arrival; unique in the line. */
  readonly sequence: number;
}

/** Sorted lists, one per priority: a place is found by halving, so a line of a hundred thousand is not walked. */
export class PriorityQueue<T extends Waiting> {
  readonly #lists: readonly T[][] = Array.from({ length: PRIORITIES }, () => []);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds at the place that priority and sequence give. */
  add(item: T): void {
    const list = this.#lists[item.priority]!;
    const last = list.at(-1);
    if (last === undefined || last.sequence < item.sequence) list.push(item);
    else list.splice(placeIn(list, item.sequence), 0, item);
    this.#size++;
  }

  /** False when it was not there. */
  remove(item: T): boolean {
    const list = this.#lists[item.priority]!;
    const at = placeIn(list, item.sequence);
    if (list[at] !== item) return false;
    if (at === 0) list.shift();
    else list.splice(at, 1);
    this.#size--;
    return true;
  }

  head(): T | undefined {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      const first = this.#lists[priority]![0];
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** How many go before an item of such a place, whether it waits or not. */
  before({ priority, sequence }: Waiting): number {
    let count = placeIn(this.#lists[priority]!, sequence);
    for (let higher = priority + 1; higher < PRIORITIES; higher++) count += this.#lists[higher]!.length;
    return count;
  }

  countOf(priority: number): number {
    return this.#lists[priority]!.length;
  }

  /** In order. */
  *[Symbol.iterator](): Generator<T> {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) yield* this.#lists[priority]!;
  }
}

/** The first place whose sequence is not below. */
function placeIn(list: readonly Waiting[], sequence: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle]!.sequence < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
