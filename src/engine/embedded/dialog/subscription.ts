/**
 * The subscriber's dialog (RFC 6665 §4.1): made by whichever comes first of a NOTIFY and the 2xx to the SUBSCRIBE,
 * kept until its user closes it.
 */
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type {
  RequestOutcome,
  Source,
  Subscription,
  SubscriptionEvents,
  SubscriptionOptions,
  Target,
} from '../../engine.js';
import { type EngineFault, isFault } from '../../faults.js';
import type { ClientUser, RequestHead, ServerTransaction } from '../transaction/transaction.js';
import {
  contactLine,
  DEFAULT_MAX_FORWARDS,
  type DialogContext,
  linesOf,
  newCallId,
  newTag,
  routeLinesOf,
} from './context.js';
import { DialogState } from './dialog-state.js';
import { IncomingTransactionRequest } from './incoming-request.js';
import type { PeerIdentity } from './next-hop.js';
import type { DialogTenant } from './table.js';

export class OutgoingSubscription implements Subscription, DialogTenant {
  readonly #context: DialogContext;
  readonly #options: SubscriptionOptions;
  readonly #events: SubscriptionEvents;
  readonly #callId: Octets;
  readonly #localTag: string;
  readonly #identity: PeerIdentity;
  #state: DialogState | null = null;
  /** CSeq of the last SUBSCRIBE outside the dialog. */
  #cseq = 0;
  /** Why nothing more is sent. */
  #over: EngineFault | undefined;

  constructor(context: DialogContext, options: SubscriptionOptions, events: SubscriptionEvents) {
    this.#context = context;
    this.#options = options;
    this.#events = events;
    this.#callId = newCallId(context);
    this.#localTag = newTag(context);
    this.#identity = { name: options.target.name, tls: options.target.tls };
    if (context.dialogs.size < context.limits.dialogs) context.dialogs.add(this.#localTag, this);
    else this.#over = { kind: 'capacity', detail: 'the bound of dialogs is reached' };
  }

  next(): { readonly uri: Octets; readonly target: Target } {
    const state = this.#state;
    if (state === null) return this.#options;
    return { uri: state.head('SUBSCRIBE', 0, 0).uri, target: state.target() };
  }

  send(headers: readonly HeaderField[], done: (outcome: RequestOutcome) => void): void {
    const fault = this.#trySend(headers, done);
    if (fault !== undefined) queueMicrotask(() => done({ kind: 'fault', fault }));
  }

  close(): void {
    this.#over ??= { kind: 'flow-lost', detail: 'the subscription has been closed' };
    this.#context.dialogs.remove(this.#localTag);
  }

  onDialogRequest(transaction: ServerTransaction, request: SipRequest): void {
    const status = this.#refusal(request);
    if (status !== 0) {
      transaction.respond(status, reasonPhrase(status), status === 405 ? 'Allow: NOTIFY\r\n' : '', '');
      return;
    }
    // "the subscriber … creates its dialog … when it receives a NOTIFY", §4.4.1; each one refreshes the target.
    if (this.#state === null) this.#state = this.#stateOf(request, transaction.source);
    else this.#state.refresh(request, transaction.source, false);
    this.#state.remoteSeq = request.cseq.number;
    this.#events.onNotify(new IncomingTransactionRequest(transaction));
  }

  onDialogAck(): void {
    // There is no INVITE in this dialog.
  }

  shutDown(): void {
    this.close();
  }

  /** 0 for a request that fits this dialog. */
  #refusal(request: SipRequest): number {
    if (request.callId !== this.#callId) return 481;
    const state = this.#state;
    // §4.1.2.4: further dialogs of a forked SUBSCRIBE may be refused; 481 ends them.
    if (state !== null && (request.from.tag ?? '') !== state.remoteTag) return 481;
    if (request.method !== 'NOTIFY') return 405;
    // RFC 3261 §12.2.2.
    return state !== null && request.cseq.number < state.remoteSeq ? 500 : 0;
  }

  #trySend(
    headers: readonly HeaderField[],
    done: (outcome: RequestOutcome) => void,
  ): EngineFault | undefined {
    if (this.#over !== undefined) return this.#over;
    const state = this.#state;
    const outlet = this.#context.transports.outlet(state === null ? this.#options.target : state.target());
    if (isFault(outlet)) return outlet;
    const head =
      state === null ? this.#firstHead() : state.head('SUBSCRIBE', state.nextSeq(), DEFAULT_MAX_FORWARDS);
    const { sentBy, transport } = outlet;
    const contact = contactLine(sentBy, transport, isSips(head.uri), this.#options.contactUser);
    const sent = this.#context.transactions.request(
      head,
      contact + linesOf(headers),
      '',
      outlet,
      new Waiting(this, done),
    );
    return isFault(sent) ? sent : undefined;
  }

  #firstHead(): RequestHead {
    return {
      method: 'SUBSCRIBE',
      uri: this.#options.uri,
      from: `${this.#options.from};tag=${this.#localTag}`,
      to: this.#options.to,
      callId: this.#callId,
      cseq: ++this.#cseq,
      maxForwards: DEFAULT_MAX_FORWARDS,
      routeLines: routeLinesOf(this.#options.route),
    };
  }

  /** A 2xx: makes the dialog, or refreshes its target. */
  accepted(response: SipResponse, source: Source): void {
    if (this.#state === null) this.#state = this.#stateOf(response, source);
    else if (response.to.tag === this.#state.remoteTag) this.#state.refresh(response, source, false);
  }

  #stateOf(message: SipRequest | SipResponse, source: Source): DialogState {
    const sent = {
      callId: this.#callId,
      localTag: this.#localTag,
      local: `${this.#options.from};tag=${this.#localTag}`,
      uri: this.#options.uri,
      cseq: this.#cseq,
      identity: this.#identity,
    };
    return message.kind === 'request'
      ? DialogState.ofSubscriber(sent, message, source)
      : DialogState.ofClient(sent, message, source);
  }
}

class Waiting implements ClientUser {
  readonly #subscription: OutgoingSubscription;
  readonly #done: (outcome: RequestOutcome) => void;

  constructor(subscription: OutgoingSubscription, done: (outcome: RequestOutcome) => void) {
    this.#subscription = subscription;
    this.#done = done;
  }

  onResponse(response: SipResponse, source: Source): void {
    if (response.status < 200) return;
    if (response.status < 300) this.#subscription.accepted(response, source);
    this.#done({ kind: 'response', response, source });
  }

  onFault(fault: EngineFault): void {
    this.#done({ kind: 'fault', fault });
  }
}
