/** What crosses between this room and a drachtio-server, as `srf.ts` hands it on: messages as octets, and what the server says of them. */
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  /** TLS to the server's admin port; `ca` is PEM and replaces the system's roots. */
  readonly tls?: { readonly ca?: string | undefined; readonly serverName?: string | undefined } | undefined;
}

/** Where a message came from, as the server tells it. */
export interface WireSource {
  readonly transport: string;
  /** Empty for a response that the server made up itself. */
  readonly address: string;
  readonly port: number;
  readonly receivedOn: string | undefined;
}

/** A request from the network. */
export interface WireRequest {
  readonly method: string;
  readonly octets: Octets;
  readonly source: WireSource;
  /** Empty outside a dialog. */
  readonly dialogId: string;
  /** The server itself sent this BYE and tells of it: nothing is to be answered. */
  readonly unsolicited: boolean;
  /** The server's name for its transaction; outlives the connection. */
  readonly transactionId: string;
  /** Called with the octets of a CANCEL of this request, which the server has answered. */
  onCancel: ((octets: Octets) => void) | undefined;
  /** `done` hears the id of the dialog, or why the response did not go out. */
  respond(status: number, reason: Octets, message: OutgoingParts, done: SendDone): void;
}

export type SendDone = (failure: string | null, dialogId: string) => void;

export interface OutgoingParts {
  readonly headers: readonly HeaderField[];
  readonly body: Octets;
  /** To tag of a response outside a dialog; the server keeps the one that it gets first. */
  readonly toTag?: string | undefined;
}

/** A response from the network, or made up by the server when `source.address` is empty. */
export interface WireResponse {
  readonly octets: Octets;
  readonly status: number;
  readonly source: WireSource;
  readonly dialogId: string;
  /** ACK of a 2xx to INVITE, PRACK of a reliable provisional response. */
  acknowledge(message: OutgoingParts, done: SendDone): void;
}

export interface WireTransaction {
  /** The server's name for it; outlives the connection. */
  readonly id: string;
  cancel(headers: readonly HeaderField[], done: SendDone): void;
}

export interface WireRequestOptions {
  readonly method: string;
  readonly headers: readonly HeaderField[];
  readonly body: Octets;
  /** Outside a dialog. */
  readonly uri?: Octets | undefined;
  readonly proxy?: string | undefined;
  /** Inside a dialog: route and CSeq are the server's affair, and the Request-URI where none is given. */
  readonly dialogId?: string | undefined;
}

export interface WireRequestEvents {
  /** It was written. */
  onSent(transaction: WireTransaction): void;
  /** It was not sent; what the server, or drachtio-srf, says. */
  onRefused(reason: string): void;
  onResponse(response: WireResponse): void;
}

export interface ConnectionEvents {
  /** Authenticated; `advertised` and `bound` are lists of `transport/address:port`. */
  onReady(advertised: readonly string[], bound: readonly string[], version: string): void;
  /** Once, whatever the reason; nothing follows. `fatal`: the secret is wrong. */
  onClosed(detail: string, fatal: boolean): void;
  onRequest(request: WireRequest): void;
}
