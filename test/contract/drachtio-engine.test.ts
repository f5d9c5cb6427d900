/** The contract of the engine port on a real drachtio-server. */
import { describe, test } from 'vitest';
import { DrachtioEngine, type DrachtioEngineOptions } from '#engine/drachtio/engine.js';
import type { Engine } from '#engine/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { DrachtioServer, missingServer } from '../kit/drachtio.js';
import { skipped } from './drachtio-differences.js';
import { inText } from './drachtio-text.js';
import { engineContract } from './engine.contract.js';
import { type CreateOptions, scenarios } from './rig.js';

/** An engine with a server of its own, which goes with it. */
class EngineWithServer extends DrachtioEngine {
  readonly #server: DrachtioServer;

  constructor(server: DrachtioServer, options: Omit<DrachtioEngineOptions, 'servers'>) {
    super({ ...options, servers: [server.address] });
    this.#server = server;
  }

  override async stop(deadlineMs: number): Promise<void> {
    await super.stop(deadlineMs);
    await this.#server.stop();
  }
}

async function create({ listen, timers, limits }: CreateOptions): Promise<Engine> {
  const server = await DrachtioServer.start({ listen, timers });
  return new EngineWithServer(server, {
    clock: systemClock(),
    ids: new RandomIds(),
    t1: timers?.t1,
    limits,
    unverifiedTls: 'refuse',
  });
}

if (missingServer === undefined) {
  engineContract({ name: 'drachtio', create, skip: skipped });
  describe('drachtio, where it is skipped for a detail', () =>
    inText(scenarios({ name: 'drachtio', create, skip: [] }).scenario));
} else {
  console.warn(`engine contract on drachtio-server NOT RUN: ${missingServer}`);
  test.skip(`engine contract: drachtio NOT RUN: ${missingServer}`, () => undefined);
}
