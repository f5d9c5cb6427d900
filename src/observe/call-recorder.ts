/** What remains of a call: one log line, one record, and the counts. */
import type { CallObserver, CallRecord } from '#call/observer.js';
import type { Logger } from '#lib/logger.js';
import type { CdrLog } from './cdr.js';
import type { Metrics } from './metrics.js';

export interface CallRecorderOptions {
  /** null: no records are kept. */
  readonly cdr: CdrLog | null;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly logCalls: boolean;
}

export class CallRecorder implements CallObserver {
  readonly #cdr: CdrLog | null;
  readonly #metrics: Metrics;
  readonly #log: Logger;

  /** Whether each call gets its log line. */
  logCalls: boolean;

  constructor({ cdr, metrics, log, logCalls }: CallRecorderOptions) {
    this.#cdr = cdr;
    this.#metrics = metrics;
    this.#log = log;
    this.logCalls = logCalls;
  }

  callEnded(record: CallRecord): void {
    this.#metrics.callEnded(record);
    this.#cdr?.write(record);
    if (!this.logCalls && record.code !== 'internal_error') return;
    const fields = {
      call: record.id,
      code: record.code,
      status: record.sipStatus,
      endedBy: record.endedBy,
      from: record.caller,
      did: record.did ?? record.originalDid,
      source: record.sourceAddress,
      trunk: record.trunkId,
      agent: record.agentId,
      attempts: record.attempts.length,
      setupMs: record.setupMs,
      talkMs: record.talkMs,
    };
    if (record.code === 'internal_error') {
      this.#log.error({ ...fields, detail: record.detail }, 'call failed inside the gateway');
    } else if (record.answeredAt !== null) {
      this.#log.info(fields, 'call ended');
    } else {
      this.#log.info({ ...fields, detail: record.detail }, 'call not answered');
    }
  }
}
