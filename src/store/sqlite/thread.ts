/**
 * The thread that has the database, seen from the gateway's: a write waits for the disk over there, and calls go on here.
 * What is asked within one turn of the event loop goes in one message.
 */
import { Worker } from 'node:worker_threads';
import { StoreUnavailable } from '#directory/store.js';
import type { OperationName, Operations } from './desk.js';
import type { FirstWord, Reply, Request, ThreadData } from './wire.js';

/** Requests that may wait for an answer. */
const WAITING_MAX = 100_000;

/** The built one, also when this runs from its source: a thread has no loader for TypeScript. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? '../../../dist/store/sqlite/worker.js' : './worker.js',
  import.meta.url,
);

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface ThreadOptions {
  readonly data: ThreadData;
  /** The thread has ended and nobody asked it to: whatever waited was rejected. */
  readonly onLost: (fault: string) => void;
  /** Default: the store's own. */
  readonly script?: URL | undefined;
}

export class StoreThread {
  readonly #worker: Worker;
  readonly #onLost: (fault: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #outbox: Request[] = [];
  #lastId = 0;
  #open = false;
  #closing = false;
  #lost: string | undefined;

  private constructor({ data, onLost, script = WORKER }: ThreadOptions) {
    this.#onLost = onLost;
    // Nothing of the process's environment or flags is needed there, nor its secrets.
    this.#worker = new Worker(script, { workerData: data, name: 'store', env: {}, execArgv: [] });
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#end(this.#lost ?? `it exited with ${code}`);
        resolve();
      });
    });
    this.#worker.on('error', (error: unknown) => {
      this.#lost = error instanceof Error ? error.message : String(error);
    });
  }

  /** Rejects with StoreUnavailable that says what to mend. */
  static async start(options: ThreadOptions): Promise<StoreThread> {
    const thread = new StoreThread(options);
    const word = await new Promise<FirstWord>((resolve) => {
      thread.#worker.once('message', resolve);
      void thread.#ended.then(() => resolve({ opened: false, fault: thread.#fault }));
    });
    if (!word.opened) {
      await thread.#ended;
      throw new StoreUnavailable(word.fault);
    }
    thread.#open = true;
    thread.#worker.on('message', (replies: readonly Reply[]) => thread.#hear(replies));
    thread.#rest();
    return thread;
  }

  /** Rejects with StoreUnavailable when the database fails or the thread has ended. */
  ask<N extends OperationName>(
    name: N,
    ...args: Parameters<Operations[N]>
  ): Promise<ReturnType<Operations[N]>> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined || this.#closing) {
        reject(new StoreUnavailable(this.#closing ? 'the store is closed' : this.#fault));
        return;
      }
      if (this.#waiting.size >= WAITING_MAX) {
        reject(new StoreUnavailable(`${WAITING_MAX} requests wait for the database: try again`));
        return;
      }
      const id = ++this.#lastId;
      // The process may not end while somebody waits for an answer.
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      if (this.#outbox.push({ id, name, args }) === 1) queueMicrotask(() => this.#send());
    });
  }

  /** Does what was asked before, and ends. */
  async close(): Promise<void> {
    if (this.#lost !== undefined) return;
    if (!this.#closing) {
      this.#send();
      this.#closing = true;
      this.#worker.ref();
      this.#worker.postMessage(null);
    }
    await this.#ended;
  }

  get #fault(): string {
    return `the thread of the database has ended: ${this.#lost ?? 'without a word'}`;
  }

  #send(): void {
    const requests = this.#outbox;
    if (requests.length === 0) return;
    this.#outbox = [];
    this.#worker.postMessage(requests);
  }

  #hear(replies: readonly Reply[]): void {
    for (const reply of replies) {
      const waiting = this.#waiting.get(reply.id);
      if (waiting === undefined) continue;
      this.#waiting.delete(reply.id);
      if ('value' in reply) waiting.resolve(reply.value);
      else waiting.reject(reply.unavailable ? new StoreUnavailable(reply.fault) : new Error(reply.fault));
    }
    this.#rest();
  }

  #rest(): void {
    if (this.#waiting.size === 0 && !this.#closing) this.#worker.unref();
  }

  #end(fault: string): void {
    this.#lost = fault;
    const error = new StoreUnavailable(this.#closing ? 'the store is closed' : this.#fault);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#outbox = [];
    if (this.#open && !this.#closing) this.#onLost(this.#fault);
  }
}
