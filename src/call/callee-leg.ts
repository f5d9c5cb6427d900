/**
 * One attempt to reach the callee, with its INVITE (or several of the same Call-ID, where the first was challenged) and
 * the dialog that may come of it: handles only, all judgement is the machine's.
 */
import { AuthenticatedInvite } from '#auth/authenticated-invite.js';
import type {
  Dialog,
  DialogEnd,
  DialogEvents,
  Engine,
  InDialogRequest,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  Source,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { Ids } from '#lib/ids.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import { fromText, type Octets, printable } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { Login } from './callee.js';
import type { Attempt } from './record.js';
import type { CallEvent } from './script.js';

type Sent = Parameters<NonNullable<OutgoingInviteEvents['onSent']>>[0];
type Progress = Parameters<OutgoingInviteEvents['onProgress']>[0];
type Answer = Parameters<OutgoingInviteEvents['onAnswer']>[0];

/** The call that a leg belongs to. */
export interface LegOwner {
  now(): number;
  dispatch(event: CallEvent): void;
  /** `detail`: why a challenge has no answer. */
  calleeRejected(leg: CalleeLeg, response: SipResponse, detail: string | null): void;
  calleeFault(leg: CalleeLeg, fault: EngineFault): void;
}

export class CalleeLeg implements OutgoingInviteEvents, DialogEvents {
  readonly attempt: number;
  readonly record: Attempt;
  invite: OutgoingInvite | null = null;
  dialog: Dialog | null = null;
  /** What may be repeated with credentials; null when no challenge is answered. */
  #login: AuthenticatedInvite | null = null;
  #expectedRealm: string | undefined = undefined;
  /** Null once this leg counts no longer: cancelled, failed, or the call is over. */
  #call: LegOwner | null;
  /** The 2xx that has not been acknowledged. */
  #answer: Answer | null = null;
  /** Who has the dialog once it is the call's no more. */
  #heir: DialogEvents | null = null;
  /** Reliable responses whose PRACK waits for the caller's, by the callee's early dialog. */
  #pracks: Map<number, NonNullable<Progress['prack']>> | null = null;

  constructor(call: LegOwner, attempt: number, record: Attempt) {
    this.#call = call;
    this.attempt = attempt;
    this.record = record;
  }

  /** @param login undefined: challenges are final */
  dial(engine: Engine, ids: Ids, options: OutgoingInviteOptions, login: Login | undefined): void {
    if (login === undefined) {
      this.#listen(engine.invite(options, this));
      return;
    }
    const { credentials, memory, mostChallenges } = login;
    this.#expectedRealm = login.expectedRealm;
    this.#login = new AuthenticatedInvite(engine, ids, options, credentials, memory, mostChallenges);
    this.#listen(this.#login.send(this));
  }

  /** The INVITE once more, after `calleeChallenged`. */
  repeat(): void {
    if (this.#login !== null) this.#listen(this.#login.send(this));
  }

  #listen(invite: OutgoingInvite): void {
    invite.dialogEvents = this;
    this.invite = invite;
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

  /** What the dialog says from now on is the heir's to hear. */
  bequeath(heir: DialogEvents): void {
    this.forget();
    this.#heir = heir;
  }

  /** No event of this leg counts any more. */
  forget(): void {
    this.#call = null;
    this.invite = null;
    this.dialog = null;
    this.#pracks = null;
  }

  onSent(sent: Sent): void {
    this.record.callId = sent.callId;
    this.#login?.onSent(sent);
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
    this.#login?.takeNextNonce(answer.response);
    this.#answer = answer;
    this.dialog = answer.dialog;
    this.invite = null;
    this.#pracks = null;
    call.dispatch({ type: 'answer', attempt: this.attempt, response: answer.response, early: answer.early });
  }

  onReject(response: SipResponse, source: Source): void {
    const call = this.#call;
    if (call === null) return;
    this.invite = null;
    const login = this.#login;
    if (login?.challenged(response, source) === true) {
      this.record.challenges = login.count;
      this.record.note = strangeRealm(login.challenge?.realm, this.#expectedRealm);
      // Early dialogs end with the INVITE that made them.
      this.#pracks = null;
      call.dispatch({ type: 'challenged', now: call.now(), attempt: this.attempt });
      return;
    }
    call.calleeRejected(this, response, login === null ? null : whyUnanswered(login, response));
  }

  onFault(fault: EngineFault): void {
    const call = this.#call;
    if (call === null) return;
    this.invite = null;
    call.calleeFault(this, fault);
  }

  /** In an early dialog (`early` given) and in the confirmed one. */
  onRequest(request: InDialogRequest, early = -1): void {
    if (this.#heir !== null) this.#heir.onRequest(request);
    else if (this.#call === null) request.respond(481, reasonPhrase(481));
    else this.#call.dispatch({ type: 'request', from: 'callee', attempt: this.attempt, early, request });
  }

  onEnded(cause: DialogEnd): void {
    if (this.#heir !== null) this.#heir.onEnded(cause);
    else this.#call?.dispatch({ type: 'ended', leg: 'callee', cause });
  }
}

function strangeRealm(realm: Octets | undefined, expected: string | undefined): string | null {
  if (realm === undefined || expected === undefined || realm === fromText(expected)) return null;
  return `the realm ${printable(realm, 80)} is not the domain ${printable(fromText(expected), 80)}`;
}

function whyUnanswered(login: AuthenticatedInvite, { status }: SipResponse): string | null {
  if (status !== 401 && status !== 407) return null;
  if (login.foreignChallenge) return 'the challenge came from an address that was not asked';
  if (login.algorithmUnsupported) return 'no challenge has an algorithm that is supported';
  const realm = printable(login.challenge?.realm ?? '', 80);
  return login.count > 0
    ? `the credentials were not taken (realm ${realm}, challenges answered: ${login.count})`
    : `credentials were asked for (realm ${realm}) and are not answered`;
}
