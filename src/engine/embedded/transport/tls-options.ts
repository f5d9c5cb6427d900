/**
 * What TLS checks, in both directions: whom we call must prove its name (RFC 3261 §26.3.1, RFC 5922); whom we
 * accept gets our certificate and may have to show one.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureContextOptions,
} from 'node:tls';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Target, TlsOptions } from '../../engine.js';
import type { ListenOptions } from './listen-options.js';

const DEFAULT_MIN_VERSION = 'TLSv1.2';
/** A context holds the authorities' certificates, some 100 KB when those are the well-known ones. */
const CONTEXTS_KEPT = 256;

/** How the peer of one outgoing connection is to be checked. */
export interface TlsIdentity {
  /** Equal for targets that may share a connection. */
  readonly key: string;
  /** The name that the certificate must carry. */
  readonly serverName: string;
  /** For SNI; undefined for an address (RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted"). */
  readonly sni: string | undefined;
  readonly verify: boolean;
}

const NO_OPTIONS: TlsOptions = {};

export class TlsContexts {
  /** Options live as long as the trunk they belong to, so each set is digested once. */
  readonly #digests = new WeakMap<TlsOptions, string>();
  readonly #contexts = new BoundedMap<string, SecureContext>(CONTEXTS_KEPT);

  identity(target: Target): TlsIdentity {
    const options = target.tls ?? NO_OPTIONS;
    const serverName = (options.serverName ?? target.name ?? target.address).toLowerCase();
    const verify = options.verify !== false;
    return {
      key: `${serverName}|${verify ? 'verified' : 'any'}|${this.#digest(options)}`,
      serverName,
      sni: isIP(serverName) === 0 ? serverName : undefined,
      verify,
    };
  }

  /** Throws when certificate or key cannot be read as PEM, or do not belong together. */
  context(options: TlsOptions | undefined): SecureContext {
    const wanted = options ?? NO_OPTIONS;
    const digest = this.#digest(wanted);
    let context = this.#contexts.get(digest);
    if (context === undefined) {
      context = createSecureContext({
        ca: wanted.ca,
        cert: wanted.clientCert,
        key: wanted.clientKey,
        minVersion: wanted.minVersion ?? DEFAULT_MIN_VERSION,
      });
      this.#contexts.set(digest, context);
    }
    return context;
  }

  #digest(options: TlsOptions): string {
    let digest = this.#digests.get(options);
    if (digest === undefined) {
      const hash = createHash('sha256');
      const { ca = '', clientCert = '', clientKey = '', minVersion = DEFAULT_MIN_VERSION } = options;
      for (const part of [ca, clientCert, clientKey, minVersion]) hash.update(`${part.length}:${part}`);
      digest = hash.digest('base64');
      this.#digests.set(options, digest);
    }
    return digest;
  }
}

/**
 * RFC 5922 §7.1 and §7.2: a SIP URI in the certificate names the domain, or else a DNS name; for an address, an IP
 * name. Unlike §7.2 a wildcard is taken, since carriers use them and Node's check bounds it to one label.
 */
export function checkIdentity(serverName: string, certificate: PeerCertificate): Error | undefined {
  const names = certificate.subjectaltname ?? '';
  // Node quotes a name with odd characters in it; such a certificate gets Node's own check only.
  if (
    !names.includes('"') &&
    names.split(', ').some((name) => name.toLowerCase() === `uri:sip:${serverName}`)
  ) {
    return undefined;
  }
  return checkServerIdentity(serverName, certificate);
}

export interface ServerTlsOptions extends SecureContextOptions {
  readonly requestCert: boolean;
  /** The listener looks at the certificate itself. */
  readonly rejectUnauthorized: false;
}

/** Reads a listener's files. Throws an Error that names the file and the mend. */
export function serverTlsOptions(listen: ListenOptions): ServerTlsOptions {
  const options: ServerTlsOptions = {
    cert: readPem('certFile', listen.certFile),
    key: readPem('keyFile', listen.keyFile),
    ca: listen.caFile === undefined ? undefined : readPem('caFile', listen.caFile),
    minVersion: listen.minVersion ?? DEFAULT_MIN_VERSION,
    requestCert: listen.requestClientCert === true,
    rejectUnauthorized: false,
  };
  try {
    createSecureContext(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `certFile ${listen.certFile} and keyFile ${listen.keyFile} cannot be used: ${why}. Both must be PEM, and the key must be the certificate’s.`,
      { cause: error },
    );
  }
  return options;
}

function readPem(field: string, path: string | undefined): string {
  if (path === undefined)
    throw new Error(`${field} is missing: a TLS listener needs a certificate and its key.`);
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const mend =
      code === 'ENOENT'
        ? 'There is no such file: correct the path or put the file there.'
        : code === 'EACCES'
          ? 'Let the user that runs the gateway read it.'
          : '';
    throw new Error(`${field} ${path} cannot be read (${code}). ${mend}`, { cause: error });
  }
}
