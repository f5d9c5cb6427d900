/**
 * Dialogs by our own tag. We make every local tag, so it alone finds the dialog; Call-ID and the peer's tag are then
 * compared by the tenant (RFC 3261 §12: a dialog is Call-ID, local tag and remote tag).
 */
import type { SipRequest } from '#sip/message.js';
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

export class DialogTable {
  readonly #byTag = new Map<string, DialogTenant>();

  get size(): number {
    return this.#byTag.size;
  }

  add(localTag: string, tenant: DialogTenant): void {
    this.#byTag.set(localTag, tenant);
  }

  remove(localTag: string): void {
    this.#byTag.delete(localTag);
  }

  find(localTag: string): DialogTenant | undefined {
    return this.#byTag.get(localTag);
  }

  /** Every tenant once, safe against changes while walking. */
  tenants(): Set<DialogTenant> {
    return new Set(this.#byTag.values());
  }
}
