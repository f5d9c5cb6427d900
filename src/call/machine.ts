/**
 * One call as a pure state machine: (plan, state, event) → (state, actions). It knows a caller's leg, at most one
 * callee's leg that still counts, the hunt over ways and targets, and the waits for a slot. No sockets, no clock: `now`
 * comes with the events, and the driver performs the actions in order. `script.ts` has the words, `attempts.ts` and
 * `ends.ts` the steps that several states share.
 *
 * One function per state, one arm per event. What no arm names changes nothing: late events are normal in SIP.
 *
 * Rules that hold in every row:
 * - The caller gets exactly one final answer, unless it has gone first.
 * - A leg that was cancelled is forgotten at once. The engine ends it, also when its 2xx crosses our CANCEL
 *   (engine port: acknowledged and ended unseen), so events of earlier attempts find no row.
 * - On a paced way every `dial` follows a `slot`, in the same step. Whoever leaves the line says so.
 * - `finish` is the last action of a call, and comes once.
 *
 * Time: one timer. Until something rings the caller waits at most `setupTimeoutMs`, then `ringTimeoutMs`, both counted
 * from its INVITE, all attempts together. While another target is left to try, a way that says nothing within
 * `attemptTimeoutMs` is given up. Time in line is none of these: it has its own bound, and puts the others off.
 */
import type { InDialogRequest } from '#engine/engine.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import {
  dial,
  failoverOf,
  goOn,
  join,
  LINE_GRACE_MS,
  moreToTry,
  REMIND_MS,
  reach,
  repeat,
  resolveNext,
  tellPlace,
  timeOut,
  tooFast,
  WORTH_TELLING_MS,
  waysLeft,
} from './attempts.js';
import {
  agentLeft,
  callerGone,
  dialogEnded,
  endBoth,
  giveUp,
  handOver,
  hungUp,
  noSlot,
  prackMissing,
  unresolved,
} from './ends.js';
import { RELAYED_METHODS } from './header-policy.js';
import {
  afterFault,
  afterResponse,
  better,
  failureOf,
  failureOfFault,
  isPaceRefusal,
  ownFailure,
  quarantines,
  silenceCode,
} from './hunt.js';
import type { CallAction, CallEvent, CallPlan, CallState } from './script.js';
import { DISARM, EMPTY_ACK, NONE, type Step, stay } from './step.js';

/** A callee that forks or repeats itself without end is listened to no further; final answers still count. */
const MAX_PROGRESS_PER_ATTEMPT = 64;
const MAX_EARLY_PER_ATTEMPT = 16;

/** Never throws. */
export function advance(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (state.phase) {
    case 'new':
      return whenNew(plan, state, event);
    case 'resolving':
      return whenResolving(plan, state, event);
    case 'holding':
      return whenHolding(plan, state, event);
    case 'trying':
    case 'ringing':
      return whenCalling(plan, state, event);
    case 'confirming':
    case 'talking':
      return whenAnswered(plan, state, event);
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
      { do: 'resolve', way: 0 },
    ],
  };
}

function whenResolving(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'resolved':
      if (event.targets === 0)
        return goOn(plan, state, event.now, 'next-way', unresolved(plan, 'no address'), []);
      if (!event.healthy && !state.lastResort && waysLeft(plan, state)) {
        // A dead endpoint is tried once per quarantine, not once per call.
        return resolveNext(plan, { ...state, postponed: [...state.postponed, state.way] }, event.now, []);
      }
      return reach(plan, { ...state, targets: event.targets }, 0, event.now, []);
    case 'unresolved':
      return goOn(
        plan,
        state,
        event.now,
        'next-way',
        event.code === undefined ? unresolved(plan, event.detail) : ownFailure(event.code, event.detail),
        [],
      );
    case 'cancel':
      return callerGone(event.request, event.detail, []);
    case 'timer':
      return giveUp(better(state.best, ownFailure(silenceCode(plan.called), 'no address in time')), []);
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

/** In line for a slot. No INVITE is under way, though one may have been challenged. */
function whenHolding(plan: CallPlan, state: CallState, event: CallEvent): Step {
  const line = state.line!;
  switch (event.type) {
    case 'slot': {
      const waited = event.now - line.since;
      const next: CallState = {
        ...state,
        startedAt: state.startedAt + waited,
        deadline: state.deadline + waited,
        line: { ...line, before: line.before + waited },
      };
      return line.purpose === 'dial'
        ? dial(next, plan, state.target, event.now, [])
        : repeat(plan, next, event.now, []);
    }
    case 'place':
      if (event.waitMs < WORTH_TELLING_MS) return stay(state);
      // What must be acknowledged is not said every second.
      if (line.position >= 0 && plan.callerRequiresReliable) {
        return stay({ ...state, line: { ...line, position: event.position, waitMs: event.waitMs } });
      }
      return tellPlace(
        plan,
        { ...state, line: { ...line, position: event.position, waitMs: event.waitMs } },
        [],
      );
    case 'no-slot':
      return giveUp(better(state.best, noSlot(event.why)), []);
    case 'timer': {
      const waited = event.now - line.since;
      const left = plan.queueTimeoutMs - line.before - waited;
      // The line itself ends the wait in time; this is for a line that has forgotten.
      if (left <= -LINE_GRACE_MS)
        return giveUp(better(state.best, noSlot('queue_timeout')), [{ do: 'leave-line' }]);
      const again: CallAction[] = [{ do: 'arm', ms: Math.min(left + LINE_GRACE_MS, REMIND_MS) }];
      return line.position < 0 ? { state, actions: again } : tellPlace(plan, state, again);
    }
    case 'cancel':
      return callerGone(event.request, event.detail, [{ do: 'leave-line' }]);
    case 'prack-timeout':
      return giveUp(prackMissing(), [{ do: 'leave-line' }]);
    case 'hang-up':
      return giveUp(hungUp(event.code, event.detail), [{ do: 'leave-line' }]);
    case 'request':
      // The dialog of our 182 exists, but nobody is there yet.
      return refuse(
        state,
        event.request,
        event.from === 'caller' && line.position >= 0 && event.early === state.earlyBase ? 491 : 481,
      );
    default:
      return stay(state);
  }
}

/** An INVITE to the callee is under way. */
function whenCalling(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'progress':
      return event.attempt === state.attempt ? progress(plan, state, event) : stay(state);
    case 'answer':
      return event.attempt === state.attempt ? answer(plan, state, event) : stay(state);
    case 'rejection': {
      if (event.attempt !== state.attempt) return stay(state);
      const { response } = event;
      if (plan.called === 'callee') {
        const heeds = plan.rules?.[state.way]?.heedsRefusals === true;
        if (isPaceRefusal(response, heeds)) return tooFast(plan, state, response, heeds, event.now);
      }
      const onward = afterResponse(
        response.status,
        failoverOf(plan, state),
        plan.called,
        state.phase === 'ringing',
      );
      const actions: CallAction[] = [];
      if (response.status === 503) {
        // §21.5.4: "the client SHOULD NOT forward any other requests to that server for the duration specified in
        // the Retry-After".
        const seconds = retryAfter(response);
        if (seconds > 0) actions.push({ do: 'quarantine', seconds });
      }
      return goOn(plan, state, event.now, onward, failureOf(response, plan.called), actions);
    }
    case 'fault': {
      if (event.attempt !== state.attempt) return stay(state);
      const onward = afterFault(event.fault, state.heard);
      const actions: CallAction[] = [];
      if (onward === 'next-target' && quarantines(event.fault))
        actions.push({ do: 'quarantine', seconds: 0 });
      return goOn(plan, state, event.now, onward, failureOfFault(event.fault, plan.called), actions);
    }
    case 'challenged':
      if (event.attempt !== state.attempt) return stay(state);
      return plan.rules?.[state.way]?.countsChallenges === true
        ? join(plan, state, 'repeat', event.now, [])
        : repeat(plan, state, event.now, []);
    case 'cancel':
      return callerGone(event.request, event.detail, [
        {
          do: 'cancel-callee',
          request: event.request,
          code: event.request === null ? 'caller_lost' : 'caller_cancelled',
        },
      ]);
    case 'timer':
      return timeOut(plan, state, event.now);
    case 'prack':
      return passPrack(state, event.early, event.request);
    case 'prack-timeout':
      return giveUp(prackMissing(), [{ do: 'cancel-callee', request: null, code: 'caller_timeout' }]);
    case 'request':
      return earlyRequest(state, event);
    case 'hang-up':
      return giveUp(hungUp(event.code, event.detail), [
        { do: 'cancel-callee', request: null, code: event.code },
      ]);
    default:
      return stay(state);
  }
}

/** Both legs are dialogs. */
function whenAnswered(plan: CallPlan, state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'ack':
      if (state.phase !== 'confirming') return stay(state);
      return { state: { ...state, phase: 'talking' }, actions: [{ do: 'ack-callee', ack: event.request }] };
    case 'request': {
      if (event.attempt !== state.attempt) return refuse(state, event.request, 481);
      const { request } = event.request;
      if (request.method === 'REFER' && plan.agentRefers && isAgent(plan, event.from)) {
        return { state, actions: [{ do: 'refer', request: event.request }] };
      }
      const refusal = refusalOf(request);
      if (refusal !== 0) return refuse(state, event.request, refusal);
      return {
        state,
        actions: [
          {
            do: 'relay',
            to: event.from === 'caller' ? 'callee' : 'caller',
            early: -1,
            request: event.request,
          },
        ],
      };
    }
    case 'ended':
      return state.promised && event.cause.kind !== 'engine-down' && isAgent(plan, event.leg)
        ? agentLeft(event.leg, event.cause)
        : dialogEnded(state, event.leg, event.cause);
    case 'promise':
      return state.phase === 'talking' ? stay({ ...state, promised: true }) : stay(state);
    case 'withdraw':
      return stay({ ...state, promised: false });
    case 'hand-over':
      return state.promised ? handOver(plan) : stay(state);
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
  if (bare) actions.push({ do: 'prack-callee', early: event.early, prack: null });
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

/** A 100: the callee's side lives, so the attempt time-out no longer applies. */
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
  const longest = plan.rules === null ? plan.maxDurationMs : plan.rules[state.way]!.maxDurationMs;
  actions.push(longest > 0 ? { do: 'arm', ms: longest } : DISARM);
  return { state: { ...state, phase: confirming ? 'confirming' : 'talking', best: null }, actions };
}

function earlyRequest(state: CallState, event: CallEvent & { type: 'request' }): Step {
  const refusal = refusalOf(event.request.request);
  if (refusal !== 0) return refuse(state, event.request, refusal);
  if (event.from === 'callee') {
    const early = state.earlyBase + Math.max(event.early, 0);
    // Not in an early dialog whose responses were not relayed: the caller has none to match.
    if (event.attempt !== state.attempt || early >= state.earlyNext) return refuse(state, event.request, 481);
    return { state, actions: [{ do: 'relay', to: 'caller', early, request: event.request }] };
  }
  // The early dialog of an attempt that has failed.
  const early = event.early - state.earlyBase;
  if (early < 0 || event.early >= state.earlyNext) return refuse(state, event.request, 481);
  return { state, actions: [{ do: 'relay', to: 'callee', early, request: event.request }] };
}

function passPrack(state: CallState, early: number, request: SipRequest): Step {
  const own = early - state.earlyBase;
  if (own < 0) return stay(state);
  return { state, actions: [{ do: 'prack-callee', early: own, prack: request }] };
}

const isAgent = ({ called }: CallPlan, side: 'caller' | 'callee'): boolean =>
  (called === 'agent') === (side === 'callee');

/** The status for a request that does not cross; 0 for one that does. */
function refusalOf(request: SipRequest): number {
  if (!RELAYED_METHODS.has(request.method)) {
    switch (request.method) {
      // RFC 3262 §3 has PRACK carry an offer; turning it into an UPDATE would promise what the agent never said.
      case 'PRACK':
        return 488;
      // The telephone's side is offered no transfer (no REFER in its Allow). RFC 3515 §2.4.2 lets a user agent decline.
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

/** Whole seconds of Retry-After, at most a minute: one peer's word must not take a target away for longer. */
function retryAfter(response: SipResponse): number {
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) : 0;
}
