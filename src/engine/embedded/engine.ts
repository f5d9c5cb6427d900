/**
 * The embedded engine: our own SIP stack in this process. From the wire up: `transport/` (sockets, framing, TLS),
 * `transaction/` (RFC 3261 §17), `dialog/` (§12 to §15). This file puts them together and serves the port.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { DEFAULT_TIMERS, type SipTimers } from '#sip/timers.js';
import type {
  Engine,
  EngineGauges,
  EngineHandlers,
  EngineHealth,
  Listener,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  OutgoingRequestOptions,
  RequestOutcome,
  Subscription,
  SubscriptionEvents,
  SubscriptionOptions,
  Target,
  WireTap,
} from '../engine.js';
import type { DialogContext } from './dialog/context.js';
import { UserAgentCore } from './dialog/core.js';
import { sendOutOfDialog } from './dialog/out-of-dialog.js';
import { OutgoingInviteCall } from './dialog/outgoing-invite.js';
import { OutgoingSubscription } from './dialog/subscription.js';
import { DialogTable } from './dialog/table.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { Transactions } from './transaction/transactions.js';
import type { ListenOptions } from './transport/listen-options.js';
import type { OwnService } from './transport/own-services.js';
import { EmbeddedTransports } from './transport/transports.js';

export type { ListenOptions } from './transport/listen-options.js';

export interface EmbeddedEngineOptions {
  readonly listen: readonly ListenOptions[];
  readonly clock: Clock & { readonly armedCount: number };
  readonly ids: Ids;
  readonly limits?: Partial<Limits> | undefined;
  readonly timers?: Partial<SipTimers> | undefined;
  /** Requests longer than this go over TCP where the peer takes it (§18.1.1). Octets; 0 never. Default 1,300. */
  readonly udpToTcpBytes?: number | undefined;
  readonly tap?: WireTap | undefined;
  /** Services of the gateway itself: no connection is opened to them, whatever a trunk, an agent or a Contact says. */
  readonly ownServices?: (() => readonly OwnService[]) | undefined;
}

/** How often a stop looks whether everything has ended, in milliseconds. */
const STOP_POLL_MS = 20;
/** What BYEs and CANCELs sent by a stop get to be answered, in milliseconds. */
const STOP_GRACE_MS = 1_000;

export class EmbeddedEngine implements Engine {
  readonly #options: EmbeddedEngineOptions;
  readonly #transports: EmbeddedTransports;
  readonly #core = new UserAgentCore();
  readonly #transactions: Transactions;
  readonly #dialogs = new DialogTable();
  readonly #context: DialogContext;
  #state: 'idle' | 'running' | 'stopped' = 'idle';

  constructor(options: EmbeddedEngineOptions) {
    const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
    const timers: SipTimers = { ...DEFAULT_TIMERS, ...options.timers };
    const { clock, ids, tap, ownServices } = options;
    this.#options = options;
    this.#transports = new EmbeddedTransports({ listen: options.listen, limits, clock, tap, ownServices });
    this.#transactions = new Transactions({
      transports: this.#transports,
      user: this.#core,
      clock,
      ids,
      limits,
      timers,
      streamAboveBytes: options.udpToTcpBytes,
    });
    this.#context = {
      transports: this.#transports,
      transactions: this.#transactions,
      clock,
      ids,
      timers,
      limits,
      dialogs: this.#dialogs,
      notice: (notice) => this.#core.onNotice(notice),
    };
    this.#core.attach(this.#context);
  }

  get listeners(): readonly Listener[] {
    return this.#transports.listeners;
  }

  leavesFrom(target: Target): Listener | undefined {
    return this.#transports.leavesFrom(target);
  }

  async start(handlers: EngineHandlers): Promise<void> {
    if (this.#state !== 'idle') throw new Error('This engine has been started before');
    this.#core.handlers = handlers;
    await this.#transports.start(this.#transactions);
    this.#state = 'running';
  }

  drain(): void {
    this.#core.draining = true;
  }

  async stop(deadlineMs: number): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'stopped';
    this.drain();
    const { clock } = this.#options;
    await this.#until(() => this.#dialogs.size === 0, clock.now() + deadlineMs);
    if (this.#dialogs.size > 0) {
      for (const tenant of this.#dialogs.tenants()) tenant.shutDown('the gateway is stopping');
      // Our last requests are answered within a round trip, or never.
      const before = this.#transactions.size;
      await this.#until(() => this.#transactions.size < before / 2, clock.now() + STOP_GRACE_MS);
    }
    this.#transactions.close();
    await this.#transports.stop();
  }

  health(): EngineHealth {
    const ready = this.#state === 'running';
    return {
      ready,
      detail: ready ? `${this.listeners.length} listeners` : this.#state,
      gauges: this.#gauges(),
    };
  }

  invite(options: OutgoingInviteOptions, events: OutgoingInviteEvents): OutgoingInvite {
    const call = new OutgoingInviteCall(this.#context, options, events);
    if (this.#state === 'running') call.send(options);
    else queueMicrotask(() => call.onFault({ kind: 'engine-down', detail: `the engine is ${this.#state}` }));
    return call;
  }

  request(options: OutgoingRequestOptions, done: (outcome: RequestOutcome) => void): void {
    if (this.#state === 'running') {
      sendOutOfDialog(this.#context, options, done);
      return;
    }
    const detail = `the engine is ${this.#state}`;
    queueMicrotask(() => done({ kind: 'fault', fault: { kind: 'engine-down', detail } }));
  }

  keepAlive(target: Target): void {
    if (this.#state === 'running') this.#transports.keepAlive(target);
  }

  closeFlow(flow: number, reason: string): void {
    this.#transports.closeFlow(flow, reason);
  }

  subscribe(options: SubscriptionOptions, events: SubscriptionEvents): Subscription {
    return new OutgoingSubscription(this.#context, options, events);
  }

  refreshAddresses(): boolean {
    return this.#state === 'running' && this.#transports.refreshAddresses();
  }

  /** Reads the certificate files of TLS listeners again; connections that exist keep theirs. */
  reloadCertificates(): void {
    this.#transports.reloadCertificates();
  }

  #gauges(): EngineGauges {
    return {
      transactions: this.#transactions.size,
      dialogs: this.#dialogs.size,
      connections: this.#transports.connectionCount,
      timers: this.#options.clock.armedCount,
    };
  }

  #until(condition: () => boolean, deadline: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const look = (): void => {
        if (condition() || clock.now() >= deadline) resolve();
        else clock.arm(timer, STOP_POLL_MS);
      };
      const timer = new CallbackTimer(look);
      look();
    });
  }
}
