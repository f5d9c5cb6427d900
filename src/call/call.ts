/**
 * One inbound call: the driver of its machine. It turns what the engine, the resolver and the clock say into events
 * and performs the actions on the two legs. All judgement is in `machine.ts` and `hunt.ts`; here are only handles.
 *
 * The objects are their own callbacks (`IncomingInviteEvents`, `DialogEvents`, a `Timer`): a call makes no closure
 * but one per endpoint to resolve. The INVITE is let go once the call is answered.
 */
import type {
  Dialog,
  DialogEnd,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  Engine,
  IncomingInvite,
  IncomingInviteEvents,
  InDialogRequest,
  Target,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { type Clock, Timer } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { InboundRoute } from '#routing/decision.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import { reasonPhrase } from '#sip/status.js';
import { agentInvite, type EndpointAddress, endpointAddress } from './agent-invite.js';
import { AgentLeg, type LegOwner } from './agent-leg.js';
import { q850In, q850OfCode, q850Reason } from './causes.js';
import {
  ACK,
  ANSWER,
  allowFor,
  BYE,
  CANCEL,
  PROGRESS,
  REJECT,
  REQUEST,
  RESPONSE,
  relayed,
  requireFor,
  supportedFor,
} from './header-policy.js';
import { type Failure, ownFailure, sendablePhrase, toldStatus } from './hunt.js';
import {
  advance,
  type CallAction,
  type CallEvent,
  type CallPlan,
  INITIAL,
  type CallState as Machine,
} from './machine.js';
import type { CallObserver, CallRecord, CallState, LiveCall } from './observer.js';
import { Attempt, type CallFacts, recordOf } from './record.js';
import type { TargetResolver } from './target-resolver.js';

/** What a call uses of the house. */
export interface CallRoom {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  /** An INVITE is about to go to this target; what comes from there is an answer and no stranger's. */
  dialling(target: Target): void;
  /** The call is over; called once, last. */
  callOver(call: Call, record: CallRecord): void;
}

export class Call extends Timer implements LiveCall, LegOwner, IncomingInviteEvents, DialogEvents {
  readonly #room: CallRoom;
  readonly #plan: CallPlan;
  readonly #facts: CallFacts;
  #route: InboundRoute | null;
  #machine: Machine = INITIAL;
  #shown: CallState = 'dialing';
  /** The caller's INVITE until it is answered, then its dialog. */
  #invite: IncomingInvite | null;
  #request: SipRequest | null;
  #dialog: Dialog | null = null;
  #leg: AgentLeg | null = null;
  /** Targets of the endpoint being tried. */
  #targets: readonly Target[] | null = null;
  #address: EndpointAddress | null = null;
  #busy = false;
  #waiting: CallEvent[] | null = null;

  constructor(room: CallRoom, plan: CallPlan, facts: CallFacts, invite: IncomingInvite, route: InboundRoute) {
    super();
    this.#room = room;
    this.#plan = plan;
    this.#facts = facts;
    this.#invite = invite;
    this.#request = invite.request;
    this.#route = route;
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

  /** Also for tests: what the machine is in. */
  get phase(): Machine['phase'] {
    return this.#machine.phase;
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
    this.dispatch({ type: 'request', from: 'caller', attempt: this.#machine.attempt, early, request });
  }

  onAck(ack: SipRequest): void {
    this.dispatch({ type: 'ack', request: ack });
  }

  onEnded(cause: DialogEnd): void {
    this.dispatch({ type: 'ended', leg: 'caller', cause });
  }

  /** `Timer`. */
  override fire(): void {
    this.dispatch({ type: 'timer', now: this.#room.clock.now() });
  }

  // What the agent's side says, handed on by its leg.

  agentRejected(leg: AgentLeg, response: SipResponse): void {
    const now = this.#room.clock.now();
    leg.record.settle('rejected', now, response.status, null, null);
    if (response.status !== 503 && leg.record.target !== null) this.#room.resolver.release(leg.record.target);
    this.dispatch({ type: 'rejection', now, attempt: leg.attempt, response });
  }

  agentFault(leg: AgentLeg, fault: EngineFault): void {
    const now = this.#room.clock.now();
    leg.record.settle('fault', now, 0, fault.kind, fault.detail);
    this.dispatch({ type: 'fault', now, attempt: leg.attempt, fault });
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
    this.#machine = { ...this.#machine, phase: 'ended', best: null };
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
        this.#resolve(action.endpoint);
        break;
      case 'dial':
        this.#dial(action.attempt, action.endpoint, action.target);
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
      case 'prack-agent':
        this.#leg?.prack(
          action.early,
          action.prack === null ? [] : relayed(action.prack, REQUEST, []),
          action.prack?.body,
        );
        break;
      case 'accept':
        this.#accept(action.response, action.early);
        break;
      case 'ack-agent':
        if (action.ack === null) this.#leg?.ack();
        else this.#leg?.ack(relayed(action.ack, ACK, []), action.ack.body);
        break;
      case 'reject':
        this.#invite?.reject(
          action.failure.status,
          action.failure.phrase,
          rejectionHeaders(this.id, action.failure),
          action.failure.response?.body,
        );
        break;
      case 'cancel-agent':
        this.#leg?.record.settle('cancelled', this.now(), 0, action.code, null);
        this.#leg?.cancel(endHeaders(action.request, CANCEL, action.code));
        break;
      case 'end-caller':
        this.#dialog?.end(endHeaders(action.request, BYE, action.code));
        break;
      case 'end-agent':
        this.#leg?.end(endHeaders(action.request, BYE, action.code));
        break;
      case 'relay':
        this.#relay(action.to, action.early, action.request);
        break;
      case 'refuse-request':
        refuseRequest(action.request, action.status);
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

  #resolve(index: number): void {
    const endpoint = this.#route!.endpoints[index]!;
    this.#address = endpointAddress(endpoint.uri);
    if (this.#address === null) {
      this.#unresolved(index, 'not a SIP URI');
      return;
    }
    this.#room.resolver.resolve(this.#address.uri, (result) => {
      // The call may have ended, or given up on this endpoint, while DNS was asked.
      if (this.#machine.phase !== 'resolving' || this.#machine.endpoint !== index) return;
      if ('detail' in result) {
        this.#unresolved(index, result.detail);
        return;
      }
      this.#targets = result;
      const first = result[0];
      // Healthy targets come first.
      const healthy = first !== undefined && !this.#room.resolver.isQuarantined(first);
      this.dispatch({ type: 'resolved', now: this.now(), targets: result.length, healthy });
    });
  }

  #unresolved(index: number, detail: string): void {
    const now = this.now();
    const attempt = new Attempt(this.#route!.endpoints[index]!.uri, null, now);
    attempt.settle('fault', now, 0, 'unresolved', detail);
    this.#facts.attempts.push(attempt);
    this.dispatch({ type: 'unresolved', now, detail });
  }

  #dial(attempt: number, endpoint: number, index: number): void {
    const route = this.#route!;
    const request = this.#request!;
    const target = this.#targets![index]!;
    const record = new Attempt(route.endpoints[endpoint]!.uri, target, this.now());
    this.#facts.attempts.push(record);
    const leg = new AgentLeg(this, attempt, record);
    this.#leg = leg;
    this.#room.dialling(target);
    leg.dial(
      this.#room.engine,
      agentInvite({
        callId: this.id,
        request,
        trunkId: route.trunk.id,
        relayHeaders: route.trunk.relayHeaders,
        agent: route.agent,
        did: route.did,
        address: this.#address!,
        target,
        // Only a backstop: the machine's own deadline comes first.
        timeoutMs: this.#plan.ringTimeoutMs + 10_000,
        maxForwards: this.#plan.maxForwards,
        // The gateway takes reliable responses to an INVITE with an offer by itself. Without one the first reliable
        // response carries the offer (RFC 3262 §5), which only a caller that sends PRACK can answer.
        reliable: !this.#plan.delayedOffer || this.#plan.callerReliable,
      }),
    );
  }

  #progress(action: CallAction & { do: 'progress' }): void {
    const { response } = action;
    const body = action.bare ? '' : response.body;
    const headers = relayed(action.bare ? { headers: response.headers, body: '' } : response, PROGRESS, []);
    if (response.headers.has('allow')) headers.push({ name: 'Allow', value: allowFor(response.headers) });
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
    headers.push({ name: 'Allow', value: allowFor(response.headers) });
    const supported = supportedFor(response.headers, false);
    if (supported !== '') headers.push({ name: 'Supported', value: supported });
    const required = requireFor(response.headers);
    if (required !== '') headers.push({ name: 'Require', value: required });
    this.#dialog = this.#invite!.accept(
      { status: response.status, reason: sendablePhrase(response), headers, body: response.body, early },
      this,
    );
    this.#facts.answeredAt = now;
    this.#facts.status = response.status;
    this.#release();
    this.#show('answered');
  }

  /** Lets go of what only the set-up needs. */
  #release(): void {
    this.#invite = null;
    this.#request = null;
    this.#route = null;
    this.#targets = null;
    this.#address = null;
  }

  #show(state: CallState): void {
    const previous = this.#shown;
    this.#shown = state;
    this.#room.observer.callChanged?.(this, previous);
  }

  #relay(to: 'caller' | 'agent', early: number, request: InDialogRequest): void {
    const message = request.request;
    const headers = relayed(message, REQUEST, []);
    if (message.headers.has('allow')) headers.push({ name: 'Allow', value: allowFor(message.headers) });
    const supported = supportedFor(message.headers, false);
    if (supported !== '') headers.push({ name: 'Supported', value: supported });
    const required = requireFor(message.headers);
    if (required !== '') headers.push({ name: 'Require', value: required });
    const options: DialogRequestOptions = {
      method: message.method,
      headers,
      body: message.body,
      maxForwards: Math.min(message.maxForwards - 1, this.#plan.maxForwards),
      onProgress: message.method === 'INVITE' ? (response) => passOn(request, response) : undefined,
    };
    const done = (outcome: DialogRequestOutcome): void => answerRelayed(request, outcome);
    if (early >= 0) {
      if (to === 'agent') this.#leg!.invite!.earlyRequest(early, options, done);
      else this.#invite!.earlyRequest(early, options, done);
      return;
    }
    const pending = (to === 'agent' ? this.#leg!.dialog! : this.#dialog!).request(options, done);
    request.onCancel = (cancel) => pending.cancel(relayed(cancel, CANCEL, []));
  }

  #finish(action: CallAction & { do: 'finish' }): void {
    const facts = this.#facts;
    const now = this.now();
    facts.endedAt = now;
    facts.endedBy = action.by;
    if (action.status >= 0) facts.status = action.status;
    facts.q850 = action.q850;
    facts.code = action.code;
    facts.detail = action.detail === '' ? null : action.detail;
    this.#shown = 'ended';
    this.#room.clock.disarm(this);
    this.#release();
    this.#dialog = null;
    this.#leg?.forget();
    this.#leg = null;
    this.#room.callOver(this, recordOf(facts, 'ended', now));
  }
}

/** Header fields of CANCEL or BYE: those of the peer's that brought it about, else a Reason of ours (RFC 3326). */
function endHeaders(request: SipRequest | null, kind: number, code: ReasonCode): HeaderField[] {
  const headers: HeaderField[] = [];
  if (request !== null) relayed(request, kind, headers);
  if (code !== 'normal_clearing' && (request === null || !request.headers.has('reason'))) {
    headers.push({ name: 'Reason', value: q850Reason(q850OfCode(code, 480), words(code)) });
  }
  return headers;
}

/** Header fields of every rejection: why, in SIP's words and in ours, and the id to ask about. */
export function rejectionHeaders(id: string, failure: Failure): HeaderField[] {
  const headers: HeaderField[] = [];
  const { response } = failure;
  if (response !== null) relayed(response, REJECT, headers);
  if (response === null || q850In(response.headers) === undefined) {
    headers.push({ name: 'Reason', value: q850Reason(failure.q850, words(failure.code)) });
  }
  headers.push(
    { name: 'X-Trunkline-Reason', value: failure.code },
    { name: 'X-Trunkline-Call-Id', value: id },
  );
  if (failure.retryAfter > 0) headers.push({ name: 'Retry-After', value: String(failure.retryAfter) });
  return headers;
}

const words = (code: string): string => code.replaceAll('_', ' ');

/** A 1xx to a relayed re-INVITE; the engine has acknowledged it where that was asked. */
function passOn(request: InDialogRequest, response: SipResponse): void {
  request.respond(response.status, sendablePhrase(response), relayed(response, PROGRESS, []), response.body);
}

function refuseRequest(request: InDialogRequest, status: number): void {
  const headers =
    status === 501
      ? [{ name: 'Allow', value: 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE' }]
      : [];
  request.respond(status, reasonPhrase(status), headers);
}

/** Answers a request with what the other side said to it. */
function answerRelayed(request: InDialogRequest, outcome: DialogRequestOutcome): void {
  if (outcome.kind === 'fault') {
    const status = statusOfFault(outcome.fault);
    request.respond(status, reasonPhrase(status), [
      { name: 'Reason', value: `SIP;cause=${status};text="${outcome.fault.kind}"` },
    ]);
    return;
  }
  const { response, ack } = outcome;
  const status = response.status < 300 ? response.status : toldStatus(response.status);
  const headers = relayed(response, RESPONSE, []);
  if (response.headers.has('allow')) headers.push({ name: 'Allow', value: allowFor(response.headers) });
  const supported = supportedFor(response.headers, false);
  if (supported !== '') headers.push({ name: 'Supported', value: supported });
  const required = requireFor(response.headers);
  if (required !== '') headers.push({ name: 'Require', value: required });
  if (ack !== undefined) {
    // An offer in the re-INVITE has its answer now. Without one the 2xx made the offer, and the answer comes with the
    // ACK of the side that asked.
    if (request.request.body !== '' || response.body === '') ack();
    else request.onAck = (answer) => ack(relayed(answer, ACK, []), answer.body);
  }
  request.respond(
    status,
    status === response.status ? sendablePhrase(response) : reasonPhrase(status),
    headers,
    response.body,
  );
}

function statusOfFault(fault: EngineFault): number {
  switch (fault.kind) {
    case 'timeout':
      return 408;
    case 'glare':
      return 491;
    case 'capacity':
    case 'engine-down':
      return 503;
    default:
      return 481;
  }
}
