/** From, To, Contact, Route and their like: `"Display" <uri>;params` (RFC 3261 §20.10, §25.1). */
import {
  BLANK,
  bytesOf,
  CLASS,
  COLON,
  COMMA,
  DISPLAY,
  DQUOTE,
  GREATER,
  isToken,
  LESS,
  ParamCursor,
  quote,
  quotedEnd,
  SEMICOLON,
  skip,
  spells,
  TOKEN,
  trimEnd,
  URI,
  unquote,
} from './grammar.js';
import type { Octets } from './octets.js';

export interface NameAddr {
  /** Unquoted and unescaped; undefined when there is none. */
  readonly displayName: Octets | undefined;
  /** The URI as written, without angle brackets. */
  readonly uri: Octets;
  /** Header parameters; names in lower case, values unquoted, a flag parameter has the value ''. */
  readonly params: ReadonlyMap<string, Octets>;
  /** The `tag` parameter. */
  readonly tag: string | undefined;
}

const QUESTION = 0x3f;
const NO_PARAMS: ReadonlyMap<string, Octets> = new Map();

/** Checked when made; the display name and the parameters are decoded when somebody asks. */
class ScannedNameAddr implements NameAddr {
  readonly uri: Octets;
  readonly tag: string | undefined;
  private readonly text: Octets;
  private readonly displayStart: number;
  private readonly displayEnd: number;
  private readonly paramsStart: number;
  private readonly end: number;
  private decoded: ReadonlyMap<string, Octets> | null = null;

  constructor(
    text: Octets,
    uri: Octets,
    tag: string | undefined,
    displayStart: number,
    displayEnd: number,
    paramsStart: number,
    end: number,
  ) {
    this.text = text;
    this.uri = uri;
    this.tag = tag;
    this.displayStart = displayStart;
    this.displayEnd = displayEnd;
    this.paramsStart = paramsStart;
    this.end = end;
  }

  get displayName(): Octets | undefined {
    if (this.displayEnd === this.displayStart) return undefined;
    return this.text.charCodeAt(this.displayStart) === DQUOTE
      ? unquote(this.text, this.displayStart, this.displayEnd)
      : this.text.slice(this.displayStart, this.displayEnd);
  }

  get params(): ReadonlyMap<string, Octets> {
    this.decoded ??= paramMap(this.text.slice(this.paramsStart, this.end));
    return this.decoded;
  }
}

function paramMap(text: Octets): ReadonlyMap<string, Octets> {
  const end = text.length;
  if (end === 0) return NO_PARAMS;
  const bytes = bytesOf(text);
  const map = new Map<string, Octets>();
  const param = new ParamCursor();
  while (param.at < end && bytes[param.at] === SEMICOLON && param.next(bytes, end)) {
    const name = text.slice(param.nameStart, param.nameEnd).toLowerCase();
    if (!map.has(name)) map.set(name, param.value(text));
  }
  return map;
}

/** Where the last `scanNameAddr` stopped: at the comma before the next value, or at the end. */
let stopped = 0;
const cursor = new ParamCursor();

/**
 * Reads one name-addr or addr-spec with its parameters from `start` up to `end` or a comma. Undefined when it is
 * malformed. The URI is checked for a scheme and for octets that no URI has; `parseUri` says more.
 */
function scanNameAddr(text: Octets, bytes: Uint8Array, start: number, end: number): NameAddr | undefined {
  let displayStart = skip(bytes, start, end, BLANK);
  let displayEnd = displayStart;
  let at = displayStart;
  if (at < end && bytes[at] === DQUOTE) {
    displayEnd = quotedEnd(bytes, at, end);
    if (displayEnd < 0) return undefined;
    at = skip(bytes, displayEnd, end, BLANK);
    if (at >= end || bytes[at] !== LESS) return undefined;
  } else {
    // §25.1: display-name = *( token LWS ). Other octets are let pass where they cannot be mistaken.
    const stop = skip(bytes, at, end, DISPLAY | BLANK);
    if (stop < end && bytes[stop] === LESS) {
      displayEnd = trimEnd(bytes, at, stop);
      at = stop;
    } else {
      displayStart = at;
      displayEnd = at;
    }
  }
  let uriStart = at;
  let uriEnd: number;
  if (at < end && bytes[at] === LESS) {
    uriStart = at + 1;
    uriEnd = skip(bytes, uriStart, end, URI);
    if (uriEnd >= end || bytes[uriEnd] !== GREATER) return undefined;
    at = uriEnd + 1;
  } else {
    // §20.10: without angle brackets what follows a semicolon is a header parameter, and the URI must not
    // contain a comma, a question mark or a semicolon.
    uriEnd = at;
    for (; uriEnd < end; uriEnd++) {
      const c = bytes[uriEnd]!;
      if (c === SEMICOLON || c === COMMA || (CLASS[c]! & URI) === 0) break;
      if (c === QUESTION) return undefined;
    }
    at = uriEnd;
  }
  if (!hasScheme(bytes, uriStart, uriEnd)) return undefined;
  at = skip(bytes, at, end, BLANK);
  const paramsStart = at;
  let tag: string | undefined;
  if (at < end && bytes[at] === SEMICOLON) {
    cursor.at = at;
    do {
      if (!cursor.next(bytes, end)) return undefined;
      if (spells(bytes, cursor.nameStart, cursor.nameEnd, 'tag')) {
        // §7.3.1: "any given parameter-name MUST NOT appear more than once"; §19.3: a tag is a token.
        if (tag !== undefined || cursor.valueStart < 0 || bytes[cursor.valueStart] === DQUOTE)
          return undefined;
        tag = text.slice(cursor.valueStart, cursor.valueEnd);
      }
      at = cursor.at;
    } while (at < end && bytes[at] === SEMICOLON);
  }
  if (at < end && bytes[at] !== COMMA) return undefined;
  stopped = at;
  return new ScannedNameAddr(
    text,
    text.slice(uriStart, uriEnd),
    tag,
    displayStart,
    displayEnd,
    paramsStart,
    at,
  );
}

/** scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ), then ":" and at least one octet. */
function hasScheme(bytes: Uint8Array, start: number, end: number): boolean {
  const first = bytes[start]! | 0x20;
  if (start >= end || first < 0x61 || first > 0x7a) return false;
  const colon = skip(bytes, start, end, TOKEN);
  return colon + 1 < end && bytes[colon] === COLON;
}

/** The one value between `start` and `end` of a head; undefined when malformed or followed by another. */
export function nameAddrIn(
  text: Octets,
  bytes: Uint8Array,
  start: number,
  end: number,
): NameAddr | undefined {
  const value = scanNameAddr(text, bytes, start, end);
  return value !== undefined && stopped === end ? value : undefined;
}

/** One value (From, To, or one of a list). Undefined when it is malformed or more than one. */
export function parseNameAddr(value: Octets): NameAddr | undefined {
  const bytes = bytesOf(value);
  return nameAddrIn(value, bytes, 0, trimEnd(bytes, 0, value.length));
}

/** The first value of the list between `start` and `end`, whatever follows it; undefined when it is malformed. */
export function firstNameAddrIn(
  text: Octets,
  bytes: Uint8Array,
  start: number,
  end: number,
): NameAddr | undefined {
  return scanNameAddr(text, bytes, start, end);
}

/** Position where the value ended that `firstNameAddrIn` has just read: its comma, or the end. */
export function nameAddrEnd(): number {
  return stopped;
}

/** The comma-separated values of Contact, Route, Record-Route, Diversion… Undefined when one is malformed. */
export function parseNameAddrList(value: Octets): NameAddr[] | undefined {
  const bytes = bytesOf(value);
  const end = trimEnd(bytes, 0, value.length);
  const list: NameAddr[] = [];
  let at = 0;
  for (;;) {
    const one = scanNameAddr(value, bytes, at, end);
    if (one === undefined) return undefined;
    list.push(one);
    if (stopped >= end) return list;
    at = stopped + 1;
  }
}

/**
 * Writes a name-addr, always with angle brackets and a quoted display name. Parameter values that are neither
 * token nor host are quoted. `uri` must be a URI without `<`, `>` and blanks, as `parseUri` accepts.
 */
export function formatNameAddr(value: {
  readonly displayName?: Octets | undefined;
  readonly uri: Octets;
  readonly params?: ReadonlyMap<string, Octets> | undefined;
}): Octets {
  let out = value.displayName ? `${quote(value.displayName)} <${value.uri}>` : `<${value.uri}>`;
  if (value.params !== undefined) {
    for (const [name, content] of value.params)
      out += content === '' ? `;${name}` : `;${name}=${paramValue(content)}`;
  }
  return out;
}

/** §25.1: gen-value = token / host / quoted-string. */
function paramValue(content: Octets): Octets {
  return isToken(content) || isHostLike(content) ? content : quote(content);
}

function isHostLike(content: Octets): boolean {
  for (let i = 0; i < content.length; i++) {
    const c = content.charCodeAt(i);
    if ((CLASS[c]! & TOKEN) === 0 && c !== COLON && c !== 0x5b && c !== 0x5d) return false;
  }
  return content.length > 0;
}
