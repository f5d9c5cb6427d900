/** The Reason header field (RFC 3326): why a request was sent, as a SIP status or a Q.850 cause. */
import { parseDecimal, quote } from './grammar.js';
import { parseParams, splitList } from './lists.js';
import type { Headers } from './message.js';
import { type Octets, printable } from './octets.js';

export interface Reason {
  /** As written: `SIP`, `Q.850`, or another token. */
  readonly protocol: string;
  readonly cause: number | undefined;
  readonly text: Octets | undefined;
}

/** The values of one Reason field; a malformed value is left out, since Reason only informs. */
export function parseReason(value: Octets): Reason[] {
  const reasons: Reason[] = [];
  for (const one of splitList(value)) {
    const parsed = parseParams(one);
    if (parsed === undefined || parsed.value === '') continue;
    reasons.push({
      protocol: parsed.value,
      cause: parseDecimal(parsed.params.get('cause') ?? '', 999),
      text: parsed.params.get('text'),
    });
  }
  return reasons;
}

/** `Q.850;cause=16;text="Normal call clearing"`. Controls in the text become blanks. */
export function formatReason(protocol: string, cause: number | undefined, text?: Octets | undefined): Octets {
  let out = protocol;
  if (cause !== undefined) out += `;cause=${cause}`;
  return text === undefined ? out : `${out};text=${quote(text)}`;
}

/** Header fields in which peers say why they refuse: RFC 3326, RFC 3261 §20.43, Twilio's, and those of another gateway. */
export const SAYING_WHY = [
  ['reason', 'Reason'],
  ['warning', 'Warning'],
  ['x-twilio-error', 'X-Twilio-Error'],
  ['x-trunkline-reason', 'X-Trunkline-Reason'],
] as const;

/** Of so many values a peer's reasons consist at most. */
const VALUES_MAX = 5;

/** What a response says of its cause beyond status and phrase, `Warning: 399 h "…"`: for people, escaped and bounded. */
export function saidWhy(headers: Headers): string[] {
  const said: string[] = [];
  for (const [key, name] of SAYING_WHY) {
    if (!headers.has(key)) continue;
    for (const value of headers.all(key)) {
      if (said.length < VALUES_MAX) said.push(`${name}: ${printable(value)}`);
    }
  }
  return said;
}
