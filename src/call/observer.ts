/**
 * What the call room tells about its calls, and the record that remains of each attempt. The room that writes
 * logs, metrics and CDRs implements `CallObserver`; nothing here knows how.
 *
 * Observers are called synchronously on the way of the call: they must be quick and must not throw.
 */

/** The words of the management API. `queued`: waits for a slot; a call that fails over may wait more than once. */
export type CallState = 'queued' | 'dialing' | 'ringing' | 'early-media' | 'answered' | 'ended';

/**
 * Whose doing the end was. The voice agent is always `agent`; the other side is `caller` of an inbound call and
 * `callee` of an outbound one. `gateway`: a refusal, a time-out, a drain, the management API, a failure of ours.
 */
export type EndedBy = 'caller' | 'agent' | 'callee' | 'gateway';

/** One step of a routing decision, as `routing` explains it. */
export interface ExplanationStep {
  readonly subject: string;
  readonly test: string;
  readonly outcome: 'pass' | 'fail' | 'info';
  readonly detail: string;
}

/** One INVITE that was sent, or could not be sent, to an agent's endpoint or a trunk's server. */
export interface AttemptRecord {
  /** The URI called. */
  readonly endpoint: string;
  /** The trunk that it went by; null towards an agent. */
  readonly trunkId: string | null;
  /** `udp:127.0.0.1:5090`; null when the name did not resolve. */
  readonly target: string | null;
  /** Call-ID of the leg; null when nothing was sent. */
  readonly callId: string | null;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** `pending` in the record of a live call only. */
  readonly outcome: 'pending' | 'answered' | 'rejected' | 'fault' | 'cancelled';
  /** Challenges that were answered with credentials, the INVITE being repeated for each. */
  readonly challenges: number;
  /** The final status; null when there was none. */
  readonly sipStatus: number | null;
  /** Kind of the fault (`refused`, `timeout`, `unresolved`…), or why it was cancelled (`setup_timeout`, `no_answer`…). */
  readonly cause: string | null;
  readonly detail: string | null;
}

/** Nothing that ended the call, but what somebody may complain of. */
export interface CallWarning {
  /** One of the reason codes. */
  readonly code: 'private_media_address';
  /** Whose message it is about. */
  readonly side: EndedBy;
  readonly detail: string;
}

/**
 * A call as the API shows it and the CDR keeps it. Plain data, all text printable, times ISO 8601 in UTC,
 * durations in whole milliseconds.
 */
export interface CallRecord {
  readonly id: string;
  readonly direction: 'inbound' | 'outbound';
  /** Whose call it is; null where neither trunk nor agent is known. */
  readonly organizationId: string | null;
  readonly state: CallState;
  /** Outbound: the trunk tried last. */
  readonly trunkId: string | null;
  /** Id of the phone-number object. */
  readonly phoneNumberId: string | null;
  readonly agentId: string | null;
  /** Inbound: the number as routed on, normalised. */
  readonly did: string | null;
  /** The number as the trunk sent it; of a call that was refused, the user of its Request-URI. */
  readonly originalDid: string | null;
  /** Outbound: the number called, normalised; of a call that was refused, as the agent dialled it. */
  readonly callee: string | null;
  /** User part of the caller's From, or its whole URI when it has none; outbound: the number that is shown. */
  readonly caller: string | null;
  readonly callerName: string | null;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly transport: string;
  /** Call-ID of the caller's leg. */
  readonly callId: string;
  readonly startedAt: string;
  /** When it first waited for a slot; null when its calls are not paced. */
  readonly queuedAt: string | null;
  /** Time in line, all attempts together; null like `queuedAt`. */
  readonly waitedMs: number | null;
  /** Of the line it waited in last. */
  readonly cpsKey: string | null;
  /** What who asked for the call by the API has given it to keep. */
  readonly metadata: Readonly<Record<string, string>> | null;
  /** The call of the latest transfer that was asked for, whatever has become of it; null: none was. */
  readonly transferCallId: string | null;
  /** The call whose telephone this one was made for, to take it over; null: it is no transfer. */
  readonly transferredFrom: string | null;
  /** First 180 or other sign of life relayed to the caller. */
  readonly ringingAt: string | null;
  readonly answeredAt: string | null;
  readonly endedAt: string | null;
  /** INVITE to first ringing or answer. */
  readonly setupMs: number | null;
  /** First ringing to answer or end. */
  readonly ringMs: number | null;
  /** Answer to end; null for a call never answered. */
  readonly talkMs: number | null;
  /** INVITE to end, or to now while the call lives. */
  readonly durationMs: number;
  readonly endedBy: EndedBy | null;
  /** The final status that the caller got (487 when it cancelled); 0 when it was lost before one. */
  readonly sipStatus: number | null;
  /** Cause by ITU-T Q.850. */
  readonly q850: number | null;
  /** Stable reason code: `normal`, `caller_cancelled`, or one of routing's refusals. */
  readonly code: string | null;
  /** One sentence for people. */
  readonly detail: string | null;
  /** How the refusal came about; null for calls that were routed. */
  readonly explanation: readonly ExplanationStep[] | null;
  readonly attempts: readonly AttemptRecord[];
  /** What may be wrong with a call that was answered. */
  readonly warnings: readonly CallWarning[];
}

/** A live call as observers see it: cheap to hand out, read it before the callback returns. */
export interface LiveCall {
  readonly id: string;
  readonly state: CallState;
  readonly trunkId: string | null;
  readonly agentId: string | null;
  /** The full record as of now. Builds an object: not for every event. */
  record(): CallRecord;
}

export interface CallObserver {
  /** An INVITE was admitted; refused ones are only reported as ended. */
  callStarted?(call: LiveCall): void;
  /** `call.state` has just changed; not called for the first state nor for `ended`. */
  callChanged?(call: LiveCall, previous: CallState): void;
  /** Exactly once for every INVITE, refused ones included. */
  callEnded(record: CallRecord): void;
}
