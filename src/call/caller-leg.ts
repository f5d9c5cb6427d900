/**
 * The caller's side of a call as the call room sees it. The engine's `IncomingInvite` is one as it stands. Others may
 * take its place: an agent that was rung first and has answered (RFC 3725) is presented as a caller whose INVITE brings
 * the agent's offer, whose 2xx is the ACK to the agent, and whose dialog is the agent's.
 *
 * What holds of `IncomingInvite` holds here: callbacks never come from inside a call into the leg, `onCancel` is the
 * last of `events`, exactly one of `accept` and `reject` ends the set-up unless `onCancel` came first, and `progress`
 * is not called after either.
 */
import type {
  AcceptOptions,
  Dialog,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  IncomingInviteEvents,
  ProgressOptions,
  Source,
} from '#engine/engine.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';

/** What is read of the caller's INVITE. `body` '' means that the offer comes from the callee. */
export interface CallerRequest
  extends Pick<SipRequest, 'callId' | 'from' | 'headers' | 'body' | 'maxForwards'> {
  /** Request-URI; absent where no INVITE came in. */
  readonly uri?: Octets | undefined;
}

/** What is asked of the caller's dialog. */
export type CallerDialog = Pick<Dialog, 'request' | 'end'>;

export interface CallerLeg {
  readonly request: CallerRequest;
  readonly source: Pick<Source, 'transport' | 'address' | 'port'>;
  /** Set by the call room before anything else. */
  events: IncomingInviteEvents;
  /** The caller takes reliable provisional responses, or insists on them. */
  readonly supportsReliable: boolean;
  readonly requiresReliable: boolean;
  /** 101 to 199. */
  progress(response: ProgressOptions): void;
  /**
   * The callee's 2xx. With a delayed offer (`request.body` '') the body is the offer, and `events.onAck` brings the
   * caller's answer. `dialogEvents.onEnded` may come as soon as this has returned.
   */
  accept(response: AcceptOptions, dialogEvents: DialogEvents): CallerDialog;
  /** 300 to 699. */
  reject(status: number, reason: string, headers?: readonly HeaderField[], body?: Octets): void;
  /** A request of the callee's in the early dialog `early`. */
  earlyRequest(
    early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void;
}
