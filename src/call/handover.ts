/**
 * One side of an answered call on its way to another call: the side of the telephone, which is not the agent's. Until
 * it is taken the call goes on as it is, and the heir may ask in its dialog; from then on the dialog is the heir's.
 */
import type {
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  InDialogRequest,
  PendingRequest,
} from '#engine/engine.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { descriptionIn } from '#sip/sdp.js';
import type { CallerDialog } from './caller-leg.js';
import { CANCEL, relayed } from './header-policy.js';
import { answerRelayed, relayedRequest } from './relay.js';

/** Who is to take the side over. Its `DialogEvents` are called once the side is its own. */
export interface Heir extends DialogEvents {
  /** The dialog is the heir's: it was taken, or the agent has hung up. */
  inherited(): void;
  /** Both sides of the call have ended before it was taken. */
  disinherited(): void;
}

/** Why a call has no side to hand over. */
export type NoHandover = 'not_answered' | 'transfer_pending';

/** What the side and the call said last, as bodies. */
export interface Spoken {
  readonly said: Octets;
  readonly told: Octets;
}

/** What a call lends of itself. */
export interface Estate {
  spoken(): Spoken;
  take(): void;
  withdraw(): void;
}

export class Handover {
  readonly #dialog: CallerDialog;
  readonly #estate: Estate;
  readonly #maxForwards: number;

  constructor(dialog: CallerDialog, estate: Estate, maxForwards: number) {
    this.#dialog = dialog;
    this.#estate = estate;
    this.#maxForwards = maxForwards;
  }

  /** The last session description of the side; '' when it never sent one. */
  get said(): Octets {
    return descriptionIn(this.#estate.spoken().said);
  }

  /** The last one that it was sent. */
  get told(): Octets {
    return descriptionIn(this.#estate.spoken().told);
  }

  /** A request in the side's dialog. */
  request(options: DialogRequestOptions, done: (outcome: DialogRequestOutcome) => void): PendingRequest {
    return this.#dialog.request(options, done);
  }

  /** A request of the other call's, as one leg's crosses to the other. */
  relay(request: InDialogRequest): void {
    const pending = this.#dialog.request(relayedRequest(request, this.#maxForwards, false), (outcome) =>
      answerRelayed(request, outcome, false),
    );
    request.onCancel = (cancel) => pending.cancel(relayed(cancel, CANCEL, []));
  }

  /** The call lets the side go, with BYE to its agent, and is over. `Heir.inherited` follows. */
  take(): void {
    this.#estate.take();
  }

  /** The call goes on as it is, and may be asked again. Nothing once it was taken. */
  withdraw(): void {
    this.#estate.withdraw();
  }

  /** BYE, once it was taken. */
  end(headers: readonly HeaderField[]): void {
    this.#dialog.end(headers);
  }
}
