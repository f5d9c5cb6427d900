/** Certificates for tests, made by openssl: an authority of our own and what it has signed. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './processes.js';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  readonly caFile: string;
  /** PEM. */
  readonly ca: string;
  /**
   * Signs a certificate for `names`, subject alternative names as openssl writes them: `DNS:localhost`. A negative
   * number of `days` has expired already. Default 2.
   */
  issue(commonName: string, names: readonly string[], days?: number): CertificateFiles;
}

function openssl(folder: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** An authority that nobody knows until its `caFile` is trusted. */
export function createAuthority(name = 'Test Authority'): Authority {
  const folder = temporaryFolder('tls');
  openssl(folder, [
    ...['req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', `/CN=${name}`],
    ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  ]);
  const caFile = join(folder, 'ca.pem');
  let issued = 0;
  return {
    caFile,
    ca: readFileSync(caFile, 'utf8'),
    issue(commonName, names, days = 2) {
      const base = `${++issued}`;
      openssl(folder, [
        ...['req', ...KEY, '-keyout', `${base}.key`, '-out', `${base}.csr`, '-subj', `/CN=${commonName}`],
      ]);
      writeFileSync(
        join(folder, `${base}.ext`),
        `subjectAltName=${names.join(',')}\nextendedKeyUsage=serverAuth,clientAuth\n`,
      );
      openssl(folder, [
        ...['x509', '-req', '-in', `${base}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
        ...['-out', `${base}.pem`, '-days', String(days), '-extfile', `${base}.ext`],
      ]);
      return { certFile: join(folder, `${base}.pem`), keyFile: join(folder, `${base}.key`) };
    },
  };
}

/** File with parameters for a Diffie-Hellman exchange: group ffdhe2048 of RFC 7919. */
export function dhParameters(): string {
  const folder = temporaryFolder('dh');
  openssl(folder, [
    'genpkey',
    '-genparam',
    '-algorithm',
    'DH',
    '-pkeyopt',
    'group:ffdhe2048',
    '-out',
    'dh.pem',
  ]);
  return join(folder, 'dh.pem');
}
