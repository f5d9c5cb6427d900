/**
 * A composition root: accounts at registrars, the presence that follows them, and the health of trunks without one.
 * `app.ts` builds the gateway with it.
 */
import type { Config } from '#config/schema.js';
import type { Directory } from '#directory/directory.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Engine } from '#engine/engine.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { RegistrationRecorder } from '#observe/registration-recorder.js';
import type { LiveRegistration } from '#registration/observer.js';
import type { WatchedAccount } from '#registration/presence/follower.js';
import { Presence } from '#registration/presence/presence.js';
import type { RegistrationState } from '#registration/registration-view.js';
import { Registrations } from '#registration/registrations.js';
import type { WatchedWay } from '#registration/target-view.js';
import { TrunkHealth } from '#registration/trunk-health.js';
import { DEFAULT_TIMERS } from '#sip/timers.js';
import type { Resolver } from '#targets/resolver.js';
import { registrationSettings } from './settings.js';

export interface RegisteringOptions {
  readonly config: Config;
  readonly engine: Engine;
  readonly clock: Clock;
  /** Of SIP's timers. */
  readonly sipClock: Clock;
  readonly ids: Ids;
  readonly resolver: Resolver;
  readonly directory: Pick<Directory, 'current'>;
  readonly recorder: RegistrationRecorder;
  /** A request goes to this address: what comes from it is no stranger's. */
  readonly dialling: (address: string) => void;
  readonly log: Logger;
}

/** What registrars get to take our bindings off. */
const UNREGISTER_MS = 5_000;

export class Registering {
  readonly registrations: Registrations;
  readonly presence: Presence;
  readonly #trunkHealth: TrunkHealth;
  readonly #directory: Pick<Directory, 'current'>;

  constructor(options: RegisteringOptions) {
    const { config, engine, clock, sipClock, ids, resolver, directory, recorder, dialling, log } = options;
    this.#directory = directory;
    this.presence = new Presence({
      engine,
      clock: sipClock,
      ids,
      random: Math.random,
      accountOf: (id) => this.#watchedAccount(id),
      dialling,
      notifyWithinMs: 64 * (config.sip.timers.t1 ?? DEFAULT_TIMERS.t1),
      observer: recorder,
      log,
    });
    this.registrations = new Registrations({
      engine,
      clock,
      ids,
      random: Math.random,
      resolver,
      observer: {
        registrationChanged: (registration, previous) => {
          recorder.registrationChanged(registration, previous);
          this.#attend(registration, previous);
        },
        registrationAttempted: (registration, attempt) =>
          recorder.registrationAttempted(registration, attempt),
        registrationRemoved: (registration) => {
          recorder.registrationRemoved(registration);
          this.presence.gone(registration.id);
        },
      },
      log,
      dialling,
      settings: registrationSettings(config),
    });
    this.#trunkHealth = new TrunkHealth({ engine, clock, random: Math.random, resolver, dialling });
  }

  configure(config: Config): void {
    this.registrations.configure(registrationSettings(config));
  }

  /** Registers, watches and pings what the directory wants, and lets go of what it no longer does. */
  apply(current: Snapshot): void {
    this.registrations.apply(current);
    this.#trunkHealth.apply(current);
    this.#attendAll(current);
  }

  /** Servers that are watched, for whatever reason. */
  *ways(): Iterable<WatchedWay> {
    yield* this.registrations.ways();
    yield* this.#trunkHealth.ways();
  }

  /** Resolves when all bindings are taken off, or when registrars have had their time for it. */
  stop(): Promise<void> {
    this.presence.stop();
    this.#trunkHealth.stop();
    return this.registrations.stop(UNREGISTER_MS);
  }

  /** Cuts a stop short: bindings that are still there expire by themselves. */
  abandon(): void {
    this.registrations.abandon();
  }

  /** Presence follows registration: it begins once an account has registered, and ends with it. */
  #attend({ id, state }: LiveRegistration, previous: RegistrationState): void {
    if (state === 'registered') this.presence.registered(id, previous !== 'refreshing');
    else if (state === 'unregistering' || state === 'unregistered') this.presence.gone(id);
  }

  /** After a change of the directory: whoever is to be watched from now on, or no longer. */
  #attendAll(current: Snapshot): void {
    for (const agent of current.agents()) {
      if (agent.sipRegistration === undefined) continue;
      const view = this.registrations.ofAgent(agent.id);
      if (view?.state === 'registered') this.presence.registered(view.id, false);
    }
  }

  #watchedAccount(id: string): WatchedAccount | undefined {
    const holder = this.registrations.holder(id);
    const { current } = this.#directory;
    const watched = holder?.agentIds.some(
      (agentId) => current.agent(agentId)?.sipRegistration?.subscribe === true,
    );
    return watched === true ? holder : undefined;
  }
}
