/** The requests that leave: request line, our Via, and the header fields that RFC 3261 §8.1.1 wants in each. */
import { flattened, type Octets } from '#sip/octets.js';
import type { Outlet } from '../transport/transport.js';
import type { RequestHead } from './transaction.js';

const LINE_BREAKING = /[\0\r\n]/;
const LINE_BREAKING_ALL = /[\0\r\n]+/g;

/**
 * A value fit to stand in a line of ours. It comes from our user, who has checked it; a line end that came through
 * all the same must not become a header field.
 */
export function oneLine(value: Octets): Octets {
  return LINE_BREAKING.test(value) ? value.replace(LINE_BREAKING_ALL, ' ') : value;
}

const VIA_STARTS = { udp: 'Via: SIP/2.0/UDP ', tcp: 'Via: SIP/2.0/TCP ', tls: 'Via: SIP/2.0/TLS ' } as const;

/** The top Via, naming the transport that carries the request. RFC 3581 §3: a client asks for `rport` on UDP. */
export function viaLine(outlet: Outlet, branch: string): Octets {
  const end = outlet.transport === 'udp' ? ';rport\r\n' : '\r\n';
  return `${VIA_STARTS[outlet.transport]}${outlet.sentBy};branch=${branch}${end}`;
}

/** `INVITE sip:bob@example.com SIP/2.0` and its CRLF; a URI cannot break out of the line. */
export function requestLine(method: string, uri: Octets): Octets {
  return `${method} ${oneLine(uri)} SIP/2.0\r\n`;
}

/** Everything after the Via. `rest`: header lines, each ending in CRLF, without Content-Length. */
export function requestTail(head: RequestHead, rest: Octets, body: Octets): Octets {
  return tail(head, head.method, head.to, rest, body);
}

/**
 * The ACK of a final response other than 2xx. §17.1.1.3: Request-URI, From, Call-ID, Route, the single Via and
 * the CSeq number are those of the INVITE, the To is that of the response.
 */
export function ackOctets(head: RequestHead, via: Octets, to: Octets): Octets {
  return flattened(requestLine('ACK', head.uri) + via + tail(head, 'ACK', to, '', ''));
}

/** §9.1: as the request that it cancels in Request-URI, Call-ID, To, From, CSeq number, Via and Route. */
export function cancelOctets(head: RequestHead, via: Octets, lines: Octets): Octets {
  return flattened(requestLine('CANCEL', head.uri) + via + tail(head, 'CANCEL', head.to, lines, ''));
}

function tail(head: RequestHead, method: string, to: Octets, rest: Octets, body: Octets): Octets {
  return `${head.routeLines}Max-Forwards: ${head.maxForwards}\r\nFrom: ${oneLine(head.from)}\r\nTo: ${oneLine(
    to,
  )}\r\nCall-ID: ${oneLine(head.callId)}\r\nCSeq: ${head.cseq} ${method}\r\n${rest}Content-Length: ${body.length}\r\n\r\n${body}`;
}
