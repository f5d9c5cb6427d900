/**
 * What the front desk tells about messages that never become a call. The room that counts and logs implements it.
 * Called on the way of a message, floods included: count, do not write.
 */
import type { Source } from '#engine/engine.js';

/** Why a message was dropped before it was read. */
export type DropCause =
  /** `sip.unknownSources: drop`. */
  | 'unknown_source'
  /** More messages in one second than one strange address may send. */
  | 'address_rate'
  /** More messages in one second than all strangers together may send. */
  | 'stranger_rate';

export interface IngressObserver {
  /** A message of an unknown source was let in as a stranger's. */
  strangerSeen?(source: Source): void;
  messageDropped?(cause: DropCause, source: Source): void;
  /** A request outside a dialog, other than INVITE, was answered. `method` is `other` when it is not a known one. */
  requestAnswered?(method: string, status: number, code: string | null): void;
}
