/** The Via header field (RFC 3261 §20.42, rport RFC 3581). */
import type { Octets } from './octets.js';

export interface Via {
  /** As in the field, upper case: UDP, TCP, TLS, SCTP, or whatever the peer wrote. */
  readonly transport: string;
  /** sent-by host; IPv6 without brackets. */
  readonly host: string;
  readonly port: number | undefined;
  readonly branch: string | undefined;
  /** '' when `rport` stands without a value. */
  readonly rport: string | undefined;
  readonly received: string | undefined;
  /** The one value as written, without its neighbours in a comma-separated field. */
  readonly raw: Octets;
}
