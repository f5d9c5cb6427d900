/** What remains of a call: one log line, one record, and the counts; and what is told of it while it goes on. */
import type { CallObserver, CallRecord, CallState, LiveCall } from '#call/observer.js';
import type { Logger } from '#lib/logger.js';
import type { CdrLog } from './cdr.js';
import type { EventData, Events } from './events.js';
import type { Metrics } from './metrics.js';

export interface CallRecorderOptions {
  /** null: no records are kept. */
  readonly cdr: CdrLog | null;
  readonly metrics: Metrics;
  readonly events: Events;
  readonly log: Logger;
  readonly logCalls: boolean;
}

export class CallRecorder implements CallObserver {
  readonly #cdr: CdrLog | null;
  readonly #metrics: Metrics;
  readonly #events: Events;
  readonly #log: Logger;

  /** Whether each call gets its log line. */
  logCalls: boolean;

  constructor({ cdr, metrics, events, log, logCalls }: CallRecorderOptions) {
    this.#cdr = cdr;
    this.#metrics = metrics;
    this.#events = events;
    this.#log = log;
    this.logCalls = logCalls;
  }

  callStarted(call: LiveCall): void {
    if (this.#events.wanted) this.#tell('call.started', call.record());
  }

  callChanged(call: LiveCall, previous: CallState): void {
    if (this.#events.wanted) this.#tell('call.changed', { ...call.record(), previous });
  }

  callEnded(record: CallRecord): void {
    this.#tell('call.ended', record);
    this.#metrics.callEnded(record);
    this.#cdr?.write(record);
    if (!this.logCalls && record.code !== 'internal_error') return;
    const fields = {
      call: record.id,
      code: record.code,
      status: record.sipStatus,
      endedBy: record.endedBy,
      direction: record.direction,
      from: record.caller,
      // The number that was dialled, in either direction; `did` is what an inbound one was understood as.
      to: record.callee ?? record.originalDid ?? record.did,
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
      const { warnings } = record;
      if (warnings.length === 0) this.#log.info(fields, 'call ended');
      else this.#log.warn({ ...fields, warnings }, 'call ended; something may have been wrong');
    } else {
      this.#log.info({ ...fields, detail: record.detail }, 'call not answered');
    }
  }

  /** A refused stranger's call is no organisation's: nobody is told. */
  #tell<T extends 'call.started' | 'call.changed' | 'call.ended'>(type: T, record: EventData[T]): void {
    const { organizationId, id } = record;
    if (organizationId !== null) this.#events.publish(organizationId, type, id, record);
  }
}
