/**
 * The machine row by row, without sockets, clocks or legs. A row is a path of events that leads to a state, one event
 * more, and the actions that must come of it. Races are the rows whose event comes too late.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_FAILOVER_STATUSES } from '#call/hunt.js';
import { advance } from '#call/machine.js';
import { type CallAction, type CallEvent, type CallPlan, type CallState, INITIAL } from '#call/script.js';
import type { DialogEnd } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { FakeRequest, request, response } from '../../kit/fake-engine.js';

const PLAN: CallPlan = {
  called: 'agent',
  ways: 1,
  maxAttempts: 100,
  rules: null,
  queueTimeoutMs: 0,
  ringTimeoutMs: 30_000,
  setupTimeoutMs: 30_000,
  attemptTimeoutMs: 4_000,
  maxDurationMs: 0,
  failoverStatuses: DEFAULT_FAILOVER_STATUSES,
  maxForwards: 70,
  agentRefers: true,
  delayedOffer: false,
  callerReliable: false,
  callerRequiresReliable: false,
};
const TWO_ENDPOINTS: CallPlan = { ...PLAN, ways: 2 };

const invite: CallEvent = { type: 'invite', now: 0 };
const resolved = (targets = 1, healthy = true): CallEvent => ({ type: 'resolved', now: 1, targets, healthy });
const progress = (
  status: number,
  more: {
    attempt?: number;
    early?: number;
    reliable?: boolean;
    offer?: boolean;
    body?: string;
    now?: number;
  } = {},
): CallEvent => ({
  type: 'progress',
  now: more.now ?? 2,
  attempt: more.attempt ?? 1,
  response: response(status, [], more.body ?? ''),
  early: more.early ?? 0,
  reliable: more.reliable ?? false,
  offer: more.offer ?? false,
});
const answer = (body = 'sdp', attempt = 1, early = 0): CallEvent => ({
  type: 'answer',
  attempt,
  response: response(200, [], body),
  early,
});
const rejection = (status: number, attempt = 1, lines: string[] = []): CallEvent => ({
  type: 'rejection',
  now: 3,
  attempt,
  response: response(status, lines),
});
const fault = (what: EngineFault, attempt = 1): CallEvent => ({
  type: 'fault',
  now: 3,
  attempt,
  fault: what,
});
const cancel: CallEvent = { type: 'cancel', request: request('CANCEL'), detail: 'gave up' };
const lost: CallEvent = { type: 'cancel', request: null, detail: 'lost' };
const ack: CallEvent = { type: 'ack', request: request('ACK', [], 'answer') };
const prack = (early = 0): CallEvent => ({ type: 'prack', early, request: request('PRACK', [], 'answer') });
const timer = (now: number): CallEvent => ({ type: 'timer', now });
const hangUp: CallEvent = { type: 'hang-up', code: 'shutdown', detail: 'stop' };
const inside = (
  from: 'caller' | 'callee',
  early = -1,
  method = 'INFO',
  attempt = 1,
  lines: string[] = [],
): CallEvent => ({
  type: 'request',
  from,
  attempt,
  early,
  request: new FakeRequest(request(method, lines)),
});
const ended = (
  leg: 'caller' | 'callee',
  cause: DialogEnd = { kind: 'bye', request: request('BYE') },
): CallEvent => ({ type: 'ended', leg, cause });
const REFUSED: EngineFault = { kind: 'refused', detail: 'x' };
const SILENT: EngineFault = { kind: 'timeout', heard: false, detail: 'x' };

function run(
  plan: CallPlan,
  events: readonly CallEvent[],
): { state: CallState; actions: readonly CallAction[] } {
  let step: { state: CallState; actions: readonly CallAction[] } = { state: INITIAL, actions: [] };
  for (const event of events) step = advance(plan, step.state, event);
  return step;
}

/** `reject 486 agent_busy`, `dial 1 0/0`: enough of an action to tell it from any other. */
function brief(action: CallAction): string {
  switch (action.do) {
    case 'resolve':
      return `resolve ${action.way}`;
    case 'join-line':
      return `join-line ${action.way} ${action.timeoutMs}`;
    case 'queued':
      return `queued ${action.position} ${action.waitMs} ${action.early}${action.reliable ? ' reliable' : ''}`;
    case 'leave-line':
    case 'slow-down':
    case 'repeat':
    case 'bequeath':
    case 'disinherit':
    case 'refer':
      return action.do;
    case 'dial':
      return `dial ${action.attempt} ${action.way}/${action.target}`;
    case 'quarantine':
      return `quarantine ${action.seconds}`;
    case 'progress':
      return `progress ${action.response.status} ${action.early}${action.reliable ? ' reliable' : ''}${action.bare ? ' bare' : ''}`;
    case 'prack-callee':
      return `prack-callee ${action.early}${action.prack === null ? ' empty' : ''}`;
    case 'accept':
      return `accept ${action.early}`;
    case 'ack-callee':
      return action.ack === null ? 'ack-callee' : 'ack-callee with answer';
    case 'reject':
      return `reject ${action.failure.status} ${action.failure.code}`;
    case 'cancel-callee':
    case 'end-caller':
    case 'end-callee':
      return `${action.do} ${action.code}${action.request === null ? '' : ' relayed'}`;
    case 'relay':
      return `relay to ${action.to} ${action.early}`;
    case 'refuse-request':
      return `refuse ${action.status}`;
    case 'arm':
      return `arm ${action.ms}`;
    case 'disarm':
      return 'disarm';
    case 'finish':
      return `finish ${action.by} ${action.status} ${action.code}`;
  }
}

type Row = readonly [
  what: string,
  path: readonly CallEvent[],
  phase: string,
  actions: readonly string[],
  plan?: CallPlan,
];

const RESOLVING = [invite];
const TRYING = [invite, resolved()];
const RINGING = [...TRYING, progress(180)];
const TALKING = [...TRYING, answer()];
const promise: CallEvent = { type: 'promise' };
const handOver: CallEvent = { type: 'hand-over' };
const PROMISED = [...TALKING, promise];
const CALLEE: CallPlan = { ...PLAN, called: 'callee' };
const DELAYED: CallPlan = { ...PLAN, delayedOffer: true };
const RELIABLE: CallPlan = { ...PLAN, callerReliable: true };
const GONE = [...TRYING, cancel];

const rows: Record<string, readonly Row[]> = {
  'an INVITE': [
    ['starts the clock and the first endpoint', [invite], 'resolving', ['arm 30000', 'resolve 0']],
    [
      'waits for ringing no longer than the set-up time',
      [invite],
      'resolving',
      ['arm 5000', 'resolve 0'],
      { ...PLAN, setupTimeoutMs: 5000 },
    ],
  ],
  'while names resolve': [
    [
      'the only target is dialled without touching the timer',
      [...RESOLVING, resolved()],
      'trying',
      ['dial 1 0/0'],
    ],
    [
      'with another target the attempt is timed',
      [...RESOLVING, resolved(2)],
      'trying',
      ['dial 1 0/0', 'arm 4000'],
    ],
    [
      'no address ends an agent with one endpoint',
      [...RESOLVING, resolved(0)],
      'ended',
      ['reject 480 agent_unresolved', 'disarm', 'finish gateway 480 agent_unresolved'],
    ],
    [
      'a name that fails goes on',
      [...RESOLVING, { type: 'unresolved', now: 1, detail: 'x' }],
      'resolving',
      ['arm 29999', 'resolve 1'],
      TWO_ENDPOINTS,
    ],
    [
      'an endpoint in quarantine is put off',
      [...RESOLVING, resolved(1, false)],
      'resolving',
      ['arm 29999', 'resolve 1'],
      TWO_ENDPOINTS,
    ],
    [
      'two in quarantine: the first is tried all the same',
      [...RESOLVING, resolved(1, false), resolved(1, false)],
      'resolving',
      ['arm 29999', 'resolve 0'],
      TWO_ENDPOINTS,
    ],
    [
      'a last resort is dialled',
      [...RESOLVING, resolved(1, false), resolved(1, false), resolved(1, false)],
      'trying',
      ['dial 1 0/0', 'arm 4000'],
      TWO_ENDPOINTS,
    ],
    [
      'the only endpoint is dialled, quarantine or not',
      [...RESOLVING, resolved(1, false)],
      'trying',
      ['dial 1 0/0'],
    ],
    [
      'the caller may cancel',
      [...RESOLVING, cancel],
      'ended',
      ['disarm', 'finish caller 487 caller_cancelled'],
    ],
    ['the caller may be lost', [...RESOLVING, lost], 'ended', ['disarm', 'finish caller 0 caller_lost']],
    [
      'time may run out',
      [...RESOLVING, timer(30_000)],
      'ended',
      ['reject 480 no_answer', 'disarm', 'finish gateway 480 no_answer'],
    ],
    [
      'the gateway may stop',
      [...RESOLVING, hangUp],
      'ended',
      ['reject 503 draining', 'disarm', 'finish gateway 503 draining'],
    ],
    [
      'a request in a dead early dialog is refused',
      [...TRYING, progress(180), rejection(500), inside('caller', 0)],
      'resolving',
      ['refuse 481'],
      TWO_ENDPOINTS,
    ],
    [
      'a missing PRACK ends the call',
      [...RESOLVING, { type: 'prack-timeout' }],
      'ended',
      ['reject 504 caller_timeout', 'disarm', 'finish gateway 504 caller_timeout'],
    ],
    ['a late PRACK does nothing', [...RESOLVING, prack()], 'resolving', []],
  ],
  'provisional responses': [
    ['100 is not relayed', [...TRYING, progress(100)], 'trying', []],
    ['100 stops the attempt time-out', [invite, resolved(2), progress(100)], 'trying', ['arm 29998']],
    ['a second 100 does nothing', [invite, resolved(2), progress(100), progress(100)], 'trying', []],
    ['180 is relayed', RINGING, 'ringing', ['progress 180 0']],
    ['181 and 199 too', [...RINGING, progress(199, { early: 1 })], 'ringing', ['progress 199 1']],
    [
      '180 stops the attempt time-out',
      [invite, resolved(2), progress(180)],
      'ringing',
      ['progress 180 0', 'arm 29998'],
    ],
    [
      '180 starts the ring time, counted from the INVITE',
      RINGING,
      'ringing',
      ['progress 180 0', 'arm 59998'],
      { ...PLAN, ringTimeoutMs: 60_000 },
    ],
    [
      'one without To tag counts as the first early dialog',
      [...TRYING, progress(180, { early: -1 })],
      'ringing',
      ['progress 180 0'],
    ],
    [
      'of an earlier attempt: nothing',
      [invite, resolved(2), rejection(503), progress(180, { attempt: 1 })],
      'trying',
      [],
    ],
    [
      'early dialogs of the next attempt are new ones',
      [
        invite,
        resolved(2),
        progress(180),
        progress(180, { early: 1 }),
        rejection(503),
        progress(180, { attempt: 2 }),
      ],
      'ringing',
      ['progress 180 2'],
    ],
    ['past the sixteenth fork nothing is relayed', [...TRYING, progress(180, { early: 16 })], 'trying', []],
    [
      'past the 64th nothing is relayed',
      [...TRYING, ...Array.from({ length: 65 }, () => progress(180))],
      'ringing',
      [],
    ],
  ],
  'reliable responses': [
    [
      'not towards a caller without 100rel',
      [...TRYING, progress(183, { reliable: true, body: 'sdp' })],
      'ringing',
      ['progress 183 0'],
    ],
    [
      'when the callee sent it so',
      [...TRYING, progress(180, { reliable: true })],
      'ringing',
      ['progress 180 0 reliable'],
      RELIABLE,
    ],
    [
      'when there is a body',
      [...TRYING, progress(183, { body: 'sdp' })],
      'ringing',
      ['progress 183 0 reliable'],
      RELIABLE,
    ],
    ['not for mere ringing', RINGING, 'ringing', ['progress 180 0'], RELIABLE],
    [
      'always when the caller insists',
      RINGING,
      'ringing',
      ['progress 180 0 reliable'],
      { ...RELIABLE, callerRequiresReliable: true },
    ],
    [
      "the caller's PRACK goes to the agent's early dialog",
      [...TRYING, progress(183, { early: 1, reliable: true, offer: true, body: 'sdp' }), prack(1)],
      'ringing',
      ['prack-callee 1'],
      { ...RELIABLE, delayedOffer: true },
    ],
    [
      'PRACK for an attempt that has failed does nothing',
      [invite, resolved(2), progress(183, { body: 'sdp' }), rejection(503), prack(0)],
      'trying',
      [],
      RELIABLE,
    ],
    [
      'an offer that the caller cannot answer is acknowledged emptily',
      [...TRYING, progress(183, { reliable: true, offer: true, body: 'sdp' })],
      'ringing',
      ['prack-callee 0 empty', 'progress 183 0 bare'],
      DELAYED,
    ],
    [
      'a missing PRACK ends the call',
      [...RINGING, { type: 'prack-timeout' }],
      'ended',
      [
        'cancel-callee caller_timeout',
        'reject 504 caller_timeout',
        'disarm',
        'finish gateway 504 caller_timeout',
      ],
      RELIABLE,
    ],
  ],
  'the answer': [
    ['is acknowledged at once', [...RINGING, answer()], 'talking', ['accept 0', 'ack-callee', 'disarm']],
    ['comes without ringing', TALKING, 'talking', ['accept 0', 'ack-callee', 'disarm']],
    [
      'starts the longest duration',
      TALKING,
      'talking',
      ['accept 0', 'ack-callee', 'arm 60000'],
      { ...PLAN, maxDurationMs: 60_000 },
    ],
    [
      'takes the To tag of its fork',
      [...TRYING, progress(180), progress(180, { early: 1 }), answer('sdp', 1, 1)],
      'talking',
      ['accept 1', 'ack-callee', 'disarm'],
    ],
    ['with an offer waits for the caller', TALKING, 'confirming', ['accept 0', 'disarm'], DELAYED],
    ['and then carries its answer', [...TALKING, ack], 'talking', ['ack-callee with answer'], DELAYED],
    [
      'without a body to an INVITE without one has nothing to wait for',
      [...TRYING, answer('')],
      'talking',
      ['accept 0', 'ack-callee', 'disarm'],
      DELAYED,
    ],
    ["the caller's ACK is nothing otherwise", [...TALKING, ack], 'talking', []],
    ['a second ACK is nothing', [...TALKING, ack, ack], 'talking', [], DELAYED],
    ['of an earlier attempt: nothing', [invite, resolved(2), timer(4001), answer('sdp', 1)], 'trying', []],
    ['after the CANCEL: nothing', [...GONE, answer()], 'ended', []],
    ['after the ring time: nothing', [...RINGING, timer(30_000), answer()], 'ended', []],
    ['a second one: nothing', [...TALKING, answer()], 'talking', []],
    ['PRACK after it does nothing', [...TALKING, prack()], 'talking', [], RELIABLE],
    ['a rejection after it does nothing', [...TALKING, rejection(486)], 'talking', []],
    ['a CANCEL after it does nothing', [...TALKING, cancel], 'talking', []],
  ],
  rejections: [
    [
      '486 ends the hunt',
      [...TRYING, rejection(486)],
      'ended',
      ['reject 486 agent_busy', 'disarm', 'finish callee 486 agent_busy'],
      TWO_ENDPOINTS,
    ],
    [
      '487 too',
      [...TRYING, rejection(487)],
      'ended',
      ['reject 487 agent_rejected', 'disarm', 'finish callee 487 agent_rejected'],
      TWO_ENDPOINTS,
    ],
    [
      '600 too',
      [...TRYING, rejection(600)],
      'ended',
      ['reject 600 agent_busy', 'disarm', 'finish callee 600 agent_busy'],
      TWO_ENDPOINTS,
    ],
    [
      '603 too',
      [...TRYING, rejection(603)],
      'ended',
      ['reject 603 agent_rejected', 'disarm', 'finish callee 603 agent_rejected'],
      TWO_ENDPOINTS,
    ],
    [
      '500 goes to the next endpoint, not to the next target',
      [invite, resolved(2), rejection(500)],
      'resolving',
      ['arm 29997', 'resolve 1'],
      TWO_ENDPOINTS,
    ],
    [
      '503 goes to the next target',
      [invite, resolved(2), rejection(503)],
      'trying',
      ['dial 2 0/1', 'arm 4000'],
      TWO_ENDPOINTS,
    ],
    [
      '503 leaves the target alone for as long as it says',
      [invite, resolved(2), rejection(503, 1, ['Retry-After: 30'])],
      'trying',
      ['quarantine 30', 'dial 2 0/1', 'arm 29997'],
    ],
    [
      'but a minute at most',
      [invite, resolved(2), rejection(503, 1, ['Retry-After: 86400'])],
      'trying',
      ['quarantine 60', 'dial 2 0/1', 'arm 29997'],
    ],
    [
      'after ringing too',
      [...RINGING, rejection(500)],
      'resolving',
      ['arm 29997', 'resolve 1'],
      TWO_ENDPOINTS,
    ],
    [
      'the last one reaches the caller',
      [...TRYING, rejection(500)],
      'ended',
      ['reject 500 agent_rejected', 'disarm', 'finish callee 500 agent_rejected'],
    ],
    [
      'the better of two reaches the caller',
      [...TRYING, rejection(500), resolved(), rejection(408, 2)],
      'ended',
      ['reject 408 agent_rejected', 'disarm', 'finish callee 408 agent_rejected'],
      TWO_ENDPOINTS,
    ],
    [
      'a definite answer reaches the caller whatever came before',
      [...TRYING, rejection(408), resolved(), rejection(404, 2)],
      'ended',
      ['reject 404 agent_rejected', 'disarm', 'finish callee 404 agent_rejected'],
      TWO_ENDPOINTS,
    ],
    ['of an earlier attempt: nothing', [invite, resolved(2), timer(4001), rejection(487, 1)], 'trying', []],
    ['after the CANCEL: nothing', [...GONE, rejection(487)], 'ended', []],
  ],
  faults: [
    [
      'refused goes to the next target',
      [invite, resolved(2), fault(REFUSED)],
      'trying',
      ['quarantine 0', 'dial 2 0/1', 'arm 29997'],
    ],
    [
      'silence too',
      [invite, resolved(2), fault(SILENT)],
      'trying',
      ['quarantine 0', 'dial 2 0/1', 'arm 29997'],
    ],
    [
      'a lost connection too',
      [invite, resolved(2), fault({ kind: 'flow-lost', detail: 'x' })],
      'trying',
      ['quarantine 0', 'dial 2 0/1', 'arm 29997'],
    ],
    [
      'but not once the endpoint has spoken',
      [invite, resolved(2), progress(100), fault({ kind: 'flow-lost', detail: 'x' })],
      'ended',
      ['reject 480 agent_unreachable', 'disarm', 'finish gateway 480 agent_unreachable'],
    ],
    [
      'nor for silence after a 100 that only the engine heard',
      [invite, resolved(2), fault({ kind: 'timeout', heard: true, detail: 'x' })],
      'ended',
      ['reject 480 no_answer', 'disarm', 'finish gateway 480 no_answer'],
    ],
    [
      'a bound of ours ends the call',
      [invite, resolved(2), fault({ kind: 'capacity', detail: 'x' })],
      'ended',
      ['reject 503 capacity', 'disarm', 'finish gateway 503 capacity'],
    ],
    [
      'so does an engine that goes away',
      [invite, resolved(2), fault({ kind: 'engine-down', detail: 'x' })],
      'ended',
      ['reject 503 draining', 'disarm', 'finish gateway 503 draining'],
    ],
    [
      'an answer before it tells the caller more',
      [...TRYING, rejection(500), resolved(), fault(REFUSED, 2)],
      'ended',
      ['quarantine 0', 'reject 500 agent_rejected', 'disarm', 'finish callee 500 agent_rejected'],
      TWO_ENDPOINTS,
    ],
    ['of an earlier attempt: nothing', [invite, resolved(2), timer(4001), fault(SILENT, 1)], 'trying', []],
    ['after the CANCEL: nothing', [...GONE, fault({ kind: 'cancelled', detail: 'x' })], 'ended', []],
  ],
  time: [
    [
      'an endpoint that says nothing is given up for the next target',
      [invite, resolved(2), timer(4001)],
      'trying',
      ['cancel-callee no_answer', 'quarantine 0', 'dial 2 0/1', 'arm 25999'],
    ],
    [
      'or the next endpoint',
      [...TRYING, timer(4001)],
      'resolving',
      ['cancel-callee no_answer', 'quarantine 0', 'arm 25999', 'resolve 1'],
      TWO_ENDPOINTS,
    ],
    [
      'a timer that meets an endpoint which has just spoken waits on',
      [invite, resolved(2), progress(100), timer(4001)],
      'trying',
      ['arm 25999'],
    ],
    [
      'a timer before its time with nothing left to try waits on',
      [...TRYING, timer(4001)],
      'trying',
      ['arm 25999'],
    ],
    [
      'silence to the end',
      [...TRYING, timer(30_000)],
      'ended',
      [
        'cancel-callee no_answer',
        'quarantine 0',
        'reject 480 no_answer',
        'disarm',
        'finish gateway 480 no_answer',
      ],
    ],
    [
      '100 and silence to the end: the target lives',
      [...TRYING, progress(100), timer(30_000)],
      'ended',
      ['cancel-callee no_answer', 'reject 480 no_answer', 'disarm', 'finish gateway 480 no_answer'],
    ],
    [
      'an agent that rings out is not followed by the next endpoint',
      [...RINGING, timer(30_000)],
      'ended',
      ['cancel-callee ring_timeout', 'reject 480 ring_timeout', 'disarm', 'finish gateway 480 ring_timeout'],
      TWO_ENDPOINTS,
    ],
    [
      'a failure past the deadline ends the call',
      [...TRYING, { type: 'fault', now: 30_000, attempt: 1, fault: SILENT }],
      'ended',
      ['quarantine 0', 'reject 480 no_answer', 'disarm', 'finish gateway 480 no_answer'],
      TWO_ENDPOINTS,
    ],
    [
      'the longest duration ends both',
      [...TALKING, timer(90_000)],
      'ended',
      ['end-caller max_duration', 'end-callee max_duration', 'disarm', 'finish gateway -1 max_duration'],
    ],
    ['a timer after the end does nothing', [...GONE, timer(30_000)], 'ended', []],
  ],
  'a caller who leaves': [
    [
      'cancels the agent',
      GONE,
      'ended',
      ['cancel-callee caller_cancelled relayed', 'disarm', 'finish caller 487 caller_cancelled'],
    ],
    [
      'while it rings too',
      [...RINGING, cancel],
      'ended',
      ['cancel-callee caller_cancelled relayed', 'disarm', 'finish caller 487 caller_cancelled'],
    ],
    [
      'or is lost',
      [...RINGING, lost],
      'ended',
      ['cancel-callee caller_lost', 'disarm', 'finish caller 0 caller_lost'],
    ],
    ['twice is nothing', [...GONE, cancel], 'ended', []],
    [
      'the gateway stops while it waits',
      [...RINGING, hangUp],
      'ended',
      ['cancel-callee shutdown', 'reject 503 draining', 'disarm', 'finish gateway 503 draining'],
    ],
  ],
  'a telephone that is promised to another call': [
    ['changes nothing', PROMISED, 'talking', []],
    ['is not promised before the answer', [...RINGING, promise, answer(), handOver], 'talking', []],
    ['nor before the ACK that answers', [...TALKING, promise, ack, handOver], 'talking', [], DELAYED],
    ['is not handed over without a promise', [...TALKING, handOver], 'talking', []],
    ['nor when that was withdrawn', [...PROMISED, { type: 'withdraw' }, handOver], 'talking', []],
    [
      'leaves its agent behind',
      [...PROMISED, handOver],
      'ended',
      ['bequeath', 'end-callee transferred', 'disarm', 'finish gateway -1 transferred'],
    ],
    [
      'as the callee, too',
      [...PROMISED, handOver],
      'ended',
      ['bequeath', 'end-caller transferred', 'disarm', 'finish gateway -1 transferred'],
      CALLEE,
    ],
    [
      'is left by its agent',
      [...PROMISED, ended('callee')],
      'ended',
      ['bequeath', 'disarm', 'finish callee -1 normal_clearing'],
    ],
    [
      'is left by an agent that has called it',
      [...PROMISED, ended('caller')],
      'ended',
      ['bequeath', 'disarm', 'finish caller -1 normal_clearing'],
      CALLEE,
    ],
    [
      'hangs up',
      [...PROMISED, ended('caller')],
      'ended',
      ['disinherit', 'end-callee normal_clearing relayed', 'disarm', 'finish caller -1 normal_clearing'],
    ],
    [
      'hangs up as the callee',
      [...PROMISED, ended('callee')],
      'ended',
      ['disinherit', 'end-caller normal_clearing relayed', 'disarm', 'finish callee -1 normal_clearing'],
      CALLEE,
    ],
    [
      'ends with its call',
      [...PROMISED, hangUp],
      'ended',
      ['disinherit', 'end-caller shutdown', 'end-callee shutdown', 'disarm', 'finish gateway -1 shutdown'],
    ],
    [
      'ends like any other after a transfer that failed',
      [...PROMISED, { type: 'withdraw' }, ended('callee')],
      'ended',
      ['end-caller normal_clearing relayed', 'disarm', 'finish callee -1 normal_clearing'],
    ],
  ],
  'the end of an answered call': [
    [
      'BYE of the caller',
      [...TALKING, ended('caller')],
      'ended',
      ['end-callee normal_clearing relayed', 'disarm', 'finish caller -1 normal_clearing'],
    ],
    [
      'BYE of the agent',
      [...TALKING, ended('callee')],
      'ended',
      ['end-caller normal_clearing relayed', 'disarm', 'finish callee -1 normal_clearing'],
    ],
    ['BYEs that cross', [...TALKING, ended('callee'), ended('caller')], 'ended', []],
    [
      'no ACK',
      [...TALKING, ended('caller', { kind: 'no-ack' })],
      'ended',
      ['end-callee no_ack', 'disarm', 'finish caller -1 no_ack'],
    ],
    [
      'no ACK of a delayed offer: the agent gets its ACK first',
      [...TALKING, ended('caller', { kind: 'no-ack' })],
      'ended',
      ['ack-callee', 'end-callee no_ack', 'disarm', 'finish caller -1 no_ack'],
      DELAYED,
    ],
    [
      'the agent ends before its ACK',
      [...TALKING, ended('callee')],
      'ended',
      ['ack-callee', 'end-caller normal_clearing relayed', 'disarm', 'finish callee -1 normal_clearing'],
      DELAYED,
    ],
    [
      'a dialog that is gone',
      [...TALKING, ended('callee', { kind: 'gone', detail: 'x' })],
      'ended',
      ['end-caller session_failed', 'disarm', 'finish callee -1 session_failed'],
    ],
    [
      'an engine that stops',
      [...TALKING, ended('caller', { kind: 'engine-down', detail: 'x' })],
      'ended',
      ['end-callee shutdown', 'disarm', 'finish gateway -1 shutdown'],
    ],
    [
      'the gateway ends it',
      [...TALKING, hangUp],
      'ended',
      ['end-caller shutdown', 'end-callee shutdown', 'disarm', 'finish gateway -1 shutdown'],
    ],
    [
      'also before the ACK',
      [...TALKING, hangUp],
      'ended',
      ['ack-callee', 'end-caller shutdown', 'end-callee shutdown', 'disarm', 'finish gateway -1 shutdown'],
      DELAYED,
    ],
    ['hung up twice', [...TALKING, hangUp, hangUp], 'ended', []],
    ['an ACK after the end', [...TALKING, ended('callee'), ack], 'ended', [], DELAYED],
  ],
  'requests inside': [
    ['cross in the dialog', [...TALKING, inside('caller')], 'talking', ['relay to callee -1']],
    ['both ways', [...TALKING, inside('callee')], 'talking', ['relay to caller -1']],
    [
      'also before the ACK',
      [...TALKING, inside('callee', -1, 'UPDATE')],
      'confirming',
      ['relay to caller -1'],
      DELAYED,
    ],
    ['re-INVITE too', [...TALKING, inside('caller', -1, 'INVITE')], 'talking', ['relay to callee -1']],
    ['cross in early dialogs', [...RINGING, inside('callee', 0, 'UPDATE')], 'ringing', ['relay to caller 0']],
    ['both ways', [...RINGING, inside('caller', 0, 'UPDATE')], 'ringing', ['relay to callee 0']],
    [
      'of a fork to the same fork',
      [...RINGING, progress(180, { early: 1 }), inside('caller', 1, 'UPDATE')],
      'ringing',
      ['relay to callee 1'],
    ],
    [
      'with the numbers of the attempt',
      [
        invite,
        resolved(2),
        progress(180),
        rejection(503),
        progress(180, { attempt: 2 }),
        inside('caller', 1, 'UPDATE', 2),
      ],
      'ringing',
      ['relay to callee 0'],
    ],
    [
      'not in the early dialog of a failed attempt',
      [
        invite,
        resolved(2),
        progress(180),
        rejection(503),
        progress(180, { attempt: 2 }),
        inside('caller', 0, 'UPDATE', 2),
      ],
      'ringing',
      ['refuse 481'],
    ],
    ['nor in one that never was', [...RINGING, inside('caller', 5, 'UPDATE')], 'ringing', ['refuse 481']],
    [
      'nor in one that was not relayed',
      [...RINGING, inside('callee', 1, 'UPDATE')],
      'ringing',
      ['refuse 481'],
    ],
    [
      'nor from an attempt that is over',
      [invite, resolved(2), progress(180), rejection(503), inside('callee', 0, 'UPDATE', 1)],
      'trying',
      ['refuse 481'],
    ],
    ['not with an offer in PRACK', [...RINGING, inside('caller', 0, 'PRACK')], 'ringing', ['refuse 488']],
    [
      'not without hops left',
      [...TALKING, inside('caller', -1, 'INFO', 1, ['Max-Forwards: 0'])],
      'talking',
      ['refuse 483'],
    ],
    [
      'REFER of the telephone is declined',
      [...TALKING, inside('caller', -1, 'REFER')],
      'talking',
      ['refuse 603'],
    ],
    [
      'REFER of the agent asks for a transfer',
      [...TALKING, inside('callee', -1, 'REFER')],
      'talking',
      ['refer'],
    ],
    [
      'REFER of the agent is declined where that is wanted',
      [...TALKING, inside('callee', -1, 'REFER')],
      'talking',
      ['refuse 603'],
      { ...PLAN, agentRefers: false },
    ],
    ['after the end 481', [...TALKING, ended('callee'), inside('caller')], 'ended', ['refuse 481']],
  ],
};

for (const [title, list] of Object.entries(rows)) {
  describe(title, () => {
    it.each(list.map(([what, path, phase, actions, plan]) => ({ what, path, phase, actions, plan })))(
      '$what',
      ({ path, phase, actions, plan }) => {
        const step = run(plan ?? PLAN, path);
        expect({ phase: step.state.phase, actions: step.actions.map(brief) }).toEqual({ phase, actions });
      },
    );
  });
}

describe('the machine', () => {
  it('changes no state that it was given', () => {
    const before = run(PLAN, TRYING).state;
    const copy = structuredClone(before);
    for (const event of [progress(180), answer(), rejection(500), cancel, timer(30_000)])
      advance(PLAN, before, event);
    expect(before).toEqual(copy);
  });

  it('does nothing before the INVITE', () => {
    for (const event of [cancel, answer(), timer(1), ack])
      expect(advance(PLAN, INITIAL, event)).toEqual({ state: INITIAL, actions: [] });
  });

  it("takes the cause of the end from the peer's Reason", () => {
    const { actions } = run(PLAN, [
      ...TALKING,
      ended('caller', { kind: 'bye', request: request('BYE', ['Reason: SIP;cause=200, Q.850;cause=31']) }),
    ]);
    expect(actions.at(-1)).toMatchObject({ do: 'finish', q850: 31 });
  });
});
