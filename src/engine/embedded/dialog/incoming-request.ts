/** A request whose answer ends its story: outside any dialog, or a NOTIFY in a subscription's. */
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { IncomingRequest, Source } from '../../engine.js';
import type { ServerTransaction } from '../transaction/transaction.js';
import { linesOf } from './context.js';

export class IncomingTransactionRequest implements IncomingRequest {
  readonly request: SipRequest;
  readonly source: Source;
  readonly #transaction: ServerTransaction;
  #answered = false;

  constructor(transaction: ServerTransaction) {
    this.request = transaction.request;
    this.source = transaction.source;
    this.#transaction = transaction;
  }

  respond(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#answered) return;
    if (status < 200 || status > 699) throw new RangeError(`Final status ${status} is not 200 to 699`);
    // What cannot be sent throws here, and the request can still be answered.
    const lines = linesOf(headers);
    this.#answered = true;
    this.#transaction.respond(status, reason || reasonPhrase(status), lines, body);
  }
}
