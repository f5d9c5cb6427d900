/** The way back from a message that was read: what the parser has understood, as octets. */
import type { SipMessage } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { requestLine, statusLine } from '#sip/serialise.js';

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
