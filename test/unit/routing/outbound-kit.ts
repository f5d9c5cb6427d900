/** Outbound questions in the vocabulary of the config file, with what is registered and used up said beside them. */
import type { RegistrationBindings, TrunkStanding } from '#routing/bindings.js';
import { routeOutbound } from '#routing/outbound.js';
import type {
  OutboundAcceptance,
  OutboundConditions,
  OutboundDecision,
  OutboundQuestion,
  OutboundRefusal,
  OutboundRoute,
  OutboundUsage,
} from '#routing/outbound-decision.js';
import { type Described, snapshotOf } from '../../kit/directory.js';

const NOBODY_REGISTERED: RegistrationBindings = { bindingOf: () => ({ kind: 'unregistered' }) };

export const NOTHING_USED: OutboundUsage = {
  callsOfOrganization: () => 0,
  callsOnTrunk: () => 0,
  callsTodayOfOrganization: () => 0,
  callsTodayOnTrunk: () => 0,
};

export const IDLE: OutboundConditions = { bindings: NOBODY_REGISTERED, usage: NOTHING_USED };

/** A binding as `registration` gives it. */
export function bound(aor: string, target: object = {}, route: readonly string[] = []): TrunkStanding {
  return {
    kind: 'bound',
    binding: {
      registrationId: 'reg-1',
      aor,
      contactUser: 'tl-token',
      target: { transport: 'udp', address: '198.51.100.1', port: 5060, ...target },
      route,
    },
  };
}

export function ask(
  described: Described,
  question: Partial<OutboundQuestion> = {},
  conditions: Partial<OutboundConditions> = {},
): OutboundDecision {
  return routeOutbound(
    snapshotOf(described),
    { agentId: 'sales', to: '+14155550199', ...question },
    { ...IDLE, ...conditions },
  );
}

export function accepted(decision: OutboundDecision): OutboundAcceptance {
  if (decision.kind === 'refuse') throw new Error(`${decision.code}: ${decision.detail}`);
  return decision;
}

export function refused(decision: OutboundDecision): OutboundRefusal {
  if (decision.kind === 'route') throw new Error(`it goes by ${decision.routes[0]?.trunk.id}`);
  return decision;
}

/** The only way of a call. */
export function onlyRoute(decision: OutboundDecision): OutboundRoute {
  const { routes } = accepted(decision);
  if (routes.length !== 1) throw new Error(`${routes.length} ways`);
  return routes[0]!;
}

/** What goes over the wire, line by line. */
export function wire({ uri, from, to, headers }: OutboundRoute): string[] {
  return [
    `INVITE ${uri} SIP/2.0`,
    `From: ${from}`,
    `To: ${to}`,
    ...headers.map(({ name, value }) => `${name}: ${value}`),
  ];
}
