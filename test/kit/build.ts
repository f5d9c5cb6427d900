/** Global set-up of the test run: `dist/` is what the sources say, because scenarios run the real process. */
import { spawnSync } from 'node:child_process';
import { ROOT } from './processes.js';

export function setup(): void {
  const { status } = spawnSync(process.execPath, ['src/setup.mjs'], { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) throw new Error('The gateway could not be built; the reason is above.');
}
