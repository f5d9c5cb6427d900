/**
 * Accounts at providers that the gateway sets up by itself: the seam. A connector knows one provider's API; `providers.ts`
 * knows what the gateway keeps of it. A second provider is a second connector and nothing else.
 *
 * What a connector makes at the provider is written down before and after each step (`Ledger`), so that a crash, a lost
 * answer or a refusal half-way leaves nothing that nobody knows of.
 */
import type { Secret } from '#directory/secret.js';

/** Something that was made at the provider. */
export interface RemoteResource {
  /** The connector's word for it: `trunk`, `credentialList`, `originationUrl`… */
  readonly kind: string;
  /** The provider's id; null while its making was asked for and no answer has come. */
  readonly id: string | null;
}

/** Where the connector writes down what exists at the provider. Each call returns when that is kept. */
export interface Ledger {
  readonly resources: readonly RemoteResource[];
  /** About to make one. */
  intend(kind: string): Promise<void>;
  /** It exists. */
  made(kind: string, id: string): Promise<void>;
  /** It was not made, or is gone. */
  gone(kind: string, id: string | null): Promise<void>;
}

export interface ProviderAccount {
  /** Our id of the provider object; names what is made there. */
  readonly providerId: string;
  readonly accountSid: string;
  readonly authToken: Secret;
}

export interface ConnectOptions {
  /** SIP URI that the provider sends inbound calls to: us, as it reaches us. */
  readonly originationUri: string;
  /** Digest user and password that are made known to the provider. */
  readonly credentials: { readonly username: string; readonly password: Secret };
}

/** The trunk as our directory is to have it. */
export interface ConnectedTrunk {
  /** Host of the provider's SIP server. */
  readonly server: string;
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** Where its INVITEs come from, as CIDR. */
  readonly allowedAddresses: readonly string[];
  readonly numberFormat: 'e164';
  /** What the provider lets a new trunk do, in calls per second. */
  readonly cpsLimit: number;
}

export interface AvailableNumber {
  /** The provider's id of the number. */
  readonly id: string;
  /** E.164. */
  readonly phoneNumber: string;
  readonly friendlyName: string | null;
  /** It can carry calls. */
  readonly voice: boolean;
  /** Already sent to us, elsewhere, or to nobody yet. */
  readonly assigned: 'here' | 'elsewhere' | 'none';
}

/** What could not be removed at the provider, and why: a person has to. */
export interface Leftover extends RemoteResource {
  readonly reason: string;
}

export interface Connector {
  /** The provider's name, `type` in the API. */
  readonly type: string;
  /** Makes what is missing of the account's trunk; what the ledger has is kept. Rejects with `ProviderFault`. */
  connect(account: ProviderAccount, options: ConnectOptions, ledger: Ledger): Promise<ConnectedTrunk>;
  /** The account's numbers, in the provider's order. Rejects with `ProviderFault`. */
  availableNumbers(account: ProviderAccount, ledger: Ledger): Promise<readonly AvailableNumber[]>;
  /** Sends calls to the number to us; it is one of `availableNumbers`. Idempotent. Rejects with `ProviderFault`. */
  assign(account: ProviderAccount, numberId: string, ledger: Ledger): Promise<void>;
  /** Takes the number back. Idempotent. Rejects with `ProviderFault`. */
  release(account: ProviderAccount, numberId: string, ledger: Ledger): Promise<void>;
  /** Removes what the ledger has, as much as can be; answers what is left. */
  disconnect(account: ProviderAccount, ledger: Ledger): Promise<readonly Leftover[]>;
}

export type ProviderFaultKind =
  /** It does not take the account's name and token. */
  | 'unauthorised'
  /** It understood and refused; `detail` is its reason. */
  | 'refused'
  /** It answered nonsense, or that it is out of order. */
  | 'unavailable'
  /** It could not be reached, or did not answer in time. */
  | 'unreachable'
  /** No such thing there. */
  | 'not_found';

/** Why the provider did not do what was asked. `message` is fit for people and holds no secret. */
export class ProviderFault extends Error {
  readonly kind: ProviderFaultKind;
  /** HTTP status; 0 when there was none. */
  readonly status: number;
  /** The provider's own code; null when it gave none. */
  readonly code: number | null;
  /** Nobody knows whether it was done. */
  readonly ambiguous: boolean;

  constructor(
    kind: ProviderFaultKind,
    message: string,
    more: { readonly status?: number; readonly code?: number | null; readonly ambiguous?: boolean } = {},
  ) {
    super(message);
    this.name = 'ProviderFault';
    this.kind = kind;
    this.status = more.status ?? 0;
    this.code = more.code ?? null;
    this.ambiguous = more.ambiguous ?? false;
  }
}
