/**
 * Calls that the API asks for: decided, given their place in line, and followed until they are among the calls in
 * progress like all others. Also takes up what a node that died has left in line.
 */
import { AgentCallee } from '#call/agent-callee.js';
import type { Calls } from '#call/calls.js';
import { q850OfCode } from '#call/causes.js';
import type { CallState } from '#call/observer.js';
import { ProviderCallee, paceRule } from '#call/provider-callee.js';
import { CallFacts, OUTBOUND, OutboundFacts, recordOf } from '#call/record.js';
import type { Agent } from '#directory/agent.js';
import type { Trunk } from '#directory/trunk.js';
import { CallbackTimer } from '#lib/clock.js';
import { weightedOrder } from '#lib/weighted-order.js';
import type { Orphan, Pacer } from '#pacing/pacer.js';
import type {
  OutboundAcceptance,
  OutboundDecision,
  OutboundQuestion,
  OutboundRoute,
} from '#routing/outbound-decision.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import { fromText, type Octets } from '#sip/octets.js';
import { escapeUser, hostPort } from '#sip/uri.js';
import type { Role } from './join.js';
import type { FirstWord } from './kept-place.js';
import { type CallOrder, type Legacy, legacyOf, payloadOf, questionOf } from './order.js';
import { OriginatedCall } from './originated-call.js';
import { writtenRequest } from './written.js';

export interface OriginationSettings {
  /** How long before its slot an agent is called. Default 2 s. */
  readonly leadMs: number;
  /**
   * How long the 2xx of the side that was called first waits for its ACK, which carries the answer of the other. Then it
   * is put on hold, and joined by re-INVITE. Below 64·T1, when the peer would give up (RFC 3261 §13.3.1.4). Default 20 s.
   */
  readonly ackPatienceMs: number;
  /** Who asked for a call waits so long for its place in line. Default 2 s. */
  readonly placeTimeoutMs: number;
}

const DEFAULT_ORIGINATION_SETTINGS: OriginationSettings = {
  leadMs: 2_000,
  ackPatienceMs: 20_000,
  placeTimeoutMs: 2_000,
};

export interface OriginationsOptions {
  readonly calls: Calls;
  readonly pacer: Pacer;
  readonly decide: (question: OutboundQuestion) => OutboundDecision;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly settings?: Partial<OriginationSettings> | undefined;
}

/** A call that has its place in line, or goes at once. */
export interface OrderedCall {
  readonly kind: 'ordered';
  readonly id: string;
  /** As it was accepted: what has become of it since is the call's to say. */
  readonly state: CallState;
  /** Calls before it; null: not known yet. */
  readonly position: number | null;
  /** Milliseconds since 1970. */
  readonly estimatedStartAt: number | null;
  /** Null: its calls are not paced. */
  readonly cpsKey: string | null;
  readonly effectiveCps: number | null;
}

export interface OrderRefusal {
  readonly kind: 'refused';
  readonly code: ReasonCode;
  readonly httpStatus: number;
  readonly detail: string;
  readonly field: string | undefined;
  readonly retryAfterSeconds: number | undefined;
}

const RETRY_AFTER_SECONDS = 5;
const DEFAULT_PRIORITY = 5;

export class Originations {
  readonly #calls: Calls;
  readonly #pacer: Pacer;
  readonly #decide: OriginationsOptions['decide'];
  readonly #random: () => number;
  readonly #settings: OriginationSettings;

  constructor(options: OriginationsOptions) {
    this.#calls = options.calls;
    this.#pacer = options.pacer;
    this.#decide = options.decide;
    this.#random = options.random;
    this.#settings = { ...DEFAULT_ORIGINATION_SETTINGS, ...options.settings };
    options.pacer.onOrphan = (orphan) => this.#takeUp(orphan);
  }

  /** Places a call. Resolves as soon as its place in line is known, or that it has none. */
  async place(order: CallOrder): Promise<OrderedCall | OrderRefusal> {
    const decision = this.#decide(questionOf(order));
    if (decision.kind === 'refuse') return refusal(decision.code, decision);
    const barred = this.#barred(decision);
    if (barred !== null) return refusal(barred);
    const { clock } = this.#calls;
    const id = this.#calls.newId();
    const { call, trunk } = this.#build({ id, order, orderedAt: clock.wallNow() }, decision);
    this.#calls.admit(call, trunk, decision.organizationId);
    const { state } = call;
    const word = await this.#firstWord(call);
    if (word?.kind === 'refused' && word.why !== 'queue_timeout') {
      return refusal(word.why === 'queue_full' ? 'queue_full' : 'draining');
    }
    const first = decision.routes[0]!;
    const place = word?.kind === 'place' ? word.place : word === null ? null : { position: 0, waitMs: 0 };
    return {
      kind: 'ordered',
      id,
      state,
      position: place === null ? null : place.position,
      estimatedStartAt: place === null ? null : Math.round(clock.wallNow() + place.waitMs),
      cpsKey: first.pace.limit === undefined ? null : trunk.cpsKey,
      effectiveCps: first.pace.limit ?? null,
    };
  }

  /** Null: nothing was heard of the line in time, and the call goes on all the same. */
  #firstWord(call: OriginatedCall): Promise<FirstWord | null> {
    const { clock } = this.#calls;
    return new Promise((resolve) => {
      const timer = new CallbackTimer(() => resolve(null));
      clock.arm(timer, this.#settings.placeTimeoutMs);
      call.start((word) => {
        clock.disarm(timer);
        resolve(word);
      });
    });
  }

  /** What routing does not look at. */
  #barred({ agent }: OutboundAcceptance): ReasonCode | null {
    return agent.endpoints.length === 0 ? 'agent_without_endpoints' : this.#calls.fullness(undefined);
  }

  #build(
    legacy: Legacy,
    decision: OutboundAcceptance,
  ): { call: OriginatedCall; trunk: Trunk; route: OutboundRoute } {
    const { id, order } = legacy;
    const { agent } = decision;
    const { first, routes } = orderOf(decision);
    const route = routes[0]!;
    const { trunk, number } = route;
    const calls = this.#calls;
    const { plans } = calls;
    const endpoints = weightedOrder(agent.endpoints, this.#random);
    const wishes = {
      queueTimeoutMs: inMs(order.queueTimeoutSeconds),
      ringTimeoutMs: inMs(order.ringTimeoutSeconds),
    };
    const facts = this.#facts(legacy, route.from);
    facts.trunk = trunk;
    facts.number = number;
    facts.agent = agent;
    facts.outbound = new OutboundFacts(OUTBOUND, decision.callee, number.normalised);
    facts.outbound.metadata = order.metadata ?? null;
    const call = new OriginatedCall({
      room: calls,
      pacer: this.#pacer,
      first,
      agent: {
        callee: new AgentCallee(
          { trunk, agent: asCalledOut(agent), did: number.normalised, endpoints },
          calls.resolver,
        ),
        facts: this.#facts(legacy, route.from),
        plan: (leg) => plans.toAgent(leg, agent, trunk, endpoints.length),
        // The agent sees whom it is to talk to where it sees its callers.
        from: `<sip:${escapeUser(decision.callee)}@${hostOf(trunk)}>`,
        headers: [],
      },
      callee: {
        callee: new ProviderCallee(calls, routes),
        facts,
        plan: (leg) => plans.toCallee(leg, routes, wishes),
        from: route.from,
        headers: [],
      },
      ticket: { id, priority: order.priority ?? DEFAULT_PRIORITY, payload: payloadOf(legacy) },
      rule: paceRule(route, calls.maxQueued),
      queueTimeoutMs: wishes.queueTimeoutMs ?? plans.settings.queueTimeoutMs,
      leadMs: this.#settings.leadMs,
      ackPatienceMs: this.#settings.ackPatienceMs,
      random: this.#random,
      over: (whole, record) => calls.callOver(whole, record),
      handedOver: (whole) => calls.handedOver(whole),
    });
    return { call, trunk, route };
  }

  #facts({ id, orderedAt }: Legacy, from: Octets): CallFacts {
    const { clock } = this.#calls;
    const request = writtenRequest({ method: 'INVITE', from, callId: id, headers: [] });
    const age = Math.max(clock.wallNow() - orderedAt, 0);
    return new CallFacts(id, { request, source: NOWHERE }, clock.now() - age, clock.wallNow() - age);
  }

  /** A call that was in line on a node which died. */
  #takeUp(orphan: Orphan): void {
    const { log } = this.#calls;
    const legacy = legacyOf(orphan.payload);
    if (legacy === undefined) {
      log.error({ call: orphan.id }, 'a call left behind by another node cannot be read, and is given up');
      if (orphan.kind === 'waiting') this.#giveBack(orphan);
      return;
    }
    if (orphan.kind === 'unknown') {
      log.warn({ call: legacy.id }, 'a node died while it dialled this call; it is not dialled again');
      this.#recordLost(legacy, 'unknown', '');
      return;
    }
    const decision = this.#decide(questionOf(legacy.order));
    if (decision.kind === 'refuse') {
      this.#giveBack(orphan);
      this.#recordLost(legacy, decision.code, decision.detail);
      return;
    }
    const { call, trunk, route } = this.#build(legacy, decision);
    const rule = paceRule(route, this.#calls.maxQueued);
    log.info({ call: legacy.id }, 'takes up a call that waited on a node which died');
    this.#calls.admit(call, trunk, decision.organizationId);
    if (rule !== undefined && rule.key === orphan.key) {
      call.adopt((request, events) => orphan.adopt(request, events), rule);
    } else {
      // Another line by now, or none.
      this.#giveBack(orphan);
      call.start(() => undefined);
    }
  }

  /** Leaves the line that an orphan stands in. */
  #giveBack(orphan: Orphan & { kind: 'waiting' }): void {
    const rule = { key: orphan.key, limit: 1, burst: 1, maxQueued: this.#calls.maxQueued };
    const events = { onSlot: () => false, onRefused: () => undefined };
    orphan.adopt({ id: orphan.id, rule, priority: 0, timeoutMs: 1_000 }, events).cancel();
  }

  #recordLost(legacy: Legacy, code: ReasonCode, detail: string): void {
    const facts = this.#facts(legacy, '<sip:trunkline.invalid>');
    facts.outbound = new OutboundFacts(OUTBOUND, legacy.order.to, legacy.order.from ?? '');
    facts.outbound.metadata = legacy.order.metadata ?? null;
    facts.endedAt = this.#calls.clock.now();
    facts.endedBy = 'gateway';
    facts.status = REASONS[code].status;
    facts.q850 = q850OfCode(code, REASONS[code].status);
    facts.code = code;
    facts.detail = detail === '' ? REASONS[code].meaning : detail;
    this.#calls.keep(recordOf(facts, 'ended', facts.endedAt));
  }
}

const NOWHERE = { transport: 'udp', address: '', port: 0 } as const;

const inMs = (seconds: number | undefined): number | undefined =>
  seconds === undefined ? undefined : seconds * 1000;

/**
 * Who is called first, and by which ways. The callee can only be where the trunk lets an INVITE go without an offer;
 * where none does, the agent is, whatever it says.
 */
function orderOf({ agent, routes }: OutboundAcceptance): { first: Role; routes: readonly OutboundRoute[] } {
  if (agent.originate === 'calleeFirst') {
    const open = routes.filter(({ trunk }) => trunk.delayedOffer);
    if (open.length > 0) return { first: 'callee', routes: open };
  }
  return { first: 'agent', routes };
}

/** An INVITE without an offer, from somebody who has not called: the agent should not have to guess what that is. */
function asCalledOut(agent: Agent): Agent {
  return { ...agent, headers: new Map([...agent.headers, ['X-Trunkline-Direction', 'outbound']]) };
}

const hostOf = (trunk: Trunk): Octets => fromText(trunk.domain ?? hostPort(trunk.server.host, undefined));

/** Why a call that was asked for is not made, as the API answers it. */
export function refusal(
  code: ReasonCode,
  from?: { readonly httpStatus: number; readonly detail: string; readonly field: string | undefined },
): OrderRefusal {
  const busy = code === 'capacity' || code === 'draining' || code === 'queue_full';
  const httpStatus = from?.httpStatus ?? (code === 'queue_full' ? 429 : busy ? 503 : 409);
  return {
    kind: 'refused',
    code,
    httpStatus,
    detail: from?.detail ?? REASONS[code].meaning,
    field: from?.field,
    retryAfterSeconds: busy ? RETRY_AFTER_SECONDS : undefined,
  };
}
