/**
 * A trunk: one account at a provider, what the API calls SIP credentials. Field names are the API's. A field that
 * is undefined takes the gateway's default, which is not the trunk's business.
 */
import type { Cidr } from './cidr.js';
import type { Secret } from './secret.js';

export const TRANSPORTS = ['udp', 'tcp', 'tls'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** Where an INVITE may name the number that was dialled, as `didSource` lists them. */
export const DID_SOURCES = [
  'ruri',
  'to',
  'x-dest-user',
  'diversion',
  'p-called-party-id',
  'history-info',
] as const;
export type DidSource = (typeof DID_SOURCES)[number];

/** Which header field carries the caller's number on calls to the provider. */
export const CALLER_ID_MODES = ['from', 'pai', 'ppi', 'rpid', 'diversion'] as const;
export type CallerIdMode = (typeof CALLER_ID_MODES)[number];

/** How numbers are written on calls to the provider. */
export const NUMBER_FORMATS = ['asIs', 'e164', 'plain', 'national'] as const;
export type NumberFormat = (typeof NUMBER_FORMATS)[number];

/** Who wrote the object: the config file (read-only), a person through the API, or a provider's connection. */
export type ObjectSource = 'config' | 'manual' | 'provider';

export interface HostPort {
  /** Host name in lower case, or an IP literal without brackets. */
  readonly host: string;
  /** undefined: SRV decides, else 5060, or 5061 for TLS (RFC 3263 §4.2). */
  readonly port: number | undefined;
}

/** Same shape as the engine's TLS options; undefined fields take the engine's defaults. */
export interface TrunkTls {
  readonly verify: boolean | undefined;
  /** PEM text. */
  readonly ca: string | undefined;
  /** PEM text. */
  readonly clientCert: string | undefined;
  /** PEM text of the private key. */
  readonly clientKey: Secret | undefined;
  readonly serverName: string | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

export interface OptionsPing {
  readonly intervalSeconds: number;
  /** Missed answers in a row that make a target unhealthy. */
  readonly failAfter: number;
  /** Answers in a row that make it healthy again. */
  readonly okAfter: number;
}

/** User and password that calls to us show (digest, RFC 3261 §22). Users are one's own, among all trunks and agents. */
export interface InboundAuth {
  readonly username: string;
  readonly password: Secret;
}

/** Whose objects those of the config file are, unless they say otherwise. */
export const DEFAULT_ORGANIZATION = 'default';

/** Beginnings of numbers, with `+` in E.164 or as people dial them. The longest that fits decides, deny before allow. */
export interface Destinations {
  /** Empty: everything that is not denied. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/** Takes calls from any address, by user and password. */
export function isOpen({
  inboundAuth,
  allowedAddresses,
}: Pick<Trunk, 'inboundAuth' | 'allowedAddresses'>): boolean {
  return inboundAuth !== undefined && allowedAddresses.length === 0;
}

export interface Trunk {
  readonly id: string;
  readonly organizationId: string;
  readonly description: string | undefined;
  readonly source: ObjectSource;
  /** The provider object that it came with and goes with. */
  readonly providerId: string | undefined;
  readonly server: HostPort;
  readonly transport: Transport;
  readonly outboundProxy: HostPort | undefined;
  readonly authUser: string | undefined;
  readonly authUsername: string | undefined;
  readonly authPassword: Secret | undefined;
  /** Host part of From, To and the AOR, and the realm expected; default is the server's host. */
  readonly domain: string | undefined;
  readonly fromUser: string | undefined;
  readonly fromDomain: string | undefined;
  readonly callerIdMode: CallerIdMode;
  readonly numberFormat: NumberFormat;
  /** ISO 3166 code in capitals: how numbers without `+` from this trunk are read. */
  readonly country: string | undefined;
  readonly techPrefix: string | undefined;
  readonly userPhone: boolean;
  /** The caller's number is withheld on all calls by this trunk (RFC 3323). */
  readonly privacy: boolean;
  /** Calls per second, fractions allowed; undefined: not paced. */
  readonly cpsLimit: number | undefined;
  /** Trunks with one key share one limit; the trunk's own id when none was given. */
  readonly cpsKey: string;
  /** Calls that may leave at once after a rest; 1 is even spacing. */
  readonly cpsBurst: number;
  /** The provider counts the repeat of a challenged INVITE as a call. */
  readonly cpsCountsChallenges: boolean;
  /** Where calls from this provider come from. Empty: anywhere with `inboundAuth`, else nowhere. */
  readonly allowedAddresses: readonly Cidr[];
  /** Shown by every call from this provider, besides that it comes from `allowedAddresses`. */
  readonly inboundAuth: InboundAuth | undefined;
  /** Tried in this order; the first that names a known number wins. */
  readonly didSource: readonly DidSource[];
  /** Header fields added to every INVITE towards the provider. */
  readonly headers: ReadonlyMap<string, string>;
  /** Header fields of the provider's INVITE, besides the gateway's own list, that reach the agent; a trailing `*` matches a prefix. */
  readonly relayHeaders: readonly string[];
  readonly tls: TrunkTls;
  readonly optionsPing: OptionsPing | undefined;
  /** Calls in progress, both directions; undefined: bounded by the gateway only. */
  readonly maxConcurrentCalls: number | undefined;
  /** Outbound calls from midnight to midnight UTC. */
  readonly callsPerDay: number | undefined;
  /** Where calls by this trunk may go, besides what the organisation says. */
  readonly destinations: Destinations;
  readonly ringTimeoutSeconds: number | undefined;
  readonly maxDurationSeconds: number | undefined;
  /** Answers after which the next target is tried; undefined: the gateway's list. */
  readonly failoverStatuses: readonly number[] | undefined;
  readonly delayedOffer: boolean;
}
