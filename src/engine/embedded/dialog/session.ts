/** A confirmed INVITE dialog (RFC 3261 §12.2, §14, §15), until BYE. */
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type {
  Dialog,
  DialogEnd,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  PendingRequest,
  Source,
} from '../../engine.js';
import type { ServerTransaction } from '../transaction/transaction.js';
import { AnswerRetransmission, type AwaitsAck } from './answer-retransmission.js';
import { type DialogContext, linesOf } from './context.js';
import type { DialogState } from './dialog-state.js';
import { type FlowWatch, watchFlow } from './flow-watch.js';
import { IncomingInDialogRequest, type RequestOwner } from './in-dialog-request.js';
import {
  type OutgoingInDialogRequest,
  type RequestWatcher,
  sendBye,
  sendInDialog,
} from './outgoing-in-dialog.js';
import { acknowledges } from './reliable-provisional.js';
import type { DialogTenant } from './table.js';

const NO_ACK_REASON = 'Reason: SIP;cause=408;text="ACK Timeout"\r\n';

const NOT_SENT: PendingRequest = { cancel: () => undefined };

/** The 2xx that makes a dialog has not been acknowledged by our user yet (caller's side). */
export interface PendingAck {
  /** Sends the ACK without body, if none was sent. */
  acknowledge(): void;
}

export class Session implements Dialog, DialogTenant, RequestOwner, RequestWatcher, AwaitsAck {
  readonly #context: DialogContext;
  readonly #state: DialogState;
  #events: DialogEvents;
  #watch: FlowWatch | undefined;
  #over = false;
  /** Our 2xx to INVITE or re-INVITE that waits for its ACK. */
  #answer: AnswerRetransmission | null = null;
  #answered: IncomingInDialogRequest | null = null;
  #pendingAck: PendingAck | null = null;
  #latePrack: { readonly rseq: number; readonly inviteCseq: number } | null = null;
  /** Set while our 2xx itself has to wait; called when `end` makes it needless. */
  #unsent: (() => void) | null = null;
  /** BYE lines of an `end` that must wait for the ACK of our 2xx. */
  #byeAfterAck: Octets | null = null;
  #incomingInvite: IncomingInDialogRequest | null = null;
  #incomingUpdate: IncomingInDialogRequest | null = null;
  #outgoingInvite = false;
  #outgoingUpdate = false;

  constructor(context: DialogContext, state: DialogState, events: DialogEvents) {
    this.#context = context;
    this.#state = state;
    this.#events = events;
    context.dialogs.add(state.localTag, this);
    this.#followFlow();
  }

  get callId(): Octets {
    return this.#state.callId;
  }

  get localTag(): string {
    return this.#state.localTag;
  }

  get remoteTag(): string {
    return this.#state.remoteTag;
  }

  get remote(): Source {
    return this.#state.source;
  }

  get over(): boolean {
    return this.#over;
  }

  listen(events: DialogEvents): void {
    this.#events = events;
  }

  /** Callee's side: starts the retransmission of the 2xx that made this dialog. */
  awaitAck(transaction: ServerTransaction, cseq: number, octets: Octets): void {
    this.#unsent = null;
    this.#answer = new AnswerRetransmission(this.#context, transaction, cseq, octets, this);
  }

  /** Callee's side: a reliable provisional response was not acknowledged when the 2xx was sent. */
  awaitPrack(rseq: number, inviteCseq: number): void {
    this.#latePrack = { rseq, inviteCseq };
  }

  /** Callee's side: the 2xx is not on its way yet; `withdraw` is called if the dialog ends before. */
  awaitSending(withdraw: () => void): void {
    this.#unsent = withdraw;
  }

  /** Caller's side: `end` must acknowledge first. */
  awaitUser(pending: PendingAck): void {
    this.#pendingAck = pending;
  }

  request(options: DialogRequestOptions, done: (outcome: DialogRequestOutcome) => void): PendingRequest {
    if (this.#over) {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'the dialog has ended' } }),
      );
      return NOT_SENT;
    }
    const invite = options.method === 'INVITE';
    // §14.1: "a UAC MUST NOT initiate a new INVITE transaction within a dialog while another INVITE transaction is
    // in progress in either direction"; RFC 3311 §5.1 says the same of offers in UPDATE.
    if (
      invite
        ? this.#inviteInProgress()
        : options.method === 'UPDATE' && options.body && this.#offerInProgress()
    ) {
      const detail = `another ${invite ? 'INVITE' : 'offer'} is in progress in this dialog`;
      queueMicrotask(() => done({ kind: 'fault', fault: { kind: 'glare', detail } }));
      return NOT_SENT;
    }
    const sent = sendInDialog(this.#context, this.#state, options, this, done);
    if (sent === undefined) return NOT_SENT;
    if (invite) this.#outgoingInvite = true;
    else if (sent.method === 'UPDATE' && sent.hasBody) this.#outgoingUpdate = true;
    return sent;
  }

  end(headers?: readonly HeaderField[]): void {
    if (this.#over) return;
    const lines = linesOf(headers);
    this.#pendingAck?.acknowledge();
    this.#close();
    if (this.#unsent !== null) {
      this.#unsent();
      return;
    }
    // §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its 2xx
    // response or until the server transaction times out".
    if (this.#answer !== null) {
      this.#byeAfterAck = lines;
      this.#context.dialogs.add(this.#state.localTag, this);
      return;
    }
    sendBye(this.#context, this.#state, lines);
  }

  onDialogRequest(transaction: ServerTransaction, request: SipRequest): void {
    const state = this.#state;
    if (request.callId !== state.callId || (request.from.tag ?? '') !== state.remoteTag) {
      transaction.respond(481, 'Call/Transaction Does Not Exist', '', '');
      return;
    }
    // §12.2.2: "If the remote sequence number was not empty, but the sequence number of the request is lower than
    // the remote sequence number, the request is out of order and MUST be rejected with a 500".
    if (request.cseq.number < state.remoteSeq) {
      transaction.respond(500, 'Server Internal Error', 'Retry-After: 1\r\n', '');
      return;
    }
    state.remoteSeq = request.cseq.number;
    this.#heardFrom(transaction.source);
    switch (request.method) {
      case 'BYE':
        this.#onBye(transaction, request);
        break;
      case 'INVITE':
        this.#onInvite(transaction, request);
        break;
      case 'UPDATE':
        this.#onUpdate(transaction, request);
        break;
      case 'PRACK':
        this.#onPrack(transaction, request);
        break;
      default:
        if (this.#over) transaction.respond(481, 'Call/Transaction Does Not Exist', '', '');
        else this.#events.onRequest(new IncomingInDialogRequest(this.#context, transaction, this));
    }
  }

  onDialogAck(ack: SipRequest, source: Source): void {
    if (ack.callId !== this.#state.callId || (ack.from.tag ?? '') !== this.#state.remoteTag) return;
    if (this.#answer === null || ack.cseq.number !== this.#answer.cseq) return;
    this.#heardFrom(source);
    const reinvite = this.#settleAnswer();
    if (this.#byeAfterAck !== null) {
      this.#finishDeferredBye();
      return;
    }
    if (reinvite !== null) reinvite.onAck?.(ack);
    else this.#events.onAck?.(ack);
  }

  /** `AwaitsAck`: 64·T1 passed. */
  onAckTimeout(): void {
    this.#answer = null;
    this.#answered = null;
    if (this.#byeAfterAck !== null) {
      this.#finishDeferredBye();
      return;
    }
    this.#finish({ kind: 'no-ack' }, NO_ACK_REASON);
  }

  /** `RequestOwner`. */
  onAnswered(request: IncomingInDialogRequest, status: number, octets: Octets): void {
    if (request === this.#incomingUpdate) this.#incomingUpdate = null;
    if (request === this.#incomingInvite) this.#incomingInvite = null;
    if (request.request.method === 'INVITE' && status < 300 && octets !== '') {
      this.#answered = request;
      this.#answer = new AnswerRetransmission(
        this.#context,
        request.transaction,
        request.request.cseq.number,
        octets,
        this,
      );
    }
  }

  /** `RequestWatcher`. */
  onSettled(request: OutgoingInDialogRequest, outcome: DialogRequestOutcome): void {
    const refresh = request.method === 'INVITE' || request.method === 'UPDATE';
    if (request.method === 'INVITE') this.#outgoingInvite = false;
    if (request.method === 'UPDATE') this.#outgoingUpdate = false;
    if (this.#over) return;
    // §12.2.1.2: a 481 or 408, or no response at all, ends the dialog. An INFO or MESSAGE that a peer ignores
    // says less (RFC 5057 §5.1), so only the requests that refresh the session count when they meet silence.
    const detail =
      outcome.kind === 'fault'
        ? refresh && outcome.fault.kind === 'timeout'
          ? `no answer to ${request.method}`
          : undefined
        : outcome.response.status === 481 || (outcome.response.status === 408 && refresh)
          ? `${outcome.response.status} to ${request.method}`
          : undefined;
    if (detail === undefined) return;
    // After the user has had its `done`.
    queueMicrotask(() => {
      if (!this.#over) this.#finish({ kind: 'gone', detail }, 'Reason: SIP;cause=481;text="Dialog Gone"\r\n');
    });
  }

  shutDown(detail: string): void {
    if (this.#byeAfterAck !== null) {
      this.#settleAnswer();
      this.#finishDeferredBye();
      return;
    }
    if (this.#over) return;
    this.#pendingAck?.acknowledge();
    this.#settleAnswer();
    this.#finish({ kind: 'engine-down', detail }, 'Reason: SIP;cause=503;text="Shutting Down"\r\n');
  }

  #onBye(transaction: ServerTransaction, request: SipRequest): void {
    transaction.respond(200, 'OK', '', '');
    if (this.#over) {
      // Our own BYE was still waiting for the ACK; the peer's makes it needless.
      if (this.#byeAfterAck !== null) {
        this.#settleAnswer();
        this.#byeAfterAck = null;
        this.#context.dialogs.remove(this.#state.localTag);
      }
      return;
    }
    this.#settleAnswer();
    this.#pendingAck?.acknowledge();
    this.#close();
    // §15.1.2: "The UAS MUST still respond to any pending requests received for that dialog", with 487.
    this.#incomingInvite?.respond(487, reasonPhrase(487));
    this.#incomingUpdate?.respond(487, reasonPhrase(487));
    this.#events.onEnded({ kind: 'bye', request });
  }

  #onInvite(transaction: ServerTransaction, request: SipRequest): void {
    if (this.#over) {
      transaction.respond(481, 'Call/Transaction Does Not Exist', '', '');
      return;
    }
    if (this.#outgoingInvite || this.#outgoingUpdate) {
      transaction.respond(491, reasonPhrase(491), '', '');
      return;
    }
    if (this.#incomingInvite !== null || this.#incomingUpdate !== null) {
      // §14.2: "MUST return a 500 … and MUST include a Retry-After header field with a randomly chosen value of
      // between 0 and 10 seconds". The peer's CSeq is random enough to spread.
      transaction.respond(500, 'Server Internal Error', `Retry-After: ${request.cseq.number % 10}\r\n`, '');
      return;
    }
    // A new INVITE shows that the peer has our 2xx: its ACK was lost or is late.
    if (this.#answer !== null) this.#settleAnswer();
    const invite = new IncomingInDialogRequest(this.#context, transaction, this);
    this.#incomingInvite = invite;
    this.#state.refresh(request, transaction.source, false);
    this.#events.onRequest(invite);
  }

  #onUpdate(transaction: ServerTransaction, request: SipRequest): void {
    if (this.#over) {
      transaction.respond(481, 'Call/Transaction Does Not Exist', '', '');
      return;
    }
    if (request.body !== '') {
      // RFC 3311 §5.2, the same two rules for offers.
      if (this.#outgoingInvite || this.#outgoingUpdate) {
        transaction.respond(491, reasonPhrase(491), '', '');
        return;
      }
      if (this.#incomingInvite !== null || this.#incomingUpdate !== null) {
        transaction.respond(500, 'Server Internal Error', `Retry-After: ${request.cseq.number % 10}\r\n`, '');
        return;
      }
    }
    const update = new IncomingInDialogRequest(this.#context, transaction, this);
    if (request.body !== '') this.#incomingUpdate = update;
    this.#state.refresh(request, transaction.source, false);
    this.#events.onRequest(update);
  }

  /** Only the PRACK that the 2xx overtook: to a re-INVITE we send no reliable provisional response. */
  #onPrack(transaction: ServerTransaction, request: SipRequest): void {
    const late = this.#latePrack;
    if (late === null || !acknowledges(request, late.rseq, late.inviteCseq)) {
      transaction.respond(481, reasonPhrase(481), '', '');
      return;
    }
    this.#latePrack = null;
    transaction.respond(200, 'OK', '', '');
  }

  #inviteInProgress(): boolean {
    return this.#outgoingInvite || this.#incomingInvite !== null || this.#answered !== null;
  }

  #offerInProgress(): boolean {
    return this.#inviteInProgress() || this.#outgoingUpdate || this.#incomingUpdate !== null;
  }

  /** Stops the retransmission of our 2xx; the re-INVITE it answered, null for the first INVITE. */
  #settleAnswer(): IncomingInDialogRequest | null {
    const reinvite = this.#answered;
    this.#answer?.stop();
    this.#answer = null;
    this.#answered = null;
    return reinvite;
  }

  #finishDeferredBye(): void {
    const lines = this.#byeAfterAck ?? '';
    this.#byeAfterAck = null;
    this.#context.dialogs.remove(this.#state.localTag);
    sendBye(this.#context, this.#state, lines);
  }

  #finish(cause: DialogEnd, byeLines: Octets): void {
    this.#close();
    sendBye(this.#context, this.#state, byeLines);
    this.#events.onEnded(cause);
  }

  #heardFrom(source: Source): void {
    if (source === this.#state.source) return;
    this.#state.heardFrom(source);
    this.#followFlow();
  }

  /** A silent call must not lose its connection to the idle timer. When the peer closes it, the call goes on. */
  #followFlow(): void {
    const { flow } = this.#state.source;
    if (this.#watch === undefined) this.#watch = watchFlow(this.#context.transports, flow, null);
    else this.#watch.follow(flow);
  }

  #close(): void {
    this.#over = true;
    this.#watch?.stop();
    this.#context.dialogs.remove(this.#state.localTag);
  }
}
