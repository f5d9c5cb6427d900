/**
 * One inbound call as a pure state machine: (plan, state, event) → (state, actions). It knows a caller's leg, at most
 * one agent's leg that still counts, and the hunt over endpoints and targets. No sockets, no clock: `now` comes with
 * the events, and the driver performs the actions in order.
 *
 * One function per state, one arm per event. What no arm names changes nothing: late events are normal in SIP.
 *
 * Rules that hold in every row:
 * - The caller gets exactly one final answer, unless it has gone first.
 * - A leg that was cancelled is forgotten at once. The engine ends it, also when its 2xx crosses our CANCEL
 *   (engine port: acknowledged and ended unseen), so events of earlier attempts find no row.
 * - `finish` is the last action of a call, and comes once.
 *
 * Time: one timer. Until something rings the caller waits at most `setupTimeoutMs`, then `ringTimeoutMs`, both counted
 * from its INVITE, all attempts together. While another target is left to try, an endpoint that says nothing within
 * `attemptTimeoutMs` is given up.
 */
import type { DialogEnd, InDialogRequest } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import { q850In, q850OfCode } from './causes.js';
import { RELAYED_METHODS } from './header-policy.js';
import {
  afterFault,
  afterResponse,
  better,
  type Failure,
  failureOf,
  failureOfFault,
  type Onward,
  ownFailure,
  quarantines,
  RETRY_AFTER_SECONDS,
} from './hunt.js';
import type { EndedBy } from './observer.js';

/** What does not change during a call. */
export interface CallPlan {
  /** Number of endpoints to try; at least 1. */
  readonly endpoints: number;
  /** From the INVITE to the answer, once something rings. */
  readonly ringTimeoutMs: number;
  /** From the INVITE to the first sign of ringing. */
  readonly setupTimeoutMs: number;
  /** Silence of one endpoint before the next is tried. */
  readonly attemptTimeoutMs: number;
  /** From the answer on; 0 for no bound. */
  readonly maxDurationMs: number;
  readonly failoverStatuses: ReadonlySet<number>;
  readonly maxForwards: number;
  /** The INVITE carries no body: the offer comes from the agent (RFC 3261 §13.2.1). */
  readonly delayedOffer: boolean;
  /** The caller takes reliable provisional responses. */
  readonly callerReliable: boolean;
  /** The caller insists on them. */
  readonly callerRequiresReliable: boolean;
}

export type Phase =
  | 'new'
  /** Waiting for addresses of an endpoint. */
  | 'resolving'
  /** INVITE sent, nothing rings. */
  | 'trying'
  | 'ringing'
  /** 2xx passed on; the agent's ACK waits for the caller's, which carries the answer to a delayed offer. */
  | 'confirming'
  | 'talking'
  | 'ended';

export interface CallState {
  readonly phase: Phase;
  /** Index of the endpoint being tried. */
  readonly endpoint: number;
  /** The next endpoint in order. */
  readonly following: number;
  /** Endpoints put off because all their targets are in quarantine; tried when the others have failed. */
  readonly postponed: readonly number[];
  /** The endpoint being tried has been put off before. */
  readonly lastResort: boolean;
  /** Index of the target among those of the endpoint, and their number. */
  readonly target: number;
  readonly targets: number;
  /** Number of the attempt under way, from 1; 0 before the first. */
  readonly attempt: number;
  /** The endpoint of this attempt has sent something. */
  readonly heard: boolean;
  /** When the INVITE came, in `now` time. */
  readonly startedAt: number;
  /** When the timer means the end of waiting, in `now` time. */
  readonly deadline: number;
  /** Provisional responses passed on in this attempt. */
  readonly progressed: number;
  /** Early dialogs towards the caller: those of this attempt start at `earlyBase`, the next attempt's at `earlyNext`. */
  readonly earlyBase: number;
  readonly earlyNext: number;
  /** The best failure so far. */
  readonly best: Failure | null;
}

export const INITIAL: CallState = {
  phase: 'new',
  endpoint: 0,
  following: 1,
  postponed: [],
  lastResort: false,
  target: 0,
  targets: 0,
  attempt: 0,
  heard: false,
  startedAt: 0,
  deadline: 0,
  progressed: 0,
  earlyBase: 0,
  earlyNext: 0,
  best: null,
};

/** Nothing of a call matters to its machine once it is over. */
const ENDED: CallState = { ...INITIAL, phase: 'ended' };

export type CallEvent =
  | { readonly type: 'invite'; readonly now: number }
  /** `healthy`: not all of the targets are in quarantine. */
  | { readonly type: 'resolved'; readonly now: number; readonly targets: number; readonly healthy: boolean }
  | { readonly type: 'unresolved'; readonly now: number; readonly detail: string }
  | {
      readonly type: 'progress';
      readonly now: number;
      readonly attempt: number;
      readonly response: SipResponse;
      readonly early: number;
      readonly reliable: boolean;
      /** The agent's PRACK waits for the caller's, which carries the answer. */
      readonly offer: boolean;
    }
  | {
      readonly type: 'answer';
      readonly attempt: number;
      readonly response: SipResponse;
      readonly early: number;
    }
  | {
      readonly type: 'rejection';
      readonly now: number;
      readonly attempt: number;
      readonly response: SipResponse;
    }
  | { readonly type: 'fault'; readonly now: number; readonly attempt: number; readonly fault: EngineFault }
  /** `request` is the CANCEL; null when the caller was lost. */
  | { readonly type: 'cancel'; readonly request: SipRequest | null; readonly detail: string }
  | { readonly type: 'prack'; readonly early: number; readonly request: SipRequest }
  | { readonly type: 'prack-timeout' }
  | { readonly type: 'ack'; readonly request: SipRequest }
  /** `early` is −1 in a confirmed dialog; from the agent it counts its own early dialogs. */
  | {
      readonly type: 'request';
      readonly from: 'caller' | 'agent';
      readonly attempt: number;
      readonly early: number;
      readonly request: InDialogRequest;
    }
  | { readonly type: 'ended'; readonly leg: 'caller' | 'agent'; readonly cause: DialogEnd }
  | { readonly type: 'timer'; readonly now: number }
  /** The gateway ends the call: drain, management API, a failure of ours. */
  | { readonly type: 'hang-up'; readonly code: ReasonCode; readonly detail: string };

export type CallAction =
  | { readonly do: 'resolve'; readonly endpoint: number }
  /** INVITE to target number `target` of the endpoint. */
  | { readonly do: 'dial'; readonly attempt: number; readonly endpoint: number; readonly target: number }
  /** The target of the attempt under way is dead, or wants to be left alone for `seconds` (0: the resolver's choice). */
  | { readonly do: 'quarantine'; readonly seconds: number }
  | {
      readonly do: 'progress';
      readonly response: SipResponse;
      readonly early: number;
      readonly reliable: boolean;
      /** Without its body: the caller could not answer the offer in it. */
      readonly bare: boolean;
    }
  /** Acknowledge the agent's reliable response: with the caller's PRACK, or emptily. */
  | { readonly do: 'prack-agent'; readonly early: number; readonly prack: SipRequest | null }
  | { readonly do: 'accept'; readonly response: SipResponse; readonly early: number }
  /** `ack`: the caller's, whose header fields and body go along; null for an empty one. */
  | { readonly do: 'ack-agent'; readonly ack: SipRequest | null }
  | { readonly do: 'reject'; readonly failure: Failure }
  /** CANCEL; its Reason is that of `request` (the caller's CANCEL), else made from `code`. */
  | { readonly do: 'cancel-agent'; readonly request: SipRequest | null; readonly code: ReasonCode }
  /** BYE; its Reason is that of `request` (the other side's BYE), else made from `code`. */
  | { readonly do: 'end-caller'; readonly request: SipRequest | null; readonly code: ReasonCode }
  | { readonly do: 'end-agent'; readonly request: SipRequest | null; readonly code: ReasonCode }
  | {
      readonly do: 'relay';
      readonly to: 'caller' | 'agent';
      readonly early: number;
      readonly request: InDialogRequest;
    }
  | { readonly do: 'refuse-request'; readonly request: InDialogRequest; readonly status: number }
  | { readonly do: 'arm'; readonly ms: number }
  | { readonly do: 'disarm' }
  /** `status`: the caller's final status; 0 when it was lost before one; −1 when it was answered long ago. */
  | {
      readonly do: 'finish';
      readonly by: EndedBy;
      readonly status: number;
      readonly code: ReasonCode;
      readonly q850: number;
      readonly detail: string;
    };

export interface Step {
  readonly state: CallState;
  readonly actions: readonly CallAction[];
}

/** A callee that forks or repeats itself without end is listened to no further; final answers still count. */
export const MAX_PROGRESS_PER_ATTEMPT = 64;
export const MAX_EARLY_PER_ATTEMPT = 16;

const NONE: readonly CallAction[] = [];
const DISARM: CallAction = { do: 'disarm' };
const EMPTY_ACK: CallAction = { do: 'ack-agent', ack: null };

const stay = (state: CallState): Step => ({ state, actions: NONE });

/** Never throws. */
export function advance(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (state.phase) {
    case 'new':
      return whenNew(plan, state, event);
    case 'resolving':
      return whenResolving(plan, state, event);
    case 'trying':
    case 'ringing':
      return whenCalling(plan, state, event);
    case 'confirming':
    case 'talking':
      return whenAnswered(state, event);
    case 'ended':
      return whenEnded(state, event);
  }
}

function whenNew(plan: CallPlan, state: CallState, event: CallEvent): Step {
  if (event.type !== 'invite') return stay(state);
  const wait = Math.min(plan.ringTimeoutMs, plan.setupTimeoutMs);
  return {
    state: { ...state, phase: 'resolving', startedAt: event.now, deadline: event.now + wait },
    actions: [
      { do: 'arm', ms: wait },
      { do: 'resolve', endpoint: 0 },
    ],
  };
}

function whenResolving(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'resolved':
      if (event.targets === 0)
        return goOn(plan, state, event.now, 'next-endpoint', unresolved('no address'), []);
      if (!event.healthy && !state.lastResort && endpointsLeft(plan, state)) {
        // A dead agent is tried once per quarantine, not once per call.
        return resolveNext(
          plan,
          { ...state, postponed: [...state.postponed, state.endpoint] },
          event.now,
          [],
        );
      }
      return dial({ ...state, targets: event.targets }, plan, 0, event.now, []);
    case 'unresolved':
      return goOn(plan, state, event.now, 'next-endpoint', unresolved(event.detail), []);
    case 'cancel':
      return callerGone(event.request, event.detail, []);
    case 'timer':
      return giveUp(better(state.best, ownFailure('no_answer', 'no address in time')), []);
    case 'prack-timeout':
      return giveUp(prackMissing(), []);
    case 'hang-up':
      return giveUp(hungUp(event.code, event.detail), []);
    case 'request':
      return refuse(state, event.request, 481);
    default:
      return stay(state);
  }
}

/** An INVITE to an agent is under way. */
function whenCalling(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'progress':
      return event.attempt === state.attempt ? progress(plan, state, event) : stay(state);
    case 'answer':
      return event.attempt === state.attempt ? answer(plan, state, event) : stay(state);
    case 'rejection': {
      if (event.attempt !== state.attempt) return stay(state);
      const onward = afterResponse(event.response.status, plan.failoverStatuses);
      const actions: CallAction[] = [];
      if (event.response.status === 503) {
        // §21.5.4: "the client SHOULD NOT forward any other requests to that server for the duration specified in
        // the Retry-After".
        const seconds = retryAfter(event.response);
        if (seconds > 0) actions.push({ do: 'quarantine', seconds });
      }
      return goOn(plan, state, event.now, onward, failureOf(event.response), actions);
    }
    case 'fault': {
      if (event.attempt !== state.attempt) return stay(state);
      const onward = afterFault(event.fault, state.heard);
      const actions: CallAction[] = [];
      if (onward === 'next-target' && quarantines(event.fault))
        actions.push({ do: 'quarantine', seconds: 0 });
      return goOn(plan, state, event.now, onward, failureOfFault(event.fault), actions);
    }
    case 'cancel':
      return callerGone(event.request, event.detail, [
        {
          do: 'cancel-agent',
          request: event.request,
          code: event.request === null ? 'caller_lost' : 'caller_cancelled',
        },
      ]);
    case 'timer':
      return timeOut(plan, state, event.now);
    case 'prack':
      return passPrack(state, event.early, event.request);
    case 'prack-timeout':
      return giveUp(prackMissing(), [{ do: 'cancel-agent', request: null, code: 'caller_timeout' }]);
    case 'request':
      return earlyRequest(state, event);
    case 'hang-up':
      return giveUp(hungUp(event.code, event.detail), [
        { do: 'cancel-agent', request: null, code: event.code },
      ]);
    default:
      return stay(state);
  }
}

/** Both legs are dialogs. */
function whenAnswered(state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'ack':
      if (state.phase !== 'confirming') return stay(state);
      return { state: { ...state, phase: 'talking' }, actions: [{ do: 'ack-agent', ack: event.request }] };
    case 'request': {
      if (event.attempt !== state.attempt) return refuse(state, event.request, 481);
      const refusal = refusalOf(event.request.request);
      if (refusal !== 0) return refuse(state, event.request, refusal);
      return {
        state,
        actions: [
          {
            do: 'relay',
            to: event.from === 'caller' ? 'agent' : 'caller',
            early: -1,
            request: event.request,
          },
        ],
      };
    }
    case 'ended':
      return dialogEnded(state, event.leg, event.cause);
    case 'timer':
      return endBoth(state, 'max_duration', 'the longest permitted duration is reached');
    case 'hang-up':
      return endBoth(state, event.code, event.detail);
    default:
      return stay(state);
  }
}

function whenEnded(state: CallState, event: CallEvent): Step {
  // Every request deserves its answer, also one that was on its way when the call ended.
  return event.type === 'request' ? refuse(state, event.request, 481) : stay(state);
}

function progress(plan: CallPlan, state: CallState, event: CallEvent & { type: 'progress' }): Step {
  const { status } = event.response;
  // §16.7 step 5 forwards "any provisional responses other than 100".
  if (status === 100) return heardFrom(plan, state, event.now);
  if (state.progressed >= MAX_PROGRESS_PER_ATTEMPT || event.early >= MAX_EARLY_PER_ATTEMPT)
    return stay(state);

  const early = state.earlyBase + Math.max(event.early, 0);
  const actions: CallAction[] = [];
  // An offer that needs a PRACK from a caller who cannot send one is answered with nothing and not shown.
  const bare = event.offer && !plan.callerReliable;
  if (bare) actions.push({ do: 'prack-agent', early: event.early, prack: null });
  const reliable =
    plan.callerReliable && (event.reliable || plan.callerRequiresReliable || event.response.body !== '');
  actions.push({ do: 'progress', response: event.response, early, reliable, bare });

  const deadline = state.startedAt + plan.ringTimeoutMs;
  // Often the timer stands right already: two timers moved per call less.
  if (state.deadline !== deadline || (!state.heard && moreToTry(plan, state))) {
    actions.push({ do: 'arm', ms: Math.max(deadline - event.now, 0) });
  }
  return {
    state: {
      ...state,
      phase: 'ringing',
      heard: true,
      deadline,
      progressed: state.progressed + 1,
      earlyNext: Math.max(state.earlyNext, early + 1),
    },
    actions,
  };
}

/** A 100: the endpoint lives, so the attempt time-out no longer applies. */
function heardFrom(plan: CallPlan, state: CallState, now: number): Step {
  if (state.heard) return stay(state);
  return {
    state: { ...state, heard: true },
    actions: moreToTry(plan, state) ? [{ do: 'arm', ms: Math.max(state.deadline - now, 0) }] : NONE,
  };
}

function answer(plan: CallPlan, state: CallState, event: CallEvent & { type: 'answer' }): Step {
  const early = state.earlyBase + Math.max(event.early, 0);
  // §13.2.2.4: "If the offer is in the 2xx, the ACK MUST carry an answer in its body", which only the caller knows.
  const confirming = plan.delayedOffer && event.response.body !== '';
  const actions: CallAction[] = [{ do: 'accept', response: event.response, early }];
  if (!confirming) actions.push(EMPTY_ACK);
  actions.push(plan.maxDurationMs > 0 ? { do: 'arm', ms: plan.maxDurationMs } : DISARM);
  return { state: { ...state, phase: confirming ? 'confirming' : 'talking', best: null }, actions };
}

function timeOut(plan: CallPlan, state: CallState, now: number): Step {
  if (now >= state.deadline) {
    const rings = state.phase === 'ringing';
    const code: ReasonCode = rings ? 'ring_timeout' : 'no_answer';
    const failure = rings
      ? ownFailure(code, 'the agent rang and did not answer in time')
      : better(
          state.best,
          ownFailure(
            code,
            state.heard ? 'the agent said 100 and then nothing' : 'the agent said nothing at all',
          ),
        );
    const actions: CallAction[] = [{ do: 'cancel-agent', request: null, code }];
    if (!state.heard) actions.push({ do: 'quarantine', seconds: 0 });
    return giveUp(failure, actions);
  }
  // A timer that fired for an endpoint which spoke in the same instant.
  if (state.heard || !moreToTry(plan, state)) {
    return { state, actions: [{ do: 'arm', ms: state.deadline - now }] };
  }
  return goOn(
    plan,
    state,
    now,
    'next-target',
    ownFailure('no_answer', `nothing heard within ${plan.attemptTimeoutMs} ms`),
    [
      { do: 'cancel-agent', request: null, code: 'no_answer' },
      { do: 'quarantine', seconds: 0 },
    ],
  );
}

function endpointsLeft(plan: CallPlan, state: CallState): boolean {
  return state.following < plan.endpoints || state.postponed.length > 0;
}

function moreToTry(plan: CallPlan, state: CallState): boolean {
  return state.target + 1 < state.targets || endpointsLeft(plan, state);
}

/** On to the next endpoint; there is one. */
function resolveNext(plan: CallPlan, state: CallState, now: number, actions: CallAction[]): Step {
  const lastResort = state.following >= plan.endpoints;
  const endpoint = lastResort ? state.postponed[0]! : state.following;
  actions.push({ do: 'arm', ms: Math.max(state.deadline - now, 0) }, { do: 'resolve', endpoint });
  return {
    state: {
      ...state,
      phase: 'resolving',
      endpoint,
      following: lastResort ? state.following : state.following + 1,
      postponed: lastResort ? state.postponed.slice(1) : state.postponed,
      lastResort,
      target: 0,
      targets: 0,
      earlyBase: state.earlyNext,
    },
    actions,
  };
}

/** After a failed attempt: the next target, the next endpoint, or the end. */
function goOn(
  plan: CallPlan,
  state: CallState,
  now: number,
  onward: Onward,
  failure: Failure,
  actions: CallAction[],
): Step {
  // An answer that ends the hunt is the one to tell of: the agent has been found and said no.
  if (onward === 'stop') return giveUp(failure, actions);
  const best = better(state.best, failure);
  if (now < state.deadline) {
    if (onward === 'next-target' && state.target + 1 < state.targets) {
      return dial({ ...state, best }, plan, state.target + 1, now, actions);
    }
    if (endpointsLeft(plan, state)) return resolveNext(plan, { ...state, best }, now, actions);
  }
  return giveUp(best, actions);
}

function dial(state: CallState, plan: CallPlan, target: number, now: number, actions: CallAction[]): Step {
  const next: CallState = {
    ...state,
    phase: 'trying',
    target,
    attempt: state.attempt + 1,
    heard: false,
    progressed: 0,
    earlyBase: state.earlyNext,
  };
  actions.push({ do: 'dial', attempt: next.attempt, endpoint: next.endpoint, target });
  // The deadline is armed already when this is the first attempt and there is no other.
  const left = state.deadline - now;
  if (moreToTry(plan, next)) actions.push({ do: 'arm', ms: Math.min(plan.attemptTimeoutMs, left) });
  else if (next.attempt > 1) actions.push({ do: 'arm', ms: left });
  return { state: next, actions };
}

function giveUp(failure: Failure, actions: CallAction[]): Step {
  const byAgent = failure.code === 'agent_rejected' || failure.code === 'agent_busy';
  actions.push({ do: 'reject', failure }, DISARM, {
    do: 'finish',
    by: byAgent ? 'agent' : 'gateway',
    status: failure.status,
    code: failure.code,
    q850: failure.q850,
    detail: failure.detail,
  });
  return { state: ENDED, actions };
}

/** The engine has answered 487 already, or there is nobody left to answer. */
function callerGone(cancel: SipRequest | null, detail: string, actions: CallAction[]): Step {
  const code: ReasonCode = cancel === null ? 'caller_lost' : 'caller_cancelled';
  const status = cancel === null ? 0 : 487;
  actions.push(DISARM, {
    do: 'finish',
    by: 'caller',
    status,
    code,
    q850: (cancel === null ? undefined : q850In(cancel.headers)) ?? q850OfCode(code, status),
    detail,
  });
  return { state: ENDED, actions };
}

function dialogEnded(state: CallState, leg: 'caller' | 'agent', cause: DialogEnd): Step {
  const actions: CallAction[] = [];
  const request = cause.kind === 'bye' ? cause.request : null;
  const code = codeOfEnd(cause);
  // §13.2.2.4: every 2xx is acknowledged, also that of a call which is over.
  if (state.phase === 'confirming') actions.push(EMPTY_ACK);
  if (leg === 'caller') {
    actions.push({ do: 'end-agent', request, code });
  } else {
    actions.push({ do: 'end-caller', request, code });
  }
  actions.push(DISARM, {
    do: 'finish',
    by: cause.kind === 'engine-down' ? 'gateway' : leg,
    status: -1,
    code,
    q850: (request === null ? undefined : q850In(request.headers)) ?? q850OfCode(code, 200),
    detail: cause.kind === 'gone' || cause.kind === 'engine-down' ? cause.detail : '',
  });
  return { state: ENDED, actions };
}

function codeOfEnd(cause: DialogEnd): ReasonCode {
  switch (cause.kind) {
    case 'bye':
      return 'normal_clearing';
    case 'no-ack':
      return 'no_ack';
    case 'gone':
      return 'session_failed';
    case 'engine-down':
      return 'shutdown';
  }
}

function endBoth(state: CallState, code: ReasonCode, detail: string): Step {
  const actions: CallAction[] = [];
  if (state.phase === 'confirming') actions.push(EMPTY_ACK);
  actions.push({ do: 'end-caller', request: null, code }, { do: 'end-agent', request: null, code }, DISARM, {
    do: 'finish',
    by: 'gateway',
    status: -1,
    code,
    q850: q850OfCode(code, 200),
    detail,
  });
  return { state: ENDED, actions };
}

function earlyRequest(state: CallState, event: CallEvent & { type: 'request' }): Step {
  const refusal = refusalOf(event.request.request);
  if (refusal !== 0) return refuse(state, event.request, refusal);
  if (event.from === 'agent') {
    const early = state.earlyBase + Math.max(event.early, 0);
    // Not in an early dialog whose responses were not relayed: the caller has none to match.
    if (event.attempt !== state.attempt || early >= state.earlyNext) return refuse(state, event.request, 481);
    return { state, actions: [{ do: 'relay', to: 'caller', early, request: event.request }] };
  }
  // The early dialog of an attempt that has failed.
  const early = event.early - state.earlyBase;
  if (early < 0 || event.early >= state.earlyNext) return refuse(state, event.request, 481);
  return { state, actions: [{ do: 'relay', to: 'agent', early, request: event.request }] };
}

function passPrack(state: CallState, early: number, request: SipRequest): Step {
  const own = early - state.earlyBase;
  if (own < 0) return stay(state);
  return { state, actions: [{ do: 'prack-agent', early: own, prack: request }] };
}

/** The status for a request that does not cross; 0 for one that does. */
function refusalOf(request: SipRequest): number {
  if (!RELAYED_METHODS.has(request.method)) {
    switch (request.method) {
      // RFC 3262 §3 has PRACK carry an offer; turning it into an UPDATE would promise what the agent never said.
      case 'PRACK':
        return 488;
      // Transfer is not offered (no REFER in Allow). RFC 3515 §2.4.2 lets a user agent decline.
      case 'REFER':
        return 603;
      // RFC 6665 §4.1.3: no subscription, no notification.
      case 'NOTIFY':
        return 481;
      case 'SUBSCRIBE':
        return 489;
      default:
        return 501;
    }
  }
  // §16.3 step 3.
  return request.maxForwards <= 0 ? 483 : 0;
}

function refuse(state: CallState, request: InDialogRequest, status: number): Step {
  return { state, actions: [{ do: 'refuse-request', request, status }] };
}

const unresolved = (detail: string): Failure => ownFailure('agent_unresolved', detail);

const prackMissing = (): Failure =>
  ownFailure('caller_timeout', 'the caller never acknowledged a reliable provisional response');

function hungUp(code: ReasonCode, detail: string): Failure {
  // An ending of calls in progress is a 503 to one that waits: the gateway goes, another may take the call.
  return code === 'shutdown' || code === 'draining'
    ? ownFailure('draining', detail, RETRY_AFTER_SECONDS)
    : ownFailure(code, detail);
}

/** Whole seconds of Retry-After, at most a minute: one agent's word must not take a target away for longer. */
function retryAfter(response: SipResponse): number {
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) : 0;
}
