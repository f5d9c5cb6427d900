/**
 * One transfer: the driver of `transfer.ts`. On one side is the telephone of an answered call, lent and then given by
 * that call (`call/handover.ts`); on the other a call of the call room like any other that leaves, whose caller is the
 * end of the seam in here. That call has the id, the place in line, the record; nothing of its own is kept of a transfer.
 */

import { q850Reason } from '#call/causes.js';
import type { Handover, Heir } from '#call/handover.js';
import { statusOfFault } from '#call/relay.js';
import type { DialogEnd, InDialogRequest } from '#engine/engine.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { ShownOrigin, sdpIn } from '#sip/sdp.js';
import { reasonPhrase } from '#sip/status.js';
import { InnerLeg, type InnerLegUser } from './inner-leg.js';
import type { Ending } from './join.js';
import {
  advanceTransfer,
  beginTransfer,
  type Talk,
  type TransferAction,
  type TransferEvent,
  type TransferState,
} from './transfer.js';
import { SDP_FIELD } from './written.js';

/** Who hears what becomes of a transfer. */
export interface TransferListener {
  /** A provisional status of who is called. */
  progressed(status: number): void;
  /** The last word: 200, just before the agent is released; or why the agent's call goes on. */
  ended(status: number): void;
}

export interface TransferredCallOptions {
  /** Of the call that is made. */
  readonly id: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Uniform in [0, 1), for glare. */
  readonly random: () => number;
  readonly listener?: TransferListener | undefined;
}

export class TransferredCall implements Heir, InnerLegUser {
  readonly #options: TransferredCallOptions;
  #side: Handover | null = null;
  #leg: InnerLeg | null = null;
  #state: TransferState | null = null;
  /** Until the agent's dialog is over. */
  #listener: TransferListener | undefined;
  /** What the telephone sees as the origin of whatever it is told; from its first re-INVITE on. */
  #origin: ShownOrigin | null = null;
  /** Header fields of the BYE of who was called. */
  #lastWords: readonly HeaderField[] = [];
  /** Final status of who was called; 0: none yet. */
  #status = 0;
  readonly #retryTimer = new CallbackTimer(() => this.#dispatch({ type: 'retry-due', talk: this.#talk() }));
  #busy = false;
  readonly #waiting: TransferEvent[] = [];

  constructor(options: TransferredCallOptions) {
    this.#options = options;
    this.#listener = options.listener;
  }

  /**
   * The caller's side of the call that is to be made; it must be made at once.
   * @param from name-addr without tag
   */
  begin(side: Handover, from: Octets): InnerLeg {
    this.#side = side;
    const talk = this.#talk();
    this.#state = beginTransfer(talk);
    this.#leg = new InnerLeg({
      user: this,
      callId: this.#options.id,
      from,
      headers: [],
      offer: talk.said,
      outward: (sdp) => (this.#origin === null ? sdp : this.#origin.show(sdp)),
    });
    return this.#leg;
  }

  // What the telephone's side says.

  inherited(): void {
    this.#listener = undefined;
    this.#dispatch({ type: 'inherited', talk: this.#talk() });
  }

  disinherited(): void {
    this.#listener = undefined;
    this.#dispatch({ type: 'disinherited' });
  }

  onRequest(request: InDialogRequest): void {
    const { method, body } = request.request;
    this.#dispatch({
      type: 'request',
      side: 'offerer',
      method,
      offers: body !== '',
      request: this.#mended(request),
    });
  }

  onEnded(cause: DialogEnd): void {
    const ending: Ending = {
      by: cause.kind === 'engine-down' ? 'gateway' : 'callee',
      status: 200,
      code:
        cause.kind === 'bye'
          ? 'normal_clearing'
          : cause.kind === 'engine-down'
            ? 'shutdown'
            : 'session_failed',
      q850: cause.kind === 'bye' ? 16 : 41,
      detail: '',
    };
    this.#dispatch({ type: 'ended', side: 'offerer', ending });
  }

  // What the call says.

  legProgressed(_leg: InnerLeg, status: number, sdp: Octets): void {
    this.#listener?.progressed(status);
    this.#dispatch({ type: 'progress', sdp });
  }

  legAnswered(_leg: InnerLeg, sdp: Octets): void {
    this.#dispatch({ type: 'answered', sdp, talk: this.#talk() });
  }

  legRejected(_leg: InnerLeg, status: number, _reason: Octets, headers: readonly HeaderField[]): void {
    this.#status = status;
    this.#lastWords = headers.filter(({ name }) => name.toLowerCase() === 'reason');
    this.#dispatch({ type: 'failed', side: 'answerer', ending: endingOf(status) });
  }

  legEnded(_leg: InnerLeg, headers: readonly HeaderField[]): void {
    this.#lastWords = headers;
    this.#dispatch({ type: 'ended', side: 'answerer', ending: endingOf(200) });
  }

  legAsked(_leg: InnerLeg, request: InDialogRequest): void {
    const { method, body } = request.request;
    this.#dispatch({ type: 'request', side: 'answerer', method, offers: body !== '', request });
  }

  #dispatch(event: TransferEvent): void {
    this.#waiting.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        const { state, actions } = advanceTransfer(this.#state!, next);
        this.#state = state;
        for (const action of actions) this.#perform(action);
      }
    } catch (error) {
      this.#crash(error);
    } finally {
      this.#busy = false;
    }
  }

  /** A fault of ours: who was called is released, and the telephone too, or its call goes on. */
  #crash(error: unknown): void {
    const { log, id } = this.#options;
    log.error({ call: id, err: error }, 'a transfer failed inside the gateway');
    this.#waiting.length = 0;
    const ending: Ending = { by: 'gateway', status: 500, code: 'internal_error', q850: 41, detail: '' };
    const { state, actions } = advanceTransfer(this.#state!, { type: 'hang-up', ending });
    this.#state = state;
    for (const action of actions) {
      try {
        this.#perform(action);
      } catch (again) {
        log.error({ call: id, err: again }, 'a leg could not be ended');
      }
    }
  }

  #perform(action: TransferAction): void {
    const { clock, random } = this.#options;
    switch (action.do) {
      case 'take':
        this.#listener?.ended(200);
        this.#side!.take();
        break;
      case 'withdraw':
        this.#listener?.ended(this.#status === 0 ? NOT_TAKEN : this.#status);
        this.#side!.withdraw();
        break;
      case 'reoffer':
        if (action.side === 'offerer') this.#reoffer(action.sdp);
        else
          this.#leg!.reoffer(action.sdp, (status, sdp) =>
            this.#dispatch({ type: 'reoffered', side: 'answerer', status, sdp }),
          );
        break;
      case 'end':
        if (action.side === 'offerer') this.#side!.end(this.#why(action.ending));
        else this.#leg!.finish(reasonOf(action.ending));
        break;
      case 'relay':
        if (action.from === 'offerer') this.#leg!.ask(action.request);
        else this.#side!.relay(action.request);
        break;
      case 'respond':
        action.request.respond(action.status, reasonPhrase(action.status));
        break;
      case 'arm-retry':
        // §14.1: 2.1 to 4 seconds in steps of 10 ms where the Call-ID is ours; where it is not, longer than needed.
        clock.arm(this.#retryTimer, 2_100 + 10 * Math.floor(random() * 191));
        break;
      case 'disarm':
        clock.disarm(this.#retryTimer);
        break;
      case 'joined':
      case 'finish':
        break;
    }
  }

  #reoffer(sdp: Octets): void {
    const done = (status: number, answer: Octets): void =>
      this.#dispatch({ type: 'reoffered', side: 'offerer', status, sdp: answer });
    this.#side!.request({ method: 'INVITE', headers: [SDP_FIELD], body: this.#shown(sdp) }, (outcome) => {
      if (outcome.kind === 'fault') {
        done(statusOfFault(outcome.fault), '');
        return;
      }
      const { response, ack } = outcome;
      ack?.();
      done(response.status, sdpIn(response.headers.get('content-type'), response.body));
    });
  }

  /** One origin over the telephone's dialog, whoever speaks (RFC 3264 §8): it goes on from what its agent said last. */
  #shown(sdp: Octets): Octets {
    const { ours, join } = this.#state!;
    if (this.#origin === null || !ours) {
      this.#origin = new ShownOrigin();
      this.#origin.show(join.told);
    }
    return this.#origin.show(sdp);
  }

  /** Answers to the telephone have that origin too. */
  #mended(request: InDialogRequest): InDialogRequest {
    const respond = request.respond.bind(request);
    const whole = (body: Octets | undefined): Octets | undefined =>
      body?.startsWith('v=0') === true ? this.#shown(body) : body;
    const mended: InDialogRequest = {
      request: request.request,
      respond: (status, reason, headers, body) => respond(status, reason, headers, whole(body)),
    };
    request.onCancel = (cancel) => mended.onCancel?.(cancel);
    request.onAck = (ack) => mended.onAck?.(ack);
    return mended;
  }

  #talk(): Talk {
    const { said, told } = this.#side!;
    return { said, told };
  }

  /** Header fields of the telephone's BYE: what the other side said when it went, or why. */
  #why(ending: Ending): readonly HeaderField[] {
    return this.#lastWords.some(({ name }) => name.toLowerCase() === 'reason')
      ? this.#lastWords
      : [...this.#lastWords, ...reasonOf(ending)];
  }
}

/** Somebody answered, and the telephone does not go to them. */
const NOT_TAKEN = 488;

function reasonOf({ code, q850 }: Ending): readonly HeaderField[] {
  return [{ name: 'Reason', value: q850Reason(q850, code.replaceAll('_', ' ')) }];
}

/** The call has its own record; here only the machine and a BYE want to know. */
const endingOf = (status: number): Ending => ({
  by: 'callee',
  status,
  code: status < 300 ? 'normal_clearing' : 'no_answer',
  q850: 16,
  detail: '',
});
