/** Header fields on their way to drachtio-server. */
import { isSafeValue, isToken } from '#sip/fields.js';
import type { HeaderField } from '#sip/message.js';

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
