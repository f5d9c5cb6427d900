/** SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966); other schemes are kept as they are. */
import {
  bytesOf,
  CLASS,
  COLON,
  decimal,
  HOST,
  IPV6,
  SEMICOLON,
  skip,
  spells,
  TOKEN,
  URI,
  USER,
} from './grammar.js';
import { fromText, type Octets, toText } from './octets.js';

export interface SipUri {
  /** Lower case: `sip`, `sips`, `tel`, or whatever the peer wrote. */
  readonly scheme: string;
  /**
   * Raw, with its escapes. For `tel` the number as written, for schemes we do not know everything after the
   * colon. Undefined when a SIP URI has no user part.
   */
  readonly user: Octets | undefined;
  readonly password: Octets | undefined;
  /** Lower case; IPv6 without brackets; '' for `tel` and unknown schemes. */
  readonly host: string;
  readonly port: number | undefined;
  /** Names in lower case, values raw, '' for a flag. */
  readonly params: ReadonlyMap<string, Octets>;
  /** What follows the question mark, raw. */
  readonly headers: Octets | undefined;
}

const AT = 0x40;
const QUESTION = 0x3f;
const PERCENT = 0x25;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const NO_PARAMS: ReadonlyMap<string, Octets> = new Map();

/** Checked when made; parameters are decoded when somebody asks. */
class ScannedUri implements SipUri {
  readonly scheme: string;
  readonly user: Octets | undefined;
  readonly password: Octets | undefined;
  readonly host: string;
  readonly port: number | undefined;
  readonly headers: Octets | undefined;
  /** `;name=value…` as written. */
  private readonly rawParams: Octets;
  private decoded: ReadonlyMap<string, Octets> | null = null;

  constructor(
    scheme: string,
    user: Octets | undefined,
    password: Octets | undefined,
    host: string,
    port: number | undefined,
    rawParams: Octets,
    headers: Octets | undefined,
  ) {
    this.scheme = scheme;
    this.user = user;
    this.password = password;
    this.host = host;
    this.port = port;
    this.rawParams = rawParams;
    this.headers = headers;
  }

  get params(): ReadonlyMap<string, Octets> {
    this.decoded ??= paramMap(this.rawParams);
    return this.decoded;
  }
}

function paramMap(raw: Octets): ReadonlyMap<string, Octets> {
  if (raw === '') return NO_PARAMS;
  const map = new Map<string, Octets>();
  for (let at = 0; at < raw.length; ) {
    const next = raw.indexOf(';', at + 1);
    const end = next < 0 ? raw.length : next;
    const equal = raw.indexOf('=', at + 1);
    const nameEnd = equal < 0 || equal > end ? end : equal;
    const name = raw.slice(at + 1, nameEnd).toLowerCase();
    if (!map.has(name)) map.set(name, nameEnd === end ? '' : raw.slice(nameEnd + 1, end));
    at = end;
  }
  return map;
}

/** A URI without angle brackets; undefined when it is malformed. */
export function parseUri(octets: Octets): SipUri | undefined {
  return uriIn(octets, bytesOf(octets), 0, octets.length);
}

/** The URI that `[start, end)` of a text is. */
export function uriIn(text: Octets, bytes: Uint8Array, start: number, end: number): SipUri | undefined {
  const colon = skip(bytes, start, end, TOKEN);
  const first = bytes[start]! | 0x20;
  if (colon === start || colon + 1 >= end || bytes[colon] !== COLON || first < 0x61 || first > 0x7a)
    return undefined;
  if (skip(bytes, colon + 1, end, URI) !== end) return undefined;
  if (spells(bytes, start, colon, 'sip')) return sipUriIn(text, bytes, 'sip', colon + 1, end);
  if (spells(bytes, start, colon, 'sips')) return sipUriIn(text, bytes, 'sips', colon + 1, end);
  if (!spells(bytes, start, colon, 'tel')) {
    const scheme = text.slice(start, colon).toLowerCase();
    return new ScannedUri(scheme, text.slice(colon + 1, end), undefined, '', undefined, '', undefined);
  }
  let numberEnd = colon + 1;
  while (numberEnd < end && bytes[numberEnd] !== SEMICOLON) numberEnd++;
  if (numberEnd === colon + 1 || paramsEnd(bytes, numberEnd, end) !== end) return undefined;
  const number = text.slice(colon + 1, numberEnd);
  return new ScannedUri('tel', number, undefined, '', undefined, text.slice(numberEnd, end), undefined);
}

/** What follows `sip:`: [ userinfo ] hostport uri-parameters [ headers ] */
function sipUriIn(
  text: Octets,
  bytes: Uint8Array,
  scheme: string,
  start: number,
  end: number,
): SipUri | undefined {
  // "@" cannot stand unescaped in any other part, so the first one ends the userinfo.
  let at = start;
  let colon = -1;
  let c = 0;
  for (; at < end; at++) {
    c = bytes[at]!;
    if (c === AT) break;
    if (c === COLON && colon < 0) colon = at;
  }
  let user: Octets | undefined;
  let password: Octets | undefined;
  if (at < end) {
    const userEnd = colon < 0 ? at : colon;
    if (userEnd === start) return undefined;
    user = text.slice(start, userEnd);
    if (colon >= 0) password = text.slice(colon + 1, at);
    at++;
  } else at = start;

  let hostStart = at;
  let hostEnd: number;
  if (at < end && bytes[at] === OPEN_BRACKET) {
    hostStart = at + 1;
    hostEnd = skip(bytes, hostStart, end, IPV6);
    if (hostEnd >= end || bytes[hostEnd] !== CLOSE_BRACKET) return undefined;
    at = hostEnd + 1;
  } else {
    hostEnd = skip(bytes, at, end, HOST);
    at = hostEnd;
  }
  if (hostEnd === hostStart) return undefined;
  const host = lowerHost(text.slice(hostStart, hostEnd));
  let port: number | undefined;
  if (at < end && bytes[at] === COLON) {
    const digits = at + 1;
    at = skip(bytes, digits, end, TOKEN);
    port = decimal(bytes, digits, at, 65_535);
    if (port < 0) return undefined;
  }
  const afterParams = paramsEnd(bytes, at, end);
  if (afterParams < 0) return undefined;
  const headers = afterParams < end ? text.slice(afterParams + 1, end) : undefined;
  return new ScannedUri(scheme, user, password, host, port, text.slice(at, afterParams), headers);
}

/** §19.1.4: host names compare without case. Most have none to fold. */
function lowerHost(host: string): string {
  for (let i = 0; i < host.length; i++) {
    const c = host.charCodeAt(i);
    if (c >= 0x41 && c <= 0x5a) return host.toLowerCase();
  }
  return host;
}

/** End of `*( ";" pname [ "=" pvalue ] )`: the end of the text or the `?` before headers; −1 when malformed. */
function paramsEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] === SEMICOLON) {
    const nameStart = at + 1;
    at = nameStart;
    while (at < end) {
      const c = bytes[at]!;
      if (c === SEMICOLON || c === QUESTION) break;
      // Two readings of what is the host would be possible.
      if (c === AT) return -1;
      at++;
    }
    if (at === nameStart || bytes[nameStart] === 0x3d) return -1;
  }
  return at < end && bytes[at] !== QUESTION ? -1 : at;
}

/** Writes a URI; `parseUri` of the result gives the same parts. */
export function formatUri(uri: SipUri): Octets {
  let out = `${uri.scheme}:`;
  if (uri.scheme !== 'sip' && uri.scheme !== 'sips') out += uri.user ?? '';
  else {
    if (uri.user !== undefined)
      out += uri.password === undefined ? `${uri.user}@` : `${uri.user}:${uri.password}@`;
    out += hostPort(uri.host, uri.port);
  }
  for (const [name, value] of uri.params) out += value === '' ? `;${name}` : `;${name}=${value}`;
  return uri.headers === undefined ? out : `${out}?${uri.headers}`;
}

/** `host`, `host:port`, `[2001:db8::1]:port`. */
export function hostPort(host: string, port?: number | undefined): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  return port === undefined ? shown : `${shown}:${port}`;
}

/** The user part as text for people and for comparison: escapes resolved, UTF-8 read. A `%` without two digits stays. */
export function unescapeUser(user: Octets): string {
  let out = '';
  let from = 0;
  let plain = true;
  for (let i = 0; i < user.length; i++) {
    const c = user.charCodeAt(i);
    if (c > 0x7f) plain = false;
    if (c !== PERCENT) continue;
    const value = i + 2 < user.length ? hexPair(user, i + 1) : -1;
    if (value < 0) continue;
    if (value > 0x7f) plain = false;
    out += user.slice(from, i) + String.fromCharCode(value);
    i += 2;
    from = i + 1;
  }
  if (from === 0) return plain ? user : toText(user);
  out += user.slice(from);
  return plain ? out : toText(out);
}

function hexPair(text: Octets, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Text as the user part of a SIP URI: what may not stand there is escaped, as UTF-8 (§19.1.2). */
export function escapeUser(text: string): Octets {
  const octets = fromText(text);
  let out = '';
  for (let i = 0; i < octets.length; i++) {
    const c = octets.charCodeAt(i);
    out += (CLASS[c]! & USER) !== 0 ? octets[i] : `%${c.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

/** The URI asks for TLS on every hop (§26.2.2). */
export function isSips(uri: Octets): boolean {
  return uri.length > 5 && uri.slice(0, 5).toLowerCase() === 'sips:';
}
