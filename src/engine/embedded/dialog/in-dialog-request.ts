/** A request of the peer inside a dialog, early or confirmed, waiting for our user's answer. */
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type { InDialogRequest } from '../../engine.js';
import type { ServerTransaction, ServerUser } from '../transaction/transaction.js';
import { contactLine, type DialogContext, linesOf } from './context.js';

/** The dialog that the request came in. */
export interface RequestOwner {
  readonly localTag: string;
  /** A final response has been sent; `octets` are those of the response. */
  onAnswered(request: IncomingInDialogRequest, status: number, octets: Octets): void;
}

/** Methods whose 2xx carries a Contact of ours, a target refresh (§12.2.2, RFC 3311 §5.2). */
function refreshesTarget(method: string): boolean {
  return method === 'INVITE' || method === 'UPDATE';
}

export class IncomingInDialogRequest implements InDialogRequest {
  readonly request: SipRequest;
  onCancel: ((cancel: SipRequest) => void) | undefined = undefined;
  onAck: ((ack: SipRequest) => void) | undefined = undefined;
  readonly transaction: ServerTransaction;
  readonly #context: DialogContext;
  readonly #owner: RequestOwner;
  #answered = false;

  constructor(context: DialogContext, transaction: ServerTransaction, owner: RequestOwner) {
    this.request = transaction.request;
    this.transaction = transaction;
    this.#context = context;
    this.#owner = owner;
    transaction.user = new CancelWatch(this);
  }

  get answered(): boolean {
    return this.#answered;
  }

  respond(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#answered) return;
    if (status < 101 || status > 699) throw new RangeError(`Response status ${status} is not 101 to 699`);
    let lines = linesOf(headers);
    if (status < 300 && refreshesTarget(this.request.method)) {
      const { transports } = this.#context;
      const listener = this.transaction.source.listener;
      lines = contactLine(transports.sentBy(listener), listener.transport, isSips(this.request.uri)) + lines;
    }
    if (status >= 200) this.#answered = true;
    const octets = this.transaction.respond(
      status,
      reason || reasonPhrase(status),
      lines,
      body,
      this.#owner.localTag,
    );
    if (status >= 200) this.#owner.onAnswered(this, status, octets);
  }

  /** The peer cancelled its re-INVITE. */
  cancelled(cancel: SipRequest): void {
    if (this.#answered) return;
    this.respond(487, 'Request Terminated');
    this.onCancel?.(cancel);
  }

  /** The transaction died; nothing more can be sent. The far side hears of it by the dialog's own timers. */
  lost(): void {
    this.#answered = true;
  }
}

/** The transaction's view of the request, apart because `onCancel` there and in the port mean different things. */
class CancelWatch implements ServerUser {
  readonly #request: IncomingInDialogRequest;

  constructor(request: IncomingInDialogRequest) {
    this.#request = request;
  }

  onCancel(cancel: SipRequest): void {
    this.#request.cancelled(cancel);
  }

  onLost(): void {
    this.#request.lost();
  }
}
