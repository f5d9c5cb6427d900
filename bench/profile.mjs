/** Reads what `node --cpu-prof` wrote: where the time went, by function. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The functions with the most self time.
 * @param {string} folder that `--cpu-prof-dir` named
 * @param {number} count
 * @returns {{name: string, where: string, share: number, ms: number}[]}
 */
export function topFunctions(folder, count) {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) return [];
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  /** @type {Map<number, string>} */
  const keys = new Map();
  for (const { id, callFrame } of profile.nodes) {
    const where = callFrame.url.replace(/^file:\/\//, '').replace(/^.*\/(dist|bench|node_modules)\//, '$1/');
    keys.set(
      id,
      `${callFrame.functionName || '(anonymous)'}\t${where === '' ? '' : `${where}:${callFrame.lineNumber + 1}`}`,
    );
  }
  /** @type {Map<string, number>} */
  const selfUs = new Map();
  let busyUs = 0;
  profile.samples.forEach((/** @type {number} */ id, /** @type {number} */ i) => {
    const key = keys.get(id) ?? '';
    const us = profile.timeDeltas[i] ?? 0;
    if (key.startsWith('(idle)')) return;
    busyUs += us;
    selfUs.set(key, (selfUs.get(key) ?? 0) + us);
  });
  return [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([key, us]) => {
      const [name = '', where = ''] = key.split('\t');
      return { name, where, share: us / busyUs, ms: us / 1_000 };
    });
}
