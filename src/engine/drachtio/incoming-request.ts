/** Requests from the network that wait for our user's answer, and how anything is answered. */
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type { IncomingRequest, InDialogRequest, Source } from '../engine.js';
import {
  carriesContact,
  contactField,
  type DrachtioContext,
  ignore,
  isStatus,
  mergeKey,
  readRequest,
} from './context.js';
import type { ServerListener } from './endpoints.js';
import { checked, NO_HEADERS, peerRefreshes, withType } from './headers.js';
import type { SendDone, WireRequest } from './wire.js';

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
