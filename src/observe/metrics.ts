/**
 * Metrics for Prometheus. Every series that can be foreseen is there at zero from the start, so that an alert on a
 * rate works before the first event. On the way of a call only plain numbers are counted up; prom-client reads them
 * when it is asked for `/metrics`.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { AttemptRecord, CallRecord } from '#call/observer.js';
import type { EngineHealth, EngineNotice, Source } from '#engine/engine.js';
import type { DropCause, IngressObserver } from '#ingress/observer.js';
import type { PaceRefusal } from '#pacing/pacer.js';
import type { SubscriptionState } from '#registration/presence/presence-view.js';
import type { RegistrationState } from '#registration/registration-view.js';
import type { TargetView } from '#registration/target-view.js';
import type { VerdictCode } from '#registration/verdict.js';

/** What is true now, read when metrics are collected. */
export interface MetricSources {
  /** Undefined before the engine is there. */
  engine(): EngineHealth | undefined;
  draining(): boolean;
  callsInProgress(): number;
  directory(): { readonly trunks: number; readonly numbers: number; readonly agents: number };
  /** How many registrations and subscriptions are in each state; states without any may be left out. */
  registrations(): ReadonlyMap<RegistrationState, number>;
  subscriptions(): ReadonlyMap<SubscriptionState, number>;
  /** Servers that are pinged. */
  targets(): readonly TargetView[];
  /** Calls of this node that wait for slots. */
  waiting(): number;
  /** Call records written, dropped, and failed writes. */
  records(): { readonly written: number; readonly lost: number; readonly faults: number };
}

export interface MetricsOptions {
  readonly sources: MetricSources;
  /** The catalogue of reason codes, with the stage at which each ends a call. */
  readonly reasons: Readonly<Record<string, { readonly stage: 'refused' | 'failed' | 'ended' | 'warning' }>>;
  /** The catalogue of verdicts on registrations. */
  readonly verdicts: readonly VerdictCode[];
  /** All that registrations and subscriptions may be in, so that each has its series from the start. */
  readonly states: {
    readonly registrations: readonly RegistrationState[];
    readonly subscriptions: readonly SubscriptionState[];
  };
}

/** What became of a call: answered, refused before an agent was tried, failed after that. */
type CallOutcome = 'answered' | 'refused' | 'failed';

const ATTEMPT_OUTCOMES: readonly Exclude<AttemptRecord['outcome'], 'pending'>[] = [
  'answered',
  'rejected',
  'fault',
  'cancelled',
];
/** Servers with a series of their own. */
const TARGETS_MAX = 1_000;
const DROP_CAUSES: readonly DropCause[] = ['unknown_source', 'address_rate', 'stranger_rate'];
const WEBHOOK_OUTCOMES = ['delivered', 'failed', 'dead', 'lost'] as const;
const TRANSPORTS = ['udp', 'tcp', 'tls'] as const;

/** Statuses that callers are answered with in ordinary life; others appear when they occur. */
const USUAL_STATUSES = [200, 400, 403, 404, 408, 480, 482, 483, 486, 487, 500, 502, 503, 504, 603];

/** Seconds from REGISTER to its answer, challenges included. */
const REGISTER_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 32];

/** Seconds from INVITE to ringing or answer. */
const SETUP_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const TALK_BUCKETS = [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];

const PACE_OUTCOMES: readonly ('sent' | PaceRefusal)[] = [
  'sent',
  'queue_full',
  'queue_timeout',
  'shutdown',
  'taken_over',
];
const PACE_BUCKETS = [0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600];

const DIRECTION_OUTCOMES = ['inbound', 'outbound'].flatMap((direction) =>
  ['answered', 'failed', 'refused'].map((outcome) => `${direction} ${outcome}`),
);

/** Numbers under a text key, each starting at zero. The keys are the label values, joined by a space. */
class Tally {
  readonly counts = new Map<string, number>();

  constructor(keys: Iterable<string> = []) {
    for (const key of keys) this.counts.set(key, 0);
  }

  add(key: string, count = 1): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + count);
  }
}

export class Metrics implements IngressObserver {
  readonly #registry = new Registry();
  readonly #reasons: MetricsOptions['reasons'];
  readonly #calls: Tally;
  readonly #warnings: Tally;
  readonly #statuses = new Tally([...USUAL_STATUSES.map(String), 'none']);
  readonly #attempts = new Tally(ATTEMPT_OUTCOMES);
  readonly #directions = new Tally(DIRECTION_OUTCOMES);
  readonly #challenges = new Tally(['all']);
  readonly #strangers = new Tally(TRANSPORTS);
  readonly #drops = new Tally(DROP_CAUSES);
  readonly #requests = new Tally(['OPTIONS 200', 'OPTIONS 503']);
  readonly #rejected = new Tally(['0', '400', '503']);
  readonly #limits = new Tally(['transactions', 'dialogs', 'connections']);
  readonly #closed = new Tally(['all']);
  readonly #tlsFailures = new Tally(['all']);
  readonly #serversLost = new Tally(['all']);
  readonly #reloads = new Tally(['applied', 'refused']);
  readonly #registerAttempts: Tally;
  readonly #notifies = new Tally(['taken', 'refused']);
  readonly #paced = new Tally(PACE_OUTCOMES);
  readonly #tooFast = new Tally(['all']);
  readonly #slotsLost = new Tally(['all']);
  readonly #paceWait: Histogram;
  readonly #webhooks = new Tally(WEBHOOK_OUTCOMES);
  readonly #registerTime: Histogram;
  readonly #setup: Histogram;
  readonly #talk: Histogram;

  constructor({ sources, reasons, verdicts, states }: MetricsOptions) {
    this.#reasons = reasons;
    const foreseen: string[] = [];
    const warnings: string[] = [];
    for (const [code, { stage }] of Object.entries(reasons)) {
      if (stage === 'warning') warnings.push(code);
      else foreseen.push(`${stage === 'ended' ? 'answered' : stage} ${code}`);
    }
    this.#calls = new Tally(foreseen);
    this.#warnings = new Tally(warnings);
    this.#registerAttempts = new Tally(verdicts);

    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });

    this.#counter(
      'calls_total',
      'Calls that ended, by outcome and reason code',
      ['outcome', 'code'],
      this.#calls,
    );
    this.#counter(
      'call_warnings_total',
      'Answered calls with something that may be wrong, by reason code',
      ['code'],
      this.#warnings,
    );
    this.#counter(
      'call_statuses_total',
      "Final SIP statuses given to callers ('none': lost before one)",
      ['status'],
      this.#statuses,
    );
    this.#counter(
      'call_attempts_total',
      "INVITEs sent to agents' endpoints and trunks' servers",
      ['outcome'],
      this.#attempts,
    );
    this.#counter(
      'calls_by_direction_total',
      'Calls that ended, to agents (inbound) and to telephones (outbound)',
      ['direction', 'outcome'],
      this.#directions,
    );
    this.#counter(
      'call_challenges_total',
      'INVITEs to providers that were repeated with credentials',
      [],
      this.#challenges,
    );
    this.#counter(
      'ingress_strangers_total',
      'Messages of unknown sources that were let in',
      ['transport'],
      this.#strangers,
    );
    this.#counter('ingress_dropped_total', 'Messages dropped before they were read', ['cause'], this.#drops);
    this.#counter(
      'ingress_requests_total',
      'Requests other than INVITE outside dialogs, answered',
      ['method', 'status'],
      this.#requests,
    );
    this.#counter(
      'engine_rejected_total',
      "Messages that the SIP engine refused by itself ('0': in silence)",
      ['status'],
      this.#rejected,
    );
    this.#counter(
      'engine_limits_total',
      'Times that a bound of the SIP engine was met',
      ['limit'],
      this.#limits,
    );
    this.#counter('engine_connections_closed_total', 'Connections closed for cause', [], this.#closed);
    this.#counter('engine_tls_failures_total', 'TLS handshakes that failed', [], this.#tlsFailures);
    this.#counter(
      'engine_servers_lost_total',
      'Times that a drachtio-server, or the connection to it, was lost',
      [],
      this.#serversLost,
    );
    this.#counter('config_reloads_total', 'Reloads of the configuration', ['result'], this.#reloads);

    this.#counter(
      'registration_attempts_total',
      'REGISTERs, their challenges included, by verdict',
      ['verdict'],
      this.#registerAttempts,
    );
    this.#counter(
      'presence_notifies_total',
      'NOTIFYs in subscriptions of ours, by whether they could be read',
      ['outcome'],
      this.#notifies,
    );
    this.#counter(
      'webhook_deliveries_total',
      'Attempts to deliver webhooks: delivered, failed (tried again), dead (given up), lost (never written down)',
      ['outcome'],
      this.#webhooks,
    );
    this.#byState('registrations', 'Registrations', states.registrations, () => sources.registrations());
    this.#byState('presence_subscriptions', 'Subscriptions to presence', states.subscriptions, () =>
      sources.subscriptions(),
    );
    new Gauge({
      name: 'trunkline_target_up',
      help: 'Whether a server that is pinged answers: 1 up, 0 down; left out as long as nobody knows',
      labelNames: ['target'],
      registers,
      collect() {
        this.reset();
        for (const { target, health } of sources.targets().slice(0, TARGETS_MAX)) {
          if (health !== 'unknown') this.set({ target }, health === 'up' ? 1 : 0);
        }
      },
    });
    this.#registerTime = new Histogram({
      name: 'trunkline_registration_seconds',
      help: 'Seconds from REGISTER to its answer, challenges included',
      buckets: REGISTER_BUCKETS,
      registers,
    });

    this.#counter(
      'pacing_calls_total',
      'Calls that stood in line for a slot, by what became of it',
      ['outcome'],
      this.#paced,
    );
    this.#counter(
      'pacing_refused_by_provider_total',
      'INVITEs that providers refused for their speed',
      [],
      this.#tooFast,
    );
    this.#counter('pacing_slots_lost_total', 'Slots that this node was too late to use', [], this.#slotsLost);
    this.#gauge('pacing_waiting', 'Calls of this node that wait for a slot', () => sources.waiting());
    this.#paceWait = new Histogram({
      name: 'trunkline_pacing_wait_seconds',
      help: 'Seconds that calls waited for their slot',
      buckets: PACE_BUCKETS,
      registers,
    });

    this.#setup = new Histogram({
      name: 'trunkline_call_setup_seconds',
      help: 'Seconds from INVITE to ringing or answer',
      buckets: SETUP_BUCKETS,
      registers,
    });
    this.#talk = new Histogram({
      name: 'trunkline_call_talk_seconds',
      help: 'Seconds from answer to end',
      buckets: TALK_BUCKETS,
      registers,
    });

    this.#gauge('calls_in_progress', 'Calls in progress', () => sources.callsInProgress());
    this.#gauge('ready', '1 while new calls are taken', () =>
      Number(sources.engine()?.ready === true && !sources.draining()),
    );
    this.#gauge('draining', '1 while the gateway waits for its last calls', () => Number(sources.draining()));
    this.#gauge(
      'engine_transactions',
      'SIP transactions held',
      () => sources.engine()?.gauges.transactions ?? 0,
    );
    this.#gauge('engine_dialogs', 'SIP dialogs held', () => sources.engine()?.gauges.dialogs ?? 0);
    this.#gauge(
      'engine_connections',
      'TCP and TLS connections held',
      () => sources.engine()?.gauges.connections ?? 0,
    );
    this.#gauge('engine_timers', 'SIP timers armed', () => sources.engine()?.gauges.timers ?? 0);
    this.#gauge('directory_trunks', 'Trunks known', () => sources.directory().trunks);
    this.#gauge('directory_numbers', 'Phone numbers known', () => sources.directory().numbers);
    this.#gauge('directory_agents', 'Agents known', () => sources.directory().agents);
    this.#reading('records_total', 'Call records accepted for writing', () => sources.records().written);
    this.#reading(
      'records_lost_total',
      'Call records dropped because they could not be written',
      () => sources.records().lost,
    );
    this.#reading('record_faults_total', 'Failed writes of call records', () => sources.records().faults);
  }

  callEnded(record: CallRecord): void {
    const code = record.code !== null && Object.hasOwn(this.#reasons, record.code) ? record.code : 'other';
    const outcome = this.#outcome(record, code);
    this.#calls.add(`${outcome} ${code}`);
    this.#directions.add(`${record.direction} ${outcome}`);
    this.#statuses.add(record.sipStatus ? String(record.sipStatus) : 'none');
    for (const attempt of record.attempts) {
      if (attempt.outcome !== 'pending') this.#attempts.add(attempt.outcome);
      if (attempt.challenges > 0) this.#challenges.add('all', attempt.challenges);
    }
    for (const { code } of record.warnings) this.#warnings.add(code);
    if (record.setupMs !== null) this.#setup.observe(record.setupMs / 1000);
    if (record.talkMs !== null) this.#talk.observe(record.talkMs / 1000);
  }

  #outcome(record: CallRecord, code: string): CallOutcome {
    if (record.answeredAt !== null) return 'answered';
    return this.#reasons[code]?.stage === 'refused' ? 'refused' : 'failed';
  }

  callPaced(waitedMs: number): void {
    this.#paced.add('sent');
    this.#paceWait.observe(waitedMs / 1000);
  }

  callNotPaced(why: PaceRefusal): void {
    this.#paced.add(why);
  }

  refusedForSpeed(): void {
    this.#tooFast.add('all');
  }

  slotsLost(count: number): void {
    this.#slotsLost.add('all', count);
  }

  strangerSeen(source: Source): void {
    this.#strangers.add(source.transport);
  }

  messageDropped(cause: DropCause): void {
    this.#drops.add(cause);
  }

  requestAnswered(method: string, status: number): void {
    this.#requests.add(`${method} ${status}`);
  }

  engineNotice(notice: EngineNotice): void {
    switch (notice.kind) {
      case 'rejected':
        this.#rejected.add(String(notice.status));
        return;
      case 'limit':
        this.#limits.add(notice.limit);
        return;
      case 'connection-closed':
        this.#closed.add('all');
        return;
      case 'tls-failure':
        this.#tlsFailures.add('all');
        return;
      case 'server':
        if (notice.state === 'down') this.#serversLost.add('all');
    }
  }

  registrationAttempted(verdict: VerdictCode, latencyMs: number): void {
    this.#registerAttempts.add(verdict);
    this.#registerTime.observe(latencyMs / 1000);
  }

  notifyTaken(outcome: 'taken' | 'refused'): void {
    this.#notifies.add(outcome);
  }

  webhookDelivered(outcome: (typeof WEBHOOK_OUTCOMES)[number]): void {
    this.#webhooks.add(outcome);
  }

  configReloaded(result: 'applied' | 'refused'): void {
    this.#reloads.add(result);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything in Prometheus's text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #counter(name: string, help: string, labelNames: readonly string[], tally: Tally): void {
    new Counter({
      name: `trunkline_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [key, count] of tally.counts) {
          const values = key.split(' ');
          this.inc(Object.fromEntries(labelNames.map((label, i) => [label, values[i] ?? ''])), count);
        }
      },
    });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `trunkline_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** One gauge per state, each there from the start. */
  #byState<S extends string>(
    name: string,
    help: string,
    states: readonly S[],
    read: () => ReadonlyMap<S, number>,
  ): void {
    new Gauge({
      name: `trunkline_${name}`,
      help,
      labelNames: ['state'],
      registers: [this.#registry],
      collect() {
        const counts = read();
        for (const state of states) this.set({ state }, counts.get(state) ?? 0);
      },
    });
  }

  /** A counter that is kept elsewhere. */
  #reading(name: string, help: string, read: () => number): void {
    new Counter({
      name: `trunkline_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}
