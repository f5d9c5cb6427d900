/** Call detail records: one JSON line for every INVITE that arrived, refused ones included. */
import type { CallRecord } from '#call/observer.js';
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import { LineFile } from './line-file.js';

/** Longest time that a record waits in memory, milliseconds. */
const GATHER_MS = 100;

export interface CdrOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export class CdrLog {
  readonly #file: LineFile;

  /** Opens the file; throws the system's error when it cannot. */
  constructor({ path, clock, log }: CdrOptions) {
    this.#file = new LineFile({
      to: path,
      clock,
      gatherMs: GATHER_MS,
      onFault: (err) =>
        log.error({ err, path }, 'call records cannot be written; they are kept and tried again'),
      onRecovered: (lost) => log.warn({ path, lost }, 'call records are written again'),
    });
  }

  write(record: CallRecord): void {
    this.#file.write(`${JSON.stringify(record)}\n`);
  }

  /** Opens the path anew, after a log rotation moved the file away. */
  reopen(): void {
    this.#file.reopen();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  flushSync(): void {
    this.#file.flushSync();
  }

  get written(): number {
    return this.#file.accepted;
  }

  get lost(): number {
    return this.#file.lost;
  }

  get faults(): number {
    return this.#file.faults;
  }
}
