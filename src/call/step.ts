/** One step of the call machine, and what its parts share. */
import type { CallAction, CallState } from './script.js';

export interface Step {
  readonly state: CallState;
  readonly actions: readonly CallAction[];
}

export const NONE: readonly CallAction[] = [];
export const DISARM: CallAction = { do: 'disarm' };
export const EMPTY_ACK: CallAction = { do: 'ack-callee', ack: null };

export const stay = (state: CallState): Step => ({ state, actions: NONE });
