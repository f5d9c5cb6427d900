/** Writing start lines (RFC 3261 §7.1, §7.2). What they are made of is checked by whoever makes it. */
import type { Octets } from './octets.js';

/** `INVITE sip:bob@example.com SIP/2.0\r\n` */
export function requestLine(method: string, uri: Octets): Octets {
  return `${method} ${uri} SIP/2.0\r\n`;
}

/** `SIP/2.0 200 OK\r\n` */
export function statusLine(status: number, reason: Octets): Octets {
  return `SIP/2.0 ${status} ${reason}\r\n`;
}
