/**
 * Sends a request above the engine port and answers the challenges that it meets (RFC 3261 §22): the same Call-ID and
 * From tag, CSeq one higher, to the same target. What a server asked is remembered per account, so the next request
 * brings its credentials along: one round trip less.
 *
 * Credentials answer only who was asked: a challenge that comes from another address than the request went to is
 * left unanswered (CVE-2021-41158), and so is the same question asked again.
 */
import type { Secret } from '#directory/secret.js';
import type { Engine, OutgoingRequestOptions, RequestOutcome, Source, Target } from '#engine/engine.js';
import type { Ids } from '#lib/ids.js';
import { answerTo, type Challenge, challengesIn, nextNonceIn, strongest } from '#sip/digest.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import { detach, fromText } from '#sip/octets.js';

export interface Credentials {
  /** Digest user. */
  readonly username: string;
  readonly password: Secret;
}

/** A challenge as it was met last, and how often its nonce has been used. */
interface Remembered {
  readonly challenge: Challenge;
  nonceCount: number;
  /** The cnonce that a -sess key was made with. */
  readonly sessionCnonce: string;
}

/** What the servers of one account have asked: one question of a registrar or UAS, one of a proxy. */
export class ChallengeMemory {
  www: Remembered | null = null;
  proxy: Remembered | null = null;

  forget(): void {
    this.www = null;
    this.proxy = null;
  }
}

/** Call-ID, From tag and CSeq are needed: a repeat must keep the first two. */
export interface AuthenticatedOptions extends OutgoingRequestOptions {
  readonly callId: string;
  readonly fromTag: string;
  readonly cseq: number;
}

/** How the exchange went, for verdict and time line. */
export interface Exchange {
  /** Of the last request; the next one must be higher. */
  readonly cseq: number;
  /** Requests sent. */
  readonly sent: number;
  /** The last request carried credentials. */
  readonly authenticated: boolean;
  /** The challenge answered or refused last, or the remembered one that was used. */
  readonly challenge: Challenge | undefined;
  /** A challenge came, and none that we can compute. */
  readonly algorithmUnsupported: boolean;
  /** A challenge came from an address that was not asked. */
  readonly foreignChallenge: boolean;
}

export type Answered = (outcome: RequestOutcome, exchange: Exchange) => void;

/** Challenges answered for one request: a proxy's, then the registrar's, and one of them with a fresh nonce. */
const MAX_ROUNDS = 3;
const CNONCE_BITS = 80;

interface Parts {
  readonly engine: Pick<Engine, 'request'>;
  readonly ids: Ids;
}

/**
 * `done` is called once, with the answer that no credentials of ours could change, and never from inside this call.
 * @param credentials undefined: every challenge is final
 */
export function authenticatedRequest(
  parts: Parts,
  options: AuthenticatedOptions,
  credentials: Credentials | undefined,
  memory: ChallengeMemory,
  done: Answered,
): void {
  new Attempt(parts, options, credentials, memory, done).send();
}

class Attempt implements Exchange {
  cseq: number;
  sent = 0;
  authenticated = false;
  challenge: Challenge | undefined;
  algorithmUnsupported = false;
  foreignChallenge = false;
  readonly #parts: Parts;
  readonly #options: AuthenticatedOptions;
  readonly #credentials: Credentials | undefined;
  readonly #memory: ChallengeMemory;
  readonly #done: Answered;
  /** Nonces that came for this very request and have been answered. */
  readonly #answered: string[] = [];

  constructor(
    parts: Parts,
    options: AuthenticatedOptions,
    credentials: Credentials | undefined,
    memory: ChallengeMemory,
    done: Answered,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#credentials = credentials;
    this.#memory = memory;
    this.#done = done;
    this.cseq = options.cseq - 1;
  }

  send(): void {
    this.cseq++;
    this.sent++;
    const headers = this.#withCredentials();
    this.#parts.engine.request({ ...this.#options, cseq: this.cseq, headers }, (outcome) =>
      this.#received(outcome),
    );
  }

  #withCredentials(): readonly HeaderField[] | undefined {
    const { headers } = this.#options;
    const credentials = this.#credentials;
    const { www, proxy } = this.#memory;
    this.authenticated = credentials !== undefined && (www !== null || proxy !== null);
    if (credentials === undefined || !this.authenticated) return headers;
    const fields = headers === undefined ? [] : [...headers];
    if (www !== null) fields.push({ name: 'Authorization', value: this.#answer(www, credentials) });
    if (proxy !== null) {
      fields.push({ name: 'Proxy-Authorization', value: this.#answer(proxy, credentials) });
    }
    this.challenge = www?.challenge ?? proxy?.challenge;
    return fields;
  }

  #answer(remembered: Remembered, { username, password }: Credentials): string {
    const { method, uri, body } = this.#options;
    const { challenge, sessionCnonce } = remembered;
    const nonceCount = ++remembered.nonceCount;
    return answerTo({
      challenge,
      username: fromText(username),
      password: fromText(password.reveal()),
      method,
      uri,
      body: body ?? '',
      nonceCount,
      cnonce: nonceCount === 1 ? sessionCnonce : this.#parts.ids.token(CNONCE_BITS),
      sessionCnonce,
    });
  }

  #received(outcome: RequestOutcome): void {
    if (outcome.kind === 'response') {
      const { response, source } = outcome;
      const { status } = response;
      if (status < 300) this.#takeNextNonce(response);
      if ((status === 401 || status === 407) && this.#takeChallenge(response, source)) {
        this.send();
        return;
      }
    }
    this.#done(outcome, this);
  }

  /** True when the request is to be repeated with an answer. */
  #takeChallenge(response: SipResponse, source: Source): boolean {
    const proxy = response.status === 407;
    const challenge = strongest(
      challengesIn(response.headers, proxy ? 'proxy-authenticate' : 'www-authenticate'),
    );
    if (challenge === undefined) {
      this.algorithmUnsupported = response.headers.has(proxy ? 'proxy-authenticate' : 'www-authenticate');
      return false;
    }
    if (!cameFrom(this.#options.target, source)) {
      this.foreignChallenge = true;
      return false;
    }
    this.challenge = challenge;
    if (this.#credentials === undefined) return false;
    const kind = proxy ? 'proxy' : 'www';
    const before = this.#memory[kind];
    // Answered for this very request, and not because the nonce was too old: user or password are wrong. What was
    // remembered from before may have been thrown away without a word, so it gets a second chance.
    if (before !== null && this.#answered.includes(`${kind} ${before.challenge.nonce}`) && !challenge.stale) {
      this.#memory[kind] = null;
      return false;
    }
    if (this.#answered.length >= MAX_ROUNDS) {
      this.#memory[kind] = null;
      return false;
    }
    this.#answered.push(`${kind} ${challenge.nonce}`);
    this.#memory[kind] = remember(challenge, this.#parts.ids);
    return true;
  }

  /** RFC 7615 §3: the nonce that the server wishes us to use next. */
  #takeNextNonce({ headers }: SipResponse): void {
    const { www, proxy } = this.#memory;
    const next = nextNonceIn(headers, 'authentication-info');
    if (next !== undefined && www !== null) {
      this.#memory.www = remember({ ...www.challenge, nonce: next }, this.#parts.ids);
    }
    const nextOfProxy = nextNonceIn(headers, 'proxy-authentication-info');
    if (nextOfProxy !== undefined && proxy !== null) {
      this.#memory.proxy = remember({ ...proxy.challenge, nonce: nextOfProxy }, this.#parts.ids);
    }
  }
}

/** The challenge outlives its message, so it keeps no part of it alive. */
function remember(challenge: Challenge, ids: Ids): Remembered {
  return {
    challenge: {
      ...challenge,
      realm: detach(challenge.realm),
      nonce: detach(challenge.nonce),
      opaque: challenge.opaque === undefined ? undefined : detach(challenge.opaque),
      algorithmName: challenge.algorithmName === undefined ? undefined : detach(challenge.algorithmName),
    },
    nonceCount: 0,
    sessionCnonce: ids.token(CNONCE_BITS),
  };
}

/**
 * Datagrams can be forged by whoever guesses a branch; a stream's answers come from whom it leads to, and TLS has
 * checked who that is.
 */
function cameFrom(target: Target, source: Source): boolean {
  return source.transport !== 'udp' || source.address === target.address;
}
