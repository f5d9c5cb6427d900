/**
 * One AOR at its registrar: what is kept about it from REGISTER to REGISTER. `machine.ts` says what to do next,
 * `registrations.ts` sees that it is done, `attempts.ts` sends. There may be 20,000 of these, so it holds little.
 */

import { ChallengeMemory } from '#auth/challenge-memory.js';
import type { Target } from '#engine/engine.js';
import { Timer } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import type { Account } from './accounts.js';
import type { Traveller, Watch } from './keep-alive.js';
import type { Waiter } from './launcher.js';
import type { Machine } from './machine.js';
import type { LiveRegistration } from './observer.js';
import type { RegistrationState, RegistrationView } from './registration-view.js';
import { Timeline } from './timeline.js';
import type { Verdict } from './verdict.js';

/** What a registration asks of who drives it. */
export interface Driver {
  due(registration: Registration): void;
  turn(registration: Registration): void;
  urge(registration: Registration): void;
  view(registration: Registration): RegistrationView;
}

export interface RegistrationNames {
  /** User part of the Contact: nobody can guess it, and only this registration has it. */
  readonly contactUser: string;
  readonly callId: string;
  readonly fromTag: string;
}

const NO_ROUTE: readonly Octets[] = [];

export class Registration extends Timer implements LiveRegistration, Traveller, Waiter {
  account: Account;
  machine: Machine;
  readonly contactUser: string;
  /** §10.2: "All registrations from a UAC SHOULD use the same Call-ID header field value". */
  readonly callId: string;
  readonly fromTag: string;
  readonly memory = new ChallengeMemory();
  readonly timeline = new Timeline();
  /** §10.2: "A UA MUST increment the CSeq value by one for each REGISTER request with the same Call-ID." */
  cseq = 1;
  /** Of this round, in the order to try them. */
  targets: readonly Target[] = [];
  targetIndex = 0;
  /** The target that registered us last: it is asked first. */
  live: Target | null = null;
  /** Its connection; 0 for UDP. */
  flow = 0;
  watch: Watch | null = null;
  serviceRoute: readonly Octets[] = NO_ROUTE;
  /** `host:port` in the Contact that is bound; '' when there is none. */
  announced: Octets = '';
  lastVerdict: Verdict | null = null;
  /** On the clock: what the timer is set for; meaningful while it is armed. */
  nextAt = 0;
  readonly #driver: Driver;

  constructor(driver: Driver, account: Account, machine: Machine, names: RegistrationNames) {
    super();
    this.#driver = driver;
    this.account = account;
    this.machine = machine;
    this.contactUser = names.contactUser;
    this.callId = names.callId;
    this.fromTag = names.fromTag;
  }

  get id(): string {
    return this.account.id;
  }

  get organizationId(): string {
    return this.account.organizationId;
  }

  get aor(): Octets {
    return this.account.aor;
  }

  get state(): RegistrationState {
    return this.machine.state;
  }

  get lane(): string {
    return this.account.lane;
  }

  get registrar(): Octets {
    return this.account.registrar;
  }

  get ping(): Account['ping'] {
    return this.account.ping;
  }

  get trunkIds(): readonly string[] {
    return this.account.trunkIds;
  }

  get numberIds(): readonly string[] {
    return this.account.numberIds;
  }

  get agentIds(): readonly string[] {
    return this.account.agentIds;
  }

  override fire(): void {
    this.#driver.due(this);
  }

  turn(): void {
    this.#driver.turn(this);
  }

  urge(): void {
    this.#driver.urge(this);
  }

  view(): RegistrationView {
    return this.#driver.view(this);
  }
}
