/**
 * §13.3.1.4: "The 2xx response is passed to the transport with an interval that starts at T1 seconds and doubles for
 * each retransmission until it reaches T2 seconds"; "if the server retransmits the 2xx response for 64*T1 seconds
 * without receiving an ACK, the dialog is confirmed, but the session SHOULD be terminated". Over every transport,
 * since a proxy further on may use UDP.
 */
import { Timer } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import type { ServerTransaction } from '../transaction/transaction.js';
import type { DialogContext } from './context.js';

export interface AwaitsAck {
  onAckTimeout(): void;
}

export class AnswerRetransmission extends Timer {
  readonly #context: DialogContext;
  readonly #transaction: ServerTransaction;
  readonly #octets: Octets;
  readonly #owner: AwaitsAck;
  /** CSeq number that the ACK must carry. */
  readonly cseq: number;
  #interval: number;
  #elapsed = 0;

  constructor(
    context: DialogContext,
    transaction: ServerTransaction,
    cseq: number,
    octets: Octets,
    owner: AwaitsAck,
  ) {
    super();
    this.#context = context;
    this.#transaction = transaction;
    this.#octets = octets;
    this.#owner = owner;
    this.cseq = cseq;
    this.#interval = context.timers.t1;
    context.clock.arm(this, this.#interval);
  }

  override fire(): void {
    const { t1, t2 } = this.#context.timers;
    this.#elapsed += this.#interval;
    if (this.#elapsed >= 64 * t1) {
      this.#owner.onAckTimeout();
      return;
    }
    this.#transaction.resend(this.#octets);
    this.#interval = Math.min(this.#interval * 2, t2, 64 * t1 - this.#elapsed);
    this.#context.clock.arm(this, this.#interval);
  }

  stop(): void {
    this.#context.clock.disarm(this);
  }
}
