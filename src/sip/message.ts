/**
 * A SIP message as received: a request or a response whose header fields are indexed in one pass and read
 * lazily (RFC 3261 §7). Only `parse.ts` makes them.
 */
import type { NameAddr } from './name-addr.js';
import type { Octets } from './octets.js';
import type { SipUri } from './uri.js';
import type { Via } from './via.js';

/** One header field to send: name as it goes on the wire, value without line ends. */
export interface HeaderField {
  readonly name: string;
  readonly value: Octets;
}

export interface CSeq {
  /** 0 to 2^31 − 1 (§8.1.1.5). */
  readonly number: number;
  readonly method: string;
}

/**
 * The header fields of a message in the order of the wire. `key` is always the long name in lower case
 * (`via` for `v:`), so `get('call-id')` finds every spelling.
 */
export interface Headers {
  /** Number of header fields (lines). */
  readonly size: number;
  /** The first field's value, unfolded and trimmed; undefined when there is none. */
  get(key: string): Octets | undefined;
  /** Every field's value in order; a field with several comma-separated values stays one string. */
  all(key: string): Octets[];
  has(key: string): boolean;
  count(key: string): number;
  /** Visits every field: canonical key, name as spelled by the peer, value. */
  forEach(visit: (key: string, name: string, value: Octets) => void): void;
}

interface Message {
  readonly headers: Headers;
  readonly body: Octets;
  /** Checked by the parser, so never empty in a message that `parseMessage` accepted. */
  readonly callId: Octets;
  readonly cseq: CSeq;
  /** Checked by the parser; display name and parameters are decoded on first use. */
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;
  /** The first Contact value; undefined when there is none, it is `*`, or it is malformed. */
  readonly contact: NameAddr | undefined;
}

export interface SipRequest extends Message {
  readonly kind: 'request';
  readonly method: string;
  /** Request-URI as received. */
  readonly uri: Octets;
  /** The same, decoded. */
  readonly requestUri: SipUri;
  /** 70 when the header is missing (RFC 3261 §16.3 treats that as allowed). */
  readonly maxForwards: number;
}

export interface SipResponse extends Message {
  readonly kind: 'response';
  /** 100 to 699. */
  readonly status: number;
  readonly reason: Octets;
}

export type SipMessage = SipRequest | SipResponse;
