/**
 * One INVITE that may be challenged: sends it with what is remembered, and repeats it with an answer, as the same call
 * (RFC 3261 §22.2). Each sending is an operation of the engine's own, with its own ACK and CANCEL; only the last counts.
 */
import type {
  Engine,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  Source,
} from '#engine/engine.js';
import type { Ids } from '#lib/ids.js';
import type { SipResponse } from '#sip/message.js';
import type { ChallengeMemory, Credentials } from './challenge-memory.js';
import { Rounds } from './rounds.js';

type Sent = Parameters<NonNullable<OutgoingInviteEvents['onSent']>>[0];

export class AuthenticatedInvite extends Rounds {
  readonly #engine: Pick<Engine, 'invite'>;
  readonly #options: OutgoingInviteOptions;
  #sent: Sent | null = null;

  /** @param most challenges answered, at most 3 */
  constructor(
    engine: Pick<Engine, 'invite'>,
    ids: Ids,
    options: OutgoingInviteOptions,
    credentials: Credentials | undefined,
    memory: ChallengeMemory,
    most?: number,
  ) {
    super(ids, credentials, memory, most);
    this.#engine = engine;
    this.#options = options;
  }

  /** The user's `onSent` hands on what it is told: a repeat must quote it. */
  onSent(sent: Sent): void {
    this.#sent = sent;
  }

  /** Sends the INVITE; after `challenged` has said true, once more. */
  send(events: OutgoingInviteEvents): OutgoingInvite {
    const sent = this.#sent;
    const { uri, body } = this.#options;
    return this.#engine.invite(
      {
        ...this.#options,
        headers: this.authorise(this.#options.headers, { method: 'INVITE', uri, body: body ?? '' }),
        repeat: sent === null ? undefined : { ...sent, cseq: sent.cseq + 1 },
      },
      events,
    );
  }

  /** Takes what `onReject` says; true when `send` has an answer to it. */
  challenged(response: SipResponse, source: Source): boolean {
    return this.#sent !== null && this.take(response, source, this.#options.target);
  }
}
