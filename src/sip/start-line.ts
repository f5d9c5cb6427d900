/** The first line of a message: Request-Line or Status-Line (RFC 3261 §7.1, §7.2). */
import { type Wrong, wrong } from './fault.js';
import { decimal, SLASH, skip, spells, TOKEN } from './grammar.js';
import { methodAt } from './methods.js';
import type { Octets } from './octets.js';
import { type SipUri, uriIn } from './uri.js';

export interface RequestLine {
  readonly kind: 'request';
  readonly method: string;
  readonly uri: Octets;
  readonly requestUri: SipUri;
}

export interface StatusLine {
  readonly kind: 'response';
  readonly status: number;
  readonly reason: Octets;
}

const SP = 0x20;
const DOT = 0x2e;
/** Octets of `SIP/2.0`. */
const VERSION_LENGTH = 7;

/** Reads the line in `[start, end)`, without its CRLF. */
export function readStartLine(
  text: Octets,
  bytes: Uint8Array,
  start: number,
  end: number,
): RequestLine | StatusLine | Wrong {
  return startsVersion(bytes, start)
    ? readStatusLine(text, bytes, start, end)
    : readRequestLine(text, bytes, start, end);
}

/** `SIP/` begins every status line and no method, since "/" is no token character. */
function startsVersion(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 3] === SLASH && spells(bytes, at, at + 3, 'sip');
}

/** §7.1: "The SIP-Version string is case-insensitive". */
function isVersion2(bytes: Uint8Array, start: number, end: number): boolean {
  return (
    end - start === VERSION_LENGTH &&
    startsVersion(bytes, start) &&
    bytes[start + 4] === 0x32 &&
    bytes[start + 5] === DOT &&
    bytes[start + 6] === 0x30
  );
}

/** SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT */
function isVersion(bytes: Uint8Array, start: number, end: number): boolean {
  if (!startsVersion(bytes, start)) return false;
  let dot = start + 4;
  while (dot < end && bytes[dot] !== DOT) dot++;
  const any = Number.MAX_VALUE;
  return decimal(bytes, start + 4, dot, any) >= 0 && decimal(bytes, dot + 1, end, any) >= 0;
}

/** Status-Line = SIP-Version SP Status-Code SP Reason-Phrase; the SP before an empty phrase may be missing. */
function readStatusLine(text: Octets, bytes: Uint8Array, start: number, end: number): StatusLine | Wrong {
  const codeStart = start + VERSION_LENGTH + 1;
  const codeEnd = codeStart + 3;
  if (codeEnd > end || !isVersion2(bytes, start, codeStart - 1) || bytes[codeStart - 1] !== SP) {
    return wrong(0, 'the status line is not: SIP/2.0, code, phrase');
  }
  const status = decimal(bytes, codeStart, codeEnd, 699);
  if (status < 100 || (codeEnd < end && bytes[codeEnd] !== SP)) {
    return wrong(0, 'a status code outside 100 to 699');
  }
  return { kind: 'response', status, reason: codeEnd < end ? text.slice(codeEnd + 1, end) : '' };
}

/** Request-Line = Method SP Request-URI SP SIP-Version; single SP, "no other whitespace" (§7.1). */
function readRequestLine(text: Octets, bytes: Uint8Array, start: number, end: number): RequestLine | Wrong {
  const methodEnd = skip(bytes, start, end, TOKEN);
  let uriEnd = end - 1;
  while (uriEnd > methodEnd && bytes[uriEnd] !== SP) uriEnd--;
  if (methodEnd === start || uriEnd <= methodEnd || bytes[methodEnd] !== SP) {
    return wrong(400, 'the request line is not: method, Request-URI, version');
  }
  // The version comes before the URI: another version may have another grammar.
  if (!isVersion2(bytes, uriEnd + 1, end)) {
    return isVersion(bytes, uriEnd + 1, end)
      ? wrong(505, 'only SIP/2.0 is spoken here')
      : wrong(400, 'the request line does not end in a SIP version');
  }
  const requestUri = uriIn(text, bytes, methodEnd + 1, uriEnd);
  if (requestUri === undefined) return wrong(400, 'malformed Request-URI');
  // §19.1.1, table 1: header components are not allowed in a Request-URI.
  if (requestUri.headers !== undefined) return wrong(400, 'header components in the Request-URI');
  return {
    kind: 'request',
    method: methodAt(text, start, methodEnd),
    uri: text.slice(methodEnd + 1, uriEnd),
    requestUri,
  };
}
