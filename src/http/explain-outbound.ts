/** The dry run of a call that leaves: the same decision that calls go by, told with the INVITE that would be sent. */
import type { Snapshot } from '#directory/snapshot.js';
import { routeOutbound } from '#routing/outbound.js';
import type {
  NextHop,
  OutboundConditions,
  OutboundQuestion,
  OutboundRoute,
} from '#routing/outbound-decision.js';
import { fromText, printable, toText } from '#sip/octets.js';
import { hostPort } from '#sip/uri.js';
import type { OutboundRouteAnswer, OutboundWay } from './ports.js';

/** What would become of such a call now. */
export function explainOutbound(
  snapshot: Snapshot,
  question: OutboundQuestion,
  conditions: OutboundConditions,
): OutboundRouteAnswer {
  const decision = routeOutbound(snapshot, question, conditions);
  const refused = decision.kind === 'refuse';
  return {
    direction: 'outbound',
    decision: decision.kind,
    status: refused ? decision.status : null,
    httpStatus: refused ? decision.httpStatus : null,
    code: refused ? decision.code : null,
    detail: refused ? decision.detail : null,
    field: refused ? (decision.field ?? null) : null,
    agentId: decision.agent?.id ?? null,
    organizationId: decision.organizationId ?? null,
    callee: refused ? null : shown(decision.callee),
    routes: refused ? [] : decision.routes.map((route) => wayOf(snapshot, route, conditions)),
    explanation: decision.explanation,
  };
}

function wayOf(snapshot: Snapshot, route: OutboundRoute, { usage }: OutboundConditions): OutboundWay {
  const { trunk, number, pace, nextHop } = route;
  const line = snapshot.cpsLine(trunk.organizationId, trunk.cpsKey);
  const limits = snapshot.organization(trunk.organizationId).limits;
  return {
    trunkId: trunk.id,
    phoneNumberId: number.id,
    phoneNumber: shown(number.phoneNumber),
    dialled: shown(route.dialled),
    nextHop: nextHopText(nextHop),
    registrationId: nextHop.kind === 'registered' ? nextHop.registrationId : null,
    digestUser: route.credentials === undefined ? null : shown(route.credentials.username),
    invite: inviteText(route),
    limits: {
      cpsKey: trunk.cpsKey,
      effectiveCpsLimit: pace.limit ?? null,
      cpsBurst: pace.burst,
      cpsCountsChallenges: pace.countsChallenges,
      warning: line?.warning ?? null,
      maxDurationSeconds: route.maxDurationSeconds ?? null,
      trunkCalls: { used: usage.callsOnTrunk(trunk.id), most: trunk.maxConcurrentCalls ?? null },
      trunkCallsToday: { used: usage.callsTodayOnTrunk(trunk.id), most: trunk.callsPerDay ?? null },
      organizationCalls: {
        used: usage.callsOfOrganization(trunk.organizationId),
        most: limits.maxConcurrentCalls ?? null,
      },
      organizationCallsToday: {
        used: usage.callsTodayOfOrganization(trunk.organizationId),
        most: limits.callsPerDay ?? null,
      },
    },
  };
}

/** `tls proxy.example:5061`, `udp 198.51.100.1:5060`. */
function nextHopText(nextHop: NextHop): string {
  if (nextHop.kind === 'resolve') {
    const { destination, transport } = nextHop;
    return `${transport} ${hostPort(destination.host, destination.port)}`;
  }
  const { transport, address, port } = nextHop.target;
  return `${transport} ${hostPort(address, port)}`;
}

/** What routing says of the INVITE; the rest (Via, Call-ID, CSeq, tag, Contact's address, body) is made when it is sent. */
function inviteText({ uri, from, to, headers, nextHop }: OutboundRoute): string {
  const lines = [`INVITE ${uri} SIP/2.0`];
  for (const route of nextHop.route ?? []) lines.push(`Route: ${route}`);
  lines.push(`From: ${from}`, `To: ${to}`);
  for (const { name, value } of headers) lines.push(`${name}: ${value}`);
  return lines.map(toText).join('\r\n');
}

function shown(text: string): string {
  return printable(fromText(text));
}
