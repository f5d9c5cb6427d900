/** The Via header field (RFC 3261 §20.42, rport RFC 3581). */
import {
  BLANK,
  bytesOf,
  COLON,
  COMMA,
  DQUOTE,
  decimal,
  HOST,
  IPV6,
  ParamCursor,
  SEMICOLON,
  SLASH,
  skip,
  spells,
  TOKEN,
  trimEnd,
} from './grammar.js';
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

/** §8.1.1.7: a branch that begins so is unique by RFC 3261's rules. */
export const MAGIC_COOKIE = 'z9hG4bK';

const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const cursor = new ParamCursor();
let transportStart = 0;
let transportEnd = 0;

/** The first Via value of a field; undefined when it is malformed. */
export function parseVia(fieldValue: Octets): Via | undefined {
  return viaIn(fieldValue, bytesOf(fieldValue), 0, fieldValue.length);
}

/** The first Via value in `[from, to)` of a text. */
export function viaIn(text: Octets, bytes: Uint8Array, from: number, to: number): Via | undefined {
  const end = trimEnd(bytes, from, to);
  const start = skip(bytes, from, end, BLANK);
  const protocol = readProtocol(text, bytes, start, end);
  if (protocol === 0) return undefined;
  const transport = transportIn(text, transportStart, transportEnd);
  let at = protocol;
  let next: number;
  // sent-by = host [ COLON port ]
  let host: string;
  if (bytes[at] === OPEN_BRACKET) {
    next = skip(bytes, at + 1, end, IPV6);
    if (next === at + 1 || next >= end || bytes[next] !== CLOSE_BRACKET) return undefined;
    host = text.slice(at + 1, next);
    at = next + 1;
  } else {
    next = skip(bytes, at, end, HOST);
    if (next === at) return undefined;
    host = text.slice(at, next);
    at = next;
  }
  at = skip(bytes, at, end, BLANK);
  let port: number | undefined;
  if (at < end && bytes[at] === COLON) {
    const digits = skip(bytes, at + 1, end, BLANK);
    next = skip(bytes, digits, end, TOKEN);
    port = decimal(bytes, digits, next, 65_535);
    if (port < 1) return undefined;
    at = skip(bytes, next, end, BLANK);
  }
  let branch: string | undefined;
  let rport: string | undefined;
  let received: string | undefined;
  while (at < end && bytes[at] === SEMICOLON) {
    cursor.at = at;
    if (!cursor.next(bytes, end)) return undefined;
    at = cursor.at;
    const nameStart = cursor.nameStart;
    const nameEnd = cursor.nameEnd;
    if (spells(bytes, nameStart, nameEnd, 'branch')) {
      // §7.3.1: no parameter twice; two branches would make two transactions of one.
      if (branch !== undefined || cursor.valueStart < 0 || bytes[cursor.valueStart] === DQUOTE)
        return undefined;
      branch = text.slice(cursor.valueStart, cursor.valueEnd);
    } else if (rport === undefined && spells(bytes, nameStart, nameEnd, 'rport')) {
      rport = cursor.valueStart < 0 ? '' : text.slice(cursor.valueStart, cursor.valueEnd);
    } else if (received === undefined && spells(bytes, nameStart, nameEnd, 'received')) {
      received = unbracket(cursor.value(text));
    }
  }
  if (at < end && bytes[at] !== COMMA) return undefined;
  return {
    transport,
    host,
    port,
    branch,
    rport,
    received,
    raw: text.slice(start, trimEnd(bytes, start, at)),
  };
}

/**
 * sent-protocol LWS: position of sent-by, the transport in `transportStart` and `transportEnd`; 0 when malformed. Any
 * protocol and version pass, since a request of another version is answered too (505).
 */
function readProtocol(text: Octets, bytes: Uint8Array, start: number, end: number): number {
  let at: number;
  if (text.startsWith('SIP/2.0/', start)) at = start + 8;
  else {
    // protocol-name SLASH protocol-version SLASH transport, with blanks around each slash
    at = skip(bytes, start, end, TOKEN);
    if (at === start) return 0;
    const version = slash(bytes, at, end);
    if (version < 0) return 0;
    at = skip(bytes, version, end, TOKEN);
    if (at === version) return 0;
    at = slash(bytes, at, end);
    if (at < 0) return 0;
  }
  transportStart = skip(bytes, at, end, BLANK);
  transportEnd = skip(bytes, transportStart, end, TOKEN);
  const sentBy = skip(bytes, transportEnd, end, BLANK);
  return transportEnd === transportStart || sentBy === transportEnd ? 0 : sentBy;
}

/** Position behind SLASH = SWS "/" SWS, −1 when there is none. */
function slash(bytes: Uint8Array, at: number, end: number): number {
  const mark = skip(bytes, at, end, BLANK);
  if (mark >= end || bytes[mark] !== SLASH) return -1;
  return skip(bytes, mark + 1, end, BLANK);
}

function transportIn(text: Octets, start: number, end: number): string {
  if (end - start === 3) {
    if (text.startsWith('UDP', start)) return 'UDP';
    if (text.startsWith('TCP', start)) return 'TCP';
    if (text.startsWith('TLS', start)) return 'TLS';
  }
  return text.slice(start, end).toUpperCase();
}

/** RFC 5118 §4.5: `received` is met with and without brackets around an IPv6 address. */
function unbracket(address: Octets): Octets {
  return address.charCodeAt(0) === OPEN_BRACKET && address.charCodeAt(address.length - 1) === CLOSE_BRACKET
    ? address.slice(1, -1)
    : address;
}
