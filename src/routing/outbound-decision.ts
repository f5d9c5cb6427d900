/**
 * What routing answers about a call that is to leave: the ways to try in order, each an INVITE that is ready but for
 * its offer, or a refusal; and how it came to it.
 */
import type { Agent } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Secret } from '#directory/secret.js';
import type { Trunk } from '#directory/trunk.js';
import type { Target, TlsOptions, TransportName } from '#engine/engine.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { SipUri } from '#sip/uri.js';
import type { RegistrationBindings } from './bindings.js';
import type { Explanation } from './decision.js';
import type { ReasonCode } from './refusals.js';

/** A call as an agent or the API asks for it. All texts are what people write: no escapes, any character. */
export interface OutboundQuestion {
  readonly agentId: string;
  /** Who asks must belong to the agent's organisation; undefined: the agent asks for itself. */
  readonly organizationId?: string | undefined;
  /** A number, a user, or a `sip:`, `sips:` or `tel:` URI of which the user part counts. */
  readonly to: string;
  /**
   * The number to show, which must be one of the organisation's; it then also says by which trunk. `anonymous`: the
   * agent's own number, withheld. Undefined or empty: the agent's own.
   */
  readonly from?: string | undefined;
  /**
   * The only trunk to leave by, one of the organisation's, whichever the number's own is. Undefined: each number leaves
   * by its own.
   */
  readonly trunkId?: string | undefined;
  /** Undefined: the number's `displayName`. Empty: none at all, so that the far end looks the name up. */
  readonly displayName?: string | undefined;
  /** Withhold the number (RFC 3323). Undefined: as agent and trunk say. */
  readonly privacy?: boolean | undefined;
  /** Header fields for the INVITE; none that the gateway itself writes. They go before the trunk's of the same name. */
  readonly headers?: ReadonlyMap<string, string> | undefined;
  /** Value of X-Dest-User. Undefined or empty: what the agent's own account says, if the call goes by it. */
  readonly xDestUser?: string | undefined;
  /** Longest call in seconds; it can only shorten what organisation and trunk allow. */
  readonly maxDurationSeconds?: number | undefined;
}

/** What is used up already, as the calls room counts it. A call counts from its decision to its end. */
export interface OutboundUsage {
  /** Calls in progress of an organisation that it made itself. */
  callsOfOrganization(organizationId: string): number;
  /** Calls in progress on a trunk, both directions. */
  callsOnTrunk(trunkId: string): number;
  /** Outbound calls since midnight UTC. */
  callsTodayOfOrganization(organizationId: string): number;
  callsTodayOnTrunk(trunkId: string): number;
}

/** What the decision asks of the rest of the house, besides the directory. */
export interface OutboundConditions {
  readonly bindings: RegistrationBindings;
  readonly usage: OutboundUsage;
}

export type NextHop =
  /** Find the server (RFC 3263). */
  | {
      readonly kind: 'resolve';
      /** Where to look: the outbound proxy, or the server. */
      readonly destination: SipUri;
      readonly transport: TransportName;
      readonly tls: TlsOptions | undefined;
      /** Preloaded route, as URIs in angle brackets (RFC 3261 §8.1.2). */
      readonly route: readonly Octets[] | undefined;
    }
  /** The way that the account is registered by, and no other. */
  | {
      readonly kind: 'registered';
      readonly registrationId: string;
      readonly target: Target;
      readonly route: readonly Octets[] | undefined;
    };

/** The line that an INVITE stands in before it leaves: the parts of a `PaceRule` that the directory knows. */
export interface OutboundPace {
  /** `<organizationId>/<cpsKey>`. */
  readonly key: string;
  /** New INVITEs per second: the smallest limit of all members of the key. Undefined: not paced. */
  readonly limit: number | undefined;
  /** Slots that may be taken at once after a rest; 1 is even spacing. The smallest of all members. */
  readonly burst: number;
  /** The repeat of a challenged INVITE takes a slot, too. */
  readonly countsChallenges: boolean;
}

/** One way to try: everything of its INVITE but the offer and what the engine and the call own. */
export interface OutboundRoute {
  /** The trunk, or `agent:<id>`, which stands for the agent's own account. */
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
  /** The callee as this trunk writes it, without escapes: for records. */
  readonly dialled: string;
  /** Request-URI. */
  readonly uri: Octets;
  /** name-addr without tag. */
  readonly from: Octets;
  /** name-addr without tag. */
  readonly to: Octets;
  /** User part of Contact: of the registration, where there is one. */
  readonly contactUser: Octets | undefined;
  /** Identity, Privacy, X-Dest-User, then the fields of request and trunk. None of them is the engine's or the call's. */
  readonly headers: readonly HeaderField[];
  readonly nextHop: NextHop;
  readonly credentials: { readonly username: string; readonly password: Secret } | undefined;
  /** The configured domain; undefined: any realm will do. A different one is answered, and reported. */
  readonly expectedRealm: string | undefined;
  readonly pace: OutboundPace;
  /** Seconds from the answer; the smallest of request, organisation and trunk. Undefined: no end. */
  readonly maxDurationSeconds: number | undefined;
}

export interface OutboundAcceptance {
  readonly kind: 'route';
  readonly organizationId: string;
  readonly agent: Agent;
  /** The callee in normal form, E.164 where it can be told by the first route's trunk. */
  readonly callee: string;
  /** In the order to try them; never empty. */
  readonly routes: readonly OutboundRoute[];
  readonly explanation: Explanation;
}

export interface OutboundRefusal {
  readonly kind: 'refuse';
  readonly code: ReasonCode;
  /** SIP status and reason phrase for an agent that calls by SIP. */
  readonly status: number;
  readonly reason: string;
  /** For the API. */
  readonly httpStatus: number;
  /** What was wrong in this case, for people; printable. */
  readonly detail: string;
  /** The field of the question that is at fault: `to`, `from`, `headers.To`, `xDestUser`. */
  readonly field: string | undefined;
  readonly organizationId: string | undefined;
  readonly agent: Agent | undefined;
  /** Of the candidate whose refusal this is. */
  readonly trunk: Trunk | undefined;
  readonly number: PhoneNumber | undefined;
  readonly explanation: Explanation;
}

export type OutboundDecision = OutboundAcceptance | OutboundRefusal;
