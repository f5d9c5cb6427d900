/** The caller gives up: CANCEL before and after ringing, and against an answer that crosses it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Switchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const open = () => Switchboard.open({ silent: {}, ringing: {}, crossing: {} }, { config: QUICK });
let board: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  board = await open();
});

afterAll(async () => {
  try {
    await board.gateway.idle();
  } finally {
    await board.close();
  }
});

test.each([
  ['silent', 'cancel-before-ringing', 'cancelled-before-ringing'],
  ['ringing', 'cancel-ringing', 'cancelled'],
  ['crossing', 'cancel-ringing', 'answers-despite-cancel'],
] as const)('%s: %s against %s', async (line, caller, agent) => {
  const { records } = await board.call({ line, caller, agent, calls: 3 });
  for (const record of records) {
    expect(record).toMatchObject({
      endedBy: 'caller',
      sipStatus: 487,
      code: 'caller_cancelled',
      q850: 16,
      answeredAt: null,
    });
    expect(record.attempts).toMatchObject([{ outcome: 'cancelled' }]);
  }
});
