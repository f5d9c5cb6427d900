/**
 * Lines into a file or to standard output, without making the gateway wait: gathered for a moment, written by one
 * asynchronous write at a time. A line leaves memory only when the system has taken it. While the disk refuses,
 * lines are kept up to a bound and tried again; what is beyond the bound is dropped and counted.
 */
import { closeSync, mkdirSync, openSync, write, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { CallbackTimer, type Clock } from '#lib/clock.js';

export interface LineFileOptions {
  /** A file, appended to, made with its folder when it is not there; or an open descriptor. */
  readonly to: string | number;
  readonly clock: Clock;
  /** Milliseconds that a line may wait for company. Default 100. */
  readonly gatherMs?: number | undefined;
  /** Characters kept while writing fails or lags. Default 64 Mi. */
  readonly maxBuffered?: number | undefined;
  /** Writing began to fail; called once per run of failures. */
  readonly onFault?: ((error: Error) => void) | undefined;
  /** Writing works again; `lost` lines were dropped meanwhile. */
  readonly onRecovered?: ((lost: number) => void) | undefined;
}

/** Enough to write at once instead of waiting for more. */
const CHUNK_CHARACTERS = 65_536;
const RETRY_MS = 1_000;
/** A pipe whose reader is slow (EAGAIN) is asked again this soon. */
const BUSY_RETRY_MS = 10;
const NEWLINE = 0x0a;

export class LineFile {
  readonly #to: string | number;
  readonly #clock: Clock;
  readonly #gatherMs: number;
  readonly #maxBuffered: number;
  readonly #onFault: (error: Error) => void;
  readonly #onRecovered: (lost: number) => void;
  readonly #timer: CallbackTimer;
  #fd: number;
  /** Lines not yet handed to a write. */
  #pending = '';
  /** The chunk being written or to be tried again, and how much of it the system has taken. */
  #chunk: Buffer | null = null;
  #taken = 0;
  #writing = false;
  #reopenWanted = false;
  #failing = false;
  #lostInRun = 0;
  #onIdle: (() => void) | null = null;
  #closed = false;
  /** Lines accepted, lines dropped, failed writes: since the start. */
  accepted = 0;
  lost = 0;
  faults = 0;

  /** Opens the file; throws the system's error when it cannot. */
  constructor(options: LineFileOptions) {
    this.#to = options.to;
    this.#clock = options.clock;
    this.#gatherMs = options.gatherMs ?? 100;
    this.#maxBuffered = options.maxBuffered ?? 64 * 1024 * 1024;
    this.#onFault = options.onFault ?? (() => undefined);
    this.#onRecovered = options.onRecovered ?? (() => undefined);
    this.#timer = new CallbackTimer(() => this.#pump());
    this.#fd = this.#open();
  }

  /** Takes a line, its newline included. */
  write(line: string): void {
    const buffered = this.#pending.length + (this.#chunk?.length ?? 0);
    if (this.#closed || buffered + line.length > this.#maxBuffered) {
      this.lost++;
      this.#lostInRun++;
      return;
    }
    this.accepted++;
    this.#pending += line;
    if (this.#writing || this.#failing) return;
    if (this.#pending.length >= CHUNK_CHARACTERS) this.#pump();
    else if (!this.#timer.armed) this.#clock.arm(this.#timer, this.#gatherMs);
  }

  /** Opens the path anew before the next write, for log rotation. Lines gathered so far go to the new file. */
  reopen(): void {
    if (typeof this.#to === 'number') return;
    this.#reopenWanted = true;
    if (!this.#writing) this.#pump();
  }

  /** Resolves when everything accepted is written, or could not be; the rest is counted as lost. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.disarm(this.#timer);
    if (this.#writing) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    if (this.#reopenWanted) this.#reopenNow();
    this.flushSync();
    if (typeof this.#to === 'string') closeSync(this.#fd);
  }

  /** Writes what is left and waits for it; for the last moments of a process. */
  flushSync(): void {
    // A write in flight is the system's: its chunk goes out whether or not we are there to see.
    let rest = Buffer.from(this.#pending);
    if (!this.#writing && this.#chunk !== null)
      rest = Buffer.concat([this.#chunk.subarray(this.#taken), rest]);
    this.#pending = '';
    if (!this.#writing) this.#chunk = null;
    let written = 0;
    let patience = 100;
    while (written < rest.length) {
      try {
        written += writeSync(this.#fd, rest, written);
      } catch (error) {
        if (isBusy(error) && patience-- > 0) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_RETRY_MS);
          continue;
        }
        this.lost += countLines(rest.subarray(written));
        this.#fault(error);
        return;
      }
    }
  }

  #open(): number {
    if (typeof this.#to === 'number') return this.#to;
    mkdirSync(dirname(this.#to), { recursive: true });
    return openSync(this.#to, 'a', 0o640);
  }

  #pump(): void {
    if (this.#writing) return;
    this.#clock.disarm(this.#timer);
    if (this.#reopenWanted && !this.#reopenNow()) return;
    if (this.#chunk === null) {
      if (this.#pending === '') return;
      this.#chunk = Buffer.from(this.#pending);
      this.#pending = '';
      this.#taken = 0;
    }
    this.#writing = true;
    write(this.#fd, this.#chunk, this.#taken, this.#chunk.length - this.#taken, null, this.#written);
  }

  readonly #written = (error: NodeJS.ErrnoException | null, count: number): void => {
    this.#writing = false;
    if (error !== null) {
      this.#failed(error);
    } else {
      this.#taken += count;
      if (this.#taken === this.#chunk?.length) this.#chunk = null;
      if (this.#failing) {
        this.#failing = false;
        this.#onRecovered(this.#lostInRun);
        this.#lostInRun = 0;
      }
      if (
        !this.#closed &&
        (this.#chunk !== null || this.#reopenWanted || this.#pending.length >= CHUNK_CHARACTERS)
      ) {
        this.#pump();
      } else if (!this.#closed && this.#pending !== '') {
        this.#clock.arm(this.#timer, this.#gatherMs);
      }
    }
    this.#onIdle?.();
  };

  #failed(error: NodeJS.ErrnoException): void {
    if (this.#closed) return;
    if (isBusy(error)) {
      this.#clock.arm(this.#timer, BUSY_RETRY_MS);
      return;
    }
    this.#fault(error);
    this.#clock.arm(this.#timer, RETRY_MS);
  }

  #fault(error: unknown): void {
    this.faults++;
    if (this.#failing) return;
    this.#failing = true;
    this.#onFault(error instanceof Error ? error : new Error(String(error)));
  }

  /** False when the new file cannot be opened; the old one stays, and it is tried again. */
  #reopenNow(): boolean {
    try {
      const fresh = this.#open();
      closeSync(this.#fd);
      this.#fd = fresh;
      this.#reopenWanted = false;
      // A line that a full disk tore in two is written whole to the new file.
      if (this.#chunk !== null && this.#taken > 0) {
        this.#taken = this.#chunk.lastIndexOf(NEWLINE, this.#taken - 1) + 1;
      }
      return true;
    } catch (error) {
      this.#fault(error);
      if (!this.#closed) this.#clock.arm(this.#timer, RETRY_MS);
      return false;
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EAGAIN' || error.code === 'EBUSY');
}

function countLines(octets: Buffer): number {
  let lines = 0;
  for (const octet of octets) if (octet === NEWLINE) lines++;
  return lines;
}
