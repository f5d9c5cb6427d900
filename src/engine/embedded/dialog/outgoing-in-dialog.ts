/** Requests that we send inside a dialog, early or confirmed (RFC 3261 §12.2.1, §14.1). */
import type { HeaderField, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { isSips } from '#sip/uri.js';
import type { DialogRequestOptions, DialogRequestOutcome, PendingRequest, Source } from '../../engine.js';
import { type EngineFault, isFault } from '../../faults.js';
import type { ClientTransaction, ClientUser } from '../transaction/transaction.js';
import type { Outlet } from '../transport/transport.js';
import {
  contactLine,
  DEFAULT_MAX_FORWARDS,
  type DialogContext,
  demandsReliable,
  linesOf,
  sequenceNumber,
} from './context.js';
import type { DialogState } from './dialog-state.js';

type Done = (outcome: DialogRequestOutcome) => void;

/** What a dialog must know of its own requests. */
export interface RequestWatcher {
  /** A final response or fault; called before the user hears of it. */
  onSettled(request: OutgoingInDialogRequest, outcome: DialogRequestOutcome): void;
  /** The dialog is over: a 2xx to its re-INVITE must then be acknowledged without the user. */
  readonly over: boolean;
}

/** Sends `options` in `dialog`. `done` is called exactly once and never from inside this call. */
export function sendInDialog(
  context: DialogContext,
  dialog: DialogState,
  options: DialogRequestOptions,
  watcher: RequestWatcher,
  done: Done,
): OutgoingInDialogRequest | undefined {
  const outlet = context.transports.outlet(dialog.target());
  if (isFault(outlet)) {
    queueMicrotask(() => done({ kind: 'fault', fault: outlet }));
    return undefined;
  }
  const request = new OutgoingInDialogRequest(context, dialog, options, outlet, watcher, done);
  const fault = request.send();
  if (fault === undefined) return request;
  queueMicrotask(() => done({ kind: 'fault', fault }));
  return undefined;
}

export class OutgoingInDialogRequest implements ClientUser, PendingRequest {
  readonly method: string;
  readonly hasBody: boolean;
  readonly #context: DialogContext;
  readonly #dialog: DialogState;
  readonly #options: DialogRequestOptions;
  readonly #outlet: Outlet;
  readonly #watcher: RequestWatcher;
  readonly #done: Done;
  readonly #cseq: number;
  #transaction: ClientTransaction | null = null;
  #settled = false;
  #ack: SentAck | null = null;
  #lastRSeq = -1;

  constructor(
    context: DialogContext,
    dialog: DialogState,
    options: DialogRequestOptions,
    outlet: Outlet,
    watcher: RequestWatcher,
    done: Done,
  ) {
    this.method = options.method;
    this.hasBody = options.body !== undefined && options.body !== '';
    this.#context = context;
    this.#dialog = dialog;
    this.#options = options;
    this.#outlet = outlet;
    this.#watcher = watcher;
    this.#done = done;
    this.#cseq = dialog.nextSeq();
  }

  send(): EngineFault | undefined {
    const { method, headers, body, maxForwards } = this.#options;
    const head = this.#dialog.head(method, this.#cseq, maxForwards ?? DEFAULT_MAX_FORWARDS);
    let lines = linesOf(headers);
    if (
      method === 'INVITE' ||
      method === 'UPDATE' ||
      method === 'SUBSCRIBE' ||
      method === 'REFER' ||
      method === 'NOTIFY'
    ) {
      lines = contactLine(this.#outlet.sentBy, this.#outlet.transport, isSips(head.uri)) + lines;
    }
    const sent = this.#context.transactions.request(head, lines, body ?? '', this.#outlet, this);
    if (isFault(sent)) return sent;
    this.#transaction = sent;
    return undefined;
  }

  cancel(headers?: readonly HeaderField[]): void {
    if (!this.#settled && this.method === 'INVITE') this.#transaction?.cancel(linesOf(headers));
  }

  onResponse(response: SipResponse, source: Source): void {
    if (response.status < 200) {
      if (response.status > 100 && this.method === 'INVITE' && !this.#settled) {
        if (this.#acknowledgeProvisional(response)) this.#options.onProgress?.(response);
      }
      return;
    }
    if (this.#settled) {
      // §13.2.2.4: every retransmission of the 2xx gets the same ACK again.
      this.#ack?.again();
      return;
    }
    this.#settled = true;
    const success = response.status < 300;
    if (success && (this.method === 'INVITE' || this.method === 'UPDATE'))
      this.#dialog.refresh(response, source, false);
    let outcome: DialogRequestOutcome = { kind: 'response', response };
    if (success && this.method === 'INVITE') {
      if (this.#watcher.over) this.#acknowledge();
      else outcome = { kind: 'response', response, ack: (headers, body) => this.#acknowledge(headers, body) };
    }
    this.#watcher.onSettled(this, outcome);
    this.#done(outcome);
  }

  onFault(fault: EngineFault): void {
    if (this.#settled) return;
    this.#settled = true;
    const outcome: DialogRequestOutcome = { kind: 'fault', fault };
    this.#watcher.onSettled(this, outcome);
    this.#done(outcome);
  }

  #acknowledge(headers?: readonly HeaderField[], body: Octets = ''): void {
    this.#ack ??= new SentAck(this.#context, this.#dialog, this.#cseq, linesOf(headers), body, this.#outlet);
  }

  /** False for a reliable response that came twice or cannot be acknowledged. */
  #acknowledgeProvisional(response: SipResponse): boolean {
    if (!demandsReliable(response)) return true;
    const rseq = sequenceNumber(response.headers.get('rseq'));
    if (rseq === undefined || rseq <= this.#lastRSeq) return false;
    this.#lastRSeq = rseq;
    sendPrack(this.#context, this.#dialog, rseq, this.#cseq, '', '', ignoreOutcome);
    return true;
  }
}

/** A PRACK that fails ends nothing by itself: the callee's own timers do (RFC 3262 §3). */
export function ignoreOutcome(): void {}

/** RFC 3262 §4: "RAck: response-num CSeq-num Method". */
export function sendPrack(
  context: DialogContext,
  dialog: DialogState,
  rseq: number,
  inviteCseq: number,
  lines: Octets,
  body: Octets,
  done: Done,
): void {
  const outlet = context.transports.outlet(dialog.target());
  if (isFault(outlet)) {
    queueMicrotask(() => done({ kind: 'fault', fault: outlet }));
    return;
  }
  const user = new Settled(done);
  const head = dialog.head('PRACK', dialog.nextSeq(), DEFAULT_MAX_FORWARDS);
  const rest = `RAck: ${rseq} ${inviteCseq} INVITE\r\n${lines}`;
  const sent = context.transactions.request(head, rest, body, outlet, user);
  if (isFault(sent)) queueMicrotask(() => done({ kind: 'fault', fault: sent }));
}

/** Reports the end of a request whose dialog needs no bookkeeping. */
class Settled implements ClientUser {
  readonly #done: Done;

  constructor(done: Done) {
    this.#done = done;
  }

  onResponse(response: SipResponse): void {
    if (response.status >= 200) this.#done({ kind: 'response', response });
  }

  onFault(fault: EngineFault): void {
    this.#done({ kind: 'fault', fault });
  }
}

/** Sends the BYE of a dialog. Nobody waits for its answer: the dialog is over either way (§15.1.1). */
export function sendBye(context: DialogContext, dialog: DialogState, lines: Octets): void {
  context.dialogs.ended(dialog.localTag, dialog.callId);
  const outlet = context.transports.outlet(dialog.target());
  if (isFault(outlet)) {
    context.notice({ kind: 'limit', limit: `bye-unsent: ${outlet.kind}` });
    return;
  }
  const head = dialog.head('BYE', dialog.nextSeq(), DEFAULT_MAX_FORWARDS);
  const sent = context.transactions.request(head, lines, '', outlet, SILENT);
  // At the bound of transactions the BYE still leaves, once and unrepeated: better than a call that never ends.
  if (isFault(sent)) context.transactions.ack(head, lines, '', outlet);
}

const SILENT: ClientUser = { onResponse: () => undefined, onFault: () => undefined };

/** An ACK of a 2xx, kept to be sent again for every retransmission of it. */
export class SentAck {
  readonly #octets: Octets;
  readonly #outlet: Outlet;

  /** §13.2.2.4: the ACK has the INVITE's CSeq number and goes by the dialog's route set. */
  constructor(
    context: DialogContext,
    dialog: DialogState,
    cseq: number,
    lines: Octets,
    body: Octets,
    fallback: Outlet,
  ) {
    const outlet = context.transports.outlet(dialog.target());
    this.#outlet = isFault(outlet) ? fallback : outlet;
    this.#octets = context.transactions.ack(
      dialog.head('ACK', cseq, DEFAULT_MAX_FORWARDS),
      lines,
      body,
      this.#outlet,
    );
  }

  again(): void {
    this.#outlet.send(this.#octets, null);
  }
}
