import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { SqliteStore } from '#store/sqlite/store.js';
import { temporaryFolder } from '../../kit/processes.js';
import { storeContract } from './store.contract.js';

storeContract('SQLite', async () => {
  const folder = temporaryFolder('store');
  const path = join(folder, 'data', 'trunkline.db');
  return {
    open: (limits) => SqliteStore.open({ path, clock: systemClock(), log: silentLogger, ...limits }),
    remove: async () => rmSync(folder, { recursive: true }),
  };
});
