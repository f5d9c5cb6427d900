/**
 * Every inbound call of this gateway: admission, the calls in progress, a list of recent ones, drain. A refused INVITE
 * leaves a record just as an answered one does.
 */

import type { Agent } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Trunk } from '#directory/trunk.js';
import type { Engine, IncomingInvite, Target } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { InboundDecision, InboundRoute } from '#routing/decision.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import { Call, type CallRoom, rejectionHeaders } from './call.js';
import { q850OfCode } from './causes.js';
import { DEFAULT_FAILOVER_STATUSES, failoverSet, RETRY_AFTER_SECONDS } from './hunt.js';
import type { CallPlan } from './machine.js';
import type { CallObserver, CallRecord, ExplanationStep } from './observer.js';
import { CallFacts, recordOf } from './record.js';
import type { TargetResolver } from './target-resolver.js';

export interface CallSettings {
  /** From the INVITE to the answer when the agent rings. Agents and trunks may say otherwise. Default 30 s. */
  readonly ringTimeoutMs: number;
  /**
   * From the INVITE to the first sign of ringing, all attempts together. Default 30 s: no agent, whatever it
   * answers, leaves a caller without a final answer for longer.
   */
  readonly setupTimeoutMs: number;
  /** Silence of one endpoint before the next is tried; the last one has what is left of the set-up time. Default 4 s. */
  readonly attemptTimeoutMs: number;
  /** Longest call, from the answer; 0 for no bound. Default 0. */
  readonly maxDurationMs: number;
  /** Answers after which the next endpoint is tried. Default 408, 500, 502, 503, 504. */
  readonly failoverStatuses: readonly number[];
  /** Calls in progress, all trunks. Default 40,000: a call is two dialogs of the engine's 100,000. */
  readonly maxConcurrentCalls: number;
  /** Largest Max-Forwards sent; what came in counts down from its own. Default 70. */
  readonly maxForwards: number;
  /** Ended calls that `list` and `get` still know. Default 1,000. */
  readonly endedKept: number;
}

export const DEFAULT_CALL_SETTINGS: CallSettings = {
  ringTimeoutMs: 30_000,
  setupTimeoutMs: 30_000,
  attemptTimeoutMs: 4_000,
  maxDurationMs: 0,
  failoverStatuses: [...DEFAULT_FAILOVER_STATUSES],
  maxConcurrentCalls: 40_000,
  maxForwards: 70,
  endedKept: 1_000,
};

export interface CallsOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  /** Told of each address that an INVITE goes to. */
  readonly dialling?: ((target: Target) => void) | undefined;
  readonly settings?: Partial<CallSettings> | undefined;
}

/** A refusal by another room, or by this one. */
export interface Refusal {
  readonly status: number;
  /** Reason phrase. */
  readonly reason: string;
  readonly code: ReasonCode;
  /** One sentence for the record; default is the code's meaning. */
  readonly detail?: string | undefined;
  /** Header fields that the status asks for: Unsupported, Allow, Retry-After. */
  readonly headers?: readonly HeaderField[] | undefined;
  readonly explanation?: readonly ExplanationStep[] | undefined;
  readonly trunk?: Trunk | undefined;
  readonly number?: PhoneNumber | undefined;
  readonly agent?: Agent | undefined;
}

export class Calls implements CallRoom {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  readonly #ids: Ids;
  readonly #dialling: ((target: Target) => void) | undefined;
  /** Starts every call id of this process, so that a call which comes back is known by its marker. */
  readonly #mark: string;
  #settings: CallSettings;
  #failover: ReadonlySet<number>;
  readonly #live = new Map<string, Call>();
  readonly #ended: BoundedMap<string, CallRecord>;
  /** Calls in progress by trunk id. */
  readonly #byTrunk = new Map<string, number>();
  #idle: (() => void)[] = [];
  #draining = false;

  constructor(options: CallsOptions) {
    this.engine = options.engine;
    this.clock = options.clock;
    this.resolver = options.resolver;
    this.observer = options.observer;
    this.log = options.log;
    this.#ids = options.ids;
    this.#dialling = options.dialling;
    this.#mark = `call_${options.ids.token(25)}`;
    this.#settings = { ...DEFAULT_CALL_SETTINGS, ...options.settings };
    this.#failover = failoverSet(this.#settings.failoverStatuses);
    this.#ended = new BoundedMap(this.#settings.endedKept);
  }

  /** Takes effect for calls from now on; `endedKept` only at start. */
  configure(settings: Partial<CallSettings>): void {
    this.#settings = { ...DEFAULT_CALL_SETTINGS, ...settings };
    this.#failover = failoverSet(this.#settings.failoverStatuses);
  }

  get activeCount(): number {
    return this.#live.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  activeOnTrunk(trunkId: string): number {
    return this.#byTrunk.get(trunkId) ?? 0;
  }

  /** Sets the call up, or refuses it as decided. Always answers. */
  handleInvite(invite: IncomingInvite, decision: InboundDecision): void {
    if (decision.kind === 'refuse') {
      this.refuse(invite, decision);
      return;
    }
    const { trunk } = decision;
    const full = this.#fullness(trunk);
    if (full !== null) {
      const entry = REASONS[full];
      this.refuse(invite, {
        status: entry.status,
        reason: entry.phrase,
        code: full,
        headers: [{ name: 'Retry-After', value: String(RETRY_AFTER_SECONDS) }],
        trunk,
        number: decision.number,
        agent: decision.agent,
      });
      return;
    }
    const facts = this.#facts(invite);
    facts.trunk = trunk;
    facts.number = decision.number;
    facts.agent = decision.agent;
    facts.did = decision.did;
    facts.originalDid = decision.originalDid;
    const call = new Call(this, this.#plan(invite, decision), facts, invite, decision);
    this.#live.set(facts.id, call);
    this.#byTrunk.set(trunk.id, (this.#byTrunk.get(trunk.id) ?? 0) + 1);
    this.observer.callStarted?.(call);
    call.start();
  }

  /** Answers an INVITE that becomes no call, and records it. */
  refuse(invite: IncomingInvite, refusal: Refusal): void {
    const facts = this.#facts(invite);
    facts.trunk = refusal.trunk;
    facts.number = refusal.number;
    facts.agent = refusal.agent;
    facts.endedAt = facts.startedAt;
    facts.endedBy = 'gateway';
    facts.status = refusal.status;
    facts.q850 = q850OfCode(refusal.code, refusal.status);
    facts.code = refusal.code;
    facts.detail = refusal.detail ?? REASONS[refusal.code].meaning;
    facts.explanation = refusal.explanation ?? null;
    invite.events = DEAF;
    const headers = rejectionHeaders(facts.id, {
      status: refusal.status,
      phrase: refusal.reason,
      code: refusal.code,
      q850: facts.q850,
      detail: facts.detail,
      response: null,
      retryAfter: 0,
    });
    if (refusal.headers !== undefined) headers.push(...refusal.headers);
    invite.reject(refusal.status, refusal.reason, headers);
    this.#keep(recordOf(facts, 'ended', facts.endedAt));
  }

  /** The INVITE carries the marker of a call of this process: it has come back (RFC 3261 §16.3 step 4). */
  isLoop(request: SipRequest): boolean {
    if (!request.headers.has('x-trunkline-call-id')) return false;
    return request.headers.all('x-trunkline-call-id').some((marker) => marker.startsWith(this.#mark));
  }

  /** Calls in progress, then ended ones, each newest first; at most `limit`. */
  list(limit = Number.POSITIVE_INFINITY): CallRecord[] {
    const records: CallRecord[] = [];
    const live = [...this.#live.values()];
    for (let i = live.length - 1; i >= 0 && records.length < limit; i--) records.push(live[i]!.record());
    const ended = [...this.#ended.values()];
    for (let i = ended.length - 1; i >= 0 && records.length < limit; i--) records.push(ended[i]!);
    return records;
  }

  get(id: string): CallRecord | undefined {
    return this.#live.get(id)?.record() ?? this.#ended.get(id);
  }

  /** Ends a call in progress; false when there is no such call. */
  hangUp(id: string): boolean {
    const call = this.#live.get(id);
    call?.hangUp('normal_clearing', 'ended through the management API');
    return call !== undefined;
  }

  /** From now on new calls are refused with 503; those in progress go on. */
  drain(): void {
    this.#draining = true;
  }

  /** Calls `done` once, as soon as no call is in progress: at once when there is none. */
  onIdle(done: () => void): void {
    if (this.#live.size === 0) done();
    else this.#idle.push(done);
  }

  /** Ends every call in progress: 503 to those that wait for an answer, BYE to both sides of the others. */
  endAll(detail: string): void {
    for (const call of [...this.#live.values()]) call.hangUp('shutdown', detail);
  }

  /** `CallRoom`. */
  dialling(target: Target): void {
    this.#dialling?.(target);
  }

  /** `CallRoom`. */
  callOver(call: Call, record: CallRecord): void {
    if (!this.#live.delete(call.id)) return;
    const trunkId = call.trunkId!;
    const others = this.#byTrunk.get(trunkId)! - 1;
    if (others === 0) this.#byTrunk.delete(trunkId);
    else this.#byTrunk.set(trunkId, others);
    this.#keep(record);
    if (this.#live.size === 0 && this.#idle.length > 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const done of waiting) done();
    }
  }

  #keep(record: CallRecord): void {
    this.#ended.set(record.id, record);
    this.observer.callEnded(record);
  }

  #facts(invite: IncomingInvite): CallFacts {
    const id = this.#mark + this.#ids.token(75);
    return new CallFacts(id, invite.request, invite.source, this.clock.now(), this.clock.wallNow());
  }

  #fullness(trunk: Trunk): 'draining' | 'capacity' | 'trunk_capacity' | null {
    if (this.#draining) return 'draining';
    if (this.#live.size >= this.#settings.maxConcurrentCalls) return 'capacity';
    const most = trunk.maxConcurrentCalls;
    return most !== undefined && this.activeOnTrunk(trunk.id) >= most ? 'trunk_capacity' : null;
  }

  #plan(invite: IncomingInvite, route: InboundRoute): CallPlan {
    const settings = this.#settings;
    const { trunk } = route;
    const ringSeconds = route.agent.ringTimeoutSeconds ?? trunk.ringTimeoutSeconds;
    return {
      endpoints: route.endpoints.length,
      ringTimeoutMs: ringSeconds === undefined ? settings.ringTimeoutMs : ringSeconds * 1000,
      setupTimeoutMs: settings.setupTimeoutMs,
      attemptTimeoutMs: settings.attemptTimeoutMs,
      maxDurationMs:
        trunk.maxDurationSeconds === undefined ? settings.maxDurationMs : trunk.maxDurationSeconds * 1000,
      failoverStatuses:
        trunk.failoverStatuses === undefined ? this.#failover : failoverOf(trunk.failoverStatuses),
      maxForwards: settings.maxForwards,
      delayedOffer: invite.request.body === '',
      callerReliable: invite.supportsReliable,
      callerRequiresReliable: invite.requiresReliable,
    };
  }
}

const failovers = new WeakMap<readonly number[], ReadonlySet<number>>();

function failoverOf(statuses: readonly number[]): ReadonlySet<number> {
  let set = failovers.get(statuses);
  if (set === undefined) {
    set = failoverSet(statuses);
    failovers.set(statuses, set);
  }
  return set;
}

/** A refused INVITE has nothing more to say. */
const DEAF = { onCancel: (): void => undefined };
