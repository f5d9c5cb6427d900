/**
 * Who calls, by digest: the server's side (RFC 3261 §22, RFC 7616, RFC 8760). Nonces say themselves when they were
 * issued, and by whom: nothing is kept for a challenge, so challenges can be asked for without end. Only of a nonce that
 * was used rightly its count is kept, so that no answer passes twice.
 *
 * A stranger is never answered with more bytes than it sent (engine port), so challenges are short. Where there is no room
 * for all, the last one stays, which is MD5 by default: every client knows it (RFC 3261 §22.4), and whoever asks in so few
 * words is seldom a new one.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from '#directory/secret.js';
import type { RefusalField } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { credentialsIn, type DigestAlgorithm, type DigestCredentials, digestResponse } from '#sip/digest.js';
import type { SipRequest } from '#sip/message.js';
import { fromText, type Octets } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';

export interface GateOptions {
  readonly clock: Clock;
  readonly ids: Ids;
  /** Shown to clients; whatever it is, it must not change, since clients keep passwords by it. */
  readonly realm: string;
  /** In order of preference; default `OFFERED_ALGORITHMS`. */
  readonly algorithms?: readonly OfferedAlgorithm[] | undefined;
  /** From the challenge on; then the client is told that its nonce is stale. Default a minute. */
  readonly nonceLifetimeMs?: number | undefined;
}

export type Shown =
  /** No credentials for our realm: challenge. */
  | { readonly kind: 'none' }
  /** Right or wrong, the nonce is too old, or used up: challenge, saying so. */
  | { readonly kind: 'stale' }
  | { readonly kind: 'wrong'; readonly username: string }
  | { readonly kind: 'right'; readonly username: string };

/** RFC 8760 §2.3: "in order of preference, starting with the most preferred". MD5 for clients that know nothing else. */
const OFFERED_ALGORITHMS = ['SHA-256', 'MD5'] as const satisfies readonly DigestAlgorithm[];
type OfferedAlgorithm = (typeof OFFERED_ALGORITHMS)[number];

const DEFAULT_LIFETIME_MS = 60_000;
/** Used nonces whose counts are kept. */
const USED_MAX = 20_000;
const SALT_BITS = 40;
/** Of the seal, at 6 bits each. */
const SEAL_CHARACTERS = 16;
const KEY_BITS = 250;
const NONCE = /^([0-9a-z]{1,12})\.([a-z2-7]{8})\.([0-9A-Za-z_-]{16})$/;

export class DigestGate {
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #realm: string;
  readonly #lifetimeMs: number;
  readonly #key: string;
  /** What challenges offer, and answers may use. */
  algorithms: readonly OfferedAlgorithm[];
  /** Highest count seen, by nonce. */
  readonly #used: BoundedMap<string, number>;
  /** Nonces issued up to here may have been used and forgotten. */
  #forgottenUpTo = -1;

  constructor({
    clock,
    ids,
    realm,
    algorithms = OFFERED_ALGORITHMS,
    nonceLifetimeMs = DEFAULT_LIFETIME_MS,
  }: GateOptions) {
    this.#clock = clock;
    this.#ids = ids;
    this.#realm = realm;
    this.algorithms = algorithms;
    this.#lifetimeMs = nonceLifetimeMs;
    this.#key = ids.token(KEY_BITS);
    this.#used = new BoundedMap(USED_MAX, (nonce) => {
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, issuedAt(nonce));
    });
  }

  /** What goes along with 401. */
  challenge(stale: boolean): RefusalField[] {
    const issued = Math.floor(this.#clock.now()).toString(36);
    const salt = this.#ids.token(SALT_BITS);
    const nonce = `${issued}.${salt}.${this.#seal(issued, salt)}`;
    return this.algorithms.map((algorithm, index) => ({
      name: 'WWW-Authenticate',
      value: `Digest realm="${this.#realm}",nonce="${nonce}",algorithm=${algorithm},qop="auth"${stale ? ',stale=true' : ''}`,
      ifRoom: index < this.algorithms.length - 1,
    }));
  }

  /**
   * Looks at the credentials of a request.
   * @param passwordOf undefined for an unknown user
   */
  check(request: SipRequest, passwordOf: (username: string) => Secret | undefined): Shown {
    if (!request.headers.has('authorization')) return NONE;
    const shown = credentialsIn(request.headers, 'authorization').find(
      (credentials) => credentials.realm === this.#realm,
    );
    if (shown === undefined) return NONE;
    const username = Buffer.from(shown.username, 'latin1').toString('utf8');
    const { nonce, nc, cnonce, qop } = shown;
    const algorithm = this.#algorithmOf(shown);
    const issued = this.#issued(nonce);
    if (issued === undefined) return STALE;
    const wrong: Shown = { kind: 'wrong', username };
    // Without qop nothing counts the uses of a nonce; we always offer it (RFC 7616 §3.4: clients then must use it).
    if (
      algorithm === undefined ||
      qop !== 'auth' ||
      cnonce === undefined ||
      nc === undefined ||
      !/^[0-9a-f]{8}$/i.test(nc)
    ) {
      return wrong;
    }
    if (!sameAddress(shown.uri, request)) return wrong;
    const password = passwordOf(username);
    const expected = digestResponse({
      algorithm,
      session: false,
      username: shown.username,
      realm: shown.realm,
      // An unknown user costs as much as a known one.
      password: fromText(password?.reveal() ?? this.#key),
      nonce,
      method: request.method,
      uri: shown.uri,
      body: '',
      qop: 'auth',
      nc,
      cnonce,
    });
    if (!sameText(expected, shown.response.toLowerCase()) || password === undefined) return wrong;
    const age = this.#clock.now() - issued;
    if (age > this.#lifetimeMs || issued <= this.#forgottenUpTo) return STALE;
    const count = Number.parseInt(nc, 16);
    if (count <= (this.#used.get(nonce) ?? 0)) return STALE;
    this.#used.set(nonce, count);
    return { kind: 'right', username };
  }

  #issued(nonce: Octets): number | undefined {
    const match = NONCE.exec(nonce);
    if (match === null) return undefined;
    const [, issued, salt, seal] = match as unknown as [string, string, string, string];
    return sameText(this.#seal(issued, salt), seal) ? Number.parseInt(issued, 36) : undefined;
  }

  #algorithmOf({ algorithm }: DigestCredentials): DigestAlgorithm | undefined {
    const name = (algorithm ?? 'MD5').toUpperCase();
    return this.algorithms.find((offered) => offered === name);
  }

  #seal(issued: string, salt: string): string {
    return createHmac('sha256', this.#key)
      .update(`${issued}.${salt}`)
      .digest('base64url')
      .slice(0, SEAL_CHARACTERS);
  }
}

const NONE: Shown = { kind: 'none' };
const STALE: Shown = { kind: 'stale' };

function issuedAt(nonce: string): number {
  return Number.parseInt(nonce.slice(0, nonce.indexOf('.')), 36);
}

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a, 'latin1');
  const right = Buffer.from(b, 'latin1');
  return left.length === right.length && timingSafeEqual(left, right);
}

/**
 * RFC 7616 §3.4.6 wants the digest-uri to be the Request-URI. Proxies and clients change parameters of it; user and host
 * must be the same, or an answer that was overheard would call somebody else.
 */
function sameAddress(digestUri: Octets, { requestUri }: SipRequest): boolean {
  const uri = parseUri(digestUri);
  return (
    uri !== undefined &&
    (uri.user ?? '') === (requestUri.user ?? '') &&
    uri.host.toLowerCase() === requestUri.host.toLowerCase()
  );
}
