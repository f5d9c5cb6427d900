/**
 * Presence of registered accounts (the agent's `subscribe`): after an account has registered, its dialogs (RFC 4235)
 * and its presence (RFC 3856) are subscribed to at the server that it registered with.
 */
import type { Logger } from '#lib/logger.js';
import { type Octets, printable } from '#sip/octets.js';
import { DialogTable } from './dialog-info.js';
import {
  Follower,
  type FollowerPorts,
  type FollowerUser,
  type Package,
  type Taken,
  type WatchedAccount,
} from './follower.js';
import { parsePidf } from './pidf.js';
import type { PresenceTuple, PresenceView, SubscriptionState } from './presence-view.js';

/** Whose presence it is. */
export interface PresenceSubject {
  readonly organizationId: string;
  /** Printable. */
  readonly aor: string;
}

/** What this room tells about subscriptions; quick, not throwing. */
export interface PresenceObserver {
  /** What is known of an account has changed. */
  presenceChanged?(subject: PresenceSubject, presence: PresenceView): void;
  /** A NOTIFY could be read, or was answered with an error. */
  notifyTaken?(outcome: 'taken' | 'refused'): void;
}

export interface PresenceOptions extends FollowerPorts {
  /** The account of a registration that is to be watched; undefined: not watched, or not registered. */
  readonly accountOf: (registrationId: string) => WatchedAccount | undefined;
  readonly observer: PresenceObserver;
  readonly log: Logger;
}

const PACKAGES: readonly Package[] = ['dialog', 'presence'];

export class Presence {
  readonly #options: PresenceOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** A registration has come to be `registered` again; `anew`: it was not before. */
  registered(id: string, anew: boolean): void {
    const account = this.#options.accountOf(id);
    if (account === undefined) {
      this.gone(id);
      return;
    }
    let watched = this.#watched.get(id);
    if (watched === undefined) {
      watched = new Watched(this.#options, account);
      this.#watched.set(id, watched);
    }
    watched.begin(account, anew);
  }

  /** The registration is being removed, or no longer to be watched. */
  gone(id: string): void {
    this.#watched.get(id)?.end();
    this.#watched.delete(id);
  }

  /** Takes every subscription off, without waiting for the answers. */
  stop(): void {
    for (const id of [...this.#watched.keys()]) this.gone(id);
  }

  ofRegistration(id: string): PresenceView | undefined {
    return this.#watched.get(id)?.view();
  }

  /** How many subscriptions are in each state, for metrics. */
  counts(): Map<SubscriptionState, number> {
    const counts = new Map<SubscriptionState, number>();
    for (const { followers } of this.#watched.values()) {
      for (const { state } of followers) counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return counts;
  }
}

/** One account with its subscriptions and what they have told. */
class Watched implements FollowerUser {
  readonly followers: readonly Follower[];
  readonly #options: PresenceOptions;
  readonly #id: string;
  readonly #organizationId: string;
  readonly #aor: string;
  readonly #dialogs = new DialogTable();
  #tuples: readonly PresenceTuple[] | null = null;
  /** ISO 8601. */
  #updatedAt: string | null = null;

  constructor(options: PresenceOptions, account: WatchedAccount) {
    this.#options = options;
    this.#id = account.id;
    this.#organizationId = account.organizationId;
    this.#aor = printable(account.aor);
    this.followers = PACKAGES.map((kind) => new Follower(kind, options, account, this));
  }

  begin(account: WatchedAccount, registeredAnew: boolean): void {
    for (const follower of this.followers) follower.begin(account, registeredAnew);
  }

  end(): void {
    for (const follower of this.followers) follower.end();
  }

  onBegun(kind: Package): void {
    if (kind === 'dialog') this.#dialogs.restart();
  }

  onRefused(kind: Package): void {
    this.#options.observer.notifyTaken?.('refused');
    this.#options.log.debug({ aor: this.#aor, package: kind }, 'a NOTIFY was refused');
  }

  onBody(kind: Package, body: Octets): Taken {
    const taken = kind === 'dialog' ? this.#takeDialogs(body) : this.#takeTuples(body);
    if (taken === 'unreadable') return taken;
    const { observer, clock } = this.#options;
    observer.notifyTaken?.('taken');
    this.#updatedAt = new Date(clock.wallNow()).toISOString();
    observer.presenceChanged?.({ organizationId: this.#organizationId, aor: this.#aor }, this.view());
    return taken;
  }

  view(): PresenceView {
    const dialogs = this.#dialogs.list();
    const tuples = this.#tuples ?? [];
    return {
      registrationId: this.#id,
      busy: this.#dialogs.known ? dialogs.length > 0 : null,
      available: this.#tuples === null ? null : tuples.some(({ basic }) => basic === 'open'),
      dialogs,
      tuples,
      updatedAt: this.#updatedAt,
      subscriptions: this.followers.map((follower) => follower.view()),
    };
  }

  #takeDialogs(body: Octets): Taken {
    const applied = this.#dialogs.apply(body);
    if (typeof applied === 'object') return this.#unreadable('dialog', applied.fault);
    return applied === 'gap' ? 'refresh' : 'taken';
  }

  #takeTuples(body: Octets): Taken {
    const tuples = parsePidf(body);
    if (typeof tuples === 'string') return this.#unreadable('presence', tuples);
    this.#tuples = tuples;
    return 'taken';
  }

  #unreadable(kind: Package, fault: string): Taken {
    this.#options.log.warn({ aor: this.#aor, package: kind }, `the body of a NOTIFY ${fault}`);
    return 'unreadable';
  }
}
