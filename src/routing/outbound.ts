/**
 * A call that is to leave: may it be made, by which trunks, in whose name. Pure: what is registered and what is used up
 * already comes in through `OutboundConditions`.
 *
 * The ways to try are the agent's own number, then its further ones, each by its own trunk; an agent without a number
 * uses its own account. A number that the call asks to show says by which trunk. A way that is not open now (full, not
 * registered, not for this destination) is passed over; when none is open, the first one's reason is the answer.
 */
import type { Agent } from '#directory/agent.js';
import { askedHeaderFault, destUserFault } from '#directory/header-rules.js';
import type { PhoneNumber } from '#directory/number.js';
import { matchKey, NumberPlan, unseenFault } from '#directory/number-format.js';
import type { Organization } from '#directory/organization.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Destinations, Trunk } from '#directory/trunk.js';
import { fromText, printable } from '#sip/octets.js';
import { parseUri, unescapeUser } from '#sip/uri.js';
import type { OutboundBinding } from './bindings.js';
import type { ExplanationStep } from './decision.js';
import { destinationVerdict, hasRoom, type Readings, readingsOf } from './guard.js';
import type {
  OutboundConditions,
  OutboundDecision,
  OutboundQuestion,
  OutboundRefusal,
  OutboundRoute,
} from './outbound-decision.js';
import { type Candidate, outboundRoute, shownNumber } from './outbound-route.js';
import { REASONS, type ReasonCode } from './refusals.js';

/** Decides about a call; `explanation` names every test on the way. */
export function routeOutbound(
  snapshot: Snapshot,
  question: OutboundQuestion,
  conditions: OutboundConditions,
): OutboundDecision {
  return new Inquiry(snapshot, question, conditions).decide();
}

/**
 * The user that a text asks to call, without escapes and parameters: of a `sip:`, `sips:` or `tel:` URI its user part,
 * else the text itself. Empty when it names nobody.
 */
export function calleeOf(to: string): string {
  const text = to.trim();
  const isUri = /^(sips?|tel):/i.test(text);
  const uri = isUri || text.includes('@') ? parseUri(fromText(isUri ? text : `sip:${text}`)) : undefined;
  const user = isUri || text.includes('@') ? unescapeUser(uri?.user ?? '') : text;
  // RFC 3261 §19.1.6: parameters of a telephone-subscriber stand in the user part: `+14155550100;npdi`.
  const end = user.indexOf(';');
  return (end < 0 ? user : user.slice(0, end)).trim();
}

interface Failure {
  readonly code: ReasonCode;
  readonly detail: string;
  readonly field?: string | undefined;
}

/** What all ways of a call have in common. */
interface Wanted {
  readonly agent: Agent;
  readonly organization: Organization;
  readonly callee: string;
}

/** Longer ones are no numbers, and no user that a provider would take. */
const CALLEE_MAX = 128;
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;
/** Accounts of agents have no country. */
const PLAIN_PLAN = new NumberPlan();

class Inquiry {
  readonly #snapshot: Snapshot;
  readonly #question: OutboundQuestion;
  readonly #conditions: OutboundConditions;
  readonly #trace: ExplanationStep[] = [];

  constructor(snapshot: Snapshot, question: OutboundQuestion, conditions: OutboundConditions) {
    this.#snapshot = snapshot;
    this.#question = question;
    this.#conditions = conditions;
  }

  decide(): OutboundDecision {
    const decision = this.#decision();
    if (decision.kind === 'refuse') {
      const { status, reason, code, detail } = decision;
      const { meaning, remedy } = REASONS[code];
      const text = `${status} ${reason} (${code}): ${detail}. ${meaning} ${remedy}`;
      this.#tell('call', 'decision', 'fail', text);
    }
    return decision;
  }

  #decision(): OutboundDecision {
    const { agentId, organizationId, to } = this.#question;
    const known = this.#snapshot.agent(agentId);
    const foreign = organizationId !== undefined && known?.organizationId !== organizationId;
    const subject = `agent ${shown(agentId)}`;
    if (known === undefined || foreign) {
      this.#tell(subject, 'is known', 'fail', 'there is no such agent');
      return this.#refuse({ code: 'unknown_agent', detail: `there is no ${subject}`, field: 'agentId' });
    }
    const wanted: Wanted = {
      agent: known,
      organization: this.#snapshot.organization(known.organizationId),
      callee: calleeOf(to),
    };
    const fault = this.#disabled(known) ?? this.#faulty(wanted.callee) ?? this.#organizationFull(wanted);
    if (fault !== undefined) return this.#refuse(fault, known);
    const candidates = this.#candidates(known);
    return 'code' in candidates ? this.#refuse(candidates, known) : this.#choose(wanted, candidates);
  }

  #choose(wanted: Wanted, candidates: readonly Candidate[]): OutboundDecision {
    const routes: OutboundRoute[] = [];
    let refusal: OutboundRefusal | undefined;
    for (const candidate of candidates) {
      const outcome = this.#routeBy(wanted, candidate);
      if ('code' in outcome) refusal ??= this.#refuse(outcome, wanted.agent, candidate);
      else routes.push(outcome);
    }
    const first = routes[0];
    if (first === undefined) return refusal!;
    for (const [index, { trunk, uri, from }] of routes.entries()) {
      const place = `${index + 1} of ${routes.length}: INVITE ${printable(uri)} from ${printable(from)}`;
      this.#tell(`trunk ${trunk.id}`, 'order of attempts', 'info', place);
    }
    return {
      kind: 'route',
      organizationId: wanted.organization.id,
      agent: wanted.agent,
      callee: this.#planOf(first.trunk).normalise(wanted.callee),
      routes,
      explanation: this.#trace,
    };
  }

  #disabled(agent: Agent): Failure | undefined {
    const subject = `agent ${agent.id}`;
    if (this.#test(subject, 'is enabled', agent.enabled, agent.enabled ? 'enabled' : 'disabled')) {
      return undefined;
    }
    return { code: 'agent_disabled', detail: `${subject} is disabled` };
  }

  /** What is wrong with the question, whoever asks it. */
  #faulty(callee: string): Failure | undefined {
    const fault = this.#fault(callee);
    const detail = fault?.detail ?? `to ${shown(callee)}`;
    this.#test('call', 'can be understood', fault === undefined, detail);
    return fault;
  }

  #fault(callee: string): Failure | undefined {
    const { headers, xDestUser, maxDurationSeconds } = this.#question;
    const bad = (field: string, detail: string): Failure => ({ code: 'bad_request', field, detail });
    if (callee === '') return bad('to', 'to names nobody to call');
    if (callee.length > CALLEE_MAX) return bad('to', `to is longer than ${CALLEE_MAX} characters`);
    if (CONTROLS.test(callee)) return bad('to', 'to has control characters');
    const unseen = unseenFault(callee);
    if (unseen !== undefined) return bad('to', `to ${unseen}`);
    for (const [name, value] of headers ?? []) {
      const message = askedHeaderFault(name, value);
      if (message !== undefined)
        return bad(`headers.${shown(name)}`, `header field ${shown(name)} ${message}`);
    }
    const wrong = xDestUser === undefined ? undefined : destUserFault(xDestUser);
    if (wrong !== undefined) return bad('xDestUser', `xDestUser ${wrong}`);
    return maxDurationSeconds === undefined || maxDurationSeconds > 0
      ? undefined
      : bad('maxDurationSeconds', 'maxDurationSeconds must be more than 0');
  }

  #organizationFull({ organization: { id, limits } }: Wanted): Failure | undefined {
    const { usage } = this.#conditions;
    const subject = `organisation ${id}`;
    return (
      this.#full(
        subject,
        'organization_capacity',
        usage.callsOfOrganization(id),
        limits.maxConcurrentCalls,
      ) ??
      this.#full(subject, 'organization_day_limit', usage.callsTodayOfOrganization(id), limits.callsPerDay)
    );
  }

  #trunkFull({ id, maxConcurrentCalls, callsPerDay }: Trunk): Failure | undefined {
    const { usage } = this.#conditions;
    return (
      this.#full(`trunk ${id}`, 'trunk_capacity', usage.callsOnTrunk(id), maxConcurrentCalls) ??
      this.#full(`trunk ${id}`, 'trunk_day_limit', usage.callsTodayOnTrunk(id), callsPerDay)
    );
  }

  #full(
    subject: string,
    code: 'organization_capacity' | 'organization_day_limit' | 'trunk_capacity' | 'trunk_day_limit',
    used: number,
    most: number | undefined,
  ): Failure | undefined {
    const daily = code.endsWith('day_limit');
    const period = daily ? 'today' : 'in progress';
    const detail = most === undefined ? `${used} ${period}, no bound` : `${used} ${period} of ${most}`;
    const test = daily ? 'may make another call today' : 'has room for another call';
    return this.#test(subject, test, hasRoom(used, most), detail)
      ? undefined
      : { code, detail: `${subject}: ${detail}` };
  }

  /** The ways that the agent has, in its order; never an empty list. */
  #candidates(agent: Agent): readonly Candidate[] | Failure {
    const own: Candidate[] = [];
    const ids = agent.outboundNumberId === undefined ? [] : [agent.outboundNumberId];
    for (const id of new Set([...ids, ...agent.fallbackNumberIds])) {
      const candidate = this.#candidateOf(this.#snapshot.numberById(id));
      if (candidate !== undefined) own.push(candidate);
    }
    const found = this.#snapshot.account(agent.id);
    const account: Candidate | undefined =
      found === undefined ? undefined : { ...found, plan: PLAIN_PLAN, ownAccount: true };
    if (account !== undefined && agent.outboundNumberId === undefined) own.unshift(account);
    const from = shownNumber(this.#question);
    if (this.#question.trunkId !== undefined)
      return this.#candidatesBy(this.#question.trunkId, from, agent, own);
    if (from !== undefined) return this.#candidatesFor(from, agent, own, account);
    const names = own.map(({ number, trunk }) => `${shown(number.phoneNumber)} by ${trunk.id}`);
    const test = 'has a number or an account to call from';
    const detail = names.length > 0 ? names.join(', ') : 'neither outboundNumberId nor SIP registration';
    if (this.#test(`agent ${agent.id}`, test, own.length > 0, detail)) return own;
    return { code: 'no_outbound_config', detail: `agent ${agent.id} has no number to call from` };
  }

  /** The ways by which a number may be shown: the agent's own first, then the organisation's. */
  #candidatesFor(
    from: string,
    { organizationId }: Agent,
    own: readonly Candidate[],
    account: Candidate | undefined,
  ): readonly Candidate[] | Failure {
    const owned = new Set(this.#snapshot.ownedNumbers(organizationId, from));
    const found = own.filter(({ number }) => owned.delete(number));
    if (account !== undefined && sameNumber(account.number.phoneNumber, from)) found.push(account);
    for (const number of owned) {
      const candidate = this.#candidateOf(number);
      if (candidate !== undefined) found.push(candidate);
    }
    const names = found.map(({ trunk }) => trunk.id);
    const detail =
      names.length > 0 ? `on ${names.join(', ')}` : `organisation ${organizationId} has none such`;
    if (this.#test(`caller ${shown(from)}`, 'is a number of the organisation', names.length > 0, detail)) {
      return found;
    }
    const refused = `${shown(from)} is no number of organisation ${organizationId}`;
    return { code: 'caller_id_refused', detail: refused, field: 'from' };
  }

  /** One way: by this trunk, with the number that is asked for, or the agent's first. */
  #candidatesBy(
    trunkId: string,
    from: string | undefined,
    { id, organizationId }: Agent,
    own: readonly Candidate[],
  ): readonly Candidate[] | Failure {
    const trunk = this.#snapshot.trunk(trunkId);
    const theirs = trunk?.organizationId === organizationId;
    const subject = `trunk ${shown(trunkId)}`;
    if (
      !this.#test(subject, 'is one of the organisation', theirs, theirs ? organizationId : 'there is none')
    ) {
      const detail = `organisation ${organizationId} has no ${subject}`;
      return { code: 'bad_request', detail, field: 'trunkId' };
    }
    const numbers =
      from === undefined
        ? own.filter(({ ownAccount }) => !ownAccount).map(({ number }) => number)
        : this.#snapshot.ownedNumbers(organizationId, from);
    const number = numbers.find(({ credentialsId }) => credentialsId === trunkId) ?? numbers[0];
    const caller = from ?? number?.phoneNumber ?? '';
    const test = 'is a number of the organisation';
    if (!this.#test(`caller ${shown(caller)}`, test, number !== undefined, number?.id ?? 'none such')) {
      return from === undefined
        ? { code: 'no_outbound_config', detail: `agent ${id} has no number to call from` }
        : {
            code: 'caller_id_refused',
            detail: `${shown(from)} is no number of organisation ${organizationId}`,
            field: 'from',
          };
    }
    return [{ trunk: trunk!, number: number!, plan: this.#planOf(trunk!), ownAccount: false }];
  }

  #candidateOf(number: PhoneNumber | undefined): Candidate | undefined {
    const trunk = number === undefined ? undefined : this.#snapshot.trunk(number.credentialsId);
    if (number === undefined || trunk === undefined) return undefined;
    return { trunk, number, plan: this.#planOf(trunk), ownAccount: false };
  }

  #planOf(trunk: Trunk): NumberPlan {
    return this.#snapshot.plan(trunk.id) ?? PLAIN_PLAN;
  }

  /** One way, or the first test that it fails. */
  #routeBy(wanted: Wanted, candidate: Candidate): OutboundRoute | Failure {
    const { trunk, plan } = candidate;
    const { agent, organization, callee } = wanted;
    const readings = readingsOf(callee, plan, trunk.country);
    const closed =
      this.#denied(trunk, `organisation ${organization.id}`, organization.limits.destinations, readings) ??
      this.#denied(trunk, `trunk ${trunk.id}`, trunk.destinations, readings) ??
      this.#trunkFull(trunk);
    if (closed !== undefined) return closed;
    const binding = this.#bindingOf(agent, candidate);
    if (binding !== undefined && 'code' in binding) return binding;
    return outboundRoute({
      ...candidate,
      question: this.#question,
      agent,
      limits: organization.limits,
      callee,
      binding,
      line: this.#snapshot.cpsLine(trunk.organizationId, trunk.cpsKey),
    });
  }

  #denied(trunk: Trunk, owner: string, destinations: Destinations, readings: Readings): Failure | undefined {
    const { allowed, by } = destinationVerdict(destinations, readings);
    const number = shown(readings.plain.at(-1)!);
    const because = allowed
      ? by === undefined
        ? 'nothing denies it'
        : `allowed by ${by}`
      : by === undefined
        ? 'nothing allows it'
        : `denied by ${by}`;
    const test = `${owner} allows calls to ${number}`;
    if (this.#test(`trunk ${trunk.id}`, test, allowed, because)) return undefined;
    return { code: 'destination_denied', detail: `${number}: ${because} (${owner})`, field: 'to' };
  }

  /** The registration that the call leaves by; undefined: none is needed. */
  #bindingOf(agent: Agent, { trunk, number, ownAccount }: Candidate): OutboundBinding | Failure | undefined {
    // A number that leaves by another trunk than its own has no registration there.
    const numberId = number.credentialsId === trunk.id ? number.id : undefined;
    const owner = ownAccount ? { agentId: agent.id } : { trunkId: trunk.id, numberId };
    const standing = this.#conditions.bindings.bindingOf(owner);
    const subject = `trunk ${trunk.id}`;
    switch (standing.kind) {
      case 'unregistered':
        // An agent's own account is always to be registered; it may only just have been written.
        if (!ownAccount) return undefined;
        this.#test(subject, 'is registered', false, 'not yet');
        return { code: 'not_registered', detail: `${subject} is not registered yet` };
      case 'bound':
        this.#test(subject, 'is registered', true, printable(standing.binding.aor));
        return standing.binding;
      case 'unbound':
      case 'rejected':
        this.#test(subject, 'is registered', false, standing.reason);
        return { code: 'not_registered', detail: `${subject} is not registered: ${standing.reason}` };
    }
  }

  #test(subject: string, test: string, passed: boolean, detail: string): boolean {
    this.#tell(subject, test, passed ? 'pass' : 'fail', detail);
    return passed;
  }

  #tell(subject: string, test: string, outcome: ExplanationStep['outcome'], detail: string): void {
    this.#trace.push({ subject, test, outcome, detail });
  }

  #refuse(failure: Failure, agent?: Agent, candidate?: Candidate): OutboundRefusal {
    const { status, phrase, httpStatus } = REASONS[failure.code];
    return {
      kind: 'refuse',
      code: failure.code,
      status,
      reason: phrase,
      httpStatus,
      detail: failure.detail,
      field: failure.field,
      organizationId: agent?.organizationId,
      agent,
      trunk: candidate?.trunk,
      number: candidate?.number,
      explanation: this.#trace,
    };
  }
}

function shown(text: string): string {
  return printable(fromText(text), 64);
}

function sameNumber(a: string, b: string): boolean {
  return matchKey(PLAIN_PLAN.normalise(a)) === matchKey(PLAIN_PLAN.normalise(b));
}
