/** The rows of the machine that transfers one side of a call. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ending } from '#origination/join.js';
import {
  advanceTransfer,
  beginTransfer,
  type Talk,
  type TransferAction,
  type TransferEvent,
  type TransferState,
} from '#origination/transfer.js';
import { FakeRequest, request } from '../../kit/fake-engine.js';

const sdp = (name: string): string =>
  `v=0\r\no=${name} 1 1 IN IP4 192.0.2.1\r\ns=${name}\r\nm=audio 4 RTP/AVP 0\r\n`;
const PHONE = sdp('phone');
const AGENT = sdp('agent');
const TARGET = sdp('target');
const MOVED = sdp('moved');
const TALK: Talk = { said: PHONE, told: AGENT };

const ending = (by: Ending['by'], code: Ending['code'] = 'normal_clearing', status = 200): Ending => ({
  by,
  status,
  code,
  q850: 16,
  detail: '',
});
const answered: TransferEvent = { type: 'answered', sdp: TARGET, talk: TALK };
const failed: TransferEvent = {
  type: 'failed',
  side: 'answerer',
  ending: ending('callee', 'callee_busy', 486),
};
const inherited: TransferEvent = { type: 'inherited', talk: TALK };
const disinherited: TransferEvent = { type: 'disinherited' };
const phoneSays = (status: number, body = ''): TransferEvent => ({
  type: 'reoffered',
  side: 'offerer',
  status,
  sdp: body,
});
const targetSays = (status: number, body = ''): TransferEvent => ({
  type: 'reoffered',
  side: 'answerer',
  status,
  sdp: body,
});
const gone = (side: 'offerer' | 'answerer'): TransferEvent => ({
  type: 'ended',
  side,
  ending: ending('callee'),
});
const asks = (side: 'offerer' | 'answerer', method: string, body = ''): TransferEvent => ({
  type: 'request',
  side,
  method,
  offers: body !== '',
  request: new FakeRequest(request(method, [], body)),
});
const crash: TransferEvent = { type: 'hang-up', ending: ending('gateway', 'internal_error', 500) };

function words(action: TransferAction): string {
  switch (action.do) {
    case 'reoffer':
      return `reoffer ${action.side} ${/s=(\w+)/.exec(action.sdp)?.[1]}`;
    case 'end':
      return `end ${action.side} ${action.ending.code}`;
    case 'relay':
      return `relay from ${action.from}`;
    case 'respond':
      return `respond ${action.status}`;
    default:
      return action.do;
  }
}

function run(...events: TransferEvent[]): { state: TransferState; steps: string[] } {
  let state = beginTransfer(TALK);
  const steps: string[] = [];
  for (const event of events) {
    const next = advanceTransfer(state, event);
    state = next.state;
    steps.push(next.actions.map(words).join(', '));
  }
  return { state, steps };
}

const last = (...events: TransferEvent[]): string | undefined => run(...events).steps.at(-1);

describe('a transfer', () => {
  it.each<[string, TransferEvent[], string]>([
    ['asks the telephone at the answer, not before', [answered], 'reoffer offerer target'],
    ['keeps early media from a telephone that talks', [{ type: 'progress', sdp: MOVED }], ''],
    ['takes the telephone with its 2xx', [answered, phoneSays(200, PHONE)], 'take, disarm, joined'],
    [
      'tells who answered of media that moved',
      [answered, phoneSays(200, MOVED)],
      'take, reoffer answerer moved',
    ],
    [
      'is joined when that is taken',
      [answered, phoneSays(200, MOVED), targetSays(200, TARGET)],
      'disarm, joined',
    ],
    [
      'ends both when it is not, as the agent has gone',
      [answered, phoneSays(200, MOVED), targetSays(488)],
      'end offerer join_failed, end answerer join_failed, disarm, finish',
    ],
    [
      'uses what telephone and agent have agreed on since',
      [{ ...answered, talk: { said: MOVED, told: AGENT } }, phoneSays(200, MOVED)],
      'take, reoffer answerer moved',
    ],
    ['leaves the call alone when nobody answers', [failed], 'withdraw, disarm, finish'],
    [
      'leaves it alone when who answered has gone before the telephone was asked back',
      [answered, gone('answerer')],
      'withdraw, disarm, finish',
    ],
    ...([408, 481, 488, 503] as const).map((status): [string, TransferEvent[], string] => [
      `leaves it alone when the telephone answers ${status}`,
      [answered, phoneSays(status)],
      'withdraw, end answerer join_failed, disarm, finish',
    ]),
    [
      'takes no 2xx without a description',
      [answered, phoneSays(200)],
      'withdraw, end answerer join_failed, disarm, finish',
    ],
    ['waits after 491', [answered, phoneSays(491)], 'arm-retry'],
    [
      'and asks again',
      [answered, phoneSays(491), { type: 'retry-due', talk: TALK }],
      'reoffer offerer target',
    ],
    [
      'has nobody to call for when the telephone leaves',
      [disinherited],
      'end answerer caller_cancelled, disarm, finish',
    ],
    [
      'releases who answered when the telephone leaves before it was taken',
      [answered, disinherited],
      'end answerer caller_cancelled, disarm, finish',
    ],
    ['goes on without the agent', [inherited, answered], 'reoffer offerer target'],
    [
      'ends a telephone that has no agent to go back to',
      [inherited, failed],
      'end offerer callee_busy, disarm, finish',
    ],
    [
      'ends it also when it refuses',
      [inherited, answered, phoneSays(488)],
      'end offerer join_failed, end answerer join_failed, disarm, finish',
    ],
    ['takes nothing that it has', [inherited, answered, phoneSays(200, PHONE)], 'disarm, joined'],
    [
      'cancels for a telephone that leaves while it waits alone',
      [inherited, gone('offerer')],
      'end answerer caller_cancelled, disarm, finish',
    ],
    [
      'ends who answered when the joined telephone leaves',
      [answered, phoneSays(200, PHONE), inherited, gone('offerer')],
      'end answerer normal_clearing, disarm, finish',
    ],
    [
      'ends the joined telephone when who answered leaves',
      [answered, phoneSays(200, PHONE), inherited, gone('answerer')],
      'end offerer normal_clearing, disarm, finish',
    ],
    [
      'lets requests pass once joined',
      [answered, phoneSays(200, PHONE), inherited, asks('offerer', 'INVITE', MOVED)],
      'relay from offerer',
    ],
    ['puts offers off before', [inherited, asks('offerer', 'INVITE', MOVED)], 'respond 491'],
    ['leaves the call alone when we fail', [crash], 'withdraw, end answerer internal_error, disarm, finish'],
    ['listens to nothing once over', [failed, inherited, answered, disinherited], ''],
  ])('%s', (_what, events, expected) => {
    expect(last(...events)).toBe(expected);
  });

  it('takes once, and withdraws only what it has not got', () => {
    const some = fc.constantFrom(
      answered,
      failed,
      inherited,
      disinherited,
      crash,
      gone('offerer'),
      gone('answerer'),
      phoneSays(200, PHONE),
      phoneSays(200, MOVED),
      phoneSays(491),
      phoneSays(488),
      targetSays(200, TARGET),
      targetSays(488),
      { type: 'retry-due', talk: TALK } as const,
      asks('offerer', 'INFO', 'x'),
    );
    fc.assert(
      fc.property(fc.array(some, { maxLength: 14 }), (events) => {
        let state = beginTransfer(TALK);
        let finished = 0;
        for (const event of events) {
          const before = state;
          const { state: next, actions } = advanceTransfer(state, event);
          state = next;
          const done = actions.map((action) => action.do);
          if (done.includes('take')) expect(before.ours).toBe(false);
          if (done.includes('withdraw')) expect(before.ours).toBe(false);
          if (actions.some((action) => action.do === 'end' && action.side === 'offerer')) {
            expect(before.ours).toBe(true);
          }
          finished += done.filter((what) => what === 'finish').length;
          if (done.includes('finish')) expect(done.at(-1)).toBe('finish');
        }
        expect(finished).toBeLessThanOrEqual(1);
        expect(state.join.phase === 'ended').toBe(finished === 1);
      }),
    );
  });
});
