/** The Via header field (RFC 3261 §20.42, rport RFC 3581). */
import {
  BLANK,
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

/** The first Via value of a field; undefined when it is malformed. */
export function parseVia(fieldValue: Octets): Via | undefined {
  return viaIn(fieldValue, 0, fieldValue.length);
}

/** The first Via value in `[from, to)` of a text. */
export function viaIn(text: Octets, from: number, to: number): Via | undefined {
  const end = trimEnd(text, from, to);
  const start = skip(text, from, end, BLANK);
  // sent-protocol = protocol-name SLASH protocol-version SLASH transport, with blanks around each slash.
  let at = skip(text, start, end, TOKEN);
  if (at === start) return undefined;
  at = slash(text, at, end);
  if (at < 0) return undefined;
  let next = skip(text, at, end, TOKEN);
  if (next === at) return undefined;
  const transportStart = slash(text, next, end);
  if (transportStart < 0) return undefined;
  next = skip(text, transportStart, end, TOKEN);
  const transport = text.slice(transportStart, next);
  at = skip(text, next, end, BLANK);
  if (next === transportStart || at === next) return undefined;
  // sent-by = host [ COLON port ]
  let host: string;
  if (text.charCodeAt(at) === OPEN_BRACKET) {
    next = skip(text, at + 1, end, IPV6);
    if (next === at + 1 || next >= end || text.charCodeAt(next) !== CLOSE_BRACKET) return undefined;
    host = text.slice(at + 1, next);
    at = next + 1;
  } else {
    next = skip(text, at, end, HOST);
    if (next === at) return undefined;
    host = text.slice(at, next);
    at = next;
  }
  at = skip(text, at, end, BLANK);
  let port: number | undefined;
  if (at < end && text.charCodeAt(at) === COLON) {
    const digits = skip(text, at + 1, end, BLANK);
    next = skip(text, digits, end, TOKEN);
    port = decimal(text, digits, next, 65_535);
    if (port < 1) return undefined;
    at = skip(text, next, end, BLANK);
  }
  let branch: string | undefined;
  let rport: string | undefined;
  let received: string | undefined;
  while (at < end && text.charCodeAt(at) === SEMICOLON) {
    cursor.at = at;
    if (!cursor.next(text, end)) return undefined;
    at = cursor.at;
    const nameStart = cursor.nameStart;
    const nameEnd = cursor.nameEnd;
    if (spells(text, nameStart, nameEnd, 'branch')) {
      // §7.3.1: no parameter twice; two branches would make two transactions of one.
      if (branch !== undefined || cursor.valueStart < 0 || text.charCodeAt(cursor.valueStart) === DQUOTE)
        return undefined;
      branch = text.slice(cursor.valueStart, cursor.valueEnd);
    } else if (rport === undefined && spells(text, nameStart, nameEnd, 'rport')) {
      rport = cursor.valueStart < 0 ? '' : text.slice(cursor.valueStart, cursor.valueEnd);
    } else if (received === undefined && spells(text, nameStart, nameEnd, 'received')) {
      received = unbracket(cursor.value(text));
    }
  }
  if (at < end && text.charCodeAt(at) !== COMMA) return undefined;
  return {
    transport: upperTransport(transport),
    host,
    port,
    branch,
    rport,
    received,
    raw: text.slice(start, trimEnd(text, start, at)),
  };
}

/** Position behind SLASH = SWS "/" SWS, −1 when there is none. */
function slash(text: Octets, at: number, end: number): number {
  const mark = skip(text, at, end, BLANK);
  if (mark >= end || text.charCodeAt(mark) !== SLASH) return -1;
  return skip(text, mark + 1, end, BLANK);
}

function upperTransport(transport: string): string {
  switch (transport) {
    case 'UDP':
    case 'TCP':
    case 'TLS':
      return transport;
    default:
      return transport.toUpperCase();
  }
}

/** RFC 5118 §4.5: `received` is met with and without brackets around an IPv6 address. */
function unbracket(address: Octets): Octets {
  return address.charCodeAt(0) === OPEN_BRACKET && address.charCodeAt(address.length - 1) === CLOSE_BRACKET
    ? address.slice(1, -1)
    : address;
}
