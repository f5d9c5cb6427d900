/** The engine under test on a drachtio-server: one of the test's own, or the one that runs already. */
import { DrachtioEngine, type DrachtioEngineOptions } from '#engine/drachtio/engine.js';
import type { Engine } from '#engine/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { DrachtioServer } from '../kit/drachtio.js';
import type { CreateOptions } from './rig.js';

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

export async function createOnDrachtio({ listen, timers, limits }: CreateOptions): Promise<Engine> {
  const server = await DrachtioServer.take({ listen, timers });
  return new EngineWithServer(server, {
    clock: systemClock(),
    ids: new RandomIds(),
    t1: timers?.t1,
    limits,
    unverifiedTls: 'refuse',
  });
}
