/** The rows of the machine that joins two calls (RFC 3725). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advanceJoin,
  type Ending,
  INITIAL_JOIN,
  type JoinAction,
  type JoinEvent,
  type JoinPlan,
  type JoinState,
  MAX_ROUNDS,
} from '#origination/join.js';
import { FakeRequest, request } from '../../kit/fake-engine.js';

const AGENT_FIRST: JoinPlan = { offerer: 'agent' };
const CALLEE_FIRST: JoinPlan = { offerer: 'callee' };

const sdp = (name: string): string =>
  `v=0\r\no=${name} 1 1 IN IP4 192.0.2.1\r\ns=${name}\r\nm=audio 4 RTP/AVP 0\r\n`;
const OFFER = sdp('offer');
const ANSWER = sdp('answer');
const EARLY = sdp('early');
const MOVED = sdp('moved');

const bye = (by: Ending['by']): Ending => ({
  by,
  status: 200,
  code: 'normal_clearing',
  q850: 16,
  detail: '',
});
const BUSY: Ending = { by: 'callee', status: 486, code: 'agent_busy', q850: 17, detail: 'busy' };
const CANCELLED: Ending = { by: 'gateway', status: 487, code: 'api_cancelled', q850: 16, detail: '' };

const answered = (side: 'offerer' | 'answerer', body: string): JoinEvent => ({
  type: 'answered',
  side,
  sdp: body,
});
const progress = (body: string): JoinEvent => ({ type: 'progress', sdp: body });
const reoffered = (side: 'offerer' | 'answerer', status: number, body = ''): JoinEvent => ({
  type: 'reoffered',
  side,
  status,
  sdp: body,
});
const asked = (side: 'offerer' | 'answerer', method: string, body = ''): JoinEvent => {
  const message = new FakeRequest(request(method, [], body));
  return { type: 'request', side, method, offers: body !== '', request: message };
};

/** What an action is, in a few words. */
function words(action: JoinAction): string {
  switch (action.do) {
    case 'dial-answerer':
      return `dial ${named(action.sdp)}`;
    case 'ack':
      return `ack ${named(action.sdp)}`;
    case 'reoffer':
      return `reoffer ${action.side} ${named(action.sdp)}`;
    case 'end':
      return `end ${action.side} ${action.ending.code}`;
    case 'relay':
      return `relay from ${action.from}`;
    case 'respond':
      return `respond ${action.status}`;
    case 'finish':
      return `finish ${action.ending.by} ${action.ending.status} ${action.ending.code}`;
    default:
      return action.do;
  }
}

const named = (body: string): string => /\ns=(\S*)/.exec(body)?.[1] ?? 'held';

/** The actions that each event brings about, one line each. */
function run(plan: JoinPlan, ...events: JoinEvent[]): string[] {
  let state: JoinState = INITIAL_JOIN;
  const lines: string[] = [];
  for (const event of events) {
    const step = advanceJoin(plan, state, event);
    state = step.state;
    lines.push(step.actions.map(words).join(', '));
  }
  return lines;
}

/** The actions of the last event. */
const last = (plan: JoinPlan, ...events: JoinEvent[]): string => run(plan, ...events).at(-1)!;

const START = [answered('offerer', OFFER)] as const;
const JOINED = [...START, answered('answerer', ANSWER)] as const;

describe('the way to a call', () => {
  it('acknowledges the offerer with the answer, and that is all', () => {
    expect(run(AGENT_FIRST, answered('offerer', OFFER), answered('answerer', ANSWER))).toEqual([
      'arm-ack, dial offer',
      'disarm, ack answer, disarm, joined',
    ]);
  });

  it('is the same the other way round', () => {
    expect(run(CALLEE_FIRST, ...JOINED)).toEqual(run(AGENT_FIRST, ...JOINED));
  });

  it('lets the offerer hear early media, and asks nothing when the answer is the same', () => {
    expect(
      run(AGENT_FIRST, ...START, progress(''), progress(EARLY), progress(EARLY), answered('answerer', EARLY)),
    ).toEqual(['arm-ack, dial offer', '', 'disarm, ack early', '', 'disarm, joined']);
  });

  it('takes the early description for the answer when the 2xx has none', () => {
    expect(last(AGENT_FIRST, ...START, progress(EARLY), answered('answerer', ''))).toBe('disarm, joined');
  });

  it('tells the offerer by re-INVITE of an answer that differs from the early one', () => {
    expect(
      run(
        AGENT_FIRST,
        ...START,
        progress(EARLY),
        answered('answerer', ANSWER),
        reoffered('offerer', 200, OFFER),
      ).slice(2),
    ).toEqual(['reoffer offerer answer', 'disarm, joined']);
  });

  it('holds the offerer when nothing comes in time, and joins it by re-INVITE', () => {
    expect(
      run(
        AGENT_FIRST,
        ...START,
        { type: 'ack-due' },
        { type: 'ack-due' },
        answered('answerer', ANSWER),
        reoffered('offerer', 200, OFFER),
      ).slice(1),
    ).toEqual(['ack held', '', 'reoffer offerer answer', 'disarm, joined']);
  });

  it('lets an offerer that is held hear early media', () => {
    expect(
      run(
        AGENT_FIRST,
        ...START,
        { type: 'ack-due' },
        progress(EARLY),
        // While it is asked the next one waits.
        progress(ANSWER),
        reoffered('offerer', 200, OFFER),
        reoffered('offerer', 200, OFFER),
        answered('answerer', ANSWER),
      ).slice(2),
    ).toEqual(['reoffer offerer early', '', 'reoffer offerer answer', '', 'disarm, joined']);
  });

  it('asks again in earnest when early media were refused', () => {
    const held = [...START, { type: 'ack-due' }, progress(EARLY)] as const;
    expect(
      run(
        AGENT_FIRST,
        ...held,
        reoffered('offerer', 488),
        progress(ANSWER),
        answered('answerer', ANSWER),
      ).slice(3),
    ).toEqual(['', '', 'reoffer offerer answer']);
    // Also when the refusal comes after the answer.
    expect(
      run(
        AGENT_FIRST,
        ...held,
        answered('answerer', ANSWER),
        reoffered('offerer', 488),
        reoffered('offerer', 200, OFFER),
      ).slice(3),
    ).toEqual(['', 'reoffer offerer answer', 'disarm, joined']);
  });

  it('tells the answerer when the offerer moves its media, and the offerer of what comes of that', () => {
    const held = [...START, { type: 'ack-due' }, answered('answerer', ANSWER)] as const;
    expect(
      run(AGENT_FIRST, ...held, reoffered('offerer', 200, MOVED), reoffered('answerer', 200, ANSWER)).slice(
        3,
      ),
    ).toEqual(['reoffer answerer moved', 'disarm, joined']);
    expect(
      run(
        AGENT_FIRST,
        ...held,
        reoffered('offerer', 200, MOVED),
        reoffered('answerer', 200, EARLY),
        reoffered('offerer', 200, MOVED),
      ).slice(3),
    ).toEqual(['reoffer answerer moved', 'reoffer offerer early', 'disarm, joined']);
  });

  it('gives up on two that move for ever', () => {
    const events: JoinEvent[] = [...START, { type: 'ack-due' }, answered('answerer', ANSWER)];
    for (let i = 0; i < MAX_ROUNDS; i++) {
      const side = i % 2 === 0 ? 'offerer' : 'answerer';
      events.push(reoffered(side, 200, sdp(`move-${i}`)));
    }
    expect(last(AGENT_FIRST, ...events)).toBe(
      'end offerer join_failed, end answerer join_failed, disarm, finish gateway 488 join_failed',
    );
  });

  it('listens to no more early descriptions than it has re-INVITEs for, but joins all the same', () => {
    const events: JoinEvent[] = [...START, { type: 'ack-due' }];
    for (let i = 0; i < MAX_ROUNDS; i++)
      events.push(progress(sdp(`early-${i}`)), reoffered('offerer', 200, OFFER));
    expect(run(AGENT_FIRST, ...events, progress(EARLY), answered('answerer', ANSWER)).slice(-2)).toEqual([
      '',
      'reoffer offerer answer',
    ]);
  });
});

describe('glare', () => {
  it.each([491, 500])('waits after %i and asks again', (status) => {
    const held = [...START, { type: 'ack-due' }, answered('answerer', ANSWER)] as const;
    expect(
      run(
        AGENT_FIRST,
        ...held,
        reoffered('offerer', status),
        { type: 'retry-due' },
        reoffered('offerer', 200, OFFER),
      ).slice(3),
    ).toEqual(['arm-retry', 'reoffer offerer answer', 'disarm, joined']);
  });

  it('lets an end wait that offers while the call is being made', () => {
    for (const method of ['INVITE', 'UPDATE']) {
      expect(last(AGENT_FIRST, ...START, asked('offerer', method, MOVED))).toBe('respond 491');
      expect(last(AGENT_FIRST, ...START, asked('answerer', method, MOVED))).toBe('respond 491');
      expect(
        last(
          AGENT_FIRST,
          ...START,
          { type: 'ack-due' },
          answered('answerer', ANSWER),
          asked('answerer', method, MOVED),
        ),
      ).toBe('respond 491');
    }
  });
});

describe('requests inside the call', () => {
  it('pass once the two are joined', () => {
    expect(last(AGENT_FIRST, ...JOINED, asked('answerer', 'INVITE', MOVED))).toBe('relay from answerer');
    expect(last(AGENT_FIRST, ...JOINED, asked('offerer', 'INFO', 'x'))).toBe('relay from offerer');
  });

  it('are answered here before, as far as they can be', () => {
    expect(last(AGENT_FIRST, ...START, asked('offerer', 'UPDATE'))).toBe('respond 200');
    expect(last(AGENT_FIRST, ...START, asked('offerer', 'OPTIONS'))).toBe('respond 200');
    expect(last(AGENT_FIRST, ...START, asked('offerer', 'INFO', 'x'))).toBe('respond 491');
    expect(last(AGENT_FIRST, ...START, asked('offerer', 'MESSAGE'))).toBe('respond 480');
  });

  it('are answered 481 afterwards', () => {
    expect(
      last(
        AGENT_FIRST,
        ...JOINED,
        { type: 'ended', side: 'offerer', ending: bye('agent') },
        asked('offerer', 'INFO'),
      ),
    ).toBe('respond 481');
  });
});

describe('endings', () => {
  it.each([
    [
      'the agent cannot be had',
      AGENT_FIRST,
      [{ type: 'failed', side: 'offerer', ending: { ...BUSY, by: 'agent' } }],
      'disarm, finish agent 486 agent_busy',
    ],
    [
      'the callee is busy',
      AGENT_FIRST,
      [...START, { type: 'failed', side: 'answerer', ending: BUSY }],
      'ack held, end offerer agent_busy, disarm, finish callee 486 agent_busy',
    ],
    [
      'the callee is busy after early media',
      AGENT_FIRST,
      [...START, progress(EARLY), { type: 'failed', side: 'answerer', ending: BUSY }],
      'end offerer agent_busy, disarm, finish callee 486 agent_busy',
    ],
    [
      'the agent hangs up while the callee rings',
      AGENT_FIRST,
      [...START, progress(EARLY), { type: 'ended', side: 'offerer', ending: bye('agent') }],
      'end answerer agent_cancelled, disarm, finish agent 487 agent_cancelled',
    ],
    [
      'the callee hangs up while the agent rings',
      CALLEE_FIRST,
      [...START, { type: 'ended', side: 'offerer', ending: bye('callee') }],
      'end answerer normal_clearing, disarm, finish callee 200 normal_clearing',
    ],
    [
      'the agent hangs up',
      AGENT_FIRST,
      [...JOINED, { type: 'ended', side: 'offerer', ending: bye('agent') }],
      'end answerer normal_clearing, disarm, finish agent 200 normal_clearing',
    ],
    [
      'the callee hangs up',
      AGENT_FIRST,
      [...JOINED, { type: 'ended', side: 'answerer', ending: bye('callee') }],
      'end offerer normal_clearing, disarm, finish callee 200 normal_clearing',
    ],
    [
      'the agent refuses the re-INVITE',
      AGENT_FIRST,
      [...START, { type: 'ack-due' }, answered('answerer', ANSWER), reoffered('offerer', 488)],
      'end offerer join_failed, end answerer join_failed, disarm, finish gateway 488 join_failed',
    ],
    [
      'the agent answers the re-INVITE with nothing',
      AGENT_FIRST,
      [...START, { type: 'ack-due' }, answered('answerer', ANSWER), reoffered('offerer', 200)],
      'end offerer join_failed, end answerer join_failed, disarm, finish gateway 488 join_failed',
    ],
    [
      'the agent answers without an offer',
      AGENT_FIRST,
      [answered('offerer', '')],
      'end offerer join_failed, disarm, finish gateway 488 join_failed',
    ],
    [
      'the callee answers without an answer',
      AGENT_FIRST,
      [...START, answered('answerer', '')],
      'end offerer join_failed, end answerer join_failed, disarm, finish gateway 488 join_failed',
    ],
    [
      'cancelled while the agent is called',
      AGENT_FIRST,
      [{ type: 'hang-up', ending: CANCELLED }],
      'end offerer api_cancelled, disarm, finish gateway 487 api_cancelled',
    ],
    [
      'cancelled while the callee is called',
      AGENT_FIRST,
      [...START, { type: 'hang-up', ending: CANCELLED }],
      'ack held, end offerer api_cancelled, end answerer api_cancelled, disarm, finish gateway 487 api_cancelled',
    ],
    [
      'hung up',
      AGENT_FIRST,
      [...JOINED, { type: 'hang-up', ending: CANCELLED }],
      'end offerer api_cancelled, end answerer api_cancelled, disarm, finish gateway 487 api_cancelled',
    ],
  ] as readonly (readonly [string, JoinPlan, readonly JoinEvent[], string])[])(
    '%s',
    (_name, plan, events, expected) => {
      expect(last(plan, ...events)).toBe(expected);
      // Whatever comes late changes nothing.
      for (const late of [
        answered('answerer', ANSWER),
        progress(MOVED),
        reoffered('offerer', 200, OFFER),
        { type: 'ack-due' },
        { type: 'retry-due' },
        { type: 'hang-up', ending: CANCELLED },
      ] as const) {
        expect(last(plan, ...events, late)).toBe('');
      }
    },
  );
});

describe('whatever happens in whatever order', () => {
  const side = fc.constantFrom('offerer' as const, 'answerer' as const);
  const body = fc.constantFrom('', OFFER, ANSWER, EARLY, MOVED);
  const event: fc.Arbitrary<JoinEvent> = fc.oneof(
    fc.record({ type: fc.constant('answered' as const), side, sdp: body }),
    fc.record({ type: fc.constant('progress' as const), sdp: body }),
    fc.record({
      type: fc.constant('reoffered' as const),
      side,
      status: fc.constantFrom(200, 488, 491),
      sdp: body,
    }),
    fc.record({ type: fc.constant('failed' as const), side, ending: fc.constant(BUSY) }),
    fc.record({ type: fc.constant('ended' as const), side, ending: fc.constant(bye('agent')) }),
    fc.constantFrom<JoinEvent>(
      { type: 'ack-due' },
      { type: 'retry-due' },
      { type: 'hang-up', ending: CANCELLED },
    ),
  );

  it('acknowledges once and first, asks one at a time, and leaves nobody behind', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(AGENT_FIRST, CALLEE_FIRST),
        fc.array(event, { maxLength: 30 }),
        (plan, events) => {
          let state: JoinState = INITIAL_JOIN;
          const alive = new Set<string>(['offerer']);
          let acks = 0;
          let finishes = 0;
          let open = false;
          for (const one of events) {
            // The driver reports a side's end once, and only of a side that there is.
            if ('side' in one && one.type !== 'request' && !alive.has(one.side)) continue;
            if (one.type === 'failed' || one.type === 'ended') {
              const before = state.phase;
              const counts =
                one.type === 'failed'
                  ? one.side === 'offerer'
                    ? before === 'offering'
                    : before === 'calling'
                  : one.side === 'offerer'
                    ? before !== 'offering'
                    : before === 'joining' || before === 'joined';
              if (!counts) continue;
              alive.delete(one.side);
            }
            if (one.type === 'reoffered' && state.asking?.side === one.side) open = false;
            const step = advanceJoin(plan, state, one);
            for (const action of step.actions) {
              expect(finishes).toBe(0);
              switch (action.do) {
                case 'dial-answerer':
                  alive.add('answerer');
                  break;
                case 'ack':
                  acks++;
                  break;
                case 'reoffer':
                  expect(acks).toBe(1);
                  expect(open).toBe(false);
                  open = true;
                  break;
                case 'end':
                  alive.delete(action.side);
                  break;
                case 'finish':
                  finishes++;
                  expect([...alive]).toEqual([]);
                  break;
              }
            }
            expect(acks).toBeLessThanOrEqual(1);
            state = step.state;
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
