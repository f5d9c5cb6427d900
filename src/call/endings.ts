/** Header fields that say why: those of CANCEL, BYE and rejections (RFC 3326). */
import type { ReasonCode } from '#routing/refusals.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import { q850In, q850OfCode, q850Reason } from './causes.js';
import { REJECT, relayed } from './header-policy.js';
import type { Failure } from './hunt.js';

/** Header fields of CANCEL or BYE: those of the peer's that brought it about, else a Reason of ours (RFC 3326). */
export function endHeaders(request: SipRequest | null, kind: number, code: ReasonCode): HeaderField[] {
  const headers: HeaderField[] = [];
  if (request !== null) relayed(request, kind, headers);
  if (code !== 'normal_clearing' && (request === null || !request.headers.has('reason'))) {
    headers.push({ name: 'Reason', value: q850Reason(q850OfCode(code, 480), words(code)) });
  }
  return headers;
}

/** Header fields of every rejection: why, in SIP's words and in ours, and the id to ask about. */
export function rejectionHeaders(id: string, failure: Failure): HeaderField[] {
  const headers: HeaderField[] = [];
  const { response } = failure;
  if (response !== null) relayed(response, REJECT, headers);
  if (response === null || q850In(response.headers) === undefined) {
    headers.push({ name: 'Reason', value: q850Reason(failure.q850, words(failure.code)) });
  }
  headers.push(
    { name: 'X-Trunkline-Reason', value: failure.code },
    { name: 'X-Trunkline-Call-Id', value: id },
  );
  if (failure.retryAfter > 0) headers.push({ name: 'Retry-After', value: String(failure.retryAfter) });
  return headers;
}

const words = (code: string): string => code.replaceAll('_', ' ');
