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

const scenarios = readdirSync(join(ROOT, 'test/scenario')).filter((name) => name.endsWith('.test.ts'));
for (const file of [
  'contract/drachtio-engine.test.ts',
  'contract/drachtio-servers.test.ts',
  ...scenarios.map((name) => `scenario/${name}`),
]) {
  test.skip(`${file} NOT RUN: ${reason}`, () => undefined);
}
