/**
 * Tells when the config file may have changed. The directory is watched, not the file: editors and configuration
 * managers replace a file rather than write into it. Whether the text differs is for the reload to find out.
 */
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { CallbackTimer, type Clock } from '#lib/clock.js';

/** One save makes several events; they end within this many milliseconds. */
const SETTLE_MS = 200;

export interface WatchOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly onChange: () => void;
  /** The watch itself failed (directory removed, out of watches); changes go unseen from here on. */
  readonly onFault: (detail: string) => void;
}

export class ConfigWatch {
  readonly #clock: Clock;
  readonly #settled: CallbackTimer;
  #watcher: FSWatcher | undefined;

  constructor({ file, clock, onChange, onFault }: WatchOptions) {
    this.#clock = clock;
    this.#settled = new CallbackTimer(onChange);
    const path = resolve(file);
    const name = basename(path);
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, (_event, changed) => {
        // Kubernetes swaps a directory behind a `..data` link; a null name may be anything.
        if (changed === null || changed === name || changed === '..data') clock.arm(this.#settled, SETTLE_MS);
      });
    } catch (error) {
      onFault(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#watcher.on('error', (error) => {
      this.close();
      onFault(error.message);
    });
  }

  close(): void {
    this.#clock.disarm(this.#settled);
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
