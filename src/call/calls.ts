/**
 * Every call of this gateway: admission, the calls in progress, a list of recent ones, drain. A refused INVITE leaves a
 * record just as an answered one does.
 */

import { ChallengeMemory } from '#auth/challenge-memory.js';
import type { Agent } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Trunk } from '#directory/trunk.js';
import type { Engine, InDialogRequest, Target } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { PaceRule, Pacer, Ticket } from '#pacing/pacer.js';
import type { InboundDecision } from '#routing/decision.js';
import type { OutboundDecision } from '#routing/outbound-decision.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import type { HeaderField, SipRequest } from '#sip/message.js';
import { parseUri } from '#sip/uri.js';
import { AgentCallee } from './agent-callee.js';
import { Call, type CallRoom } from './call.js';
import type { CallerDialog, CallerLeg } from './caller-leg.js';
import { q850OfCode } from './causes.js';
import { rejectionHeaders } from './endings.js';
import type { Handover, Heir, NoHandover } from './handover.js';
import { RETRY_AFTER_SECONDS } from './hunt.js';
import type { CallObserver, CallRecord, ExplanationStep, LiveCall } from './observer.js';
import { type CalleeWishes, Planner } from './plans.js';
import type { CpsLines } from './provider-callee.js';
import { type Binding, ProviderCallee, type ProviderRoom } from './provider-callee.js';
import { CallFacts, OUTBOUND, OutboundFacts, personIn, recordOf, TRANSFERRED } from './record.js';
import { refuseRequest } from './relay.js';
import type { CallSettings } from './settings.js';
import type { TargetResolver } from './target-resolver.js';
import { Usage, type UsageElsewhere } from './usage.js';

export interface CallsOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  /** Absent: only calls on trunks without a limit can leave. */
  readonly pacer?: Pacer | undefined;
  /** What other nodes use up of common bounds; absent: there are no others. */
  readonly elsewhere?: UsageElsewhere | undefined;
  /** Where an account is registered now; absent: none is. */
  readonly binding?: ((registrationId: string) => Binding | undefined) | undefined;
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
  /** Default inbound. */
  readonly direction?: 'inbound' | 'outbound' | undefined;
}

/** Trunks whose challenges are remembered. */
const MEMORIES_MAX = 10_000;
const DEFAULT_PRIORITY = 5;

/** What may be said of a call that leaves, besides the decision. */
export interface Origination extends CalleeWishes {
  /** Where the call was known before its caller's leg was. Default a new one. */
  readonly id?: string | undefined;
  /** 0 to 9, the highest goes first. Default 5. */
  readonly priority?: number | undefined;
  /** The call whose telephone is to be joined with who is called. */
  readonly transferredFrom?: string | undefined;
}

/** A call in progress. */
export interface LiveEntry extends LiveCall {
  /** It is yet to leave by its trunk: it waits for a slot, or its agent is called first. */
  readonly waitsForTrunk: boolean;
  /** See `Call`. */
  promise(heir: Heir, callId: string): Handover | NoHandover;
  hangUp(code: ReasonCode, detail: string): void;
  /** Limits may have changed: a call that waits tells its line. */
  repace(lines: CpsLines): void;
}

export class Calls implements CallRoom, ProviderRoom {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly resolver: TargetResolver;
  readonly observer: CallObserver;
  readonly log: Logger;
  readonly ids: Ids;
  readonly #dialling: ((target: Target) => void) | undefined;
  /** Starts every call id of this process, so that a call which comes back is known by its marker. */
  readonly #mark: string;
  readonly plans: Planner;
  readonly #live = new Map<string, LiveEntry>();
  readonly #ended: BoundedMap<string, CallRecord>;
  /** What is in use, for whoever decides about calls that leave. */
  readonly usage: Usage;
  readonly binding: ProviderRoom['binding'];
  readonly #pacer: Pacer | undefined;
  readonly #memories = new BoundedMap<string, ChallengeMemory>(MEMORIES_MAX);
  /** Whoever transfers calls; null: nobody does. */
  onRefer: CallRoom['refer'] | null = null;
  #idle: (() => void)[] = [];
  #draining = false;

  constructor(options: CallsOptions) {
    this.engine = options.engine;
    this.clock = options.clock;
    this.resolver = options.resolver;
    this.observer = options.observer;
    this.log = options.log;
    this.ids = options.ids;
    this.#dialling = options.dialling;
    this.#pacer = options.pacer;
    this.binding = options.binding ?? (() => undefined);
    this.usage = new Usage(options.clock, options.elsewhere);
    this.#mark = `call_${options.ids.token(25)}`;
    this.plans = new Planner(options.settings);
    this.#ended = new BoundedMap(this.plans.settings.endedKept);
  }

  /** Takes effect for calls from now on; `endedKept` only at start. */
  configure(settings: Partial<CallSettings>): void {
    this.plans.configure(settings);
  }

  get activeCount(): number {
    return this.#live.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  activeOnTrunk(trunkId: string): number {
    return this.usage.ownOnTrunk(trunkId);
  }

  /** Sets the call up, or refuses it as decided. Always answers. */
  handleInvite(invite: CallerLeg, decision: InboundDecision): void {
    if (decision.kind === 'refuse') {
      this.refuse(invite, decision);
      return;
    }
    const { trunk } = decision;
    const full = this.fullness(trunk);
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
    const call = new Call(
      this,
      this.plans.toAgent(invite, decision.agent, trunk, decision.endpoints.length),
      facts,
      invite,
      new AgentCallee(decision, this.resolver),
    );
    this.#begin(call, trunk);
    call.start();
  }

  refer(id: string, request: InDialogRequest, dialog: CallerDialog): void {
    if (this.onRefer === null) refuseRequest(request, 603);
    else this.onRefer(id, request, dialog);
  }

  /** Counts a call that leaves among those in progress, until `callOver`. */
  admit(call: LiveEntry, trunk: Trunk, organizationId: string): void {
    this.usage.takeOrganization(organizationId);
    this.usage.countOnTrunk(trunk.id);
    this.#begin(call, trunk);
  }

  /**
   * Sets up a call that leaves, or refuses it as decided. Always answers the caller's leg.
   * @returns the call; undefined: it was refused
   */
  originate(caller: CallerLeg, decision: OutboundDecision, more: Origination = {}): Call | undefined {
    if (decision.kind === 'refuse') {
      this.refuse(caller, { ...decision, direction: 'outbound' }, more.id);
      return undefined;
    }
    const { agent, routes } = decision;
    const { trunk, number } = routes[0]!;
    const full = this.fullness(undefined);
    if (full !== null) {
      const { status, phrase } = REASONS[full];
      const headers = [{ name: 'Retry-After', value: String(RETRY_AFTER_SECONDS) }];
      const refusal: Refusal = { status, reason: phrase, code: full, headers, trunk, number, agent };
      this.refuse(caller, { ...refusal, direction: 'outbound' }, more.id);
      return undefined;
    }
    const facts = this.#facts(caller, more);
    facts.trunk = trunk;
    facts.number = number;
    facts.agent = agent;
    const parties = more.transferredFrom === undefined ? OUTBOUND : TRANSFERRED;
    facts.outbound = new OutboundFacts(parties, decision.callee, number.normalised);
    facts.outbound.transferredFrom = more.transferredFrom ?? null;
    const callee = new ProviderCallee(this, routes);
    const call = new Call(this, this.plans.toCallee(caller, routes, more), facts, caller, callee);
    call.priority = more.priority ?? DEFAULT_PRIORITY;
    this.admit(call, trunk, decision.organizationId);
    call.start();
    return call;
  }

  #begin(call: LiveEntry, trunk: Trunk): void {
    this.#live.set(call.id, call);
    this.usage.takeTrunk(trunk.id);
    this.observer.callStarted?.(call);
  }

  /** Answers an INVITE that becomes no call, and records it. */
  refuse(invite: CallerLeg, refusal: Refusal, id?: string): void {
    const facts = this.#facts(invite, { id });
    // What was dialled is known without any routing, and is what people look for.
    const { uri, from } = invite.request;
    if (refusal.direction !== 'outbound') {
      if (uri !== undefined) facts.originalDid = parseUri(uri)?.user ?? null;
    } else if (uri === undefined) facts.outbound = new OutboundFacts(OUTBOUND, '', '');
    else facts.outbound = new OutboundFacts(OUTBOUND, personIn(uri), personIn(from.uri));
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
    this.keep(recordOf(facts, 'ended', facts.endedAt));
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

  /** A call in progress. */
  live(id: string): LiveEntry | undefined {
    return this.#live.get(id);
  }

  /** Ends a call in progress; false when there is no such call. */
  hangUp(id: string): boolean {
    const call = this.#live.get(id);
    call?.hangUp('normal_clearing', 'ended through the management API');
    return call !== undefined;
  }

  /** Limits may have changed while calls wait. */
  repace(lines: CpsLines): void {
    for (const call of this.#live.values()) call.repace(lines);
  }

  /** Trunks may have gone: calls that wait for one of them fail, those that have left go on. */
  failWithoutTrunk(exists: (trunkId: string) => boolean): void {
    for (const call of [...this.#live.values()]) {
      const { waitsForTrunk, trunkId } = call;
      if (!waitsForTrunk || trunkId === null || exists(trunkId)) continue;
      call.hangUp('trunk_removed', `trunk ${trunkId} was removed while the call waited for it`);
    }
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
  joinLine(call: Call, line: number, rule: PaceRule, timeoutMs: number): Ticket {
    if (this.#pacer === undefined) throw new Error('a paced call needs a pacer');
    const { id, priority } = call;
    return this.#pacer.enqueue({ id: `${id}-${line}`, rule, priority, timeoutMs }, call);
  }

  /** `CallRoom`. */
  slowDown(rule: PaceRule): void {
    this.#pacer?.slowDown(rule);
  }

  /** `CallRoom`. */
  changeTrunk(from: Trunk | undefined, to: Trunk): void {
    if (from !== undefined) this.usage.leaveTrunk(from.id);
    this.usage.takeTrunk(to.id);
    this.usage.countOnTrunk(to.id);
  }

  /** `ProviderRoom`. */
  isFull({ id, maxConcurrentCalls }: Trunk): boolean {
    return maxConcurrentCalls !== undefined && this.usage.callsOnTrunk(id) >= maxConcurrentCalls;
  }

  /** `ProviderRoom`. */
  memory(trunkId: string): ChallengeMemory {
    let memory = this.#memories.get(trunkId);
    if (memory === undefined) {
      memory = new ChallengeMemory();
      this.#memories.set(trunkId, memory);
    }
    return memory;
  }

  /** `ProviderRoom`. */
  get maxQueued(): number {
    return this.plans.settings.maxQueued;
  }

  /** `ProviderRoom`. */
  get maxChallenges(): number {
    return this.plans.settings.maxChallenges;
  }

  /** `CallRoom`. */
  callOver(call: LiveEntry, record: CallRecord): void {
    if (!this.#leave(call, record)) return;
    this.keep(record);
    this.#tellIdle();
  }

  /** Another node goes on with a call, and will record it. */
  handedOver(call: LiveEntry): void {
    if (this.#leave(call, call.record())) this.#tellIdle();
  }

  #leave(call: LiveEntry, record: CallRecord): boolean {
    if (!this.#live.delete(call.id)) return false;
    this.usage.leaveTrunk(call.trunkId!);
    if (record.direction === 'outbound' && record.organizationId !== null) {
      this.usage.leaveOrganization(record.organizationId);
    }
    return true;
  }

  #tellIdle(): void {
    if (this.#live.size === 0 && this.#idle.length > 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const done of waiting) done();
    }
  }

  /** Records a call that is over, or never was one. */
  keep(record: CallRecord): void {
    this.#ended.set(record.id, record);
    this.observer.callEnded(record);
  }

  #facts(invite: CallerLeg, more?: Pick<Origination, 'id'>): CallFacts {
    return new CallFacts(more?.id ?? this.newId(), invite, this.clock.now(), this.clock.wallNow());
  }

  /** An id for a call of this process. */
  newId(): string {
    return this.#mark + this.ids.token(75);
  }

  /**
   * Why no further call is taken; null when one is.
   * @param trunk undefined: routing has looked at the trunk
   */
  fullness(trunk: Trunk | undefined): 'draining' | 'capacity' | 'trunk_capacity' | null {
    if (this.#draining) return 'draining';
    if (this.#live.size >= this.plans.settings.maxConcurrentCalls) return 'capacity';
    return trunk !== undefined && this.isFull(trunk) ? 'trunk_capacity' : null;
  }
}

/** A refused INVITE has nothing more to say. */
const DEAF = { onCancel: (): void => undefined };
