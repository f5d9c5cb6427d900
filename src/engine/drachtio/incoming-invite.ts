/**
 * An INVITE that came in through a drachtio-server, until its final answer.
 *
 * Nothing is sent reliably (RFC 3262): a reliable response that the caller does not acknowledge in 64·T1 kills
 * drachtio-server 0.9.10 (segmentation fault), so any caller could. A caller that demands 100rel gets 100 and the
 * final answer, since RFC 3262 §3 allows it no other unreliable ones.
 */
import { Timer } from '#lib/clock.js';
import { hasOptionTag } from '#sip/lists.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
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
  Source,
} from '../engine.js';
import {
  contactField,
  type DrachtioContext,
  type Estate,
  isStatus,
  mergeKey,
  newTag,
  readRequest,
  type Tenant,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { checked, NO_HEADERS, peerRefreshes } from './headers.js';
import { type AnswerOwner, IncomingInDialogRequest, respond } from './incoming-request.js';
import { Session } from './session.js';
import type { WireRequest } from './wire.js';

/** The server forgets an INVITE that nobody has answered within 64 s; a 100 in time makes it stay. */
const KEEP_MS = 40_000;
/** §13.3.1.1: "a non-100 provisional response at every minute". */
const REFRESH_MS = 60_000;
const NOBODY: IncomingInviteEvents = { onCancel: () => undefined };

export class IncomingInviteCall extends Timer implements IncomingInvite, Tenant, AnswerOwner {
  readonly request: SipRequest;
  readonly source: Source;
  readonly via: ServerListener;
  readonly supportsReliable = false;
  readonly requiresReliable: boolean;
  events: IncomingInviteEvents = NOBODY;
  readonly #context: DrachtioContext;
  readonly #wire: WireRequest;
  readonly #localTag: string;
  #settled = false;
  #lastProvisional: ProgressOptions | null = null;

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
    this.requiresReliable = hasOptionTag(request, 'require', '100rel');
    wire.onCancel = (octets) => this.#onCancel(octets);
    context.pending++;
    context.merging.add(mergeKey(request));
    context.tenants.set(this.#localTag, this);
    context.clock.arm(this, KEEP_MS);
  }

  get estate(): Estate {
    return { kind: 'incoming', transactionId: this.#wire.transactionId };
  }

  progress(response: ProgressOptions): void {
    if (this.#settled) return;
    if (!isStatus(response.status, 101, 199)) {
      throw new RangeError(`Provisional status ${response.status} is not 101 to 199`);
    }
    const fields = checked(response.headers);
    if (!this.requiresReliable) this.#sendProvisional(response, fields);
  }

  accept(options: AcceptOptions, events: DialogEvents): Dialog {
    if (this.#settled) throw new Error('accept after the final answer to this INVITE');
    const status = options.status ?? 200;
    if (!isStatus(status, 200, 299)) throw new RangeError(`Answer status ${status} is not 200 to 299`);
    const fields = peerRefreshes(checked(options.headers), this.request);
    this.#release();
    const session = new Session(this.#context, {
      via: this.via,
      callId: this.request.callId,
      localTag: this.#localTag,
      remoteTag: this.request.from.tag ?? '',
      remote: this.source,
      remoteSeq: this.request.cseq.number,
      events,
    });
    session.awaitAck();
    // The server makes a dialog, and repeats the answer, for status 200 only.
    const parts = { headers: [this.#contact(), ...fields], body: options.body ?? '', toTag: this.#localTag };
    respond(this.via, this.#wire, 200, options.reason || 'OK', parts, (failure, dialogId) => {
      if (failure !== null && !isGone(failure)) this.#final(500, reasonPhrase(500), NO_HEADERS, '');
      session.answerSent(failure, dialogId);
    });
    return session;
  }

  reject(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#settled) return;
    if (!isStatus(status, 300, 699)) throw new RangeError(`Rejection status ${status} is not 300 to 699`);
    const fields = checked(headers);
    this.#release();
    this.#final(status, reason, fields, body);
  }

  /** The server knows the dialog only after the 2xx. */
  earlyRequest(
    _early: number,
    _options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    const detail = 'drachtio-server sends no requests in an early dialog with a caller';
    queueMicrotask(() => done({ kind: 'fault', fault: { kind: 'flow-lost', detail } }));
  }

  onRequest(request: SipRequest, wire: WireRequest): void {
    if (
      request.callId !== this.request.callId ||
      (request.from.tag ?? '') !== (this.request.from.tag ?? '')
    ) {
      respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    switch (request.method) {
      case 'PRACK':
        respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
        break;
      case 'BYE':
        // §15: the caller may end an early dialog with BYE; the INVITE is then answered 487.
        respond(this.via, wire, 200, 'OK', { headers: NO_HEADERS, body: '' });
        if (this.#settled) return;
        this.#release();
        this.#final(487, reasonPhrase(487), NO_HEADERS, '');
        this.events.onCancel({ kind: 'cancel', request });
        break;
      case 'INVITE': {
        const headers = [{ name: 'Retry-After', value: String(request.cseq.number % 10) }];
        respond(this.via, wire, 500, '', { headers, body: '' });
        break;
      }
      default:
        if (this.#settled || this.events.onRequest === undefined) {
          const status = this.#settled && request.method === 'UPDATE' ? 504 : 501;
          respond(this.via, wire, status, '', { headers: NO_HEADERS, body: '' });
          return;
        }
        this.events.onRequest(new IncomingInDialogRequest(this.#context, request, wire, this), 0);
    }
  }

  onAck(): void {
    // An ACK before our 2xx belongs to nothing.
  }

  onServerBye(): void {
    this.#lost({ kind: 'lost', detail: 'drachtio-server ended the dialog by itself' });
  }

  lost(detail: string): void {
    this.#lost({ kind: 'lost', detail });
  }

  shutDown(detail: string): void {
    if (this.#settled) return;
    this.reject(503, reasonPhrase(503), [{ name: 'Retry-After', value: '5' }]);
    this.events.onCancel({ kind: 'lost', detail });
  }

  onAnswered(): void {}

  /** `Timer`: no response yet, or a minute since the last one. */
  override fire(): void {
    if (this.#settled) return;
    const last = this.#lastProvisional;
    if (last === null) this.#respondProvisional(100, reasonPhrase(100), NO_HEADERS, '');
    else this.#sendProvisional(last, checked(last.headers));
    this.#context.clock.arm(this, REFRESH_MS);
  }

  #sendProvisional(response: ProgressOptions, fields: readonly HeaderField[]): void {
    this.#lastProvisional = response;
    this.#context.clock.arm(this, REFRESH_MS);
    const headers = [this.#contact(), ...fields];
    this.#respondProvisional(response.status, response.reason, headers, response.body ?? '');
  }

  #respondProvisional(status: number, reason: string, headers: readonly HeaderField[], body: Octets): void {
    respond(this.via, this.#wire, status, reason, { headers, body, toTag: this.#localTag }, (failure) => {
      if (failure !== null && isGone(failure)) this.#lost({ kind: 'lost', detail: failure.slice(0, 200) });
    });
  }

  #onCancel(octets: Octets): void {
    const cancel = readRequest(octets);
    // drachtio-srf finds the INVITE by its Call-ID alone; the branch tells whether it is this one (§9.2).
    if (cancel !== undefined && cancel.topVia.branch !== this.request.topVia.branch) return;
    this.#lost(
      cancel === undefined ? { kind: 'lost', detail: 'cancelled' } : { kind: 'cancel', request: cancel },
    );
  }

  #contact(): HeaderField {
    return contactField(this.via, isSips(this.request.uri));
  }

  #lost(cause: Parameters<IncomingInviteEvents['onCancel']>[0]): void {
    if (this.#settled) return;
    this.#release();
    this.events.onCancel(cause);
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
