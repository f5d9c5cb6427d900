/**
 * Which server transaction a request belongs to (RFC 3261 §17.2.3). Keys are in one piece, so that what a table
 * keeps does not hold on to the message that it was cut from, and a look-up compares flat memory.
 */
import type { SipRequest } from '#sip/message.js';
import { flattened } from '#sip/octets.js';
import { MAGIC_COOKIE } from '#sip/via.js';

/** The branch was made by an element that follows RFC 3261, so that it alone names the transaction. */
export function hasUniqueBranch(request: SipRequest): boolean {
  return request.topVia.branch?.startsWith(MAGIC_COOKIE) === true;
}

/**
 * §17.2.3: branch, sent-by and method; for an element of RFC 2543 Request-URI, To tag, From tag, Call-ID, CSeq and
 * top Via instead. `method` is INVITE to find what an ACK or a CANCEL belongs to. `toTag` replaces the request's
 * own in the second case.
 */
export function serverKey(request: SipRequest, method: string, toTag?: string): string {
  const via = request.topVia;
  if (hasUniqueBranch(request)) return flattened(`${via.branch}|${via.host}:${via.port ?? ''}|${method}`);
  const to = toTag ?? request.to.tag ?? '';
  return flattened(
    `${via.raw}|${request.uri}|${request.callId}|${request.cseq.number}|${request.from.tag ?? ''}|${to}|${method}`,
  );
}

/**
 * §8.2.2.2: a request without To tag whose From tag, Call-ID and CSeq are those of a transaction that goes on,
 * without matching it, came by two ways. '' for a request inside a dialog. A transaction that ended with 300 or
 * above does not go on in this sense: the same request by another way is then a proxy that hunts on, and 482 would
 * turn it away from the next one of our targets.
 */
export function mergeKey(request: SipRequest): string {
  if (request.to.tag !== undefined) return '';
  return flattened(`${request.callId}|${request.from.tag ?? ''}|${request.cseq.number}|${request.method}`);
}

/** §17.1.3: "the branch parameter in the top Via header field" and "the method parameter in the CSeq". */
export function clientKey(branch: string, method: string): string {
  return method === 'CANCEL' ? `${branch}|CANCEL` : branch;
}
