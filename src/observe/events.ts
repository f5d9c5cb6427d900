/**
 * What happens, told inside the process to whoever listens now, and kept for a while for those who listen again after a
 * pause. Publishing is synchronous, so a listener hands on quickly; one that throws harms nobody else. Where nobody
 * listens, and nobody has lately, nothing is made or kept: `wanted` says so.
 */
import type { CallRecord, CallState } from '#call/observer.js';
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { RegistrationState } from '#registration/registration-view.js';

interface RegistrationSubject {
  readonly registrationId: string;
  /** `sip:user@domain`. */
  readonly aor: string;
}

/** The types of events and what each tells. `call.changed` tells the record as it stands then. */
export interface EventData {
  'call.started': CallRecord;
  'call.changed': CallRecord & { readonly previous: CallState };
  'call.ended': CallRecord;
  'registration.changed': RegistrationSubject & {
    readonly state: RegistrationState;
    readonly previous: RegistrationState;
  };
  'registration.removed': RegistrationSubject;
  'presence.changed': RegistrationSubject & { readonly presence: PresenceView };
  'pacing.lowered': { readonly cpsKey: string; readonly limit: number; readonly pace: number };
  'pacing.restored': { readonly cpsKey: string; readonly limit: number; readonly pace: number };
}

export const EVENT_TYPES = [
  'call.started',
  'call.changed',
  'call.ended',
  'registration.changed',
  'registration.removed',
  'presence.changed',
  'pacing.lowered',
  'pacing.restored',
] as const satisfies readonly (keyof EventData)[];

export type EventType = keyof EventData;

export interface GatewayEvent {
  /** Unique over restarts and nodes. Within one process later events have later ids in `since`. */
  readonly id: string;
  readonly type: EventType;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly organizationId: string;
  /** Id of what it is about: events of one subject are told in order. */
  readonly subject: string;
  readonly data: EventData[EventType];
}

export type EventListener = (event: GatewayEvent) => void;

export interface EventsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Starts every id of this process. */
  readonly epoch: string;
  /** Events kept for those who come back. Default 10,000. */
  readonly kept?: number | undefined;
  /** Milliseconds that events are kept after the last listener to `follow` has gone. Default 5 minutes. */
  readonly keptMs?: number | undefined;
}

export class Events {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #epoch: string;
  readonly #kept: number;
  readonly #keptMs: number;
  readonly #listeners = new Set<EventListener>();
  /** The latest events; the place of an event is its number modulo the length. */
  #recent: GatewayEvent[] = [];
  /** Number of the next event, from 1, and of the first one that is kept. */
  #next = 1;
  #first = 1;
  #followers = 0;
  #keepUntil = Number.NEGATIVE_INFINITY;

  constructor({ clock, log, epoch, kept, keptMs }: EventsOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#epoch = epoch;
    this.#kept = kept ?? 10_000;
    this.#keptMs = keptMs ?? 300_000;
  }

  /** Somebody listens, or may come back for what happens now. */
  get wanted(): boolean {
    return this.#listeners.size > 0 || this.#keeping;
  }

  publish<T extends EventType>(organizationId: string, type: T, subject: string, data: EventData[T]): void {
    if (!this.wanted) return;
    const number = this.#next++;
    const event: GatewayEvent = {
      id: `${this.#epoch}-${number}`,
      type,
      at: new Date(this.#clock.wallNow()).toISOString(),
      organizationId,
      subject,
      data,
    };
    this.#keep(number, event);
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error({ err: error, event: type }, 'a listener to events failed');
      }
    }
  }

  /** Hears every event from now on, until the function that is returned is called. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Like `listen`, for somebody who comes back after a pause: events are kept from now until a while after the last
   * follower has gone.
   * @param after id of the last event that was heard; undefined: from now on
   * @returns `missed`: what happened since; null when that cannot be told any more
   */
  follow(
    after: string | undefined,
    listener: EventListener,
  ): { readonly missed: readonly GatewayEvent[] | null; readonly stop: () => void } {
    const missed = after === undefined ? [] : this.#since(after);
    this.#followers++;
    const off = this.listen(listener);
    let stopped = false;
    const stop = (): void => {
      if (stopped) return;
      stopped = true;
      off();
      this.#followers--;
      if (this.#followers === 0) this.#keepUntil = this.#clock.now() + this.#keptMs;
    };
    return { missed, stop };
  }

  get #keeping(): boolean {
    return this.#followers > 0 || this.#clock.now() < this.#keepUntil;
  }

  #keep(number: number, event: GatewayEvent): void {
    if (!this.#keeping) {
      this.#recent = [];
      this.#first = this.#next;
      return;
    }
    this.#recent[number % this.#kept] = event;
    if (number - this.#first >= this.#kept) this.#first = number - this.#kept + 1;
  }

  #since(after: string): GatewayEvent[] | null {
    const dash = after.lastIndexOf('-');
    const number = Number(after.slice(dash + 1));
    const known = after.slice(0, dash) === this.#epoch && Number.isInteger(number) && number < this.#next;
    if (!known || number + 1 < this.#first) return null;
    if (!this.#keeping && number + 1 < this.#next) return null;
    const events: GatewayEvent[] = [];
    for (let i = number + 1; i < this.#next; i++) events.push(this.#recent[i % this.#kept]!);
    return events;
  }
}
