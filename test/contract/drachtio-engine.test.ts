/** The contract of the engine port on a real drachtio-server. */
import { describe, test } from 'vitest';
import { missingOwnServer, missingServer } from '../kit/drachtio.js';
import { skippedOn } from './drachtio-differences.js';
import { createOnDrachtio as create } from './drachtio-engine.js';
import { inText } from './drachtio-text.js';
import { engineContract } from './engine.contract.js';
import { scenarios } from './rig.js';

if (missingServer === undefined) {
  engineContract({ name: 'drachtio', create, skip: skippedOn(missingOwnServer) });
  describe('drachtio, where it is skipped for a detail', () =>
    inText(scenarios({ name: 'drachtio', create, skip: [] }).scenario));
} else {
  console.warn(`engine contract on drachtio-server NOT RUN: ${missingServer}`);
  test.skip(`engine contract: drachtio NOT RUN: ${missingServer}`, () => undefined);
}
