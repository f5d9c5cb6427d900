/** Traces over HTTP: whose messages they are, in which format. The store of messages is the real one. */
import { afterEach, describe, expect, it } from 'vitest';
import type { AttemptRecord, CallRecord } from '#call/observer.js';
import type { HttpPorts } from '#http/ports.js';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import { WireTrace } from '#trace/wire-trace.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { callRecord } from '../observe/records.js';
import { LISTENER, message } from '../trace/kit.js';
import { scriptedPorts } from './ports.js';

const TOKEN = 'a-token-of-some-length';
let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

function wire() {
  const clock = new VirtualClock();
  const trace = new WireTrace({ clock, bytes: 2 * 1_048_576 });
  const hear = (octets: string, direction: 'in' | 'out' = 'in') =>
    trace.message(direction, octets, LISTENER, '192.0.2.1', 5080, 'known');
  return { clock, trace, hear };
}

async function start(
  trace: WireTrace | undefined,
  records: readonly CallRecord[],
  holder?: NonNullable<ReturnType<HttpPorts['tokens']['authenticate']>>,
): Promise<(path: string) => Promise<Response>> {
  const ports = scriptedPorts();
  server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: TOKEN,
    log: silentLogger,
    ports: {
      ...ports,
      trace,
      calls: { ...ports.calls, list: () => records, get: (id) => records.find((each) => each.id === id) },
      tokens: { ...ports.tokens, authenticate: () => holder },
    },
  });
  const url = await server.start();
  const token = holder === undefined ? TOKEN : 'of-the-holder';
  return (path) => fetch(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } });
}

const at = (clock: VirtualClock): string => new Date(clock.wallNow()).toISOString();
const ATTEMPT: AttemptRecord = {
  endpoint: 'sip:agent@192.0.2.9',
  trunkId: null,
  target: 'udp:192.0.2.9:5060',
  callId: 'their-leg',
  startedAt: '2030-01-01T00:00:00.000Z',
  durationMs: 20,
  outcome: 'answered',
  challenges: 0,
  sipStatus: 200,
  cause: null,
  detail: null,
};

describe('the trace of a call', () => {
  it('has the messages of all its legs, and of its time only', async () => {
    const { clock, trace, hear } = wire();
    hear(message('ours'));
    clock.advance(5_000);
    const startedAt = at(clock);
    hear(message('ours', ['X-Is: the call']));
    hear(message('leg-1', ['Authorization: Digest username="u", response="SECRET"']), 'out');
    hear(message('strange'));
    clock.advance(3_000);
    const endedAt = at(clock);
    clock.advance(60_000);
    hear(message('ours'));
    const ask = await start(trace, [
      callRecord({
        id: 'call_1',
        callId: 'ours',
        startedAt,
        endedAt,
        attempts: [
          { ...ATTEMPT, callId: null },
          { ...ATTEMPT, callId: 'leg-1' },
        ],
      }),
    ]);
    const response = await ask('/calls/call_1/trace');
    expect(response.status).toBe(200);
    const body = (await response.json()) as { complete: boolean; items: Record<string, string>[] };
    expect(body.complete).toBe(true);
    expect(body.items.map(({ leg, direction }) => [leg, direction])).toEqual([
      ['caller', 'in'],
      ['attempt 2', 'out'],
    ]);
    expect(body.items[0]).toEqual({
      at: startedAt,
      leg: 'caller',
      direction: 'in',
      transport: 'udp',
      local: LISTENER.id,
      peer: '192.0.2.1:5080',
      callId: 'ours',
      startLine: 'OPTIONS sip:a@192.0.2.9',
      message: message('ours', ['X-Is: the call']).replaceAll('\r\n', '\n'),
    });
    expect(JSON.stringify(body)).not.toContain('SECRET');
  });

  it('comes as text and as a capture file', async () => {
    const { clock, trace, hear } = wire();
    hear(message('ours'));
    const ask = await start(trace, [
      callRecord({ id: 'call_1', callId: 'ours', startedAt: at(clock), endedAt: null }),
    ]);
    const text = await ask('/calls/call_1/trace?format=text');
    expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await text.text()).toContain('caller  <-  udp 192.0.2.1:5080  OPTIONS sip:a@192.0.2.9');
    const file = await ask('/calls/call_1/trace?format=pcap');
    expect(file.headers.get('content-type')).toBe('application/vnd.tcpdump.pcap');
    expect(file.headers.get('content-disposition')).toBe('attachment; filename="call_1.pcap"');
    expect(Buffer.from(await file.arrayBuffer()).readUInt32BE(0)).toBe(0xa1b2c3d4);
    expect((await ask('/calls/call_1/trace?format=png')).status).toBe(400);
  });

  it('says when its beginning may have been given up', async () => {
    const { clock, trace, hear } = wire();
    const startedAt = at(clock);
    clock.advance(10_000);
    for (let i = 0; i < 1_000; i++) hear(message('filler', [], 'x'.repeat(5_000)));
    const ask = await start(trace, [callRecord({ id: 'call_1', callId: 'ours', startedAt, endedAt: null })]);
    expect(await (await ask('/calls/call_1/trace')).json()).toEqual({ complete: false, items: [] });
  });

  it('shows nobody the messages of another organisation, not even by a Call-ID that was borrowed', async () => {
    const { clock, trace, hear } = wire();
    hear(message('theirs'));
    const records = [
      callRecord({
        id: 'call_theirs',
        organizationId: 'them',
        callId: 'theirs',
        startedAt: at(clock),
        endedAt: null,
      }),
      callRecord({
        id: 'call_ours',
        organizationId: 'us',
        callId: 'theirs',
        startedAt: at(clock),
        endedAt: null,
      }),
    ];
    const ask = await start(trace, records, { tokenId: 'tok', organizationId: 'us', scopes: ['read'] });
    expect((await ask('/calls/call_theirs/trace')).status).toBe(404);
    expect(await (await ask('/calls/call_ours/trace')).json()).toMatchObject({ items: [] });
  });

  it('nor by the Call-ID of one of its attempts', async () => {
    const { clock, trace, hear } = wire();
    hear(message('their-leg'), 'out');
    const startedAt = at(clock);
    const ask = await start(
      trace,
      [
        callRecord({
          id: 'call_theirs',
          organizationId: 'them',
          callId: 'theirs',
          startedAt,
          endedAt: null,
          attempts: [ATTEMPT],
        }),
        callRecord({ id: 'call_ours', organizationId: 'us', callId: 'their-leg', startedAt, endedAt: null }),
      ],
      { tokenId: 'tok', organizationId: 'us', scopes: ['read'] },
    );
    expect(await (await ask('/calls/call_ours/trace')).json()).toMatchObject({ items: [] });
  });

  it('is refused where no messages are kept', async () => {
    const ask = await start(undefined, [callRecord({ id: 'call_1' })]);
    const response = await ask('/calls/call_1/trace');
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code: 'not_traced' });
  });
});
