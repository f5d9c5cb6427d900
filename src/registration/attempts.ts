/**
 * The attempts of registrations: where a REGISTER goes, what it says, and what its answer means for the registration,
 * its time line and the ways that others share. Nothing here decides when: that is the machine's.
 */
import { authenticatedRequest, type Exchange } from '#auth/authenticated-request.js';
import type { Engine, RequestOutcome, Target } from '#engine/engine.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { HeaderField } from '#sip/message.js';
import { type Octets, printable } from '#sip/octets.js';
import type { ResolutionFault } from '#targets/locate.js';
import { targetKey as keyOf } from '#targets/resolver.js';
import { type Binding, bindingIn, outcomeOf, serviceRouteIn } from './answer.js';
import { announcedBy, contactOf } from './contact.js';
import { natAddressOf } from './keep-alive.js';
import type { Outcome } from './machine.js';
import type { RegistrationObserver } from './observer.js';
import type { RegistrarResolver } from './registrar-resolver.js';
import type { Registration } from './registration.js';
import type { TimelineEntry } from './timeline.js';
import { resolutionVerdict, type Verdict, verdictOf } from './verdict.js';
import type { Ways } from './ways.js';

export interface AttemptsParts {
  readonly engine: Pick<Engine, 'request' | 'leavesFrom'>;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly resolver: RegistrarResolver;
  readonly observer: RegistrationObserver;
  readonly log: Logger;
  /** A REGISTER goes to this address: what comes from it is no stranger's. */
  readonly dialling?: ((address: string) => void) | undefined;
  readonly ways: Ways;
  /** REGISTERs have left for it besides the one that it had a turn for. */
  sent(registration: Registration, requests: number): void;
  /** Somebody waits for the outcome still. */
  isKept(registration: Registration): boolean;
  /** The attempt is over. @param sent REGISTERs that it took */
  settled(registration: Registration, outcome: Outcome, sent: number): void;
}

const NO_TARGETS: readonly Target[] = [];

export class Attempts {
  readonly #parts: AttemptsParts;

  constructor(parts: AttemptsParts) {
    this.#parts = parts;
  }

  /**
   * Sends one REGISTER, challenges included, and says by `settled` what came of it; until then there is no other.
   * @param expirySeconds to ask for; 0 takes the binding off
   * @param nextTarget goes on in the list of targets, where it has not come to its end
   */
  begin(registration: Registration, expirySeconds: number, nextTarget: boolean): void {
    const { targets, targetIndex, account } = registration;
    const next = nextTarget ? targets[targetIndex + 1] : undefined;
    if (next !== undefined) {
      registration.targetIndex++;
      this.#sendTo(registration, next, expirySeconds);
      return;
    }
    const startedAt = this.#parts.clock.now();
    this.#parts.resolver.resolve(
      account.destination,
      (result) => {
        if ('kind' in result) this.#unresolved(registration, result, startedAt);
        else {
          registration.targets = this.#stickyFirst(registration, result);
          registration.targetIndex = 0;
          this.#sendTo(registration, registration.targets[0]!, expirySeconds);
        }
      },
      { transport: account.transport, tls: account.tls },
    );
  }

  /** The target that holds our binding goes before the order that the DNS gives, while it is well. */
  #stickyFirst({ live }: Registration, targets: readonly Target[]): readonly Target[] {
    if (live === null || targets.length < 2) return targets;
    const key = keyOf(live);
    const own = targets.find((target) => keyOf(target) === key);
    if (own === undefined || own === targets[0] || this.#parts.resolver.isQuarantined(own)) return targets;
    return [own, ...targets.filter((target) => target !== own)];
  }

  #sendTo(registration: Registration, target: Target, expirySeconds: number): void {
    const { engine, ids, clock, dialling } = this.#parts;
    const { account, machine, live, flow } = registration;
    const known: Target = {
      ...target,
      flow: flow !== 0 && live !== null && keyOf(live) === keyOf(target) ? flow : undefined,
    };
    // What the Contact announces must be where the request leaves from.
    const listener = engine.leavesFrom(known);
    const way: Target = { ...known, listenerId: listener?.id };
    const announced = announcedBy(listener);
    const startedAt = clock.now();
    dialling?.(target.address);
    authenticatedRequest(
      { engine, ids },
      {
        method: 'REGISTER',
        uri: account.registrar,
        target: way,
        from: `<${account.aor}>`,
        to: `<${account.aor}>`,
        contact: contactOf(registration, announced, expirySeconds),
        callId: registration.callId,
        fromTag: registration.fromTag,
        cseq: registration.cseq,
        route: account.route,
        headers: machine.outbound ? headersOf(expirySeconds, OUTBOUND) : headersOf(expirySeconds, PLAIN),
      },
      account.credentials,
      registration.memory,
      (outcome, exchange) =>
        this.#answered(registration, way, expirySeconds, announced, startedAt, outcome, exchange),
    );
  }

  #unresolved(registration: Registration, fault: ResolutionFault, startedAt: number): void {
    const verdict = resolutionVerdict(fault);
    this.#note(registration, verdict, startedAt, { target: '', fault: fault.kind });
    this.#parts.settled(registration, { kind: 'unavailable', more: false, retryAfterMs: undefined }, 0);
  }

  #answered(
    registration: Registration,
    target: Target,
    askedSeconds: number,
    announced: Octets,
    startedAt: number,
    outcome: RequestOutcome,
    exchange: Exchange,
  ): void {
    const { ways, sent, isKept, settled } = this.#parts;
    registration.cseq = exchange.cseq + 1;
    // The rate is one of REGISTERs: the answer to a challenge counts.
    sent(registration, exchange.sent - 1);
    if (!isKept(registration)) return;
    const response = outcome.kind === 'response' ? outcome.response : undefined;
    const registered = response !== undefined && response.status < 300;
    const binding = registered ? bindingIn(response, registration.contactUser, askedSeconds) : null;
    const verdict = verdictFor(registration, outcome, exchange, binding, askedSeconds);
    const nat = response === undefined ? '' : natAddressOf(response.topVia);
    this.#note(registration, verdict, startedAt, {
      target: keyOf(target),
      fault: outcome.kind === 'fault' ? outcome.fault.kind : null,
      realm: exchange.challenge === undefined ? undefined : printable(exchange.challenge.realm, 128),
      algorithm:
        exchange.challenge === undefined
          ? undefined
          : printable(exchange.challenge.algorithmName ?? 'MD5', 32),
      grantedExpirySeconds: askedSeconds === 0 ? undefined : binding?.grantedSeconds,
      foreignBindings: binding?.foreign,
      natAddress: nat === '' ? undefined : printable(nat, 64),
    });
    if (outcome.kind === 'response') ways.reached(target, outcome.source.flow);
    else if (ways.flowIsDead(target, outcome)) {
      registration.flow = 0;
      registration.targets = NO_TARGETS;
      ways.leave(registration);
      settled(registration, { kind: 'flow-dead' }, exchange.sent);
      return;
    }
    const more = registration.targetIndex + 1 < registration.targets.length;
    const result = outcomeOf(outcome, exchange, verdict.code, binding, more);
    if (result.kind === 'registered' && response !== undefined && outcome.kind === 'response') {
      registration.live = target;
      registration.flow = outcome.source.flow;
      registration.serviceRoute = serviceRouteIn(response);
      registration.targets = NO_TARGETS;
      registration.announced = askedSeconds > 0 ? announced : '';
      if (askedSeconds > 0) {
        ways.join(registration, target, outcome.source.flow);
        // Others who share this way have not told the server of the new address yet. A stream's never changes.
        if (outcome.source.flow === 0) registration.watch?.seenAs(nat, registration);
      }
    } else {
      if (outcome.kind === 'fault') ways.missed(registration, target, outcome, more);
      else ways.leave(registration);
      if (!more || result.kind !== 'unavailable') registration.targets = NO_TARGETS;
    }
    settled(registration, result, exchange.sent);
  }

  #note(
    registration: Registration,
    verdict: Verdict,
    startedAt: number,
    facts: Pick<TimelineEntry, 'target' | 'fault'> & Partial<TimelineEntry>,
  ): void {
    const { clock, observer, log } = this.#parts;
    const latencyMs = Math.round(clock.now() - startedAt);
    const before = registration.lastVerdict;
    registration.lastVerdict = verdict;
    const entry: TimelineEntry = {
      ...facts,
      atMs: clock.wallNow() - latencyMs,
      latencyMs,
      status: verdict.status ?? null,
      verdict: verdict.code,
      detail: verdict.detail,
    };
    registration.timeline.add(entry);
    // A line when something changed: a registrar that is down for a day is one line, not a thousand.
    if (before?.code !== verdict.code) {
      const fields = {
        id: registration.id,
        aor: registration.aor,
        verdict: verdict.code,
        target: facts.target,
      };
      if (verdict.code === 'ok') log.info(fields, 'registered');
      else log.warn({ ...fields, detail: verdict.detail }, 'registration');
    }
    if (observer.registrationAttempted !== undefined) {
      const { atMs, ...rest } = entry;
      observer.registrationAttempted(registration, { ...rest, at: new Date(atMs).toISOString() });
    }
  }
}

/** What `verdictOf` cannot see: a 200 that grants nothing, a challenge from elsewhere. */
function verdictFor(
  { account }: Registration,
  outcome: RequestOutcome,
  exchange: Exchange,
  binding: Binding | null,
  askedSeconds: number,
): Verdict {
  const verdict = verdictOf(outcome, {
    stage: exchange.authenticated ? 'register-authenticated' : 'register',
    challengeRealm: exchange.challenge?.realm,
    expectedRealm: account.expectedRealm,
    algorithmUnsupported: exchange.algorithmUnsupported,
  });
  if (exchange.foreignChallenge) {
    const detail = 'a challenge came from another address than was asked; it is not answered';
    return { ...verdict, code: 'server_error', detail };
  }
  if (askedSeconds > 0 && binding !== null && binding.grantedSeconds <= 0) {
    return { ...verdict, code: 'server_error', detail: 'the server answered 200 and granted no time' };
  }
  return verdict;
}

/** §10.2: "Path" (RFC 3327) lets proxies between us and the registrar stay on the way of calls. */
const PLAIN: HeaderField = { name: 'Supported', value: 'path' };
const OUTBOUND: HeaderField = { name: 'Supported', value: 'path, outbound' };

function headersOf(expirySeconds: number, supported: HeaderField): readonly HeaderField[] {
  return [{ name: 'Expires', value: String(expirySeconds) }, supported];
}
