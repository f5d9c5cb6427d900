/** One way of a call, put together: the INVITE but for its offer, where it goes, and the line that it waits in. */
import type { Agent } from '#directory/agent.js';
import { type CpsLine, cpsLineKey } from '#directory/cps-line.js';
import type { PhoneNumber } from '#directory/number.js';
import type { NumberPlan } from '#directory/number-format.js';
import type { OrganizationLimits } from '#directory/organization.js';
import { serverOf } from '#directory/server.js';
import type { Trunk } from '#directory/trunk.js';
import type { HeaderField } from '#sip/message.js';
import { fromText } from '#sip/octets.js';
import type { OutboundBinding } from './bindings.js';
import { smallest } from './guard.js';
import { type Identity, identityFor } from './identity.js';
import type { NextHop, OutboundPace, OutboundQuestion, OutboundRoute } from './outbound-decision.js';

/** One number with its trunk, or an agent's own account. */
export interface Candidate {
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
  readonly plan: NumberPlan;
  /** The trunk stands for the account of the agent that calls. */
  readonly ownAccount: boolean;
}

export interface RouteInput extends Candidate {
  readonly question: OutboundQuestion;
  readonly agent: Agent;
  readonly limits: OrganizationLimits;
  /** As dialled, without escapes. */
  readonly callee: string;
  readonly binding: OutboundBinding | undefined;
  /** Undefined: nobody shares the trunk's key, and it has no limit. */
  readonly line: CpsLine | undefined;
}

/** An INVITE by one trunk that is ready but for its offer. */
export function outboundRoute(input: RouteInput): OutboundRoute {
  const { trunk, number, plan, question, binding } = input;
  const identity = identityFor({
    trunk,
    plan,
    callee: input.callee,
    caller: number.phoneNumber,
    displayName: question.displayName ?? number.displayName ?? '',
    privacy: isWithheld(input),
    aor: binding?.aor,
  });
  const { maxDurationSeconds } = question;
  return {
    trunk,
    number,
    dialled: identity.dialled,
    uri: identity.uri,
    from: identity.from,
    to: identity.to,
    contactUser: binding?.contactUser,
    headers: headersOf(input, identity),
    nextHop: nextHopOf(trunk, binding),
    credentials: credentialsOf(trunk),
    expectedRealm: trunk.domain,
    pace: paceOf(trunk, input.line),
    maxDurationSeconds: smallest(
      maxDurationSeconds,
      input.limits.maxDurationSeconds,
      trunk.maxDurationSeconds,
    ),
  };
}

/** RFC 3323 §4.1.1.3; also what an agent writes that does not want to be named. */
const ANONYMOUS = 'anonymous';

/** The number that the call asks to show; undefined: the agent's own. */
export function shownNumber(question: OutboundQuestion): string | undefined {
  const from = question.from?.trim();
  return from === undefined || from === '' || from.toLowerCase() === ANONYMOUS ? undefined : from;
}

function isWithheld({ question, agent, trunk }: RouteInput): boolean {
  const asked = question.from?.trim().toLowerCase() === ANONYMOUS ? true : question.privacy;
  return asked ?? (agent.callerPrivacy || trunk.privacy);
}

/** A name that stands already is not written twice: what is checked goes before what is given freely. */
function headersOf(input: RouteInput, identity: Identity): HeaderField[] {
  const headers = [...identity.headers];
  const names = new Set(headers.map(({ name }) => name.toLowerCase()));
  const add = (name: string, value: string) => {
    const key = name.toLowerCase();
    if (names.has(key)) return;
    names.add(key);
    headers.push({ name, value: fromText(value) });
  };
  const destUser = destUserOf(input);
  if (destUser !== undefined) add('X-Dest-User', destUser);
  for (const [name, value] of input.question.headers ?? []) add(name, value);
  for (const [name, value] of input.trunk.headers) add(name, value);
  return headers;
}

function destUserOf({ question, agent, ownAccount }: RouteInput): string | undefined {
  if (question.xDestUser !== undefined && question.xDestUser !== '') return question.xDestUser;
  return ownAccount ? agent.sipRegistration?.xDestUser : undefined;
}

function nextHopOf(trunk: Trunk, binding: OutboundBinding | undefined): NextHop {
  if (binding !== undefined) {
    const { registrationId, target, route } = binding;
    return { kind: 'registered', registrationId, target, route: route.length === 0 ? undefined : route };
  }
  const { destination, tls, route } = serverOf(trunk);
  return { kind: 'resolve', destination, transport: trunk.transport, tls, route };
}

function credentialsOf({ authUser, authUsername, authPassword }: Trunk): OutboundRoute['credentials'] {
  const username = authUsername ?? authUser;
  if (username === undefined || authPassword === undefined) return undefined;
  return { username, password: authPassword };
}

function paceOf(trunk: Trunk, line: CpsLine | undefined): OutboundPace {
  return {
    key: cpsLineKey(trunk.organizationId, trunk.cpsKey),
    limit: line?.limit,
    burst: line?.burst ?? 1,
    countsChallenges: trunk.cpsCountsChallenges,
  };
}
