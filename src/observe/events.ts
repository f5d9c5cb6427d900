/**
 * What happens, told inside the process to whoever listens now: nothing is kept for later. Publishing is synchronous,
 * so a listener hands on quickly; one that throws harms nobody else.
 */
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { RegistrationState } from '#registration/registration-view.js';

interface RegistrationSubject {
  readonly registrationId: string;
  /** `sip:user@domain`. */
  readonly aor: string;
}

/** Without its time, which the publisher adds. */
export type GatewayOccurrence =
  | (RegistrationSubject & {
      readonly type: 'registration.changed';
      readonly state: RegistrationState;
      readonly previous: RegistrationState;
    })
  | (RegistrationSubject & { readonly type: 'registration.removed' })
  | (RegistrationSubject & { readonly type: 'presence.changed'; readonly presence: PresenceView });

/** `at`: ISO 8601. */
export type GatewayEvent = GatewayOccurrence & { readonly at: string };

export type EventListener = (event: GatewayEvent) => void;

export class Events {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = new Set<EventListener>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  publish(occurrence: GatewayOccurrence): void {
    if (this.#listeners.size === 0) return;
    const event: GatewayEvent = { ...occurrence, at: new Date(this.#clock.wallNow()).toISOString() };
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error({ err: error, event: event.type }, 'a listener to events failed');
      }
    }
  }

  /** Hears every event from now on, until the function that is returned is called. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
