/** What the HTTP room asks of the rest of the house. `app.ts` wires it. */
import type { CallRecord } from '#call/observer.js';
import type { DirectoryKind } from '#directory/documents.js';
import type { Author, Editor } from '#directory/editor.js';
import type { ObjectMeta } from '#directory/live.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Memory, ObjectStore } from '#directory/store.js';
import type { Trunk } from '#directory/trunk.js';
import type { Clock } from '#lib/clock.js';
import type { CallOrder } from '#origination/order.js';
import type { OrderedCall, OrderRefusal } from '#origination/originations.js';
import type { NoTransfer, OrderedTransfer, TransferOrder } from '#origination/transfers.js';
import type { LineView } from '#pacing/pacer.js';
import type { Providers } from '#provider/providers.js';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { ProbeReport } from '#registration/probe/report.js';
import type { RegistrationState, RegistrationView } from '#registration/registration-view.js';
import type { TargetView } from '#registration/target-view.js';
import type { Explanation } from '#routing/decision.js';
import type { OutboundQuestion } from '#routing/outbound-decision.js';
import type { Trace } from '#trace/wire-trace.js';
import type { WebhookRegistry } from '#webhook/registry.js';
import type { Scope } from './caller.js';

export interface HealthCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface RouteQuestion {
  /** A number, or a whole SIP URI. */
  readonly to: string;
  readonly from: string | undefined;
  /** IP address that the INVITE would come from. */
  readonly source: string;
  /** Of an `inboundAuth` of a trunk: the INVITE shows it with the right password. */
  readonly username?: string | undefined;
  /** Who asks sees no others' objects; undefined: everything. */
  readonly organizationId: string | undefined;
}

export interface RouteAnswer {
  readonly direction: 'inbound';
  readonly decision: 'route' | 'refuse';
  /** The SIP status that the caller would get; null when it is the agent's to say. */
  readonly status: number | null;
  readonly code: string | null;
  readonly trunkId: string | null;
  readonly phoneNumberId: string | null;
  readonly agentId: string | null;
  readonly did: string | null;
  /** In the order in which they would be tried. */
  readonly endpoints: readonly string[];
  readonly explanation: Explanation;
}

/** What is in use of a bound; `most` null: there is none. */
export interface Use {
  readonly used: number;
  readonly most: number | null;
}

/** One way of a call that would leave. */
export interface OutboundWay {
  /** A trunk, or `agent:<id>` for the agent's own account. */
  readonly trunkId: string;
  readonly phoneNumberId: string;
  /** The number that is shown. */
  readonly phoneNumber: string;
  /** The callee as this trunk writes it. */
  readonly dialled: string;
  /** Transport, host and port: to be looked up, or of the registration. */
  readonly nextHop: string;
  readonly registrationId: string | null;
  readonly digestUser: string | null;
  /** Request line and the header fields that routing decides. */
  readonly invite: string;
  readonly limits: {
    readonly cpsKey: string;
    /** New calls per second of all who share the key; null: not paced. */
    readonly effectiveCpsLimit: number | null;
    readonly cpsBurst: number;
    readonly cpsCountsChallenges: boolean;
    /** Where the members' limits differ. */
    readonly warning: string | null;
    readonly maxDurationSeconds: number | null;
    readonly trunkCalls: Use;
    readonly trunkCallsToday: Use;
    readonly organizationCalls: Use;
    readonly organizationCallsToday: Use;
  };
}

export interface OutboundRouteAnswer {
  readonly direction: 'outbound';
  readonly decision: 'route' | 'refuse';
  /** What an agent that calls by SIP would get, and the API; null when the call is not refused. */
  readonly status: number | null;
  readonly httpStatus: number | null;
  readonly code: string | null;
  readonly detail: string | null;
  /** The field of the question that is at fault. */
  readonly field: string | null;
  readonly agentId: string | null;
  readonly organizationId: string | null;
  /** In normal form. */
  readonly callee: string | null;
  /** In the order in which they would be tried. */
  readonly routes: readonly OutboundWay[];
  readonly explanation: Explanation;
}

export interface TokenHolder {
  readonly tokenId: string;
  readonly organizationId: string;
  readonly scopes: readonly Scope[];
}

/** A token as it may be shown. Times in milliseconds since 1970. */
export interface TokenView extends TokenHolder {
  readonly name: string;
  readonly createdAt: number;
  readonly revokedAt: number | null;
  readonly lastUsedAt: number | null;
}

export interface ToldEvent {
  readonly id: string;
  readonly type: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly organizationId: string;
  readonly data: object;
}

export interface HttpPorts {
  readonly clock: Clock;
  readonly events: {
    /** Types that there are. */
    readonly types: readonly string[];
    /** Hears events from now on until `stop`; `missed`: those after an id, null where that cannot be told. */
    follow(
      after: string | undefined,
      listener: (event: ToldEvent) => void,
    ): { readonly missed: readonly ToldEvent[] | null; readonly stop: () => void };
  };
  /** Each thing that new calls depend on. */
  readiness(): readonly HealthCheck[];
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
  readonly calls: {
    /** Calls in progress and the latest ended ones, in any order. */
    list(): readonly CallRecord[];
    get(id: string): CallRecord | undefined;
    /** Ends a call in progress; false when there is none of this id. */
    hangUp(id: string): boolean;
    /** Places a call, or says why not; resolves as soon as its place in line is known. */
    place(order: CallOrder): Promise<OrderedCall | OrderRefusal>;
    /** Calls somebody for the telephone of an answered call, or says why not. */
    transfer(id: string, order: TransferOrder): OrderedTransfer | NoTransfer | OrderRefusal;
  };
  /** Lines of calls per second: one by its key, with the limit that the directory has. */
  readonly pacing: { line(key: string, limit: number): Promise<LineView> };
  readonly directory: { readonly current: Snapshot };
  /** Changes of the directory; in force when they are done. */
  readonly editor: Pick<Editor, 'create' | 'createMany' | 'update' | 'remove'>;
  /** What the store says of an object; undefined for those of the config file. */
  meta(kind: DirectoryKind, id: string): ObjectMeta | undefined;
  readonly webhooks: Pick<
    WebhookRegistry,
    'list' | 'get' | 'create' | 'update' | 'rotate' | 'remove' | 'deadLetters' | 'forgetDeadLetter'
  >;
  readonly providers: Pick<
    Providers,
    'list' | 'get' | 'connect' | 'availableNumbers' | 'importNumbers' | 'remove'
  >;
  /** The audit log. */
  readonly objects: Pick<ObjectStore, 'list'>;
  /** Answers to requests with an Idempotency-Key. */
  readonly memory: Memory;
  /** Tokens of organisations; the administrator's own is none of them. */
  readonly tokens: {
    /** Whose it is; undefined: nobody's, or revoked. */
    authenticate(token: string): TokenHolder | undefined;
    create(
      author: Author,
      name: string,
      scopes: readonly Scope[],
    ): Promise<{ readonly token: string; readonly view: TokenView }>;
    list(organizationId: string): Promise<readonly TokenView[]>;
    revoke(author: Author, id: string): Promise<boolean>;
  };
  readonly registrations: {
    /** In any order. There may be thousands, so a view is built of those that are shown only. */
    all(): Iterable<{
      readonly id: string;
      readonly organizationId: string;
      readonly state: RegistrationState;
      readonly trunkIds: readonly string[];
      readonly agentIds: readonly string[];
      view(): RegistrationView;
    }>;
    get(id: string): RegistrationView | undefined;
    ofNumber(numberId: string): RegistrationView | undefined;
    ofAgent(agentId: string): RegistrationView | undefined;
    /** Registers anew as soon as it may be; false when there is no such registration, or nobody wants it any more. */
    refresh(id: string): boolean;
  };
  /** Servers of the organisation's trunks that are pinged. */
  targets(organizationId: string): readonly TargetView[];
  readonly presence: {
    /** What the subscriptions of a registration have told; undefined when it has none. */
    ofRegistration(registrationId: string): PresenceView | undefined;
  };
  /** The messages with these Call-IDs. Undefined: none are kept. */
  readonly trace: { find(callIds: ReadonlySet<string>): Promise<Trace> } | undefined;
  /** Runs the staged probe. Undefined: as many as there may be run already. */
  probe(trunk: Trunk): Promise<ProbeReport | undefined>;
  /** What would become of such a call; a text when the question makes no INVITE. */
  explainInbound(question: RouteQuestion): RouteAnswer | string;
  /** What would become of such a call that leaves. */
  explainOutbound(question: OutboundQuestion): OutboundRouteAnswer;
}
