/** What remains of pacing: counts, events about a pace that was lowered, and lines in the log where people should look. */
import type { Logger } from '#lib/logger.js';
import type { PaceObserver } from '#pacing/observer.js';
import type { PaceRefusal } from '#pacing/pacer.js';
import type { Events } from './events.js';
import type { Metrics } from './metrics.js';

export interface PaceRecorderOptions {
  readonly metrics: Metrics;
  readonly events: Events;
  readonly log: Logger;
  /** What the directory knows of a line; undefined when it has gone. */
  line(
    key: string,
  ):
    | { readonly organizationId: string; readonly cpsKey: string; readonly limit: number | undefined }
    | undefined;
}

export class PaceRecorder implements PaceObserver {
  readonly #options: PaceRecorderOptions;

  constructor(options: PaceRecorderOptions) {
    this.#options = options;
  }

  callPaced(_key: string, waitedMs: number): void {
    this.#options.metrics.callPaced(waitedMs);
  }

  callRefused(_key: string, why: PaceRefusal): void {
    this.#options.metrics.callNotPaced(why);
  }

  slotsLost(_key: string, count: number): void {
    this.#options.metrics.slotsLost(count);
  }

  refusedByProvider(_key: string): void {
    this.#options.metrics.refusedForSpeed();
  }

  paceLowered(key: string, pace: number): void {
    this.#options.log.warn(
      { cpsKey: key, pace },
      'a provider refused calls for their speed: the pace is lowered',
    );
    this.#tell('pacing.lowered', key, pace);
  }

  paceRestored(key: string): void {
    this.#options.log.info({ cpsKey: key }, 'the pace is the limit again');
    this.#tell('pacing.restored', key, undefined);
  }

  #tell(type: 'pacing.lowered' | 'pacing.restored', key: string, pace: number | undefined): void {
    const line = this.#options.line(key);
    if (line?.limit === undefined) return;
    const { organizationId, cpsKey, limit } = line;
    this.#options.events.publish(organizationId, type, key, { cpsKey, limit, pace: pace ?? limit });
  }
}
