/** What gets lost on UDP is repeated, and repeated messages do no harm. */
import { expect, test } from 'vitest';
import { openLossyLink } from '../kit/lossy-link.js';
import { freePorts } from '../kit/ports.js';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard(
  { answer: {}, ack: {}, agentAck: {}, noAck: {}, twice: {}, lossy: {} },
  { config: QUICK },
);

test.each([
  ['answer', 'lost-200'],
  ['ack', 'lost-ack'],
] as const)('%s: the 200 is repeated until its ACK (%s)', async (line, caller) => {
  const { records } = await board.call({
    line,
    caller,
    agent: 'answered',
    callerOptions: { literal: true, pauseMs: 100 },
  });
  expect(records).toMatchObject([{ sipStatus: 200, endedBy: 'caller', code: 'normal_clearing' }]);
});

test("every repeated 200 of an agent is acknowledged again, and the caller's call goes on", async () => {
  const { records } = await board.call({
    line: 'agentAck',
    caller: 'answered',
    agent: 'lost-ack',
    callerOptions: { pauseMs: 500 },
    agentOptions: { literal: true },
  });
  expect(records).toMatchObject([{ sipStatus: 200, endedBy: 'caller' }]);
});

test('an answer without ACK ends both legs after 64*T1', async () => {
  const { records } = await board.call({ line: 'noAck', caller: 'no-ack', agent: 'answered' });
  expect(records).toMatchObject([{ sipStatus: 200, endedBy: 'caller', code: 'no_ack' }]);
});

test('the same INVITE three times is one call', async () => {
  const { agents, records } = await board.call({
    line: 'twice',
    caller: 'invite-retransmitted',
    agent: 'slow',
    callerOptions: { literal: true },
    agentOptions: { literal: true, pauseMs: 1_000 },
  });
  expect(agents[0]?.created).toBe(1);
  expect(records).toHaveLength(1);
});

test('calls survive the loss of every tenth packet on both legs', async () => {
  const calls = 50;
  const [callerPort = 0, agentPort = 0, callerLinkPort = 0] = await freePorts(3);
  const [agentLinkPort = 0] = board.lines.lossy.ports;
  const gatewayPort = board.gateway.port;
  const links = [
    await openLossyLink({ gatewayPort, peerPort: callerPort, port: callerLinkPort, loss: 0.1, seed: 1 }),
    await openLossyLink({ gatewayPort, peerPort: agentPort, port: agentLinkPort, loss: 0.1, seed: 2 }),
  ];
  const { records } = await board.call({
    line: 'lossy',
    caller: 'loss',
    agent: 'loss',
    calls,
    callerOptions: {
      to: callerLinkPort,
      port: callerPort,
      linkPort: callerLinkPort,
      rate: 25,
      pauseMs: 2_000,
    },
    agentOptions: { port: agentPort, linkPort: agentLinkPort, pauseMs: 1_500 },
  });
  for (const link of links) {
    link.close();
    expect(link.lost).toBeGreaterThan(calls / 4);
  }
  for (const record of records) expect(record).toMatchObject({ sipStatus: 200, endedBy: 'caller' });
});
