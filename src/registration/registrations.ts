/**
 * All registrations: keeps them as the directory wants them, drives their machines, and knows which one a Contact of
 * ours belongs to. What a machine wants sent, `attempts.ts` sends.
 */
import type { ChallengeMemory, Credentials } from '#auth/challenge-memory.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Engine, Target } from '#engine/engine.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { type Octets, printable } from '#sip/octets.js';
import { targetKey as keyOf } from '#targets/resolver.js';
import { type Account, accountsOf, sameCredentials, sameTls } from './accounts.js';
import { Attempts } from './attempts.js';
import { announcedBy, contactUriOf } from './contact.js';
import { Launcher } from './launcher.js';
import { newMachine, type RegistrationEvent, type RegistrationPolicy, transition } from './machine.js';
import type { RegistrationObserver } from './observer.js';
import type { RegistrarResolver } from './registrar-resolver.js';
import { type Driver, Registration } from './registration.js';
import type { RegistrationState, RegistrationView } from './registration-view.js';
import type { WatchedWay } from './target-view.js';
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
  readonly #attempts: Attempts;
  #stopping = false;
  #stopped: (() => void) | null = null;

  constructor(options: RegistrationsOptions) {
    this.#options = options;
    this.#settings = { ...DEFAULT_REGISTRATION_SETTINGS, ...options.settings };
    this.#launcher = new Launcher(options.clock, this.#settings.perSecond);
    this.#ways = new Ways(options);
    this.#attempts = new Attempts({
      ...options,
      ways: this.#ways,
      sent: ({ lane }, requests) => this.#launcher.charge(lane, requests),
      // A stop that has run out of time does not wait for answers.
      isKept: (registration) => this.#byId.get(registration.id) === registration,
      settled: (registration, outcome, sent) =>
        this.#handle(registration, { kind: 'outcome', outcome, sent }),
    });
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
      callId: registration.callId,
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
        this.#attempts.begin(registration, action.expirySeconds, action.nextTarget);
        break;
      case 'drop':
        this.#drop(registration);
    }
  }

  /** The clock's time as ISO 8601; null for a time that has passed. */
  #wallTime(at: number): string | null {
    const { clock } = this.#options;
    const left = at - clock.now();
    return left <= 0 ? null : new Date(clock.wallNow() + left).toISOString();
  }
}

const UNREGISTERED: Standing = { kind: 'unregistered' };
const NO_ROUTE: readonly Octets[] = [];
