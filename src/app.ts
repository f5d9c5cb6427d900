/**
 * The composition root: opens the files, picks the engine, wires the rooms, and orders start, reload, drain and
 * stop. Every room gets its own options here; the configuration goes no further.
 */
import { DigestGate } from '#auth/gate.js';
import { WrongAnswers } from '#auth/wrong-answers.js';
import { Calls } from '#call/calls.js';
import { boundedIn } from '#call/usage.js';
import type { Reloaded } from '#config/live.js';
import type { Loaded } from '#config/load.js';
import { cpsWarnings } from '#directory/cps-line.js';
import type { Directory } from '#directory/directory.js';
import type { DrachtioEngine } from '#engine/drachtio/engine.js';
import type { EmbeddedEngine } from '#engine/embedded/engine.js';
import { probeConnection } from '#engine/embedded/transport/connection-probe.js';
import { closedTo } from '#engine/embedded/transport/own-services.js';
import type { Engine } from '#engine/engine.js';
import { explainInbound } from '#http/explain.js';
import { explainOutbound } from '#http/explain-outbound.js';
import { HttpServer } from '#http/server.js';
import { identifyAgent } from '#ingress/agent-desk.js';
import { FrontDesk } from '#ingress/front-desk.js';
import { Logins } from '#ingress/logins.js';
import { Screen } from '#ingress/screen.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { CallRecorder } from '#observe/call-recorder.js';
import type { CdrLog } from '#observe/cdr.js';
import { EVENT_TYPES, Events } from '#observe/events.js';
import type { Log } from '#observe/log.js';
import { Metrics } from '#observe/metrics.js';
import { NoticeLog } from '#observe/notice-log.js';
import { PaceRecorder } from '#observe/pace-recorder.js';
import { RegistrationRecorder } from '#observe/registration-recorder.js';
import { Originations } from '#origination/originations.js';
import { Transfers } from '#origination/transfers.js';
import { Providers } from '#provider/providers.js';
import { TwilioConnector } from '#provider/twilio/twilio.js';
import { SUBSCRIPTION_STATES } from '#registration/presence/presence-view.js';
import { Prober } from '#registration/probe/prober.js';
import { REGISTRATION_STATES } from '#registration/registration-view.js';
import { targetViews } from '#registration/target-view.js';
import { VERDICT_CODES } from '#registration/verdict.js';
import { routeInbound } from '#routing/inbound.js';
import { routeOutbound } from '#routing/outbound.js';
import type { OutboundDecision, OutboundQuestion } from '#routing/outbound-decision.js';
import { outboundQuestion } from '#routing/outbound-question.js';
import { REASONS } from '#routing/refusals.js';
import { DEFAULT_TIMERS } from '#sip/timers.js';
import { hostPort } from '#sip/uri.js';
import { RedisClient } from '#store/redis/client.js';
import { systemDns } from '#targets/dns.js';
import { Resolver } from '#targets/resolver.js';
import { firstCall } from './first-call.js';
import { configPart, type Knowledge } from './knowledge.js';
import { type OpenPacer, openPacer } from './pacers.js';
import { Registering } from './registering.js';
import {
  callSettings,
  createEngine,
  openRecords,
  openTrace,
  ownServices,
  screenSettings,
} from './settings.js';
import { Telling } from './telling.js';

export interface AppOptions {
  readonly loaded: Extract<Loaded, { readonly kind: 'config' }>;
  readonly log: Log;
  readonly ids: Ids;
  /** For everything but SIP, so that the number of armed SIP timers means something. */
  readonly clock: Clock;
  /** What it remembers; closed when the gateway stops. */
  readonly knowledge: Knowledge;
  /** Bearer token of the administrator. */
  readonly token: string;
  /** Of this program, for the API's description. */
  readonly version: string;
}

/** What trunks and agents with `inboundAuth` are asked for. Clients keep passwords by it, so it never changes. */
const REALM = 'trunkline';
/** Of the 64·T1 after which the peer of an INVITE that is not acknowledged gives up (RFC 3261 §13.3.1.4). */
const ACK_PATIENCE_T1 = 40;
const DRAIN_PROGRESS_MS = 5_000;
/** How often the addresses of this machine are looked at. */
const ADDRESSES_MS = 5_000;
/** After the last call: time for its last messages to be answered, and repeated once (T1) if they are not. */
const LAST_WORDS_MS = 600;
/** Call ids named in a progress line. */
const SAMPLE_MAX = 5;

export class App {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #knowledge: Knowledge;
  /** What nodes share besides the store; undefined: this node is alone. */
  readonly #redis: RedisClient | undefined;
  readonly #directory: Directory;
  readonly #cdr: CdrLog | null;
  readonly #metrics: Metrics;
  readonly #recorder: CallRecorder;
  readonly #telling: Telling;
  readonly #screen: Screen;
  readonly #engine: EmbeddedEngine | DrachtioEngine;
  readonly #pacing: OpenPacer;
  readonly #calls: Calls;
  readonly #registering: Registering;
  readonly #gate: DigestGate;
  readonly #frontDesk: FrontDesk;
  readonly #http: HttpServer;
  #draining = false;
  #closing: Promise<void> | undefined;

  /** Opens files, binds nothing yet. Throws an Error that says what to mend. */
  constructor({ loaded, log, ids, clock, token, version, knowledge }: AppOptions) {
    const { config } = loaded;
    const { logger } = log;
    const sipClock = systemClock();
    this.#log = log;
    this.#clock = clock;
    this.#knowledge = knowledge;
    const { url } = config.redis;
    this.#redis = url === null ? undefined : new RedisClient({ url, log: logger });
    this.#directory = knowledge.directory;

    this.#cdr = openRecords(config, clock, log);
    this.#metrics = new Metrics({
      reasons: REASONS,
      verdicts: VERDICT_CODES,
      states: { registrations: REGISTRATION_STATES, subscriptions: SUBSCRIPTION_STATES },
      sources: {
        engine: () => this.#engine.health(),
        draining: () => this.#draining,
        callsInProgress: () => this.#calls.activeCount,
        directory: () => {
          const { trunkCount, numberCount, agentCount } = this.#directory.current;
          return { trunks: trunkCount, numbers: numberCount, agents: agentCount };
        },
        registrations: () => this.#registering.registrations.counts(),
        subscriptions: () => this.#registering.presence.counts(),
        targets: () => targetViews(this.#registering.ways()),
        waiting: () => this.#pacing.pacer.waitingCount,
        records: () => this.#cdr ?? { written: 0, lost: 0, faults: 0 },
      },
    });
    const events = new Events({ clock, log: logger, epoch: `evt_${ids.token(60)}` });
    this.#recorder = new CallRecorder({
      cdr: this.#cdr,
      metrics: this.#metrics,
      events,
      log: logger,
      logCalls: config.log.calls,
    });

    const trace = openTrace(config, clock);
    const services = () => ownServices(config, this.#redis?.remoteAddress);
    this.#engine = createEngine(config, sipClock, ids, trace, services);
    this.#screen = new Screen({
      clock: sipClock,
      directory: this.#directory,
      observer: this.#metrics,
      settings: screenSettings(config),
    });
    const dns = systemDns({ servers: config.dns.servers });
    const { families } = config.dns;
    this.#telling = new Telling({
      config,
      knowledge,
      events,
      observer: { delivered: (outcome) => this.#metrics.webhookDelivered(outcome) },
      dns,
      clock,
      ids,
      log: logger,
    });
    const resolver = new Resolver({
      dns,
      clock: sipClock,
      random: Math.random,
      families,
      timeoutMs: config.dns.timeoutSeconds * 1000,
    });
    const dialling = (address: string): void => this.#screen.expect(address);
    this.#pacing = openPacer({
      config,
      ids,
      log: logger,
      observer: new PaceRecorder({
        metrics: this.#metrics,
        events,
        log: logger,
        line: (key) => {
          const [organizationId = '', cpsKey = ''] = key.split('/');
          return this.#directory.current.cpsLine(organizationId, cpsKey);
        },
      }),
    });
    this.#registering = new Registering({
      config,
      engine: this.#engine,
      clock,
      sipClock,
      ids,
      resolver,
      directory: this.#directory,
      recorder: new RegistrationRecorder(this.#metrics, events),
      dialling,
      log: logger,
    });
    const { registrations } = this.#registering;
    const { pacer, tally } = this.#pacing;
    this.#calls = new Calls({
      engine: this.#engine,
      clock: sipClock,
      ids,
      resolver,
      observer: this.#recorder,
      log: logger,
      pacer,
      elsewhere: tally,
      binding: (id) => registrations.holder(id),
      dialling: ({ address }) => dialling(address),
      settings: callSettings(config),
    });
    if (tally !== undefined) {
      tally.source = () => {
        const bounded = boundedIn(this.#directory.current);
        if (bounded.trunks.size + bounded.organizations.size === 0) return undefined;
        return this.#calls.usage.report(bounded);
      };
    }
    const outbound = { bindings: registrations, usage: this.#calls.usage };
    const decide = (question: OutboundQuestion): OutboundDecision =>
      routeOutbound(this.#directory.current, question, outbound);
    const transfers = new Transfers({
      calls: this.#calls,
      decide,
      number: (id) => this.#directory.current.numberById(id),
      random: Math.random,
    });
    const originations = new Originations({
      calls: this.#calls,
      pacer,
      decide,
      random: Math.random,
      settings: { ackPatienceMs: ACK_PATIENCE_T1 * (config.sip.timers.t1 ?? DEFAULT_TIMERS.t1) },
    });
    // As the port has it: what an engine leaves out of it shows as absent.
    const engine: Engine = this.#engine;
    const prober = new Prober({
      engine,
      dns,
      clock: sipClock,
      ids,
      random: Math.random,
      families,
      dialling,
      connect: (target, timeoutMs, done) => {
        const fault = closedTo(target, services());
        if (fault === undefined) probeConnection(sipClock, target, timeoutMs, done);
        else queueMicrotask(() => done({ connectMs: null, tls: null, fault }));
      },
    });
    const notices = new NoticeLog(logger, clock, (address) => this.#screen.isKnown(address));
    const gate = new DigestGate({
      clock: sipClock,
      ids,
      realm: REALM,
      algorithms: config.sip.digestAlgorithms,
    });
    this.#gate = gate;
    this.#frontDesk = new FrontDesk({
      screen: this.#screen,
      logins: new Logins({ gate, wrongAnswers: new WrongAnswers(sipClock), directory: this.#directory }),
      calls: this.#calls,
      route: (request, source, proven) =>
        routeInbound(
          this.#directory.current,
          request,
          source,
          Math.random,
          registrations.byToken(request.requestUri.user),
          proven,
        ),
      agents: {
        identify: (request, source, stranger, login) =>
          identifyAgent(this.#directory.current, login, request, source, stranger),
        route: (agent, request) => decide(outboundQuestion(request, agent)),
      },
      isOurContact: (user) => registrations.byToken(user) !== undefined,
      health: () => this.#engine.health(),
      observer: this.#metrics,
      onNotice: (notice) => {
        this.#metrics.engineNotice(notice);
        notices.notice(notice);
        if (notice.kind === 'connection-closed') registrations.connectionClosed(notice.flow);
      },
      log: logger,
    });

    const { apiUrl, trunkingUrl } = config.providers.twilio;
    const providers = new Providers({
      store: knowledge.store,
      box: knowledge.box,
      editor: knowledge.editor,
      numberOn: (trunkId, phoneNumber) => this.#directory.current.number(trunkId, phoneNumber)?.id,
      connectors: [new TwilioConnector({ clock, servers: { api: apiUrl, trunking: trunkingUrl } })],
      ids,
      clock,
    });
    this.#http = new HttpServer({
      host: config.http.host,
      port: config.http.port,
      tls: config.http.tls,
      requestsPerSecond: config.http.requestsPerSecond,
      redis: this.#redis?.connection,
      version,
      token,
      log: logger,
      ports: {
        clock,
        events: { types: EVENT_TYPES, follow: (after, listener) => events.follow(after, listener) },
        readiness: () => [
          { name: 'sip', ok: this.#engine.health().ready, detail: this.#engine.health().detail },
          // Calls do not depend on it: what is known stays in force, and edits are refused.
          { name: 'store', ok: true, detail: knowledge.health().detail },
          // Nor do inbound calls depend on this one, so it never makes the node unready; the detail says how it is.
          { name: 'pacing', ok: true, detail: pacer.health().detail },
          {
            name: 'open',
            ok: !this.#draining,
            detail: this.#draining
              ? `draining, ${this.#calls.activeCount} calls in progress`
              : 'new calls are taken',
          },
        ],
        metrics: this.#metrics,
        calls: {
          list: () => this.#calls.list(),
          get: (id) => this.#calls.get(id),
          hangUp: (id) => this.#calls.hangUp(id),
          place: (order) => originations.place(order),
          transfer: (id, order) => transfers.transfer(id, order),
        },
        pacing: pacer,
        directory: this.#directory,
        editor: knowledge.editor,
        webhooks: this.#telling.webhooks,
        providers,
        meta: (kind, id) => knowledge.live.meta(kind, id),
        objects: knowledge.store,
        memory: knowledge.store.memory,
        tokens: knowledge.tokens,
        registrations,
        targets: (organizationId) => targetViews(this.#registering.ways(), organizationId),
        presence: this.#registering.presence,
        trace,
        probe: (trunk) => prober.probe(trunk),
        explainInbound: (question) => explainInbound(this.#directory.current, question, Math.random),
        explainOutbound: (question) => explainOutbound(this.#directory.current, question, outbound),
      },
    });
  }

  /** Binds SIP and HTTP, or neither: rejects with an Error that names the listener and what to mend. */
  async start(): Promise<void> {
    await this.#redis?.start();
    await this.#engine.start(this.#frontDesk);
    let url: string;
    try {
      await this.#telling.start();
      url = await this.#http.start();
    } catch (error) {
      await this.#engine.stop(0);
      throw error;
    }
    await this.#pacing.start();
    const { logger } = this.#log;
    const { trunkCount, numberCount, agentCount } = this.#directory.current;
    for (const { transport, host, port, sentBy } of this.#engine.listeners) {
      const bound = hostPort(host, port);
      const announced = sentBy === undefined || sentBy === bound ? '' : `, announced as ${sentBy}`;
      logger.info({}, `SIP listens on ${transport} ${bound}${announced}`);
    }
    logger.info({}, `HTTP listens on ${url}: /healthz /readyz /metrics /api/v1`);
    logger.info(
      { trunks: trunkCount, numbers: numberCount, agents: agentCount, pid: process.pid },
      'ready for calls',
    );
    this.#warnOfLimits();
    for (const line of firstCall(this.#directory.current, this.#engine.listeners)) logger.info({}, line);
    this.#watchAddresses();
    this.#registering.apply(this.#directory.current);
    this.#directory.onChange((current) => {
      this.#registering.apply(current);
      this.#calls.failWithoutTrunk((id) => current.trunk(id) !== undefined);
      if (this.#pacing.pacer.waitingCount > 0) this.#calls.repace(current);
    });
  }

  /** Takes over what a reload brought. */
  reloaded(result: Reloaded): void {
    const { logger } = this.#log;
    switch (result.kind) {
      case 'unchanged':
        return;
      case 'faults':
        this.#metrics.configReloaded('refused');
        for (const fault of result.faults) logger.error({ ...fault }, 'the configuration is faulty');
        logger.error(
          { faults: result.faults.length },
          'the configuration was not reloaded: the one in force stays',
        );
        return;
      case 'reloaded': {
        const { config, snapshot, changed, restart } = result;
        this.#metrics.configReloaded('applied');
        this.#registering.configure(config);
        this.#knowledge.live.configure(configPart(config, snapshot));
        this.#calls.configure(callSettings(config));
        this.#screen.configure(screenSettings(config));
        this.#gate.algorithms = config.sip.digestAlgorithms;
        this.#recorder.logCalls = config.log.calls;
        this.#log.setLevel(config.log.level);
        // With what the store has, as at the start.
        const { trunkCount: trunks, numberCount: numbers, agentCount: agents } = this.#directory.current;
        logger.info({ trunks, numbers, agents, changed }, 'the configuration was reloaded');
        this.#warnOfLimits();
        if (restart.length > 0) logger.warn({ settings: restart }, 'these changes wait for a restart');
      }
    }
  }

  #warnOfLimits(): void {
    const { current } = this.#directory;
    for (const warning of cpsWarnings(current.cpsLines())) this.#log.logger.warn({}, warning);
  }

  /** What SIGHUP asks for besides a reload: files that others replaced are opened anew. */
  reopen(): void {
    this.#cdr?.reopen();
    this.#knowledge.rereadKeys();
    this.#engine.reloadCertificates();
    this.#http.reloadCertificate();
  }

  /**
   * Refuses new calls and waits for those in progress, at most `deadlineMs`; then ends them and closes everything.
   * Resolves when that is done. `stopNow` cuts it short.
   */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#draining) return this.#closing;
    this.#draining = true;
    this.#closing = this.#drainAndClose(deadlineMs);
    return this.#closing;
  }

  /** Ends calls in progress at once and closes everything. */
  stopNow(): void {
    if (this.#calls.activeCount > 0) {
      this.#log.logger.warn(
        { calls: this.#calls.activeCount },
        'stopping at once: calls in progress are ended',
      );
    }
    this.#calls.endAll('the gateway was stopped');
    this.#registering.abandon();
  }

  /** Writes what is gathered; for a process that dies of a failure. */
  flushSync(): void {
    this.#cdr?.flushSync();
    this.#log.flushSync();
  }

  async #drainAndClose(deadlineMs: number): Promise<void> {
    const { logger } = this.#log;
    const calls = this.#calls;
    const hadCalls = calls.activeCount > 0;
    // The room of calls refuses new ones, with reason and record; the engine only once there is none left.
    calls.drain();
    // Providers stop sending calls here while those in progress go on.
    const unregistered = this.#registering.stop();
    logger.info(
      { calls: calls.activeCount, seconds: deadlineMs / 1000 },
      'draining: new calls are refused, those in progress may end',
    );
    const progress = new CallbackTimer(() => {
      const ids = calls.list(SAMPLE_MAX).map(({ id }) => id);
      logger.info({ calls: calls.activeCount, ids: ids.slice(0, calls.activeCount) }, 'draining');
      this.#clock.arm(progress, DRAIN_PROGRESS_MS);
    });
    const deadline = new CallbackTimer(() => {
      logger.warn({ calls: calls.activeCount }, 'the time to drain is over: calls in progress are ended');
      calls.endAll('the time to drain was over');
    });
    this.#clock.arm(progress, DRAIN_PROGRESS_MS);
    this.#clock.arm(deadline, deadlineMs);
    await new Promise<void>((resolve) => calls.onIdle(resolve));
    this.#clock.disarm(progress);
    this.#clock.disarm(deadline);
    await this.#pacing.close();
    await unregistered;
    if (hadCalls) await this.#pause(LAST_WORDS_MS);
    await this.#engine.stop(LAST_WORDS_MS);
    await this.#http.stop();
    await this.#telling.stop();
    await this.#knowledge.close();
    this.#redis?.close();
    await this.#cdr?.close();
    logger.info({}, 'stopped');
  }

  /** DHCP, a VPN or a cloud may give this machine another address while it runs. */
  #watchAddresses(): void {
    const engine: Engine = this.#engine;
    if (engine.refreshAddresses === undefined) return;
    const look = new CallbackTimer(() => {
      if (this.#draining) return;
      if (engine.refreshAddresses?.() === true) {
        const announced = engine.listeners.map(({ id, sentBy }) => `${id} as ${sentBy ?? id}`);
        this.#log.logger.warn(
          { announced },
          'an address of this machine has changed: accounts register anew',
        );
        this.#registering.registrations.addressesChanged();
      }
      this.#clock.arm(look, ADDRESSES_MS);
    });
    this.#clock.arm(look, ADDRESSES_MS);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.arm(new CallbackTimer(resolve), ms));
  }
}
