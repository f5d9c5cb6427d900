/**
 * One subscription (RFC 6665) of one registered account: begun after registering, refreshed before it ends, begun anew
 * when the server has forgotten it. It never sends more than one SUBSCRIBE in five seconds, whatever the server says.
 */

import { authenticatedRequest } from '#auth/authenticated-request.js';
import { ChallengeMemory, type Credentials } from '#auth/challenge-memory.js';
import type { Engine, IncomingRequest, RequestOutcome, Subscription, Target } from '#engine/engine.js';
import { CallbackTimer, type Clock, Timer } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { parseParams } from '#sip/lists.js';
import type { SipResponse } from '#sip/message.js';
import { type Octets, printable } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { sameCredentials } from '../accounts.js';
import type { SubscriptionState, SubscriptionView } from './presence-view.js';

/** The account that is watched: its own AOR, at the server where it is registered. */
export interface WatchedAccount {
  /** Of the registration. */
  readonly id: string;
  readonly organizationId: string;
  /** `sip:user@domain`. */
  readonly aor: Octets;
  readonly target: Target;
  /** User part of our Contact. */
  readonly contactUser: Octets;
  /** Service-Route of the registrar, or the way through the outbound proxy (RFC 3608 §5). */
  readonly route?: readonly Octets[] | undefined;
  readonly credentials: Credentials | undefined;
}

export interface FollowerPorts {
  readonly engine: Pick<Engine, 'subscribe'>;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** A SUBSCRIBE goes to this address: what comes from it is no stranger's. */
  readonly dialling?: ((address: string) => void) | undefined;
  /** Timer N (RFC 6665 §4.1.2.4): the NOTIFY must come so soon after the 2xx; milliseconds. Default 32,000 (64·T1). */
  readonly notifyWithinMs?: number | undefined;
}

export type Package = SubscriptionView['package'];

/** What a body was good for; `refresh`: what is known has a hole, ask for everything. */
export type Taken = 'taken' | 'refresh' | 'unreadable';

export interface FollowerUser {
  /** A body of the package's type; '' says nothing about the account. */
  onBody(kind: Package, body: Octets): Taken;
  /** A dialog has begun whose reports count from the beginning. */
  onBegun(kind: Package): void;
  onRefused(kind: Package): void;
}

const TYPES: Readonly<Record<Package, string>> = {
  dialog: 'application/dialog-info+xml',
  presence: 'application/pidf+xml',
};

const NOTIFY_WITHIN_MS = 32_000;
const EXPIRY_SECONDS = 3_600;
const EXPIRY_MAX_SECONDS = 86_400;
/** Between two SUBSCRIBEs. */
const PAUSE_MS = 5_000;
const RETRY_FIRST_MS = 30_000;
const RETRY_LAST_MS = 1_800_000;
/** 423s in a row that are obeyed. */
const BRIEFS_MAX = 3;

/** RFC 6665 §4.1.3: with these reasons "the client SHOULD NOT attempt to re-subscribe". */
const FINAL_REASONS: ReadonlySet<string> = new Set(['rejected', 'noresource', 'invariant']);
/** Answers that waiting does not change; the next registration asks again. */
const FINAL_STATUSES: ReadonlySet<number> = new Set([401, 403, 404, 405, 406, 407, 415, 420, 489, 501, 604]);

export class Follower extends Timer {
  readonly package: Package;
  readonly #ports: FollowerPorts;
  readonly #user: FollowerUser;
  readonly #memory = new ChallengeMemory();
  #account: WatchedAccount;
  #subscription: Subscription | null = null;
  #state: SubscriptionState = 'pending';
  #detail = '';
  #notifies = 0;
  #askSeconds = EXPIRY_SECONDS;
  #failures = 0;
  #briefs = 0;
  /** Reports missed in a row. */
  #gaps = 0;
  #sending = false;
  /** A NOTIFY has come since the last SUBSCRIBE. */
  #heard = false;
  readonly #timerN = new CallbackTimer(() => this.#unheard());
  /** On the clock: when it ends; 0 when it is not active. */
  #expiresAt = 0;
  /** On the clock: what the timer is set for. */
  #dueAt = 0;
  #lastSentAt = Number.NEGATIVE_INFINITY;
  #over = false;

  constructor(kind: Package, ports: FollowerPorts, account: WatchedAccount, user: FollowerUser) {
    super();
    this.package = kind;
    this.#ports = ports;
    this.#account = account;
    this.#user = user;
  }

  get state(): SubscriptionState {
    return this.#state;
  }

  /**
   * Subscribes at once, and again where the way there is another one.
   * @param registeredAnew what failed before is tried again, too
   */
  begin(account: WatchedAccount, registeredAnew: boolean): void {
    const moved =
      account.target.address !== this.#account.target.address ||
      account.target.port !== this.#account.target.port ||
      account.target.flow !== this.#account.target.flow;
    const changed = !sameCredentials(account.credentials, this.#account.credentials);
    this.#account = account;
    if (changed) this.#memory.forget();
    const idle = this.#subscription === null && !this.armed;
    if (!moved && !(registeredAnew && this.#state !== 'active') && !(idle && this.#state === 'pending'))
      return;
    this.#failures = 0;
    this.#anew(0);
  }

  /** Takes the subscription off and is silent from then on. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#ports.clock.disarm(this);
    this.#ports.clock.disarm(this.#timerN);
    const subscription = this.#subscription;
    if (subscription === null) return;
    this.#subscription = null;
    if (this.#state !== 'active') {
      subscription.close();
      return;
    }
    // RFC 6665 §4.1.2.3: Expires 0; the last NOTIFY is not waited for.
    this.#send(subscription, 0, () => subscription.close());
  }

  view(): SubscriptionView {
    const { clock } = this.#ports;
    const left = this.#expiresAt - clock.now();
    return {
      package: this.package,
      state: this.#state,
      expiresAt: left > 0 ? new Date(clock.wallNow() + left).toISOString() : null,
      detail: this.#detail,
      notifies: this.#notifies,
    };
  }

  /** `Timer`: time to subscribe or refresh. */
  override fire(): void {
    if (this.#over || this.#sending) return;
    const subscription = this.#subscription ?? this.#open();
    if (subscription === null) return;
    this.#send(subscription, this.#askSeconds, (outcome) => this.#answered(subscription, outcome));
  }

  #open(): Subscription | null {
    const { aor, target, contactUser, route } = this.#account;
    const { engine } = this.#ports;
    const opened = engine.subscribe?.(
      { uri: aor, target, from: `<${aor}>`, to: `<${aor}>`, contactUser, route },
      {
        onNotify: (notify) => this.#onNotify(opened!, notify),
        onLost: (detail) => this.#onLost(opened!, detail),
      },
    );
    if (opened === undefined) {
      this.#settle('unsupported', 'this SIP engine holds no subscriptions');
      return null;
    }
    this.#subscription = opened;
    this.#user.onBegun(this.package);
    return opened;
  }

  #onLost(subscription: Subscription, detail: string): void {
    if (this.#over || this.#subscription !== subscription) return;
    this.#detail = detail;
    this.#anew(PAUSE_MS);
  }

  #send(subscription: Subscription, seconds: number, done: (outcome: RequestOutcome) => void): void {
    const { clock, ids } = this.#ports;
    const { aor, credentials, target } = this.#account;
    this.#lastSentAt = clock.now();
    this.#sending = true;
    this.#heard = false;
    clock.disarm(this.#timerN);
    const next = subscription.next();
    // Inside the dialog the peer names the next hop: credentials go to the registrar's address and nowhere else.
    const trusted = next.target.address === target.address;
    this.#ports.dialling?.(next.target.address);
    const settled = (outcome: RequestOutcome): void => {
      if (this.#subscription === subscription) this.#sending = false;
      done(outcome);
    };
    authenticatedRequest(
      { ids, engine: { request: ({ headers }, answer) => subscription.send(headers ?? [], answer) } },
      {
        method: 'SUBSCRIBE',
        uri: next.uri,
        target: next.target,
        from: `<${aor}>`,
        to: `<${aor}>`,
        // The engine writes these three itself.
        callId: '',
        fromTag: '',
        cseq: 1,
        headers: [
          { name: 'Event', value: this.package },
          { name: 'Accept', value: TYPES[this.package] },
          { name: 'Expires', value: String(seconds) },
        ],
      },
      trusted ? credentials : undefined,
      this.#memory,
      settled,
    );
  }

  #answered(subscription: Subscription, outcome: RequestOutcome): void {
    if (this.#over || this.#subscription !== subscription) return;
    if (outcome.kind === 'fault') {
      this.#retry(outcome.fault.detail, undefined);
      return;
    }
    const { response } = outcome;
    const { status } = response;
    if (status < 300) this.#accepted(response);
    else if (status === 423 && this.#lengthen(response)) this.#arm(PAUSE_MS);
    else if (status === 481) {
      // §4.1.2.2: the server has forgotten it, so a new one is begun.
      this.#detail = told(response);
      this.#anew(PAUSE_MS);
    } else if (FINAL_STATUSES.has(status)) {
      this.#close();
      this.#settle('unsupported', told(response));
    } else this.#retry(told(response), secondsOf(response.headers.get('retry-after')));
  }

  #accepted(response: SipResponse): void {
    const granted = secondsOf(response.headers.get('expires')) ?? this.#askSeconds;
    this.#briefs = 0;
    if (granted === 0) {
      this.#retry('the server granted no time', undefined);
      return;
    }
    this.#settle('active', told(response));
    this.#lasts(granted);
    if (this.#heard) return;
    const { clock, notifyWithinMs } = this.#ports;
    clock.arm(this.#timerN, notifyWithinMs ?? NOTIFY_WITHIN_MS);
  }

  /** "If Timer N expires prior to the receipt of a NOTIFY request, the subscriber considers the subscription failed". */
  #unheard(): void {
    const seconds = (this.#ports.notifyWithinMs ?? NOTIFY_WITHIN_MS) / 1_000;
    this.#retry(`the server took the SUBSCRIBE and sent no NOTIFY within ${seconds} s`, undefined);
  }

  /** Sets the end, and a refresh at a share of the time before it that no two subscriptions have in common. */
  #lasts(seconds: number): void {
    const { clock, random } = this.#ports;
    const ms = Math.min(seconds, EXPIRY_MAX_SECONDS) * 1_000;
    this.#expiresAt = clock.now() + ms;
    this.#arm(ms * (0.75 + 0.15 * random()));
  }

  #onNotify(subscription: Subscription, notify: IncomingRequest): void {
    const { headers, body } = notify.request;
    const respond = (status: number, name?: string, value?: string): void => {
      if (status >= 300) this.#user.onRefused(this.package);
      notify.respond(
        status,
        reasonPhrase(status),
        name === undefined || value === undefined ? [] : [{ name, value }],
      );
    };
    if (this.#over || this.#subscription !== subscription) {
      respond(481);
      return;
    }
    const event = parseParams(headers.get('event') ?? '');
    if (event?.value.toLowerCase() !== this.package) {
      respond(489, 'Allow-Events', this.package);
      return;
    }
    const type = parseParams(headers.get('content-type') ?? '')?.value.toLowerCase();
    if (body !== '' && type !== TYPES[this.package]) {
      respond(415, 'Accept', TYPES[this.package]);
      return;
    }
    this.#heard = true;
    this.#failures = 0;
    this.#ports.clock.disarm(this.#timerN);
    const taken = body === '' ? 'taken' : this.#user.onBody(this.package, body);
    respond(taken === 'unreadable' ? 400 : 200);
    this.#notifies++;
    this.#subscriptionState(headers.get('subscription-state'));
    if (taken === 'refresh') this.#fillGap();
    else if (taken === 'taken') this.#gaps = 0;
  }

  /** A refresh brings a full report (§4.4.2); a server that sends none is asked less and less. */
  #fillGap(): void {
    if (this.#state !== 'active') return;
    const delay = Math.min(PAUSE_MS * 2 ** Math.min(this.#gaps++, 10), RETRY_LAST_MS);
    if (this.#ports.clock.now() + delay < this.#dueAt) this.#arm(delay);
  }

  /** §4.1.3. A notifier that leaves the header field out is taken to mean "active". */
  #subscriptionState(value: Octets | undefined): void {
    const state = parseParams(value ?? 'active');
    if (state === undefined) return;
    const seconds = secondsOf(state.params.get('expires'));
    if (state.value.toLowerCase() !== 'terminated') {
      if (this.#state !== 'active') this.#settle('active', 'a NOTIFY came');
      // "If a NOTIFY contains an expires parameter, it takes precedence"; only a shorter time needs an earlier refresh.
      const { clock } = this.#ports;
      if (seconds !== undefined && seconds > 0 && clock.now() + seconds * 1_000 < this.#expiresAt - 1_000) {
        this.#lasts(seconds);
      }
      return;
    }
    const reason = (state.params.get('reason') ?? '').toLowerCase();
    const detail = `the server ended the subscription${reason === '' ? '' : `: ${printable(reason, 80)}`}`;
    if (FINAL_REASONS.has(reason)) {
      this.#close();
      this.#settle('unsupported', detail);
    } else if (reason === 'deactivated' || reason === 'timeout') {
      this.#detail = detail;
      this.#anew(PAUSE_MS);
    } else this.#retry(detail, secondsOf(state.params.get('retry-after')));
  }

  /** Another dialog, `delayMs` from now. */
  #anew(delayMs: number): void {
    this.#close();
    this.#state = 'pending';
    this.#arm(delayMs);
  }

  #retry(detail: string, afterSeconds: number | undefined): void {
    this.#close();
    this.#settle('retrying', detail);
    const backoff = Math.min(RETRY_FIRST_MS * 2 ** Math.min(this.#failures++, 10), RETRY_LAST_MS);
    const wanted = afterSeconds === undefined ? 0 : Math.min(afterSeconds * 1_000, RETRY_LAST_MS);
    this.#arm(Math.max(wanted, backoff) * (1 + 0.2 * this.#ports.random()));
  }

  #lengthen({ headers }: SipResponse): boolean {
    const wanted = secondsOf(headers.get('min-expires'));
    if (wanted === undefined || wanted <= this.#askSeconds || wanted > EXPIRY_MAX_SECONDS) return false;
    if (++this.#briefs > BRIEFS_MAX) return false;
    this.#askSeconds = wanted;
    return true;
  }

  #settle(state: SubscriptionState, detail: string): void {
    this.#state = state;
    this.#detail = detail;
    if (state === 'active') return;
    this.#expiresAt = 0;
    this.#ports.clock.disarm(this);
  }

  #close(): void {
    this.#subscription?.close();
    this.#subscription = null;
    this.#ports.clock.disarm(this.#timerN);
    // What is under way belongs to the dialog that is gone.
    this.#sending = false;
    this.#expiresAt = 0;
  }

  #arm(delayMs: number): void {
    const { clock } = this.#ports;
    const now = clock.now();
    this.#dueAt = Math.max(now + delayMs, this.#lastSentAt + PAUSE_MS);
    clock.arm(this, this.#dueAt - now);
  }
}

function secondsOf(value: Octets | undefined): number | undefined {
  // Retry-After may have a comment and parameters behind its number (§20.33).
  const digits = /^\s*(\d{1,10})\b/.exec(value ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function told({ status, reason }: SipResponse): string {
  const phrase = printable(reason, 80);
  return `${status} ${phrase === '' ? reasonPhrase(status) : phrase}`;
}
