/**
 * Why a call was refused, failed or ended: one stable code each, the SIP status that goes with it, what it means and
 * what to do. The code travels in `X-Trunkline-Reason`, in CDRs and metrics; the API explains it from this table.
 */

export interface ReasonEntry {
  /** The status that answers the caller; 0 where the peer's own status is passed on or none is sent. */
  readonly status: number;
  /** Reason phrase of that answer. */
  readonly phrase: string;
  /** `refused` before an agent was tried, `failed` on the way to an answer, `ended` after one. */
  readonly stage: 'refused' | 'failed' | 'ended';
  readonly meaning: string;
  readonly remedy: string;
  /** HTTP status where the API refuses an outbound call for this; 0 where it never does. */
  readonly httpStatus: number;
}

const entry = (
  status: number,
  phrase: string,
  stage: ReasonEntry['stage'],
  meaning: string,
  remedy: string,
  httpStatus = 0,
): ReasonEntry => ({ status, phrase, stage, meaning, remedy, httpStatus });

export const REASONS = {
  unknown_source: entry(
    403,
    'Forbidden',
    'refused',
    'No trunk allows calls from this address.',
    "Add the provider's address or network to `allowedAddresses` of its trunk.",
  ),
  unknown_number: entry(
    404,
    'Not Found',
    'refused',
    'The trunk is known, but none of its numbers is the one that was dialled.',
    "Add the number to the trunk, or correct the trunk's `didSource` or `country`; the explanation shows which header field said what.",
  ),
  number_without_agent: entry(
    480,
    'Temporarily Unavailable',
    'refused',
    'The number is known but no agent answers it.',
    'Set `inboundAgentId` of the number.',
  ),
  agent_disabled: entry(
    480,
    'Temporarily Unavailable',
    'refused',
    'The agent is disabled.',
    'Set `enabled: true` on the agent, or link the number to another one.',
    409,
  ),
  agent_without_endpoints: entry(
    480,
    'Temporarily Unavailable',
    'refused',
    'The agent of this number has no endpoint.',
    'Add an endpoint URI to the agent.',
  ),
  capacity: entry(
    503,
    'Service Unavailable',
    'refused',
    'A bound of the gateway is reached (calls, transactions, dialogs or connections).',
    'Raise `sip.limits` or `calls.maxConcurrentCalls`, or add a node; Retry-After says when to try again.',
  ),
  trunk_capacity: entry(
    503,
    'Service Unavailable',
    'refused',
    'The trunk already carries as many calls as it may.',
    'Raise `maxConcurrentCalls` of the trunk, or wait for calls to end.',
    503,
  ),
  unknown_agent: entry(
    404,
    'Not Found',
    'refused',
    'There is no such agent in the organisation.',
    'Give the id of an agent; GET /api/v1/agents lists them.',
    404,
  ),
  no_outbound_config: entry(
    403,
    'No outbound config',
    'refused',
    'The agent has no number to call from, and no account of its own.',
    'Set `outboundNumberId` of the agent, or its SIP registration.',
    409,
  ),
  caller_id_refused: entry(
    403,
    'Caller ID refused',
    'refused',
    "The number to be shown is not one of the organisation's.",
    "Show a number of the organisation, or none: then the agent's own is shown.",
    403,
  ),
  destination_denied: entry(
    403,
    'Destination not allowed',
    'refused',
    'The organisation or the trunk does not allow calls to this number.',
    'Add the beginning of the number to `destinations.allow`, or take it off `destinations.deny`; the detail says of whom.',
    403,
  ),
  not_registered: entry(
    503,
    'Service Unavailable',
    'refused',
    'The account that the call would leave by is not registered at its provider.',
    'See GET /api/v1/registrations for why; calls can leave as soon as it is registered.',
    503,
  ),
  organization_capacity: entry(
    503,
    'Service Unavailable',
    'refused',
    'The organisation has as many calls in progress as it may.',
    'Raise `limits.maxConcurrentCalls` of the organisation, or wait for calls to end.',
    429,
  ),
  organization_day_limit: entry(
    403,
    'Daily limit reached',
    'refused',
    'The organisation has made as many calls today as it may; the count starts anew at midnight UTC.',
    'Raise `limits.callsPerDay` of the organisation.',
    429,
  ),
  trunk_day_limit: entry(
    403,
    'Daily limit reached',
    'refused',
    'The trunk has carried as many outbound calls today as it may; the count starts anew at midnight UTC.',
    'Raise `callsPerDay` of the trunk, or give the agent a further number on another one.',
    429,
  ),
  draining: entry(
    503,
    'Service Unavailable',
    'refused',
    'The gateway is being stopped: live calls go on, new ones are refused.',
    'Try another node, or again once it has restarted.',
  ),
  held_too_long: entry(
    503,
    'Service Unavailable',
    'refused',
    'The call waited for a slot of its calls-per-second limit until its time ran out.',
    'Raise `cpsLimit` if the provider allows it, or send fewer calls at once.',
  ),
  queue_full: entry(
    503,
    'Service Unavailable',
    'refused',
    'As many calls wait for a slot of the calls-per-second limit as may wait.',
    'Raise `maxQueued` or `cpsLimit`, or send fewer calls at once; Retry-After says when to try again.',
  ),
  loop_detected: entry(
    482,
    'Loop Detected',
    'refused',
    'The call has already passed this gateway.',
    'Find the hop that sends it back: an agent endpoint or trunk that points at this gateway.',
  ),
  too_many_hops: entry(
    483,
    'Too Many Hops',
    'refused',
    'Max-Forwards reached 0.',
    'Look for a loop among the hops in the Via header fields.',
  ),
  bad_request: entry(
    400,
    'Bad Request',
    'refused',
    'The request breaks the grammar or a rule of SIP; the detail says which.',
    'Correct the sender.',
    400,
  ),
  not_supported: entry(
    420,
    'Bad Extension',
    'refused',
    'The request requires a SIP extension or method that the gateway does not offer.',
    'Turn the extension off at the sender; Unsupported or Allow in the answer names it.',
  ),
  reliable_required: entry(
    421,
    'Extension Required',
    'refused',
    'One side insists on reliable provisional responses that the other cannot take.',
    'Turn on 100rel where it is missing, or off where it is required.',
  ),
  agent_unresolved: entry(
    480,
    'Temporarily Unavailable',
    'failed',
    "No address was found for the agent's endpoint.",
    'Check the host name of the endpoint in DNS.',
  ),
  agent_unreachable: entry(
    480,
    'Temporarily Unavailable',
    'failed',
    'No endpoint of the agent could be reached: connection refused, TLS failed or no route.',
    'Check that the agent listens at its endpoint, with that transport.',
  ),
  no_answer: entry(
    480,
    'Temporarily Unavailable',
    'failed',
    'No endpoint of the agent answered the INVITE at all.',
    'Check that the agent runs and that a firewall lets its answers through.',
  ),
  ring_timeout: entry(
    480,
    'Temporarily Unavailable',
    'failed',
    'The other side rang but did not answer within the ring time.',
    'Raise `ringTimeoutSeconds`; for an agent look why it does not pick up.',
  ),
  trunk_unresolved: entry(
    502,
    'Bad Gateway',
    'failed',
    "No address was found for the trunk's server.",
    'Check `server` or `outboundProxy` of the trunk in DNS; the staged probe shows the records.',
  ),
  trunk_unregistered: entry(
    502,
    'Bad Gateway',
    'failed',
    'The trunk lost its registration while the call was set up.',
    "See the registration's time line for why.",
  ),
  trunk_unreachable: entry(
    502,
    'Bad Gateway',
    'failed',
    'No server of the trunk could be reached: connection refused, TLS failed or no route.',
    'Check `server` and `transport` of the trunk; the staged probe says what is wrong.',
  ),
  provider_silent: entry(
    504,
    'Server Time-out',
    'failed',
    'The provider did not answer the INVITE at all.',
    'Check server, port and transport of the trunk, and that a firewall lets answers through.',
  ),
  provider_cps_exceeded: entry(
    503,
    'Service Unavailable',
    'failed',
    'The provider refused the call for exceeding its calls per second, and refused it again after a wait.',
    'Lower `cpsLimit` of the trunk, or have the provider raise its own limit.',
  ),
  trunk_credentials_rejected: entry(
    502,
    'Bad Gateway',
    'failed',
    'The provider asked for credentials and did not take those of the trunk, or the trunk has none.',
    'Check `authUser` and `authPassword` of the trunk; the attempt in the call record says what was asked.',
  ),
  callee_rejected: entry(
    0,
    '',
    'failed',
    "The provider or the callee refused the call; the agent got that answer's status.",
    'See the status of the last attempt in the call record.',
  ),
  callee_busy: entry(486, 'Busy Here', 'failed', 'The callee was busy.', 'Nothing, or call again later.'),
  setup_timeout: entry(
    408,
    'Request Timeout',
    'failed',
    'The call was not answered within the set-up time, all attempts together.',
    'Raise `calls.setupTimeoutSeconds`, or shorten the list of endpoints.',
  ),
  agent_rejected: entry(
    0,
    '',
    'failed',
    "The agent refused the call; the caller got the agent's own status.",
    "See the agent's status in the call record.",
  ),
  agent_busy: entry(
    486,
    'Busy Here',
    'failed',
    'The agent was busy.',
    'Nothing, or add endpoints to the agent.',
  ),
  agent_protocol_error: entry(
    502,
    'Bad Gateway',
    'failed',
    'The agent answered with something that is not valid SIP.',
    "Correct the agent's SIP stack; the detail says what was wrong.",
  ),
  caller_cancelled: entry(
    487,
    'Request Terminated',
    'failed',
    'The caller gave up before the call was answered.',
    'Nothing; if it happens often, see how long it rings.',
  ),
  caller_lost: entry(
    0,
    '',
    'failed',
    'The connection to the caller broke before the answer.',
    'Check the network and idle time-outs between provider and gateway.',
  ),
  caller_timeout: entry(
    504,
    'Server Time-out',
    'failed',
    'The caller did not acknowledge a reliable provisional response.',
    "Check that the caller's PRACK reaches the gateway.",
  ),
  agent_cancelled: entry(
    487,
    'Request Terminated',
    'failed',
    'The agent hung up before the callee answered.',
    'Nothing; if it happens often, see how long callees ring.',
  ),
  api_cancelled: entry(
    487,
    'Request Terminated',
    'failed',
    'The call was cancelled through the API before both sides had answered.',
    'Nothing.',
  ),
  join_failed: entry(
    488,
    'Not Acceptable Here',
    'failed',
    'Agent and callee both answered, but their media could not be brought together; the detail says who refused.',
    'Look for a codec or a transport of media (RTP, SRTP) that both sides have, and whether the agent takes re-INVITE.',
  ),
  unknown: entry(
    0,
    '',
    'ended',
    'The node that placed the call died around the time of its INVITE, so nobody knows what became of it. It was not dialled again.',
    'Ask the callee or the provider, and place the call anew if need be.',
  ),
  internal_error: entry(
    500,
    'Server Internal Error',
    'failed',
    'The gateway failed.',
    'Report it with the call id; the log has the error.',
  ),
  normal_clearing: entry(0, '', 'ended', 'One side hung up.', 'Nothing.'),
  no_ack: entry(
    0,
    '',
    'ended',
    "The answer was never acknowledged by the caller's side, so the call was ended.",
    'Check that ACK from the caller reaches the Contact address: see `sip.externalAddress`.',
  ),
  session_failed: entry(
    0,
    '',
    'ended',
    'A request inside the call met no answer or an unknown dialog: one side had lost the call.',
    'Check the network path and idle time-outs of that side.',
  ),
  max_duration: entry(
    0,
    '',
    'ended',
    'The call reached its longest permitted duration.',
    'Raise `maxDurationSeconds` of the trunk.',
  ),
  session_expired: entry(
    0,
    '',
    'ended',
    'The session timer ran out: no side refreshed the session.',
    'Look which side is to refresh and why its re-INVITE or UPDATE does not arrive.',
  ),
  shutdown: entry(
    0,
    '',
    'ended',
    'The gateway stopped before the call was over.',
    'Raise `drain.timeoutSeconds`.',
  ),
} satisfies Record<string, ReasonEntry>;

export type ReasonCode = keyof typeof REASONS;

/** The entry of a code, for codes that come from outside (the API); undefined when there is none. */
export function reasonEntry(code: string): ReasonEntry | undefined {
  return Object.hasOwn(REASONS, code) ? REASONS[code as ReasonCode] : undefined;
}
