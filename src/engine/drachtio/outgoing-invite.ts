/** An INVITE that we send through a drachtio-server, until its final answer. */
import { Timer } from '#lib/clock.js';
import { hasOptionTag, optionTags } from '#sip/lists.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type {
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  Source,
} from '../engine.js';
import { type EngineFault, isFault } from '../faults.js';
import {
  contactField,
  DEFAULT_MAX_FORWARDS,
  type DrachtioContext,
  dialogIdOf,
  type Estate,
  ignore,
  inventedFault,
  linkFault,
  newCallId,
  newTag,
  reachedLimit,
  readResponse,
  refusalFault,
  type Tenant,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { acknowledge, type RequestOwner, sendInDialog } from './exchange.js';
import { checked, NO_HEADERS, peerRefreshes, withType } from './headers.js';
import { type AnswerOwner, IncomingInDialogRequest, respond } from './incoming-request.js';
import { Session } from './session.js';
import type { WireRequest, WireRequestEvents, WireResponse, WireTransaction } from './wire.js';

const DEFAULT_TIMEOUT_MS = 180_000;
const FORKS_MAX = 16;

export class OutgoingInviteCall
  extends Timer
  implements OutgoingInvite, Tenant, WireRequestEvents, RequestOwner, AnswerOwner
{
  dialogEvents: DialogEvents | undefined = undefined;
  dialogId = '';
  readonly #context: DrachtioContext;
  readonly #events: OutgoingInviteEvents;
  readonly #callId: Octets;
  readonly #localTag: string;
  readonly #cseq: number;
  readonly #timeoutMs: number;
  #via: ServerListener | null = null;
  #transaction: WireTransaction | null = null;
  /** To tags of early dialogs in order of appearance, with the last RSeq of each. */
  readonly #forks: { readonly tag: string; lastRSeq: number }[] = [];
  #cancelHeaders: readonly HeaderField[] | null = null;
  #cancelled = false;
  #timedOut = false;
  #heard = false;
  #settled = false;
  #counted = false;

  constructor(context: DrachtioContext, options: OutgoingInviteOptions, events: OutgoingInviteEvents) {
    super();
    this.#context = context;
    this.#events = events;
    this.#callId = options.repeat?.callId ?? newCallId(context);
    this.#localTag = options.repeat?.fromTag ?? newTag(context);
    this.#cseq = options.repeat?.cseq ?? 1;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  get via(): ServerListener {
    if (this.#via === null) throw new Error('no server was chosen for this INVITE');
    return this.#via;
  }

  get estate(): Estate | undefined {
    if (this.#transaction === null) return undefined;
    const dialogId = dialogIdOf(this.#callId, this.#localTag);
    return { kind: 'outgoing', transactionId: this.#transaction.id, dialogId };
  }

  get over(): boolean {
    return this.#settled;
  }

  /** A fault found at once is reported later, never from inside this call. */
  send(options: OutgoingInviteOptions): void {
    const fault = this.#trySend(options);
    if (fault !== undefined) queueMicrotask(() => this.fail(fault));
  }

  #trySend(options: OutgoingInviteOptions): EngineFault | undefined {
    const context = this.#context;
    const limit = reachedLimit(context);
    if (limit !== undefined) {
      context.notice({ kind: 'limit', limit });
      return { kind: 'capacity', detail: `${context.limits[limit]} ${limit} are in progress` };
    }
    const outlet = context.endpoints.outlet(options.target);
    if (isFault(outlet)) return outlet;
    const { via, proxy } = outlet;
    this.#via = via;
    const body = options.body ?? '';
    const headers: HeaderField[] = [
      { name: 'Max-Forwards', value: String(options.maxForwards ?? DEFAULT_MAX_FORWARDS) },
      { name: 'From', value: `${options.from};tag=${this.#localTag}` },
      { name: 'To', value: options.to },
      { name: 'Call-ID', value: this.#callId },
      { name: 'CSeq', value: `${this.#cseq} INVITE` },
    ];
    headers.push(contactField(via, isSips(options.uri), options.contactUser));
    const own = peerRefreshes(checked(options.headers));
    headers.push(...withType(body === '' ? withoutReliable(own) : own, body));
    const refusal = via.link.request({ method: 'INVITE', uri: options.uri, proxy, headers, body }, this);
    if (refusal !== null) return linkFault(refusal);
    this.#counted = true;
    context.pending++;
    context.tenants.set(this.#localTag, this);
    context.clock.arm(this, this.#timeoutMs);
    return undefined;
  }

  cancel(headers?: readonly HeaderField[]): void {
    if (this.#settled || this.#cancelled) return;
    this.#cancelled = true;
    this.#cancelHeaders = checked(headers);
    this.#sendCancel();
  }

  earlyRequest(
    index: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    if (this.#settled || this.#forks[index] === undefined || this.dialogId === '') {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'no such early dialog' } }),
      );
      return;
    }
    sendInDialog(this.#context, this, options, done);
  }

  onSent(transaction: WireTransaction): void {
    this.#transaction = transaction;
    if (this.#settled) {
      // Given up meanwhile.
      this.#cancelHeaders ??= NO_HEADERS;
      this.#sendCancel();
      return;
    }
    this.#events.onSent?.({ callId: this.#callId, fromTag: this.#localTag, cseq: this.#cseq });
    if (this.#cancelled) this.#sendCancel();
  }

  onRefused(reason: string): void {
    this.fail(refusalFault(reason));
  }

  onResponse(wire: WireResponse): void {
    const response = readResponse(wire);
    if (wire.status < 200) this.#onProvisional(wire, response);
    else if (wire.status < 300) this.#onSuccess(wire, response);
    else this.#onRejection(wire, response);
  }

  fail(fault: EngineFault): void {
    if (this.#settled) return;
    this.#release();
    this.#events.onFault(this.#timedOut ? this.#timeout() : fault);
  }

  /** `Timer`: no final answer, or none to our CANCEL in 64·T1 (the server then forgets the INVITE without a word). */
  override fire(): void {
    if (this.#settled) return;
    if (this.#cancelled) {
      this.fail({ kind: 'timeout', heard: this.#heard, detail: 'no final answer to the CANCEL' });
      return;
    }
    this.#timedOut = true;
    this.#cancelled = true;
    this.#cancelHeaders = [{ name: 'Reason', value: 'SIP;cause=408;text="Request Timeout"' }];
    this.#sendCancel();
  }

  onRequest(request: SipRequest, wire: WireRequest, _source: Source): void {
    const index = this.#forks.findIndex(({ tag }) => tag === (request.from.tag ?? ''));
    if (index < 0 || request.callId !== this.#callId) {
      respond(this.via, wire, 481, '', { headers: NO_HEADERS, body: '' });
    } else if (request.method === 'BYE') {
      respond(this.via, wire, 200, 'OK', { headers: NO_HEADERS, body: '' });
    } else if (request.method === 'INVITE') {
      respond(this.via, wire, 491, '', { headers: NO_HEADERS, body: '' });
    } else if (this.#events.onRequest === undefined) {
      respond(this.via, wire, 501, '', { headers: NO_HEADERS, body: '' });
    } else {
      this.#events.onRequest(new IncomingInDialogRequest(this.#context, request, wire, this), index);
    }
  }

  onAck(): void {
    // The callee sends no ACK before it has sent an INVITE.
  }

  /** The server has ended a dialog whose 2xx crossed our CANCEL. */
  onServerBye(): void {}

  lost(detail: string): void {
    this.fail({ kind: 'engine-down', detail });
  }

  shutDown(detail: string): void {
    if (this.#settled) return;
    this.cancel();
    this.#release();
    this.#events.onFault({ kind: 'engine-down', detail });
  }

  heardFrom(): void {}
  onSettled(): void {}
  onAnswered(): void {}

  #onProvisional(wire: WireResponse, response: SipResponse | undefined): void {
    this.#heard = true;
    if (this.#settled || response === undefined) return;
    const fork =
      response.to.tag === undefined || response.status === 100 ? -1 : this.#forkOf(response.to.tag);
    let reliable = false;
    if (fork >= 0 && hasOptionTag(response, 'require', '100rel')) {
      const rseq = Number(response.headers.get('rseq'));
      const known = this.#forks[fork]!;
      if (!Number.isInteger(rseq) || (known.lastRSeq >= 0 && rseq !== known.lastRSeq + 1)) return;
      known.lastRSeq = rseq;
      reliable = true;
      // The server knows the early dialog from here on.
      this.dialogId = wire.dialogId;
      acknowledge(this.via, wire, NO_HEADERS, '');
    }
    if (!this.#cancelled) this.#events.onProgress({ response, early: fork, reliable, prack: undefined });
  }

  #onSuccess(wire: WireResponse, response: SipResponse | undefined): void {
    if (this.#settled || this.#cancelled || response === undefined || wire.status !== 200) {
      this.#acknowledgeAndEnd(wire);
      if (this.#settled) return;
      this.fail(
        this.#cancelled
          ? { kind: 'cancelled', detail: `${wire.status} crossed the CANCEL; acknowledged and ended` }
          : { kind: 'flow-lost', detail: `drachtio-server cannot handle this ${wire.status} to an INVITE` },
      );
      return;
    }
    const { via } = this;
    const tag = response.to.tag ?? '';
    const early = this.#forks.findIndex((fork) => fork.tag === tag);
    this.#release();
    const session = new Session(this.#context, {
      via,
      callId: this.#callId,
      localTag: this.#localTag,
      remoteTag: tag,
      remote: this.#context.endpoints.source(via, wire.source),
      remoteSeq: -1,
      events: {
        onRequest: (request) => {
          if (this.dialogEvents === undefined) request.respond(501, reasonPhrase(501));
          else this.dialogEvents.onRequest(request);
        },
        onEnded: (cause) => this.dialogEvents?.onEnded(cause),
      },
    });
    let acknowledged = false;
    const ack = (headers?: readonly HeaderField[], body: Octets = ''): void => {
      if (acknowledged) return;
      const fields = checked(headers);
      acknowledged = true;
      session.acknowledged();
      acknowledge(via, wire, fields, body);
    };
    session.begin(wire.dialogId, ack);
    this.#events.onAnswer({ response, early, dialog: session, ack });
  }

  #acknowledgeAndEnd(wire: WireResponse): void {
    const { via } = this;
    acknowledge(via, wire, NO_HEADERS, '', (failure) => {
      if (failure !== null) return;
      // The server sends BYE by itself where it had our CANCEL before the 2xx; ours is then refused.
      const owner = { via, dialogId: wire.dialogId, over: true, heardFrom: ignore, onSettled: ignore };
      sendInDialog(this.#context, owner, { method: 'BYE' }, ignore);
    });
  }

  #onRejection(wire: WireResponse, response: SipResponse | undefined): void {
    if (this.#settled) return;
    const invented = inventedFault(wire, this.#heard);
    if (invented !== undefined && !(this.#cancelled && wire.status === 487)) {
      this.fail(invented);
      return;
    }
    if (response === undefined) {
      this.fail({ kind: 'flow-lost', detail: `a ${wire.status} that cannot be read` });
      return;
    }
    if (this.#timedOut) {
      this.fail(this.#timeout());
      return;
    }
    this.#release();
    this.#events.onReject(response, this.#context.endpoints.source(this.via, wire.source));
  }

  #sendCancel(): void {
    const transaction = this.#transaction;
    const headers = this.#cancelHeaders;
    if (transaction === null || headers === null) return;
    if (!this.#settled) this.#context.clock.arm(this, 64 * this.#context.t1);
    this.via.link.command({ headers, body: '' }, (settle) => transaction.cancel(headers, settle), ignore);
  }

  #timeout(): EngineFault {
    return { kind: 'timeout', heard: this.#heard, detail: `no final answer in ${this.#timeoutMs} ms` };
  }

  #forkOf(tag: string): number {
    const known = this.#forks.findIndex((fork) => fork.tag === tag);
    if (known >= 0) return known;
    if (this.#forks.length >= FORKS_MAX) {
      this.#context.notice({ kind: 'limit', limit: 'forks' });
      return -1;
    }
    return this.#forks.push({ tag, lastRSeq: -1 }) - 1;
  }

  #release(): void {
    this.#settled = true;
    this.#context.clock.disarm(this);
    if (!this.#counted) return;
    this.#counted = false;
    this.#context.pending--;
    this.#context.tenants.delete(this.#localTag);
  }
}

/**
 * The server sends PRACK without a body, so an offer in a reliable provisional response could not be answered. An
 * INVITE without offer therefore does not admit them: the offer then comes with the 2xx, and its answer in the ACK.
 */
function withoutReliable(fields: readonly HeaderField[]): readonly HeaderField[] {
  const out: HeaderField[] = [];
  for (const field of fields) {
    const name = field.name.toLowerCase();
    if (name !== 'supported' && name !== 'k' && name !== 'require') {
      out.push(field);
      continue;
    }
    const tags = optionTags([field.value]);
    if (!tags.includes('100rel')) out.push(field);
    else if (tags.length > 1)
      out.push({ name: field.name, value: tags.filter((tag) => tag !== '100rel').join(', ') });
  }
  return out;
}
