/** What remains of registrations and subscriptions: counts and events. Their log lines are written where they occur. */
import type { LiveRegistration, RegistrationObserver } from '#registration/observer.js';
import type { PresenceObserver } from '#registration/presence/presence.js';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { RegistrationAttempt, RegistrationState } from '#registration/registration-view.js';
import type { Events } from './events.js';
import type { Metrics } from './metrics.js';

export class RegistrationRecorder implements RegistrationObserver, PresenceObserver {
  readonly #metrics: Metrics;
  readonly #events: Events;

  constructor(metrics: Metrics, events: Events) {
    this.#metrics = metrics;
    this.#events = events;
  }

  registrationChanged({ id, aor, state }: LiveRegistration, previous: RegistrationState): void {
    this.#events.publish({ type: 'registration.changed', registrationId: id, aor, state, previous });
  }

  registrationAttempted(_registration: LiveRegistration, attempt: RegistrationAttempt): void {
    this.#metrics.registrationAttempted(attempt.verdict, attempt.latencyMs);
  }

  registrationRemoved({ id, aor }: LiveRegistration): void {
    this.#events.publish({ type: 'registration.removed', registrationId: id, aor });
  }

  notifyTaken(outcome: 'taken' | 'refused'): void {
    this.#metrics.notifyTaken(outcome);
  }

  presenceChanged(aor: string, presence: PresenceView): void {
    const { registrationId } = presence;
    this.#events.publish({ type: 'presence.changed', registrationId, aor, presence });
  }
}
