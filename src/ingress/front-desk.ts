/**
 * The front desk: everything that comes from outside a dialog is looked at here and sent to the room it is for. INVITEs
 * are inspected (RFC 3261 §8.2, §16.3), routed and handed to the call room, refusals too, so that each leaves a record.
 * Of other requests OPTIONS is answered from health and the rest is declined with what would have been right.
 */

import type { Calls, Refusal } from '#call/calls.js';
import { RELAYED_METHODS, UNDERSTOOD_EXTENSIONS } from '#call/header-policy.js';
import type { Agent } from '#directory/agent.js';
import type { Trunk } from '#directory/trunk.js';
import type {
  EngineHandlers,
  EngineNotice,
  IncomingInvite,
  IncomingRequest,
  Source,
} from '#engine/engine.js';
import type { Logger } from '#lib/logger.js';
import type { InboundDecision, InboundRefusal } from '#routing/decision.js';
import type { OutboundDecision } from '#routing/outbound-decision.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import { inspectRequest, type Understood } from '#sip/inspect.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import { isKnownMethod } from '#sip/methods.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { Identity } from './agent-desk.js';
import type { Login, Logins } from './logins.js';
import type { IngressObserver } from './observer.js';
import type { Screen } from './screen.js';

/** What the front desk needs to take calls from agents; must not throw. */
export interface AgentCalls {
  /** @param stranger no trunk calls from there */
  identify(request: SipRequest, source: Source, stranger: boolean, login: NoTrunk): Identity;
  route(agent: Agent, request: SipRequest): OutboundDecision;
}

type NoTrunk = Exclude<Login, { readonly kind: 'trunk' }>;

export interface FrontDeskOptions {
  readonly screen: Screen;
  readonly calls: Pick<Calls, 'handleInvite' | 'originate' | 'refuse' | 'isLoop' | 'draining'>;
  /** Finds the way of a call; must not throw. `proven`: the trunk whose user and password it shows. */
  readonly route: (request: SipRequest, source: Source, proven: Trunk | null) => InboundDecision;
  /** Who shows user and password; absent: nobody is asked. */
  readonly logins?: Pick<Logins, 'read' | 'challenge'> | undefined;
  /** Calls of agents; absent: none is taken. */
  readonly agents?: AgentCalls | undefined;
  /** The user part of a Request-URI names a Contact that we registered: who sends to it was told by a registrar. */
  readonly isOurContact?: ((user: Octets | undefined) => boolean) | undefined;
  /** Whether new calls can be taken: answers OPTIONS. */
  readonly health: () => { readonly ready: boolean };
  readonly observer: IngressObserver;
  readonly onNotice: (notice: EngineNotice) => void;
  readonly log: Logger;
}

const METHODS: ReadonlySet<string> = new Set([...RELAYED_METHODS, 'ACK', 'CANCEL', 'BYE', 'PRACK']);
const UNDERSTOOD: Understood = { methods: METHODS, extensions: UNDERSTOOD_EXTENSIONS };
const ALLOW: HeaderField = { name: 'Allow', value: [...METHODS].join(', ') };
/** Outside a dialog there is less: for 405 and 501. */
const ALLOW_OUTSIDE: HeaderField = { name: 'Allow', value: 'INVITE, ACK, CANCEL, OPTIONS' };
const RETRY_AFTER: HeaderField = { name: 'Retry-After', value: '5' };

/** §11.2: what an OPTIONS answer tells. The gateway looks into no body, so it takes any. */
const CAPABILITIES: readonly HeaderField[] = [
  ALLOW,
  { name: 'Accept', value: 'application/sdp, */*;q=0.5' },
  { name: 'Accept-Encoding', value: 'identity' },
  { name: 'Accept-Language', value: 'en' },
  { name: 'Supported', value: [...UNDERSTOOD_EXTENSIONS].join(', ') },
];

/** NOTIFYs that come without a subscription and mean well: voice mail after REGISTER, NAT keep-alives. */
const HARMLESS_EVENTS: ReadonlySet<string> = new Set(['message-summary', 'keep-alive']);
/** Packages that exist, so a NOTIFY of theirs lacks only the subscription. */
const KNOWN_EVENTS: ReadonlySet<string> = new Set(['presence', 'dialog', 'reg', 'refer', 'conference']);

export class FrontDesk implements EngineHandlers {
  readonly #screen: Screen;
  readonly #calls: FrontDeskOptions['calls'];
  readonly #route: FrontDeskOptions['route'];
  readonly #logins: FrontDeskOptions['logins'];
  readonly #agents: AgentCalls | undefined;
  readonly #isOurContact: NonNullable<FrontDeskOptions['isOurContact']>;
  readonly #health: FrontDeskOptions['health'];
  readonly #observer: IngressObserver;
  readonly #log: Logger;
  readonly onNotice: (notice: EngineNotice) => void;

  constructor(options: FrontDeskOptions) {
    this.#screen = options.screen;
    this.#calls = options.calls;
    this.#route = options.route;
    this.#logins = options.logins;
    this.#agents = options.agents;
    this.#isOurContact = options.isOurContact ?? (() => false);
    this.#health = options.health;
    this.#observer = options.observer;
    this.#log = options.log;
    this.onNotice = options.onNotice;
  }

  screen(source: Source): 'known' | 'stranger' | 'drop' {
    return this.#screen.screen(source);
  }

  onInvite(invite: IncomingInvite): void {
    const { request, source } = invite;
    if (this.#isOurContact(request.requestUri.user)) this.#screen.expect(source.address);
    // A stranger learns only that he is one, not what his request lacks.
    const refusal = this.#screen.isKnown(source.address) ? this.#inspect(request) : null;
    if (refusal !== null) {
      this.#calls.refuse(invite, refusal);
      return;
    }
    const found = this.#guarded(invite, () => {
      const login: Login = this.#logins?.read(request, source) ?? NO_LOGIN;
      return { login, decision: this.#route(request, source, login.kind === 'trunk' ? login.trunk : null) };
    });
    if (found === undefined) return;
    const { login, decision } = found;
    if (login.kind === 'trunk') this.#fromTrunk(invite, decision);
    else if (decision.kind === 'route') this.#calls.handleInvite(invite, decision);
    else if (!this.#otherwise(invite, decision, login)) this.#calls.handleInvite(invite, decision);
  }

  #fromTrunk(invite: IncomingInvite, decision: InboundDecision): void {
    // From where it may not be used, a password makes no friend.
    const misplaced = decision.kind === 'refuse' && decision.code === 'caller_credentials_wrong';
    const refusal = misplaced ? null : this.#befriended(invite);
    if (refusal === null) this.#calls.handleInvite(invite, decision);
    else this.#calls.refuse(invite, { ...refusal, trunk: decision.trunk });
  }

  /** A password has made a friend of a stranger, who now is told what its request lacks. */
  #befriended({ request, source }: IncomingInvite): Refusal | null {
    if (this.#screen.isKnown(source.address)) return null;
    this.#screen.expect(source.address);
    return this.#inspect(request);
  }

  /** What `decide` says; undefined: it failed, and the INVITE has been answered. */
  #guarded<T>(invite: IncomingInvite, decide: () => T): T | undefined {
    try {
      return decide();
    } catch (error) {
      this.#failed(invite, error);
      return undefined;
    }
  }

  #failed(invite: IncomingInvite, error: unknown): void {
    this.#log.error({ err: error }, 'routing failed');
    this.#calls.refuse(invite, refusalOf('internal_error', 'routing failed'));
  }

  /** True when the INVITE is an agent's, or asked for a password, and has been dealt with. */
  #otherwise(invite: IncomingInvite, { code, trunk, stranger }: InboundRefusal, login: NoTrunk): boolean {
    if (!(code === 'unknown_source' || code === 'unknown_number' || code === 'credentials_needed'))
      return false;
    const { request, source } = invite;
    const agents = this.#agents;
    // A number of a trunk, from where that one calls: nobody's but the trunk's, unless an agent shows a password.
    if (
      agents !== undefined &&
      (trunk === undefined || code !== 'credentials_needed' || login.kind !== 'none')
    ) {
      const identity = this.#guarded(invite, () => agents.identify(request, source, stranger, login));
      if (identity === undefined) return true;
      if (identity.kind !== 'nobody') {
        this.#identified(invite, identity, agents);
        return true;
      }
    }
    if (code !== 'credentials_needed') return false;
    this.#challenge(invite, login.kind === 'stale');
    return true;
  }

  #identified(
    invite: IncomingInvite,
    identity: Exclude<Identity, { readonly kind: 'nobody' }>,
    agents: AgentCalls,
  ): void {
    switch (identity.kind) {
      case 'challenge':
        this.#challenge(invite, identity.stale);
        return;
      case 'refuse': {
        const { code, detail, trunk, agent } = identity;
        const direction = agent === undefined ? 'inbound' : 'outbound';
        this.#calls.refuse(invite, { ...refusalOf(code, detail), direction, trunk, agent });
        return;
      }
      case 'agent':
        this.#originate(invite, identity.agent, agents);
    }
  }

  #challenge(invite: IncomingInvite, stale: boolean): void {
    // No refusal yet, so nothing to record.
    invite.events = DEAF;
    invite.reject(401, reasonPhrase(401), this.#logins?.challenge(stale));
    this.#observer.requestAnswered?.('INVITE', 401, null);
  }

  #originate(invite: IncomingInvite, agent: Agent, agents: AgentCalls): void {
    const refusal = this.#befriended(invite);
    if (refusal !== null) {
      this.#calls.refuse(invite, { ...refusal, agent, direction: 'outbound' });
      return;
    }
    const decision = this.#guarded(invite, () => agents.route(agent, invite.request));
    if (decision !== undefined) this.#calls.originate(invite, decision);
  }

  onRequest(incoming: IncomingRequest): void {
    const { request, source } = incoming;
    if (!this.#screen.isKnown(source.address)) {
      this.#decline(incoming, 403, 'unknown_source', []);
      return;
    }
    switch (request.method) {
      case 'OPTIONS':
        this.#onOptions(incoming);
        break;
      case 'REGISTER':
        // Whoever registers here expects a registrar; the code says that there is none.
        this.#decline(incoming, 405, 'not_supported', [ALLOW_OUTSIDE]);
        break;
      case 'NOTIFY':
        this.#onNotify(incoming);
        break;
      case 'SUBSCRIBE':
        // RFC 6665 §4.2.1.1: 489 for a package that is not served.
        this.#decline(incoming, 489, null, []);
        break;
      case 'BYE':
      case 'PRACK':
      case 'UPDATE':
      case 'INFO':
        // §12.2.2, §15.1.2: these live inside a dialog, and there is none.
        this.#decline(incoming, 481, null, []);
        break;
      default:
        if (isKnownMethod(request.method)) this.#decline(incoming, 405, 'not_supported', [ALLOW_OUTSIDE]);
        // §21.5.2: "The server does not … recognize the request method".
        else this.#decline(incoming, 501, 'not_supported', [ALLOW_OUTSIDE]);
    }
  }

  #inspect(request: SipRequest): Refusal | null {
    const rejection = inspectRequest(request, UNDERSTOOD);
    if (rejection !== null) {
      const code: ReasonCode = rejection.status === 420 ? 'not_supported' : 'bad_request';
      return {
        status: rejection.status,
        reason: rejection.reason,
        code,
        detail: REASONS[code].meaning,
        headers: rejection.headers,
      };
    }
    // §16.3 step 3: "If the request contains a Max-Forwards header field with a field value of zero (0), the element
    // MUST NOT forward the request."
    if (request.maxForwards <= 0) return refusalOf('too_many_hops', REASONS.too_many_hops.meaning);
    // §16.3 step 4.
    if (this.#calls.isLoop(request)) return refusalOf('loop_detected', REASONS.loop_detected.meaning);
    return null;
  }

  /** §11.2. With Max-Forwards 0 too: the gateway is the final recipient, whatever the Request-URI's user. */
  #onOptions(incoming: IncomingRequest): void {
    const rejection = inspectRequest(incoming.request, UNDERSTOOD);
    if (rejection !== null) {
      this.#decline(incoming, rejection.status, null, rejection.headers);
    } else if (this.#calls.draining) {
      this.#decline(incoming, 503, 'draining', [...CAPABILITIES, RETRY_AFTER]);
    } else if (!this.#health().ready) {
      this.#decline(incoming, 503, 'capacity', [...CAPABILITIES, RETRY_AFTER]);
    } else {
      incoming.respond(200, 'OK', CAPABILITIES);
      this.#observer.requestAnswered?.('OPTIONS', 200, null);
    }
  }

  #onNotify(incoming: IncomingRequest): void {
    const event = eventPackage(incoming.request);
    if (HARMLESS_EVENTS.has(event)) {
      incoming.respond(200, 'OK');
      this.#observer.requestAnswered?.('NOTIFY', 200, null);
    } else {
      // RFC 6665 §4.1.3: 481 for a subscription that does not exist, 489 for a package that is not understood.
      this.#decline(incoming, KNOWN_EVENTS.has(event) ? 481 : 489, null, []);
    }
  }

  #decline(
    incoming: IncomingRequest,
    status: number,
    code: ReasonCode | null,
    headers: readonly HeaderField[],
  ): void {
    const { method } = incoming.request;
    incoming.respond(
      status,
      reasonPhrase(status),
      code === null ? headers : [...headers, { name: 'X-Trunkline-Reason', value: code }],
    );
    this.#observer.requestAnswered?.(isKnownMethod(method) ? method : 'other', status, code);
  }
}

function refusalOf(code: ReasonCode, detail: string): Refusal {
  const { status, phrase } = REASONS[code];
  return { status, reason: phrase, code, detail };
}

/** The Event header field's package, `message-summary` of `message-summary;id=1`. */
function eventPackage(request: SipRequest): string {
  const value = request.headers.get('event') ?? '';
  const end = value.indexOf(';');
  return (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
}

const NO_LOGIN: Login = { kind: 'none' };

/** A challenged INVITE has nothing more to say. */
const DEAF = { onCancel: (): void => undefined };
