/** A directory over a store, as the gateway has it. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { compileSnapshot } from '#directory/compile.js';
import { Editor } from '#directory/editor.js';
import { LiveDirectory } from '#directory/live.js';
import type { ConfigPart } from '#directory/merge.js';
import { makeSecretKey, SecretBox } from '#directory/secret-box.js';
import type { Store } from '#directory/store.js';
import { RandomIds } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { SqliteStore } from '#store/sqlite/store.js';
import { type Described, directoryInput } from './directory.js';
import { temporaryFolder } from './processes.js';

export interface Desk {
  readonly store: Store;
  readonly live: LiveDirectory;
  readonly editor: Editor;
  close(): Promise<void>;
}

export interface DeskOptions {
  readonly config?: Described;
  readonly box?: SecretBox;
  readonly log?: Logger;
}

export function configPart(described: Described = {}): ConfigPart {
  const compiled = compileSnapshot(directoryInput(described), 1);
  if (compiled.kind === 'faults') throw new Error(JSON.stringify(compiled.faults));
  return { snapshot: compiled.snapshot, relayHeaders: [] };
}

export function newBox(): SecretBox {
  const key = makeSecretKey();
  return new SecretBox(() => [key]);
}

/** One node on a store. */
export async function deskOn(store: Store, options: DeskOptions = {}): Promise<Desk> {
  const clock = systemClock();
  const box = options.box ?? newBox();
  const live = new LiveDirectory({
    store,
    box,
    clock,
    log: options.log ?? silentLogger,
    config: configPart(options.config),
  });
  await live.start();
  const editor = new Editor({ live, store, box, ids: new RandomIds(), clock });
  return {
    store,
    live,
    editor,
    close: async () => {
      live.stop();
      await store.close();
    },
  };
}

/** A folder with a database that any number of nodes open. */
export function sqlitePlace(): { open(): Promise<Store>; remove(): void; readonly path: string } {
  const folder = temporaryFolder('store');
  const path = join(folder, 'trunkline.db');
  return {
    path,
    open: () => SqliteStore.open({ path, clock: systemClock(), log: silentLogger }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
