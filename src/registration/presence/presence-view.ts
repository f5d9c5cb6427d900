/** What the subscriptions of one registration have told, as the API shows it: plain data, printable. */

/** How a subscription may stand. */
export const SUBSCRIPTION_STATES = [
  /** SUBSCRIBE has been sent, or waits for its turn. */
  'pending',
  'active',
  /** The last attempt failed in a way that passes; it is tried again. */
  'retrying',
  /** The server serves no such package, or refuses us: not tried again before the next registration. */
  'unsupported',
] as const;
export type SubscriptionState = (typeof SUBSCRIPTION_STATES)[number];

export interface SubscriptionView {
  readonly package: 'dialog' | 'presence';
  readonly state: SubscriptionState;
  readonly expiresAt: string | null;
  /** Of the last answer or NOTIFY. */
  readonly detail: string;
  /** NOTIFYs taken. */
  readonly notifies: number;
}

/** A dialog of the watched account (RFC 4235). */
export interface WatchedDialog {
  readonly id: string;
  readonly state: string;
  readonly direction: 'initiator' | 'recipient' | null;
  readonly remote: string | null;
}

/** A tuple of its presence (RFC 3863). */
export interface PresenceTuple {
  readonly id: string;
  readonly basic: 'open' | 'closed' | null;
  readonly contact: string | null;
  readonly note: string | null;
}

export interface PresenceView {
  readonly registrationId: string;
  /** A dialog exists that has not ended; null before the first full report. */
  readonly busy: boolean | null;
  /** Some tuple is open; null before the first report. */
  readonly available: boolean | null;
  readonly dialogs: readonly WatchedDialog[];
  readonly tuples: readonly PresenceTuple[];
  readonly updatedAt: string | null;
  readonly subscriptions: readonly SubscriptionView[];
}
