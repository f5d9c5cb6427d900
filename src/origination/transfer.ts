/**
 * A transfer as a pure state machine, on top of `join.ts`: (state, event) → (state, actions). The telephone of an
 * answered call is the offerer, which has answered long ago and talks to its agent; who it is transferred to is the
 * answerer, called with what the telephone last described. What `join.ts` does not know is whose the telephone is:
 *
 * - As long as it has not taken the new description it is its call's, and whatever fails leaves that call as it was.
 *   Early media are not for it.
 * - When it takes the description (2xx to our re-INVITE), or its agent has hung up, it is ours: the agent is released,
 *   and from then on a failure ends both sides, as nobody is left to go back to.
 */
import type { Octets } from '#sip/octets.js';
import {
  advanceJoin,
  type Ending,
  INITIAL_JOIN,
  type JoinAction,
  type JoinEvent,
  type JoinPlan,
  type JoinState,
} from './join.js';

export interface TransferState {
  readonly join: JoinState;
  /** The telephone is ours. */
  readonly ours: boolean;
}

/** What the telephone said last, and what it was told last. */
export interface Talk {
  readonly said: Octets;
  readonly told: Octets;
}

export type TransferEvent =
  | Exclude<JoinEvent, { type: 'ack-due' | 'answered' | 'retry-due' }>
  /** The 2xx of who is called. */
  | { readonly type: 'answered'; readonly sdp: Octets; readonly talk: Talk }
  | { readonly type: 'retry-due'; readonly talk: Talk }
  /** The telephone is ours, because its agent has hung up or we have taken it. */
  | { readonly type: 'inherited'; readonly talk: Talk }
  /** The telephone has hung up, or its call was ended, while it was not ours. */
  | { readonly type: 'disinherited' };

export type TransferAction =
  | Exclude<JoinAction, { do: 'ack' | 'arm-ack' | 'dial-answerer' }>
  /** The telephone's call lets it go and releases the agent. */
  | { readonly do: 'take' }
  /** The telephone's call goes on as it was. */
  | { readonly do: 'withdraw' };

export interface TransferStep {
  readonly state: TransferState;
  readonly actions: readonly TransferAction[];
}

/** An offerer that is not the agent: how its going is named is the event's affair. */
const PLAN: JoinPlan = { offerer: 'callee' };

/** As the callee is called, with `talk.said` as the offer. */
export function beginTransfer(talk: Talk): TransferState {
  return { join: talkedOf({ ...INITIAL_JOIN, phase: 'calling', known: talk.said }, talk), ours: false };
}

/** The telephone has its ACK already, and hears nothing before the answer. */
function talkedOf(join: JoinState, { said, told }: Talk): JoinState {
  return { ...join, offer: said, told, acknowledged: true, quiet: true };
}

/** Never throws. */
export function advanceTransfer(state: TransferState, event: TransferEvent): TransferStep {
  const { join, ours } = state;
  switch (event.type) {
    case 'inherited':
      // Taken: we know better than its call what was said last.
      if (ours || join.phase === 'ended') return { state, actions: [] };
      return { state: { join: talkedOf(join, event.talk), ours: true }, actions: [] };
    case 'disinherited':
      if (ours) return { state, actions: [] };
      return step(state, { type: 'ended', side: 'offerer', ending: GONE });
    case 'answered': {
      const known = ours || join.phase !== 'calling' ? join : talkedOf(join, event.talk);
      return step({ join: known, ours }, { type: 'answered', side: 'answerer', sdp: event.sdp });
    }
    case 'retry-due': {
      // While the two met, telephone and agent may have agreed on something else.
      const known = ours || !join.waiting ? join : talkedOf(join, event.talk);
      return step({ join: known, ours }, { type: 'retry-due' });
    }
    case 'reoffered':
      if (!ours && taken(join, event)) {
        const { state: next, actions } = step({ join, ours: true }, event);
        return { state: next, actions: [{ do: 'take' }, ...actions] };
      }
      return step(state, event);
    case 'ended':
      // A telephone that goes while somebody is still being called has given up.
      if (event.side === 'offerer' && join.phase === 'calling')
        return step(state, { ...event, ending: GONE });
      return step(state, event);
    default:
      return step(state, event);
  }
}

function step(state: TransferState, event: JoinEvent): TransferStep {
  const { state: join, actions } = advanceJoin(PLAN, state.join, event);
  const mine: TransferAction[] = [];
  for (const action of actions) {
    switch (action.do) {
      case 'ack':
      case 'arm-ack':
      case 'dial-answerer':
        break;
      case 'end':
        if (action.side === 'offerer' && !state.ours) mine.push({ do: 'withdraw' });
        else mine.push(action);
        break;
      default:
        mine.push(action);
    }
  }
  return { state: { ...state, join }, actions: mine };
}

const taken = ({ asking }: JoinState, { side, status, sdp }: JoinEvent & { type: 'reoffered' }): boolean =>
  side === 'offerer' && asking?.side === side && status < 300 && sdp !== '';

const GONE: Ending = {
  by: 'caller',
  status: 487,
  code: 'caller_cancelled',
  q850: 16,
  detail: 'the transferred side hung up before somebody answered',
};
