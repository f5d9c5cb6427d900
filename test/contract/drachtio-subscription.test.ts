/** Subscriptions on a real drachtio-server, with what it does otherwise. */
import { describe, test } from 'vitest';
import { missingServer } from '../kit/drachtio.js';
import { createOnDrachtio } from './drachtio-engine.js';
import { scenarios } from './rig.js';
import { subscriptions } from './subscription.contract.js';

const skip = [
  {
    test: 'a SUBSCRIBE outside the dialog carries the route it is given',
    reason: 'the server sends no Route outside a dialog',
  },
  {
    test: 'the Contact of a NOTIFY is the next target',
    reason: 'the server keeps the remote target that the dialog began with',
  },
  {
    test: 'the NOTIFY that ends a subscription is answered',
    reason: 'the server hands it up, forgets the dialog at once, and answers 500 by itself',
  },
  {
    test: 'a NOTIFY that overtakes the 2xx makes the dialog',
    reason: 'the server hands such a NOTIFY up, and answers it 500 by itself',
  },
];

if (missingServer === undefined) {
  describe('engine contract: drachtio, subscriptions', () => {
    subscriptions(scenarios({ name: 'drachtio', create: createOnDrachtio, skip }).scenario);
  });
} else {
  test.skip(`engine contract: drachtio, subscriptions NOT RUN: ${missingServer}`, () => undefined);
}
