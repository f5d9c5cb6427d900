/**
 * The basic rules of the grammar (RFC 3261 §25.1) as functions over positions: character classes, LWS, tokens,
 * numbers, quoted strings and parameters. Scans run over bytes, which costs half of what `charCodeAt` does, and
 * values are cut from the text at the same positions. No regular expression: a peer chooses the text, so every
 * scan is one pass.
 */
import type { Octets } from './octets.js';

/** token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~") */
export const TOKEN = 1;
/** SP and HTAB; line ends never reach these functions. */
export const BLANK = 2;
/** What we accept inside a URI: visible octets but `<`, `>`, `"`. Octets above 127 are let pass, as peers send them. */
export const URI = 4;
/** Unquoted parameter value: token, host, IPv6reference, and liberal beyond, but no separator of lists or parameters. */
const VALUE = 8;
/** Unquoted display name: tokens by §25.1; also accepted is what cannot be mistaken for anything else. */
export const DISPLAY = 16;
/** hostname, or what peers use as one (underscore). */
export const HOST = 32;
/** Inside the brackets of an IPv6reference. */
export const IPV6 = 64;
/** May stand unescaped in the user part of a SIP URI: unreserved and user-unreserved. */
export const USER = 128;

/** Classes of each octet, a bit set. Index beyond 255 gives undefined, which `&` reads as no class. */
export const CLASS: Uint8Array = classes();

function classes(): Uint8Array {
  const table = new Uint8Array(256);
  const add = (characters: string, bits: number): void => {
    for (const c of characters) table[c.charCodeAt(0)]! |= bits;
  };
  const alphanum = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
  for (let c = 0x21; c < 0x100; c++) {
    if (c === 0x7f) continue;
    const character = String.fromCharCode(c);
    if (!'<>"'.includes(character)) table[c]! |= URI;
    if (!';,"<>\\'.includes(character)) table[c]! |= VALUE;
    if (!';,"<>\\:'.includes(character)) table[c]! |= DISPLAY;
  }
  add(alphanum, TOKEN | HOST | USER);
  add("-.!%*_+`'~", TOKEN);
  add(' \t', BLANK);
  add('-._', HOST);
  add('0123456789abcdefABCDEF:.', IPV6);
  add("-_.!~*'()&=+$,;?/", USER);
  return table;
}

export const DQUOTE = 0x22;
export const COMMA = 0x2c;
export const SLASH = 0x2f;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const LESS = 0x3c;
export const EQUAL = 0x3d;
export const GREATER = 0x3e;
export const BACKSLASH = 0x5c;

let scratch = Buffer.alloc(1024);

/**
 * The octets of a value as bytes at the same positions, valid until the next call. What is no octet becomes NUL,
 * which no rule accepts.
 */
export function bytesOf(text: Octets): Uint8Array {
  if (text.length > scratch.length) scratch = Buffer.alloc(text.length * 2);
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    scratch[i] = c > 0xff ? 0 : c;
  }
  return scratch;
}

/** First position at or after `at` whose octet is not of the classes, `end` at most. */
export function skip(bytes: Uint8Array, at: number, end: number, classBits: number): number {
  let i = at;
  while (i < end && (CLASS[bytes[i]!]! & classBits) !== 0) i++;
  return i;
}

/** Position after the last octet of `[start, end)` that is no blank. */
export function trimEnd(bytes: Uint8Array, start: number, end: number): number {
  let i = end;
  while (i > start && (CLASS[bytes[i - 1]!]! & BLANK) !== 0) i--;
  return i;
}

/** The text without blanks at its ends; linear also on hostile input. */
export function trim(text: Octets): Octets {
  let start = 0;
  let end = text.length;
  while (start < end && (CLASS[text.charCodeAt(start)]! & BLANK) !== 0) start++;
  while (end > start && (CLASS[text.charCodeAt(end - 1)]! & BLANK) !== 0) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

/** True for a non-empty token. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if ((CLASS[text.charCodeAt(i)]! & TOKEN) === 0) return false;
  }
  return text.length > 0;
}

/** 1*DIGIT in `[start, end)`, at most `max`; −1 when it is anything else. Leading zeros are allowed. */
export function decimal(bytes: Uint8Array, start: number, end: number, max: number): number {
  if (start >= end) return -1;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > max) return -1;
  }
  return value;
}

/** A text that is 1*DIGIT and at most `max`; undefined when it is anything else. */
export function parseDecimal(text: Octets, max: number): number | undefined {
  const value = decimal(bytesOf(text), 0, text.length, max);
  return value < 0 ? undefined : value;
}

/** Position after the closing quote of the quoted-string that opens at `at`, −1 when it does not close. */
export function quotedEnd(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at + 1; i < end; i++) {
    const c = bytes[i]!;
    if (c === DQUOTE) return i + 1;
    if (c === BACKSLASH) i++;
  }
  return -1;
}

/** What a quoted-string between `start` (its quote) and `end` (after its quote) says, quoted-pairs resolved. */
export function unquote(text: Octets, start: number, end: number): Octets {
  const inner = text.slice(start + 1, end - 1);
  if (!inner.includes('\\')) return inner;
  let out = '';
  let from = 0;
  for (let i = inner.indexOf('\\'); i >= 0 && i + 1 < inner.length; i = inner.indexOf('\\', i + 2)) {
    out += inner.slice(from, i);
    from = i + 1;
  }
  return out + inner.slice(from);
}

/** A quoted-string that says this. Controls other than HTAB become SP: a quoted-pair could carry them, we do not. */
export function quote(content: Octets): Octets {
  let out = '"';
  for (let i = 0; i < content.length; i++) {
    const c = content.charCodeAt(i);
    if (c === DQUOTE || c === BACKSLASH) out += '\\';
    out += (c < 0x20 && c !== 0x09) || c === 0x7f || c > 0xff ? ' ' : content[i];
  }
  return `${out}"`;
}

/** True when `[start, end)` spells `lower` (letters and hyphens only) in any case. */
export function spells(bytes: Uint8Array, start: number, end: number, lower: string): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) {
    if ((bytes[start + i]! | 0x20) !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * One generic-param after its semicolon. A cursor instead of a result object, since every Via, From and To of every
 * message passes here: `at` moves behind the parameter and the blanks that follow it.
 */
export class ParamCursor {
  at = 0;
  nameStart = 0;
  nameEnd = 0;
  /** −1 for a flag parameter. */
  valueStart = -1;
  valueEnd = -1;

  /** Reads the parameter whose semicolon stands at `this.at`; false when it is malformed. */
  next(bytes: Uint8Array, end: number): boolean {
    this.nameStart = skip(bytes, this.at + 1, end, BLANK);
    this.nameEnd = skip(bytes, this.nameStart, end, TOKEN);
    if (this.nameEnd === this.nameStart) return false;
    this.at = skip(bytes, this.nameEnd, end, BLANK);
    this.valueStart = -1;
    this.valueEnd = -1;
    if (this.at >= end || bytes[this.at] !== EQUAL) return true;
    const start = skip(bytes, this.at + 1, end, BLANK);
    const quoted = start < end && bytes[start] === DQUOTE;
    const stop = quoted ? quotedEnd(bytes, start, end) : skip(bytes, start, end, VALUE);
    // §25.1: gen-value = token / host / quoted-string, none of which may be empty.
    if (stop <= start) return false;
    this.valueStart = start;
    this.valueEnd = stop;
    this.at = skip(bytes, stop, end, BLANK);
    return true;
  }

  /** The value without quotes, '' for a flag. */
  value(text: Octets): Octets {
    if (this.valueStart < 0) return '';
    return text.charCodeAt(this.valueStart) === DQUOTE
      ? unquote(text, this.valueStart, this.valueEnd)
      : text.slice(this.valueStart, this.valueEnd);
  }
}
