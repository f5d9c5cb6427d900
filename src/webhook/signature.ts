/**
 * The signature of a webhook: HMAC-SHA256 (RFC 2104) over time and body, so that a receiver knows who sent it and that
 * it is not an old one sent again.
 */
import { createHmac } from 'node:crypto';
import type { Secret } from '#directory/secret.js';

export const SIGNATURE_HEADER = 'X-Trunkline-Signature';

/**
 * `t=<seconds>,v1=<hex>[,v1=<hex>]`: one v1 for each key. The text that is signed is `<seconds>.<body>`.
 * @param seconds since 1970
 */
export function signatureOf(secrets: readonly Secret[], seconds: number, body: string): string {
  const parts = [`t=${seconds}`];
  for (const secret of secrets) {
    parts.push(`v1=${createHmac('sha256', secret.reveal()).update(`${seconds}.${body}`).digest('hex')}`);
  }
  return parts.join(',');
}
