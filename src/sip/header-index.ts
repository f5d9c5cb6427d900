/**
 * The header fields of one message as positions in its head: five numbers per field in one flat array, filled in
 * a single pass. Values are cut out when somebody asks. A value is a slice and so keeps the whole head alive:
 * what outlives the transaction should be copied with `detach` (octets.ts).
 */
import { BLANK, COLON, skip, TOKEN, trimEnd } from './grammar.js';
import { CANONICAL, CONTACT, CONTENT_LENGTH, EXPIRES, FROM, keyId, nameId, UNKNOWN } from './header-names.js';
import type { Headers } from './message.js';
import type { Octets } from './octets.js';

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const STRIDE = 5;
const ID = 0;
const NAME_START = 1;
const NAME_END = 2;
const VALUE_START = 3;
const VALUE_END = 4;

/** Ids 0 to 8 (header-names.ts) are those that the parser itself reads. */
const KEPT = EXPIRES + 1;

/** Why a head cannot be indexed. */
export type HeadProblem = 'unterminated' | 'bare-line-end' | 'malformed-name' | 'too-many' | 'folded';

export class HeaderIndex implements Headers {
  readonly size: number;
  private readonly text: Octets;
  private readonly spans: readonly number[];

  constructor(text: Octets, spans: readonly number[]) {
    this.text = text;
    this.spans = spans;
    this.size = spans.length / STRIDE;
  }

  get(key: string): Octets | undefined {
    const at = this.find(key, keyId(key), 0);
    return at < 0 ? undefined : this.valueAt(at);
  }

  all(key: string): Octets[] {
    const id = keyId(key);
    const values: Octets[] = [];
    for (let at = this.find(key, id, 0); at >= 0; at = this.find(key, id, at + STRIDE))
      values.push(this.valueAt(at));
    return values;
  }

  has(key: string): boolean {
    return this.find(key, keyId(key), 0) >= 0;
  }

  count(key: string): number {
    const id = keyId(key);
    let n = 0;
    for (let at = this.find(key, id, 0); at >= 0; at = this.find(key, id, at + STRIDE)) n++;
    return n;
  }

  forEach(visit: (key: string, name: string, value: Octets) => void): void {
    for (let at = 0; at < this.spans.length; at += STRIDE) {
      const id = this.spans[at + ID]!;
      const name = this.text.slice(this.spans[at + NAME_START]!, this.spans[at + NAME_END]!);
      visit(id === UNKNOWN ? name.toLowerCase() : CANONICAL[id]!, name, this.valueAt(at));
    }
  }

  private valueAt(at: number): Octets {
    return this.text.slice(this.spans[at + VALUE_START]!, this.spans[at + VALUE_END]!);
  }

  private find(key: string, id: number, from: number): number {
    const spans = this.spans;
    for (let at = from; at < spans.length; at += STRIDE) {
      if (spans[at + ID] !== id) continue;
      if (id !== UNKNOWN || this.nameIs(at, key)) return at;
    }
    return -1;
  }

  private nameIs(at: number, key: string): boolean {
    const start = this.spans[at + NAME_START]!;
    const end = this.spans[at + NAME_END]!;
    return end - start === key.length && this.text.slice(start, end).toLowerCase() === key;
  }
}

/**
 * One pass over the header lines. After `run` returned null the members describe the head; a field that must not
 * be repeated but is (§7.3.1) is noted in `doubled`.
 */
export class HeadPass {
  /** Position after the blank line. */
  bodyStart = 0;
  /** Id of the first of From, To, Call-ID, CSeq, Max-Forwards, Content-Length that is there twice, or `UNKNOWN`. */
  doubled = UNKNOWN;
  /** Number of Contact fields. */
  contacts = 0;
  /** A NUL stands somewhere in the lines. */
  hasNul = false;
  /** Where the first field of each kept id has its value; −1 when there is none. */
  readonly starts: number[] = new Array<number>(KEPT).fill(-1);
  readonly ends: number[] = new Array<number>(KEPT).fill(-1);
  /** Reused by every pass; a finished index gets a copy of the part in use. */
  private readonly scratch: number[] = [];
  private used = 0;

  /**
   * Indexes the lines from `at` on to the blank line; `bytes`, made by `headBytes`, hold those of the text from 0 to
   * `length`.
   */
  run(text: Octets, bytes: Uint8Array, at: number, length: number, maxHeaders: number): HeadProblem | null {
    const { starts, ends, scratch } = this;
    for (let i = 0; i < KEPT; i++) starts[i] = -1;
    this.doubled = UNKNOWN;
    this.contacts = 0;
    this.hasNul = false;
    this.used = 0;
    const words = wordsOf(bytes);
    // Stops every search for a line end at the end of the text.
    bytes[length] = LF;
    let used = 0;
    let line = at;
    for (;;) {
      let nameEnd = line;
      while (bytes[nameEnd]! > SP && bytes[nameEnd] !== COLON) nameEnd++;
      let i = nameEnd;
      for (;;) {
        // Four octets at a time while none of them is below 0x0e: (w − 0x0e…) & ~w has a high bit set where one is.
        if ((i & 3) === 0) {
          let w = words[i >> 2]!;
          while (((w - 0x0e0e0e0e) & ~w & 0x80808080) === 0) {
            i += 4;
            w = words[i >> 2]!;
          }
        }
        const c = bytes[i]!;
        if (c > CR) i++;
        else if (c === CR || c === LF) break;
        else {
          if (c === 0) this.hasNul = true;
          i++;
        }
      }
      if (i + 1 >= length) return 'unterminated';
      // §25.1: a line ends in CRLF. A lone LF or CR is refused, since a neighbour that reads it as a line end
      // would see header fields that we did not.
      if (bytes[i] !== CR || bytes[i + 1] !== LF) return 'bare-line-end';
      if (i === line) {
        this.bodyStart = i + 2;
        this.used = used;
        return null;
      }
      const following = bytes[i + 2];
      if (i + 2 < length && (following === SP || following === 0x09)) return 'folded';
      if (used === maxHeaders * STRIDE) return 'too-many';
      // §25.1: HCOLON = *( SP / HTAB ) ":" SWS
      const colon = bytes[nameEnd] === COLON ? nameEnd : skip(bytes, nameEnd, i, BLANK);
      if (nameEnd === line || bytes[colon] !== COLON) return 'malformed-name';
      const id = nameId(text, bytes, line, nameEnd);
      if (id === UNKNOWN && skip(bytes, line, nameEnd, TOKEN) !== nameEnd) return 'malformed-name';
      const valueStart = skip(bytes, colon + 1, i, BLANK);
      const valueEnd = trimEnd(bytes, valueStart, i);
      scratch[used + ID] = id;
      scratch[used + NAME_START] = line;
      scratch[used + NAME_END] = nameEnd;
      scratch[used + VALUE_START] = valueStart;
      scratch[used + VALUE_END] = valueEnd;
      used += STRIDE;
      if (id >= 0 && id < KEPT) {
        if (id === CONTACT) this.contacts++;
        if (starts[id] === -1) {
          starts[id] = valueStart;
          ends[id] = valueEnd;
        } else if (id >= FROM && id <= CONTENT_LENGTH && this.doubled === UNKNOWN) this.doubled = id;
      }
      line = i + 2;
    }
  }

  /** The index of the last `run` that returned null, over the same text. */
  index(text: Octets): HeaderIndex {
    return new HeaderIndex(text, this.scratch.slice(0, this.used));
  }
}

/** Octets that `headBytes` leaves free behind the text. */
export const HEAD_MARGIN = 8;

/** Room for the bytes of a text that `HeadPass.run` reads. */
export function headBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer((length + HEAD_MARGIN + 3) & ~3));
}

let lastBytes: Uint8Array | null = null;
let lastWords: Int32Array = new Int32Array(0);

/** The same memory, four octets at a time. */
function wordsOf(bytes: Uint8Array): Int32Array {
  if (bytes !== lastBytes) {
    lastBytes = bytes;
    lastWords = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  }
  return lastWords;
}

/** §7.3.1: a line end followed by blanks is the same as one SP. Blanks around it go too. */
export function unfold(head: Octets): Octets {
  let out = '';
  let from = 0;
  for (let at = head.indexOf('\r\n'); at >= 0; at = head.indexOf('\r\n', at + 2)) {
    let rest = at + 2;
    while (isBlank(head, rest)) rest++;
    if (rest === at + 2) continue;
    let end = at;
    while (end > from && isBlank(head, end - 1)) end--;
    out += `${head.slice(from, end)} `;
    from = rest;
    at = rest - 2;
  }
  return out + head.slice(from);
}

function isBlank(text: Octets, at: number): boolean {
  const c = text.charCodeAt(at);
  return c === SP || c === 0x09;
}
