/** Reads what `node --cpu-prof` wrote: where the time went, by function. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {{name: string, share: number, ms: number}} Part
 * @typedef {Part & {where: string}} FunctionPart
 */

/** `engine/embedded/transaction` for one of our files, the package or module for others. @param {string} url */
function roomOf(url) {
  if (url === '') return 'V8, garbage collector and native code';
  const ours = /\/(dist|bench)\/(.*)$/.exec(url);
  if (ours !== null) return ours[2]?.replace(/\/?[^/]*$/, '') || 'top level';
  const foreign = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  if (foreign !== null) return `npm ${foreign[1]}`;
  return url.replace(/^(node:(?:internal\/)?[^/]+).*$/, '$1');
}

/**
 * Self time by function and by room, most first; idle time is left out.
 * @param {string} folder that `--cpu-prof-dir` named
 * @param {number} count how many functions
 * @returns {{functions: FunctionPart[], rooms: Part[]}}
 */
export function readProfile(folder, count) {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) return { functions: [], rooms: [] };
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  /** @type {Map<number, {name: string, where: string, room: string}>} */
  const frames = new Map();
  for (const { id, callFrame } of profile.nodes) {
    const { url, lineNumber } = callFrame;
    const short = url.replace(/^file:\/\//, '').replace(/^.*\/(dist|bench|node_modules)\//, '$1/');
    frames.set(id, {
      name: callFrame.functionName || '(anonymous)',
      where: short === '' ? '' : `${short}:${lineNumber + 1}`,
      room: roomOf(url),
    });
  }
  /** @type {Map<string, FunctionPart>} */
  const functions = new Map();
  /** @type {Map<string, Part>} */
  const rooms = new Map();
  let busy = 0;
  profile.samples.forEach((/** @type {number} */ id, /** @type {number} */ i) => {
    const frame = frames.get(id);
    if (frame === undefined || frame.name === '(idle)') return;
    const ms = (profile.timeDeltas[i] ?? 0) / 1_000;
    busy += ms;
    const key = `${frame.name} ${frame.where}`;
    const part = functions.get(key) ?? { name: frame.name, where: frame.where, share: 0, ms: 0 };
    part.ms += ms;
    functions.set(key, part);
    const room = rooms.get(frame.room) ?? { name: frame.room, share: 0, ms: 0 };
    room.ms += ms;
    rooms.set(frame.room, room);
  });
  /** @template {Part} T @param {Map<string, T>} parts @returns {T[]} */
  const sorted = (parts) =>
    [...parts.values()].map((part) => ({ ...part, share: part.ms / busy })).sort((a, b) => b.ms - a.ms);
  return { functions: sorted(functions).slice(0, count), rooms: sorted(rooms) };
}
