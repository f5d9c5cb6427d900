/**
 * Digest authentication (RFC 7616, RFC 2617, RFC 2069, and RFC 8760 for SIP): challenges read from a response, the
 * strongest that we can answer, and the answer. Arithmetic only: no sockets, no memory of what was asked before.
 */
import { createHash } from 'node:crypto';
import {
  BLANK,
  bytesOf,
  COMMA,
  DQUOTE,
  EQUAL,
  isToken,
  quote,
  quotedEnd,
  skip,
  TOKEN,
  unquote,
} from './grammar.js';
import type { Headers } from './message.js';
import type { Octets } from './octets.js';

/** Weakest first. */
const ALGORITHMS = ['MD5', 'SHA-256', 'SHA-512-256'] as const;
export type DigestAlgorithm = (typeof ALGORITHMS)[number];

const HASHES: Readonly<Record<DigestAlgorithm, string>> = {
  MD5: 'md5',
  'SHA-256': 'sha256',
  'SHA-512-256': 'sha512-256',
};

export type Qop = 'auth' | 'auth-int';

export interface Challenge {
  readonly realm: Octets;
  readonly nonce: Octets;
  readonly opaque: Octets | undefined;
  /** As the server wrote it, and repeated so; undefined when it named none, which means MD5. */
  readonly algorithmName: string | undefined;
  /** Undefined: one that we do not know, so the challenge cannot be answered. */
  readonly algorithm: DigestAlgorithm | undefined;
  readonly session: boolean;
  /** What we would choose of the offer; undefined: none was offered (RFC 2069). */
  readonly qop: Qop | undefined;
  /** The offer holds only what we do not know. */
  readonly qopUnknown: boolean;
  /** The nonce was too old; user and password were right. */
  readonly stale: boolean;
}

/** Challenges beyond these are not read; a server needs one per algorithm. */
const MAX_CHALLENGES = 16;
const MAX_PARAMS = 32;

/** The Digest challenges of `www-authenticate` or `proxy-authenticate`, in order, of one field or of several. */
export function challengesIn(headers: Headers, key: 'www-authenticate' | 'proxy-authenticate'): Challenge[] {
  const challenges: Challenge[] = [];
  for (const value of headers.all(key)) readChallenges(value, challenges);
  return challenges;
}

/** What a client shows in Authorization; parameters as they stand, read no further. */
export interface DigestCredentials {
  readonly username: Octets;
  readonly realm: Octets;
  readonly nonce: Octets;
  readonly uri: Octets;
  readonly response: Octets;
  /** Undefined: MD5. */
  readonly algorithm: Octets | undefined;
  readonly qop: Octets | undefined;
  readonly nc: Octets | undefined;
  readonly cnonce: Octets | undefined;
}

/** The Digest credentials of a request, one for each realm or algorithm; incomplete ones are left out. */
export function credentialsIn(
  headers: Headers,
  key: 'authorization' | 'proxy-authorization',
): DigestCredentials[] {
  const credentials: DigestCredentials[] = [];
  for (const value of headers.all(key)) {
    readSchemes(value, (params) => {
      const shown = credentialsOf(params);
      if (shown !== undefined && credentials.length < MAX_CHALLENGES) credentials.push(shown);
    });
  }
  return credentials;
}

function credentialsOf(params: ReadonlyMap<string, Octets>): DigestCredentials | undefined {
  const username = params.get('username');
  const realm = params.get('realm');
  const nonce = params.get('nonce');
  const uri = params.get('uri');
  const response = params.get('response');
  if (
    username === undefined ||
    realm === undefined ||
    nonce === undefined ||
    uri === undefined ||
    response === undefined
  ) {
    return undefined;
  }
  return {
    username,
    realm,
    nonce,
    uri,
    response,
    algorithm: params.get('algorithm'),
    qop: params.get('qop')?.toLowerCase(),
    nc: params.get('nc'),
    cnonce: params.get('cnonce'),
  };
}

function readChallenges(text: Octets, into: Challenge[]): void {
  readSchemes(text, (params) => {
    const challenge = challengeOf(params);
    if (challenge !== undefined && into.length < MAX_CHALLENGES) into.push(challenge);
  });
}

/**
 * The parameters of each Digest scheme. RFC 7235 §4.1: several challenges may share a field, and a comma divides
 * parameters as well as challenges.
 */
function readSchemes(text: Octets, found: (params: ReadonlyMap<string, Octets>) => void): void {
  const bytes = bytesOf(text);
  const end = text.length;
  let params: Map<string, Octets> | null = null;
  const finish = (): void => {
    if (params !== null) found(params);
    params = null;
  };
  let at = 0;
  while (at < end) {
    while (at < end && (bytes[at] === COMMA || bytes[at] === 0x20 || bytes[at] === 0x09)) at++;
    const nameEnd = skip(bytes, at, end, TOKEN);
    if (nameEnd === at) break;
    const name = text.slice(at, nameEnd).toLowerCase();
    const afterName = skip(bytes, nameEnd, end, BLANK);
    if (bytes[afterName] !== EQUAL || afterName >= end) {
      // A token without "=" is the scheme of a new challenge.
      finish();
      if (name === 'digest') params = new Map();
      at = afterName;
      continue;
    }
    const valueStart = skip(bytes, afterName + 1, end, BLANK);
    const quoted = valueStart < end && bytes[valueStart] === DQUOTE;
    const valueEnd = quoted ? quotedEnd(bytes, valueStart, end) : bareEnd(bytes, valueStart, end);
    if (valueEnd < 0) break;
    const value = quoted ? unquote(text, valueStart, valueEnd) : text.slice(valueStart, valueEnd).trimEnd();
    // A parameter given twice: the first counts, whoever added the second.
    if (params !== null && params.size < MAX_PARAMS && !params.has(name)) params.set(name, value);
    at = valueEnd;
  }
  finish();
}

/** Some servers leave the quotes out, so anything up to the comma is taken. */
function bareEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== COMMA) at++;
  return at;
}

function challengeOf(params: ReadonlyMap<string, Octets>): Challenge | undefined {
  const realm = params.get('realm');
  const nonce = params.get('nonce');
  if (realm === undefined || nonce === undefined) return undefined;
  const name = params.get('algorithm');
  const upper = (name ?? 'MD5').toUpperCase();
  const session = upper.endsWith('-SESS');
  const base = session ? upper.slice(0, -5) : upper;
  const offered = params.get('qop');
  const qop = offered === undefined ? undefined : chosenQop(offered);
  return {
    realm,
    nonce,
    opaque: params.get('opaque'),
    algorithmName: name,
    algorithm: ALGORITHMS.find((algorithm) => algorithm === base),
    session,
    qop,
    // An empty offer is none.
    qopUnknown: qop === undefined && offered !== undefined && offered.trim() !== '',
    stale: params.get('stale')?.toLowerCase() === 'true',
  };
}

/** `auth` before `auth-int`: proxies on the way may change a body, and the second hash is wasted on most requests. */
function chosenQop(offered: Octets): Qop | undefined {
  const offers = offered.split(',').map((each) => each.trim().toLowerCase());
  if (offers.includes('auth')) return 'auth';
  return offers.includes('auth-int') ? 'auth-int' : undefined;
}

/** True when we know its algorithm and one of its qop values, and can repeat its algorithm's name. */
export function isAnswerable(challenge: Challenge): boolean {
  const { algorithm, algorithmName, qopUnknown } = challenge;
  return algorithm !== undefined && !qopUnknown && (algorithmName === undefined || isToken(algorithmName));
}

/**
 * Of several challenges the one to answer; undefined when we can answer none. RFC 8760 §2.4 lets the client take the
 * first that it supports; an attacker on the way could reorder them, so the strongest is taken whatever the order.
 */
export function strongest(challenges: readonly Challenge[]): Challenge | undefined {
  let best: Challenge | undefined;
  for (const challenge of challenges) {
    if (!isAnswerable(challenge)) continue;
    if (best === undefined || strength(challenge) > strength(best)) best = challenge;
  }
  return best;
}

/** First the algorithm, then whether the server protects against a chosen nonce (qop), then -sess. */
function strength({ algorithm, qop, session }: Challenge): number {
  return ALGORITHMS.indexOf(algorithm ?? 'MD5') * 4 + (qop === undefined ? 0 : 2) + (session ? 1 : 0);
}

export interface DigestQuestion {
  readonly challenge: Challenge;
  readonly username: Octets;
  readonly password: Octets;
  readonly method: string;
  /** The digest-uri: the Request-URI as sent. */
  readonly uri: Octets;
  readonly body: Octets;
  /** How often this nonce has been used, this use included: from 1. */
  readonly nonceCount: number;
  readonly cnonce: string;
  /** For -sess: the cnonce of the first answer to this nonce, with which the session key was made. Default `cnonce`. */
  readonly sessionCnonce?: string | undefined;
}

/** All that the response is made of. */
export interface DigestParts {
  readonly algorithm: DigestAlgorithm;
  readonly session: boolean;
  readonly username: Octets;
  readonly realm: Octets;
  readonly password: Octets;
  readonly nonce: Octets;
  readonly method: string;
  readonly uri: Octets;
  readonly body: Octets;
  readonly qop: Qop | undefined;
  /** Eight hexadecimal digits, as sent; counts only with qop. */
  readonly nc: Octets;
  readonly cnonce: Octets;
  readonly sessionCnonce?: Octets | undefined;
}

/** The `response` parameter (RFC 7616 §3.4.1), in hexadecimal. */
export function digestResponse(parts: DigestParts): string {
  const { algorithm, nonce, cnonce, qop } = parts;
  const hash = (text: Octets): string =>
    createHash(HASHES[algorithm]).update(Buffer.from(text, 'latin1')).digest('hex');
  // RFC 7616 §3.4.2.
  let ha1 = hash(`${parts.username}:${parts.realm}:${parts.password}`);
  if (parts.session) ha1 = hash(`${ha1}:${nonce}:${parts.sessionCnonce ?? cnonce}`);
  // §3.4.3: with auth-int the hash of the body belongs to it, that of an empty one too.
  const a2 = `${parts.method}:${parts.uri}`;
  const ha2 = hash(qop === 'auth-int' ? `${a2}:${hash(parts.body)}` : a2);
  // §3.4.1, and RFC 2069 §2.1.2 where no qop was offered.
  return hash(
    qop === undefined ? `${ha1}:${nonce}:${ha2}` : `${ha1}:${nonce}:${parts.nc}:${cnonce}:${qop}:${ha2}`,
  );
}

/** The value of Authorization or Proxy-Authorization. RangeError when the challenge is not answerable. */
export function answerTo(question: DigestQuestion): Octets {
  const { challenge, username, uri, nonceCount, cnonce } = question;
  const { realm, nonce, opaque, algorithm, algorithmName, session, qop } = challenge;
  if (algorithm === undefined || !isAnswerable(challenge))
    throw new RangeError('this challenge has no answer');
  const nc = nonceCount.toString(16).padStart(8, '0');
  const response = digestResponse({ ...question, realm, nonce, algorithm, session, qop, nc });
  let out = `Digest username=${quote(username)},realm=${quote(realm)},nonce=${quote(nonce)},uri=${quote(uri)},response="${response}"`;
  if (algorithmName !== undefined) out += `,algorithm=${algorithmName}`;
  // RFC 3261 §22.4: qop and nc stand without quotes, cnonce with them.
  if (qop !== undefined) out += `,qop=${qop},nc=${nc},cnonce="${cnonce}"`;
  else if (session) out += `,cnonce="${cnonce}"`;
  return opaque === undefined ? out : `${out},opaque=${quote(opaque)}`;
}

/** The nonce to use next, as `Authentication-Info` or `Proxy-Authentication-Info` says (RFC 7615); undefined: none. */
export function nextNonceIn(
  headers: Headers,
  key: 'authentication-info' | 'proxy-authentication-info',
): Octets | undefined {
  const value = headers.get(key);
  if (value === undefined) return undefined;
  const match = /(?:^|,)\s*nextnonce\s*=\s*"([^"\\]*)"/i.exec(value);
  return match?.[1] === '' ? undefined : match?.[1];
}
