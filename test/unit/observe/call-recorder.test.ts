import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import { CallRecorder } from '#observe/call-recorder.js';
import { CdrLog } from '#observe/cdr.js';
import { Events, type GatewayEvent } from '#observe/events.js';
import { Metrics } from '#observe/metrics.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { callRecord, refusedRecord } from './records.js';

function metrics(): Metrics {
  return new Metrics({
    reasons: { normal_clearing: { stage: 'ended' }, unknown_number: { stage: 'refused' } },
    verdicts: [],
    states: { registrations: [], subscriptions: [] },
    sources: {
      engine: () => undefined,
      draining: () => false,
      callsInProgress: () => 0,
      directory: () => ({ trunks: 0, numbers: 0, agents: 0 }),
      registrations: () => new Map(),
      subscriptions: () => new Map(),
      targets: () => [],
      waiting: () => 0,
      records: () => ({ written: 0, lost: 0, faults: 0 }),
    },
  });
}

const events = (): Events => new Events({ clock: new VirtualClock(), log: silentLogger, epoch: 'evt_t' });

describe('the recorder', () => {
  it('leaves one log line, one record and the counts of each call', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'trunkline-recorder-'));
    const path = join(folder, 'cdr.jsonl');
    const cdr = new CdrLog({ path, clock: new VirtualClock(), log: silentLogger });
    const lines: unknown[] = [];
    const log = {
      ...silentLogger,
      info: (fields: object, message: string) => void lines.push([message, fields]),
    };
    const counted = metrics();
    const recorder = new CallRecorder({ cdr, metrics: counted, events: events(), log, logCalls: true });
    recorder.callEnded(callRecord({ id: 'a' }));
    recorder.callEnded(refusedRecord({ id: 'b', did: null }));
    await cdr.close();
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(3);
    expect(lines).toEqual([
      ['call ended', expect.objectContaining({ call: 'a', code: 'normal_clearing', talkMs: 10_000 })],
      [
        'call not answered',
        expect.objectContaining({ call: 'b', code: 'unknown_number', did: '14155550100' }),
      ],
    ]);
    expect(await counted.text()).toContain(
      'trunkline_calls_total{outcome="refused",code="unknown_number"} 1',
    );
    rmSync(folder, { recursive: true });
  });

  it('can be silent about calls, but not about failures of ours', () => {
    const lines: string[] = [];
    const log = {
      ...silentLogger,
      info: (_fields: object, message: string) => void lines.push(message),
      error: (_fields: object, message: string) => void lines.push(message),
    };
    const recorder = new CallRecorder({
      cdr: null,
      metrics: metrics(),
      events: events(),
      log,
      logCalls: false,
    });
    recorder.callEnded(callRecord());
    recorder.callEnded(refusedRecord({ code: 'internal_error' }));
    expect(lines).toEqual(['call failed inside the gateway']);
  });

  it('tells of a call to whoever listens, and builds nothing for nobody', () => {
    const told = events();
    const recorder = new CallRecorder({
      cdr: null,
      metrics: metrics(),
      events: told,
      log: silentLogger,
      logCalls: false,
    });
    const record = callRecord({ id: 'a', organizationId: 'acme' });
    let built = 0;
    const live = {
      id: 'a',
      state: 'ringing' as const,
      trunkId: 't',
      agentId: 's',
      record: () => {
        built++;
        return record;
      },
    };
    recorder.callStarted(live);
    expect(built).toBe(0);
    const heard: GatewayEvent[] = [];
    told.listen((event) => heard.push(event));
    recorder.callStarted(live);
    recorder.callChanged(live, 'dialing');
    recorder.callEnded(record);
    recorder.callEnded(refusedRecord({ id: 'b', organizationId: null }));
    expect(heard.map(({ type, organizationId, subject }) => [type, organizationId, subject])).toEqual([
      ['call.started', 'acme', 'a'],
      ['call.changed', 'acme', 'a'],
      ['call.ended', 'acme', 'a'],
    ]);
    expect(heard[1]!.data).toMatchObject({ previous: 'dialing' });
  });
});
