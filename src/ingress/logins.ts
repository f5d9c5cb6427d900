/**
 * Whose user and password an INVITE shows: a trunk's or an agent's (`inboundAuth`). All have one realm and one challenge,
 * so a challenge tells nothing. Credentials are read once for each INVITE, since an answer counts once.
 */
import type { DigestGate } from '#auth/gate.js';
import type { WrongAnswers } from '#auth/wrong-answers.js';
import type { Agent } from '#directory/agent.js';
import type { Secret } from '#directory/secret.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Trunk } from '#directory/trunk.js';
import type { RefusalField, Source } from '#engine/engine.js';
import type { SipRequest } from '#sip/message.js';

export type Login =
  /** No credentials for our realm. */
  | { readonly kind: 'none' }
  /** To a nonce that is too old, or used up: to be challenged, saying so. */
  | { readonly kind: 'stale' }
  /** `trunk`, `agent`: whose user it is; undefined both: nobody's. */
  | {
      readonly kind: 'wrong';
      readonly detail: string;
      readonly trunk: Trunk | undefined;
      readonly agent: Agent | undefined;
    }
  | { readonly kind: 'trunk'; readonly trunk: Trunk }
  | { readonly kind: 'agent'; readonly agent: Agent };

export interface LoginsOptions {
  readonly gate: DigestGate;
  readonly wrongAnswers: WrongAnswers;
  /** Read for every INVITE, so a swapped snapshot counts at once. */
  readonly directory: { readonly current: Pick<Snapshot, 'agentByAuthUser' | 'trunkByAuthUser'> };
}

const USER_SHOWN = 80;

export class Logins {
  readonly #gate: DigestGate;
  readonly #wrongAnswers: WrongAnswers;
  readonly #directory: LoginsOptions['directory'];

  constructor({ gate, wrongAnswers, directory }: LoginsOptions) {
    this.#gate = gate;
    this.#wrongAnswers = wrongAnswers;
    this.#directory = directory;
  }

  /** What goes along with 401. */
  challenge(stale: boolean): readonly RefusalField[] {
    return this.#gate.challenge(stale);
  }

  read(request: SipRequest, { address }: Pick<Source, 'address'>): Login {
    const { current } = this.#directory;
    let tooMany = false;
    const passwordOf = (username: string): Secret | undefined => {
      tooMany = this.#wrongAnswers.tooMany(address, username);
      if (tooMany) return undefined;
      const owner = current.trunkByAuthUser(username) ?? current.agentByAuthUser(username);
      return owner?.inboundAuth?.password;
    };
    const shown = this.#gate.check(request, passwordOf);
    if (shown.kind === 'none' || shown.kind === 'stale') return shown;
    const { username } = shown;
    const trunk = current.trunkByAuthUser(username);
    const agent = current.agentByAuthUser(username);
    if (shown.kind === 'right') {
      if (trunk !== undefined) return { kind: 'trunk', trunk };
      if (agent !== undefined) return { kind: 'agent', agent };
    }
    const user = `user ${JSON.stringify(username.slice(0, USER_SHOWN))}`;
    if (tooMany) {
      const detail = `${user} has answered wrongly too often from ${address}: it is not looked at for a while`;
      return { kind: 'wrong', detail, trunk, agent };
    }
    this.#wrongAnswers.count(address, username);
    return { kind: 'wrong', detail: `${user} or the password is wrong`, trunk, agent };
  }
}
