import { sqlitePlace } from '../../kit/editor.js';
import { resourcesContract } from './resources.contract.js';

resourcesContract('SQLite', async () => {
  const place = sqlitePlace();
  return { open: () => place.open(), remove: async () => place.remove() };
});
