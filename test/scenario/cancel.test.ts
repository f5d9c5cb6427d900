/** The caller gives up: CANCEL before and after ringing, and against an answer that crosses it. */
import { expect, test } from 'vitest';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard({ silent: {}, ringing: {}, crossing: {} }, { config: QUICK });

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
