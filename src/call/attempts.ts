/** The attempts of a call in its machine: from one way and target to the next, through the line where a way is paced. Pure. */
import type { ReasonCode } from '#routing/refusals.js';
import type { SipResponse } from '#sip/message.js';
import { printable } from '#sip/octets.js';
import { giveUp, noSlot } from './ends.js';
import { better, type Failure, type Onward, ownFailure, RETRY_AFTER_SECONDS, silenceCode } from './hunt.js';
import type { CallAction, CallPlan, CallState, InLine } from './script.js';
import type { Step } from './step.js';

/** A wait that is over before the caller would wonder is not worth a message. */
export const WORTH_TELLING_MS = 500;
/** RFC 3261 §13.3.1.1: a provisional response every minute keeps proxies from giving the INVITE up. */
export const REMIND_MS = 60_000;
export const LINE_GRACE_MS = 5_000;

/**
 * The timer of the attempt fired: on to the next endpoint, server or way, or the end when the whole call's
 * time is up.
 */
export function timeOut(plan: CallPlan, state: CallState, now: number): Step {
  if (now >= state.deadline) {
    const rings = state.phase === 'ringing';
    const code: ReasonCode = rings ? 'ring_timeout' : silenceCode(plan.called);
    // Who rings is the callee; who says nothing is the provider, whose part it was to answer.
    const who = plan.called === 'agent' ? 'agent' : 'provider';
    const failure = rings
      ? ownFailure(code, `the ${plan.called} rang and did not answer in time`)
      : better(
          state.best,
          ownFailure(
            code,
            state.heard ? `the ${who} said 100 and then nothing` : `the ${who} said nothing at all`,
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

export const failoverOf = (plan: CallPlan, { way }: CallState): ReadonlySet<number> =>
  plan.rules === null ? plan.failoverStatuses : plan.rules[way]!.failoverStatuses;

/** There is a way that has not been tried, or was put off. */
export function waysLeft(plan: CallPlan, state: CallState): boolean {
  return state.following < plan.ways || state.postponed.length > 0;
}

/** There is another server of this way, or another way. */
export function moreToTry(plan: CallPlan, state: CallState): boolean {
  return state.target + 1 < state.targets || waysLeft(plan, state);
}

/** On to the next way; there is one. */
export function resolveNext(plan: CallPlan, state: CallState, now: number, actions: CallAction[]): Step {
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
export function goOn(
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
export function reach(
  plan: CallPlan,
  state: CallState,
  target: number,
  now: number,
  actions: CallAction[],
): Step {
  if (plan.rules === null || !plan.rules[state.way]!.paced) return dial(state, plan, target, now, actions);
  return join(plan, { ...state, target }, 'dial', now, actions);
}

/** Into the line; it is the driver's to say when the slot comes. */
export function join(
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
export function tellPlace(plan: CallPlan, state: CallState, actions: CallAction[]): Step {
  const { position, waitMs } = state.line!;
  const reliable = plan.callerRequiresReliable;
  const early = state.earlyBase;
  actions.push({ do: 'queued', early, reliable, position, waitMs });
  return { state: reliable ? { ...state, earlyNext: early + 1 } : state, actions };
}

/** The provider refused the INVITE for coming too fast: once more into the line, then it counts as a failed way. */
export function tooFast(
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
export function repeat(plan: CallPlan, state: CallState, now: number, actions: CallAction[]): Step {
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

/** Begins the next attempt: the INVITE to this target of the present way. */
export function dial(
  state: CallState,
  plan: CallPlan,
  target: number,
  now: number,
  actions: CallAction[],
): Step {
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
