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
  readonly #path: string;
  readonly #log: Logger;

  /** Opens the file; throws the system's error when it cannot. */
  constructor({ path, clock, log }: CdrOptions) {
    this.#path = path;
    this.#log = log;
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

  /** Resolves when all records are written, or could not be: then the log says how many are lost. */
  async close(): Promise<void> {
    const before = this.#file.lost;
    await this.#file.close();
    this.#tellLost(before);
  }

  flushSync(): void {
    const before = this.#file.lost;
    this.#file.flushSync();
    this.#tellLost(before);
  }

  /** The last word on records that nobody will try to write again. */
  #tellLost(before: number): void {
    const lost = this.#file.lost - before;
    if (lost > 0)
      this.#log.error({ path: this.#path, lost }, 'call records are lost: they could not be written');
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
