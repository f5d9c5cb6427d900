/** The ends of a call in its machine: who is told what, once, and how they are named. Pure. */
import type { DialogEnd } from '#engine/engine.js';
import type { PaceRefusal } from '#pacing/pacer.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest } from '#sip/message.js';
import { q850In, q850OfCode } from './causes.js';
import { type Failure, isAnswerOfCallee, ownFailure, RETRY_AFTER_SECONDS } from './hunt.js';
import { type CallAction, type CallPlan, type CallState, ENDED } from './script.js';
import { DISARM, EMPTY_ACK, type Step } from './step.js';

/** Nobody took the call: the caller gets the failure as its final answer. */
export function giveUp(failure: Failure, actions: CallAction[]): Step {
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
export function callerGone(cancel: SipRequest | null, detail: string, actions: CallAction[]): Step {
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

/** One leg has ended: the other is ended with what it said. */
export function dialogEnded(state: CallState, leg: 'caller' | 'callee', cause: DialogEnd): Step {
  const actions: CallAction[] = [];
  const request = cause.kind === 'bye' ? cause.request : null;
  const code = codeOfEnd(cause);
  // §13.2.2.4: every 2xx is acknowledged, also that of a call which is over.
  if (state.phase === 'confirming') actions.push(EMPTY_ACK);
  if (state.promised) actions.push({ do: 'disinherit' });
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

/** The agent has hung up while its telephone was promised to another call: the telephone waits there. */
export function agentLeft(leg: 'caller' | 'callee', cause: DialogEnd): Step {
  const request = cause.kind === 'bye' ? cause.request : null;
  const code = codeOfEnd(cause);
  return {
    state: ENDED,
    actions: [
      { do: 'bequeath' },
      DISARM,
      {
        do: 'finish',
        by: leg,
        status: -1,
        code,
        q850: (request === null ? undefined : q850In(request.headers)) ?? q850OfCode(code, 200),
        detail: 'the agent left while its call was being transferred',
      },
    ],
  };
}

/** The telephone talks to somebody else: the agent is released. */
export function handOver({ called }: CallPlan): Step {
  const code: ReasonCode = 'transferred';
  return {
    state: ENDED,
    actions: [
      { do: 'bequeath' },
      { do: called === 'agent' ? 'end-callee' : 'end-caller', request: null, code },
      DISARM,
      { do: 'finish', by: 'gateway', status: -1, code, q850: q850OfCode(code, 200), detail: '' },
    ],
  };
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

/** The gateway ends an answered call on both sides. */
export function endBoth(state: CallState, code: ReasonCode, detail: string): Step {
  const actions: CallAction[] = [];
  if (state.phase === 'confirming') actions.push(EMPTY_ACK);
  if (state.promised) actions.push({ do: 'disinherit' });
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

export const unresolved = ({ called }: CallPlan, detail: string): Failure =>
  ownFailure(called === 'agent' ? 'agent_unresolved' : 'trunk_unresolved', detail);

/** Why a call that stood in line is refused. */
export function noSlot(why: PaceRefusal): Failure {
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

export const prackMissing = (): Failure =>
  ownFailure('caller_timeout', 'the caller never acknowledged a reliable provisional response');

/** Why a call that was hung up before its answer is refused. */
export function hungUp(code: ReasonCode, detail: string): Failure {
  // An ending of calls in progress is a 503 to one that waits: the gateway goes, another may take the call.
  return code === 'shutdown' || code === 'draining'
    ? ownFailure('draining', detail, RETRY_AFTER_SECONDS)
    : ownFailure(code, detail);
}
