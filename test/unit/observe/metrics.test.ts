import { describe, expect, it } from 'vitest';
import type { EngineHealth, Source } from '#engine/engine.js';
import { type MetricSources, Metrics } from '#observe/metrics.js';
import { SUBSCRIPTION_STATES, type SubscriptionState } from '#registration/presence/presence-view.js';
import { REGISTRATION_STATES, type RegistrationState } from '#registration/registration-view.js';
import { VERDICT_CODES } from '#registration/verdict.js';
import { callRecord, refusedRecord } from './records.js';

const reasons = {
  normal_clearing: { stage: 'ended' },
  unknown_number: { stage: 'refused' },
  no_answer: { stage: 'failed' },
} as const;

const states = { registrations: REGISTRATION_STATES, subscriptions: SUBSCRIPTION_STATES };

let health: EngineHealth | undefined;
const registered = new Map<RegistrationState, number>();
const subscribed = new Map<SubscriptionState, number>();
const sources: MetricSources = {
  engine: () => health,
  draining: () => false,
  callsInProgress: () => 7,
  directory: () => ({ trunks: 1, numbers: 2, agents: 3 }),
  registrations: () => registered,
  subscriptions: () => subscribed,
  targets: () => [],
  waiting: () => 0,
  records: () => ({ written: 4, lost: 0, faults: 0 }),
};
const source: Source = {
  transport: 'udp',
  address: '192.0.2.1',
  port: 5060,
  flow: 0,
  listener: { id: 'udp:127.0.0.1:5060', transport: 'udp', host: '127.0.0.1', port: 5060 },
};

/** Value of a series, as the text says it; undefined when the series is not there. */
async function value(metrics: Metrics, series: string): Promise<number | undefined> {
  const line = (await metrics.text()).split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe('metrics', () => {
  it.each([
    'trunkline_calls_total{outcome="answered",code="normal_clearing"}',
    'trunkline_calls_total{outcome="refused",code="unknown_number"}',
    'trunkline_calls_total{outcome="failed",code="no_answer"}',
    'trunkline_call_statuses_total{status="503"}',
    'trunkline_call_attempts_total{outcome="fault"}',
    'trunkline_call_setup_seconds_count',
    'trunkline_call_setup_seconds_bucket{le="0.1"}',
    'trunkline_call_talk_seconds_count',
    'trunkline_pacing_calls_total{outcome="sent"}',
    'trunkline_pacing_calls_total{outcome="queue_full"}',
    'trunkline_pacing_calls_total{outcome="queue_timeout"}',
    'trunkline_pacing_refused_by_provider_total',
    'trunkline_pacing_slots_lost_total',
    'trunkline_pacing_waiting',
    'trunkline_pacing_wait_seconds_count',
    'trunkline_ingress_strangers_total{transport="udp"}',
    'trunkline_ingress_dropped_total{cause="unknown_source"}',
    'trunkline_ingress_dropped_total{cause="address_rate"}',
    'trunkline_ingress_requests_total{method="OPTIONS",status="200"}',
    'trunkline_engine_rejected_total{status="400"}',
    'trunkline_engine_limits_total{limit="transactions"}',
    'trunkline_engine_connections_closed_total',
    'trunkline_engine_tls_failures_total',
    'trunkline_engine_transactions',
    'trunkline_engine_dialogs',
    'trunkline_engine_connections',
    'trunkline_engine_timers',
    'trunkline_ready',
    'trunkline_draining',
    'trunkline_config_reloads_total{result="refused"}',
    'trunkline_records_lost_total',
    'trunkline_record_faults_total',
    'trunkline_registrations{state="registered"}',
    'trunkline_registrations{state="auth_rejected"}',
    'trunkline_registration_attempts_total{verdict="ok"}',
    'trunkline_registration_attempts_total{verdict="tls_wrong_name"}',
    'trunkline_registration_seconds_count',
    'trunkline_presence_subscriptions{state="active"}',
    'trunkline_presence_notifies_total{outcome="refused"}',
  ])('%s is there at zero from the start', async (series) => {
    health = undefined;
    expect(await value(new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states }), series)).toBe(0);
  });

  it('has the process and its event loop', async () => {
    const text = await new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states }).text();
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(text).toContain('process_resident_memory_bytes');
  });

  it('reads what is true now', async () => {
    const gauges = { transactions: 11, dialogs: 12, connections: 13, timers: 14 };
    health = { ready: true, detail: '', gauges };
    const metrics = new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states });
    expect(await value(metrics, 'trunkline_calls_in_progress')).toBe(7);
    expect(await value(metrics, 'trunkline_engine_dialogs')).toBe(12);
    expect(await value(metrics, 'trunkline_ready')).toBe(1);
    expect(await value(metrics, 'trunkline_directory_numbers')).toBe(2);
    expect(await value(metrics, 'trunkline_records_total')).toBe(4);
  });

  it('counts calls by outcome and code, their statuses, attempts and times', async () => {
    const metrics = new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states });
    const attempt = {
      endpoint: 'sip:a@127.0.0.1',
      trunkId: null,
      challenges: 0,
      target: null,
      callId: null,
      startedAt: '',
      durationMs: 1,
      sipStatus: null,
      cause: null,
      detail: null,
    };
    metrics.callEnded(
      callRecord({
        attempts: [
          { ...attempt, outcome: 'fault' },
          { ...attempt, outcome: 'answered' },
        ],
      }),
    );
    metrics.callEnded(refusedRecord());
    metrics.callEnded(refusedRecord());
    metrics.callEnded(refusedRecord({ code: 'made_up', sipStatus: 0 }));
    expect(await value(metrics, 'trunkline_calls_total{outcome="answered",code="normal_clearing"}')).toBe(1);
    expect(await value(metrics, 'trunkline_calls_total{outcome="refused",code="unknown_number"}')).toBe(2);
    expect(await value(metrics, 'trunkline_calls_total{outcome="failed",code="other"}')).toBe(1);
    expect(await value(metrics, 'trunkline_call_statuses_total{status="404"}')).toBe(2);
    expect(await value(metrics, 'trunkline_call_statuses_total{status="none"}')).toBe(1);
    expect(await value(metrics, 'trunkline_call_attempts_total{outcome="fault"}')).toBe(1);
    expect(await value(metrics, 'trunkline_call_setup_seconds_count')).toBe(1);
    expect(await value(metrics, 'trunkline_call_talk_seconds_sum')).toBe(10);
    metrics.callEnded(
      callRecord({ direction: 'outbound', attempts: [{ ...attempt, challenges: 2, outcome: 'answered' }] }),
    );
    expect(
      await value(metrics, 'trunkline_calls_by_direction_total{direction="outbound",outcome="answered"}'),
    ).toBe(1);
    expect(
      await value(metrics, 'trunkline_calls_by_direction_total{direction="inbound",outcome="refused"}'),
    ).toBe(2);
    expect(await value(metrics, 'trunkline_call_challenges_total')).toBe(2);
  });

  it('counts what the front desk and the engine report, again after each reading', async () => {
    const metrics = new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states });
    for (const expected of [1, 2]) {
      metrics.strangerSeen(source);
      metrics.messageDropped('address_rate');
      metrics.requestAnswered('OPTIONS', 200);
      metrics.engineNotice({ kind: 'rejected', status: 400, reason: 'x', source });
      metrics.engineNotice({ kind: 'limit', limit: 'dialogs' });
      metrics.engineNotice({ kind: 'tls-failure', detail: 'x', address: '192.0.2.1' });
      metrics.engineNotice({ kind: 'connection-closed', flow: 1, reason: 'idle', address: '192.0.2.1' });
      metrics.engineNotice({ kind: 'server', state: 'down', server: '192.0.2.1:9022', detail: 'gone' });
      metrics.engineNotice({ kind: 'server', state: 'up', server: '192.0.2.1:9022', detail: 'back' });
      metrics.configReloaded('applied');
      expect(await value(metrics, 'trunkline_ingress_strangers_total{transport="udp"}')).toBe(expected);
      expect(await value(metrics, 'trunkline_ingress_dropped_total{cause="address_rate"}')).toBe(expected);
      expect(await value(metrics, 'trunkline_ingress_requests_total{method="OPTIONS",status="200"}')).toBe(
        expected,
      );
      expect(await value(metrics, 'trunkline_engine_rejected_total{status="400"}')).toBe(expected);
      expect(await value(metrics, 'trunkline_engine_limits_total{limit="dialogs"}')).toBe(expected);
      expect(await value(metrics, 'trunkline_engine_tls_failures_total')).toBe(expected);
      expect(await value(metrics, 'trunkline_engine_connections_closed_total')).toBe(expected);
      expect(await value(metrics, 'trunkline_engine_servers_lost_total')).toBe(expected);
      expect(await value(metrics, 'trunkline_config_reloads_total{result="applied"}')).toBe(expected);
    }
  });

  it('has registrations and subscriptions by state as they are now', async () => {
    const metrics = new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states });
    registered.set('registered', 3).set('failed', 1);
    subscribed.set('active', 2);
    expect(await value(metrics, 'trunkline_registrations{state="registered"}')).toBe(3);
    expect(await value(metrics, 'trunkline_registrations{state="failed"}')).toBe(1);
    expect(await value(metrics, 'trunkline_presence_subscriptions{state="active"}')).toBe(2);
    registered.clear();
    subscribed.clear();
    expect(await value(metrics, 'trunkline_registrations{state="registered"}')).toBe(0);
    expect(await value(metrics, 'trunkline_presence_subscriptions{state="active"}')).toBe(0);
  });

  it('counts attempts to register by verdict, with their times, and NOTIFYs', async () => {
    const metrics = new Metrics({ sources, reasons, verdicts: VERDICT_CODES, states });
    metrics.registrationAttempted('auth_rejected', 250);
    metrics.registrationAttempted('ok', 750);
    metrics.notifyTaken('refused');
    expect(await value(metrics, 'trunkline_registration_attempts_total{verdict="auth_rejected"}')).toBe(1);
    expect(await value(metrics, 'trunkline_registration_seconds_sum')).toBe(1);
    expect(await value(metrics, 'trunkline_presence_notifies_total{outcome="refused"}')).toBe(1);
  });
});
