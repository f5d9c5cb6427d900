/** Opens a database file: rights, durability, and the steps that bring an older file up to date. */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { StoreUnavailable } from '#directory/store.js';
import { MIGRATIONS } from './migrations.js';

export type Connection = Database.Database;

/** What another process may take that writes to the same file (a command, a second gateway). */
const BUSY_MS = 2_000;

/**
 * @param durability `full`: what is committed survives a power cut (a sync to disk each); `process`: it survives the end
 *   of the process, and costs no sync
 * @throws StoreUnavailable naming the file and what to mend
 */
export function openDatabase(path: string, durability: 'full' | 'process'): Connection {
  let connection: Connection | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    connection = new Database(path, { timeout: BUSY_MS });
    // It holds sealed secrets and hashes of tokens: nobody else needs to read it.
    chmodSync(path, 0o600);
    connection.pragma('journal_mode = WAL');
    connection.pragma(`synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`);
    migrate(connection);
    return connection;
  } catch (error) {
    connection?.close();
    const why = error instanceof Error ? error.message : String(error);
    throw new StoreUnavailable(`the database ${path} (store.path) cannot be opened: ${why}`, {
      cause: error,
    });
  }
}

/**
 * Takes the steps that the file has not taken yet, all or none.
 * @throws Error when the file is from a newer version of the gateway
 */
function migrate(connection: Connection): void {
  connection
    .transaction(() => {
      const taken = Number(connection.pragma('user_version', { simple: true }));
      if (taken > MIGRATIONS.length) {
        throw new Error(
          `it was written by a newer Trunkline (schema ${taken}, this one knows ${MIGRATIONS.length}): start that one`,
        );
      }
      if (taken === MIGRATIONS.length) return;
      for (const step of MIGRATIONS.slice(taken)) connection.exec(step);
      connection.pragma(`user_version = ${MIGRATIONS.length}`);
    })
    .immediate();
}

/** A connection that only reads, from a file that is up to date. */
export function openReader(path: string): Connection {
  return new Database(path, { readonly: true, timeout: BUSY_MS });
}

/** What went wrong, in words, and whether it is the disk's or a lock's fault rather than ours. */
export function faultOf(error: unknown): { readonly fault: string; readonly unavailable: boolean } {
  if (error instanceof Database.SqliteError) {
    return { fault: `the database failed: ${error.message} (${error.code})`, unavailable: true };
  }
  return {
    fault: error instanceof Error ? (error.stack ?? error.message) : String(error),
    unavailable: false,
  };
}
