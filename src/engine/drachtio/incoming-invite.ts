/** An INVITE that came in through a drachtio-server, until its final answer. */
import { Timer } from '#lib/clock.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type {
  AcceptOptions,
  Dialog,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  IncomingInvite,
  IncomingInviteEvents,
  ProgressOptions,
  Source,
} from '../engine.js';
import {
  contactField,
  type DrachtioContext,
  isStatus,
  mergeKey,
  newTag,
  readRequest,
  supports,
  type Tenant,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import {
  type AnswerOwner,
  IncomingInDialogRequest,
  type RequestOwner,
  respond,
  sendInDialog,
} from './exchange.js';
import { checked, NO_HEADERS } from './headers.js';
import { Session } from './session.js';
import type { WireRequest } from './srf.js';

/** The server forgets an INVITE that nobody has answered within 64 s; a 100 in time makes it stay. */
const KEEP_MS = 40_000;
/** §13.3.1.1: "a non-100 provisional response at every minute". */
const REFRESH_MS = 60_000;
const QUEUE_MAX = 8;
const NOBODY: IncomingInviteEvents = { onCancel: () => undefined };
const REQUIRE_RELIABLE: HeaderField = { name: 'Require', value: '100rel' };

export class IncomingInviteCall extends Timer implements IncomingInvite, Tenant, RequestOwner, AnswerOwner {
  readonly request: SipRequest;
  readonly source: Source;
  readonly via: ServerListener;
  readonly supportsReliable: boolean;
  readonly requiresReliable: boolean;
  events: IncomingInviteEvents = NOBODY;
  /** Once the server has sent a response. It finds the dialog by it only after the 2xx. */
  dialogId = '';
  readonly #context: DrachtioContext;
  readonly #wire: WireRequest;
  readonly #localTag: string;
  #settled = false;
  #lastProvisional: ProgressOptions | null = null;
  /** A reliable response waits for its PRACK; with a body the 2xx has to wait too (RFC 3262 §3). */
  #outstanding: { readonly hasBody: boolean } | null = null;
  #outstandingSince = 0;
  #reliableSent = false;
  readonly #waiting: ProgressOptions[] = [];
  #deferred: {
    readonly options: AcceptOptions;
    readonly session: Session;
    readonly events: DialogEvents;
  } | null = null;

  constructor(
    context: DrachtioContext,
    via: ServerListener,
    request: SipRequest,
    wire: WireRequest,
    source: Source,
  ) {
    super();
    this.#context = context;
    this.#wire = wire;
    this.via = via;
    this.request = request;
    this.source = source;
    this.#localTag = newTag(context);
    this.requiresReliable = supports(request, 'require', '100rel');
    this.supportsReliable = this.requiresReliable || supports(request, 'supported', '100rel');
    wire.onCancel = (octets) => this.#onCancel(octets);
    context.pending++;
    context.merging.add(mergeKey(request));
    context.tenants.set(this.#localTag, this);
    context.clock.arm(this, KEEP_MS);
  }

  get over(): boolean {
    return this.#settled;
  }

  progress(response: ProgressOptions): void {
    if (this.#settled) return;
    if (!isStatus(response.status, 101, 199)) {
      throw new RangeError(`Provisional status ${response.status} is not 101 to 199`);
    }
    if (!this.supportsReliable || !(response.reliable ?? false)) {
      this.#sendProvisional(response, checked(response.headers));
      return;
    }
    // RFC 3262 §3: "the UAS MUST NOT send a second reliable provisional response until the first is acknowledged".
    if (this.#outstanding !== null) {
      if (this.#waiting.length < QUEUE_MAX) this.#waiting.push(response);
      else this.#context.notice({ kind: 'limit', limit: 'reliable-provisionals', source: this.source });
      return;
    }
    this.#sendReliable(response);
  }

  accept(options: AcceptOptions, events: DialogEvents): Dialog {
    if (this.#settled) throw new Error('accept after the final answer to this INVITE');
    const status = options.status ?? 200;
    if (!isStatus(status, 200, 299)) throw new RangeError(`Answer status ${status} is not 200 to 299`);
    const fields = checked(options.headers);
    this.#release();
    const session = new Session(this.#context, {
      via: this.via,
      callId: this.request.callId,
      localTag: this.#localTag,
      remoteTag: this.request.from.tag ?? '',
      remote: this.source,
      events,
    });
    session.awaitAck();
    if (this.#outstanding?.hasBody === true && this.#waiting.length === 0) {
      // RFC 3262 §3: the 2xx MUST NOT be sent before responses with session descriptions are acknowledged.
      this.#deferred = { options: { ...options, headers: fields }, session, events };
      this.#context.tenants.set(this.#localTag, this);
      this.#context.clock.arm(
        this,
        Math.max(1, this.#outstandingSince + 64 * this.#context.t1 - this.#context.clock.now()),
      );
      return session;
    }
    this.#sendAnswer(options, fields, session);
    return session;
  }

  reject(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#settled) return;
    if (!isStatus(status, 300, 699)) throw new RangeError(`Rejection status ${status} is not 300 to 699`);
    const fields = checked(headers);
    this.#release();
    this.#final(status, reason, fields, body);
  }

  earlyRequest(
    _early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    if (this.#settled || this.dialogId === '') {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'no such early dialog' } }),
      );
      return;
    }
    // The server says that it does not know the dialog until the 2xx; asked all the same, so that one that does serves.
    sendInDialog(this.#context, this, options, done);
  }

  onRequest(request: SipRequest, wire: WireRequest, source: Source): void {
    if (
      request.callId !== this.request.callId ||
      (request.from.tag ?? '') !== (this.request.from.tag ?? '')
    ) {
      respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    switch (request.method) {
      case 'PRACK':
        this.#onPrack(request, wire);
        break;
      case 'BYE':
        // §15: the caller may end an early dialog with BYE; the INVITE is then answered 487.
        respond(this.via, wire, 200, 'OK', { headers: NO_HEADERS, body: '' });
        this.#cancelled({ kind: 'cancel', request }, true);
        break;
      case 'INVITE': {
        const headers = [{ name: 'Retry-After', value: String(request.cseq.number % 10) }];
        respond(this.via, wire, 500, '', { headers, body: '' });
        break;
      }
      default:
        this.#handUp(request, wire, source);
    }
  }

  onAck(): void {
    // An ACK before our 2xx belongs to nothing.
  }

  onServerBye(): void {
    this.#cancelled({ kind: 'lost', detail: 'drachtio-server ended the dialog by itself' }, false);
  }

  lost(detail: string): void {
    this.#cancelled({ kind: 'lost', detail }, false);
  }

  shutDown(detail: string): void {
    const deferred = this.#deferred;
    if (deferred !== null) {
      this.#abandonDeferred(503, { kind: 'engine-down', detail });
      return;
    }
    if (this.#settled) return;
    this.reject(503, reasonPhrase(503), [{ name: 'Retry-After', value: '5' }]);
    this.events.onCancel({ kind: 'lost', detail });
  }

  heardFrom(): void {}
  onSettled(): void {}
  onAnswered(): void {}

  /** `Timer`: no response yet, a minute since the last one, or no PRACK. */
  override fire(): void {
    const { clock, t1 } = this.#context;
    if (this.#deferred !== null) {
      this.#abandonDeferred(504, { kind: 'no-ack' });
      return;
    }
    if (this.#settled) return;
    if (this.#outstanding !== null) {
      const left = this.#outstandingSince + 64 * t1 - clock.now();
      if (left > 0) {
        clock.arm(this, left);
        return;
      }
      this.#outstanding = null;
      this.#waiting.length = 0;
      clock.arm(this, REFRESH_MS);
      if (this.events.onPrackTimeout !== undefined) this.events.onPrackTimeout(0);
      else this.reject(504, reasonPhrase(504));
      return;
    }
    const last = this.#lastProvisional;
    if (last === null) this.#respondProvisional(100, reasonPhrase(100), NO_HEADERS, '');
    else if (this.#reliableSent)
      this.#respondProvisional(183, reasonPhrase(183), [contactField(this.via)], '');
    else this.#sendProvisional(last, checked(last.headers));
    clock.arm(this, REFRESH_MS);
  }

  #sendReliable(response: ProgressOptions): void {
    const hasBody = (response.body ?? '') !== '';
    this.#outstanding = { hasBody };
    this.#outstandingSince = this.#context.clock.now();
    this.#reliableSent = true;
    this.#sendProvisional(response, [REQUIRE_RELIABLE, ...checked(response.headers)]);
    this.#context.clock.arm(this, 64 * this.#context.t1);
  }

  #sendProvisional(response: ProgressOptions, fields: readonly HeaderField[]): void {
    this.#lastProvisional = response;
    if (this.#outstanding === null) this.#context.clock.arm(this, REFRESH_MS);
    this.#respondProvisional(
      response.status,
      response.reason,
      [contactField(this.via), ...fields],
      response.body ?? '',
    );
  }

  #respondProvisional(status: number, reason: string, headers: readonly HeaderField[], body: Octets): void {
    respond(
      this.via,
      this.#wire,
      status,
      reason,
      { headers, body, toTag: this.#localTag },
      (failure, dialogId) => {
        if (failure === null) this.dialogId = dialogId;
        else if (isGone(failure)) this.#cancelled({ kind: 'lost', detail: failure.slice(0, 200) }, false);
      },
    );
  }

  #onPrack(request: SipRequest, wire: WireRequest): void {
    // The server has matched RAck already.
    this.#outstanding = null;
    if (request.body !== '' && this.request.body !== '') {
      if (this.events.onRequest === undefined || this.#settled) {
        respond(this.via, wire, 488, '', { headers: NO_HEADERS, body: '' });
      } else {
        this.events.onRequest(new IncomingInDialogRequest(this.#context, request, wire, this), 0);
      }
    } else {
      respond(this.via, wire, 200, 'OK', { headers: NO_HEADERS, body: '' });
      if (!this.#settled) this.events.onPrack?.(request, 0);
    }
    const deferred = this.#deferred;
    if (deferred !== null) {
      this.#deferred = null;
      this.#context.clock.disarm(this);
      if (deferred.session.over) this.#final(480, reasonPhrase(480), NO_HEADERS, '');
      else this.#sendAnswer(deferred.options, deferred.options.headers ?? NO_HEADERS, deferred.session);
      return;
    }
    if (this.#settled) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) this.#sendReliable(waiting);
    else this.#context.clock.arm(this, REFRESH_MS);
  }

  #handUp(request: SipRequest, wire: WireRequest, _source: Source): void {
    if (this.#settled || this.events.onRequest === undefined) {
      respond(this.via, wire, request.method === 'UPDATE' ? 504 : 501, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    this.events.onRequest(new IncomingInDialogRequest(this.#context, request, wire, this), 0);
  }

  #onCancel(octets: Octets): void {
    const cancel = readRequest(octets);
    // drachtio-srf finds the INVITE by its Call-ID alone; the branch tells whether it is this one (§9.2).
    if (cancel !== undefined && cancel.topVia.branch !== this.request.topVia.branch) return;
    if (this.#deferred !== null) {
      this.#abandonDeferred(0, { kind: 'gone', detail: 'cancelled before the answer was sent' });
      return;
    }
    this.#cancelled(
      cancel === undefined ? { kind: 'lost', detail: 'cancelled' } : { kind: 'cancel', request: cancel },
      false,
    );
  }

  #cancelled(cause: Parameters<IncomingInviteEvents['onCancel']>[0], answer: boolean): void {
    if (this.#deferred !== null) {
      this.#abandonDeferred(answer ? 487 : 0, { kind: 'gone', detail: 'ended before the answer was sent' });
      return;
    }
    if (this.#settled) return;
    this.#release();
    if (answer) this.#final(487, reasonPhrase(487), NO_HEADERS, '');
    this.events.onCancel(cause);
  }

  /** The 2xx that waited for a PRACK will not be sent: the INVITE fails, and the dialog of our user ends. */
  #abandonDeferred(status: number, cause: Parameters<DialogEvents['onEnded']>[0]): void {
    const deferred = this.#deferred;
    if (deferred === null) return;
    this.#deferred = null;
    this.#context.clock.disarm(this);
    this.#context.tenants.delete(this.#localTag);
    const wasOver = deferred.session.over;
    deferred.session.over = true;
    if (status !== 0) this.#final(status, reasonPhrase(status), NO_HEADERS, '');
    if (!wasOver) deferred.events.onEnded(cause);
  }

  #sendAnswer(options: AcceptOptions, fields: readonly HeaderField[], session: Session): void {
    this.#context.tenants.set(this.#localTag, session);
    // The server makes a dialog, and repeats the answer, for status 200 only.
    const parts = { headers: fields, body: options.body ?? '', toTag: this.#localTag };
    respond(this.via, this.#wire, 200, options.reason || 'OK', parts, (failure, dialogId) => {
      if (failure !== null && !isGone(failure)) this.#final(500, reasonPhrase(500), NO_HEADERS, '');
      session.answerSent(failure, dialogId);
    });
  }

  #final(status: number, reason: string, headers: readonly HeaderField[], body: Octets): void {
    respond(this.via, this.#wire, status, reason, { headers, body, toTag: this.#localTag });
  }

  #release(): void {
    this.#settled = true;
    this.#context.pending--;
    this.#context.merging.delete(mergeKey(this.request));
    this.#context.clock.disarm(this);
    this.#context.tenants.delete(this.#localTag);
  }
}

/** The transaction or its connection is no more; there is nobody to answer. */
function isGone(failure: string): boolean {
  return /unknown transaction|has been shutdown|closing socket|socket connection closed|^down$/.test(failure);
}
