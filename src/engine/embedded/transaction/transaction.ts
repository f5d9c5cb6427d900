/**
 * What the dialog layer asks of the transaction layer (RFC 3261 §17, RFC 6026). A transaction knows timers,
 * matching and retransmission; it knows no dialog.
 */

import type { SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { Source } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Outlet } from '../transport/transport.js';

/** The part of a request that ACK and CANCEL repeat (§9.1, §17.1.1.3). All values without line ends. */
export interface RequestHead {
  readonly method: string;
  readonly uri: Octets;
  /** From value with tag. */
  readonly from: Octets;
  /** To value, with tag inside a dialog. */
  readonly to: Octets;
  readonly callId: Octets;
  readonly cseq: number;
  readonly maxForwards: number;
  /** `Route: …\r\n` lines, or ''. */
  readonly routeLines: Octets;
}

export interface ClientUser {
  /** Every response that the transaction passes up: 1xx (100 too), the final one, and for INVITE each further 2xx. */
  onResponse(response: SipResponse, source: Source): void;
  /** No final response will come. Not called after one. */
  onFault(fault: EngineFault): void;
}

export interface ClientTransaction {
  readonly branch: string;
  /**
   * Sends CANCEL for an INVITE: at once when a provisional response has been seen, else after the first one.
   * `lines`: further header lines (Reason), each ending in CRLF. Without a final response 64·T1 after the CANCEL
   * the transaction faults with `timeout`. Ignored after a final response.
   */
  cancel(lines: Octets): void;
}

export interface ServerUser {
  /** CANCEL of a pending INVITE; already answered 200. The user answers the INVITE with 487. */
  onCancel(cancel: SipRequest): void;
  /** Final non-2xx never acknowledged (timer H), or the transport failed: nothing more to do but forget. */
  onLost(detail: string): void;
}

export interface ServerTransaction {
  /** Released (undefined) once a final response has been sent, to keep waiting transactions small: copy the reference. */
  readonly request: SipRequest;
  readonly source: Source;
  readonly standing: 'known' | 'stranger';
  user: ServerUser | null;
  /** True once a final response has been sent. */
  readonly answered: boolean;
  /** The To tag used when `respond` is given none: the request's own, else one made on first use. */
  readonly localTag: string;
  /**
   * Builds and sends a response. `lines`: header lines after CSeq, each ending in CRLF, without Content-Length.
   * Returns the octets sent, '' when a final response had been sent before.
   * @param fewer what of `lines` is to stay where there is no room for all of them; default none
   */
  respond(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag?: string,
    fewer?: Octets,
  ): Octets;
  /** Sends octets again that `respond` returned: 2xx until ACK (§13.3.1.4), reliable 1xx until PRACK. */
  resend(octets: Octets): void;
}

/** The dialog layer, as the transaction layer sees it. */
export interface TransactionUser {
  screen(source: Source): 'known' | 'stranger' | 'drop';
  /** A new request other than ACK and CANCEL. 100 Trying to an INVITE goes out by itself when 200 ms pass without a response (§17.2.1). */
  onRequest(transaction: ServerTransaction): void;
  /** An ACK that belongs to no final non-2xx: the ACK of a 2xx. */
  onAck(ack: SipRequest, source: Source): void;
  onNotice(notice: import('../../engine.js').EngineNotice): void;
}

export interface TransactionLayer {
  /** Sends a request. `rest`: header lines after Max-Forwards, each ending in CRLF, without Content-Length. */
  request(
    head: RequestHead,
    rest: Octets,
    body: Octets,
    outlet: Outlet,
    user: ClientUser,
  ): ClientTransaction | EngineFault;
  /** Sends an ACK of a 2xx: no transaction. Returns the octets, to be sent again through the same outlet. */
  ack(head: RequestHead, rest: Octets, body: Octets, outlet: Outlet): Octets;
  /** Transactions that exist now. */
  readonly size: number;
  /** Ends every transaction without sending; at stop. */
  close(): void;
}
