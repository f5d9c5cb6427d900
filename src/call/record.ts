/** From a call's bare facts to the record that is shown and kept. Worked out once, at the end, or on demand. */

import type { Agent } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Trunk } from '#directory/trunk.js';
import type { Target } from '#engine/engine.js';
import { fromText, type Octets, printable } from '#sip/octets.js';
import { hostPort, parseUri, unescapeUser } from '#sip/uri.js';
import type { CallerLeg } from './caller-leg.js';
import type {
  AttemptRecord,
  CallRecord,
  CallState,
  CallWarning,
  EndedBy,
  ExplanationStep,
} from './observer.js';

/** One attempt to reach the callee, while its outcome is open and after. Times are the clock's `now`. */
export class Attempt {
  readonly endpoint: string;
  readonly trunk: Trunk | undefined;
  readonly target: Target | null;
  readonly startedAt: number;
  challenges = 0;
  endedAt = -1;
  callId: Octets | null = null;
  outcome: AttemptRecord['outcome'] = 'pending';
  status = 0;
  cause: string | null = null;
  detail: string | null = null;
  /** Stands as the detail where the outcome has none of its own. */
  note: string | null = null;

  constructor(endpoint: string, trunk: Trunk | undefined, target: Target | null, startedAt: number) {
    this.endpoint = endpoint;
    this.trunk = trunk;
    this.target = target;
    this.startedAt = startedAt;
  }

  settle(
    outcome: AttemptRecord['outcome'],
    at: number,
    status: number,
    cause: string | null,
    detail: string | null,
  ): void {
    if (this.outcome !== 'pending') return;
    this.outcome = outcome;
    this.endedAt = at;
    this.status = status;
    this.cause = cause;
    this.detail = detail ?? this.note;
  }
}

/** Which name the record gives to the two legs. */
export interface Parties {
  readonly caller: EndedBy;
  readonly callee: EndedBy;
}

const INBOUND: Parties = { caller: 'caller', callee: 'agent' };
export const OUTBOUND: Parties = { caller: 'agent', callee: 'callee' };
/** The telephone that is transferred, and whom it is transferred to. */
export const TRANSFERRED: Parties = { caller: 'caller', callee: 'callee' };

/** What only a call that leaves has. */
export class OutboundFacts {
  readonly parties: Parties;
  /** The number called, and the one that is shown. */
  readonly callee: string;
  shown: string;
  /** What who asked for the call wants kept with it. */
  metadata: Readonly<Record<string, string>> | null = null;
  /** The call whose telephone it is to take over. */
  transferredFrom: string | null = null;
  cpsKey: string | null = null;
  queuedAt = -1;
  waitedMs = 0;
  #waitsSince = -1;

  constructor(parties: Parties, callee: string, shown: string) {
    this.parties = parties;
    this.callee = callee;
    this.shown = shown;
  }

  joinLine(cpsKey: string, now: number): void {
    this.cpsKey = cpsKey;
    if (this.queuedAt < 0) this.queuedAt = now;
    this.#waitsSince = now;
  }

  /** Idempotent. */
  leaveLine(now: number): void {
    if (this.#waitsSince < 0) return;
    this.waitedMs += now - this.#waitsSince;
    this.#waitsSince = -1;
  }

  /** Milliseconds in line so far. */
  waited(now: number): number {
    return this.waitedMs + (this.#waitsSince < 0 ? 0 : now - this.#waitsSince);
  }
}

const NO_WARNINGS: readonly CallWarning[] = [];

/** What is kept of a call from its INVITE on: references to what exists anyway, and a few numbers. */
export class CallFacts {
  readonly id: string;
  readonly source: CallerLeg['source'];
  readonly callId: Octets;
  readonly fromUri: Octets;
  readonly fromName: Octets | undefined;
  trunk: Trunk | undefined = undefined;
  number: PhoneNumber | undefined = undefined;
  agent: Agent | undefined = undefined;
  /** The call of the latest transfer that was asked for. */
  transferCallId: string | null = null;
  /** Null for an inbound call. */
  outbound: OutboundFacts | null = null;
  did: string | null = null;
  originalDid: Octets | null = null;
  /** Wall clock at the INVITE; the other times are the monotonic clock's and become wall times from here. */
  readonly startedWall: number;
  readonly startedAt: number;
  ringingAt = -1;
  answeredAt = -1;
  endedAt = -1;
  endedBy: EndedBy | null = null;
  /** −1: none yet. */
  status = -1;
  q850 = -1;
  code: string | null = null;
  detail: string | null = null;
  explanation: readonly ExplanationStep[] | null = null;
  readonly attempts: Attempt[] = [];
  warnings: readonly CallWarning[] = NO_WARNINGS;

  constructor(
    id: string,
    { request, source }: Pick<CallerLeg, 'request' | 'source'>,
    startedAt: number,
    startedWall: number,
  ) {
    this.id = id;
    this.source = source;
    this.callId = request.callId;
    this.fromUri = request.from.uri;
    this.fromName = request.from.displayName;
    this.startedAt = startedAt;
    this.startedWall = startedWall;
  }

  /** An outbound call goes on by another trunk, with that trunk's number. */
  changeTrunk(trunk: Trunk, number: PhoneNumber | undefined): void {
    this.trunk = trunk;
    this.number = number;
    if (this.outbound !== null && number !== undefined) this.outbound.shown = number.normalised;
  }

  /** A leg by the name that the record gives it. */
  nameOf(by: 'caller' | 'callee' | 'gateway'): EndedBy {
    return by === 'gateway' ? by : (this.outbound?.parties ?? INBOUND)[by];
  }
}

/** `now`: the clock's, for durations of what is not over. */
export function recordOf(facts: CallFacts, state: CallState, now: number): CallRecord {
  const end = facts.endedAt >= 0 ? facts.endedAt : now;
  const { ringingAt, answeredAt, outbound } = facts;
  const firstSign = ringingAt >= 0 ? ringingAt : answeredAt;
  return {
    id: facts.id,
    direction: outbound === null ? 'inbound' : 'outbound',
    organizationId: facts.trunk?.organizationId ?? facts.agent?.organizationId ?? null,
    state,
    trunkId: facts.trunk?.id ?? null,
    phoneNumberId: facts.number?.id ?? null,
    agentId: facts.agent?.id ?? null,
    did: facts.did,
    originalDid: facts.originalDid === null ? null : shown(facts.originalDid),
    callee: outbound?.callee ?? null,
    caller: outbound?.shown ?? personIn(facts.fromUri),
    callerName: facts.fromName === undefined || facts.fromName === '' ? null : shown(facts.fromName),
    sourceAddress: facts.source.address,
    sourcePort: facts.source.port,
    transport: facts.source.transport,
    callId: shown(facts.callId),
    startedAt: iso(facts, facts.startedAt),
    queuedAt: outbound !== null && outbound.queuedAt >= 0 ? iso(facts, outbound.queuedAt) : null,
    waitedMs: outbound !== null && outbound.queuedAt >= 0 ? Math.round(outbound.waited(end)) : null,
    cpsKey: outbound?.cpsKey ?? null,
    metadata: outbound?.metadata ?? null,
    transferCallId: facts.transferCallId,
    transferredFrom: outbound?.transferredFrom ?? null,
    ringingAt: ringingAt >= 0 ? iso(facts, ringingAt) : null,
    answeredAt: answeredAt >= 0 ? iso(facts, answeredAt) : null,
    endedAt: facts.endedAt >= 0 ? iso(facts, facts.endedAt) : null,
    setupMs: firstSign >= 0 ? Math.round(firstSign - facts.startedAt) : null,
    ringMs: ringingAt >= 0 ? Math.round((answeredAt >= 0 ? answeredAt : end) - ringingAt) : null,
    talkMs: answeredAt >= 0 ? Math.round(end - answeredAt) : null,
    durationMs: Math.round(end - facts.startedAt),
    endedBy: facts.endedBy,
    sipStatus: facts.status >= 0 ? facts.status : null,
    q850: facts.q850 >= 0 ? facts.q850 : null,
    code: facts.code,
    detail: facts.code === 'held_too_long' ? heldDetail(facts, end) : facts.detail,
    explanation: facts.explanation,
    attempts: facts.attempts.map((attempt) => attemptRecord(facts, attempt, now)),
    warnings: facts.warnings,
  };
}

/** How long it was held, and where: the key's limit is too low for what comes, or somebody fills its line. */
function heldDetail({ outbound, detail }: CallFacts, end: number): string | null {
  if (outbound === null || outbound.cpsKey === null) return detail;
  return `no slot came in ${(outbound.waited(end) / 1000).toFixed(1)} s in the line of ${outbound.cpsKey}`;
}

function attemptRecord(facts: CallFacts, attempt: Attempt, now: number): AttemptRecord {
  const { target } = attempt;
  return {
    endpoint: attempt.endpoint,
    trunkId: attempt.trunk?.id ?? null,
    target: target === null ? null : `${target.transport}:${hostPort(target.address, target.port)}`,
    callId: attempt.callId,
    challenges: attempt.challenges,
    startedAt: iso(facts, attempt.startedAt),
    durationMs: Math.round((attempt.endedAt >= 0 ? attempt.endedAt : now) - attempt.startedAt),
    outcome: attempt.outcome,
    sipStatus: attempt.status === 0 ? null : attempt.status,
    cause: attempt.cause,
    detail: attempt.detail,
  };
}

/** Many calls share a second, and its text is most of the work. */
const seconds = new Map<number, string>();
const SECONDS_MAX = 128;

function iso(facts: CallFacts, at: number): string {
  const ms = Math.floor(facts.startedWall + (at - facts.startedAt));
  const second = Math.floor(ms / 1000);
  let text = seconds.get(second);
  if (text === undefined) {
    // `2030-01-01T00:00:00.000Z` without milliseconds and Z.
    text = new Date(second * 1000).toISOString().slice(0, -4);
    if (seconds.size >= SECONDS_MAX) seconds.clear();
    seconds.set(second, text);
  }
  const rest = ms - second * 1000;
  return `${text}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
}

/** `printable`, without its work for what is plain already: nearly every number and Call-ID. */
function shown(octets: Octets): string {
  if (octets.length > 200) return printable(octets);
  for (let i = 0; i < octets.length; i++) {
    const c = octets.charCodeAt(i);
    if (c < 0x20 || c > 0x7e) return printable(octets);
  }
  return octets;
}

/** Whom a URI means, for people: its user part without escapes, or the whole of it. */
export function personIn(uri: Octets): string {
  const user = parseUri(uri)?.user;
  if (user === undefined || user === '') return shown(uri);
  return shown(user.includes('%') ? fromText(unescapeUser(user)) : user);
}
