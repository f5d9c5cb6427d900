/** One authority and what it has signed, made once for the suite. */
import { readFileSync } from 'node:fs';
import { type CertificateFiles, createAuthority } from '../kit/certificates.js';

export interface Pem {
  readonly cert: string;
  readonly key: string;
}

export interface TlsCertificates {
  /** PEM of the authority that signed everything here. */
  readonly ca: string;
  readonly caFile: string;
  readonly otherCa: string;
  /** For localhost and 127.0.0.1. */
  readonly server: Pem & { readonly files: CertificateFiles };
  /** The same, expired. */
  readonly expired: Pem;
  readonly client: Pem;
  /** Of an authority that nobody trusts. */
  readonly stranger: Pem;
}

let made: TlsCertificates | undefined;

export function tlsCertificates(): TlsCertificates {
  if (made !== undefined) return made;
  const authority = createAuthority();
  const names = ['DNS:localhost', 'IP:127.0.0.1'];
  const server = authority.issue('localhost', names);
  const other = createAuthority('Another Authority');
  made = {
    ca: authority.ca,
    caFile: authority.caFile,
    otherCa: other.ca,
    server: { ...pem(server), files: server },
    expired: pem(authority.issue('localhost', names, -1)),
    client: pem(authority.issue('gateway', ['DNS:gateway.example'])),
    stranger: pem(other.issue('stranger', ['DNS:stranger.example'])),
  };
  return made;
}

function pem({ certFile, keyFile }: CertificateFiles): Pem {
  return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}
