/**
 * Cuts an octet stream into SIP messages by Content-Length (RFC 3261 §18.3). Linear in what arrives, also when it
 * arrives one octet at a time, and bounded whatever is announced.
 */
import type { Octets } from '#sip/octets.js';

export interface FramingLimits {
  readonly headBytes: number;
  readonly messageBytes: number;
}

export type FramingProblem = { readonly status: 400 | 413 | 513; readonly detail: string };

export interface FrameSink {
  /** One whole message, in `bytes` from `start` to `end`; the octets are valid only during the call. */
  onFrame(bytes: Buffer, start: number, end: number): void;
  /** A double CRLF between messages, once per push at most: RFC 5626 §4.4.1 wants a CRLF in return. */
  onPing(): void;
  /** The stream cannot be cut any further. `head`: its current message up to the last whole line. */
  onUnframeable(head: Octets, problem: FramingProblem): void;
}

const CR = 13;
const LF = 10;
const SP = 32;
const HTAB = 9;
const COLON = 58;
const ZERO = 48;
const NINE = 57;
const END_OF_HEAD = '\r\n\r\n';
const NAME = 'content-length';
const NOTHING = Buffer.alloc(0);
const FIRST_CAPACITY = 2048;
/** What `contentLength` says when there is none, or none that can be read. */
const MISSING = -1;
const MALFORMED = -2;
/** More than any bound: the exact value of a longer row of digits does not matter. */
const ABSURD = 1_000_000_000;

export class Framer {
  readonly #limits: FramingLimits;
  readonly #sink: FrameSink;
  /** The beginning of a message that is not whole yet, in a buffer that doubles as it fills. */
  #held: Buffer = NOTHING;
  #heldBytes = 0;
  /** Octets of the current message in which no end of head has been found. */
  #scanned = 0;
  /** Length of the current message once its head is complete; 0 before. */
  #needed = 0;
  /** Line ends seen since the last message. */
  #lineEnds = 0;
  #stopped = false;

  constructor(limits: FramingLimits, sink: FrameSink) {
    this.#limits = limits;
    this.#sink = sink;
  }

  /** A message has begun and is not whole. */
  get partial(): boolean {
    return this.#heldBytes > 0;
  }

  /** Nothing more is wanted of this stream; also from inside a callback. */
  stop(): void {
    this.#stopped = true;
    this.#held = NOTHING;
    this.#heldBytes = 0;
  }

  push(chunk: Buffer): void {
    if (this.#stopped) return;
    if (this.#heldBytes === 0) {
      const rest = this.#cut(chunk, chunk.length);
      if (!this.#stopped && rest < chunk.length) this.#hold(chunk, rest);
      return;
    }
    this.#hold(chunk, 0);
    const held = this.#held;
    const rest = this.#cut(held, this.#heldBytes);
    if (this.#stopped || rest === 0) return;
    this.#heldBytes -= rest;
    if (this.#heldBytes === 0) this.#held = NOTHING;
    else held.copyWithin(0, rest, rest + this.#heldBytes);
  }

  #hold(chunk: Buffer, from: number): void {
    const bytes = this.#heldBytes + chunk.length - from;
    if (bytes > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(bytes, this.#held.length * 2, FIRST_CAPACITY));
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldBytes, from);
    this.#heldBytes = bytes;
  }

  /** Passes on every whole message among the first `length` octets; returns where the unfinished one starts. */
  #cut(bytes: Buffer, length: number): number {
    let start = 0;
    let pinged = false;
    while (start < length && !this.#stopped) {
      if (this.#needed === 0 && this.#scanned === 0) {
        const first = bytes[start]!;
        if (first === CR || first === LF) {
          start++;
          if (first === LF && ++this.#lineEnds % 2 === 0 && !pinged) {
            pinged = true;
            this.#sink.onPing();
          }
          continue;
        }
      }
      if (this.#needed === 0 && !this.#readHead(bytes, start, length)) break;
      const end = start + this.#needed;
      if (end > length) break;
      this.#needed = 0;
      this.#scanned = 0;
      this.#lineEnds = 0;
      this.#sink.onFrame(bytes, start, end);
      start = end;
    }
    return start;
  }

  /** Finds the end of the head and with it the length of the message. False: not there yet, or never. */
  #readHead(bytes: Buffer, start: number, length: number): boolean {
    if (!isTokenOctet(bytes[start]!)) return this.#fail('', 400, 'not a SIP message');
    const from = Math.max(start, start + this.#scanned - (END_OF_HEAD.length - 1));
    const found = bytes.subarray(from, length).indexOf(END_OF_HEAD, 0, 'latin1');
    const headBytes = (found < 0 ? length : from + found + END_OF_HEAD.length) - start;
    if (headBytes > this.#limits.headBytes) {
      const line = bytes.lastIndexOf('\r\n', start + this.#limits.headBytes - 4, 'latin1');
      const head = line <= start ? '' : `${bytes.toString('latin1', start, line)}\r\n\r\n`;
      return this.#fail(head, 513, `header fields of more than ${this.#limits.headBytes} octets`);
    }
    if (found < 0) {
      this.#scanned = length - start;
      return false;
    }
    const body = contentLength(bytes, start, start + headBytes);
    if (body >= 0 && headBytes + body <= this.#limits.messageBytes) {
      this.#needed = headBytes + body;
      return true;
    }
    const head = bytes.toString('latin1', start, start + headBytes);
    // §18.3: "If the Content-Length header field is missing in a request on a stream, it is an error: 400".
    if (body === MISSING) return this.#fail(head, 400, 'Content-Length is missing');
    if (body === MALFORMED) return this.#fail(head, 400, 'Content-Length is malformed or contradicts itself');
    return this.#fail(head, 513, `a message of more than ${this.#limits.messageBytes} octets`);
  }

  #fail(head: Octets, status: 400 | 513, detail: string): false {
    this.stop();
    this.#sink.onUnframeable(head, { status, detail });
    return false;
  }
}

/**
 * The value of Content-Length or `l` (§20.14) in a head that ends in an empty line. The same value twice is left to
 * the parser; two different ones would let a peer hide one message in another.
 */
function contentLength(bytes: Buffer, start: number, end: number): number {
  let length = MISSING;
  for (let at = bytes.indexOf(LF, start) + 1; at > 0 && at < end; at = bytes.indexOf(LF, at) + 1) {
    const first = bytes[at]! | 0x20;
    let colon = -1;
    if (first === 0x6c) colon = colonAfter(bytes, at + 1);
    else if (first === 0x63 && isName(bytes, at)) colon = colonAfter(bytes, at + NAME.length);
    if (colon < 0) continue;
    const value = digits(bytes, colon + 1);
    if (value === MALFORMED || (length !== MISSING && length !== value)) return MALFORMED;
    length = value;
  }
  return length;
}

function isName(bytes: Buffer, at: number): boolean {
  for (let i = 0; i < NAME.length; i++) {
    const octet = bytes[at + i]!;
    // Bit 5 folds letters; '-' has it set already, and what would fold onto it (CR) is no part of a name.
    if ((octet | 0x20) !== NAME.charCodeAt(i) || octet === CR) return false;
  }
  return true;
}

/** HCOLON (§25.1): white space, folded too, may stand before the colon. */
function colonAfter(bytes: Buffer, at: number): number {
  const next = skipSpace(bytes, at);
  return bytes[next] === COLON ? next : -1;
}

function digits(bytes: Buffer, from: number): number {
  let at = skipSpace(bytes, from);
  const first = at;
  let value = 0;
  for (let octet = bytes[at]!; octet >= ZERO && octet <= NINE; octet = bytes[++at]!) {
    if (value < ABSURD) value = value * 10 + octet - ZERO;
  }
  if (at === first) return MALFORMED;
  at = skipSpace(bytes, at);
  return bytes[at] === CR && bytes[at + 1] === LF ? value : MALFORMED;
}

/** LWS (§25.1): spaces, tabs, and a line end that is followed by one of them. The head ends in CRLFCRLF. */
function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const octet = bytes[at];
    if (octet === SP || octet === HTAB) at++;
    else if (octet === CR && bytes[at + 1] === LF && (bytes[at + 2] === SP || bytes[at + 2] === HTAB))
      at += 3;
    else return at;
  }
}

/** A start line begins with a token: a method or `SIP` (§25.1). A TLS hello or a picture does not. */
function isTokenOctet(octet: number): boolean {
  return (
    (octet >= 0x61 && octet <= 0x7a) ||
    (octet >= 0x41 && octet <= 0x5a) ||
    (octet >= ZERO && octet <= NINE) ||
    "-.!%*_+`'~".includes(String.fromCharCode(octet))
  );
}
