/** What people may add to an INVITE: header fields of their own, and X-Dest-User. */
import { isSafeValue, isToken } from '#sip/fields.js';
import { canonicalName } from '#sip/header-names.js';
import { fromText } from '#sip/octets.js';

/** What the gateway itself writes into a request. A second one would make the request malformed. */
const RESERVED_HEADERS = new Set(
  (
    'accept allow authorization call-id contact content-encoding content-length content-type cseq event expires from ' +
    'max-forwards min-expires min-se path proxy-authenticate proxy-authorization proxy-require rack record-route ' +
    'refer-to reliable require route rseq service-route session-expires supported to unsupported via ' +
    'www-authenticate'
  ).split(' '),
);

/** What says who calls (RFC 3323, 3325, 5806, 7044, 8224, and what came before them). */
const IDENTITY_HEADERS = new Set(
  (
    'p-asserted-identity p-preferred-identity remote-party-id diversion history-info privacy identity ' +
    'identity-info p-charge-info'
  ).split(' '),
);

/** Why this field may not be added; undefined: it may. */
export function headerFault(name: string, value: string): string | undefined {
  if (!isToken(name)) return 'is not a header field name';
  const canonical = canonicalName(name);
  if (RESERVED_HEADERS.has(canonical)) return 'is written by the gateway itself';
  // RFC 3261 §7.3.3. `s: …` for Subject would be legal, but whoever writes it has most likely meant something else.
  if (name.length === 1 && canonical !== name.toLowerCase()) return `is the compact form of ${canonical}`;
  return isSafeValue(fromText(value)) ? undefined : 'must not have control characters';
}

/** As `headerFault`, for who may not say who calls but by the fields that are checked: a request, an agent. */
export function askedHeaderFault(name: string, value: string): string | undefined {
  const canonical = isToken(name) ? canonicalName(name) : name;
  if (IDENTITY_HEADERS.has(canonical))
    return 'says who calls: give `from`, `displayName` or `privacy` instead';
  return headerFault(name, value);
}

/** Why a text may not be X-Dest-User, naming the character; undefined: it may. An empty one means none. */
export function destUserFault(value: string): string | undefined {
  const wrong = /[^a-zA-Z0-9._+@~/-]/u.exec(value)?.[0];
  if (wrong === undefined) return undefined;
  return `must not have ${JSON.stringify(wrong)}: a-z A-Z 0-9 . _ + @ ~ / - only`;
}
