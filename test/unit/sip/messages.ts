/** Messages for the tests of this room: readable text in, octets with CRLF out. */

import type { SipRequest, SipResponse } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';

/** Lines to octets; the last line of the head must be followed by an empty one. */
export function octets(lines: string): string {
  return lines.replaceAll('\n', '\r\n');
}

export interface Parts {
  readonly line?: string;
  /** Replaces a field by name, removes it with null. */
  readonly fields?: Readonly<Record<string, string | null>>;
  /** Lines added behind the usual ones, as they are. */
  readonly more?: readonly string[];
  readonly body?: string;
}

/** An INVITE that is right, but for what the parts say. */
export function invite(parts: Parts = {}): string {
  return build(parts.line ?? 'INVITE sip:bob@example.com SIP/2.0', parts, 'INVITE');
}

export function response(parts: Parts = {}): string {
  return build(parts.line ?? 'SIP/2.0 200 OK', parts, 'INVITE');
}

function build(line: string, parts: Parts, method: string): string {
  const fields: Record<string, string | null> = {
    Via: 'SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc',
    'Max-Forwards': '70',
    From: '"Alice" <sip:alice@example.com>;tag=a1',
    To: '<sip:bob@example.com>',
    'Call-ID': 'c1@192.0.2.1',
    CSeq: `1 ${method}`,
    Contact: '<sip:alice@192.0.2.1>',
    'Content-Length': String(parts.body?.length ?? 0),
    ...parts.fields,
  };
  let out = `${line}\r\n`;
  for (const [name, value] of Object.entries(fields)) if (value !== null) out += `${name}: ${value}\r\n`;
  for (const extra of parts.more ?? []) out += `${extra}\r\n`;
  return `${out}\r\n${parts.body ?? ''}`;
}

export function request(text: string): SipRequest {
  const parsed = parseMessage(text);
  if (parsed.kind !== 'request') throw new Error(`no request: ${JSON.stringify(parsed)}`);
  return parsed;
}

export function answer(text: string): SipResponse {
  const parsed = parseMessage(text);
  if (parsed.kind !== 'response') throw new Error(`no response: ${JSON.stringify(parsed)}`);
  return parsed;
}
