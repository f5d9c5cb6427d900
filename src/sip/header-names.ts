/**
 * Names of header fields that the gateway meets, with their compact forms (RFC 3261 §7.3.3 and IANA's registry).
 * A name on the wire is recognised in place, in any case, without making a string.
 */
import { spells } from './grammar.js';
import type { Octets } from './octets.js';

/** Canonical name and, where one is registered, the compact form. The index of a row is the name's id. */
const ROWS: readonly (readonly [canonical: string, compact?: string])[] = [
  ['via', 'v'],
  ['from', 'f'],
  ['to', 't'],
  ['call-id', 'i'],
  ['cseq'],
  ['max-forwards'],
  ['content-length', 'l'],
  ['contact', 'm'],
  ['expires'],
  ['content-type', 'c'],
  ['content-encoding', 'e'],
  ['subject', 's'],
  ['supported', 'k'],
  ['event', 'o'],
  ['allow-events', 'u'],
  ['refer-to', 'r'],
  ['referred-by', 'b'],
  ['session-expires', 'x'],
  ['accept-contact', 'a'],
  ['reject-contact', 'j'],
  ['request-disposition', 'd'],
  ['identity', 'y'],
  ['identity-info', 'n'],
  ['accept'],
  ['accept-encoding'],
  ['accept-language'],
  ['alert-info'],
  ['allow'],
  ['authentication-info'],
  ['authorization'],
  ['call-info'],
  ['content-disposition'],
  ['content-language'],
  ['content-transfer-encoding'],
  ['date'],
  ['diversion'],
  ['error-info'],
  ['geolocation'],
  ['history-info'],
  ['in-reply-to'],
  ['join'],
  ['mime-version'],
  ['min-expires'],
  ['min-se'],
  ['organization'],
  ['p-access-network-info'],
  ['p-asserted-identity'],
  ['p-called-party-id'],
  ['p-charging-vector'],
  ['p-preferred-identity'],
  ['path'],
  ['priority'],
  ['privacy'],
  ['proxy-authenticate'],
  ['proxy-authorization'],
  ['proxy-require'],
  ['rack'],
  ['reason'],
  ['record-route'],
  ['remote-party-id'],
  ['replaces'],
  ['reply-to'],
  ['require'],
  ['retry-after'],
  ['route'],
  ['rseq'],
  ['server'],
  ['service-route'],
  ['sip-etag'],
  ['sip-if-match'],
  ['subscription-state'],
  ['timestamp'],
  ['unsupported'],
  ['user-agent'],
  ['user-to-user'],
  ['warning'],
  ['www-authenticate'],
  ['x-dest-user'],
  ['x-trunkline-call-id'],
];

/** Id of a name that is not in the table. */
export const UNKNOWN = -1;
export const VIA = 0;
export const FROM = 1;
export const TO = 2;
export const CALL_ID = 3;
export const CSEQ = 4;
export const MAX_FORWARDS = 5;
export const CONTENT_LENGTH = 6;
export const CONTACT = 7;
export const EXPIRES = 8;

/** Canonical names by id. */
export const CANONICAL: readonly string[] = ROWS.map((row) => row[0]);

const IDS: ReadonlyMap<string, number> = new Map(ROWS.map((row, id) => [row[0], id]));

/** Longest name in the table is shorter than this; a bucket is length and first letter. */
const LONGEST = 32;
const BUCKETS: readonly (readonly { readonly id: number; readonly spelling: string }[])[] = buckets();

function buckets(): { id: number; spelling: string }[][] {
  const table = Array.from({ length: LONGEST << 5 }, (): { id: number; spelling: string }[] => []);
  ROWS.forEach((row, id) => {
    for (const spelling of row) {
      if (spelling === undefined) continue;
      table[(spelling.length << 5) | (spelling.charCodeAt(0) & 31)]!.push({ id, spelling });
    }
  });
  return table;
}

/** Id of the name that stands in `[start, end)`, compact or long, in any case; `UNKNOWN` when it has none. */
export function nameId(text: Octets, start: number, end: number): number {
  const length = end - start;
  if (length >= LONGEST) return UNKNOWN;
  const bucket = BUCKETS[(length << 5) | (text.charCodeAt(start) & 31)]!;
  for (let i = 0; i < bucket.length; i++) {
    const entry = bucket[i]!;
    if (spells(text, start, end, entry.spelling)) return entry.id;
  }
  return UNKNOWN;
}

/** Id of a canonical key, `UNKNOWN` when it has none. */
export function keyId(key: string): number {
  return IDS.get(key) ?? UNKNOWN;
}

/** The canonical key of a name however it is spelled: `V` → `via`, `X-Foo` → `x-foo`. */
export function canonicalName(name: string): string {
  const id = nameId(name, 0, name.length);
  return id === UNKNOWN ? name.toLowerCase() : CANONICAL[id]!;
}
