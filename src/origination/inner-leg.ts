/**
 * The caller's side of a call whose caller is the gateway: an end of the seam where two calls are joined. Towards the
 * call room it is a caller like any other (`call/caller-leg.ts`); what the call says to it reaches its user, and what
 * the user says through it reaches the callee. Handles only: what is to be said is judged in `join.ts`.
 */
import type { CallerDialog, CallerLeg } from '#call/caller-leg.js';
import type {
  AcceptOptions,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  IncomingInviteEvents,
  InDialogRequest,
  PendingRequest,
  ProgressOptions,
} from '#engine/engine.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { sdpIn } from '#sip/sdp.js';
import { reasonPhrase } from '#sip/status.js';
import { SDP_FIELD, writtenRequest, writtenResponse } from './written.js';

export interface InnerLegUser {
  /** 101 to 199. `sdp`: '' for none. */
  legProgressed(leg: InnerLeg, status: number, sdp: Octets): void;
  /** The callee's 2xx. `acknowledge` must follow when the INVITE had no offer and this has one. */
  legAnswered(leg: InnerLeg, sdp: Octets): void;
  /** Nobody took the call: the callee's final answer, or the call's own. */
  legRejected(leg: InnerLeg, status: number, reason: Octets, headers: readonly HeaderField[]): void;
  /** The call has ended this side of it. */
  legEnded(leg: InnerLeg, headers: readonly HeaderField[]): void;
  /** A request inside the dialog, early or confirmed. It must be answered. */
  legAsked(leg: InnerLeg, request: InDialogRequest): void;
}

export interface InnerLegOptions {
  readonly user: InnerLegUser;
  /** Call-ID of the INVITE that nobody sent; shows in records. */
  readonly callId: Octets;
  /** name-addr without tag: who calls. */
  readonly from: Octets;
  readonly headers: readonly HeaderField[];
  /** '' asks the callee for one. */
  readonly offer: Octets;
  /** Mends descriptions that the callee is sent in answers to its own requests. */
  readonly inward?: Mender | undefined;
  /** Mends descriptions in what the callee asks, for the other side. */
  readonly outward?: Mender | undefined;
}

export type Mender = (sdp: Octets) => Octets;

export class InnerLeg implements CallerLeg {
  readonly request: SipRequest;
  readonly source = NOWHERE;
  /** Set by the call room before anything else. */
  events: IncomingInviteEvents = DEAF;
  /** What one side sends reliably is acknowledged on its own leg; between the two nothing is lost. */
  readonly supportsReliable = false;
  readonly requiresReliable = false;
  readonly #user: InnerLegUser;
  readonly #options: InnerLegOptions;
  #dialog: DialogEvents | null = null;
  #over = false;

  constructor(options: InnerLegOptions) {
    const { user, callId, from, headers, offer } = options;
    this.#user = user;
    this.#options = options;
    this.request = writtenRequest({
      method: 'INVITE',
      from,
      callId,
      headers: offer === '' ? headers : [...headers, SDP_FIELD],
      body: offer,
    });
  }

  // What the call says.

  progress({ status, headers, body = '' }: ProgressOptions): void {
    this.#user.legProgressed(this, status, sdpOf(headers, body));
  }

  accept({ headers, body = '' }: AcceptOptions, events: DialogEvents): CallerDialog {
    this.#dialog = events;
    this.#user.legAnswered(this, sdpOf(headers, body));
    return {
      request: (options, done) => {
        const passed = new PassedRequest(options, done, this.#options);
        this.#user.legAsked(this, passed);
        return passed;
      },
      end: (why = []) => {
        this.#dialog = null;
        this.#user.legEnded(this, why);
      },
    };
  }

  reject(status: number, reason: string, headers: readonly HeaderField[] = []): void {
    this.#over = true;
    this.#user.legRejected(this, status, reason, headers);
  }

  earlyRequest(
    _early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    this.#user.legAsked(this, new PassedRequest(options, done, this.#options));
  }

  // What is said to the callee through the call.

  /** The ACK with the answer to the callee's offer. */
  acknowledge(sdp: Octets): void {
    this.#dialog?.onAck?.(written('ACK', [SDP_FIELD], sdp));
  }

  /** A re-INVITE with this offer; `done` is called once, with the final status and the answer of a 2xx. */
  reoffer(sdp: Octets, done: (status: number, sdp: Octets) => void): void {
    this.ask(new Reoffer(sdp, done));
  }

  /** Any request inside the dialog. */
  ask(request: InDialogRequest): void {
    if (this.#dialog === null) request.respond(481, reasonPhrase(481));
    else this.#dialog.onRequest(request);
  }

  /** BYE where the callee has answered, CANCEL where it has not; nothing when this side is over. */
  finish(headers: readonly HeaderField[]): void {
    const dialog = this.#dialog;
    this.#dialog = null;
    if (dialog !== null) dialog.onEnded({ kind: 'bye', request: written('BYE', headers) });
    else if (!this.#over) this.events.onCancel({ kind: 'cancel', request: written('CANCEL', headers) });
    this.#over = true;
  }
}

const DEAF: IncomingInviteEvents = { onCancel: () => undefined };
const NOWHERE = { transport: 'udp', address: '', port: 0 } as const;

const written = (method: string, headers: readonly HeaderField[], body: Octets = ''): SipRequest =>
  writtenRequest({ method, callId: 'joined', headers, body });

function sdpOf(headers: readonly HeaderField[] | undefined, body: Octets): Octets {
  return sdpIn(headers?.find(({ name }) => name.toLowerCase() === 'content-type')?.value, body);
}

/** A request that one call's callee has sent, on its way to the other's. */
class PassedRequest implements InDialogRequest, PendingRequest {
  readonly request: SipRequest;
  onCancel: ((cancel: SipRequest) => void) | undefined;
  onAck: ((ack: SipRequest) => void) | undefined;
  readonly #options: DialogRequestOptions;
  readonly #done: (outcome: DialogRequestOutcome) => void;
  readonly #mend: Pick<InnerLegOptions, 'inward' | 'outward'>;
  #answered = false;

  constructor(
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
    mend: Pick<InnerLegOptions, 'inward' | 'outward'>,
  ) {
    const { method, headers = [], body, maxForwards } = options;
    this.#options = options;
    this.#done = done;
    this.#mend = mend;
    const mended = mendedBody(headers, body, mend.outward);
    this.request = writtenRequest({ method, callId: 'joined', headers, body: mended, maxForwards });
  }

  respond(status: number, reason: string, headers: readonly HeaderField[] = [], body?: Octets): void {
    if (this.#answered) return;
    const { method, onProgress } = this.#options;
    const mended = mendedBody(headers, body, this.#mend.inward);
    const response = writtenResponse(method, status, reason, headers, mended);
    if (status < 200) {
      onProgress?.(response);
      return;
    }
    this.#answered = true;
    const ack =
      method === 'INVITE' && status < 300
        ? (fields: readonly HeaderField[] = [], answer?: Octets): void =>
            this.onAck?.(written('ACK', fields, mendedBody(fields, answer, this.#mend.outward)))
        : undefined;
    this.#done({ kind: 'response', response, ack });
  }

  cancel(headers: readonly HeaderField[] = []): void {
    if (!this.#answered) this.onCancel?.(written('CANCEL', headers));
  }
}

function mendedBody(headers: readonly HeaderField[], body: Octets = '', mend: Mender | undefined): Octets {
  return mend === undefined || body === '' || sdpOf(headers, body) !== body ? body : mend(body);
}

/** A re-INVITE of the gateway's own. */
class Reoffer implements InDialogRequest {
  readonly request: SipRequest;
  onCancel: ((cancel: SipRequest) => void) | undefined;
  onAck: ((ack: SipRequest) => void) | undefined;
  readonly #done: (status: number, sdp: Octets) => void;
  #answered = false;

  constructor(sdp: Octets, done: (status: number, sdp: Octets) => void) {
    this.#done = done;
    this.request = written('INVITE', [SDP_FIELD], sdp);
  }

  respond(status: number, _reason: string, headers: readonly HeaderField[] = [], body: Octets = ''): void {
    if (status < 200 || this.#answered) return;
    this.#answered = true;
    this.#done(status, sdpOf(headers, body));
  }
}
