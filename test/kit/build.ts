/**
 * Global set-up of the test run: `dist/` is what the sources say, because some tests run the real process. Sources
 * that do not build fail those tests only, with the compiler's words on the terminal.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { ROOT, RUN_FOLDER_VARIABLE, temporaryFolder } from './processes.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Why there is no gateway to run; '' when there is one. */
    buildFault: string;
  }
}

export default function setup(project: TestProject): () => void {
  const folder = temporaryFolder('test');
  process.env[RUN_FOLDER_VARIABLE] = folder;
  const { status } = spawnSync(process.execPath, ['src/setup.mjs'], { cwd: ROOT, stdio: 'inherit' });
  project.provide('buildFault', status === 0 ? '' : 'The sources do not build; the reason stands above.');
  return () => rmSync(folder, { recursive: true, force: true });
}
