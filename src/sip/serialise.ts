/** Writing whole messages (RFC 3261 §7). */
import type { SipMessage } from './message.js';
import type { Octets } from './octets.js';

/** `INVITE sip:bob@example.com SIP/2.0\r\n` */
export function requestLine(method: string, uri: Octets): Octets {
  return `${method} ${uri} SIP/2.0\r\n`;
}

/** `SIP/2.0 200 OK\r\n` */
export function statusLine(status: number, reason: Octets): Octets {
  return `SIP/2.0 ${status} ${reason}\r\n`;
}

/**
 * A received message as octets again: names as the peer spelled them, values unfolded, in the order of the wire.
 * Parsing the result gives the same message.
 */
export function serialise(message: SipMessage): Octets {
  let out =
    message.kind === 'request'
      ? requestLine(message.method, message.uri)
      : statusLine(message.status, message.reason);
  message.headers.forEach((_key, name, value) => {
    out += `${name}: ${value}\r\n`;
  });
  return `${out}\r\n${message.body}`;
}
