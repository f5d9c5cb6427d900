/**
 * The pacer that the configuration asks for, part of the composition root: in memory for a node that is alone, else on
 * the Redis that nodes share, with a connection of its own; over which they also count what they use up of common bounds.
 */
import type { Config } from '#config/schema.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { FINE_TICK_MS, systemClock } from '#lib/wheel.js';
import { MemoryPacer } from '#pacing/memory-pacer.js';
import type { PaceObserver } from '#pacing/observer.js';
import type { SlowDown } from '#pacing/pace.js';
import type { Pacer } from '#pacing/pacer.js';
import { RedisClient } from '#store/redis/client.js';
import { RedisPacer } from '#store/redis/redis-pacer.js';
import { RedisTally } from '#store/redis/tally.js';

export interface OpenPacer {
  readonly pacer: Pacer & { readonly waitingCount: number };
  /** Undefined: this node is alone. */
  readonly tally: RedisTally | undefined;
  /** Begins to connect; a Redis that is not there yet is waited for, not a fault. */
  start(): Promise<void>;
  /** Lets the waiting go and closes the connection. */
  close(): Promise<void>;
}

export interface OpenPacerOptions {
  readonly config: Pick<Config, 'redis' | 'pacing'>;
  readonly ids: Ids;
  readonly log: Logger;
  readonly observer: PaceObserver;
}

export function openPacer({ config, ids, log, observer }: OpenPacerOptions): OpenPacer {
  const clock = systemClock(FINE_TICK_MS);
  const { slowDown: setting, whenRedisIsDown } = config.pacing;
  const slowDown: SlowDown = {
    factor: setting.factor,
    holdMs: setting.holdSeconds * 1000,
    recoveryMs: setting.recoverySeconds * 1000,
  };
  const { url } = config.redis;
  if (url === null) {
    const pacer = new MemoryPacer({ clock, observer, slowDown });
    return { pacer, tally: undefined, start: async () => undefined, close: () => pacer.stop() };
  }
  const client = new RedisClient({ url, log });
  const pacer = new RedisPacer({ client, clock, ids, observer, log, slowDown, whenDown: whenRedisIsDown });
  const tally = new RedisTally({ client, clock, ids, log });
  return {
    pacer,
    tally,
    start: () => {
      pacer.start();
      tally.start();
      return client.start();
    },
    close: async () => {
      tally.stop();
      await pacer.stop();
      client.close();
    },
  };
}
