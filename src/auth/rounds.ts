/**
 * The challenges that one request meets, and their answers (RFC 3261 §22): credentials for what is remembered, and
 * whether a 401 or 407 is worth a repeat. Whoever sends the request keeps its Call-ID and From tag, takes the next CSeq
 * and the same target.
 *
 * Credentials answer only who was asked: a challenge that comes from another address than the request went to is
 * left unanswered (CVE-2021-41158), and so is the same question asked again.
 */
import type { Source, Target } from '#engine/engine.js';
import type { Ids } from '#lib/ids.js';
import { answerTo, type Challenge, challengesIn, nextNonceIn, strongest } from '#sip/digest.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import { fromText, type Octets } from '#sip/octets.js';
import {
  type ChallengeMemory,
  CNONCE_BITS,
  type Credentials,
  type Remembered,
  remember,
} from './challenge-memory.js';

/** Challenges answered for one request: a proxy's, then the registrar's or UAS's, and one of them with a fresh nonce. */
const MAX_ROUNDS = 3;

/** The part of a request that an answer covers. */
export interface Asked {
  readonly method: string;
  /** Request-URI. */
  readonly uri: Octets;
  readonly body: Octets;
}

export class Rounds {
  /** The last request carried credentials. */
  authenticated = false;
  /** The challenge answered or refused last, or the remembered one that was used. */
  challenge: Challenge | undefined;
  /** A challenge came, and none that we can compute. */
  algorithmUnsupported = false;
  /** A challenge came from an address that was not asked. */
  foreignChallenge = false;
  readonly #ids: Ids;
  readonly #credentials: Credentials | undefined;
  readonly #memory: ChallengeMemory;
  readonly #most: number;
  /** Nonces that came for this very request and have been answered. */
  readonly #answered: string[] = [];

  /**
   * @param credentials undefined: every challenge is final
   * @param most challenges answered, at most `MAX_ROUNDS`
   */
  constructor(
    ids: Ids,
    credentials: Credentials | undefined,
    memory: ChallengeMemory,
    most: number = MAX_ROUNDS,
  ) {
    this.#ids = ids;
    this.#credentials = credentials;
    this.#memory = memory;
    this.#most = Math.min(most, MAX_ROUNDS);
  }

  /** Challenges answered so far. */
  get count(): number {
    return this.#answered.length;
  }

  /** The header fields with credentials for what is remembered; as they are when nothing is. */
  authorise<T extends readonly HeaderField[] | undefined>(headers: T, asked: Asked): T | HeaderField[] {
    const credentials = this.#credentials;
    const { www, proxy } = this.#memory;
    this.authenticated = credentials !== undefined && (www !== null || proxy !== null);
    if (credentials === undefined || !this.authenticated) return headers;
    const fields = headers === undefined ? [] : [...headers];
    if (www !== null) fields.push({ name: 'Authorization', value: this.#answer(www, credentials, asked) });
    if (proxy !== null) {
      fields.push({ name: 'Proxy-Authorization', value: this.#answer(proxy, credentials, asked) });
    }
    this.challenge = www?.challenge ?? proxy?.challenge;
    return fields;
  }

  /** Takes a final response; true when the request is to be repeated with `authorise`. */
  take(response: SipResponse, source: Source, target: Target): boolean {
    const { status } = response;
    if (status < 300) this.takeNextNonce(response);
    return (status === 401 || status === 407) && this.#takeChallenge(response, source, target);
  }

  #answer(remembered: Remembered, { username, password }: Credentials, asked: Asked): string {
    const { challenge, sessionCnonce } = remembered;
    const nonceCount = ++remembered.nonceCount;
    return answerTo({
      challenge,
      username: fromText(username),
      password: fromText(password.reveal()),
      ...asked,
      nonceCount,
      cnonce: nonceCount === 1 ? sessionCnonce : this.#ids.token(CNONCE_BITS),
      sessionCnonce,
    });
  }

  #takeChallenge(response: SipResponse, source: Source, target: Target): boolean {
    const proxy = response.status === 407;
    const challenge = strongest(
      challengesIn(response.headers, proxy ? 'proxy-authenticate' : 'www-authenticate'),
    );
    if (challenge === undefined) {
      this.algorithmUnsupported = response.headers.has(proxy ? 'proxy-authenticate' : 'www-authenticate');
      return false;
    }
    if (!cameFrom(target, source)) {
      this.foreignChallenge = true;
      return false;
    }
    this.challenge = challenge;
    if (this.#credentials === undefined) return false;
    const kind = proxy ? 'proxy' : 'www';
    const before = this.#memory[kind];
    const question = `${kind} ${challenge.nonce}`;
    // Answered for this very request, and not because the nonce was too old: user or password are wrong. What was
    // remembered from before may have been thrown away without a word, so it gets a second chance.
    if (
      (before !== null && this.#answered.includes(`${kind} ${before.challenge.nonce}`) && !challenge.stale) ||
      this.#answered.length >= this.#most
    ) {
      this.#memory[kind] = null;
      return false;
    }
    this.#answered.push(question);
    this.#memory[kind] = remember(challenge, this.#ids);
    return true;
  }

  /** RFC 7615 §3: the nonce that the server wishes us to use next. */
  takeNextNonce({ headers }: SipResponse): void {
    const { www, proxy } = this.#memory;
    const next = nextNonceIn(headers, 'authentication-info');
    if (next !== undefined && www !== null) {
      this.#memory.www = remember({ ...www.challenge, nonce: next }, this.#ids);
    }
    const nextOfProxy = nextNonceIn(headers, 'proxy-authentication-info');
    if (nextOfProxy !== undefined && proxy !== null) {
      this.#memory.proxy = remember({ ...proxy.challenge, nonce: nextOfProxy }, this.#ids);
    }
  }
}

/**
 * Datagrams can be forged by whoever guesses a branch; a stream's answers come from whom it leads to, and TLS has
 * checked who that is.
 */
function cameFrom(target: Target, source: Source): boolean {
  return source.transport !== 'udp' || source.address === target.address;
}
