/**
 * Sends a request other than INVITE above the engine port and answers the challenges that it meets (`rounds.ts`): the
 * same Call-ID and From tag, CSeq one higher, to the same target.
 */
import type { Engine, OutgoingRequestOptions, RequestOutcome } from '#engine/engine.js';
import type { Ids } from '#lib/ids.js';
import type { Challenge } from '#sip/digest.js';
import type { ChallengeMemory, Credentials } from './challenge-memory.js';
import { Rounds } from './rounds.js';

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

class Attempt extends Rounds implements Exchange {
  cseq: number;
  sent = 0;
  readonly #engine: Parts['engine'];
  readonly #options: AuthenticatedOptions;
  readonly #done: Answered;

  constructor(
    { engine, ids }: Parts,
    options: AuthenticatedOptions,
    credentials: Credentials | undefined,
    memory: ChallengeMemory,
    done: Answered,
  ) {
    super(ids, credentials, memory);
    this.#engine = engine;
    this.#options = options;
    this.#done = done;
    this.cseq = options.cseq - 1;
  }

  send(): void {
    const { method, uri, body } = this.#options;
    this.cseq++;
    this.sent++;
    const headers = this.authorise(this.#options.headers, { method, uri, body: body ?? '' });
    this.#engine.request({ ...this.#options, cseq: this.cseq, headers }, (outcome) =>
      this.#received(outcome),
    );
  }

  #received(outcome: RequestOutcome): void {
    if (outcome.kind === 'response' && this.take(outcome.response, outcome.source, this.#options.target)) {
      this.send();
      return;
    }
    this.#done(outcome, this);
  }
}
