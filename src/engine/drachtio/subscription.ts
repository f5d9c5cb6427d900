/**
 * The subscriber's dialog (RFC 6665 §4.1) on a drachtio-server: the server holds it from the 2xx to the SUBSCRIBE on,
 * and refuses a NOTIFY that comes before.
 */
import { splitList } from '#sip/lists.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import { parseNameAddr } from '#sip/name-addr.js';
import type { Octets } from '#sip/octets.js';
import { isSips, parseUri } from '#sip/uri.js';
import type {
  RequestOutcome,
  Source,
  Subscription,
  SubscriptionEvents,
  SubscriptionOptions,
  Target,
} from '../engine.js';
import { type EngineFault, isFault } from '../faults.js';
import {
  contactField,
  DEFAULT_MAX_FORWARDS,
  type DrachtioContext,
  linkFault,
  newCallId,
  newTag,
  type Tenant,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { Exchange, GUARD_MARGIN_MS } from './exchange.js';
import { checked, NO_HEADERS } from './headers.js';
import { OutOfDialogRequest, respond } from './incoming-request.js';
import type { WireRequest, WireRequestOptions, WireResponse } from './wire.js';

export class SubscriptionDialog implements Subscription, Tenant {
  via: ServerListener | null = null;
  readonly #context: DrachtioContext;
  readonly #options: SubscriptionOptions;
  readonly #events: SubscriptionEvents;
  readonly #callId: Octets;
  readonly #localTag: string;
  /** CSeq of the last SUBSCRIBE outside the dialog. */
  #cseq = 0;
  /** Set by the first 2xx, as the rest of the dialog's state. */
  #dialogId = '';
  #remoteTag = '';
  #remoteTarget: Octets = '';
  /** Where the server sends a request inside the dialog; '' for the remote target. */
  #route: Octets = '';
  #remoteSeq = -1;
  /** Why nothing more is sent. */
  #over: EngineFault | undefined;

  constructor(context: DrachtioContext, options: SubscriptionOptions, events: SubscriptionEvents) {
    this.#context = context;
    this.#options = options;
    this.#events = events;
    this.#callId = newCallId(context);
    this.#localTag = newTag(context);
    if (context.tenants.size < context.limits.dialogs) context.tenants.set(this.#localTag, this);
    else this.#over = { kind: 'capacity', detail: 'the bound of dialogs is reached' };
  }

  next(): { readonly uri: Octets; readonly target: Target } {
    const { uri, target } = this.#options;
    if (this.#dialogId === '') return { uri, target };
    // The server resolves a name by itself; whoever compares addresses finds the name, and no address.
    const hop = parseUri(this.#route || this.#remoteTarget);
    const { transport } = target;
    const port = hop?.port ?? (transport === 'tls' ? 5061 : 5060);
    return { uri: this.#remoteTarget, target: { transport, address: hop?.host ?? '', port } };
  }

  send(headers: readonly HeaderField[], done: (outcome: RequestOutcome) => void): void {
    const fault = this.#trySend(headers, done);
    if (fault !== undefined) queueMicrotask(() => done({ kind: 'fault', fault }));
  }

  close(): void {
    this.#close('the subscription has been closed');
  }

  onRequest(request: SipRequest, wire: WireRequest, source: Source): void {
    const via = this.via;
    if (via === null) return;
    const status = this.#refusal(request);
    if (status !== 0) {
      const headers = status === 405 ? [{ name: 'Allow', value: 'NOTIFY' }] : NO_HEADERS;
      respond(via, wire, status, '', { headers, body: '' });
      return;
    }
    this.#remoteTag = request.from.tag ?? '';
    this.#remoteSeq = request.cseq.number;
    this.#events.onNotify(new OutOfDialogRequest(this.#context, via, request, wire, source));
  }

  onAck(): void {
    // There is no INVITE in this dialog.
  }

  onServerBye(): void {
    // Nor a BYE.
  }

  /** The server sends NOTIFYs to nobody but the connection that has subscribed. */
  lost(detail: string): void {
    const begun = this.#dialogId !== '';
    this.#close(detail);
    if (begun) this.#events.onLost?.(detail);
  }

  shutDown(): void {
    this.#close('the engine stops');
  }

  /** A 2xx: the server has made the dialog, and keeps to the remote target and route that it began with. */
  accepted(response: SipResponse, wire: WireResponse): void {
    if (this.#dialogId !== '') return;
    this.#dialogId = wire.dialogId;
    this.#remoteTag = response.to.tag ?? '';
    this.#remoteTarget = response.contact?.uri ?? this.#options.uri;
    const first = response.headers.all('record-route').flatMap(splitList).at(-1);
    this.#route = (first === undefined ? undefined : parseNameAddr(first)?.uri) ?? '';
  }

  #close(detail: string): void {
    this.#over ??= { kind: 'flow-lost', detail };
    if (this.#context.tenants.get(this.#localTag) === this) this.#context.tenants.delete(this.#localTag);
  }

  /** 0 for a request that fits this dialog. */
  #refusal(request: SipRequest): number {
    if (request.callId !== this.#callId) return 481;
    if (this.#remoteTag !== '' && (request.from.tag ?? '') !== this.#remoteTag) return 481;
    if (request.method !== 'NOTIFY') return 405;
    // RFC 3261 §12.2.2.
    return request.cseq.number < this.#remoteSeq ? 500 : 0;
  }

  #trySend(
    headers: readonly HeaderField[],
    done: (outcome: RequestOutcome) => void,
  ): EngineFault | undefined {
    if (this.#over !== undefined) return this.#over;
    const context = this.#context;
    const { uri, target, from, to, contactUser } = this.#options;
    const inside = this.via !== null && this.#dialogId !== '';
    const outlet = inside ? { via: this.via!, proxy: '' } : context.endpoints.outlet(target);
    if (isFault(outlet)) return outlet;
    if (context.pending >= context.limits.transactions) {
      context.notice({ kind: 'limit', limit: 'transactions' });
      return {
        kind: 'capacity',
        detail: `${context.limits.transactions} requests are without a final answer`,
      };
    }
    const { via, proxy } = outlet;
    this.via = via;
    const maxForwards = { name: 'Max-Forwards', value: String(DEFAULT_MAX_FORWARDS) };
    const own = [contactField(via, isSips(uri), contactUser), ...checked(headers)];
    const options: WireRequestOptions = inside
      ? { method: 'SUBSCRIBE', dialogId: this.#dialogId, headers: [maxForwards, ...own], body: '' }
      : {
          method: 'SUBSCRIBE',
          uri,
          proxy,
          headers: [
            maxForwards,
            { name: 'From', value: `${from};tag=${this.#localTag}` },
            { name: 'To', value: to },
            { name: 'Call-ID', value: this.#callId },
            { name: 'CSeq', value: `${++this.#cseq} SUBSCRIBE` },
            ...own,
          ],
          body: '',
        };
    const exchange = new Subscribing(context, this, via, done);
    const refusal = via.link.request(options, exchange);
    if (refusal !== null) queueMicrotask(() => exchange.fail(linkFault(refusal)));
    return undefined;
  }
}

class Subscribing extends Exchange {
  readonly #subscription: SubscriptionDialog;
  readonly #via: ServerListener;
  readonly #done: (outcome: RequestOutcome) => void;

  constructor(
    context: DrachtioContext,
    subscription: SubscriptionDialog,
    via: ServerListener,
    done: (outcome: RequestOutcome) => void,
  ) {
    super(context, 64 * context.t1 + GUARD_MARGIN_MS);
    this.#subscription = subscription;
    this.#via = via;
    this.#done = done;
  }

  protected override onFinal(response: SipResponse, wire: WireResponse): void {
    if (response.status < 300) this.#subscription.accepted(response, wire);
  }

  protected override sourceOf(wire: WireResponse): Source {
    return this.context.endpoints.source(this.#via, wire.source);
  }

  protected override finish(outcome: RequestOutcome): void {
    this.#done(outcome);
  }
}
