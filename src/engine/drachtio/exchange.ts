/** Requests: those that we send, until their final answer, and those that wait for our user's answer. */
import { Timer } from '#lib/clock.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type {
  DialogRequestOptions,
  DialogRequestOutcome,
  IncomingRequest,
  InDialogRequest,
  OutgoingRequestOptions,
  RequestOutcome,
  Source,
} from '../engine.js';
import type { EngineFault } from '../faults.js';
import {
  carriesContact,
  contactField,
  DEFAULT_MAX_FORWARDS,
  type DrachtioContext,
  ignore,
  inventedFault,
  isFault,
  isSips,
  isStatus,
  linkFault,
  mergeKey,
  newCallId,
  newTag,
  readRequest,
  readResponse,
  refusalFault,
  supports,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { checked, NO_HEADERS, peerRefreshes, withType } from './headers.js';
import type { SendDone, WireRequest, WireResponse, WireTransaction } from './srf.js';

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
    if (supports(response, 'require', '100rel')) {
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

/**
 * Sends a response. One that the server cannot make a message of (a field that it finds malformed) goes out again
 * as the bare status, so that a peer never waits for a final answer because of a header field.
 */
export function respond(
  via: ServerListener,
  wire: WireRequest,
  status: number,
  reason: Octets,
  parts: {
    readonly headers: readonly HeaderField[];
    readonly body: Octets;
    readonly toTag?: string | undefined;
  },
  done: SendDone = ignore,
): void {
  const phrase = reason || reasonPhrase(status);
  const typed = { ...parts, headers: withType(parts.headers, parts.body) };
  via.link.command(
    typed,
    (settle) => wire.respond(status, phrase, typed, settle),
    (failure, dialogId) => {
      const malformed = failure !== null && /Unknown server error|too-large/.test(failure);
      if (!malformed || status < 300) {
        done(failure, dialogId);
        return;
      }
      const bare = { headers: NO_HEADERS, body: '', toTag: parts.toTag };
      via.link.command(bare, (settle) => wire.respond(status, reasonPhrase(status), bare, settle), done);
    },
  );
}

/** A request outside a dialog that waits for our user's answer. */
export class OutOfDialogRequest implements IncomingRequest {
  readonly request: SipRequest;
  readonly source: Source;
  readonly #context: DrachtioContext;
  readonly #via: ServerListener;
  readonly #wire: WireRequest;
  #answered = false;

  constructor(
    context: DrachtioContext,
    via: ServerListener,
    request: SipRequest,
    wire: WireRequest,
    source: Source,
  ) {
    this.#context = context;
    this.request = request;
    this.source = source;
    this.#via = via;
    this.#wire = wire;
    context.pending++;
    context.merging.add(mergeKey(request));
  }

  respond(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#answered) return;
    if (!isStatus(status, 200, 699)) throw new RangeError(`Final status ${status} is not 200 to 699`);
    const fields = checked(headers);
    this.#answered = true;
    this.#context.pending--;
    this.#context.merging.delete(mergeKey(this.request));
    respond(this.#via, this.#wire, status, reason, { headers: fields, body });
  }
}

/** The dialog that an incoming request belongs to. */
export interface AnswerOwner {
  readonly via: ServerListener;
  onAnswered(request: IncomingInDialogRequest, status: number): void;
}

/** A request of the peer inside a dialog, waiting for our user's answer. */
export class IncomingInDialogRequest implements InDialogRequest {
  readonly request: SipRequest;
  onCancel: ((cancel: SipRequest) => void) | undefined = undefined;
  onAck: ((ack: SipRequest) => void) | undefined = undefined;
  readonly #context: DrachtioContext;
  readonly #wire: WireRequest;
  readonly #owner: AnswerOwner;
  #answered = false;

  constructor(context: DrachtioContext, request: SipRequest, wire: WireRequest, owner: AnswerOwner) {
    this.request = request;
    this.#context = context;
    this.#wire = wire;
    this.#owner = owner;
    context.pending++;
    wire.onCancel = (octets) => {
      const cancel = readRequest(octets);
      if (cancel === undefined || this.#answered) return;
      this.#close();
      this.#owner.onAnswered(this, 487);
      this.onCancel?.(cancel);
    };
  }

  respond(status: number, reason: string, headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#answered) return;
    if (!isStatus(status, 101, 699)) throw new RangeError(`Response status ${status} is not 101 to 699`);
    let fields = peerRefreshes(checked(headers), this.request);
    // The server forgets an in-dialog transaction with its first response, also a provisional one.
    if (status < 200) return;
    if (status < 300 && carriesContact(this.request.method))
      fields = [contactField(this.#owner.via, isSips(this.request.uri)), ...fields];
    this.#close();
    respond(this.#owner.via, this.#wire, status, reason, { headers: fields, body });
    this.#owner.onAnswered(this, status);
  }

  /** Nothing can be answered any more. */
  lost(): void {
    if (!this.#answered) this.#close();
  }

  #close(): void {
    this.#answered = true;
    this.#context.pending--;
  }
}
