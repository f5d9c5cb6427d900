import { describe } from 'vitest';
import { EmbeddedEngine } from '#engine/embedded/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { scenarios } from './rig.js';
import { subscriptions } from './subscription.contract.js';

describe('engine contract: embedded, subscriptions', () => {
  const { scenario } = scenarios({
    name: 'embedded',
    create: ({ listen, timers, limits }) =>
      new EmbeddedEngine({ listen, timers, limits, clock: systemClock(), ids: new RandomIds() }),
    skip: [],
  });
  subscriptions(scenario);
});
