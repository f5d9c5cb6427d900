/** One INVITE to an agent and the dialog that may come of it: handles only, all judgement is the machine's. */
import type {
  Dialog,
  DialogEnd,
  DialogEvents,
  Engine,
  InDialogRequest,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { CallEvent } from './machine.js';
import type { Attempt } from './record.js';

type Progress = Parameters<OutgoingInviteEvents['onProgress']>[0];
type Answer = Parameters<OutgoingInviteEvents['onAnswer']>[0];

/** The call that a leg belongs to. */
export interface LegOwner {
  now(): number;
  dispatch(event: CallEvent): void;
  agentRejected(leg: AgentLeg, response: SipResponse): void;
  agentFault(leg: AgentLeg, fault: EngineFault): void;
}

export class AgentLeg implements OutgoingInviteEvents, DialogEvents {
  readonly attempt: number;
  readonly record: Attempt;
  invite: OutgoingInvite | null = null;
  dialog: Dialog | null = null;
  /** Null once this leg counts no longer: cancelled, failed, or the call is over. */
  #call: LegOwner | null;
  /** The 2xx that has not been acknowledged. */
  #answer: Answer | null = null;
  /** Reliable responses whose PRACK waits for the caller's, by the callee's early dialog. */
  #pracks: Map<number, NonNullable<Progress['prack']>> | null = null;

  constructor(call: LegOwner, attempt: number, record: Attempt) {
    this.#call = call;
    this.attempt = attempt;
    this.record = record;
  }

  dial(engine: Engine, options: OutgoingInviteOptions): void {
    this.invite = engine.invite(options, this);
    this.invite.dialogEvents = this;
  }

  /** Gives up; what the engine still hears of this INVITE is its own affair. */
  cancel(headers: readonly HeaderField[]): void {
    const { invite } = this;
    this.forget();
    invite?.cancel(headers);
  }

  ack(headers?: readonly HeaderField[], body?: Octets): void {
    const answer = this.#answer;
    this.#answer = null;
    answer?.ack(headers, body);
  }

  prack(early: number, headers: readonly HeaderField[], body: Octets | undefined): void {
    const index = Math.max(early, 0);
    const prack = this.#pracks?.get(index);
    if (prack === undefined) return;
    this.#pracks!.delete(index);
    prack(headers, body === '' ? undefined : body);
  }

  /** BYE once there is a dialog, CANCEL before. */
  end(headers: readonly HeaderField[]): void {
    const { dialog, invite } = this;
    this.forget();
    if (dialog !== null) dialog.end(headers);
    else invite?.cancel(headers);
  }

  /** No event of this leg counts any more. */
  forget(): void {
    this.#call = null;
    this.invite = null;
    this.dialog = null;
    this.#pracks = null;
  }

  onSent(sent: { readonly callId: Octets }): void {
    this.record.callId = sent.callId;
  }

  onProgress(progress: Progress): void {
    const call = this.#call;
    if (call === null) {
      // Cancelled meanwhile: the response is acknowledged, its offer refused by silence.
      progress.prack?.([], undefined);
      return;
    }
    const { prack } = progress;
    if (prack !== undefined) {
      this.#pracks ??= new Map();
      this.#pracks.set(Math.max(progress.early, 0), prack);
    }
    call.dispatch({
      type: 'progress',
      now: call.now(),
      attempt: this.attempt,
      response: progress.response,
      early: progress.early,
      reliable: progress.reliable,
      offer: prack !== undefined,
    });
  }

  onAnswer(answer: Answer): void {
    const call = this.#call;
    if (call === null) {
      // The port promises that an answer which crosses a CANCEL is ended unseen; nobody is left to talk to, so be sure.
      answer.ack();
      answer.dialog.end();
      return;
    }
    this.#answer = answer;
    this.dialog = answer.dialog;
    this.invite = null;
    this.#pracks = null;
    call.dispatch({ type: 'answer', attempt: this.attempt, response: answer.response, early: answer.early });
  }

  onReject(response: SipResponse): void {
    const call = this.#call;
    if (call === null) return;
    this.invite = null;
    call.agentRejected(this, response);
  }

  onFault(fault: EngineFault): void {
    const call = this.#call;
    if (call === null) return;
    this.invite = null;
    call.agentFault(this, fault);
  }

  /** In an early dialog (`early` given) and in the confirmed one. */
  onRequest(request: InDialogRequest, early = -1): void {
    if (this.#call === null) request.respond(481, reasonPhrase(481));
    else this.#call.dispatch({ type: 'request', from: 'agent', attempt: this.attempt, early, request });
  }

  onEnded(cause: DialogEnd): void {
    this.#call?.dispatch({ type: 'ended', leg: 'agent', cause });
  }
}
