/** A voice agent: where its calls go. */
import type { Cidr } from './cidr.js';
import type { Secret } from './secret.js';
import type { CallerIdMode, HostPort, InboundAuth, ObjectSource, Transport } from './trunk.js';

/** One place where an agent answers. */
export interface Endpoint {
  /** SIP or SIPS URI, used as Request-URI; `;transport=` and port say how it is reached (RFC 3263). */
  readonly uri: string;
  /** 0 to 65535, the lowest is tried first. */
  readonly priority: number;
  /** 0 to 65535, the share of first attempts among endpoints of one priority (as in RFC 2782). */
  readonly weight: number;
}

/** An account of the agent's own at a PBX or provider: the gateway registers it and hands its calls to the agent. */
export interface AgentSipRegistration {
  /** Host part of the AOR, Request-URI of REGISTER, and the realm expected. */
  readonly domain: string;
  /** User part of the AOR, and the extension. */
  readonly username: string;
  readonly password: Secret;
  /** Digest user when it differs from `username`. */
  readonly authUsername: string | undefined;
  /** Where requests are sent instead of to the domain. */
  readonly proxy: HostPort | undefined;
  /** Port of the domain; undefined: SRV decides (RFC 3263 §4.2). */
  readonly port: number | undefined;
  readonly transport: Transport;
  /** Watch the account's presence and dialogs. */
  readonly subscribe: boolean;
  /** Number that the agent's calls show: user of From, and in the header field of `callerIdMode`. */
  readonly did: string | undefined;
  readonly callerIdMode: CallerIdMode;
  /** Value of X-Dest-User. */
  readonly xDestUser: string | undefined;
}

/** Whose phone rings first when a call is made for an agent. */
export const ORIGINATE_ORDERS = ['agentFirst', 'calleeFirst'] as const;
export type OriginateOrder = (typeof ORIGINATE_ORDERS)[number];

export interface Agent {
  readonly id: string;
  readonly organizationId: string;
  readonly source: ObjectSource;
  readonly name: string;
  readonly enabled: boolean;
  /** `sip`, `livekit` or another; says what the agent can do, not how it is reached. */
  readonly platform: string;
  readonly endpoints: readonly Endpoint[];
  /** Header fields added to every INVITE towards the agent. */
  readonly headers: ReadonlyMap<string, string>;
  /** Id of the number that the agent calls from. */
  readonly outboundNumberId: string | undefined;
  /** Ids of further numbers, whose trunks are tried in this order when a call cannot leave by the first. */
  readonly fallbackNumberIds: readonly string[];
  /** Its number is withheld unless a call says otherwise (RFC 3323). */
  readonly callerPrivacy: boolean;
  readonly originate: OriginateOrder;
  /** Wherever it calls from. */
  readonly inboundAuth: InboundAuth | undefined;
  /** Where its calls come from, besides the addresses among its endpoints. */
  readonly allowedAddresses: readonly Cidr[];
  readonly ringTimeoutSeconds: number | undefined;
  readonly sipRegistration: AgentSipRegistration | undefined;
}
