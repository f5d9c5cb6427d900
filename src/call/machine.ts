/**
 * One call as a pure state machine: (plan, state, event) → (state, actions). It knows a caller's leg, at most one
 * callee's leg that still counts, the hunt over ways and targets, and the waits for a slot. No sockets, no clock: `now`
 * comes with the events, and the driver performs the actions in order. `script.ts` has the words.
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
import type { DialogEnd, InDialogRequest } from '#engine/engine.js';
import type { PaceRefusal } from '#pacing/pacer.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import { printable } from '#sip/octets.js';
import { q850In, q850OfCode } from './causes.js';
import { RELAYED_METHODS } from './header-policy.js';
import {
  afterFault,
  afterResponse,
  better,
  type Failure,
  failureOf,
  failureOfFault,
  isAnswerOfCallee,
  isPaceRefusal,
  type Onward,
  ownFailure,
  quarantines,
  RETRY_AFTER_SECONDS,
  silenceCode,
} from './hunt.js';
import {
  type CallAction,
  type CallEvent,
  type CallPlan,
  type CallState,
  ENDED,
  type InLine,
} from './script.js';

export interface Step {
  readonly state: CallState;
  readonly actions: readonly CallAction[];
}

/** A callee that forks or repeats itself without end is listened to no further; final answers still count. */
export const MAX_PROGRESS_PER_ATTEMPT = 64;
export const MAX_EARLY_PER_ATTEMPT = 16;

/** A wait that is over before the caller would wonder is not worth a message. */
const WORTH_TELLING_MS = 500;
/** RFC 3261 §13.3.1.1: a provisional response every minute keeps proxies from giving the INVITE up. */
const REMIND_MS = 60_000;
const LINE_GRACE_MS = 5_000;

const NONE: readonly CallAction[] = [];
const DISARM: CallAction = { do: 'disarm' };
const EMPTY_ACK: CallAction = { do: 'ack-callee', ack: null };

const stay = (state: CallState): Step => ({ state, actions: NONE });

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
function whenAnswered(state: CallState, event: CallEvent): Step {
  switch (event.type) {
    case 'ack':
      if (state.phase !== 'confirming') return stay(state);
      return { state: { ...state, phase: 'talking' }, actions: [{ do: 'ack-callee', ack: event.request }] };
    case 'request': {
      if (event.attempt !== state.attempt) return refuse(state, event.request, 481);
      const refusal = refusalOf(event.request.request);
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

function timeOut(plan: CallPlan, state: CallState, now: number): Step {
  if (now >= state.deadline) {
    const rings = state.phase === 'ringing';
    const code: ReasonCode = rings ? 'ring_timeout' : silenceCode(plan.called);
    const failure = rings
      ? ownFailure(code, `the ${plan.called} rang and did not answer in time`)
      : better(
          state.best,
          ownFailure(
            code,
            state.heard
              ? `the ${plan.called} said 100 and then nothing`
              : `the ${plan.called} said nothing at all`,
          ),
        );
    const actions: CallAction[] = [{ do: 'cancel-callee', request: null, code }];
    if (!state.heard) actions.push({ do: 'quarantine', seconds: 0 });
    return giveUp(failure, actions);
  }
  // A timer that fired for a way which spoke in the same instant.
  if (state.heard || !moreToTry(plan, state)) {
    return { state, actions: [{ do: 'arm', ms: state.deadline - now }] };
  }
  return goOn(
    plan,
    state,
    now,
    'next-target',
    ownFailure(silenceCode(plan.called), `nothing heard within ${plan.attemptTimeoutMs} ms`),
    [
      { do: 'cancel-callee', request: null, code: silenceCode(plan.called) },
      { do: 'quarantine', seconds: 0 },
    ],
  );
}

const failoverOf = (plan: CallPlan, { way }: CallState): ReadonlySet<number> =>
  plan.rules === null ? plan.failoverStatuses : plan.rules[way]!.failoverStatuses;

function waysLeft(plan: CallPlan, state: CallState): boolean {
  return state.following < plan.ways || state.postponed.length > 0;
}

function moreToTry(plan: CallPlan, state: CallState): boolean {
  return state.target + 1 < state.targets || waysLeft(plan, state);
}

/** On to the next way; there is one. */
function resolveNext(plan: CallPlan, state: CallState, now: number, actions: CallAction[]): Step {
  const lastResort = state.following >= plan.ways;
  const way = lastResort ? state.postponed[0]! : state.following;
  actions.push({ do: 'arm', ms: Math.max(state.deadline - now, 0) }, { do: 'resolve', way });
  return {
    state: {
      ...state,
      phase: 'resolving',
      way,
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

/** After a failed attempt: the next target, the next way, or the end. */
function goOn(
  plan: CallPlan,
  state: CallState,
  now: number,
  onward: Onward,
  failure: Failure,
  actions: CallAction[],
): Step {
  // An answer that ends the hunt is the one to tell of: the callee has been found and said no.
  if (onward === 'stop') return giveUp(failure, actions);
  const best = better(state.best, failure);
  if (now < state.deadline && state.attempt < plan.maxAttempts) {
    if (onward === 'next-target' && state.target + 1 < state.targets) {
      return reach(plan, { ...state, best }, state.target + 1, now, actions);
    }
    if (waysLeft(plan, state)) return resolveNext(plan, { ...state, best }, now, actions);
  }
  return giveUp(best, actions);
}

/** On to a target of the present way: through the line where the way is paced. */
function reach(plan: CallPlan, state: CallState, target: number, now: number, actions: CallAction[]): Step {
  if (plan.rules === null || !plan.rules[state.way]!.paced) return dial(state, plan, target, now, actions);
  return join(plan, { ...state, target }, 'dial', now, actions);
}

/** Into the line; it is the driver's to say when the slot comes. */
function join(
  plan: CallPlan,
  state: CallState,
  purpose: InLine['purpose'],
  now: number,
  actions: CallAction[],
): Step {
  const before = state.line?.before ?? 0;
  const left = plan.queueTimeoutMs - before;
  if (left <= 0) return giveUp(better(state.best, noSlot('queue_timeout')), actions);
  actions.push(
    { do: 'arm', ms: Math.min(left + LINE_GRACE_MS, REMIND_MS) },
    { do: 'join-line', way: state.way, timeoutMs: left },
  );
  return {
    state: {
      ...state,
      phase: 'holding',
      earlyBase: state.earlyNext,
      line: {
        since: now,
        before,
        purpose,
        position: -1,
        waitMs: 0,
        requeued: state.line?.requeued ?? false,
      },
    },
    actions,
  };
}

/**
 * The callee's first early dialog goes on with the one that 182 began, so that a simple caller sees one. A reliable 182
 * has one of its own, or its PRACK might pass for that of the callee's response.
 */
function tellPlace(plan: CallPlan, state: CallState, actions: CallAction[]): Step {
  const { position, waitMs } = state.line!;
  const reliable = plan.callerRequiresReliable;
  const early = state.earlyBase;
  actions.push({ do: 'queued', early, reliable, position, waitMs });
  return { state: reliable ? { ...state, earlyNext: early + 1 } : state, actions };
}

/** The provider refused the INVITE for coming too fast: once more into the line, then it counts as a failed way. */
function tooFast(
  plan: CallPlan,
  state: CallState,
  { status, reason }: SipResponse,
  heeds: boolean,
  now: number,
): Step {
  const actions: CallAction[] = [];
  if (heeds) {
    actions.push({ do: 'slow-down' });
    const line = state.line!;
    if (!line.requeued && state.attempt < plan.maxAttempts) {
      return join(plan, { ...state, line: { ...line, requeued: true } }, 'dial', now, actions);
    }
  }
  const failure = ownFailure(
    'provider_cps_exceeded',
    `the provider answered ${status} ${printable(reason, 80)}`.trimEnd(),
    RETRY_AFTER_SECONDS,
  );
  return goOn(plan, state, now, failoverOf(plan, state).has(status) ? 'next-way' : 'stop', failure, actions);
}

/** The INVITE of the attempt under way with credentials: as good as a new one, but for its number. */
function repeat(plan: CallPlan, state: CallState, now: number, actions: CallAction[]): Step {
  const next: CallState = {
    ...state,
    phase: 'trying',
    heard: false,
    progressed: 0,
    earlyBase: state.earlyNext,
  };
  const left = Math.max(state.deadline - now, 0);
  actions.push(
    { do: 'repeat' },
    { do: 'arm', ms: moreToTry(plan, next) ? Math.min(plan.attemptTimeoutMs, left) : left },
  );
  return { state: next, actions };
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
  actions.push({ do: 'dial', attempt: next.attempt, way: next.way, target });
  // The deadline is armed already when this is the first attempt and there is no other.
  const left = state.deadline - now;
  if (moreToTry(plan, next)) actions.push({ do: 'arm', ms: Math.min(plan.attemptTimeoutMs, left) });
  else if (next.attempt > 1 || state.line !== null) actions.push({ do: 'arm', ms: left });
  return { state: next, actions };
}

function giveUp(failure: Failure, actions: CallAction[]): Step {
  actions.push({ do: 'reject', failure }, DISARM, {
    do: 'finish',
    by: isAnswerOfCallee(failure.code) ? 'callee' : 'gateway',
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

function dialogEnded(state: CallState, leg: 'caller' | 'callee', cause: DialogEnd): Step {
  const actions: CallAction[] = [];
  const request = cause.kind === 'bye' ? cause.request : null;
  const code = codeOfEnd(cause);
  // §13.2.2.4: every 2xx is acknowledged, also that of a call which is over.
  if (state.phase === 'confirming') actions.push(EMPTY_ACK);
  if (leg === 'caller') {
    actions.push({ do: 'end-callee', request, code });
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
  actions.push({ do: 'end-caller', request: null, code }, { do: 'end-callee', request: null, code }, DISARM, {
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

const unresolved = ({ called }: CallPlan, detail: string): Failure =>
  ownFailure(called === 'agent' ? 'agent_unresolved' : 'trunk_unresolved', detail);

function noSlot(why: PaceRefusal): Failure {
  switch (why) {
    case 'queue_full':
      return ownFailure('queue_full', 'as many calls wait as may', RETRY_AFTER_SECONDS);
    case 'queue_timeout':
      return ownFailure('held_too_long', 'no slot came in time', RETRY_AFTER_SECONDS);
    // Another node goes on with the call: here it only ends.
    case 'taken_over':
    case 'shutdown':
      return ownFailure('draining', 'the gateway stops', RETRY_AFTER_SECONDS);
  }
}

const prackMissing = (): Failure =>
  ownFailure('caller_timeout', 'the caller never acknowledged a reliable provisional response');

function hungUp(code: ReasonCode, detail: string): Failure {
  // An ending of calls in progress is a 503 to one that waits: the gateway goes, another may take the call.
  return code === 'shutdown' || code === 'draining'
    ? ownFailure('draining', detail, RETRY_AFTER_SECONDS)
    : ownFailure(code, detail);
}

/** Whole seconds of Retry-After, at most a minute: one peer's word must not take a target away for longer. */
function retryAfter(response: SipResponse): number {
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) : 0;
}
