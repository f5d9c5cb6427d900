/**
 * Third-party call control (RFC 3725) as a pure state machine: (plan, state, event) → (state, actions). Two calls that
 * the gateway itself makes are joined into one. The *offerer* is called without an offer, so that its 2xx brings one;
 * with it the *answerer* is called, and what that answers goes back in the ACK. Which of them is the agent is `plan`'s
 * affair, and no row but the endings asks.
 *
 * What the ends know of each other is kept as four descriptions: what the offerer last said (`offer`) and what of it
 * the answerer has (`known`), what the answerer last said (`answer`) and what of it the offerer has (`told`). Whatever
 * changes them, `settle` asks what is still to be told to whom; when nothing is, the two are joined. So one rule covers
 * early media before the ACK and after it, an answer that differs from the early one (RFC 3261 §13.2.1), and an end
 * that moves its media when it is offered the other's.
 *
 * Rules that hold in every row:
 * - The offerer's 2xx is acknowledged once, with an answer (§13.2.2.4), before anything else is sent to it. When no
 *   answer has come by `ack` time, or none will come, the answer is one that holds.
 * - One re-INVITE at a time, over both dialogs.
 * - `finish` is the last action, comes once, and no leg is left by then.
 */
import type { EndedBy } from '#call/observer.js';
import type { InDialogRequest } from '#engine/engine.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { Octets } from '#sip/octets.js';
import { isUsableOffer, sameSession } from '#sip/sdp.js';

export type Side = 'offerer' | 'answerer';
export type Role = 'agent' | 'callee';

export interface JoinPlan {
  readonly offerer: Role;
}

export type JoinPhase =
  /** The offerer is being called. */
  | 'offering'
  /** The offerer has answered; the answerer is being called. */
  | 'calling'
  /** Both have answered, and one does not know yet where the other's media are. */
  | 'joining'
  | 'joined'
  | 'ended';

export interface JoinState {
  readonly phase: JoinPhase;
  readonly offer: Octets;
  readonly known: Octets;
  readonly answer: Octets;
  /** '' while the offerer has nothing but an answer that holds, or nothing at all. */
  readonly told: Octets;
  readonly acknowledged: boolean;
  /** The re-INVITE under way: to whom, and with what. */
  readonly asking: { readonly side: Side; readonly sdp: Octets; readonly early: boolean } | null;
  /** A re-INVITE met another one; it is repeated when the timer fires. */
  readonly waiting: boolean;
  /** re-INVITEs sent in this phase. */
  readonly rounds: number;
  /** The offerer did not take early media after its ACK: it is left in peace until the answer. */
  readonly quiet: boolean;
}

export const INITIAL_JOIN: JoinState = {
  phase: 'offering',
  offer: '',
  known: '',
  answer: '',
  told: '',
  acknowledged: false,
  asking: null,
  waiting: false,
  rounds: 0,
  quiet: false,
};

const ENDED: JoinState = { ...INITIAL_JOIN, phase: 'ended' };

/** How a call came to its end, or one of its sides did. */
export interface Ending {
  readonly by: EndedBy | Role;
  /** Final SIP status; 0 when there was none. */
  readonly status: number;
  readonly code: ReasonCode;
  readonly q850: number;
  readonly detail: string;
}

export type JoinEvent =
  /** The side's 2xx; `sdp` is '' when it brought none. */
  | { readonly type: 'answered'; readonly side: Side; readonly sdp: Octets }
  /** Early media of the answerer. */
  | { readonly type: 'progress'; readonly sdp: Octets }
  /** Nobody answered on this side. */
  | { readonly type: 'failed'; readonly side: Side; readonly ending: Ending }
  /** The answered side has gone: BYE, or its dialog was lost. */
  | { readonly type: 'ended'; readonly side: Side; readonly ending: Ending }
  /** The outcome of `reoffer`: a final status, and the description in a 2xx. */
  | { readonly type: 'reoffered'; readonly side: Side; readonly status: number; readonly sdp: Octets }
  /** A request inside the dialog, early or confirmed; `offers`: it carries a body. */
  | {
      readonly type: 'request';
      readonly side: Side;
      readonly method: string;
      readonly offers: boolean;
      readonly request: InDialogRequest;
    }
  /** The ACK can wait no longer. */
  | { readonly type: 'ack-due' }
  /** A re-INVITE that met another may be repeated. */
  | { readonly type: 'retry-due' }
  /** The gateway ends the call. */
  | { readonly type: 'hang-up'; readonly ending: Ending };

export type JoinAction =
  /** Call the answerer with this offer. */
  | { readonly do: 'dial-answerer'; readonly sdp: Octets }
  /** Acknowledge the offerer's 2xx; '' means with an answer that holds. */
  | { readonly do: 'ack'; readonly sdp: Octets }
  | { readonly do: 'reoffer'; readonly side: Side; readonly sdp: Octets }
  /** BYE to a side that has answered, CANCEL to one that has not; `ending` says why. */
  | { readonly do: 'end'; readonly side: Side; readonly ending: Ending }
  | { readonly do: 'relay'; readonly from: Side; readonly request: InDialogRequest }
  | { readonly do: 'respond'; readonly request: InDialogRequest; readonly status: number }
  | { readonly do: 'arm-ack' }
  | { readonly do: 'arm-retry' }
  | { readonly do: 'disarm' }
  /** The two can talk. */
  | { readonly do: 'joined' }
  | { readonly do: 'finish'; readonly ending: Ending };

export interface JoinStep {
  readonly state: JoinState;
  readonly actions: readonly JoinAction[];
}

/** Ends that move their media each time they are told of the other's move are given up after so many re-INVITEs. */
export const MAX_ROUNDS = 6;

const stay = (state: JoinState): JoinStep => ({ state, actions: [] });
const other = (side: Side): Side => (side === 'offerer' ? 'answerer' : 'offerer');

/** Never throws. */
export function advanceJoin(plan: JoinPlan, state: JoinState, event: JoinEvent): JoinStep {
  if (state.phase === 'ended') {
    return event.type === 'request' ? respond(state, event.request, 481) : stay(state);
  }
  switch (event.type) {
    case 'answered':
      return event.side === 'offerer' ? offered(plan, state, event.sdp) : answered(state, event.sdp);
    case 'progress':
      if (state.phase !== 'calling' || event.sdp === '') return stay(state);
      return settle({ ...state, answer: event.sdp });
    case 'failed':
      return failed(state, event.side, event.ending);
    case 'ended':
      return gone(plan, state, event.side, event.ending);
    case 'reoffered':
      return reoffered(state, event);
    case 'request':
      return requested(state, event);
    case 'ack-due':
      if (state.phase !== 'calling' || state.acknowledged) return stay(state);
      return { state: { ...state, acknowledged: true }, actions: [{ do: 'ack', sdp: '' }] };
    case 'retry-due':
      return state.waiting ? settle({ ...state, waiting: false }) : stay(state);
    case 'hang-up':
      return endAll(state, event.ending);
  }
}

function offered(plan: JoinPlan, state: JoinState, sdp: Octets): JoinStep {
  if (state.phase !== 'offering') return stay(state);
  if (!isUsableOffer(sdp)) {
    // There is nothing to answer, so an empty ACK is right.
    const ending = joinFailed(`the ${plan.offerer} answered an INVITE without an offer, and made none`);
    return { state: ENDED, actions: [{ do: 'end', side: 'offerer', ending }, ...over(ending)] };
  }
  return {
    state: { ...state, phase: 'calling', offer: sdp, known: sdp },
    actions: [{ do: 'arm-ack' }, { do: 'dial-answerer', sdp }],
  };
}

function answered(state: JoinState, sdp: Octets): JoinStep {
  if (state.phase !== 'calling') return stay(state);
  // RFC 6337 §2.2: a 2xx after a reliable provisional answer may come without the description.
  const answer = sdp === '' ? state.answer : sdp;
  const next: JoinState = { ...state, phase: 'joining', answer, rounds: 0, quiet: false };
  if (answer === '') return endAll(next, joinFailed('the 2xx to our offer brought no answer'));
  return settle(next);
}

/** What is still to be told, and to whom. */
function settle(state: JoinState): JoinStep {
  const { answer, told, offer, known } = state;
  if (state.asking !== null || state.waiting) return stay(state);
  if (!state.acknowledged) {
    const step = settle({ ...state, acknowledged: true, told: answer });
    return { state: step.state, actions: [{ do: 'disarm' }, { do: 'ack', sdp: answer }, ...step.actions] };
  }
  const early = state.phase === 'calling';
  if (!(early && state.quiet) && !sameSession(told, answer)) return reoffer(state, 'offerer', answer);
  if (early) return stay(state);
  if (!sameSession(known, offer)) return reoffer(state, 'answerer', offer);
  return { state: { ...state, phase: 'joined' }, actions: [{ do: 'disarm' }, { do: 'joined' }] };
}

function reoffer(state: JoinState, side: Side, sdp: Octets): JoinStep {
  if (state.rounds >= MAX_ROUNDS) {
    return state.phase === 'calling'
      ? stay({ ...state, quiet: true })
      : endAll(state, joinFailed('each move of the media brought another one'));
  }
  return {
    state: { ...state, asking: { side, sdp, early: state.phase === 'calling' }, rounds: state.rounds + 1 },
    actions: [{ do: 'reoffer', side, sdp }],
  };
}

function reoffered(state: JoinState, event: JoinEvent & { type: 'reoffered' }): JoinStep {
  const { asking } = state;
  if (asking?.side !== event.side) return stay(state);
  const idle: JoinState = { ...state, asking: null };
  const { side, status, sdp } = event;
  // §14.1: after 491 wait and try again. §14.2 sends 500 with Retry-After for the same reason.
  if (status === 491 || status === 500) {
    return { state: { ...idle, waiting: true }, actions: [{ do: 'arm-retry' }] };
  }
  if (status >= 300 || sdp === '') {
    // Early media can do without; the call itself cannot.
    if (state.phase === 'calling') return stay({ ...idle, quiet: true });
    // The answer came while the offerer was asked about early media: now it is asked in earnest.
    if (asking.early) return settle(idle);
    return endAll(
      idle,
      joinFailed(
        status >= 300
          ? `the re-INVITE that was to join the ${side} was answered ${status}`
          : `the ${side} answered a re-INVITE without a description`,
      ),
    );
  }
  return side === 'offerer'
    ? settle({ ...idle, told: asking.sdp, offer: sdp })
    : settle({ ...idle, known: asking.sdp, answer: sdp });
}

function failed(state: JoinState, side: Side, ending: Ending): JoinStep {
  if (side === 'offerer') {
    return state.phase === 'offering' ? { state: ENDED, actions: over(ending) } : stay(state);
  }
  if (state.phase !== 'calling') return stay(state);
  return {
    state: ENDED,
    actions: [...held(state), { do: 'end', side: 'offerer', ending }, ...over(ending)],
  };
}

function gone(plan: JoinPlan, state: JoinState, side: Side, ending: Ending): JoinStep {
  switch (state.phase) {
    case 'calling': {
      if (side === 'answerer') return stay(state);
      const end: Ending =
        plan.offerer === 'agent' && ending.code === 'normal_clearing'
          ? {
              ...ending,
              status: 487,
              code: 'agent_cancelled',
              detail: 'the agent hung up before the callee answered',
            }
          : ending;
      return { state: ENDED, actions: [{ do: 'end', side: 'answerer', ending: end }, ...over(end)] };
    }
    case 'joining':
    case 'joined':
      return { state: ENDED, actions: [{ do: 'end', side: other(side), ending }, ...over(ending)] };
    default:
      return stay(state);
  }
}

/** The gateway ends what there is. */
function endAll(state: JoinState, ending: Ending): JoinStep {
  const actions: JoinAction[] = [];
  if (state.phase === 'calling') actions.push(...held(state));
  actions.push({ do: 'end', side: 'offerer', ending });
  if (state.phase !== 'offering') actions.push({ do: 'end', side: 'answerer', ending });
  return { state: ENDED, actions: [...actions, ...over(ending)] };
}

/** An offer must not go without its answer, also when the next message is BYE. */
const held = (state: JoinState): JoinAction[] => (state.acknowledged ? [] : [{ do: 'ack', sdp: '' }]);

const over = (ending: Ending): JoinAction[] => [{ do: 'disarm' }, { do: 'finish', ending }];

function requested(state: JoinState, event: JoinEvent & { type: 'request' }): JoinStep {
  const { request, method, side } = event;
  const offers = method === 'INVITE' || event.offers;
  if (state.phase === 'joined' || (state.phase === 'joining' && !offers)) {
    return { state, actions: [{ do: 'relay', from: side, request }] };
  }
  // The session is being made: an offer has to wait (RFC 3311 §5.2, RFC 3261 §14.2).
  if (offers) return respond(state, request, 491);
  // What asks only whether we live is answered, a session timer's refresh too; the rest has nobody to go to yet.
  return respond(state, request, method === 'UPDATE' || method === 'OPTIONS' ? 200 : 480);
}

const respond = (state: JoinState, request: InDialogRequest, status: number): JoinStep => ({
  state,
  actions: [{ do: 'respond', request, status }],
});

/** RFC 3398 has no cause for media that do not fit; Q.850 31, "normal, unspecified", is what SIP's 488 maps to. */
const joinFailed = (detail: string): Ending => ({
  by: 'gateway',
  status: 488,
  code: 'join_failed',
  q850: 31,
  detail,
});
