/**
 * Names of header fields that the gateway meets, with their compact forms (RFC 3261 §7.3.3 and IANA's registry).
 * A name on the wire is recognised in place, in any case, without making a string.
 */
import { bytesOf, spells } from './grammar.js';
import type { Octets } from './octets.js';

/** Name as the RFCs spell it and, where one is registered, the compact form. The index of a row is the name's id. */
const ROWS: readonly (readonly [name: string, compact?: string])[] = [
  ['Via', 'v'],
  ['From', 'f'],
  ['To', 't'],
  ['Call-ID', 'i'],
  ['CSeq'],
  ['Max-Forwards'],
  ['Content-Length', 'l'],
  ['Contact', 'm'],
  ['Expires'],
  ['Content-Type', 'c'],
  ['Content-Encoding', 'e'],
  ['Subject', 's'],
  ['Supported', 'k'],
  ['Event', 'o'],
  ['Allow-Events', 'u'],
  ['Refer-To', 'r'],
  ['Referred-By', 'b'],
  ['Session-Expires', 'x'],
  ['Accept-Contact', 'a'],
  ['Reject-Contact', 'j'],
  ['Request-Disposition', 'd'],
  ['Identity', 'y'],
  ['Identity-Info', 'n'],
  ['Accept'],
  ['Accept-Encoding'],
  ['Accept-Language'],
  ['Alert-Info'],
  ['Allow'],
  ['Authentication-Info'],
  ['Authorization'],
  ['Call-Info'],
  ['Content-Disposition'],
  ['Content-Language'],
  ['Content-Transfer-Encoding'],
  ['Date'],
  ['Diversion'],
  ['Error-Info'],
  ['Geolocation'],
  ['History-Info'],
  ['In-Reply-To'],
  ['Join'],
  ['MIME-Version'],
  ['Min-Expires'],
  ['Min-SE'],
  ['Organization'],
  ['P-Access-Network-Info'],
  ['P-Asserted-Identity'],
  ['P-Called-Party-ID'],
  ['P-Charging-Vector'],
  ['P-Preferred-Identity'],
  ['Path'],
  ['Priority'],
  ['Privacy'],
  ['Proxy-Authenticate'],
  ['Proxy-Authorization'],
  ['Proxy-Require'],
  ['RAck'],
  ['Reason'],
  ['Record-Route'],
  ['Remote-Party-ID'],
  ['Replaces'],
  ['Reply-To'],
  ['Require'],
  ['Retry-After'],
  ['Route'],
  ['RSeq'],
  ['Server'],
  ['Service-Route'],
  ['SIP-ETag'],
  ['SIP-If-Match'],
  ['Subscription-State'],
  ['Timestamp'],
  ['Unsupported'],
  ['User-Agent'],
  ['User-To-User'],
  ['Warning'],
  ['WWW-Authenticate'],
  ['X-Dest-User'],
  ['X-Trunkline-Call-Id'],
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

/** Names by id as the RFCs spell them: `Call-ID`. */
export const NAMES: readonly string[] = ROWS.map((row) => row[0]);

/** Canonical keys by id: `call-id`. */
export const CANONICAL: readonly string[] = NAMES.map((name) => name.toLowerCase());

const IDS: ReadonlyMap<string, number> = new Map(CANONICAL.map((key, id) => [key, id]));

interface Spelling {
  readonly id: number;
  /** As most peers write it, for the comparison that nearly always succeeds. */
  readonly usual: string;
  readonly lower: string;
}

/** Longest name in the table is shorter than this; a bucket is length and first letter. */
const LONGEST = 32;
const BUCKETS: readonly (readonly Spelling[])[] = buckets();

function buckets(): Spelling[][] {
  const table = Array.from({ length: LONGEST << 5 }, (): Spelling[] => []);
  ROWS.forEach((row, id) => {
    for (const usual of row) {
      if (usual === undefined) continue;
      table[(usual.length << 5) | (usual.charCodeAt(0) & 31)]!.push({
        id,
        usual,
        lower: usual.toLowerCase(),
      });
    }
  });
  return table;
}

/** Id of the name that stands in `[start, end)`, compact or long, in any case; `UNKNOWN` when it has none. */
export function nameId(text: Octets, bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length >= LONGEST) return UNKNOWN;
  const bucket = BUCKETS[(length << 5) | (bytes[start]! & 31)]!;
  for (let i = 0; i < bucket.length; i++) {
    const spelling = bucket[i]!;
    if (text.startsWith(spelling.usual, start) || spells(bytes, start, end, spelling.lower))
      return spelling.id;
  }
  return UNKNOWN;
}

/** Id of a canonical key, `UNKNOWN` when it has none. */
export function keyId(key: string): number {
  return IDS.get(key) ?? UNKNOWN;
}

/** The canonical key of a name however it is spelled: `V` → `via`, `X-Foo` → `x-foo`. */
export function canonicalName(name: string): string {
  const id = nameId(name, bytesOf(name), 0, name.length);
  return id === UNKNOWN ? name.toLowerCase() : CANONICAL[id]!;
}
