/**
 * Call detail records: one JSON line for every INVITE that arrived, refused ones included. The same lines are kept
 * for the latest calls, so that the API can show a call after its end without reading the file.
 */
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
  /** How many ended calls the API can show. About 1 KB each. Default 1,000. */
  readonly keep?: number | undefined;
}

export class CdrLog {
  readonly #file: LineFile;
  readonly #keep: number;
  /** Call id → record as JSON, oldest first. Text, because a long-lived object graph costs the garbage collector. */
  readonly #latest = new Map<string, string>();

  /** Opens the file; throws the system's error when it cannot. */
  constructor({ path, clock, log, keep = 1_000 }: CdrOptions) {
    this.#keep = keep;
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
    const json = JSON.stringify(record);
    this.#file.write(`${json}\n`);
    this.#latest.set(record.id, json);
    if (this.#latest.size > this.#keep) this.#latest.delete(this.#latest.keys().next().value!);
  }

  /** An ended call, while it is among the latest. */
  get(id: string): CallRecord | undefined {
    const json = this.#latest.get(id);
    return json === undefined ? undefined : (JSON.parse(json) as CallRecord);
  }

  /** Ids of the calls that `get` knows, oldest end first. */
  latestIds(): IterableIterator<string> {
    return this.#latest.keys();
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
