/** What this room tells about registrations. Whoever counts, logs or sends events implements it: quick, not throwing. */
import type { RegistrationAttempt, RegistrationState, RegistrationView } from './registration-view.js';

/** A registration as observers see it: cheap to hand out. */
export interface LiveRegistration {
  readonly id: string;
  readonly organizationId: string;
  /** `sip:user@domain`, printable. */
  readonly aor: string;
  readonly state: RegistrationState;
  /** Builds an object: not for every event. */
  view(): RegistrationView;
}

export interface RegistrationObserver {
  /** `registration.state` has just changed. */
  registrationChanged?(registration: LiveRegistration, previous: RegistrationState): void;
  /** A REGISTER was answered, its challenges included, or failed. */
  registrationAttempted?(registration: LiveRegistration, attempt: RegistrationAttempt): void;
  /** A registration is no longer wanted, and its binding is removed or given up. */
  registrationRemoved?(registration: LiveRegistration): void;
}
