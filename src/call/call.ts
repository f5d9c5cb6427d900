/**
 * One call: the driver of its machine. It turns what the engine, the resolver, the pacer and the clock say into events
 * and performs the actions on the two legs. All judgement is in `machine.ts` and `hunt.ts`; here are only handles.
 *
 * The objects are their own callbacks (`IncomingInviteEvents`, `DialogEvents`, `TicketEvents`, a `Timer`): a call makes
 * no closure but one per way to resolve. The INVITE is let go once the call is answered.
 */
import type { Trunk } from '#directory/trunk.js';
import type {
  DialogEnd,
  DialogEvents,
  DialogRequestOutcome,
  Engine,
  IncomingInviteEvents,
  InDialogRequest,
  Target,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { type Clock, Timer } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { PaceRefusal, PaceRule, Place, Ticket, TicketEvents } from '#pacing/pacer.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { Callee, NoTargets } from './callee.js';
import { CalleeLeg, type LegOwner } from './callee-leg.js';
import type { CallerDialog, CallerLeg, CallerRequest } from './caller-leg.js';
import { endHeaders, rejectionHeaders } from './endings.js';
import { Handover, type Heir, type NoHandover, type Spoken } from './handover.js';
import { ACK, ANSWER, allowFor, BYE, CANCEL, PROGRESS, REQUEST, relayed } from './header-policy.js';
import { ownFailure, saidWhy, sendablePhrase } from './hunt.js';
import { advance } from './machine.js';
import { mediaWarnings } from './media-reach.js';
import type { CallObserver, CallRecord, CallState, LiveCall } from './observer.js';
import { type CpsLines, presentRule } from './provider-callee.js';
import { Attempt, type CallFacts, recordOf } from './record.js';
import { agreements, answerRelayed, heedSessions, refuseRequest, relayedRequest } from './relay.js';
import {
  type CallAction,
  type CallEvent,
  type CallPlan,
  INITIAL,
  type CallState as Machine,
} from './script.js';
import type { TargetResolver } from './target-resolver.js';

/** What a call uses of the house. */
export interface CallRoom {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  readonly ids: Ids;
  /** An INVITE is about to go to this target; what comes from there is an answer and no stranger's. */
  dialling(target: Target): void;
  /** @param line number of the line among those of the call, from 0 */
  joinLine(call: Call, line: number, rule: PaceRule, timeoutMs: number): Ticket;
  /** A call in progress goes on by another trunk. */
  changeTrunk(from: Trunk | undefined, to: Trunk): void;
  /** The agent of an answered call asks for its transfer. It must be answered. */
  refer(id: string, request: InDialogRequest, dialog: CallerDialog): void;
  /** The provider refused an INVITE of this key for coming too fast. */
  slowDown(rule: PaceRule): void;
  /** The call is over; called once, last. */
  callOver(call: Call, record: CallRecord): void;
}

export class Call
  extends Timer
  implements LiveCall, LegOwner, IncomingInviteEvents, DialogEvents, TicketEvents
{
  readonly #room: CallRoom;
  readonly #plan: CallPlan;
  readonly #facts: CallFacts;
  #callee: Callee | null;
  #machine: Machine = INITIAL;
  #shown: CallState;
  /** The caller's INVITE until it is answered, then its dialog. */
  #invite: CallerLeg | null;
  #request: CallerRequest | null;
  #dialog: CallerDialog | null = null;
  #leg: CalleeLeg | null = null;
  /** Targets of the way being tried. */
  #targets: readonly Target[] | null = null;
  #ticket: Ticket | null = null;
  /** Lines joined: a ticket's id is unique. */
  #lines = 0;
  /** In line; see `TicketRequest`. */
  priority = 0;
  /** Bodies that the sides sent last, as far as they described a session. References only. */
  #callerSaid: Octets;
  #calleeSaid: Octets = '';
  /** Who is to have the telephone's side, or has it. */
  #heir: Heir | null = null;
  #inherited = false;
  #busy = false;
  #waiting: CallEvent[] | null = null;

  constructor(room: CallRoom, plan: CallPlan, facts: CallFacts, caller: CallerLeg, callee: Callee) {
    super();
    this.#room = room;
    this.#plan = plan;
    this.#facts = facts;
    this.#invite = caller;
    this.#request = caller.request;
    this.#callerSaid = caller.request.body;
    this.#callee = callee;
    this.#shown = plan.rules === null ? 'dialing' : 'queued';
  }

  get id(): string {
    return this.#facts.id;
  }

  get state(): CallState {
    return this.#shown;
  }

  get trunkId(): string | null {
    return this.#facts.trunk?.id ?? null;
  }

  get agentId(): string | null {
    return this.#facts.agent?.id ?? null;
  }

  get waitsForTrunk(): boolean {
    return this.#shown === 'queued';
  }

  /** Also for tests: what the machine is in. */
  get phase(): Machine['phase'] {
    return this.#machine.phase;
  }

  /** Its telephone's side is to go to another call. */
  get promised(): boolean {
    return this.#machine.promised;
  }

  record(): CallRecord {
    return recordOf(this.#facts, this.#shown, this.#room.clock.now());
  }

  start(): void {
    this.#invite!.events = this;
    this.dispatch({ type: 'invite', now: this.#room.clock.now() });
  }

  hangUp(code: ReasonCode, detail: string): void {
    this.dispatch({ type: 'hang-up', code, detail });
  }

  repace(lines: CpsLines): void {
    const ticket = this.#ticket;
    if (ticket === null) return;
    const { way } = this.#machine;
    const rule = presentRule(lines, this.#callee!.trunk(way), this.#callee!.pace(way)!);
    if (rule !== undefined) ticket.rule(rule);
  }

  /**
   * Another call is to take over the telephone's side. Nothing changes before it does, or the agent hangs up.
   * @param callId of that call, for the record
   */
  promise(heir: Heir, callId: string): Handover | NoHandover {
    if (this.#machine.phase !== 'talking') return 'not_answered';
    if (this.#machine.promised) return 'transfer_pending';
    const byCaller = this.#plan.called === 'agent';
    this.#heir = heir;
    this.#facts.transferCallId = callId;
    this.dispatch({ type: 'promise' });
    const spoken = (): Spoken => {
      const [said, told] = byCaller
        ? [this.#callerSaid, this.#calleeSaid]
        : [this.#calleeSaid, this.#callerSaid];
      return { said, told };
    };
    const take = (): void => this.dispatch({ type: 'hand-over' });
    const withdraw = (): void => this.dispatch({ type: 'withdraw' });
    const dialog = byCaller ? this.#dialog! : this.#leg!.dialog!;
    return new Handover(dialog, { spoken, take, withdraw }, this.#plan.maxForwards);
  }

  // What the caller's side says.

  onCancel(cause: Parameters<IncomingInviteEvents['onCancel']>[0]): void {
    if (cause.kind === 'cancel') {
      this.dispatch({ type: 'cancel', request: cause.request, detail: 'the caller gave up' });
    } else {
      this.dispatch({ type: 'cancel', request: null, detail: cause.detail });
    }
  }

  onPrack(prack: SipRequest, early: number): void {
    this.dispatch({ type: 'prack', early, request: prack });
  }

  onPrackTimeout(_early: number): void {
    this.dispatch({ type: 'prack-timeout' });
  }

  /** In an early dialog (`early` given) and in the confirmed one. */
  onRequest(request: InDialogRequest, early = -1): void {
    if (this.#inherited) this.#heir!.onRequest(request);
    else this.dispatch({ type: 'request', from: 'caller', attempt: this.#machine.attempt, early, request });
  }

  onAck(ack: SipRequest): void {
    this.dispatch({ type: 'ack', request: ack });
  }

  onEnded(cause: DialogEnd): void {
    if (this.#inherited) this.#heir!.onEnded(cause);
    else this.dispatch({ type: 'ended', leg: 'caller', cause });
  }

  /** `Timer`. */
  override fire(): void {
    this.dispatch({ type: 'timer', now: this.#room.clock.now() });
  }

  // What the callee's side says, handed on by its leg.

  calleeRejected(leg: CalleeLeg, response: SipResponse, detail: string | null): void {
    const now = this.#room.clock.now();
    leg.record.settle('rejected', now, response.status, null, detail ?? saidWhy(response, this.#plan.called));
    if (response.status !== 503 && leg.record.target !== null) this.#room.resolver.release(leg.record.target);
    this.dispatch({ type: 'rejection', now, attempt: leg.attempt, response });
  }

  calleeFault(leg: CalleeLeg, fault: EngineFault): void {
    const now = this.#room.clock.now();
    leg.record.settle('fault', now, 0, fault.kind, fault.detail);
    this.dispatch({ type: 'fault', now, attempt: leg.attempt, fault });
  }

  // What the line says.

  onPlace({ position, waitMs }: Place): void {
    this.dispatch({ type: 'place', now: this.now(), position, waitMs });
  }

  onSlot(): boolean {
    const before = this.#machine.attempt;
    const { phase } = this.#machine;
    if (phase !== 'holding' || this.#busy) return false;
    const repeats = this.#machine.line?.purpose === 'repeat';
    this.#ticket = null;
    this.#facts.outbound?.leaveLine(this.now());
    this.dispatch({ type: 'slot', now: this.now() });
    return repeats || this.#machine.attempt > before;
  }

  onRefused(why: PaceRefusal): void {
    this.#ticket = null;
    this.#facts.outbound?.leaveLine(this.now());
    this.dispatch({ type: 'no-slot', now: this.now(), why });
  }

  now(): number {
    return this.#room.clock.now();
  }

  /**
   * Runs the machine. An event that an action brings about (a name that resolves at once) waits until the actions
   * before it are done.
   */
  dispatch(event: CallEvent): void {
    if (this.#busy) {
      this.#waiting ??= [];
      this.#waiting.push(event);
      return;
    }
    this.#busy = true;
    try {
      this.#run(event);
      while (this.#waiting !== null) {
        const waiting = this.#waiting;
        this.#waiting = null;
        for (const next of waiting) this.#run(next);
      }
    } catch (error) {
      this.#crash(error);
    } finally {
      this.#busy = false;
    }
  }

  #run(event: CallEvent): void {
    const { state, actions } = advance(this.#plan, this.#machine, event);
    this.#machine = state;
    for (let i = 0; i < actions.length; i++) this.#perform(actions[i]!);
  }

  /** A fault of ours: whatever it was, the caller gets an answer, both legs end and the record is written. */
  #crash(error: unknown): void {
    const detail = error instanceof Error ? error.message : String(error);
    this.#room.log.error({ call: this.id, err: error }, 'call failed inside the gateway');
    this.#waiting = null;
    this.#machine = { ...this.#machine, phase: 'ended', best: null, line: null };
    if (this.#shown === 'ended') return;
    const failure = ownFailure('internal_error', detail);
    // One leg's failure must not keep the other from being ended.
    for (const end of [
      () => this.#invite?.reject(failure.status, failure.phrase, rejectionHeaders(this.id, failure)),
      () => this.#dialog?.end(endHeaders(null, BYE, failure.code)),
      () => this.#leg?.ack(),
      () => this.#leg?.end(endHeaders(null, BYE, failure.code)),
    ]) {
      try {
        end();
      } catch (again) {
        this.#room.log.error({ call: this.id, err: again }, 'a leg could not be ended');
      }
    }
    const answered = this.#facts.answeredAt >= 0;
    this.#finish({
      do: 'finish',
      by: 'gateway',
      status: answered ? -1 : failure.status,
      code: failure.code,
      q850: failure.q850,
      detail,
    });
  }

  #perform(action: CallAction): void {
    switch (action.do) {
      case 'resolve':
        this.#resolve(action.way);
        break;
      case 'dial':
        this.#dial(action.attempt, action.way, action.target);
        break;
      case 'join-line':
        this.#joinLine(action.way, action.timeoutMs);
        break;
      case 'leave-line':
        this.#leaveLine();
        break;
      case 'queued':
        this.#queued(action);
        break;
      case 'slow-down':
        this.#room.slowDown(this.#callee!.pace(this.#machine.way)!);
        break;
      case 'repeat':
        this.#leg?.repeat();
        break;
      case 'quarantine': {
        const target = this.#leg?.record.target;
        if (target) {
          if (action.seconds > 0) this.#room.resolver.quarantine(target, action.seconds * 1000);
          else this.#room.resolver.quarantine(target);
        }
        break;
      }
      case 'progress':
        this.#progress(action);
        break;
      case 'prack-callee':
        this.#leg?.prack(
          action.early,
          action.prack === null ? [] : relayed(action.prack, REQUEST, []),
          action.prack?.body,
        );
        break;
      case 'accept':
        this.#accept(action.response, action.early);
        break;
      case 'ack-callee':
        if (action.ack === null) this.#leg?.ack();
        else {
          if (action.ack.body !== '') {
            this.#callerSaid = action.ack.body;
            this.#lookAtMedia();
          }
          this.#leg?.ack(relayed(action.ack, ACK, []), action.ack.body);
        }
        break;
      case 'reject':
        this.#invite?.reject(
          action.failure.status,
          action.failure.phrase,
          rejectionHeaders(this.id, action.failure),
          action.failure.response?.body,
        );
        break;
      case 'cancel-callee':
        this.#leg?.record.settle('cancelled', this.now(), 0, action.code, null);
        this.#leg?.cancel(endHeaders(action.request, CANCEL, action.code));
        break;
      case 'end-caller':
        this.#dialog?.end(endHeaders(action.request, BYE, action.code));
        break;
      case 'end-callee':
        this.#leg?.end(endHeaders(action.request, BYE, action.code));
        break;
      case 'relay':
        this.#relay(action.to, action.early, action.request);
        break;
      case 'bequeath':
        if (this.#plan.called === 'agent') this.#inherited = true;
        else this.#leg!.bequeath(this.#heir!);
        this.#heir!.inherited();
        break;
      case 'disinherit':
        this.#heir?.disinherited();
        break;
      case 'refuse-request':
        refuseRequest(action.request, action.status);
        break;
      case 'refer':
        this.#room.refer(this.id, action.request, this.#agentDialog());
        break;
      case 'arm':
        this.#room.clock.arm(this, action.ms);
        break;
      case 'disarm':
        this.#room.clock.disarm(this);
        break;
      case 'finish':
        this.#finish(action);
        break;
    }
  }

  #resolve(way: number): void {
    this.#callee!.resolve(way, (result) => {
      // The call may have ended, or given up on this way, while DNS was asked.
      if (this.#machine.phase !== 'resolving' || this.#machine.way !== way) return;
      if ('detail' in result) {
        this.#unresolved(way, result);
        return;
      }
      this.#targets = result;
      const first = result[0];
      // Healthy targets come first.
      const healthy = first !== undefined && !this.#room.resolver.isQuarantined(first);
      this.dispatch({ type: 'resolved', now: this.now(), targets: result.length, healthy });
    });
  }

  #unresolved(way: number, { detail, code }: NoTargets): void {
    const now = this.now();
    const callee = this.#callee!;
    const attempt = new Attempt(callee.label(way), callee.trunk(way), null, now);
    attempt.settle('fault', now, 0, code ?? 'unresolved', detail);
    this.#facts.attempts.push(attempt);
    this.dispatch({ type: 'unresolved', now, detail, code });
  }

  #joinLine(way: number, timeoutMs: number): void {
    const rule = this.#callee!.pace(way)!;
    this.#facts.outbound?.joinLine(this.#callee!.trunk(way)?.cpsKey ?? rule.key, this.now());
    if (this.#shown !== 'queued') this.#show('queued');
    this.#ticket = this.#room.joinLine(this, this.#lines++, rule, timeoutMs);
  }

  #leaveLine(): void {
    this.#facts.outbound?.leaveLine(this.now());
    this.#ticket?.cancel();
    this.#ticket = null;
  }

  #queued({ early, reliable, position, waitMs }: CallAction & { do: 'queued' }): void {
    this.#invite!.progress({
      status: 182,
      reason: reasonPhrase(182),
      headers: [
        { name: 'X-Trunkline-Queue-Position', value: String(position) },
        { name: 'X-Trunkline-Queue-Wait', value: String(Math.ceil(waitMs / 1000)) },
        { name: 'X-Trunkline-Call-Id', value: this.id },
      ],
      reliable,
      early,
    });
  }

  #dial(number: number, way: number, index: number): void {
    const callee = this.#callee!;
    const target = this.#targets![index]!;
    const trunk = callee.trunk(way);
    const record = new Attempt(callee.label(way), trunk, target, this.now());
    this.#facts.attempts.push(record);
    if (trunk !== undefined && trunk !== this.#facts.trunk) {
      this.#room.changeTrunk(this.#facts.trunk, trunk);
      this.#facts.changeTrunk(trunk, callee.number(way));
    }
    if (this.#shown === 'queued') this.#show('dialing');
    const leg = new CalleeLeg(this, number, record);
    this.#leg = leg;
    this.#room.dialling(target);
    leg.dial(
      this.#room.engine,
      this.#room.ids,
      callee.invite(way, {
        callId: this.id,
        request: this.#request!,
        target,
        // Only a backstop: the machine's own deadline comes first.
        timeoutMs: this.#plan.ringTimeoutMs + 10_000,
        maxForwards: this.#plan.maxForwards,
        // The gateway takes reliable responses to an INVITE with an offer by itself. Without one the first reliable
        // response carries the offer (RFC 3262 §5), which only a caller that sends PRACK can answer.
        reliable: !this.#plan.delayedOffer || this.#plan.callerReliable,
        refers: this.#plan.agentRefers,
      }),
      callee.login(way),
    );
  }

  #progress(action: CallAction & { do: 'progress' }): void {
    const { response } = action;
    const body = action.bare ? '' : response.body;
    const headers = relayed(action.bare ? { headers: response.headers, body: '' } : response, PROGRESS, []);
    if (response.headers.has('allow'))
      headers.push({ name: 'Allow', value: allowFor(response.headers, this.#refers('caller')) });
    if (body !== '') this.#calleeSaid = body;
    if (this.#facts.ringingAt < 0) this.#facts.ringingAt = this.now();
    this.#invite!.progress({
      status: response.status,
      reason: sendablePhrase(response),
      headers,
      body,
      reliable: action.reliable,
      early: action.early,
    });
    if (this.#shown === 'dialing') this.#show(body === '' ? 'ringing' : 'early-media');
    else if (this.#shown === 'ringing' && body !== '') this.#show('early-media');
  }

  #accept(response: SipResponse, early: number): void {
    const now = this.now();
    const leg = this.#leg!;
    leg.record.settle('answered', now, response.status, null, null);
    if (leg.record.target !== null) this.#room.resolver.release(leg.record.target);
    const headers = relayed(response, ANSWER, []);
    // §13.3.1.4: the 2xx "SHOULD contain an Allow … and a Supported header field".
    headers.push({ name: 'Allow', value: allowFor(response.headers, this.#refers('caller')) });
    agreements(response.headers, headers);
    this.#dialog = this.#invite!.accept(
      { status: response.status, reason: sendablePhrase(response), headers, body: response.body, early },
      this,
    );
    if (response.body !== '') this.#calleeSaid = response.body;
    this.#facts.answeredAt = now;
    this.#facts.status = response.status;
    this.#lookAtMedia();
    this.#release();
    this.#show('answered');
  }

  /** Media pass us by, but a description may say that they will not arrive. */
  #lookAtMedia(): void {
    const facts = this.#facts;
    facts.warnings = mediaWarnings(
      { side: facts.nameOf('caller'), body: this.#callerSaid, address: facts.source.address },
      {
        side: facts.nameOf('callee'),
        body: this.#calleeSaid,
        address: this.#leg?.record.target?.address ?? '',
      },
    );
  }

  /** Lets go of what only the set-up needs. */
  #release(): void {
    this.#invite = null;
    this.#request = null;
    this.#callee = null;
    this.#targets = null;
  }

  #show(state: CallState): void {
    const previous = this.#shown;
    this.#shown = state;
    this.#room.observer.callChanged?.(this, previous);
  }

  /** This side is the agent, and may ask for transfers. */
  #refers(side: 'caller' | 'callee'): boolean {
    return this.#plan.agentRefers && (this.#plan.called === 'agent') === (side === 'callee');
  }

  #agentDialog(): CallerDialog {
    return this.#plan.called === 'agent' ? this.#leg!.dialog! : this.#dialog!;
  }

  #relay(to: 'caller' | 'callee', early: number, request: InDialogRequest): void {
    const options = relayedRequest(request, this.#plan.maxForwards, this.#refers(to));
    const done = (outcome: DialogRequestOutcome): void => {
      answerRelayed(request, outcome, this.#refers(to === 'callee' ? 'caller' : 'callee'));
      heedSessions(request, outcome, (asker, body) => {
        if (asker === (to === 'callee')) this.#callerSaid = body;
        else this.#calleeSaid = body;
      });
    };
    if (early >= 0) {
      if (to === 'callee') this.#leg!.invite!.earlyRequest(early, options, done);
      else this.#invite!.earlyRequest(early, options, done);
      return;
    }
    const pending = (to === 'callee' ? this.#leg!.dialog! : this.#dialog!).request(options, done);
    request.onCancel = (cancel) => pending.cancel(relayed(cancel, CANCEL, []));
  }

  #finish(action: CallAction & { do: 'finish' }): void {
    const facts = this.#facts;
    const now = this.now();
    facts.endedAt = now;
    facts.endedBy = facts.nameOf(action.by);
    if (action.status >= 0) facts.status = action.status;
    facts.q850 = action.q850;
    facts.code = action.code;
    facts.detail = action.detail === '' ? null : action.detail;
    this.#shown = 'ended';
    this.#room.clock.disarm(this);
    this.#leaveLine();
    this.#release();
    this.#dialog = null;
    this.#callerSaid = '';
    this.#calleeSaid = '';
    if (!this.#inherited) this.#heir = null;
    // An attempt that was challenged, and whose repeat never left.
    this.#leg?.record.settle('cancelled', now, 0, action.code, null);
    this.#leg?.forget();
    this.#leg = null;
    this.#room.callOver(this, recordOf(facts, 'ended', now));
  }
}
