import { EmbeddedEngine } from '#engine/embedded/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { engineContract } from './engine.contract.js';

engineContract({
  name: 'embedded',
  create: ({ listen, timers, limits }) =>
    new EmbeddedEngine({ listen, timers, limits, clock: systemClock(), ids: new RandomIds() }),
  skip: [],
});
