/**
 * Dialogs by our own tag. We make every local tag, so it alone finds the dialog; Call-ID and the peer's tag are then
 * compared by the tenant (RFC 3261 §12: a dialog is Call-ID, local tag and remote tag).
 */
import { BoundedMap } from '#lib/bounded-map.js';
import type { SipRequest } from '#sip/message.js';
import { detach, type Octets } from '#sip/octets.js';
import type { Source } from '../../engine.js';
import type { ServerTransaction } from '../transaction/transaction.js';

/** What holds dialogs under one or more of our tags: a pending INVITE in either direction, or a confirmed dialog. */
export interface DialogTenant {
  /** A request other than ACK and CANCEL whose To tag is `localTag`. Answers 481 when the rest does not match. */
  onDialogRequest(transaction: ServerTransaction, request: SipRequest, localTag: string): void;
  onDialogAck(ack: SipRequest, source: Source): void;
  /** The engine stops: end it on the wire and tell its user. */
  shutDown(detail: string): void;
}

/** BYEs cross within a round trip, so the latest are enough. */
const ENDED_MAX = 4_096;

export class DialogTable {
  readonly #byTag = new Map<string, DialogTenant>();
  /** Call-IDs of the dialogs that we ended last, by our tag. */
  readonly #ended = new BoundedMap<string, Octets>(ENDED_MAX);

  get size(): number {
    return this.#byTag.size;
  }

  add(localTag: string, tenant: DialogTenant): void {
    this.#byTag.set(localTag, tenant);
  }

  remove(localTag: string): void {
    this.#byTag.delete(localTag);
  }

  /** We have sent BYE: the dialog is over, but the peer may say so at the same moment. */
  ended(localTag: string, callId: Octets): void {
    this.#ended.set(localTag, detach(callId));
  }

  /** A BYE for this dialog has crossed ours. */
  crosses(localTag: string, callId: Octets): boolean {
    return this.#ended.get(localTag) === callId;
  }

  find(localTag: string): DialogTenant | undefined {
    return this.#byTag.get(localTag);
  }

  /** Every tenant once, safe against changes while walking. */
  tenants(): Set<DialogTenant> {
    return new Set(this.#byTag.values());
  }
}
