/** Inside the call: re-INVITE from either side, and reliable provisional responses on either leg. */
import { expect, test } from 'vitest';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard(
  { callerHolds: {}, agentHolds: {}, bothReliable: {}, callerOnly: {}, callerLate: {}, agentOnly: {} },
  { config: QUICK },
);

test.each([
  ['callerHolds', 'reinvite', 'reinvited'],
  ['agentHolds', 'reinvited', 'reinvites'],
  ['bothReliable', 'prack-early-media', 'prack'],
  // The caller insists on PRACK, the agent has never heard of it.
  ['callerOnly', 'prack-required', 'slow'],
  // Its PRACK comes after the 200, which RFC 3262 §3 allows for.
  ['callerLate', 'prack-late', 'answered'],
  // The agent sends reliably, the caller does not know how: the leg to the agent is acknowledged all the same.
  ['agentOnly', 'early-media', 'prack'],
] as const)('%s: %s against %s', async (line, caller, agent) => {
  const { records } = await board.call({
    line,
    caller,
    agent,
    calls: 3,
    callerOptions: { pauseMs: 200 },
    agentOptions: { pauseMs: 200 },
  });
  for (const record of records) {
    expect(record).toMatchObject({ sipStatus: 200, endedBy: 'caller', code: 'normal_clearing' });
  }
});
