/** An INVITE that came in, until its final answer (RFC 3261 §13.3, RFC 3262 §3). */
import { Timer } from '#lib/clock.js';
import { hasOptionTag } from '#sip/lists.js';
import type { SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type {
  AcceptOptions,
  Dialog,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  IncomingInvite,
  IncomingInviteEvents,
  ProgressOptions,
  RefusalField,
  Source,
} from '../../engine.js';
import type { ServerTransaction, ServerUser } from '../transaction/transaction.js';
import { contactLine, type DialogContext, linesOf, newTag } from './context.js';
import { DialogState } from './dialog-state.js';
import { type FlowWatch, watchFlow } from './flow-watch.js';
import { IncomingInDialogRequest, type RequestOwner } from './in-dialog-request.js';
import { type OutgoingInDialogRequest, type RequestWatcher, sendInDialog } from './outgoing-in-dialog.js';
import { type AwaitsPrack, acknowledges, ReliableProvisional } from './reliable-provisional.js';
import { Session } from './session.js';
import type { DialogTenant } from './table.js';

/**
 * §13.3.1.1: a UAS "MUST send a non-100 provisional response at every minute, to handle the possibility of lost
 * provisional responses" and to keep proxies on the way from giving up.
 */
const REFRESH_MS = 60_000;
/** Reliable responses that wait for the PRACK of the one before. More than a call ever needs, and a bound. */
const QUEUE_MAX = 8;

/** One early dialog towards the caller; several when the callee's side forks. */
interface Early extends RequestOwner {
  readonly index: number;
  readonly localTag: string;
  /** Made when a request is to be sent in it. */
  state: DialogState | null;
  remoteSeq: number;
  rseq: number;
  outstanding: ReliableProvisional | null;
  readonly waiting: ProgressOptions[];
}

const NOBODY: IncomingInviteEvents = { onCancel: () => undefined };

export class IncomingInviteCall
  extends Timer
  implements IncomingInvite, ServerUser, DialogTenant, AwaitsPrack
{
  readonly request: SipRequest;
  readonly source: Source;
  readonly supportsReliable: boolean;
  readonly requiresReliable: boolean;
  events: IncomingInviteEvents = NOBODY;
  readonly #context: DialogContext;
  readonly #transaction: ServerTransaction;
  readonly #earlies: Early[] = [];
  readonly #contact: Octets;
  readonly #recordRoute: Octets;
  readonly #watch: FlowWatch | undefined;
  #lastProvisional: Octets = '';
  /** A 2xx that has to wait for the PRACK of a response with a body. */
  #deferred: { options: AcceptOptions; session: Session; early: Early } | null = null;
  #deferredEvents: DialogEvents | null = null;
  #settled = false;

  constructor(context: DialogContext, transaction: ServerTransaction) {
    super();
    const request = transaction.request;
    this.#context = context;
    this.#transaction = transaction;
    this.request = request;
    this.source = transaction.source;
    this.requiresReliable = hasOptionTag(request, 'require', '100rel');
    this.supportsReliable = this.requiresReliable || hasOptionTag(request, 'supported', '100rel');
    const { listener } = transaction.source;
    this.#contact = contactLine(context.transports.sentBy(listener), listener.transport, isSips(request.uri));
    this.#recordRoute = recordRouteLines(request);
    transaction.user = this;
    // A caller whose connection is gone can be told nothing more.
    this.#watch = watchFlow(context.transports, this.source.flow, (detail) => this.#flowLost(detail));
  }

  progress(response: ProgressOptions): void {
    if (this.#settled || this.#transaction.answered) return;
    if (response.status < 101 || response.status > 199) {
      throw new RangeError(`Provisional status ${response.status} is not 101 to 199`);
    }
    const early = this.#early(response.early ?? 0);
    if (!this.supportsReliable || !(response.reliable ?? false)) {
      this.#sendProvisional(early, response, '');
      return;
    }
    // RFC 3262 §3: "the UAS MUST NOT send a second reliable provisional response until the first is acknowledged".
    if (early.outstanding !== null) {
      if (early.waiting.length < QUEUE_MAX) early.waiting.push(response);
      else this.#context.notice({ kind: 'limit', limit: 'reliable-provisionals', source: this.source });
      return;
    }
    this.#sendReliable(early, response);
  }

  accept(options: AcceptOptions, events: DialogEvents): Dialog {
    if (this.#settled) throw new Error('accept after the final answer to this INVITE');
    const early = this.#early(options.early ?? 0);
    const state = early.state ?? DialogState.ofServer(this.request, this.source, early.localTag);
    state.remoteSeq = Math.max(state.remoteSeq, early.remoteSeq);
    this.#settled = true;
    const session = new Session(this.#context, state, events);
    if (early.outstanding?.hasBody === true && early.waiting.length === 0) {
      // "If the UAS … the final response is a 2xx … it MUST NOT be sent until the provisional responses with session
      // descriptions are acknowledged." PRACKs still come to us meanwhile.
      this.#deferred = { options, session, early };
      this.#deferredEvents = events;
      session.awaitSending(() => this.#withdraw());
      this.#context.dialogs.add(early.localTag, this);
      return session;
    }
    this.#sendAnswer(options, session, early);
    return session;
  }

  reject(status: number, reason: string, headers?: readonly RefusalField[], body: Octets = ''): void {
    if (this.#settled) return;
    if (status < 300 || status > 699) throw new RangeError(`Rejection status ${status} is not 300 to 699`);
    const lines = linesOf(headers);
    const fewer =
      headers?.some(({ ifRoom }) => ifRoom) === true
        ? linesOf(headers.filter(({ ifRoom }) => ifRoom !== true))
        : undefined;
    this.#release();
    this.#transaction.respond(status, reason || reasonPhrase(status), lines, body, undefined, fewer);
  }

  earlyRequest(
    index: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    const early = this.#earlies[index];
    if (this.#settled || early === undefined) {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'no such early dialog' } }),
      );
      return;
    }
    early.state ??= DialogState.ofServer(this.request, this.source, early.localTag);
    sendInDialog(this.#context, early.state, options, WATCHER, done);
  }

  /** `ServerUser`: the transaction has answered the CANCEL with 200. */
  onCancel(cancel: SipRequest): void {
    if (this.#settled) {
      // Our 2xx waits for a PRACK: for the caller the INVITE is still pending, so the CANCEL counts.
      if (this.#deferred !== null) this.#abandonDeferred(487, { kind: 'bye', request: cancel });
      return;
    }
    this.#release();
    this.#transaction.respond(487, reasonPhrase(487), '', '');
    this.events.onCancel({ kind: 'cancel', request: cancel });
  }

  onLost(detail: string): void {
    if (this.#settled) return;
    this.#release();
    this.events.onCancel({ kind: 'lost', detail });
  }

  onDialogRequest(transaction: ServerTransaction, request: SipRequest, localTag: string): void {
    const early = this.#earlies.find((candidate) => candidate.localTag === localTag);
    if (
      early === undefined ||
      request.callId !== this.request.callId ||
      (request.from.tag ?? '') !== (this.request.from.tag ?? '')
    ) {
      transaction.respond(481, reasonPhrase(481), '', '');
      return;
    }
    if (request.cseq.number < early.remoteSeq) {
      transaction.respond(500, reasonPhrase(500), 'Retry-After: 1\r\n', '');
      return;
    }
    early.remoteSeq = request.cseq.number;
    switch (request.method) {
      case 'PRACK':
        this.#onPrack(transaction, request, early);
        break;
      case 'BYE':
        // §15: the caller may end an early dialog with BYE; the INVITE is then answered 487.
        transaction.respond(200, 'OK', '', '');
        this.onCancel(request);
        break;
      case 'INVITE':
        // §14.2: a second INVITE before the final response to the first.
        transaction.respond(500, reasonPhrase(500), `Retry-After: ${request.cseq.number % 10}\r\n`, '');
        break;
      default:
        if (this.#settled || this.events.onRequest === undefined) {
          transaction.respond(501, reasonPhrase(501), '', '');
        } else {
          this.events.onRequest(new IncomingInDialogRequest(this.#context, transaction, early), early.index);
        }
    }
  }

  onDialogAck(): void {
    // An ACK before our 2xx belongs to nothing.
  }

  onPrackTimeout(index: number): void {
    const early = this.#earlies[index];
    if (early !== undefined) {
      early.outstanding = null;
      early.waiting.length = 0;
    }
    if (this.#deferred !== null) {
      this.#abandonDeferred(504, { kind: 'no-ack' });
      return;
    }
    if (this.#settled) return;
    if (this.events.onPrackTimeout !== undefined) this.events.onPrackTimeout(index);
    else this.reject(504, reasonPhrase(504));
  }

  shutDown(detail: string): void {
    if (this.#deferred !== null) {
      this.#abandonDeferred(503, { kind: 'engine-down', detail });
      return;
    }
    if (this.#settled) return;
    this.reject(503, reasonPhrase(503), [{ name: 'Retry-After', value: '5' }]);
    this.events.onCancel({ kind: 'lost', detail });
  }

  /** `Timer`: a minute has passed since the last provisional response. */
  override fire(): void {
    if (this.#settled || this.#lastProvisional === '') return;
    // A reliable response that is being retransmitted needs no refresh, and must not be repeated once acknowledged.
    if (this.#earlies.every((early) => early.outstanding === null && early.rseq === 0)) {
      this.#transaction.resend(this.#lastProvisional);
    } else {
      this.#transaction.respond(183, reasonPhrase(183), '', '', this.#earlies[0]?.localTag);
    }
    this.#context.clock.arm(this, REFRESH_MS);
  }

  #onPrack(transaction: ServerTransaction, request: SipRequest, early: Early): void {
    const outstanding = early.outstanding;
    // RFC 3262 §3: RAck must name RSeq, CSeq number and method, else 481.
    if (outstanding === null || !acknowledges(request, outstanding.rseq, this.request.cseq.number)) {
      transaction.respond(481, reasonPhrase(481), '', '');
      return;
    }
    outstanding.stop();
    early.outstanding = null;
    if (request.body !== '' && this.request.body !== '') {
      // The INVITE made the first offer, so this is another one; only the callee's side can answer it.
      if (this.events.onRequest === undefined || this.#settled) {
        transaction.respond(488, reasonPhrase(488), '', '');
      } else {
        this.events.onRequest(new IncomingInDialogRequest(this.#context, transaction, early), early.index);
      }
    } else {
      transaction.respond(200, 'OK', '', '');
      if (!this.#settled) this.events.onPrack?.(request, early.index);
    }
    this.#next(early);
  }

  #next(early: Early): void {
    const deferred = this.#deferred;
    if (deferred !== null && deferred.early === early) {
      this.#deferred = null;
      this.#deferredEvents = null;
      this.#sendAnswer(deferred.options, deferred.session, early);
      return;
    }
    if (this.#settled) return;
    const waiting = early.waiting.shift();
    if (waiting !== undefined) this.#sendReliable(early, waiting);
  }

  #sendReliable(early: Early, response: ProgressOptions): void {
    // §3: "the initial value … MUST be between 1 and 2**31 - 1"; later ones rise by one.
    early.rseq = early.rseq === 0 ? 1 + early.index * 1000 : early.rseq + 1;
    const octets = this.#sendProvisional(early, response, `Require: 100rel\r\nRSeq: ${early.rseq}\r\n`);
    if (octets === '') return;
    early.outstanding = new ReliableProvisional(this.#context, this.#transaction, this, {
      early: early.index,
      rseq: early.rseq,
      octets,
      hasBody: (response.body ?? '') !== '',
    });
  }

  #sendProvisional(early: Early, response: ProgressOptions, reliableLines: Octets): Octets {
    const octets = this.#transaction.respond(
      response.status,
      response.reason || reasonPhrase(response.status),
      this.#contact + this.#recordRoute + reliableLines + linesOf(response.headers),
      response.body ?? '',
      early.localTag,
    );
    this.#lastProvisional = octets;
    this.#context.clock.arm(this, REFRESH_MS);
    return octets;
  }

  #sendAnswer(options: AcceptOptions, session: Session, early: Early): void {
    const status = options.status ?? 200;
    if (status < 200 || status > 299) throw new RangeError(`Answer status ${status} is not 200 to 299`);
    const lines = this.#contact + this.#recordRoute + linesOf(options.headers);
    // RFC 3262 §3: a PRACK may be under way while the 2xx overtakes it; it still gets its 200.
    if (early.outstanding !== null) session.awaitPrack(early.outstanding.rseq, this.request.cseq.number);
    this.#release();
    this.#context.dialogs.add(early.localTag, session);
    const octets = this.#transaction.respond(
      status,
      options.reason || reasonPhrase(status),
      lines,
      options.body ?? '',
      early.localTag,
    );
    session.awaitAck(this.#transaction, this.request.cseq.number, octets);
  }

  /** The 2xx that waited for a PRACK will not be sent: the INVITE fails, and the dialog of our user ends. */
  #abandonDeferred(status: number, cause: Parameters<DialogEvents['onEnded']>[0]): void {
    const events = this.#deferredEvents;
    this.#deferred = null;
    this.#deferredEvents = null;
    this.#release();
    this.#transaction.respond(status, reasonPhrase(status), '', '');
    events?.onEnded(cause);
  }

  /** The caller's connection closed. Without a final response its transaction, which has no timer, would stay. */
  #flowLost(detail: string): void {
    if (this.#settled) return;
    this.#release();
    this.#transaction.respond(487, reasonPhrase(487), '', '');
    this.events.onCancel({ kind: 'lost', detail });
  }

  /** Our user ended the dialog while its 2xx was waiting: the caller gets a final answer all the same. */
  #withdraw(): void {
    this.#deferred = null;
    this.#deferredEvents = null;
    this.#release();
    this.#transaction.respond(480, reasonPhrase(480), '', '');
  }

  #release(): void {
    this.#settled = true;
    this.#watch?.stop();
    this.#context.clock.disarm(this);
    for (const early of this.#earlies) {
      early.outstanding?.stop();
      early.outstanding = null;
      early.waiting.length = 0;
      this.#context.dialogs.remove(early.localTag);
    }
  }

  #early(index: number): Early {
    const known = this.#earlies[index];
    if (known !== undefined) return known;
    if (index !== this.#earlies.length)
      throw new RangeError(`Early dialog ${index} before ${this.#earlies.length}`);
    const early: Early = {
      index,
      localTag: index === 0 ? this.#transaction.localTag : newTag(this.#context),
      state: null,
      remoteSeq: this.request.cseq.number,
      rseq: 0,
      outstanding: null,
      waiting: [],
      onAnswered: () => undefined,
    };
    this.#earlies.push(early);
    this.#context.dialogs.add(early.localTag, this);
    return early;
  }
}

const WATCHER: RequestWatcher = {
  onSettled: (_request: OutgoingInDialogRequest, _outcome: DialogRequestOutcome) => undefined,
  over: false,
};

/** §12.1.1: "The UAS MUST copy all Record-Route header field values from the request into the response". */
function recordRouteLines(request: SipRequest): Octets {
  if (!request.headers.has('record-route')) return '';
  let lines = '';
  for (const value of request.headers.all('record-route')) lines += `Record-Route: ${value}\r\n`;
  return lines;
}
