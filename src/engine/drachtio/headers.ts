/** Header fields on their way to drachtio-server. */
import { isSafeValue, isToken } from '#sip/fields.js';
import { hasOptionTag, parseParams } from '#sip/lists.js';
import type { HeaderField, SipRequest } from '#sip/message.js';

/** Fields of the transaction and dialog, which the server writes; a user's would be refused or doubled. */
const OWNED: ReadonlySet<string> = new Set([
  'via',
  'from',
  'to',
  'call-id',
  'cseq',
  'content-length',
  'record-route',
  'max-forwards',
]);

export const NO_HEADERS: readonly HeaderField[] = [];

/** The user's fields, checked: what the wire must not carry is a RangeError here, as in the embedded engine. */
export function checked(fields: readonly HeaderField[] | undefined): readonly HeaderField[] {
  if (fields === undefined || fields.length === 0) return NO_HEADERS;
  const out: HeaderField[] = [];
  for (const field of fields) {
    if (!isToken(field.name)) throw new RangeError('a header field name must be a token');
    if (!isSafeValue(field.value))
      throw new RangeError(`the value of ${field.name} holds a control or is not octets`);
    if (!OWNED.has(field.name.toLowerCase())) out.push(field);
  }
  return out;
}

/** The server sends no body without a type. */
export function withType(fields: readonly HeaderField[], body: string): readonly HeaderField[] {
  if (body === '' || body.startsWith('v=0')) return fields;
  if (fields.some(({ name }) => name.toLowerCase() === 'content-type' || name === 'c')) return fields;
  return [...fields, { name: 'Content-Type', value: 'application/octet-stream' }];
}

/**
 * Asks the peer to refresh its own leg. The server takes part in the session timers that it sees negotiated (RFC 4028):
 * as refresher it sends re-INVITEs by itself, with the session description of the last INVITE, whatever an UPDATE or
 * an ACK has agreed since. Refreshes of the peers cross like any request, and reach the other leg.
 *
 * @param answered the request that `fields` answer; absent for a request of ours
 */
export function peerRefreshes(
  fields: readonly HeaderField[],
  answered?: SipRequest | undefined,
): readonly HeaderField[] {
  const at = fields.findIndex(({ name }) => isSessionExpires(name));
  if (at < 0) return fields;
  // §9, table 2: only who supports timers may be made the refresher, and who has named one is obeyed.
  if (answered !== undefined) {
    const asked = parseParams(answered.headers.get('session-expires') ?? '')?.params.get('refresher');
    if (asked?.toLowerCase() === 'uas' || !hasOptionTag(answered, 'supported', 'timer')) return fields;
  }
  const { name, value } = fields[at]!;
  const kept = value.split(';').filter((part) => !/^\s*refresher\s*=/i.test(part));
  const refresher = answered === undefined ? 'uas' : 'uac';
  return fields.with(at, { name, value: `${kept.join(';')};refresher=${refresher}` });
}

function isSessionExpires(name: string): boolean {
  const lower = name.toLowerCase();
  return lower === 'session-expires' || lower === 'x';
}
