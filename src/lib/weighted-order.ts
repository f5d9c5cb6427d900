/** The order of RFC 2782 among alternatives: lowest priority first, and by lot in proportion to weight within one. */

export interface Weighted {
  readonly priority: number;
  readonly weight: number;
}

/**
 * @param sorted by priority, lowest first. Returned itself when nothing is left to chance.
 * @param random uniform in [0, 1)
 */
export function weightedOrder<T extends Weighted>(sorted: readonly T[], random: () => number): readonly T[] {
  let tied = false;
  for (let i = 1; i < sorted.length && !tied; i++) tied = sorted[i]!.priority === sorted[i - 1]!.priority;
  if (!tied) return sorted;
  const ordered: T[] = [];
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1;
    while (end < sorted.length && sorted[end]!.priority === sorted[start]!.priority) end++;
    drawAll(sorted.slice(start, end), random, ordered);
    start = end;
  }
  return ordered;
}

function drawAll<T extends Weighted>(group: T[], random: () => number, into: T[]): void {
  // RFC 2782: "all those with weight 0 are placed at the beginning of the list", so that they keep a very small
  // chance; and a number "between 0 and the sum computed (inclusive)" is drawn.
  group.sort((a, b) => Number(a.weight !== 0) - Number(b.weight !== 0));
  let sum = 0;
  for (const member of group) sum += member.weight;
  while (group.length > 0) {
    // Nothing but zeros: RFC 2782 leaves the order open; drawing evenly spreads the load.
    const even = sum === 0;
    const drawn = Math.floor(random() * (even ? group.length : sum + 1));
    let index = 0;
    if (even) index = drawn;
    else for (let running = group[0]!.weight; running < drawn; running += group[index]!.weight) index++;
    const [member] = group.splice(index, 1);
    into.push(member!);
    sum -= member!.weight;
  }
}
