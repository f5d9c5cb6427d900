/** The responses that leave: what RFC 3261 §8.2.6.2 copies from the request, with the top Via completed (§18.2.1). */
import { echoLines } from '#sip/fields.js';
import type { Headers } from '#sip/message.js';
import { flattened, type Octets } from '#sip/octets.js';
import type { Via } from '#sip/via.js';
import type { Source } from '../../engine.js';
import { oneLine } from './request.js';

/** What every response to one request has in common: the lines before the To tag and those after it. */
export interface ResponseFrame {
  /** Via lines, From, and To up to where a tag would be added. */
  readonly before: Octets;
  /** End of To, Call-ID, CSeq. */
  readonly after: Octets;
}

/**
 * Values are copied as they came: the parser lets none with CR or LF through, and none with NUL in a faulty request.
 * The request has all the fields that §8.1.1 demands.
 */
export function responseFrame(headers: Headers, via: Via, source: Source): ResponseFrame {
  return {
    before: `${viaLines(headers, via, source)}From: ${headers.get('from')}\r\nTo: ${headers.get('to')}`,
    after: `\r\nCall-ID: ${headers.get('call-id')}\r\nCSeq: ${headers.get('cseq')}\r\n`,
  };
}

/**
 * The same for a request that may lack fields or have broken ones (RFC 4475 §3.3.1): a 400 that echoes what is there
 * tells its sender more than silence. A Via that cannot be read goes back as it came.
 */
export function faultyFrame(headers: Headers, via: Via | undefined, source: Source): ResponseFrame {
  const top = via === undefined ? echoLines(headers, 'via', 'Via') : viaLines(headers, via, source);
  const to = headers.get('to');
  const from = firstLine(headers, 'from', 'From');
  const rest = firstLine(headers, 'call-id', 'Call-ID') + firstLine(headers, 'cseq', 'CSeq');
  // Without a To there is no tag to add: everything is before it.
  if (to === undefined) return { before: (top + from + rest).slice(0, -2), after: '\r\n' };
  return { before: `${top}${from}To: ${to}`, after: `\r\n${rest}` };
}

/** Only one of a field that must not be doubled: the response at least is well formed. */
function firstLine(headers: Headers, key: string, name: string): Octets {
  const value = headers.get(key);
  return value === undefined ? '' : `${name}: ${value}\r\n`;
}

/** `toTag`: '' adds none. `lines`: header lines, each ending in CRLF, without Content-Length. */
export function responseOctets(
  frame: ResponseFrame,
  status: number,
  reason: string,
  toTag: string,
  lines: Octets,
  body: Octets,
): Octets {
  const tag = toTag === '' ? '' : `;tag=${toTag}`;
  return flattened(
    `SIP/2.0 ${status} ${oneLine(reason)}\r\n${frame.before}${tag}${frame.after}${lines}Content-Length: ${body.length}\r\n\r\n${body}`,
  );
}

/**
 * The same in at most `limit` octets: first with `fewer` lines, if there are any to be kept, then with those and as short
 * as it can be written; then without lines and body, without reason phrase (which the grammar lets be empty, §25.1),
 * at last ''. A stranger may have forged its address, and the host that really has it must not get more octets from us
 * than were sent to us.
 */
export function fittingResponse(
  frame: ResponseFrame,
  status: number,
  reason: string,
  toTag: string,
  lines: Octets,
  body: Octets,
  limit: number,
  fewer: Octets = '',
): Octets {
  const whole = responseOctets(frame, status, reason, toTag, lines, body);
  if (whole.length <= limit) return whole;
  if (fewer !== '') {
    const some = responseOctets(frame, status, reason, toTag, fewer, '');
    if (some.length <= limit) return some;
    const short = compactOctets(frame, status, toTag, fewer);
    if (short.length <= limit) return short;
  }
  const bare = responseOctets(frame, status, reason, toTag, '', '');
  if (bare.length <= limit) return bare;
  const barest = responseOctets(frame, status, '', toTag, '', '');
  return barest.length <= limit ? barest : '';
}

const LONG_NAME = /^(?:Via|From|To|Call-ID): /gm;
const COMPACT_NAMES: Readonly<Record<string, string>> = { V: 'v:', F: 'f:', T: 't:', C: 'i:' };

/** Without reason phrase and body, header fields by their compact names (§7.3.3). */
function compactOctets(
  { before, after }: ResponseFrame,
  status: number,
  toTag: string,
  lines: Octets,
): Octets {
  const short = (text: Octets): Octets => text.replace(LONG_NAME, (name) => COMPACT_NAMES[name[0]!]!);
  const tag = toTag === '' ? '' : `;tag=${toTag}`;
  return flattened(`SIP/2.0 ${status} \r\n${short(before)}${tag}${short(after)}${lines}l:0\r\n\r\n`);
}

/** The Via fields in order, one line each as they came; the first value of the first one completed. */
function viaLines(headers: Headers, via: Via, source: Source): Octets {
  if (headers.count('via') === 1) return `Via: ${stampVia(headers.get('via') ?? '', via, source)}\r\n`;
  let lines = '';
  for (const field of headers.all('via')) {
    lines += `Via: ${lines === '' ? stampVia(field, via, source) : field}\r\n`;
  }
  return lines;
}

/**
 * `field` with the `received` and `rport` of its first value set from the socket. What the sender claims in them
 * is replaced. `maddr` is left where it stands and never obeyed: §18.2.2 would let a sender direct our answers to
 * any address it likes.
 */
export function stampVia(field: Octets, via: Via, source: Source): Octets {
  const asksPort = via.rport !== undefined;
  // §18.2.1: "If the host portion of the 'sent-by' parameter contains a domain name, or if it contains an IP
  // address that differs from the packet source address, the server MUST add a 'received' parameter".
  if (!asksPort && via.received === undefined && via.host === source.address) return field;
  const end = field.startsWith(via.raw) ? via.raw.length : endOfFirstValue(field);
  let stamped = '';
  for (let start = 0; start < end; ) {
    const next = endOfParameter(field, start, end);
    const part = field.slice(start, next);
    if (start === 0 || !isStamp(part)) stamped += part;
    start = next;
  }
  stamped = `${stamped.trimEnd()};received=${source.address}`;
  // RFC 3581 §4: "it MUST set the value of the parameter to the source port of the request" – and then also
  // `received`, "even if it is identical to the value of the 'sent-by' component".
  if (asksPort) stamped += `;rport=${source.port}`;
  return stamped + field.slice(end);
}

const STAMP = /^;\s*(?:received|rport)\s*(?:=|$)/i;

function isStamp(parameter: Octets): boolean {
  return STAMP.test(parameter);
}

/** Where the part that begins at `start` ends: at the next `;` outside quotes, or at `end`. */
function endOfParameter(text: Octets, start: number, end: number): number {
  let quoted = false;
  for (let i = start + 1; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) quoted = !quoted;
    else if (c === 0x5c && quoted) i++;
    else if (c === 0x3b && !quoted) return i;
  }
  return end;
}

function endOfFirstValue(field: Octets): number {
  let quoted = false;
  for (let i = 0; i < field.length; i++) {
    const c = field.charCodeAt(i);
    if (c === 0x22) quoted = !quoted;
    else if (c === 0x5c && quoted) i++;
    else if (c === 0x2c && !quoted) return i;
  }
  return field.length;
}

/**
 * To tags of answers that leave nothing behind. §8.2.7: a stateless UAS makes them "in a manner that will generate
 * the same tag for the same request consistently". They name no dialog, so they need to be the same, not secret.
 */
export class StatelessTags {
  readonly #secret: string;

  constructor(secret: string) {
    this.#secret = secret;
  }

  tagFor(topVia: Octets, callId: Octets): string {
    let a = 0xdeadbeef;
    let b = 0x41c6ce57;
    const text = `${this.#secret}${callId}|${topVia}`;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 2654435761);
      b = Math.imul(b ^ c, 1597334677);
    }
    a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
    b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
    return (a >>> 0).toString(36) + (b >>> 0).toString(36);
  }
}
