/** Notices of the SIP engine as log lines: what could be a flood is told once in a while, with how often it happened. */
import type { EngineNotice } from '#engine/engine.js';
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import { printable } from '#sip/octets.js';

const QUIET_MS = 10_000;

interface Told {
  at: number;
  /** How often it happened since. */
  since: number;
}

export class NoticeLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #isKnown: (address: string) => boolean;
  /** By kind, and by bound or server: names of ours, so few. */
  readonly #told = new Map<string, Told>();

  /** @param isKnown an address of a trunk, an agent, or whom we have called */
  constructor(log: Logger, clock: Clock, isKnown: (address: string) => boolean) {
    this.#log = log;
    this.#clock = clock;
    this.#isKnown = isKnown;
  }

  notice(notice: EngineNotice): void {
    switch (notice.kind) {
      case 'limit':
        this.#warn(
          `limit ${notice.limit}`,
          { limit: notice.limit, source: notice.source?.address },
          'a bound is reached',
        );
        return;
      case 'tls-failure':
        this.#warn(
          'tls',
          { address: notice.address, detail: printable(notice.detail) },
          'a TLS handshake failed',
        );
        return;
      case 'rejected': {
        const { source, status } = notice;
        const fields = { source: source.address, status, reason: printable(notice.reason) };
        // No call comes of it and no record, so this is all that people hear. What strangers send is their affair.
        if (notice.malformed === true && this.#isKnown(source.address)) {
          this.#warn('malformed', fields, 'a known peer sent what is no valid SIP');
        } else this.#log.debug(fields, 'message refused');
        return;
      }
      case 'connection-closed':
        this.#log.debug({ address: notice.address, reason: printable(notice.reason) }, 'connection closed');
        return;
      case 'server': {
        const { server } = notice;
        const fields = { server, detail: printable(notice.detail) };
        if (notice.state === 'up') this.#log.info(fields, 'connected to the SIP server');
        else if (notice.state === 'down') this.#warn(`server ${server}`, fields, 'the SIP server is lost');
        else this.#log.debug(fields, 'the SIP server is not there yet');
      }
    }
  }

  #warn(key: string, fields: object, message: string): void {
    const now = this.#clock.now();
    const told = this.#told.get(key);
    if (told !== undefined && now - told.at < QUIET_MS) {
      told.since++;
      return;
    }
    this.#log.warn({ ...fields, unreported: told?.since ?? 0 }, message);
    this.#told.set(key, { at: now, since: 0 });
  }
}
