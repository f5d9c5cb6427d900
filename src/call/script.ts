/**
 * The language of the call machine: what a call is planned to be, the state it is in, the events that reach it and the
 * actions that come of them. `machine.ts` is the grammar.
 */
import type { DialogEnd, InDialogRequest } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { PaceRefusal } from '#pacing/pacer.js';
import type { ReasonCode } from '#routing/refusals.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import type { Called, Failure } from './hunt.js';

/** What does not change during a call. */
export interface CallPlan {
  readonly called: Called;
  /** Number of ways to try; at least 1. */
  readonly ways: number;
  /** INVITEs to send at most, the repeats of challenged ones not counted. */
  readonly maxAttempts: number;
  /** What holds of each way, where that differs; null: all are unpaced and keep to what stands here. */
  readonly rules: readonly WayRules[] | null;
  /** Time in line, all attempts together. It is counted apart from the times below. */
  readonly queueTimeoutMs: number;
  /** From the INVITE to the answer, once something rings. */
  readonly ringTimeoutMs: number;
  /** From the INVITE to the first sign of ringing. */
  readonly setupTimeoutMs: number;
  /** Silence of one way before the next is tried. */
  readonly attemptTimeoutMs: number;
  /** From the answer on; 0 for no bound. */
  readonly maxDurationMs: number;
  readonly failoverStatuses: ReadonlySet<number>;
  readonly maxForwards: number;
  /** The agent may ask for a transfer by REFER. */
  readonly agentRefers: boolean;
  /** The INVITE carries no body: the offer comes from the callee (RFC 3261 §13.2.1). */
  readonly delayedOffer: boolean;
  /** The caller takes reliable provisional responses. */
  readonly callerReliable: boolean;
  /** The caller insists on them. */
  readonly callerRequiresReliable: boolean;
}

/** What a trunk wants of calls that go by it. */
export interface WayRules {
  /** A new INVITE takes a slot. */
  readonly paced: boolean;
  /** The repeat of a challenged INVITE takes one too. */
  readonly countsChallenges: boolean;
  /** A refusal for too many calls per second slows the key down, and the call joins the line once more. Paced ways only. */
  readonly heedsRefusals: boolean;
  readonly failoverStatuses: ReadonlySet<number>;
  /** From the answer on; 0 for no bound. */
  readonly maxDurationMs: number;
}

export type Phase =
  | 'new'
  /** Waiting for addresses of a way. */
  | 'resolving'
  /** Waiting for a slot. */
  | 'holding'
  /** INVITE sent, nothing rings. */
  | 'trying'
  | 'ringing'
  /** 2xx passed on; the callee's ACK waits for the caller's, which carries the answer to a delayed offer. */
  | 'confirming'
  | 'talking'
  | 'ended';

export interface CallState {
  readonly phase: Phase;
  /** Index of the way being tried. */
  readonly way: number;
  /** The next way in order. */
  readonly following: number;
  /** Ways put off because all their targets are in quarantine; tried when the others have failed. */
  readonly postponed: readonly number[];
  /** The way being tried has been put off before. */
  readonly lastResort: boolean;
  /** Index of the target among those of the way, and their number. */
  readonly target: number;
  readonly targets: number;
  /** Number of the attempt under way, from 1; 0 before the first. */
  readonly attempt: number;
  /** The callee's side has sent something in this attempt. */
  readonly heard: boolean;
  /** When the INVITE came, in `now` time, put off by what the call has waited in line. */
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
  /** The call has waited in line, or does. */
  readonly line: InLine | null;
  /** Another call is to take over the telephone's side. */
  readonly promised: boolean;
}

/** A call's time in lines. */
export interface InLine {
  /** When it joined the present line, or the last one, in `now` time. */
  readonly since: number;
  /** Milliseconds in earlier lines. */
  readonly before: number;
  /** What the slot is for: a new attempt, or the credentialed repeat of the one under way. */
  readonly purpose: 'dial' | 'repeat';
  /** Where it stands, as last told to the caller; −1: nothing was told. */
  readonly position: number;
  readonly waitMs: number;
  /** A refusal for too many calls per second has brought it back into line. */
  readonly requeued: boolean;
}

export const INITIAL: CallState = {
  phase: 'new',
  way: 0,
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
  line: null,
  promised: false,
};

/** Nothing of a call matters to its machine once it is over. */
export const ENDED: CallState = { ...INITIAL, phase: 'ended' };

export type CallEvent =
  | { readonly type: 'invite'; readonly now: number }
  /** `healthy`: not all of the targets are in quarantine. */
  | { readonly type: 'resolved'; readonly now: number; readonly targets: number; readonly healthy: boolean }
  /** `code`: why, where it is not for lack of an address. */
  | {
      readonly type: 'unresolved';
      readonly now: number;
      readonly detail: string;
      readonly code?: ReasonCode | undefined;
    }
  | {
      readonly type: 'progress';
      readonly now: number;
      readonly attempt: number;
      readonly response: SipResponse;
      readonly early: number;
      readonly reliable: boolean;
      /** The callee's PRACK waits for the caller's, which carries the answer. */
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
  /** The callee's side asks for credentials, and the driver has an answer. */
  | { readonly type: 'challenged'; readonly now: number; readonly attempt: number }
  /** Where the call stands in line; `waitMs` until its slot, as far as can be told. */
  | {
      readonly type: 'place';
      readonly now: number;
      readonly position: number;
      readonly waitMs: number;
    }
  /** Its turn has come: what it waits for must be sent at once. */
  | { readonly type: 'slot'; readonly now: number }
  | { readonly type: 'no-slot'; readonly now: number; readonly why: PaceRefusal }
  /** `request` is the CANCEL; null when the caller was lost. */
  | { readonly type: 'cancel'; readonly request: SipRequest | null; readonly detail: string }
  | { readonly type: 'prack'; readonly early: number; readonly request: SipRequest }
  | { readonly type: 'prack-timeout' }
  | { readonly type: 'ack'; readonly request: SipRequest }
  /** `early` is −1 in a confirmed dialog; from the callee it counts its own early dialogs. */
  | {
      readonly type: 'request';
      readonly from: 'caller' | 'callee';
      readonly attempt: number;
      readonly early: number;
      readonly request: InDialogRequest;
    }
  | { readonly type: 'ended'; readonly leg: 'caller' | 'callee'; readonly cause: DialogEnd }
  | { readonly type: 'timer'; readonly now: number }
  /** The telephone's side is to go to another call; the call goes on until it does. */
  | { readonly type: 'promise' }
  /** It is not to any more. */
  | { readonly type: 'withdraw' }
  /** It does now. */
  | { readonly type: 'hand-over' }
  /** The gateway ends the call: drain, management API, a failure of ours. */
  | { readonly type: 'hang-up'; readonly code: ReasonCode; readonly detail: string };

export type CallAction =
  | { readonly do: 'resolve'; readonly way: number }
  /** Join the line of the way's key. */
  | { readonly do: 'join-line'; readonly way: number; readonly timeoutMs: number }
  | { readonly do: 'leave-line' }
  /** Tell the caller where it stands (RFC 3261 §21.1.4, 182). */
  | {
      readonly do: 'queued';
      readonly early: number;
      readonly reliable: boolean;
      readonly position: number;
      readonly waitMs: number;
    }
  /** The provider takes fewer calls per second than we sent it. */
  | { readonly do: 'slow-down' }
  /** INVITE to target number `target` of the way. */
  | { readonly do: 'dial'; readonly attempt: number; readonly way: number; readonly target: number }
  /** The INVITE of the attempt under way once more, with credentials. */
  | { readonly do: 'repeat' }
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
  /** Acknowledge the callee's reliable response: with the caller's PRACK, or emptily. */
  | { readonly do: 'prack-callee'; readonly early: number; readonly prack: SipRequest | null }
  | { readonly do: 'accept'; readonly response: SipResponse; readonly early: number }
  /** `ack`: the caller's, whose header fields and body go along; null for an empty one. */
  | { readonly do: 'ack-callee'; readonly ack: SipRequest | null }
  | { readonly do: 'reject'; readonly failure: Failure }
  /** CANCEL; its Reason is that of `request` (the caller's CANCEL), else made from `code`. */
  | { readonly do: 'cancel-callee'; readonly request: SipRequest | null; readonly code: ReasonCode }
  /** BYE; its Reason is that of `request` (the other side's BYE), else made from `code`. */
  | { readonly do: 'end-caller'; readonly request: SipRequest | null; readonly code: ReasonCode }
  | { readonly do: 'end-callee'; readonly request: SipRequest | null; readonly code: ReasonCode }
  | {
      readonly do: 'relay';
      readonly to: 'caller' | 'callee';
      readonly early: number;
      readonly request: InDialogRequest;
    }
  | { readonly do: 'refuse-request'; readonly request: InDialogRequest; readonly status: number }
  /** The agent asks for a transfer (RFC 3515). */
  | { readonly do: 'refer'; readonly request: InDialogRequest }
  /** The telephone's side is its heir's. */
  | { readonly do: 'bequeath' }
  /** The heir gets nothing: the telephone's side has ended. */
  | { readonly do: 'disinherit' }
  | { readonly do: 'arm'; readonly ms: number }
  | { readonly do: 'disarm' }
  /** `status`: the caller's final status; 0 when it was lost before one; −1 when it was answered long ago. */
  | {
      readonly do: 'finish';
      readonly by: 'caller' | 'callee' | 'gateway';
      readonly status: number;
      readonly code: ReasonCode;
      readonly q850: number;
      readonly detail: string;
    };
