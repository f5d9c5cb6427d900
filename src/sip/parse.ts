/**
 * The parser: octets in, a message or a fault out, whatever the peer sent. One pass finds the header fields; the
 * few that every message needs are checked at once, the rest is read when somebody asks.
 *
 * Stricter than most, on purpose: a line ends in CRLF and nothing else, NUL stands only in a quoted-pair, and a
 * field that must not be repeated is not. Where RFC 4475 lets a server guess what was meant, we refuse, because
 * the next element may guess differently.
 */
import { BACKSLASH, BLANK, COMMA, DQUOTE, decimal, isToken, SLASH, skip, spells, TOKEN } from './grammar.js';
import { type HeaderIndex, HeadPass, type HeadProblem, unfold } from './header-index.js';
import {
  CALL_ID,
  CANONICAL,
  CONTACT,
  CONTENT_LENGTH,
  CSEQ,
  EXPIRES,
  FROM,
  MAX_FORWARDS,
  TO,
  UNKNOWN,
  VIA,
} from './header-names.js';
import type { CSeq, Headers, SipMessage, SipRequest, SipResponse } from './message.js';
import { internMethod, usesContact } from './methods.js';
import { firstNameAddr, type NameAddr, nameAddrIn, parseNameAddrList } from './name-addr.js';
import type { Octets } from './octets.js';
import { reasonPhrase } from './status.js';
import { parseUri, type SipUri } from './uri.js';
import { MAGIC_COOKIE, type Via, viaIn } from './via.js';

export interface ParseOptions {
  /** Header lines allowed. Default 256. */
  readonly maxHeaders?: number | undefined;
  /** Octets allowed from the start line to the end of the body. Default 65,536. */
  readonly maxBytes?: number | undefined;
  /** The octets came from a stream, where Content-Length is mandatory (§18.3). Default false: one datagram. */
  readonly stream?: boolean | undefined;
}

/** As much of a faulty request as an answer without state needs: Via, From, To, Call-ID, CSeq, when they are there. */
export interface FaultyRequest {
  readonly method: string;
  /** Free of CR, LF and NUL, also where the message was not. */
  readonly headers: Headers;
}

export interface ParseFault {
  readonly kind: 'fault';
  /** The answer it deserves; 0: none, because it is a response, an ACK, or nothing that could be answered. */
  readonly status: number;
  readonly reason: string;
  /** What is wrong. ASCII, free of the peer's text. */
  readonly detail: string;
  readonly request: FaultyRequest | undefined;
}

const DEFAULT_MAX_HEADERS = 256;
const DEFAULT_MAX_BYTES = 65_536;

/** §8.1.1.5: "The sequence number value MUST be expressible as a 32-bit unsigned integer and MUST be less than 2**31." */
const MAX_CSEQ = 2 ** 31 - 1;
/** §20.19: "a decimal number between 0 and (2**32)-1". */
const MAX_DELTA_SECONDS = 2 ** 32 - 1;

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;

class ParsedRequest implements SipRequest {
  readonly kind = 'request';
  readonly method: string;
  readonly uri: Octets;
  readonly requestUri: SipUri;
  readonly headers: HeaderIndex;
  readonly body: Octets;
  readonly callId: Octets;
  readonly cseq: CSeq;
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;
  readonly maxForwards: number;

  constructor(
    method: string,
    uri: Octets,
    requestUri: SipUri,
    core: Core,
    headers: HeaderIndex,
    body: Octets,
    maxForwards: number,
  ) {
    this.method = method;
    this.uri = uri;
    this.requestUri = requestUri;
    this.headers = headers;
    this.body = body;
    this.callId = core.callId;
    this.cseq = core.cseq;
    this.from = core.from;
    this.to = core.to;
    this.topVia = core.topVia;
    this.maxForwards = maxForwards;
  }

  get contact(): NameAddr | undefined {
    return firstContact(this.headers);
  }
}

class ParsedResponse implements SipResponse {
  readonly kind = 'response';
  readonly status: number;
  readonly reason: Octets;
  readonly headers: HeaderIndex;
  readonly body: Octets;
  readonly callId: Octets;
  readonly cseq: CSeq;
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;

  constructor(status: number, reason: Octets, core: Core, headers: HeaderIndex, body: Octets) {
    this.status = status;
    this.reason = reason;
    this.headers = headers;
    this.body = body;
    this.callId = core.callId;
    this.cseq = core.cseq;
    this.from = core.from;
    this.to = core.to;
    this.topVia = core.topVia;
  }

  get contact(): NameAddr | undefined {
    return firstContact(this.headers);
  }
}

function firstContact(headers: HeaderIndex): NameAddr | undefined {
  const value = headers.get('contact');
  return value === undefined ? undefined : firstNameAddr(value);
}

/** What every message must have (§8.1.1), checked. */
interface Core {
  readonly callId: Octets;
  readonly cseq: CSeq;
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;
}

/** A fault before it is known whom to answer. */
interface Wrong {
  readonly kind: 'wrong';
  readonly status: number;
  readonly detail: string;
}

function wrong(status: number, detail: string): Wrong {
  return { kind: 'wrong', status, detail };
}

const pass = new HeadPass();

/** Reads one message. Never throws; linear in the size of the input. */
export function parseMessage(octets: Octets, options?: ParseOptions): SipMessage | ParseFault {
  // §7.5: "MUST ignore any CRLF appearing before the start-line". Harmless in a datagram too.
  let start = 0;
  while (octets.charCodeAt(start) === CR && octets.charCodeAt(start + 1) === LF) start += 2;
  const result = read(octets, start, options);
  return result.kind === 'wrong'
    ? fault(octets, start, result, options?.maxHeaders ?? DEFAULT_MAX_HEADERS)
    : result;
}

function read(octets: Octets, start: number, options: ParseOptions | undefined): SipMessage | Wrong {
  const maxBytes = options?.maxBytes ?? DEFAULT_MAX_BYTES;
  if (octets.length - start > maxBytes) return tooLarge(octets, start, maxBytes);
  const lf = octets.indexOf('\n', start);
  if (lf <= start || octets.charCodeAt(lf - 1) !== CR || octets.indexOf('\r', start) !== lf - 1) {
    return wrong(400, 'the start line does not end in CRLF');
  }
  const lineEnd = lf - 1;
  const maxHeaders = options?.maxHeaders ?? DEFAULT_MAX_HEADERS;

  let head = octets;
  let problem = pass.run(octets, lf + 1, maxHeaders);
  let bodyStart = pass.bodyStart;
  if (problem === 'folded') {
    const blank = octets.indexOf('\r\n\r\n', lf - 1);
    if (blank < 0) problem = 'unterminated';
    else {
      bodyStart = blank + 4;
      head = unfold(octets.slice(lf + 1, bodyStart));
      problem = pass.run(head, 0, maxHeaders);
    }
  }
  // The version comes first: another version may have another grammar.
  const response = isResponse(octets, start);
  const version = response
    ? checkStatusLine(octets, start, lineEnd)
    : checkRequestLine(octets, start, lineEnd);
  if (version !== null) return version;
  if (problem !== null) return headProblem(problem);
  const nul = octets.indexOf('\0', start);
  if (nul >= 0 && nul < bodyStart && !onlyQuotedNul(octets, start, bodyStart)) {
    return wrong(400, 'NUL in the start line or a header field');
  }
  if (pass.doubled !== UNKNOWN) return wrong(400, `more than one ${shownName(pass.doubled)}`);

  const body = readBody(octets, bodyStart, head, options?.stream === true);
  if (typeof body !== 'string') return body;
  return response
    ? readResponse(octets, start, lineEnd, head, body)
    : readRequest(octets, start, lineEnd, head, body);
}

function tooLarge(octets: Octets, start: number, maxBytes: number): Wrong {
  const blank = octets.indexOf('\r\n\r\n', start);
  return blank < 0 || blank - start > maxBytes
    ? wrong(513, `start line and header fields exceed ${maxBytes} octets`)
    : wrong(413, `the message exceeds ${maxBytes} octets`);
}

function headProblem(problem: HeadProblem): Wrong {
  switch (problem) {
    case 'unterminated':
      return wrong(400, 'no empty line ends the header fields');
    case 'bare-line-end':
      return wrong(400, 'CR or LF alone in the header fields');
    case 'too-many':
      return wrong(513, 'too many header fields');
    default:
      return wrong(400, 'a header line without a valid name and colon');
  }
}

/**
 * §25.1: quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F), so a quoted string may carry NUL behind a backslash (RFC
 * 4475 §3.1.1.2 does). Anywhere else it is refused.
 */
function onlyQuotedNul(octets: Octets, start: number, end: number): boolean {
  let quoted = false;
  for (let i = start; i < end; i++) {
    const c = octets.charCodeAt(i);
    if (c === LF) {
      const next = octets.charCodeAt(i + 1);
      if (next !== SP && next !== 0x09) quoted = false;
    } else if (c === DQUOTE) quoted = !quoted;
    else if (c === BACKSLASH && quoted) i++;
    else if (c === 0) return false;
  }
  return true;
}

function shownName(id: number): string {
  switch (id) {
    case CALL_ID:
      return 'Call-ID';
    case CSEQ:
      return 'CSeq';
    default:
      return CANONICAL[id]!.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  }
}

/** `SIP/` begins every status line and no method, since "/" is no token character. */
function isResponse(octets: Octets, start: number): boolean {
  return octets.charCodeAt(start + 3) === SLASH && spells(octets, start, start + 3, 'sip');
}

const VERSION = 'SIP/2.0';

/** §7.1: "The SIP-Version string is case-insensitive". */
function isVersion(octets: Octets, start: number, end: number): boolean {
  return (
    end - start === 7 &&
    (octets.startsWith(VERSION, start) || octets.slice(start, end).toUpperCase() === VERSION)
  );
}

/** Status-Line = SIP-Version SP Status-Code SP Reason-Phrase; the SP before an empty phrase may be missing. */
function checkStatusLine(octets: Octets, start: number, end: number): Wrong | null {
  if (octets.charCodeAt(start + 7) !== SP || !isVersion(octets, start, start + 7)) {
    return wrong(0, 'a status line of another version');
  }
  const codeEnd = start + 11;
  const code = codeEnd <= end ? decimal(octets, start + 8, codeEnd, 699) : -1;
  if (code < 100 || (codeEnd < end && octets.charCodeAt(codeEnd) !== SP)) {
    return wrong(0, 'a status code outside 100 to 699');
  }
  return null;
}

/** Request-Line = Method SP Request-URI SP SIP-Version (§7.1: single SP, no other whitespace). */
function checkRequestLine(octets: Octets, start: number, end: number): Wrong | null {
  const uriEnd = octets.lastIndexOf(' ', end - 1);
  const methodEnd = skip(octets, start, end, TOKEN);
  if (methodEnd === start || methodEnd >= uriEnd || octets.charCodeAt(methodEnd) !== SP) {
    return wrong(400, 'the request line is not: method, Request-URI, version');
  }
  if (isVersion(octets, uriEnd + 1, end)) return null;
  return isOtherVersion(octets, uriEnd + 1, end)
    ? wrong(505, 'only SIP/2.0 is spoken here')
    : wrong(400, 'the request line does not end in a SIP version');
}

/** SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT */
function isOtherVersion(octets: Octets, start: number, end: number): boolean {
  if (!isResponse(octets, start)) return false;
  const dot = octets.indexOf('.', start);
  return dot < end && isDigits(octets, start + 4, dot) && isDigits(octets, dot + 1, end);
}

function isDigits(octets: Octets, start: number, end: number): boolean {
  return decimal(octets, start, end, Number.MAX_VALUE) >= 0;
}

/** §18.3: a datagram is cut to Content-Length, and is too short when it ends before; a stream must say the length. */
function readBody(octets: Octets, bodyStart: number, head: Octets, stream: boolean): Octets | Wrong {
  const at = pass.starts[CONTENT_LENGTH]!;
  if (at < 0) return stream ? wrong(400, 'no Content-Length on a stream') : octets.slice(bodyStart);
  const length = decimal(head, at, pass.ends[CONTENT_LENGTH]!, Number.MAX_SAFE_INTEGER);
  if (length < 0) return wrong(400, 'Content-Length is not a number');
  if (bodyStart + length > octets.length) return wrong(400, 'the body is shorter than Content-Length');
  return length === 0 ? '' : octets.slice(bodyStart, bodyStart + length);
}

function readResponse(
  octets: Octets,
  start: number,
  lineEnd: number,
  head: Octets,
  body: Octets,
): SipMessage | Wrong {
  const core = readCore(head, null);
  if (core.kind === 'wrong') return core;
  const status = decimal(octets, start + 8, start + 11, 699);
  return new ParsedResponse(
    status,
    octets.slice(Math.min(start + 12, lineEnd), lineEnd),
    core,
    pass.index(head),
    body,
  );
}

function readRequest(
  octets: Octets,
  start: number,
  lineEnd: number,
  head: Octets,
  body: Octets,
): SipMessage | Wrong {
  const methodEnd = skip(octets, start, lineEnd, TOKEN);
  const method = internMethod(octets.slice(start, methodEnd));
  const uri = octets.slice(methodEnd + 1, lineEnd - VERSION.length - 1);
  const requestUri = parseUri(uri);
  if (requestUri === undefined) return wrong(400, 'malformed Request-URI');
  // §19.1.1, table: header components are not allowed in a Request-URI.
  if (requestUri.headers !== undefined) return wrong(400, 'header components in the Request-URI');

  const core = readCore(head, method);
  if (core.kind === 'wrong') return core;
  // RFC 4475 §3.2.1: the cookie without anything behind it identifies no transaction.
  if (core.topVia.branch === MAGIC_COOKIE)
    return wrong(400, 'the branch of the first Via is empty behind its cookie');
  const hops = pass.starts[MAX_FORWARDS]!;
  const maxForwards = hops < 0 ? 70 : decimal(head, hops, pass.ends[MAX_FORWARDS]!, 255);
  if (maxForwards < 0) return wrong(400, 'Max-Forwards is not a number from 0 to 255');
  const expires = pass.starts[EXPIRES]!;
  if (expires >= 0 && decimal(head, expires, pass.ends[EXPIRES]!, MAX_DELTA_SECONDS) < 0) {
    return wrong(400, 'Expires is not a number below 2^32');
  }
  const index = pass.index(head);
  if (pass.starts[CONTACT]! >= 0 && usesContact(method) && !contactsAreValid(index, method)) {
    return wrong(400, 'malformed Contact');
  }
  return new ParsedRequest(method, uri, requestUri, core, index, body, maxForwards);
}

function contactsAreValid(headers: HeaderIndex, method: string): boolean {
  const first = headers.get('contact')!;
  // §10.2.2: "*" removes every binding.
  if (method === 'REGISTER' && first === '*') return headers.count('contact') === 1;
  if (headers.count('contact') === 1) return parseNameAddrList(first) !== undefined;
  return headers.all('contact').every((value) => parseNameAddrList(value) !== undefined);
}

class CheckedCore implements Core {
  readonly kind = 'core';
  readonly callId: Octets;
  readonly cseq: CSeq;
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;

  constructor(callId: Octets, cseq: CSeq, from: NameAddr, to: NameAddr, topVia: Via) {
    this.callId = callId;
    this.cseq = cseq;
    this.from = from;
    this.to = to;
    this.topVia = topVia;
  }
}

/** Reads the fields that every message must have; `method` null for a response. */
function readCore(head: Octets, method: string | null): CheckedCore | Wrong {
  const { starts, ends } = pass;
  for (let id = VIA; id <= CSEQ; id++) {
    if (starts[id] === -1) return wrong(400, `no ${shownName(id)}`);
  }
  const topVia = viaIn(head, starts[VIA]!, ends[VIA]!);
  if (topVia === undefined) return wrong(400, 'malformed Via');
  const from = nameAddrIn(head, starts[FROM]!, ends[FROM]!);
  if (from === undefined) return wrong(400, 'malformed From');
  const to = nameAddrIn(head, starts[TO]!, ends[TO]!);
  if (to === undefined) return wrong(400, 'malformed To');
  const callIdStart = starts[CALL_ID]!;
  const callIdEnd = ends[CALL_ID]!;
  if (!isCallId(head, callIdStart, callIdEnd)) return wrong(400, 'malformed Call-ID');
  const cseq = readCSeq(head, starts[CSEQ]!, ends[CSEQ]!, method);
  if (cseq.kind === 'wrong') return cseq;
  return new CheckedCore(head.slice(callIdStart, callIdEnd), cseq, from, to, topVia);
}

/** callid = word [ "@" word ]; we ask only that it is there and visible, and that no list hides in it. */
function isCallId(head: Octets, start: number, end: number): boolean {
  if (start >= end) return false;
  for (let i = start; i < end; i++) {
    const c = head.charCodeAt(i);
    if (c <= SP || c === 0x7f || c === COMMA) return false;
  }
  return true;
}

class SequenceNumber implements CSeq {
  readonly kind = 'cseq';
  readonly number: number;
  readonly method: string;

  constructor(number: number, method: string) {
    this.number = number;
    this.method = method;
  }
}

/** CSeq = 1*DIGIT LWS Method; §8.1.1.5: in a request "the method MUST match that of the request". */
function readCSeq(head: Octets, start: number, end: number, method: string | null): SequenceNumber | Wrong {
  const digitsEnd = skip(head, start, end, TOKEN);
  const number = decimal(head, start, digitsEnd, MAX_CSEQ);
  const methodStart = skip(head, digitsEnd, end, BLANK);
  if (number < 0) return wrong(400, 'CSeq is not a number below 2^31');
  if (methodStart === digitsEnd || methodStart === end) return wrong(400, 'malformed CSeq');
  if (method !== null) {
    return end - methodStart === method.length && head.startsWith(method, methodStart)
      ? new SequenceNumber(number, method)
      : wrong(400, 'the method of CSeq is not that of the request');
  }
  const named = head.slice(methodStart, end);
  return isToken(named) ? new SequenceNumber(number, internMethod(named)) : wrong(400, 'malformed CSeq');
}

function fault(octets: Octets, start: number, what: Wrong, maxHeaders: number): ParseFault {
  const request = salvage(octets.slice(start), maxHeaders);
  const status = request === undefined || request.method === 'ACK' ? 0 : what.status;
  return {
    kind: 'fault',
    status,
    reason: status === 0 ? '' : reasonPhrase(status),
    detail: what.detail,
    request: status === 0 ? undefined : request,
  };
}

/** No answer needs more than this of a faulty message. */
const SALVAGE_BYTES = 65_536;

/**
 * What can be answered of octets that are no message: the lines that are header lines, however the lines end,
 * without those that hold NUL. Undefined when they begin with no method, or with a status line.
 */
export function salvage(octets: Octets, maxHeaders = DEFAULT_MAX_HEADERS): FaultyRequest | undefined {
  const bounded = octets.length > SALVAGE_BYTES ? octets.slice(0, SALVAGE_BYTES) : octets;
  const methodEnd = skip(bounded, 0, bounded.length, TOKEN);
  if (methodEnd === 0 || bounded.charCodeAt(methodEnd) !== SP) return undefined;
  let clean = '';
  let count = 0;
  let at = nextLine(bounded, 0);
  while (at < bounded.length && count < maxHeaders) {
    const end = lineEndAt(bounded, at);
    if (end === at) break;
    let value = bounded.slice(at, end);
    at = nextLine(bounded, end);
    // A continuation (§7.3.1) belongs to the line before it.
    while (at < bounded.length && (bounded.charCodeAt(at) === SP || bounded.charCodeAt(at) === 0x09)) {
      const more = lineEndAt(bounded, at);
      value += ` ${bounded.slice(at, more)}`;
      at = nextLine(bounded, more);
    }
    if (value.includes('\0') || !isHeaderLine(value)) continue;
    clean += `${value}\r\n`;
    count++;
  }
  clean += '\r\n';
  if (pass.run(clean, 0, maxHeaders) !== null) return undefined;
  return { method: internMethod(bounded.slice(0, methodEnd)), headers: pass.index(clean) };
}

function isHeaderLine(line: Octets): boolean {
  const nameEnd = skip(line, 0, line.length, TOKEN);
  return nameEnd > 0 && line.charCodeAt(skip(line, nameEnd, line.length, BLANK)) === 0x3a;
}

/** Position of the CR or LF that ends the line at `at`. */
function lineEndAt(text: Octets, at: number): number {
  let end = at;
  while (end < text.length && text.charCodeAt(end) !== CR && text.charCodeAt(end) !== LF) end++;
  return end;
}

/** Position after the line end at or after `at`; CRLF counts as one. */
function nextLine(text: Octets, at: number): number {
  const end = lineEndAt(text, at);
  return text.charCodeAt(end) === CR && text.charCodeAt(end + 1) === LF ? end + 2 : end + 1;
}
