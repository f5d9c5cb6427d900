/**
 * Stands for everything that needs a drachtio-server where there is none: TRUNKLINE_ENGINE=drachtio then reports each
 * file as not run, with the reason, and neither as passed nor as failed.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { foundServer } from './drachtio-found.js';
import { ROOT } from './processes.js';

const found = foundServer();
const reason = found.kind === 'none' ? found.reason : 'this file was run by mistake';
console.warn(`On drachtio-server NOT RUN: ${reason}`);

for (const [folder, pattern] of [
  ['contract', /^drachtio-.*\.test\.ts$/],
  ['scenario', /\.test\.ts$/],
] as const) {
  const names = readdirSync(join(ROOT, 'test', folder), { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((each) => pattern.test(each)).sort())
    test.skip(`${folder}/${name} NOT RUN: ${reason}`, () => undefined);
}
