/**
 * Header lines to send. Nothing leaves here that could end a line early: what comes from a peer, a configuration
 * or an API passes `isSafeValue` first.
 */
import { isToken } from './grammar.js';
import type { HeaderField, Headers } from './message.js';
import type { Octets } from './octets.js';

export { isToken } from './grammar.js';

/** True when a value can be sent: octets, and no controls but HTAB. */
export function isSafeValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if ((c < 0x20 && c !== 0x09) || c === 0x7f || c > 0xff) return false;
  }
  return true;
}

/** `Name: value\r\n`. RangeError when the name is no token or the value is not safe: check before, this is the last fence. */
export function headerLine(name: string, value: Octets): Octets {
  if (!isToken(name)) throw new RangeError('a header field name must be a token');
  if (!isSafeValue(value)) throw new RangeError(`the value of ${name} holds a control or is not octets`);
  return `${name}: ${value}\r\n`;
}

/** The lines of several fields in order; RangeError as in `headerLine`. */
export function headerLines(fields: readonly HeaderField[]): Octets {
  let out = '';
  for (let i = 0; i < fields.length; i++) out += headerLine(fields[i]!.name, fields[i]!.value);
  return out;
}

/**
 * Lines that repeat every field of `key` of a received message under `name`, as a response repeats Via and
 * Record-Route (§8.2.6.2, §12.1.1). The parser has refused values with CR or LF, so nothing is checked again;
 * use it only towards the peer that sent them.
 */
export function echoLines(headers: Headers, key: string, name: string): Octets {
  const values = headers.all(key);
  let out = '';
  for (let i = 0; i < values.length; i++) out += `${name}: ${values[i]}\r\n`;
  return out;
}
