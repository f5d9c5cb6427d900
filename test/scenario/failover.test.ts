/** The hunt: which failures send a call on to the agent's next endpoint, and what the caller hears when all fail. */
import { createSocket } from 'node:dgram';
import { expect, test } from 'vitest';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard(
  {
    second: { endpoints: 2 },
    all: { endpoints: 2 },
    deadUdp: { endpoints: 2 },
    deadTcp: { endpoints: 2, transport: 'tcp' },
    silent: { endpoints: 2 },
    nobody: { transport: 'tcp' },
    mute: {},
  },
  { config: QUICK },
);

/** A UDP port that swallows everything. */
async function blackHole(port: number): Promise<() => void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  return () => socket.close();
}

test('503 of the first endpoint sends the call to the second', async () => {
  const { records } = await board.call({
    line: 'second',
    caller: 'answered',
    agent: ['unavailable', 'answered'],
  });
  expect(records).toMatchObject([
    {
      sipStatus: 200,
      endedBy: 'caller',
      code: 'normal_clearing',
      attempts: [
        { outcome: 'rejected', sipStatus: 503 },
        { outcome: 'answered', sipStatus: 200 },
      ],
    },
  ]);
});

test('503 of every endpoint is 500 for the caller', async () => {
  const { records } = await board.call({
    line: 'all',
    caller: 'unavailable',
    agent: ['unavailable', 'unavailable'],
  });
  expect(records).toMatchObject([
    {
      sipStatus: 500,
      endedBy: 'agent',
      code: 'agent_rejected',
      attempts: [
        { outcome: 'rejected', sipStatus: 503 },
        { outcome: 'rejected', sipStatus: 503 },
      ],
    },
  ]);
});

test.each([
  // Nothing tells an unconnected UDP socket that a port is closed: there is only silence.
  ['deadUdp', 'cancelled'],
  ['deadTcp', 'fault'],
] as const)('%s: nobody at the first port (%s), the second answers', async (line, outcome) => {
  const { ports } = board.lines[line];
  const { records } = await board.call({
    line,
    caller: 'answered',
    agent: ['answered'],
    agentOptions: { port: ports[1] },
  });
  expect(records[0]?.attempts).toMatchObject([
    { outcome, sipStatus: null },
    { outcome: 'answered', sipStatus: 200 },
  ]);
});

test('an endpoint that says nothing at all is given up for the next', async () => {
  const { ports } = board.lines.silent;
  const close = await blackHole(ports[0] ?? 0);
  try {
    const { records } = await board.call({
      line: 'silent',
      caller: 'answered',
      agent: ['answered'],
      agentOptions: { port: ports[1] },
    });
    expect(records[0]?.attempts.map(({ sipStatus }) => sipStatus)).toEqual([null, 200]);
  } finally {
    close();
  }
});

test('nobody anywhere: 480 agent_unreachable', async () => {
  const { records } = await board.call({ line: 'nobody', caller: 'unreachable' });
  expect(records).toMatchObject([
    {
      sipStatus: 480,
      endedBy: 'gateway',
      code: 'agent_unreachable',
      q850: 27,
      attempts: [{ outcome: 'fault' }],
    },
  ]);
});

test('the only endpoint is silent: 480 no_answer', async () => {
  const close = await blackHole(board.lines.mute.ports[0] ?? 0);
  try {
    const { records } = await board.call({ line: 'mute', caller: 'no-answer' });
    expect(records).toMatchObject([{ sipStatus: 480, endedBy: 'gateway', code: 'no_answer', q850: 18 }]);
  } finally {
    close();
  }
});
