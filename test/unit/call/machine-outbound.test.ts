/**
 * The rows of the machine that only a call to a telephone meets: lines, challenges, refusals for coming too fast.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_FAILOVER_STATUSES } from '#call/hunt.js';
import { advance } from '#call/machine.js';
import { type CallAction, type CallEvent, type CallPlan, INITIAL, type WayRules } from '#call/script.js';
import { FakeRequest, request, response } from '../../kit/fake-engine.js';

const PACED: WayRules = {
  paced: true,
  countsChallenges: false,
  heedsRefusals: true,
  failoverStatuses: DEFAULT_FAILOVER_STATUSES,
  maxDurationMs: 0,
};
const FREE: WayRules = { ...PACED, paced: false, heedsRefusals: false };
const PLAN: CallPlan = {
  called: 'callee',
  ways: 1,
  maxAttempts: 6,
  rules: [PACED],
  queueTimeoutMs: 20_000,
  ringTimeoutMs: 60_000,
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
const RELIABLE: CallPlan = { ...PLAN, callerReliable: true, callerRequiresReliable: true };
const COUNTING: CallPlan = { ...PLAN, rules: [{ ...PACED, countsChallenges: true }] };
const TWO: CallPlan = { ...PLAN, ways: 2, rules: [PACED, FREE] };

const invite: CallEvent = { type: 'invite', now: 0 };
const resolved = (targets = 1): CallEvent => ({ type: 'resolved', now: 1, targets, healthy: true });
const slot = (now = 5_001): CallEvent => ({ type: 'slot', now });
const place = (position: number, waitMs: number): CallEvent => ({ type: 'place', now: 2, position, waitMs });
const noSlot = (why: 'queue_full' | 'queue_timeout' | 'shutdown' | 'taken_over'): CallEvent => ({
  type: 'no-slot',
  now: 3,
  why,
});
const timer = (now: number): CallEvent => ({ type: 'timer', now });
const challenged = (attempt = 1): CallEvent => ({ type: 'challenged', now: 5_002, attempt });
const rejection = (status: number, attempt = 1, phrase?: string): CallEvent => ({
  type: 'rejection',
  now: 5_003,
  attempt,
  response: response(status, [], '', phrase),
});
const ringing = (attempt = 1): CallEvent => ({
  type: 'progress',
  now: 5_004,
  attempt,
  response: response(180),
  early: 0,
  reliable: false,
  offer: false,
});
const cancel: CallEvent = { type: 'cancel', request: request('CANCEL'), detail: '' };
const hangUp: CallEvent = { type: 'hang-up', code: 'shutdown', detail: '' };
const inside = (from: 'caller' | 'callee', early: number): CallEvent => ({
  type: 'request',
  from,
  attempt: 0,
  early,
  request: new FakeRequest(request('UPDATE')),
});

function brief(action: CallAction): string {
  switch (action.do) {
    case 'join-line':
      return `join ${action.way} ${action.timeoutMs}`;
    case 'queued':
      return `queued ${action.position} ${action.early}${action.reliable ? ' reliable' : ''}`;
    case 'dial':
      return `dial ${action.attempt} ${action.way}/${action.target}`;
    case 'arm':
      return `arm ${action.ms}`;
    case 'reject':
      return `reject ${action.failure.status} ${action.failure.code} ${action.failure.retryAfter}`;
    case 'finish':
      return `finish ${action.by} ${action.status} ${action.code}`;
    case 'refuse-request':
      return `refuse ${action.status}`;
    case 'resolve':
      return `resolve ${action.way}`;
    case 'progress':
      return `progress ${action.response.status} ${action.early}`;
    default:
      return action.do;
  }
}

type Row = readonly [what: string, path: CallEvent[], phase: string, actions: string[], plan?: CallPlan];

const HELD: CallEvent[] = [invite, resolved()];
const SENT: CallEvent[] = [...HELD, slot()];

const ROWS: readonly Row[] = [
  ['a paced way is waited for', HELD, 'holding', ['arm 25000', 'join 0 20000']],
  ['an unpaced one is not', HELD, 'trying', ['dial 1 0/0'], { ...PLAN, rules: [FREE] }],
  [
    'the slot is used at once, and the times for setting up begin anew',
    SENT,
    'trying',
    ['dial 1 0/0', 'arm 29999'],
  ],
  ['a wait is told', [...HELD, place(3, 900)], 'holding', ['queued 3 0']],
  ['a short one is not', [...HELD, place(0, 499)], 'holding', []],
  ['told reliably it is told once', [...HELD, place(3, 900), place(2, 800)], 'holding', [], RELIABLE],
  ['and reminded of', [...HELD, place(3, 900), timer(10_000)], 'holding', ['arm 15001', 'queued 3 0']],
  ['with nothing told there is nothing to remind of', [...HELD, timer(10_000)], 'holding', ['arm 15001']],
  [
    'a full line',
    [...HELD, noSlot('queue_full')],
    'ended',
    ['reject 503 queue_full 5', 'disarm', 'finish gateway 503 queue_full'],
  ],
  [
    'a line that took too long',
    [...HELD, noSlot('queue_timeout')],
    'ended',
    ['reject 503 held_too_long 5', 'disarm', 'finish gateway 503 held_too_long'],
  ],
  [
    'a line that stops',
    [...HELD, noSlot('shutdown')],
    'ended',
    ['reject 503 draining 5', 'disarm', 'finish gateway 503 draining'],
  ],
  [
    'a line that forgot',
    [...HELD, timer(25_001)],
    'ended',
    ['leave-line', 'reject 503 held_too_long 5', 'disarm', 'finish gateway 503 held_too_long'],
  ],
  [
    'CANCEL in line',
    [...HELD, cancel],
    'ended',
    ['leave-line', 'disarm', 'finish caller 487 caller_cancelled'],
  ],
  [
    'drain in line',
    [...HELD, hangUp],
    'ended',
    ['leave-line', 'reject 503 draining 5', 'disarm', 'finish gateway 503 draining'],
  ],
  ['a slot that comes too late', [...HELD, cancel, slot()], 'ended', []],
  ['UPDATE in the dialog of 182', [...HELD, place(3, 900), inside('caller', 0)], 'holding', ['refuse 491']],
  ['UPDATE in no dialog', [...HELD, inside('caller', 0)], 'holding', ['refuse 481']],
  ['a callee that is not there', [...HELD, place(3, 900), inside('callee', 0)], 'holding', ['refuse 481']],
  [
    'ringing goes on in the dialog of 182',
    [...HELD, place(3, 900), slot(), ringing()],
    'ringing',
    ['progress 180 0', 'arm 59996'],
  ],
  [
    'but not in that of a reliable one',
    [...HELD, place(3, 900), slot(), ringing()],
    'ringing',
    ['progress 180 1', 'arm 59996'],
    RELIABLE,
  ],
  ['a challenge is answered', [...SENT, challenged()], 'trying', ['repeat', 'arm 29998']],
  ['one of an attempt that is over is not', [...SENT, challenged(7)], 'trying', []],
  [
    'in a slot of its own where it counts',
    [...SENT, challenged()],
    'holding',
    ['arm 20000', 'join 0 15000'],
    COUNTING,
  ],
  ['which then repeats', [...SENT, challenged(), slot(6_002)], 'trying', ['repeat', 'arm 29998'], COUNTING],
  [
    'too fast: slower, and once more',
    [...SENT, rejection(503)],
    'holding',
    ['slow-down', 'arm 20000', 'join 0 15000'],
  ],
  [
    'in words too',
    [...SENT, rejection(500, 1, 'Trunk CPS limit exceeded. Region: us1')],
    'holding',
    ['slow-down', 'arm 20000', 'join 0 15000'],
  ],
  [
    'twice: it counts',
    [...SENT, rejection(503), slot(6_000), rejection(503, 2)],
    'ended',
    ['slow-down', 'reject 503 provider_cps_exceeded 5', 'disarm', 'finish gateway 503 provider_cps_exceeded'],
  ],
  [
    'and leads on',
    [...SENT, rejection(503), slot(6_000), rejection(503, 2)],
    'resolving',
    ['slow-down', 'arm 30994', 'resolve 1'],
    TWO,
  ],
  ['500 is a failure of this way', [...SENT, rejection(500)], 'resolving', ['arm 29997', 'resolve 1'], TWO],
  [
    'but not once it has rung',
    [...SENT, ringing(), rejection(500)],
    'ended',
    ['reject 500 callee_rejected 0', 'disarm', 'finish callee 500 callee_rejected'],
    TWO,
  ],
  [
    '401 without an answer',
    [...SENT, rejection(401)],
    'ended',
    ['reject 502 trunk_credentials_rejected 0', 'disarm', 'finish gateway 502 trunk_credentials_rejected'],
    TWO,
  ],
  [
    'attempts are counted',
    [...SENT, rejection(500)],
    'ended',
    ['reject 500 callee_rejected 0', 'disarm', 'finish callee 500 callee_rejected'],
    { ...TWO, maxAttempts: 1 },
  ],
  [
    'patience is shared',
    [...HELD, slot(20_001), rejection(503)],
    'ended',
    ['slow-down', 'reject 503 held_too_long 5', 'disarm', 'finish gateway 503 held_too_long'],
  ],
];

describe('a call that leaves', () => {
  for (const [what, path, phase, actions, plan = PLAN] of ROWS) {
    it(what, () => {
      let step: ReturnType<typeof advance> = { state: INITIAL, actions: [] };
      for (const event of path) step = advance(plan, step.state, event);
      expect([step.state.phase, step.actions.map(brief)]).toEqual([phase, actions]);
    });
  }
});
