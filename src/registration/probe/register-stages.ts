/** The last stages of the probe: the challenge, a short registration, and its removal. */

import { authenticatedRequest, type Exchange } from '#auth/authenticated-request.js';
import { ChallengeMemory, type Credentials } from '#auth/challenge-memory.js';
import type { Engine, RequestOutcome, Target } from '#engine/engine.js';
import type { Ids } from '#lib/ids.js';
import type { Challenge } from '#sip/digest.js';
import type { SipResponse } from '#sip/message.js';
import { parseNameAddrList } from '#sip/name-addr.js';
import { fromText, printable } from '#sip/octets.js';
import { hostPort, parseUri } from '#sip/uri.js';
import { targetKey } from '#targets/resolver.js';
import type { Account } from '../accounts.js';
import { isWarning, type Verdict, type VerdictContext, verdictOf } from '../verdict.js';
import { type StepLog, within } from './log.js';
import { LATE } from './reach.js';
import type { Fact } from './report.js';

/** Short, so that a binding which could not be removed is soon gone; seconds. */
const EXPIRY_SECONDS = 60;
/** A registrar that wants a longer one than this gets none. */
const EXPIRY_MAX_SECONDS = 7_200;
const TOKEN_BITS = 60;

export interface RegisterPorts {
  readonly engine: Pick<Engine, 'request' | 'leavesFrom'>;
  readonly ids: Ids;
}

type Answer = { readonly outcome: RequestOutcome; readonly exchange: Exchange | undefined };

export class RegisterStages {
  readonly #log: StepLog;
  readonly #ports: RegisterPorts;
  readonly #account: Account;
  readonly #target: Target;
  readonly #contact: string;
  readonly #token: string;
  readonly #callId: string;
  readonly #fromTag: string;
  readonly #memory = new ChallengeMemory();
  #cseq = 0;
  #expiry = EXPIRY_SECONDS;
  /** The probe has ended: a binding that comes late is removed without a word. */
  #over = false;

  constructor(log: StepLog, ports: RegisterPorts, account: Account, target: Target) {
    this.#log = log;
    this.#ports = ports;
    this.#account = account;
    this.#token = ports.ids.token(TOKEN_BITS);
    this.#callId = ports.ids.token(100);
    this.#fromTag = ports.ids.token(TOKEN_BITS);
    const listener = ports.engine.leavesFrom(target);
    this.#target = listener === undefined ? target : { ...target, listenerId: listener.id };
    const sentBy =
      listener === undefined ? 'invalid' : (listener.sentBy ?? hostPort(listener.host, listener.port));
    const transport = target.transport === 'udp' ? '' : `;transport=${target.transport}`;
    this.#contact = `<sip:${this.#token}@${sentBy}${transport}>`;
  }

  /** The verdict on everything from the challenge on. */
  async run(): Promise<Verdict> {
    const verdict = await this.#run();
    this.#over = true;
    return verdict;
  }

  async #run(): Promise<Verdict> {
    const open = await this.#challenge();
    if (open !== 'challenged') {
      this.#skip('register', open.code === 'ok' ? 'not needed: no password was asked for' : 'not tried');
      if (open.code === 'ok') await this.#remove();
      return open;
    }
    if (this.#account.credentials === undefined) {
      this.#skip('register', 'no password was given');
      return { code: 'ok', detail: 'the server asks for a password, as it should; none was given to try' };
    }
    const verdict = await this.#register();
    if (verdict.code === 'ok' || isWarning(verdict.code)) await this.#remove();
    return verdict;
  }

  /** REGISTER without credentials: what does the registrar ask for? */
  async #challenge(): Promise<Verdict | 'challenged'> {
    const at = this.#log.now();
    const { outcome, exchange } = await this.#send(undefined, this.#expiry);
    const status = outcome.kind === 'response' ? outcome.response.status : 0;
    const challenge = exchange?.challenge;
    if ((status === 401 || status === 407) && challenge !== undefined && !exchange!.foreignChallenge) {
      const { expectedRealm } = this.#account;
      const realm = printable(challenge.realm);
      const foreign = expectedRealm !== undefined && realm.toLowerCase() !== expectedRealm.toLowerCase();
      this.#note('challenge', at, {
        outcome: foreign ? 'warn' : 'pass',
        code: foreign ? 'realm_mismatch' : null,
        detail: foreign
          ? `the server names its realm "${realm}" and not "${expectedRealm}"; it is answered all the same`
          : `asked for a password, realm "${realm}"`,
        status,
        facts: challengeFacts(challenge),
      });
      return 'challenged';
    }
    if (status === 423) {
      // Answered before the challenge; the registration itself will ask for longer.
      if (outcome.kind === 'response' && this.#lengthen(outcome.response)) return this.#challenge();
    }
    const verdict = this.#verdict('register', outcome, exchange);
    this.#noteVerdict('challenge', at, verdict, outcome);
    return verdict;
  }

  /** REGISTER with credentials, once; a second time only to ask for the time that a 423 demands. */
  async #register(): Promise<Verdict> {
    const at = this.#log.now();
    const { outcome, exchange } = await this.#send(this.#account.credentials, this.#expiry);
    const tooBrief = outcome.kind === 'response' && outcome.response.status === 423;
    if (tooBrief && this.#lengthen(outcome.response)) return this.#register();
    const verdict = this.#verdict('register-authenticated', outcome, exchange);
    this.#noteVerdict('register', at, verdict, outcome);
    return verdict;
  }

  async #remove(): Promise<void> {
    const at = this.#log.now();
    const { outcome } = await this.#send(this.#account.credentials, 0);
    const removed = outcome.kind === 'response' && outcome.response.status < 300;
    const verdict = this.#verdict('register-authenticated', outcome, undefined);
    this.#note('unregister', at, {
      outcome: removed ? 'pass' : 'warn',
      detail: removed
        ? 'removed again'
        : `the test's binding ends by itself in ${this.#expiry} s (${verdict.detail})`,
      status: verdict.status,
    });
  }

  #send(credentials: Credentials | undefined, expiry: number): Promise<Answer> {
    const { aor, registrar, route } = this.#account;
    const ms = this.#log.budgetMs;
    const none: Answer = { outcome: LATE, exchange: undefined };
    // A removal is sent even when nobody can wait for its answer any more.
    if (ms === 0 && expiry > 0) return Promise.resolve(none);
    return within<Answer>(this.#log.clock, ms, none, (done) => {
      authenticatedRequest(
        this.#ports,
        {
          method: 'REGISTER',
          uri: registrar,
          route,
          target: this.#target,
          from: `<${aor}>`,
          to: `<${aor}>`,
          contact: `${this.#contact};expires=${expiry}`,
          callId: this.#callId,
          fromTag: this.#fromTag,
          cseq: ++this.#cseq,
          headers: [{ name: 'Expires', value: String(expiry) }],
        },
        credentials,
        this.#memory,
        (outcome, exchange) => {
          this.#cseq = Math.max(this.#cseq, exchange.cseq);
          const bound = outcome.kind === 'response' && outcome.response.status < 300 && expiry > 0;
          if (this.#over && bound) void this.#send(credentials, 0);
          else done({ outcome, exchange });
        },
      );
    });
  }

  #verdict(stage: VerdictContext['stage'], outcome: RequestOutcome, exchange: Exchange | undefined): Verdict {
    if (exchange?.foreignChallenge === true) {
      return {
        code: 'server_error',
        detail: 'a server that was not asked demands the password; it does not get it',
        ...(outcome.kind === 'response' ? { status: outcome.response.status } : {}),
      };
    }
    return verdictOf(outcome, {
      stage,
      challengeRealm: exchange?.challenge?.realm,
      expectedRealm: this.#account.expectedRealm,
      algorithmUnsupported: exchange?.algorithmUnsupported,
    });
  }

  #noteVerdict(stage: 'challenge' | 'register', at: number, verdict: Verdict, outcome: RequestOutcome): void {
    const { code, detail, status } = verdict;
    const good = outcome.kind === 'response' && outcome.response.status < 300;
    this.#note(stage, at, {
      outcome: code === 'ok' ? 'pass' : isWarning(code) ? 'warn' : 'fail',
      code: code === 'ok' ? null : code,
      detail: code === 'ok' && stage === 'challenge' ? 'registered without a password' : detail,
      status,
      facts: good ? this.#bindingFacts(outcome.response) : {},
    });
  }

  #bindingFacts(response: SipResponse): { [name: string]: Fact } {
    const contacts = response.headers.all('contact').flatMap((value) => parseNameAddrList(value) ?? []);
    const own = contacts.find(({ uri }) => parseUri(uri)?.user === this.#token);
    const granted = own?.params.get('expires') ?? response.headers.get('expires');
    const { received, rport } = response.topVia;
    const facts: { [name: string]: Fact } = {
      foreignBindings: contacts.length - (own === undefined ? 0 : 1),
    };
    if (granted !== undefined && /^\d{1,10}$/.test(granted)) facts.grantedExpirySeconds = Number(granted);
    if (received !== undefined) facts.seenFrom = printable(rport ? `${received}:${rport}` : received);
    return facts;
  }

  /** True when the time that a 423 asks for is one that we give, and longer than what it got. */
  #lengthen({ headers }: SipResponse): boolean {
    const wanted = headers.get('min-expires') ?? '';
    if (!/^\d{1,10}$/.test(wanted)) return false;
    const seconds = Number(wanted);
    if (seconds <= this.#expiry || seconds > EXPIRY_MAX_SECONDS) return false;
    this.#expiry = seconds;
    return true;
  }

  #note(stage: Parameters<StepLog['note']>[0], at: number, result: Parameters<StepLog['note']>[3]): void {
    this.#log.note(stage, targetKey(this.#target), at, result);
  }

  #skip(stage: Parameters<StepLog['skip']>[0], detail: string): void {
    this.#log.skip(stage, targetKey(this.#target), detail);
  }
}

function challengeFacts(challenge: Challenge): { [name: string]: Fact } {
  return {
    realm: printable(challenge.realm),
    algorithm: printable(fromText(challenge.algorithmName ?? 'MD5')),
    qop: challenge.qop ?? null,
    stale: challenge.stale,
  };
}
