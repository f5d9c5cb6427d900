/** What can still be answered of octets that are no message (RFC 3261 §8.2.7: without keeping state). */
import type { FaultyRequest } from './fault.js';
import { BLANK, COLON, skip, TOKEN } from './grammar.js';
import { HeadPass, headBytes } from './header-index.js';
import { methodAt } from './methods.js';
import type { Octets } from './octets.js';

const CR = 0x0d;
const LF = 0x0a;

/** No answer needs more than this of a faulty message. */
const MAX_BYTES = 65_536;
const MAX_HEADERS = 256;

const pass = new HeadPass();

/**
 * The lines that are header lines, however the lines end, without those that hold NUL. Undefined when the octets
 * begin with no method, as a response does.
 */
export function salvage(octets: Octets): FaultyRequest | undefined {
  const text = octets.length > MAX_BYTES ? octets.slice(0, MAX_BYTES) : octets;
  const bytes = Buffer.from(text, 'latin1');
  const methodEnd = skip(bytes, 0, bytes.length, TOKEN);
  if (methodEnd === 0 || !isBlank(bytes[methodEnd])) return undefined;
  let lines = '';
  let count = 0;
  let at = nextLine(bytes, 0);
  while (at < bytes.length && count < MAX_HEADERS) {
    const start = at;
    let end = lineEnd(bytes, at);
    if (end === start) break;
    at = nextLine(bytes, end);
    let line = text.slice(start, end);
    // A continuation belongs to the line before it (§7.3.1).
    while (isBlank(bytes[at])) {
      const more = at;
      end = lineEnd(bytes, at);
      line += text.slice(more, end);
      at = nextLine(bytes, end);
    }
    if (!isHeaderLine(bytes, start, end) || line.includes('\0')) continue;
    lines += `${line}\r\n`;
    count++;
  }
  const clean = `${lines}\r\n`;
  const cleanBytes = headBytes(clean.length);
  cleanBytes.write(clean, 'latin1');
  if (pass.run(clean, cleanBytes, 0, clean.length, MAX_HEADERS) !== null) return undefined;
  return { method: methodAt(text, 0, methodEnd), headers: pass.index(clean) };
}

function isHeaderLine(bytes: Uint8Array, start: number, end: number): boolean {
  const nameEnd = skip(bytes, start, end, TOKEN);
  const colon = skip(bytes, nameEnd, end, BLANK);
  return nameEnd > start && colon < end && bytes[colon] === COLON;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** Position of the CR or LF that ends the line at `at`. */
function lineEnd(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== CR && bytes[end] !== LF) end++;
  return end;
}

/** Position after the line end at or after `at`; CRLF counts as one. */
function nextLine(bytes: Uint8Array, at: number): number {
  const end = lineEnd(bytes, at);
  return bytes[end] === CR && bytes[end + 1] === LF ? end + 2 : end + 1;
}
