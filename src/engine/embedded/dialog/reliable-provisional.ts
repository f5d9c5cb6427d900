/**
 * RFC 3262 §3: one reliable provisional response on its way to the caller. "The reliable provisional response is passed
 * to the transport layer periodically with an interval that starts at T1 seconds and doubles for each retransmission";
 * without PRACK after 64·T1 the INVITE should be rejected with a 5xx.
 */
import { Timer } from '#lib/clock.js';
import type { SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { ServerTransaction } from '../transaction/transaction.js';
import type { DialogContext } from './context.js';

export interface AwaitsPrack {
  onPrackTimeout(early: number): void;
}

export class ReliableProvisional extends Timer {
  readonly #context: DialogContext;
  readonly #transaction: ServerTransaction;
  readonly #octets: Octets;
  readonly #owner: AwaitsPrack;
  readonly #early: number;
  readonly rseq: number;
  /** With a body the 2xx has to wait for the PRACK (§3). */
  readonly hasBody: boolean;
  #interval: number;
  #elapsed = 0;

  constructor(
    context: DialogContext,
    transaction: ServerTransaction,
    owner: AwaitsPrack,
    sent: { early: number; rseq: number; octets: Octets; hasBody: boolean },
  ) {
    super();
    this.#context = context;
    this.#transaction = transaction;
    this.#octets = sent.octets;
    this.#owner = owner;
    this.#early = sent.early;
    this.rseq = sent.rseq;
    this.hasBody = sent.hasBody;
    this.#interval = context.timers.t1;
    context.clock.arm(this, this.#interval);
  }

  override fire(): void {
    const lifetime = 64 * this.#context.timers.t1;
    this.#elapsed += this.#interval;
    if (this.#elapsed >= lifetime) {
      this.#owner.onPrackTimeout(this.#early);
      return;
    }
    this.#transaction.resend(this.#octets);
    this.#interval = Math.min(this.#interval * 2, lifetime - this.#elapsed);
    this.#context.clock.arm(this, this.#interval);
  }

  stop(): void {
    this.#context.clock.disarm(this);
  }
}

/** RFC 3262 §3: RAck must name the RSeq of the response and CSeq number and method of its request. */
export function acknowledges(prack: SipRequest, rseq: number, cseq: number): boolean {
  const rack = prack.headers.get('rack');
  if (rack === undefined) return false;
  const [responseNumber, cseqNumber, method] = rack.split(/[ \t]+/);
  return Number(responseNumber) === rseq && Number(cseqNumber) === cseq && method === 'INVITE';
}
