/**
 * The parser: octets in, a message or a fault out, whatever the peer sent. One pass finds the header fields; the
 * few that every message needs are checked at once, the rest is read when somebody asks.
 *
 * Stricter than most, on purpose: a line ends in CRLF and nothing else, NUL stands only in a quoted-pair, and a
 * field that must not be repeated is not. Where RFC 4475 lets a server guess what was meant, we refuse, because
 * the next element may guess differently.
 */
import { type ParseFault, type Wrong, wrong } from './fault.js';
import { BACKSLASH, BLANK, COMMA, DQUOTE, decimal, skip, TOKEN } from './grammar.js';
import {
  HEAD_MARGIN,
  type HeaderIndex,
  HeadPass,
  type HeadProblem,
  headBytes,
  unfold,
} from './header-index.js';
import {
  CALL_ID,
  CONTACT,
  CONTENT_LENGTH,
  CSEQ,
  EXPIRES,
  FROM,
  MAX_FORWARDS,
  NAMES,
  TO,
  UNKNOWN,
  VIA,
} from './header-names.js';
import type { CSeq, SipMessage, SipRequest, SipResponse } from './message.js';
import { methodAt, usesContact } from './methods.js';
import { firstNameAddrIn, type NameAddr, nameAddrEnd, nameAddrIn, parseNameAddrList } from './name-addr.js';
import type { Octets } from './octets.js';
import { salvage } from './salvage.js';
import { type RequestLine, readStartLine, type StatusLine } from './start-line.js';
import { reasonPhrase } from './status.js';
import type { SipUri } from './uri.js';
import { MAGIC_COOKIE, type Via, viaIn } from './via.js';

export type { FaultyRequest, ParseFault } from './fault.js';

export interface ParseOptions {
  /** Header lines allowed. Default 256. */
  readonly maxHeaders?: number | undefined;
  /** Octets allowed from the start line to the end of the body. Default 65,536. */
  readonly maxBytes?: number | undefined;
  /** The octets came from a stream, where Content-Length is mandatory (§18.3). Default false: one datagram. */
  readonly stream?: boolean | undefined;
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
const HTAB = 0x09;
const STAR = 0x2a;

/** What every message must have (§8.1.1), checked. */
class Core {
  readonly kind = 'core';
  readonly callId: Octets;
  readonly cseq: CSeq;
  readonly from: NameAddr;
  readonly to: NameAddr;
  readonly topVia: Via;
  readonly contact: NameAddr | undefined;
  /** Where the first Contact value ends. */
  readonly contactEnd: number;

  constructor(
    callId: Octets,
    cseq: CSeq,
    from: NameAddr,
    to: NameAddr,
    topVia: Via,
    contact: NameAddr | undefined,
    contactEnd: number,
  ) {
    this.callId = callId;
    this.cseq = cseq;
    this.from = from;
    this.to = to;
    this.topVia = topVia;
    this.contact = contact;
    this.contactEnd = contactEnd;
  }
}

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
  readonly contact: NameAddr | undefined;
  readonly maxForwards: number;

  constructor(line: RequestLine, core: Core, headers: HeaderIndex, body: Octets, maxForwards: number) {
    this.method = line.method;
    this.uri = line.uri;
    this.requestUri = line.requestUri;
    this.headers = headers;
    this.body = body;
    this.callId = core.callId;
    this.cseq = core.cseq;
    this.from = core.from;
    this.to = core.to;
    this.topVia = core.topVia;
    this.contact = core.contact;
    this.maxForwards = maxForwards;
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
  readonly contact: NameAddr | undefined;

  constructor(line: StatusLine, core: Core, headers: HeaderIndex, body: Octets) {
    this.status = line.status;
    this.reason = line.reason;
    this.headers = headers;
    this.body = body;
    this.callId = core.callId;
    this.cseq = core.cseq;
    this.from = core.from;
    this.to = core.to;
    this.topVia = core.topVia;
    this.contact = core.contact;
  }
}

const pass = new HeadPass();
/** The bytes of the text that is being read; `pass` writes behind them. */
let bytes = headBytes(DEFAULT_MAX_BYTES);

function load(text: Octets): void {
  if (text.length + HEAD_MARGIN > bytes.length) bytes = headBytes(text.length);
  bytes.write(text, 0, 'latin1');
}

/** Reads one message. Never throws; linear in the size of the input. */
export function parseMessage(octets: Octets, options?: ParseOptions): SipMessage | ParseFault {
  // §7.5: "MUST ignore any CRLF appearing before the start-line". Harmless in a datagram too.
  let start = 0;
  while (octets.charCodeAt(start) === CR && octets.charCodeAt(start + 1) === LF) start += 2;
  const result = read(octets, start, options);
  return result.kind === 'wrong' ? fault(octets, start, result) : result;
}

function fault(octets: Octets, start: number, what: Wrong): ParseFault {
  const request = what.status === 0 ? undefined : salvage(octets.slice(start));
  // §17.1.1.3, §17.2.1: nothing answers an ACK.
  if (request === undefined || request.method === 'ACK') {
    return { kind: 'fault', status: 0, reason: '', detail: what.detail, request: undefined };
  }
  return {
    kind: 'fault',
    status: what.status,
    reason: reasonPhrase(what.status),
    detail: what.detail,
    request,
  };
}

function read(octets: Octets, start: number, options: ParseOptions | undefined): SipMessage | Wrong {
  const maxBytes = options?.maxBytes ?? DEFAULT_MAX_BYTES;
  if (octets.length - start > maxBytes) return tooLarge(octets, start, maxBytes);
  load(octets);
  const lineEnd = startLineEnd(octets.length, start);
  if (lineEnd < 0) return wrong(400, 'the start line does not end in CRLF or holds NUL');
  const line = readStartLine(octets, bytes, start, lineEnd);
  if (line.kind === 'wrong') return line;

  const maxHeaders = options?.maxHeaders ?? DEFAULT_MAX_HEADERS;
  let head = octets;
  let problem = pass.run(octets, bytes, lineEnd + 2, octets.length, maxHeaders);
  let bodyStart = pass.bodyStart;
  if (problem === 'folded') {
    const blank = octets.indexOf('\r\n\r\n', lineEnd);
    if (blank < 0) return headProblem('unterminated');
    bodyStart = blank + 4;
    head = unfold(octets.slice(lineEnd + 2, bodyStart));
    load(head);
    problem = pass.run(head, bytes, 0, head.length, maxHeaders);
  }
  if (problem !== null) return headProblem(problem);
  if (pass.hasNul && !onlyQuotedNul(octets, lineEnd, bodyStart)) return wrong(400, 'NUL in a header field');
  if (pass.doubled !== UNKNOWN) return wrong(400, `more than one ${NAMES[pass.doubled]}`);

  const body = readBody(octets, bodyStart, options?.stream === true);
  if (typeof body !== 'string') return body;
  if (line.kind === 'request') return readRequest(line, head, body);
  const core = readCore(head, null);
  return core.kind === 'wrong' ? core : new ParsedResponse(line, core, pass.index(head), body);
}

function tooLarge(octets: Octets, start: number, maxBytes: number): Wrong {
  const blank = octets.indexOf('\r\n\r\n', start);
  return blank < 0 || blank - start > maxBytes
    ? wrong(513, `start line and header fields exceed ${maxBytes} octets`)
    : wrong(413, `the message exceeds ${maxBytes} octets`);
}

/** Position of the CRLF that ends the first line; −1 when there is none, or CR, LF or NUL stand alone before it. */
function startLineEnd(length: number, start: number): number {
  bytes[length] = LF;
  let at = start;
  let c = bytes[at]!;
  while (c !== CR && c !== LF && c !== 0) c = bytes[++at]!;
  return c === CR && at + 1 < length && bytes[at + 1] === LF ? at : -1;
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
      if (next !== SP && next !== HTAB) quoted = false;
    } else if (c === DQUOTE) quoted = !quoted;
    else if (c === BACKSLASH && quoted) i++;
    else if (c === 0) return false;
  }
  return true;
}

/** §18.3: a datagram is cut to Content-Length, and is too short when it ends before; a stream must say the length. */
function readBody(octets: Octets, bodyStart: number, stream: boolean): Octets | Wrong {
  const at = pass.starts[CONTENT_LENGTH]!;
  if (at < 0) return stream ? wrong(400, 'no Content-Length on a stream') : octets.slice(bodyStart);
  const length = decimal(bytes, at, pass.ends[CONTENT_LENGTH]!, Number.MAX_SAFE_INTEGER);
  if (length < 0) return wrong(400, 'Content-Length is not a number');
  if (bodyStart + length > octets.length) return wrong(400, 'the body is shorter than Content-Length');
  return length === 0 ? '' : octets.slice(bodyStart, bodyStart + length);
}

function readRequest(line: RequestLine, head: Octets, body: Octets): SipMessage | Wrong {
  const core = readCore(head, line.method);
  if (core.kind === 'wrong') return core;
  const { starts, ends } = pass;
  // RFC 4475 §3.2.1: the cookie without anything behind it identifies no transaction.
  if (core.topVia.branch === MAGIC_COOKIE)
    return wrong(400, 'the branch of the first Via is only its cookie');
  const hops = starts[MAX_FORWARDS]!;
  const maxForwards = hops < 0 ? 70 : decimal(bytes, hops, ends[MAX_FORWARDS]!, 255);
  if (maxForwards < 0) return wrong(400, 'Max-Forwards is not a number from 0 to 255');
  const expires = starts[EXPIRES]!;
  if (expires >= 0 && decimal(bytes, expires, ends[EXPIRES]!, MAX_DELTA_SECONDS) < 0) {
    return wrong(400, 'Expires is not a number below 2^32');
  }
  const index = pass.index(head);
  if (starts[CONTACT]! >= 0 && usesContact(line.method) && !contactsAreValid(core, index, line.method)) {
    return wrong(400, 'malformed Contact');
  }
  return new ParsedRequest(line, core, index, body, maxForwards);
}

function contactsAreValid(core: Core, index: HeaderIndex, method: string): boolean {
  const start = pass.starts[CONTACT]!;
  const single = pass.contacts === 1;
  if (core.contact === undefined) {
    // §10.2.2: "*" alone removes every binding.
    return method === 'REGISTER' && single && pass.ends[CONTACT]! - start === 1 && bytes[start] === STAR;
  }
  if (single && core.contactEnd === pass.ends[CONTACT]) return true;
  return index.all('contact').every((value) => parseNameAddrList(value) !== undefined);
}

/** Reads the fields that every message must have; `method` null for a response. */
function readCore(head: Octets, method: string | null): Core | Wrong {
  const { starts, ends } = pass;
  for (let id = VIA; id <= CSEQ; id++) {
    if (starts[id] === -1) return wrong(400, `no ${NAMES[id]}`);
  }
  const topVia = viaIn(head, bytes, starts[VIA]!, ends[VIA]!);
  if (topVia === undefined) return wrong(400, 'malformed Via');
  const from = nameAddrIn(head, bytes, starts[FROM]!, ends[FROM]!);
  if (from === undefined) return wrong(400, 'malformed From');
  const to = nameAddrIn(head, bytes, starts[TO]!, ends[TO]!);
  if (to === undefined) return wrong(400, 'malformed To');
  const callIdStart = starts[CALL_ID]!;
  const callIdEnd = ends[CALL_ID]!;
  if (!isCallId(callIdStart, callIdEnd)) return wrong(400, 'malformed Call-ID');
  const cseq = readCSeq(head, starts[CSEQ]!, ends[CSEQ]!, method);
  if (cseq.kind === 'wrong') return cseq;
  // Not required and so not judged here: undefined when it is absent, "*" or malformed.
  const contact =
    starts[CONTACT] === -1 ? undefined : firstNameAddrIn(head, bytes, starts[CONTACT]!, ends[CONTACT]!);
  return new Core(head.slice(callIdStart, callIdEnd), cseq, from, to, topVia, contact, nameAddrEnd());
}

/** callid = word [ "@" word ]; we ask only that it is there and visible, and that no list hides in it. */
function isCallId(start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (c <= SP || c === 0x7f || c === COMMA) return false;
  }
  return start < end;
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
  const digitsEnd = skip(bytes, start, end, TOKEN);
  const number = decimal(bytes, start, digitsEnd, MAX_CSEQ);
  if (number < 0) return wrong(400, 'CSeq is not a number below 2^31');
  const methodStart = skip(bytes, digitsEnd, end, BLANK);
  if (methodStart === digitsEnd || methodStart === end || skip(bytes, methodStart, end, TOKEN) !== end) {
    return wrong(400, 'malformed CSeq');
  }
  if (method === null) return new SequenceNumber(number, methodAt(head, methodStart, end));
  return end - methodStart === method.length && head.startsWith(method, methodStart)
    ? new SequenceNumber(number, method)
    : wrong(400, 'the method of CSeq is not that of the request');
}
