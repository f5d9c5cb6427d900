/** Calls over TCP: one connection for all calls, one for each, and legs of different transports. */
import { expect, test } from 'vitest';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard({ udp: {}, tcp: { transport: 'tcp' } }, { config: QUICK });

test.each([
  ['one connection to an agent by TCP', 't1', 'tcp', 'answered', 'answered'],
  ['a connection for each call to an agent by TCP', 'tn', 'tcp', 'answered', 'answered'],
  ['TCP to UDP', 't1', 'udp', 'answered', 'answered'],
  ['UDP to TCP', 'u1', 'tcp', 'answered', 'answered'],
  ['UDP to TCP, the agent hangs up', 'u1', 'tcp', 'answered-peer-ends', 'ends'],
  ['TCP to UDP, the caller cancels', 't1', 'udp', 'cancel-ringing', 'cancelled'],
  ['TCP to TCP, the agent is busy', 't1', 'tcp', 'busy', 'busy'],
] as const)('%s', async (_, transport, line, caller, agent) => {
  const calls = 10;
  const { records } = await board.call({
    line,
    caller,
    agent,
    calls,
    callerOptions: { transport, rate: 50, pauseMs: 100 },
    agentOptions: { pauseMs: 100 },
  });
  for (const record of records) {
    expect(record.transport).toBe(transport === 'u1' ? 'udp' : 'tcp');
    expect(record.attempts).toMatchObject([{ target: `${line}:127.0.0.1:${board.lines[line].ports[0]}` }]);
  }
});
