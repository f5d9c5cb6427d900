/** Requests that we send, until their final answer. */
import { Timer } from '#lib/clock.js';
import { hasOptionTag } from '#sip/lists.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type {
  DialogRequestOptions,
  DialogRequestOutcome,
  OutgoingRequestOptions,
  RequestOutcome,
  Source,
} from '../engine.js';
import { type EngineFault, isFault } from '../faults.js';
import {
  carriesContact,
  contactField,
  DEFAULT_MAX_FORWARDS,
  type DrachtioContext,
  ignore,
  inventedFault,
  linkFault,
  newCallId,
  newTag,
  readResponse,
  refusalFault,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { checked, NO_HEADERS, peerRefreshes, withType } from './headers.js';
import type { SendDone, WireResponse, WireTransaction } from './wire.js';

/** Beyond the server's own timers (64·T1): it has lost the request. */
export const GUARD_MARGIN_MS = 8_000;
/** A re-INVITE may be answered by a person. */
const GUARD_INVITE_MS = 200_000;

/** Any request of ours but an INVITE outside a dialog: counts, waits, and ends exactly once. */
export abstract class Exchange extends Timer {
  protected readonly context: DrachtioContext;
  #open = true;
  #heard = false;

  constructor(context: DrachtioContext, guardMs: number) {
    super();
    this.context = context;
    context.pending++;
    context.clock.arm(this, guardMs);
  }

  protected abstract finish(
    outcome: RequestOutcome | DialogRequestOutcome,
    wire: WireResponse | undefined,
  ): void;
  protected abstract sourceOf(wire: WireResponse): Source;
  protected onProvisional(_response: SipResponse, _wire: WireResponse): void {}
  protected onFinal(_response: SipResponse, _wire: WireResponse): void {}

  onSent(_transaction: WireTransaction): void {}

  onRefused(reason: string): void {
    this.fail(refusalFault(reason));
  }

  onResponse(wire: WireResponse): void {
    const response = readResponse(wire);
    if (wire.status < 200) {
      this.#heard = true;
      if (response !== undefined) this.onProvisional(response, wire);
      return;
    }
    const invented = inventedFault(wire, this.#heard);
    if (invented !== undefined) this.fail(invented);
    else if (response === undefined)
      this.fail({ kind: 'flow-lost', detail: `a ${wire.status} that cannot be read` });
    else {
      this.onFinal(response, wire);
      this.#end({ kind: 'response', response, source: this.sourceOf(wire) }, wire);
    }
  }

  fail(fault: EngineFault): void {
    this.#end({ kind: 'fault', fault }, undefined);
  }

  override fire(): void {
    this.fail({ kind: 'timeout', heard: this.#heard, detail: 'drachtio-server reported no answer' });
  }

  #end(outcome: RequestOutcome, wire: WireResponse | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.context.pending--;
    this.context.clock.disarm(this);
    this.finish(outcome, wire);
  }
}

/** Outside a dialog. `done` is called exactly once and never from inside this call. */
export function sendOutOfDialog(
  context: DrachtioContext,
  options: OutgoingRequestOptions,
  done: (outcome: RequestOutcome) => void,
): void {
  const outlet = context.endpoints.outlet(options.target);
  if (isFault(outlet)) {
    queueMicrotask(() => done({ kind: 'fault', fault: outlet }));
    return;
  }
  if (context.pending >= context.limits.transactions) {
    context.notice({ kind: 'limit', limit: 'transactions' });
    const detail = `${context.limits.transactions} requests are without a final answer`;
    queueMicrotask(() => done({ kind: 'fault', fault: { kind: 'capacity', detail } }));
    return;
  }
  // `options.route` is left out: the server writes no Route outside a dialog. The next hop is the same.
  const { via, proxy } = outlet;
  const body = options.body ?? '';
  const headers: HeaderField[] = [
    { name: 'Max-Forwards', value: String(options.maxForwards ?? DEFAULT_MAX_FORWARDS) },
    { name: 'From', value: `${options.from};tag=${options.fromTag ?? newTag(context)}` },
    { name: 'To', value: options.to },
    { name: 'Call-ID', value: options.callId ?? newCallId(context) },
    { name: 'CSeq', value: `${options.cseq ?? 1} ${options.method}` },
  ];
  if (options.contact !== undefined) headers.push({ name: 'Contact', value: options.contact });
  headers.push(...withType(checked(options.headers), body));
  const exchange = new OutOfDialog(context, via, done);
  const refusal = via.link.request(
    { method: options.method, uri: options.uri, proxy, headers, body },
    exchange,
  );
  if (refusal !== null) queueMicrotask(() => exchange.fail(linkFault(refusal)));
}

class OutOfDialog extends Exchange {
  readonly #via: ServerListener;
  readonly #done: (outcome: RequestOutcome) => void;

  constructor(context: DrachtioContext, via: ServerListener, done: (outcome: RequestOutcome) => void) {
    super(context, 64 * context.t1 + GUARD_MARGIN_MS);
    this.#via = via;
    this.#done = done;
  }

  protected override sourceOf(wire: WireResponse): Source {
    return this.context.endpoints.source(this.#via, wire.source);
  }

  protected override finish(outcome: RequestOutcome): void {
    this.#done(outcome);
  }
}

/** What a dialog must know of its own requests. */
export interface RequestOwner {
  readonly via: ServerListener;
  readonly dialogId: string;
  /** The dialog is over: a 2xx to its re-INVITE must then be acknowledged without the user. */
  readonly over: boolean;
  heardFrom(source: Source): void;
  /** A final response or fault; called before the user hears of it. */
  onSettled(options: DialogRequestOptions, outcome: DialogRequestOutcome): void;
}

/** Inside a dialog, early or confirmed. `done` is called exactly once and never from inside this call. */
export function sendInDialog(
  context: DrachtioContext,
  owner: RequestOwner,
  options: DialogRequestOptions,
  done: (outcome: DialogRequestOutcome) => void,
): InDialog {
  const { method } = options;
  const body = options.body ?? '';
  const headers: HeaderField[] = [
    { name: 'Max-Forwards', value: String(options.maxForwards ?? DEFAULT_MAX_FORWARDS) },
  ];
  if (carriesContact(method)) headers.push(contactField(owner.via, false));
  headers.push(...withType(peerRefreshes(checked(options.headers)), body));
  const exchange = new InDialog(context, owner, options, done);
  const refusal = owner.via.link.request({ method, dialogId: owner.dialogId, headers, body }, exchange);
  if (refusal !== null) queueMicrotask(() => exchange.fail(linkFault(refusal)));
  return exchange;
}

/** BYE, for whose answer nobody waits (§15.1.1). */
export function sendBye(
  context: DrachtioContext,
  via: ServerListener,
  dialogId: string,
  headers: readonly HeaderField[],
): void {
  const owner = { via, dialogId, over: true, heardFrom: ignore, onSettled: ignore };
  sendInDialog(context, owner, { method: 'BYE', headers }, ignore);
}

export class InDialog extends Exchange {
  readonly #owner: RequestOwner;
  readonly #options: DialogRequestOptions;
  readonly #done: (outcome: DialogRequestOutcome) => void;
  #transaction: WireTransaction | null = null;
  #cancel: readonly HeaderField[] | null = null;

  constructor(
    context: DrachtioContext,
    owner: RequestOwner,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ) {
    super(context, options.method === 'INVITE' ? GUARD_INVITE_MS : 64 * context.t1 + GUARD_MARGIN_MS);
    this.#owner = owner;
    this.#options = options;
    this.#done = done;
  }

  override onSent(transaction: WireTransaction): void {
    this.#transaction = transaction;
    if (this.#cancel !== null) this.cancel(this.#cancel);
  }

  /** CANCEL of a re-INVITE. */
  cancel(headers?: readonly HeaderField[]): void {
    const transaction = this.#transaction;
    const fields = checked(headers);
    if (transaction === null) {
      this.#cancel = fields;
      return;
    }
    const { link } = this.#owner.via;
    link.command({ headers: fields, body: '' }, (settle) => transaction.cancel(fields, settle), ignore);
  }

  protected override sourceOf(wire: WireResponse): Source {
    return this.context.endpoints.source(this.#owner.via, wire.source);
  }

  protected override onProvisional(response: SipResponse, wire: WireResponse): void {
    if (this.#options.method !== 'INVITE') return;
    if (hasOptionTag(response, 'require', '100rel')) {
      acknowledge(this.#owner.via, wire, NO_HEADERS, '');
    }
    this.#options.onProgress?.(response);
  }

  protected override finish(outcome: RequestOutcome, wire: WireResponse | undefined): void {
    let told: DialogRequestOutcome;
    if (outcome.kind === 'fault') told = outcome;
    else {
      const { response } = outcome;
      this.#owner.heardFrom(outcome.source);
      told = { kind: 'response', response };
      if (response.status < 300 && this.#options.method === 'INVITE' && wire !== undefined) {
        if (this.#owner.over) acknowledge(this.#owner.via, wire, NO_HEADERS, '');
        else {
          let sent = false;
          const ack = (headers?: readonly HeaderField[], body: Octets = ''): void => {
            if (sent) return;
            sent = true;
            acknowledge(this.#owner.via, wire, checked(headers), body);
          };
          told = { kind: 'response', response, ack };
        }
      }
    }
    this.#owner.onSettled(this.#options, told);
    this.#done(told);
  }
}

/** ACK or PRACK over the connection that the response came by. */
export function acknowledge(
  via: ServerListener,
  wire: WireResponse,
  headers: readonly HeaderField[],
  body: Octets,
  done: SendDone = ignore,
): void {
  const parts = { headers: withType(headers, body), body };
  via.link.command(parts, (settle) => wire.acknowledge(parts, settle), done);
}
