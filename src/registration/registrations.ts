/**
 * All registrations: keeps them as the directory wants them, drives their machines, and knows which one a Contact of
 * ours belongs to. Targets, credentials, challenges, watches and time lines come together here.
 */
import { authenticatedRequest, type Exchange } from '#auth/authenticated-request.js';
import type { ChallengeMemory, Credentials } from '#auth/challenge-memory.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Engine, RequestOutcome, Target } from '#engine/engine.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { HeaderField } from '#sip/message.js';
import { type Octets, printable } from '#sip/octets.js';
import type { ResolutionFault } from '#targets/locate.js';
import { targetKey as keyOf } from '#targets/resolver.js';
import { type Account, accountsOf, sameCredentials, sameTls } from './accounts.js';
import { type Binding, bindingIn, outcomeOf, serviceRouteIn } from './answer.js';
import { announcedBy, contactOf, contactUriOf } from './contact.js';
import { natAddressOf } from './keep-alive.js';
import { Launcher } from './launcher.js';
import { newMachine, type RegistrationEvent, type RegistrationPolicy, transition } from './machine.js';
import type { RegistrationObserver } from './observer.js';
import type { RegistrarResolver } from './registrar-resolver.js';
import { type Driver, Registration } from './registration.js';
import type { RegistrationState, RegistrationView } from './registration-view.js';
import type { WatchedWay } from './target-view.js';
import type { TimelineEntry } from './timeline.js';
import { resolutionVerdict, type Verdict, verdictOf } from './verdict.js';
import { Ways } from './ways.js';

/** What another request for the same account needs, so that it leaves by the way that is registered. */
export interface RegistrationHolder {
  readonly id: string;
  readonly organizationId: string;
  /** `sip:user@domain`: From. */
  readonly aor: Octets;
  /** User part of our Contact. */
  readonly contactUser: Octets;
  readonly credentials: Credentials | undefined;
  /** What the server has asked so far. */
  readonly memory: ChallengeMemory;
  /** The server that holds the binding, by the same connection. */
  readonly target: Target;
  /** Service-Route (RFC 3608), else the way through the outbound proxy. */
  readonly route: readonly Octets[];
  readonly agentIds: readonly string[];
}

/** Whose registration `bindingOf` is asked for; an agent's own account is also known as the trunk `agent:<id>`. */
type Owner =
  | { readonly trunkId: string; readonly numberId?: string | undefined }
  | { readonly agentId: string };

/** What `bindingOf` answers; the shape is that of `routing/bindings.ts`. */
export type Standing =
  | { readonly kind: 'unregistered' }
  | {
      readonly kind: 'bound';
      readonly binding: Pick<RegistrationHolder, 'aor' | 'contactUser' | 'target' | 'route'> & {
        readonly registrationId: string;
      };
    }
  | { readonly kind: 'unbound' | 'rejected'; readonly registrationId: string; readonly reason: string };

export interface RegistrationSettings extends RegistrationPolicy {
  /** REGISTERs per second to one server. */
  readonly perSecond: number;
}

const DEFAULT_REGISTRATION_SETTINGS: RegistrationSettings = { perSecond: 50, expirySeconds: 600 };

export interface RegistrationsOptions {
  readonly engine: Pick<Engine, 'request' | 'leavesFrom' | 'keepAlive' | 'closeFlow'>;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly resolver: RegistrarResolver;
  readonly observer: RegistrationObserver;
  readonly log: Logger;
  /** A REGISTER goes to this address: what comes from it is no stranger's. */
  readonly dialling?: ((address: string) => void) | undefined;
  readonly settings?: Partial<RegistrationSettings> | undefined;
}

/** Before the token, so that a log or a trace shows what it is. */
const CONTACT_PREFIX = 'reg_';
const TOKEN_BITS = 100;
const TAG_BITS = 60;
/** Of the time that a stop is given, what may go by until the last un-REGISTER is sent. */
const STOP_SHARE = 0.5;

export class Registrations implements Driver {
  readonly #options: RegistrationsOptions;
  readonly #launcher: Launcher;
  #settings: RegistrationSettings;
  readonly #byId = new Map<string, Registration>();
  readonly #byContactUser = new Map<string, Registration>();
  readonly #byNumber = new Map<string, Registration>();
  readonly #byAgent = new Map<string, Registration>();
  /** Trunks with one AOR for all their numbers. */
  readonly #byTrunk = new Map<string, Registration>();
  readonly #ways: Ways;
  #stopping = false;
  #stopped: (() => void) | null = null;

  constructor(options: RegistrationsOptions) {
    this.#options = options;
    this.#settings = { ...DEFAULT_REGISTRATION_SETTINGS, ...options.settings };
    this.#launcher = new Launcher(options.clock, this.#settings.perSecond);
    this.#ways = new Ways(options);
  }

  /** The rate applies at once, the expiry to registrations that come later. */
  configure(settings: Partial<RegistrationSettings>): void {
    this.#settings = { ...DEFAULT_REGISTRATION_SETTINGS, ...settings };
    this.#launcher.setRate(this.#settings.perSecond);
  }

  /** Registers what the directory wants and is not there, un-registers what it no longer wants, leaves the rest alone. */
  apply(snapshot: Snapshot): void {
    if (this.#stopping) return;
    const wanted = accountsOf(snapshot);
    this.#byNumber.clear();
    this.#byAgent.clear();
    this.#byTrunk.clear();
    for (const registration of [...this.#byId.values()]) {
      const account = wanted.get(registration.id);
      if (account === undefined) this.#handle(registration, { kind: 'unwant' });
    }
    for (const account of wanted.values()) {
      const registration = this.#byId.get(account.id);
      if (registration === undefined) this.#add(account);
      else this.#update(registration, account);
    }
  }

  get size(): number {
    return this.#byId.size;
  }

  /** How many are in each state, for metrics. */
  counts(): Map<RegistrationState, number> {
    const counts = new Map<RegistrationState, number>();
    for (const { state } of this.#byId.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
    return counts;
  }

  /** A removed one is there until its binding is. */
  all(): Iterable<Registration> {
    return this.#byId.values();
  }

  list(): RegistrationView[] {
    return Array.from(this.#byId.values(), (registration) => this.view(registration));
  }

  get(id: string): RegistrationView | undefined {
    const registration = this.#byId.get(id);
    return registration === undefined ? undefined : this.view(registration);
  }

  /** The registration that a phone number shares. */
  ofNumber(numberId: string): RegistrationView | undefined {
    const registration = this.#byNumber.get(numberId);
    return registration === undefined ? undefined : this.view(registration);
  }

  /** The registration of an agent's own account. */
  ofAgent(agentId: string): RegistrationView | undefined {
    const registration = this.#byAgent.get(agentId);
    return registration === undefined ? undefined : this.view(registration);
  }

  /** Registers anew as soon as it may be, also after a rejected password; false when there is no such registration. */
  refresh(id: string): boolean {
    const registration = this.#byId.get(id);
    if (registration === undefined || !registration.machine.wanted) return false;
    this.#handle(registration, { kind: 'urge', force: true });
    return true;
  }

  /** The registration that a Request-URI's user part belongs to; undefined for every other user. */
  byToken(user: Octets | undefined): Registration | undefined {
    return user?.startsWith(CONTACT_PREFIX) === true ? this.#byContactUser.get(user) : undefined;
  }

  /** By whom and where a registration is held now; undefined while it is not. */
  holder(id: string): RegistrationHolder | undefined {
    const registration = this.#byId.get(id);
    if (registration === undefined) return undefined;
    const { aor, account, contactUser, live, machine, memory, serviceRoute, agentIds } = registration;
    if (live === null || machine.expiresAt <= this.#options.clock.now()) return undefined;
    return {
      id,
      organizationId: account.organizationId,
      aor,
      contactUser,
      credentials: account.credentials,
      memory,
      target: live,
      route: serviceRoute.length > 0 ? serviceRoute : (account.route ?? NO_ROUTE),
      agentIds,
    };
  }

  /** How a trunk or an agent's own account stands with its registrar: `routing/bindings.ts`, which says what is what. */
  bindingOf(owner: Owner): Standing {
    const registration = this.#of(owner);
    if (registration?.machine.wanted !== true) return UNREGISTERED;
    const { id, lastVerdict, state } = registration;
    const reason = lastVerdict === null ? `registration: ${state}` : lastVerdict.detail;
    if (state === 'auth_rejected') return { kind: 'rejected', registrationId: id, reason };
    const holder = this.holder(id);
    if (holder === undefined) return { kind: 'unbound', registrationId: id, reason };
    const { aor, contactUser, target, route } = holder;
    return { kind: 'bound', binding: { registrationId: id, aor, contactUser, target, route } };
  }

  #of(owner: Owner): Registration | undefined {
    if ('agentId' in owner) return this.#byAgent.get(owner.agentId);
    const { trunkId, numberId } = owner;
    const own = numberId === undefined ? undefined : this.#byNumber.get(numberId);
    return own ?? this.#byTrunk.get(trunkId);
  }

  /** The engine's `connection-closed`. */
  connectionClosed(flow: number): void {
    const watch = this.#ways.closed(flow);
    if (watch === undefined) return;
    const flowMs = this.#options.clock.now() - watch.since;
    for (const member of watch.members) {
      const registration = member as Registration;
      registration.watch = null;
      registration.flow = 0;
      this.#handle(registration, { kind: 'urge', force: false, flowMs });
    }
    for (const waiting of watch.waiting) waiting.urge();
  }

  /** Ways that registrations have taken, or wait to take, for `targetViews`. */
  ways(): Iterable<WatchedWay> {
    return this.#ways.all();
  }

  /** An address that listeners announce may have changed: whose Contact is another one now registers it at once. */
  addressesChanged(): void {
    const { engine } = this.#options;
    const flows = new Set<number>();
    for (const registration of this.#byId.values()) {
      const { live, announced, flow } = registration;
      if (live === null || announced === '' || announced === announcedBy(engine.leavesFrom(live))) continue;
      // The connection has its end where we are no more; its members hear of it by `connection-closed`.
      if (flow !== 0) flows.add(flow);
      registration.urge();
    }
    for (const flow of flows) engine.closeFlow?.(flow, 'our address has changed');
  }

  /** Takes all bindings off; resolves when that is done, or when the time is over. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    const { clock } = this.#options;
    const rate = (this.#byId.size * 1_000) / Math.max(deadlineMs * STOP_SHARE, 1);
    this.#launcher.setRate(Math.max(rate, this.#settings.perSecond));
    return new Promise((resolve) => {
      const late = new CallbackTimer(() => this.#stopped?.());
      this.#stopped = () => {
        this.#stopped = null;
        clock.disarm(late);
        for (const registration of [...this.#byId.values()]) this.#drop(registration);
        resolve();
      };
      clock.arm(late, deadlineMs);
      for (const registration of [...this.#byId.values()]) this.#handle(registration, { kind: 'unwant' });
      if (this.#byId.size === 0) this.#stopped?.();
    });
  }

  /** Cuts a stop short: bindings that are still there expire by themselves. */
  abandon(): void {
    this.#stopped?.();
  }

  // ── What registrations ask ────────────────────────────────────────────────────────────────────────────────────

  due(registration: Registration): void {
    this.#handle(registration, { kind: 'due' });
  }

  turn(registration: Registration): void {
    this.#handle(registration, { kind: 'turn' });
  }

  urge(registration: Registration): void {
    this.#handle(registration, { kind: 'urge', force: false });
  }

  view(registration: Registration): RegistrationView {
    const { account, machine, live, lastVerdict } = registration;
    const { activity } = machine;
    return {
      id: account.id,
      organizationId: account.organizationId,
      aor: account.aor,
      trunkId: account.trunkIds[0] ?? null,
      agentId: account.agentIds[0] ?? null,
      phoneNumbers: account.phoneNumbers,
      state: machine.state,
      registrar: live === null ? null : keyOf(live),
      serviceRoute: registration.serviceRoute.map((route) => printable(route)),
      contact: live === null ? '' : printable(contactUriOf(registration, registration.announced)),
      expiresAt: this.#wallTime(machine.expiresAt),
      nextAttemptAt:
        registration.armed && activity !== 'queued' && activity !== 'sent'
          ? this.#wallTime(registration.nextAt)
          : null,
      lastVerdict,
      timeline: registration.timeline.attempts(),
    };
  }

  // ── Coming and going ──────────────────────────────────────────────────────────────────────────────────────────

  #add(account: Account): void {
    const { ids } = this.#options;
    const registration = new Registration(
      this,
      account,
      // RFC 5626 wants a flow that stays; datagrams have none to speak of.
      newMachine(this.#settings, account.transport !== 'udp'),
      {
        contactUser: CONTACT_PREFIX + ids.token(TOKEN_BITS),
        callId: ids.token(TOKEN_BITS),
        fromTag: ids.token(TAG_BITS),
      },
    );
    this.#byId.set(account.id, registration);
    this.#byContactUser.set(registration.contactUser, registration);
    this.#index(registration);
    this.#handle(registration, { kind: 'want' });
  }

  #update(registration: Registration, account: Account): void {
    const before = registration.account;
    const secured = sameTls(before.tls, account.tls);
    const changed = !secured || !sameCredentials(before.credentials, account.credentials);
    registration.account = account;
    this.#index(registration);
    if (changed) registration.memory.forget();
    if (!secured) {
      // The old connection was opened by other rules (RFC 5923 §5).
      this.#ways.leave(registration);
      registration.live = null;
      registration.flow = 0;
    }
    if (!registration.machine.wanted) this.#handle(registration, { kind: 'want' });
    else if (changed) this.#handle(registration, { kind: 'urge', force: true });
  }

  #index(registration: Registration): void {
    for (const id of registration.account.numberIds) this.#byNumber.set(id, registration);
    for (const id of registration.account.agentIds) this.#byAgent.set(id, registration);
    for (const id of registration.account.sharedBy) this.#byTrunk.set(id, registration);
  }

  #drop(registration: Registration): void {
    this.#options.clock.disarm(registration);
    this.#ways.leave(registration);
    if (this.#byId.get(registration.id) === registration) this.#byId.delete(registration.id);
    this.#byContactUser.delete(registration.contactUser);
    this.#options.observer.registrationRemoved?.(registration);
    if (this.#stopping && this.#byId.size === 0) this.#stopped?.();
  }

  // ── The machine's driver ──────────────────────────────────────────────────────────────────────────────────────

  #handle(registration: Registration, event: RegistrationEvent): void {
    const { clock, random, observer } = this.#options;
    const before = registration.machine;
    const now = clock.now();
    const { machine, action } = transition(before, event, { now, random: random() });
    registration.machine = machine;
    if (machine.state !== before.state) observer.registrationChanged?.(registration, before.state);
    switch (action?.kind) {
      case 'arm':
        registration.nextAt = now + action.delayMs;
        clock.arm(registration, action.delayMs);
        break;
      case 'queue':
        clock.disarm(registration);
        this.#launcher.queue(registration);
        break;
      case 'send':
        this.#send(registration, action.expirySeconds, action.nextTarget);
        break;
      case 'drop':
        this.#drop(registration);
    }
  }

  #send(registration: Registration, expirySeconds: number, nextTarget: boolean): void {
    const { targets, targetIndex, account } = registration;
    const next = nextTarget ? targets[targetIndex + 1] : undefined;
    if (next !== undefined) {
      registration.targetIndex++;
      this.#sendTo(registration, next, expirySeconds);
      return;
    }
    const startedAt = this.#options.clock.now();
    this.#options.resolver.resolve(
      account.destination,
      (result) => {
        if ('kind' in result) this.#unresolved(registration, result, startedAt);
        else {
          registration.targets = this.#stickyFirst(registration, result);
          registration.targetIndex = 0;
          this.#sendTo(registration, registration.targets[0]!, expirySeconds);
        }
      },
      { transport: account.transport, tls: account.tls },
    );
  }

  /** The target that holds our binding goes before the order that the DNS gives, while it is well. */
  #stickyFirst({ live }: Registration, targets: readonly Target[]): readonly Target[] {
    if (live === null || targets.length < 2) return targets;
    const key = keyOf(live);
    const own = targets.find((target) => keyOf(target) === key);
    if (own === undefined || own === targets[0] || this.#options.resolver.isQuarantined(own)) return targets;
    return [own, ...targets.filter((target) => target !== own)];
  }

  #sendTo(registration: Registration, target: Target, expirySeconds: number): void {
    const { engine, ids, clock, dialling } = this.#options;
    const { account, machine, live, flow } = registration;
    const known: Target = {
      ...target,
      flow: flow !== 0 && live !== null && keyOf(live) === keyOf(target) ? flow : undefined,
    };
    // What the Contact announces must be where the request leaves from.
    const listener = engine.leavesFrom(known);
    const way: Target = { ...known, listenerId: listener?.id };
    const announced = announcedBy(listener);
    const startedAt = clock.now();
    dialling?.(target.address);
    authenticatedRequest(
      { engine, ids },
      {
        method: 'REGISTER',
        uri: account.registrar,
        target: way,
        from: `<${account.aor}>`,
        to: `<${account.aor}>`,
        contact: contactOf(registration, announced, expirySeconds),
        callId: registration.callId,
        fromTag: registration.fromTag,
        cseq: registration.cseq,
        route: account.route,
        headers: machine.outbound ? headersOf(expirySeconds, OUTBOUND) : headersOf(expirySeconds, PLAIN),
      },
      account.credentials,
      registration.memory,
      (outcome, exchange) =>
        this.#answered(registration, way, expirySeconds, announced, startedAt, outcome, exchange),
    );
  }

  // ── Answers ───────────────────────────────────────────────────────────────────────────────────────────────────

  #unresolved(registration: Registration, fault: ResolutionFault, startedAt: number): void {
    const verdict = resolutionVerdict(fault);
    this.#note(registration, verdict, startedAt, { target: '', fault: fault.kind });
    this.#handle(registration, {
      kind: 'outcome',
      outcome: { kind: 'unavailable', more: false, retryAfterMs: undefined },
      sent: 0,
    });
  }

  #answered(
    registration: Registration,
    target: Target,
    askedSeconds: number,
    announced: Octets,
    startedAt: number,
    outcome: RequestOutcome,
    exchange: Exchange,
  ): void {
    registration.cseq = exchange.cseq + 1;
    // The rate is one of REGISTERs: the answer to a challenge counts.
    this.#launcher.charge(registration.lane, exchange.sent - 1);
    // A stop that has run out of time does not wait for it.
    if (this.#byId.get(registration.id) !== registration) return;
    const response = outcome.kind === 'response' ? outcome.response : undefined;
    const registered = response !== undefined && response.status < 300;
    const binding = registered ? bindingIn(response, registration.contactUser, askedSeconds) : null;
    const verdict = verdictFor(registration, outcome, exchange, binding, askedSeconds);
    const nat = response === undefined ? '' : natAddressOf(response.topVia);
    this.#note(registration, verdict, startedAt, {
      target: keyOf(target),
      fault: outcome.kind === 'fault' ? outcome.fault.kind : null,
      realm: exchange.challenge === undefined ? undefined : printable(exchange.challenge.realm, 128),
      algorithm:
        exchange.challenge === undefined
          ? undefined
          : printable(exchange.challenge.algorithmName ?? 'MD5', 32),
      grantedExpirySeconds: askedSeconds === 0 ? undefined : binding?.grantedSeconds,
      foreignBindings: binding?.foreign,
      natAddress: nat === '' ? undefined : printable(nat, 64),
    });
    if (outcome.kind === 'response') this.#ways.reached(target, outcome.source.flow);
    else if (this.#ways.flowIsDead(target, outcome)) {
      registration.flow = 0;
      registration.targets = NO_TARGETS;
      this.#ways.leave(registration);
      this.#handle(registration, { kind: 'outcome', outcome: { kind: 'flow-dead' }, sent: exchange.sent });
      return;
    }
    const more = registration.targetIndex + 1 < registration.targets.length;
    const result = outcomeOf(outcome, exchange, verdict.code, binding, more);
    if (result.kind === 'registered' && response !== undefined && outcome.kind === 'response') {
      registration.live = target;
      registration.flow = outcome.source.flow;
      registration.serviceRoute = serviceRouteIn(response);
      registration.targets = NO_TARGETS;
      registration.announced = askedSeconds > 0 ? announced : '';
      if (askedSeconds > 0) {
        this.#ways.join(registration, target, outcome.source.flow);
        // Others who share this way have not told the server of the new address yet. A stream's never changes.
        if (outcome.source.flow === 0) registration.watch?.seenAs(nat, registration);
      }
    } else {
      if (outcome.kind === 'fault') this.#ways.missed(registration, target, outcome, more);
      else this.#ways.leave(registration);
      if (!more || result.kind !== 'unavailable') registration.targets = NO_TARGETS;
    }
    this.#handle(registration, { kind: 'outcome', outcome: result, sent: exchange.sent });
  }

  #note(
    registration: Registration,
    verdict: Verdict,
    startedAt: number,
    facts: Pick<TimelineEntry, 'target' | 'fault'> & Partial<TimelineEntry>,
  ): void {
    const { clock, observer, log } = this.#options;
    const latencyMs = Math.round(clock.now() - startedAt);
    const before = registration.lastVerdict;
    registration.lastVerdict = verdict;
    const entry: TimelineEntry = {
      ...facts,
      atMs: clock.wallNow() - latencyMs,
      latencyMs,
      status: verdict.status ?? null,
      verdict: verdict.code,
      detail: verdict.detail,
    };
    registration.timeline.add(entry);
    // A line when something changed: a registrar that is down for a day is one line, not a thousand.
    if (before?.code !== verdict.code) {
      const fields = {
        id: registration.id,
        aor: registration.aor,
        verdict: verdict.code,
        target: facts.target,
      };
      if (verdict.code === 'ok') log.info(fields, 'registered');
      else log.warn({ ...fields, detail: verdict.detail }, 'registration');
    }
    if (observer.registrationAttempted !== undefined) {
      const { atMs, ...rest } = entry;
      observer.registrationAttempted(registration, { ...rest, at: new Date(atMs).toISOString() });
    }
  }

  /** The clock's time as ISO 8601; null for a time that has passed. */
  #wallTime(at: number): string | null {
    const { clock } = this.#options;
    const left = at - clock.now();
    return left <= 0 ? null : new Date(clock.wallNow() + left).toISOString();
  }
}

/** What `verdictOf` cannot see: a 200 that grants nothing, a challenge from elsewhere. */
function verdictFor(
  { account }: Registration,
  outcome: RequestOutcome,
  exchange: Exchange,
  binding: Binding | null,
  askedSeconds: number,
): Verdict {
  const verdict = verdictOf(outcome, {
    stage: exchange.authenticated ? 'register-authenticated' : 'register',
    challengeRealm: exchange.challenge?.realm,
    expectedRealm: account.expectedRealm,
    algorithmUnsupported: exchange.algorithmUnsupported,
  });
  if (exchange.foreignChallenge) {
    const detail = 'a challenge came from another address than was asked; it is not answered';
    return { ...verdict, code: 'server_error', detail };
  }
  if (askedSeconds > 0 && binding !== null && binding.grantedSeconds <= 0) {
    return { ...verdict, code: 'server_error', detail: 'the server answered 200 and granted no time' };
  }
  return verdict;
}

const UNREGISTERED: Standing = { kind: 'unregistered' };
const NO_ROUTE: readonly Octets[] = [];
const NO_TARGETS: readonly Target[] = [];

/** §10.2: "Path" (RFC 3327) lets proxies between us and the registrar stay on the way of calls. */
const PLAIN: HeaderField = { name: 'Supported', value: 'path' };
const OUTBOUND: HeaderField = { name: 'Supported', value: 'path, outbound' };

function headersOf(expirySeconds: number, supported: HeaderField): readonly HeaderField[] {
  return [{ name: 'Expires', value: String(expirySeconds) }, supported];
}
