/** What remains of registrations and subscriptions: counts and events. Their log lines are written where they occur. */
import type { LiveRegistration, RegistrationObserver } from '#registration/observer.js';
import type { PresenceObserver, PresenceSubject } from '#registration/presence/presence.js';
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

  registrationChanged(registration: LiveRegistration, previous: RegistrationState): void {
    const { id, organizationId, aor, state } = registration;
    this.#events.publish(organizationId, 'registration.changed', id, {
      registrationId: id,
      aor,
      state,
      previous,
    });
  }

  registrationAttempted(_registration: LiveRegistration, attempt: RegistrationAttempt): void {
    this.#metrics.registrationAttempted(attempt.verdict, attempt.latencyMs);
  }

  registrationRemoved(registration: LiveRegistration): void {
    const { id, organizationId, aor } = registration;
    this.#events.publish(organizationId, 'registration.removed', id, { registrationId: id, aor });
  }

  notifyTaken(outcome: 'taken' | 'refused'): void {
    this.#metrics.notifyTaken(outcome);
  }

  presenceChanged({ organizationId, aor }: PresenceSubject, presence: PresenceView): void {
    const { registrationId } = presence;
    this.#events.publish(organizationId, 'presence.changed', registrationId, {
      registrationId,
      aor,
      presence,
    });
  }
}
