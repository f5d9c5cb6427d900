/** What the gateway says crossed the wire is what SIPp says, octet by octet. */
import { expect, test } from 'vitest';
import { API_TOKEN } from '../kit/gateway.js';
import { Sipp, type SippMessage } from '../kit/sipp.js';
import { useSwitchboard } from '../kit/switchboard.js';
import { QUICK } from './quick.js';

const board = useSwitchboard({ sales: {}, stream: { transport: 'tcp' } }, { config: QUICK });

interface Traced {
  readonly leg: string;
  readonly direction: 'in' | 'out';
  readonly transport: string;
  readonly peer: string;
  readonly message: string;
  readonly startLine: string;
}

async function traceOf(id: string): Promise<{ complete: boolean; items: Traced[] }> {
  const response = await fetch(`http://127.0.0.1:${board.gateway.httpPort}/api/v1/calls/${id}/trace`, {
    headers: { authorization: `Bearer ${API_TOKEN}` },
  });
  expect(response.status).toBe(200);
  return (await response.json()) as { complete: boolean; items: Traced[] };
}

/** What a SIPp sent is what came in from it. */
const seenBy = (messages: readonly SippMessage[]) =>
  messages.map(
    ({ direction, text }) => `${direction === 'sent' ? 'in' : 'out'} ${text.replaceAll('\r\n', '\n')}`,
  );
const traced = (items: readonly Traced[], leg: string) =>
  items.filter((each) => each.leg === leg).map(({ direction, message }) => `${direction} ${message}`);

test.each(['sales', 'stream'] as const)('trace: a call to %s, both sides', async (line) => {
  const { callerSide, agentSides, records } = await board.call({
    line,
    caller: 'answered',
    agent: 'answered',
    callerOptions: { trace: true },
    agentOptions: { trace: true },
  });
  const { complete, items } = await traceOf(records[0]!.id);
  expect(complete).toBe(true);
  expect(new Set(items.map(({ leg }) => leg))).toEqual(new Set(['caller', 'attempt 1']));
  expect(traced(items, 'caller').sort()).toEqual(seenBy(callerSide.messages()).sort());
  expect(traced(items, 'attempt 1').sort()).toEqual(seenBy(agentSides[0]!.messages()).sort());
  expect(items.find(({ leg }) => leg === 'attempt 1')?.transport).toBe(line === 'stream' ? 'tcp' : 'udp');
});

test('trace: a stranger that was refused', async () => {
  const caller = await Sipp.start({
    scenario: 'uac/unknown-source',
    to: board.gateway.port,
    address: '127.0.0.3',
    service: board.lines.sales.number,
  });
  await caller.succeed(1);
  const [record] = await board.gateway.waitForRecords(
    1,
    ({ sourceAddress }) => sourceAddress === '127.0.0.3',
  );
  const { items } = await traceOf(record!.id);
  expect(items.map(({ direction, startLine }) => `${direction} ${startLine}`)).toEqual([
    `in INVITE sip:${board.lines.sales.number}@127.0.0.1:${board.gateway.port}`,
    'out 403 Forbidden',
    `in ACK sip:${board.lines.sales.number}@127.0.0.1:${board.gateway.port}`,
  ]);
});
