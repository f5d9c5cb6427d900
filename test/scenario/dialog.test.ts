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

// The embedded engine forgets the reliable response with its 2xx and answers 481. RFC 3262 §3: "it MUST be prepared to
// process PRACK requests for those outstanding responses". When this test passes, make it an ordinary row above.
test.fails('a PRACK that comes after the 200 to the INVITE is answered', async () => {
  await board.call({ line: 'callerLate', caller: 'prack-late', agent: 'answered' });
});
