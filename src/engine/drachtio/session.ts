/** A confirmed INVITE dialog held by a drachtio-server, until BYE (RFC 3261 §12.2, §14, §15). */
import { CallbackTimer } from '#lib/clock.js';
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
} from '../engine.js';
import { type DrachtioContext, type Estate, ignore, type Tenant } from './context.js';
import type { ServerListener } from './endpoints.js';
import { type InDialog, type RequestOwner, sendBye, sendInDialog } from './exchange.js';
import { checked, NO_HEADERS } from './headers.js';
import { type AnswerOwner, IncomingInDialogRequest, respond } from './incoming-request.js';
import type { WireRequest } from './wire.js';

const NOTHING_PENDING: PendingRequest = { cancel: ignore };

export interface SessionOptions {
  readonly via: ServerListener;
  readonly callId: Octets;
  readonly localTag: string;
  readonly remoteTag: string;
  readonly remote: Source;
  /** CSeq of the peer's INVITE; −1 when ours made the dialog. */
  readonly remoteSeq: number;
  readonly events: DialogEvents;
}

export class Session implements Dialog, Tenant, RequestOwner, AnswerOwner {
  readonly via: ServerListener;
  readonly callId: Octets;
  readonly localTag: string;
  readonly remoteTag: string;
  remote: Source;
  over = false;
  readonly #context: DrachtioContext;
  readonly #events: DialogEvents;
  readonly #ackTimer = new CallbackTimer(() => this.#onAckTimeout());
  /** Set when the server has named the dialog, which it does with the answer to our 2xx. */
  dialogId = '';
  /** What waits for that name. */
  #waiting: (() => void)[] | null = [];
  /** Caller's side: our ACK is still to be sent. */
  #acknowledge: (() => void) | null = null;
  /** Callee's side: the peer's ACK has not come. */
  #unacknowledged = false;
  #answered: IncomingInDialogRequest | null = null;
  #byeAfterAck: readonly HeaderField[] | null = null;
  #remoteSeq: number;
  #incomingInvite: IncomingInDialogRequest | null = null;
  #incomingUpdate: IncomingInDialogRequest | null = null;
  #outgoingInvite = false;
  #outgoingUpdate = false;

  constructor(context: DrachtioContext, options: SessionOptions) {
    this.#context = context;
    this.via = options.via;
    this.callId = options.callId;
    this.localTag = options.localTag;
    this.remoteTag = options.remoteTag;
    this.remote = options.remote;
    this.#events = options.events;
    this.#remoteSeq = options.remoteSeq;
    context.tenants.set(options.localTag, this);
  }

  get estate(): Estate | undefined {
    return this.dialogId === '' ? undefined : { kind: 'dialog', dialogId: this.dialogId };
  }

  /** Caller's side: the dialog has its name, and `acknowledge` is called before anything else leaves. */
  begin(dialogId: string, acknowledge: () => void): void {
    this.#acknowledge = acknowledge;
    this.#named(dialogId);
  }

  /** Our user has acknowledged. */
  acknowledged(): void {
    this.#acknowledge = null;
  }

  /** Callee's side: our 2xx is on its way to the server. */
  awaitAck(): void {
    this.#unacknowledged = true;
    // The server has a timer H too, of 32 s whatever its T1.
    this.#context.clock.arm(this.#ackTimer, 64 * this.#context.t1);
  }

  /** Callee's side: the server has sent our 2xx, or says why not. */
  answerSent(failure: string | null, dialogId: string): void {
    if (failure === null) {
      this.#named(dialogId);
      return;
    }
    this.#waiting = null;
    this.#forget();
    if (this.over) return;
    this.over = true;
    this.#events.onEnded({ kind: 'gone', detail: `the answer was not sent: ${failure}`.slice(0, 200) });
  }

  request(options: DialogRequestOptions, done: (outcome: DialogRequestOutcome) => void): PendingRequest {
    if (this.over) {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'the dialog has ended' } }),
      );
      return NOTHING_PENDING;
    }
    const invite = options.method === 'INVITE';
    // §14.1 and RFC 3311 §5.1: one INVITE, and one offer, at a time.
    if (
      invite
        ? this.#inviteInProgress()
        : options.method === 'UPDATE' && options.body && this.#offerInProgress()
    ) {
      const detail = `another ${invite ? 'INVITE' : 'offer'} is in progress in this dialog`;
      queueMicrotask(() => done({ kind: 'fault', fault: { kind: 'glare', detail } }));
      return NOTHING_PENDING;
    }
    if (invite) this.#outgoingInvite = true;
    else if (options.method === 'UPDATE' && options.body) this.#outgoingUpdate = true;
    const deferred = new DeferredRequest();
    this.#whenNamed(
      () => deferred.sent(sendInDialog(this.#context, this, options, done)),
      () => {
        this.onSettled(options, LOST);
        done(LOST);
      },
    );
    return deferred;
  }

  end(headers?: readonly HeaderField[]): void {
    if (this.over) return;
    const fields = checked(headers);
    this.#acknowledge?.();
    this.#close();
    // §15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its 2xx".
    if (this.#unacknowledged) {
      this.#byeAfterAck = fields;
      this.#context.tenants.set(this.localTag, this);
      return;
    }
    this.#bye(fields);
  }

  onRequest(request: SipRequest, wire: WireRequest, source: Source): void {
    if (request.callId !== this.callId || (request.from.tag ?? '') !== this.remoteTag) {
      respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    // §12.2.2: "lower than the remote sequence number … MUST be rejected with a 500".
    if (request.cseq.number < this.#remoteSeq) {
      const headers = [{ name: 'Retry-After', value: '1' }];
      respond(this.via, wire, 500, '', { headers, body: '' });
      return;
    }
    this.#remoteSeq = request.cseq.number;
    this.remote = source;
    if (request.method === 'BYE') {
      this.#onBye(request, wire);
      return;
    }
    if (this.over) {
      respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    const offer = request.method === 'INVITE' || (request.method === 'UPDATE' && request.body !== '');
    if (offer && (this.#outgoingInvite || this.#outgoingUpdate)) {
      respond(this.via, wire, 491, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    if (offer && (this.#incomingInvite !== null || this.#incomingUpdate !== null)) {
      // §14.2: with a Retry-After between 0 and 10 seconds; the peer's CSeq is random enough to spread.
      const headers = [{ name: 'Retry-After', value: String(request.cseq.number % 10) }];
      respond(this.via, wire, 500, '', { headers, body: '' });
      return;
    }
    const incoming = new IncomingInDialogRequest(this.#context, request, wire, this);
    if (request.method === 'INVITE') {
      this.#unacknowledged = false;
      this.#context.clock.disarm(this.#ackTimer);
      this.#answered = null;
      this.#incomingInvite = incoming;
    } else if (offer) this.#incomingUpdate = incoming;
    this.#events.onRequest(incoming);
  }

  onAck(ack: SipRequest, source: Source): void {
    if (!this.#unacknowledged) return;
    this.remote = source;
    this.#unacknowledged = false;
    this.#context.clock.disarm(this.#ackTimer);
    const reinvite = this.#answered;
    this.#answered = null;
    if (this.#byeAfterAck !== null) {
      const fields = this.#byeAfterAck;
      this.#forget();
      this.#bye(fields);
      return;
    }
    if (reinvite !== null) reinvite.onAck?.(ack);
    else this.#events.onAck?.(ack);
  }

  /** No ACK came in 64·T1, its session timer ran out, or a re-INVITE was cancelled too late. */
  onServerBye(): void {
    if (this.over) {
      this.#forget();
      return;
    }
    this.#finish(
      this.#unacknowledged
        ? { kind: 'no-ack' }
        : { kind: 'gone', detail: 'drachtio-server ended the dialog by itself' },
    );
  }

  lost(detail: string): void {
    this.#waiting = null;
    this.#acknowledge = null;
    this.#forget();
    if (!this.over) this.#finish({ kind: 'engine-down', detail });
  }

  shutDown(detail: string): void {
    const fields = [{ name: 'Reason', value: 'SIP;cause=503;text="Shutting Down"' }];
    if (this.over) {
      this.#bye(this.#byeAfterAck ?? fields);
      this.#forget();
      return;
    }
    this.#acknowledge?.();
    this.#bye(fields);
    this.#finish({ kind: 'engine-down', detail });
  }

  heardFrom(source: Source): void {
    this.remote = source;
  }

  onSettled(options: DialogRequestOptions, outcome: DialogRequestOutcome): void {
    const refresh = options.method === 'INVITE' || options.method === 'UPDATE';
    if (options.method === 'INVITE') this.#outgoingInvite = false;
    if (options.method === 'UPDATE' && options.body) this.#outgoingUpdate = false;
    if (this.over) return;
    // §12.2.1.2: a 481 or 408, or no response at all, ends the dialog; silence to INFO or MESSAGE says less (RFC 5057 §5.1).
    const detail =
      outcome.kind === 'fault'
        ? refresh && outcome.fault.kind === 'timeout'
          ? `no answer to ${options.method}`
          : undefined
        : outcome.response.status === 481 || (outcome.response.status === 408 && refresh)
          ? `${outcome.response.status} to ${options.method}`
          : undefined;
    if (detail === undefined) return;
    // After the user has had its `done`.
    queueMicrotask(() => {
      if (this.over) return;
      this.#bye([{ name: 'Reason', value: 'SIP;cause=481;text="Dialog Gone"' }]);
      this.#finish({ kind: 'gone', detail });
    });
  }

  onAnswered(request: IncomingInDialogRequest, status: number): void {
    if (request === this.#incomingUpdate) this.#incomingUpdate = null;
    if (request === this.#incomingInvite) this.#incomingInvite = null;
    if (request.request.method === 'INVITE' && status < 300) {
      this.#answered = request;
      this.awaitAck();
    }
  }

  #onAckTimeout(): void {
    if (!this.#unacknowledged) return;
    this.#unacknowledged = false;
    this.#answered = null;
    if (this.over) {
      this.#bye(this.#byeAfterAck ?? NO_HEADERS);
      this.#forget();
      return;
    }
    this.#bye([{ name: 'Reason', value: 'SIP;cause=408;text="ACK Timeout"' }]);
    this.#finish({ kind: 'no-ack' });
  }

  #onBye(request: SipRequest, wire: WireRequest): void {
    respond(this.via, wire, 200, 'OK', { headers: NO_HEADERS, body: '' });
    if (this.over) {
      this.#forget();
      return;
    }
    this.#acknowledge?.();
    // §15.1.2: "The UAS MUST still respond to any pending requests received for that dialog", with 487.
    this.#incomingInvite?.respond(487, reasonPhrase(487));
    this.#incomingUpdate?.respond(487, reasonPhrase(487));
    this.#finish({ kind: 'bye', request });
  }

  #inviteInProgress(): boolean {
    return this.#outgoingInvite || this.#incomingInvite !== null || this.#answered !== null;
  }

  #offerInProgress(): boolean {
    return this.#inviteInProgress() || this.#outgoingUpdate || this.#incomingUpdate !== null;
  }

  #bye(headers: readonly HeaderField[]): void {
    this.#whenNamed(() => sendBye(this.#context, this.via, this.dialogId, headers), ignore);
  }

  #named(dialogId: string): void {
    this.dialogId = dialogId;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) for (const go of waiting) go();
  }

  #whenNamed(go: () => void, never: () => void): void {
    if (this.dialogId !== '') go();
    else if (this.#waiting !== null) this.#waiting.push(go);
    else queueMicrotask(never);
  }

  #finish(cause: DialogEnd): void {
    this.#close();
    this.#forget();
    this.#incomingInvite?.lost();
    this.#incomingUpdate?.lost();
    this.#events.onEnded(cause);
  }

  #close(): void {
    this.over = true;
    this.#context.tenants.delete(this.localTag);
  }

  /** Nothing more is waited for. */
  #forget(): void {
    this.#context.clock.disarm(this.#ackTimer);
    this.#context.tenants.delete(this.localTag);
    this.#byeAfterAck = null;
  }
}

const LOST: DialogRequestOutcome = {
  kind: 'fault',
  fault: { kind: 'flow-lost', detail: 'the dialog was never made' },
};

/** A re-INVITE that can be cancelled before the dialog has its name. */
class DeferredRequest implements PendingRequest {
  #request: InDialog | null = null;
  #cancelled: readonly HeaderField[] | null = null;

  sent(request: InDialog): void {
    this.#request = request;
    if (this.#cancelled !== null) request.cancel(this.#cancelled);
  }

  cancel(headers: readonly HeaderField[] = NO_HEADERS): void {
    if (this.#request === null) this.#cancelled = headers;
    else this.#request.cancel(headers);
  }
}
