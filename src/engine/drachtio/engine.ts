/**
 * The port served by drachtio-server through drachtio-srf, for those who run drachtio-server already. The server owns
 * sockets, transactions and dialogs; this room turns its messages into those of the port and back, and keeps enough
 * beside it to end every call when the server goes.
 *
 * srf.ts the only tenant of drachtio-srf (library.ts: what is used of it), wire.ts what it hands on · link.ts one server:
 * reconnecting, what its connection can take · endpoints.ts listeners and next hops · exchange.ts requests of ours,
 * incoming-request.ts those of peers · incoming-invite.ts, outgoing-invite.ts, session.ts, subscription.ts · estates.ts what
 * a server holds while its connection is away
 *
 * What drachtio-server cannot do, found by running 0.9.10 (9c2dd4c):
 * - TLS: it sends no SNI, presents no certificate of a trunk's and compares no name. A target that asks for a
 *   verified peer, the default, is refused with a `tls` fault, unless `unverifiedTls` accepts it.
 * - Its own finals (408, 503) do not say whether a peer refused, could not be reached, or a TLS handshake failed:
 *   all is `unreachable`, silence is `timeout`. 100 Trying is not told, so it does not count as heard.
 * - `screen` is asked after the server has parsed a request and sent 100 Trying. It answers strangers like friends.
 * - A reliable provisional response that is not acknowledged kills it (SIGSEGV), so none is sent to callers.
 * - Early dialogs: one To tag towards the caller; no request of ours to the caller before the 2xx; one early dialog
 *   of a forked callee; PRACK carries no body. A further 2xx of another fork is neither acknowledged nor ended.
 * - An INVITE is answered 200, no other 2xx, which is repeated over UDP only. A CANCEL that crosses it ends the call.
 * - A re-INVITE has no provisional responses, its 2xx is not repeated, and its CANCEL is not told.
 * - Messages that are not UTF-8, a body with NUL, and messages to send above 12 kB do not pass.
 * - The server normalises URIs (%61 becomes a) and some header fields, and a request outside a dialog has no Route.
 * - The server chooses the listener to send from, by transport, address family and likeness to the target's address.
 * - Connections (TCP, TLS) are the server's: their end is not told, and `connections` is always 0.
 * - A NOTIFY before the 2xx to its SUBSCRIBE, and the one that ends a subscription, are answered 500 by the server. When
 *   its connection breaks it sends no more of them to anybody, so subscriptions begin anew.
 * - It takes part in session timers (RFC 4028): it ends a call whose peer does not refresh in time, names a peer as
 *   refresher where the other side has none, and refuses less than 90 s. Where a caller wants the callee's side to
 *   refresh, it sends re-INVITEs by itself, with the session description of the last INVITE (`peerRefreshes`).
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { SipRequest } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { reasonPhrase } from '#sip/status.js';
import type {
  Engine,
  EngineHandlers,
  EngineHealth,
  Listener,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  OutgoingRequestOptions,
  RequestOutcome,
  Source,
  Subscription,
  SubscriptionEvents,
  SubscriptionOptions,
  Target,
} from '../engine.js';
import type { EngineFault } from '../faults.js';
import { type DrachtioContext, mergeKey, reachedLimit, type Tenant } from './context.js';
import { Endpoints, type ServerListener } from './endpoints.js';
import { Estates } from './estates.js';
import { sendOutOfDialog } from './exchange.js';
import { NO_HEADERS } from './headers.js';
import { IncomingInviteCall } from './incoming-invite.js';
import { OutOfDialogRequest, respond } from './incoming-request.js';
import { ServerLink } from './link.js';
import { OutgoingInviteCall } from './outgoing-invite.js';

import { SubscriptionDialog } from './subscription.js';
import type { ServerAddress, WireRequest } from './wire.js';

export type { ServerAddress } from './wire.js';

export interface DrachtioEngineOptions {
  /** All are connected at once; requests outside a dialog are spread over those that fit. */
  readonly servers: readonly ServerAddress[];
  readonly clock: Clock & { readonly armedCount: number };
  readonly ids: Ids;
  /** T1 of the servers (`<timers>` in their configuration), in milliseconds. Default 500. */
  readonly t1?: number | undefined;
  /** Bounds: calls and pending INVITEs, requests without a final answer. */
  readonly limits?:
    | { readonly dialogs?: number | undefined; readonly transactions?: number | undefined }
    | undefined;
  /** How long `start` waits for the first server, in milliseconds. Default 15,000. */
  readonly startTimeoutMs?: number | undefined;
  /** A TLS target whose certificate should be verified: refuse it (default), or connect without verification. */
  readonly unverifiedTls?: 'refuse' | 'accept' | undefined;
}

const DEFAULT_T1 = 500;
const DEFAULT_DIALOGS = 100_000;
const DEFAULT_TRANSACTIONS = 500_000;
const DEFAULT_START_TIMEOUT_MS = 15_000;
const STOP_POLL_MS = 20;
/** What BYEs and CANCELs sent by a stop get to be answered, in milliseconds. */
const STOP_GRACE_MS = 1_000;

const NO_HANDLERS: EngineHandlers = {
  screen: () => 'drop',
  onInvite: () => undefined,
  onRequest: () => undefined,
  onNotice: () => undefined,
};

export class DrachtioEngine implements Engine {
  readonly #options: DrachtioEngineOptions;
  readonly #links: readonly ServerLink[];
  readonly #endpoints = new Endpoints();
  readonly #context: DrachtioContext;
  readonly #estates: Estates;
  #handlers: EngineHandlers = NO_HANDLERS;
  #state: 'idle' | 'starting' | 'running' | 'stopped' = 'idle';
  #draining = false;
  #lastDetail = 'not connected';
  #onFirst: ((problem: string | null) => void) | null = null;

  constructor(options: DrachtioEngineOptions) {
    const { clock, ids } = options;
    if (options.servers.length === 0) throw new RangeError('engine drachtio needs a server');
    this.#options = options;
    this.#context = {
      clock,
      ids,
      t1: options.t1 ?? DEFAULT_T1,
      endpoints: this.#endpoints,
      tenants: new Map(),
      merging: new Set(),
      limits: {
        dialogs: options.limits?.dialogs ?? DEFAULT_DIALOGS,
        transactions: options.limits?.transactions ?? DEFAULT_TRANSACTIONS,
      },
      pending: 0,
      notice: (notice) => this.#handlers.onNotice(notice),
    };
    this.#estates = new Estates(this.#context);
    this.#links = options.servers.map(
      (server) =>
        new ServerLink(server, clock, ids, {
          onUp: (link) => this.#onUp(link),
          onDown: (link, detail, fatal) => this.#onDown(link, detail, fatal),
          onRetry: (link, detail) => this.#onRetry(link, detail),
          onRequest: (link, request) => this.#onRequest(link, request),
        }),
    );
  }

  get listeners(): readonly Listener[] {
    return this.#endpoints.listeners;
  }

  leavesFrom(target: Target): Listener | undefined {
    return this.#endpoints.leavesFrom(target);
  }

  /** Resolves with the first server; the others may come later. Rejects for a wrong secret or when none comes in time. */
  async start(handlers: EngineHandlers): Promise<void> {
    if (this.#state !== 'idle') throw new Error('This engine has been started before');
    this.#state = 'starting';
    this.#handlers = handlers;
    const { clock } = this.#options;
    const waitMs = this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS;
    const problem = await new Promise<string | null>((resolve) => {
      this.#onFirst = resolve;
      for (const link of this.#links) link.connect();
      const late = new CallbackTimer(() => resolve(`no answer in ${waitMs} ms; last: ${this.#lastDetail}`));
      clock.arm(late, waitMs);
      this.#onFirst = (result) => {
        clock.disarm(late);
        resolve(result);
      };
    });
    this.#onFirst = null;
    if (problem === null) {
      this.#state = 'running';
      return;
    }
    this.#state = 'stopped';
    for (const link of this.#links) link.close();
    const names = this.#links.map(({ name }) => name).join(', ');
    throw new Error(`drachtio-server ${names}: ${problem}`);
  }

  drain(): void {
    this.#draining = true;
  }

  async stop(deadlineMs: number): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'stopped';
    this.drain();
    const { clock } = this.#options;
    const { tenants } = this.#context;
    await this.#until(() => tenants.size === 0, clock.now() + deadlineMs);
    for (const tenant of new Set(tenants.values())) tenant.shutDown('the gateway is stopping');
    await this.#until(
      () => this.#context.pending === 0 && this.#links.every(({ pending }) => pending === 0),
      clock.now() + STOP_GRACE_MS,
    );
    this.#estates.clear();
    for (const link of this.#links) link.close();
    for (const tenant of new Set(tenants.values())) tenant.lost('the gateway is stopping');
  }

  health(): EngineHealth {
    const up = this.#links.filter(({ ready }) => ready).length;
    const ready = this.#state === 'running' && up > 0;
    const detail =
      this.#state !== 'running'
        ? this.#state
        : up > 0
          ? `${up} of ${this.#links.length} drachtio-servers, ${this.listeners.length} listeners`
          : `no drachtio-server: ${this.#lastDetail}`;
    return {
      ready,
      detail,
      gauges: {
        transactions: this.#context.pending,
        dialogs: this.#context.tenants.size,
        // Those of peers are the server's, and it does not tell.
        connections: 0,
        timers: this.#options.clock.armedCount,
      },
    };
  }

  invite(options: OutgoingInviteOptions, events: OutgoingInviteEvents): OutgoingInvite {
    const call = new OutgoingInviteCall(this.#context, options, events);
    const fault = this.#refused(options.target);
    if (fault === undefined) call.send(options);
    else queueMicrotask(() => call.fail(fault));
    return call;
  }

  request(options: OutgoingRequestOptions, done: (outcome: RequestOutcome) => void): void {
    const fault = this.#refused(options.target);
    if (fault === undefined) sendOutOfDialog(this.#context, options, done);
    else queueMicrotask(() => done({ kind: 'fault', fault }));
  }

  subscribe(options: SubscriptionOptions, events: SubscriptionEvents): Subscription {
    return new SubscriptionDialog(this.#context, options, events);
  }

  /** Nothing to do: certificates are the server's. */
  reloadCertificates(): void {}

  #refused(target: Target): EngineFault | undefined {
    if (this.#state !== 'running') return { kind: 'engine-down', detail: `the engine is ${this.#state}` };
    if (target.transport !== 'tls' || this.#options.unverifiedTls === 'accept') return undefined;
    if (!this.#endpoints.listeners.some(({ transport }) => transport === 'tls')) return undefined;
    const { tls } = target;
    if (tls?.clientCert !== undefined) {
      return {
        kind: 'tls',
        reason: 'other',
        detail: 'drachtio-server cannot present a certificate of the trunk',
      };
    }
    if (tls?.verify !== false) {
      const detail =
        'drachtio-server does not verify certificates; tls.verify: false on the trunk accepts that';
      return { kind: 'tls', reason: 'untrusted', detail };
    }
    return undefined;
  }

  #onUp(link: ServerLink): void {
    this.#endpoints.update(link);
    this.#tell(link, 'up', `version ${link.version}, listens on ${link.bound.join(', ')}`);
    this.#onFirst?.(null);
    this.#estates.begin();
  }

  #onDown(link: ServerLink, detail: string, fatal: boolean): void {
    this.#lastDetail = `${link.name}: ${detail}`;
    if (fatal) this.#onFirst?.(detail);
    this.#tell(link, 'down', detail);
    for (const tenant of new Set(this.#context.tenants.values())) {
      const { via, estate } = tenant;
      if (via?.link !== link) continue;
      if (estate !== undefined) this.#estates.add(via, estate);
      tenant.lost(`drachtio-server ${link.name}: ${detail}`);
    }
  }

  #onRetry(link: ServerLink, detail: string): void {
    this.#lastDetail = `${link.name}: ${detail}`;
    this.#tell(link, 'awaited', detail);
  }

  #tell(link: ServerLink, state: 'up' | 'down' | 'awaited', detail: string): void {
    if (this.#state === 'stopped') return;
    this.#handlers.onNotice({ kind: 'server', state, server: link.name, detail });
  }

  #onRequest(link: ServerLink, wire: WireRequest): void {
    if (wire.unsolicited) {
      this.#onServerRequest(wire);
      return;
    }
    const message = parseMessage(wire.octets);
    const tenant = message.kind === 'request' ? this.#context.tenants.get(message.to.tag ?? '') : undefined;
    // Only for requests outside a dialog the server tells the listener.
    const via = tenant?.via ?? this.#endpoints.incoming(link, wire.source);
    if (via === undefined) return;
    const source = this.#endpoints.source(via, wire.source);
    if (message.kind !== 'request') {
      this.#refuseMalformed(via, wire, source, message);
      return;
    }
    if (message.to.tag !== undefined) {
      this.#inDialog(via, tenant, message, wire, source);
      return;
    }
    if (wire.method === 'ACK' || wire.method === 'CANCEL') return;
    if (this.#handlers.screen(source) === 'drop') return;
    // §8.2.2.2: the same request by another way, while the first one is pending.
    if (this.#context.merging.has(mergeKey(message))) {
      this.#handlers.onNotice({ kind: 'rejected', status: 482, reason: reasonPhrase(482), source });
      respond(via, wire, 482, '', { headers: NO_HEADERS, body: '' });
      return;
    }
    if (message.method === 'INVITE') this.#onInvite(via, message, wire, source);
    else if (message.method === 'BYE' || message.method === 'PRACK' || message.method === 'UPDATE') {
      respond(via, wire, 481, '', { headers: NO_HEADERS, body: '' });
    } else this.#handlers.onRequest(new OutOfDialogRequest(this.#context, via, message, wire, source));
  }

  #onInvite(via: ServerListener, request: SipRequest, wire: WireRequest, source: Source): void {
    const limit = reachedLimit(this.#context);
    if (this.#draining || limit !== undefined) {
      if (limit !== undefined) this.#handlers.onNotice({ kind: 'limit', limit, source });
      respond(via, wire, 503, '', { headers: [{ name: 'Retry-After', value: '5' }], body: '' });
      return;
    }
    this.#handlers.onInvite(new IncomingInviteCall(this.#context, via, request, wire, source));
  }

  #inDialog(
    via: ServerListener,
    tenant: Tenant | undefined,
    request: SipRequest,
    wire: WireRequest,
    source: Source,
  ): void {
    if (request.method === 'ACK') tenant?.onAck(request, source);
    else if (request.method === 'CANCEL') return;
    else if (tenant === undefined) respond(via, wire, 481, '', { headers: NO_HEADERS, body: '' });
    else tenant.onRequest(request, wire, source);
  }

  /** The server's own BYE: our tag is in its From. */
  #onServerRequest(wire: WireRequest): void {
    const message = parseMessage(wire.octets);
    if (message.kind === 'request') this.#context.tenants.get(message.from.tag ?? '')?.onServerBye();
  }

  #refuseMalformed(
    via: ServerListener,
    wire: WireRequest,
    source: Source,
    message: Exclude<ReturnType<typeof parseMessage>, SipRequest>,
  ): void {
    const status = message.kind === 'fault' && message.status !== 0 ? message.status : 400;
    const reason = message.kind === 'fault' ? message.reason : reasonPhrase(400);
    this.#handlers.onNotice({ kind: 'rejected', status, reason, source });
    if (wire.method !== 'ACK') respond(via, wire, status, reason, { headers: NO_HEADERS, body: '' });
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
