/** Calls that are refused before an agent is tried: each has its status, its code, an explanation and a record. */
import { expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { Sipp } from '../kit/sipp.js';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard({ sales: {}, disabled: { agent: { enabled: false } } }, { config: QUICK });

test('an unknown number: 404 and a record that explains it', async () => {
  const caller = await Sipp.start({
    scenario: 'uac/unknown-number',
    to: board.gateway.port,
    service: '+14155559999',
  });
  await caller.succeed(1);
  const [record] = await board.gateway.waitForRecords(1, ({ sourcePort }) => sourcePort === caller.port);
  expect(record).toMatchObject({
    trunkId: 'carrier',
    agentId: null,
    endedBy: 'gateway',
    sipStatus: 404,
    code: 'unknown_number',
    q850: 1,
    attempts: [],
  });
  expect(record?.explanation?.some(({ outcome }) => outcome === 'fail')).toBe(true);
});

test('a disabled agent: 480', async () => {
  const { records } = await board.call({ line: 'disabled', caller: 'agent-disabled' });
  expect(records).toMatchObject([
    {
      agentId: 'disabled',
      endedBy: 'gateway',
      sipStatus: 480,
      code: 'agent_disabled',
      q850: 20,
      attempts: [],
    },
  ]);
});

test('a stranger: 403, and a record without a trunk', async () => {
  const caller = await Sipp.start({
    scenario: 'uac/unknown-source',
    to: board.gateway.port,
    address: '127.0.0.2',
    service: board.lines.sales.number,
  });
  await caller.succeed(1);
  expect(
    await board.gateway.waitForRecords(1, ({ sourceAddress }) => sourceAddress === '127.0.0.2'),
  ).toMatchObject([
    { trunkId: null, endedBy: 'gateway', sipStatus: 403, code: 'unknown_source', attempts: [] },
  ]);
});

test('with unknownSources: drop a stranger hears nothing, and a known trunk is served', async () => {
  const gateway = await Gateway.start({
    config: {
      ...QUICK,
      sip: { ...QUICK.sip, unknownSources: 'drop' },
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
    },
  });
  try {
    const stranger = await Sipp.start({
      scenario: 'uac/unknown-source-silence',
      to: gateway.port,
      address: '127.0.0.2',
      trace: true,
    });
    await stranger.succeed(1);
    const messages = stranger.messages();
    expect(messages.filter(({ direction }) => direction === 'sent')).toHaveLength(3);
    expect(messages.filter(({ direction }) => direction === 'received')).toEqual([]);
    await (await Sipp.start({ scenario: 'uac/unknown-number', to: gateway.port, service: '1' })).succeed(1);
    expect((await gateway.metrics()).get('trunkline_ingress_dropped_total{cause="unknown_source"}')).toBe(3);
  } finally {
    await gateway.stop();
  }
});
