/** What Node says about a connection that failed, in the words of the port. */
import type { EngineFault, TlsFailure } from '../../faults.js';

const TLS_REASONS: Readonly<Record<string, TlsFailure>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'wrong-name',
  HOSTNAME_MISMATCH: 'wrong-name',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted',
  CERT_UNTRUSTED: 'untrusted',
  CERT_REJECTED: 'untrusted',
  CERT_REVOKED: 'untrusted',
  CERT_SIGNATURE_FAILURE: 'untrusted',
  CERT_CHAIN_TOO_LONG: 'untrusted',
  INVALID_CA: 'untrusted',
  INVALID_PURPOSE: 'untrusted',
  PATH_LENGTH_EXCEEDED: 'untrusted',
};

/** `ECONNREFUSED` and the like; '' for an error without one. */
export function codeOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** The peer's TLS stack said no (RFC 8446 §6.2), for instance for want of a client certificate. */
export function isAlert(code: string): boolean {
  return code.startsWith('ERR_SSL_') && code.includes('ALERT');
}

function isTlsError(code: string): boolean {
  return (
    code in TLS_REASONS || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO'
  );
}

/** What went wrong in a TLS handshake. */
export function tlsFault(error: Error): EngineFault {
  const code = codeOf(error);
  return {
    kind: 'tls',
    reason: TLS_REASONS[code] ?? (isAlert(code) ? 'alert' : 'other'),
    detail: explain(error),
  };
}

/** A connection that was never established: `secured` tells whether TCP was through and TLS was not. */
export function connectFault(error: Error, handshaking: boolean): EngineFault {
  const code = codeOf(error);
  if (isTlsError(code)) return tlsFault(error);
  if (handshaking)
    return {
      kind: 'tls',
      reason: 'other',
      detail: `the peer broke off the TLS handshake: ${explain(error)}`,
    };
  switch (code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return { kind: 'refused', detail: error.message };
    case 'ETIMEDOUT':
      return { kind: 'timeout', heard: false, connecting: true, detail: error.message };
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      return { kind: 'capacity', detail: error.message };
    default:
      return { kind: 'unreachable', detail: error.message };
  }
}

/** OpenSSL's message is a row of numbers; its code names the matter. */
function explain(error: Error): string {
  const code = codeOf(error);
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return `the peer does not speak TLS on this port (${code})`;
  if (code.startsWith('ERR_SSL_')) return code;
  return code === '' || error.message.includes(code) ? error.message : `${error.message} (${code})`;
}
