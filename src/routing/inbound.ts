/**
 * A call from a provider: which trunk sent it, which number it is for, which agent answers, where. Unknown sources
 * are refused: a gateway that takes calls from strangers is a gateway for fraud.
 *
 * A trunk is known by where it calls from, by user and password (`inboundAuth`), or by both, which then are both needed.
 * Whoever shows a password is that trunk and no other. Who comes from nowhere that is known and shows none is asked for
 * it whatever the number is, so that strangers do not learn which numbers there are.
 *
 * The explanation comes from the same function as the decision: reading it runs the decision again with a trace.
 * The hot path then pays for no text.
 */
import type { Agent, Endpoint } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Snapshot } from '#directory/snapshot.js';
import { type DidSource, isOpen, type Trunk } from '#directory/trunk.js';
import type { Source } from '#engine/engine.js';
import { weightedOrder } from '#lib/weighted-order.js';
import type { SipRequest } from '#sip/message.js';
import { fromText, type Octets, printable } from '#sip/octets.js';
import { unescapeUser } from '#sip/uri.js';
import type {
  Explanation,
  ExplanationStep,
  InboundDecision,
  InboundRefusal,
  InboundRoute,
} from './decision.js';
import { DidReader } from './did.js';
import { REASONS, type ReasonCode } from './refusals.js';
import { ofOneOrganization, whoseCall } from './whose.js';

/** What of the directory decides about a call that comes in. */
export type InboundDirectory = Pick<
  Snapshot,
  | 'account'
  | 'agent'
  | 'number'
  | 'numberById'
  | 'numbersAnywhere'
  | 'openTrunks'
  | 'plan'
  | 'trunk'
  | 'trunkCount'
  | 'trunks'
  | 'trunksBySource'
>;

/** A registration of ours, whose Contact the Request-URI names. The ids are of those that asked for it. */
export interface Registered {
  /** `sip:user@domain`. */
  readonly aor: string;
  readonly trunkIds: readonly string[];
  readonly numberIds: readonly string[];
  readonly agentIds: readonly string[];
}

/** What an INVITE says about itself, and what we know of where it came from. */
interface Inquiry {
  readonly request: SipRequest;
  readonly source: Pick<Source, 'address' | 'transport'>;
  readonly registered: Registered | null;
  readonly proven: Trunk | null;
}

/**
 * Routes an INVITE that starts a call.
 * @param random uniform in [0, 1), for endpoints of equal priority
 * @param registered set when the INVITE came to the Contact of a registration: it then belongs to who registered,
 * whatever address it came from
 * @param proven the trunk whose user and password the INVITE shows
 */
export function routeInbound(
  snapshot: InboundDirectory,
  request: SipRequest,
  source: Pick<Source, 'address' | 'transport'>,
  random: () => number,
  registered: Registered | null = null,
  proven: Trunk | null = null,
): InboundDecision {
  const inquiry: Inquiry = { request, source, registered, proven };
  const finding = decide(snapshot, inquiry, null);
  if (finding.kind === 'refuse') return new Refusal(snapshot, inquiry, finding);
  return new Route(snapshot, inquiry, finding, weightedOrder(finding.agent.endpoints, random));
}

type Finding =
  | {
      readonly kind: 'route';
      readonly trunk: Trunk;
      readonly number: PhoneNumber;
      readonly agent: Agent;
      readonly originalDid: Octets;
    }
  | {
      readonly kind: 'refuse';
      readonly code: ReasonCode;
      readonly trunk: Trunk | undefined;
      readonly number: PhoneNumber | undefined;
      readonly agent: Agent | undefined;
    };

interface Match {
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
  readonly originalDid: Octets;
}

function decide(snapshot: InboundDirectory, inquiry: Inquiry, trace: ExplanationStep[] | null): Finding {
  const { request, source, registered, proven } = inquiry;
  if (proven !== null) traceLogin(trace, proven, true);
  if (registered !== null) return decideRegistered(snapshot, inquiry, registered, trace);
  const around = snapshot.trunksBySource(source.address);
  if (proven !== null) return decideProven(snapshot, inquiry, proven, around, trace);
  const whose = ofOneOrganization(around) ? 'one' : whoseCall(snapshot, new DidReader(request), around);
  if (whose === 'several') return refuse(around.every(asks) ? 'credentials_needed' : 'number_ambiguous');
  // From here on nothing is read, or told, of other organisations.
  const candidates =
    typeof whose === 'object'
      ? around.filter(({ organizationId }) => organizationId === whose.organizationId)
      : around;
  if (trace !== null) traceSource(trace, snapshot, source, candidates);
  const first = candidates[0];
  if (first === undefined) {
    return refuse(snapshot.openTrunks.length > 0 ? 'credentials_needed' : 'unknown_source');
  }
  const match = findNumber(snapshot, request, candidates, trace);
  if (match !== undefined) return decideAgent(snapshot, match, proven, trace);
  // Nobody is told anything before the password. And a PBX may share its address with somebody's carrier.
  if (around.every(asks) || findNumber(snapshot, request, snapshot.openTrunks, null) !== undefined) {
    return refuse('credentials_needed');
  }
  // With several trunks behind one address and no number, which one sent it cannot be told.
  return refuse('unknown_number', candidates.length === 1 ? first : undefined);
}

function asks({ inboundAuth }: Trunk): boolean {
  return inboundAuth !== undefined;
}

/** @param around trunks that take calls from its source */
function decideProven(
  snapshot: InboundDirectory,
  { request, source, proven }: Inquiry,
  trunk: Trunk,
  around: readonly Trunk[],
  trace: ExplanationStep[] | null,
): Finding {
  const within = isOpen(trunk) || around.some(({ id }) => id === trunk.id);
  trace?.push({
    subject: `source ${source.address} (${source.transport})`,
    test: `is in allowedAddresses of trunk ${trunk.id}`,
    outcome: within ? 'pass' : 'fail',
    detail: isOpen(trunk) ? 'it has none: any address will do' : blocksText(trunk),
  });
  if (!within) return refuse('caller_credentials_wrong', trunk);
  const match = findNumber(snapshot, request, [trunk], trace);
  return match === undefined ? refuse('unknown_number', trunk) : decideAgent(snapshot, match, proven, trace);
}

/**
 * The number that the INVITE names, on a trunk that is registered so; else the account's own agent; else the number,
 * when there is only one that the account can mean: many providers name nothing but the account.
 */
function decideRegistered(
  snapshot: InboundDirectory,
  { request, proven }: Inquiry,
  registered: Registered,
  trace: ExplanationStep[] | null,
): Finding {
  const trunks: Trunk[] = [];
  for (const id of registered.trunkIds) {
    const trunk = snapshot.trunk(id);
    if (trunk !== undefined) trunks.push(trunk);
  }
  trace?.push({
    subject: 'Request-URI',
    test: 'is the Contact of a registration',
    outcome: 'pass',
    detail: printable(fromText(registered.aor)),
  });
  const named = findNumber(snapshot, request, trunks, trace);
  if (named !== undefined) return decideAgent(snapshot, named, proven, trace);
  for (const agentId of registered.agentIds) {
    const account = snapshot.account(agentId);
    if (account === undefined) continue;
    const originalDid = fromText(account.number.phoneNumber);
    return decideAgent(snapshot, { ...account, originalDid }, proven, trace);
  }
  const only = registered.numberIds.length === 1 ? snapshot.numberById(registered.numberIds[0]!) : undefined;
  const trunk = only === undefined ? trunks[0] : snapshot.trunk(only.credentialsId);
  if (only === undefined || trunk === undefined) return refuse('unknown_number', trunk);
  trace?.push({
    subject: `number ${only.id}`,
    test: 'is the only one of this registration',
    outcome: 'pass',
    detail: `on trunk ${trunk.id}`,
  });
  const match = { trunk, number: only, originalDid: fromText(only.phoneNumber) };
  return decideAgent(snapshot, match, proven, trace);
}

function decideAgent(
  snapshot: InboundDirectory,
  { trunk, number, originalDid }: Match,
  proven: Trunk | null,
  trace: ExplanationStep[] | null,
): Finding {
  if (asks(trunk) && proven?.id !== trunk.id) {
    traceLogin(trace, trunk, false);
    return refuse(proven === null ? 'credentials_needed' : 'caller_credentials_wrong', trunk);
  }
  const agent = number.inboundAgentId === undefined ? undefined : snapshot.agent(number.inboundAgentId);
  if (trace !== null) traceAgent(trace, number, agent);
  if (agent === undefined) return refuse('number_without_agent', trunk, number);
  if (!agent.enabled) return refuse('agent_disabled', trunk, number, agent);
  if (agent.endpoints.length === 0) return refuse('agent_without_endpoints', trunk, number, agent);
  return { kind: 'route', trunk, number, agent, originalDid };
}

function refuse(code: ReasonCode, trunk?: Trunk, number?: PhoneNumber, agent?: Agent): Finding {
  return { kind: 'refuse', code, trunk, number, agent };
}

/** Trunks in the order of their blocks, and for each its sources in its own order. */
function findNumber(
  snapshot: InboundDirectory,
  request: SipRequest,
  candidates: readonly Trunk[],
  trace: ExplanationStep[] | null,
): Match | undefined {
  const read = new DidReader(request);
  for (const trunk of candidates) {
    const plan = snapshot.plan(trunk.id);
    if (plan === undefined) continue;
    for (const didSource of trunk.didSource) {
      const dids = read.from(didSource);
      if (trace !== null && dids.length === 0) traceNoDid(trace, trunk, didSource);
      for (const did of dids) {
        const normalised = plan.normalise(unescapeUser(did));
        const number = snapshot.number(trunk.id, normalised);
        if (trace !== null) traceDid(trace, snapshot, trunk, didSource, did, normalised, number);
        if (number !== undefined) return { trunk, number, originalDid: did };
      }
    }
  }
  return undefined;
}

/** Keeps what the explanation needs and works it out when asked. */
abstract class Explained {
  readonly #snapshot: InboundDirectory;
  readonly #inquiry: Inquiry;

  constructor(snapshot: InboundDirectory, inquiry: Inquiry) {
    this.#snapshot = snapshot;
    this.#inquiry = inquiry;
  }

  get explanation(): Explanation {
    const trace: ExplanationStep[] = [];
    decide(this.#snapshot, this.#inquiry, trace);
    this.conclude(trace);
    return trace;
  }

  protected abstract conclude(trace: ExplanationStep[]): void;
}

class Route extends Explained implements InboundRoute {
  readonly kind = 'route';
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
  readonly agent: Agent;
  readonly did: string;
  readonly originalDid: Octets;
  readonly endpoints: readonly Endpoint[];

  constructor(
    snapshot: InboundDirectory,
    inquiry: Inquiry,
    finding: Extract<Finding, { kind: 'route' }>,
    endpoints: readonly Endpoint[],
  ) {
    super(snapshot, inquiry);
    this.trunk = finding.trunk;
    this.number = finding.number;
    this.agent = finding.agent;
    this.did = finding.number.normalised;
    this.originalDid = finding.originalDid;
    this.endpoints = endpoints;
  }

  protected override conclude(trace: ExplanationStep[]): void {
    for (const [index, { uri, priority, weight }] of this.endpoints.entries()) {
      trace.push({
        subject: `endpoint ${uri}`,
        test: 'order of attempts',
        outcome: 'info',
        detail: `${index + 1} of ${this.endpoints.length}: priority ${priority}, weight ${weight}`,
      });
    }
  }
}

class Refusal extends Explained implements InboundRefusal {
  readonly kind = 'refuse';
  readonly stranger: boolean;
  readonly status: number;
  readonly reason: string;
  readonly code: ReasonCode;
  readonly trunk: Trunk | undefined;
  readonly number: PhoneNumber | undefined;
  readonly agent: Agent | undefined;

  constructor(snapshot: InboundDirectory, inquiry: Inquiry, finding: Extract<Finding, { kind: 'refuse' }>) {
    super(snapshot, inquiry);
    this.stranger =
      inquiry.registered === null && snapshot.trunksBySource(inquiry.source.address).length === 0;
    this.status = REASONS[finding.code].status;
    this.reason = REASONS[finding.code].phrase;
    this.code = finding.code;
    this.trunk = finding.trunk;
    this.number = finding.number;
    this.agent = finding.agent;
  }

  protected override conclude(trace: ExplanationStep[]): void {
    trace.push({
      subject: 'call',
      test: 'decision',
      outcome: 'fail',
      detail: `${this.status} ${this.reason} (${this.code}): ${REASONS[this.code].meaning} ${REASONS[this.code].remedy}`,
    });
  }
}

function traceSource(
  trace: ExplanationStep[],
  snapshot: InboundDirectory,
  source: Pick<Source, 'address' | 'transport'>,
  candidates: readonly Trunk[],
): void {
  trace.push({
    subject: `source ${source.address} (${source.transport})`,
    test: 'is in allowedAddresses of a trunk',
    outcome: candidates.length > 0 ? 'pass' : 'fail',
    detail:
      candidates.length > 0
        ? `most specific first: ${candidates.map((trunk) => trunk.id).join(', ')}`
        : `none of ${snapshot.trunkCount} trunks`,
  });
  if (candidates.length > 0) return;
  // Each candidate with the test that it failed: what a person looks for when a call is refused.
  let shown = 0;
  for (const trunk of snapshot.trunks()) {
    if (shown++ >= MAX_TRUNKS_SHOWN) break;
    const open = isOpen(trunk);
    trace.push({
      subject: `trunk ${trunk.id}`,
      test: `allowedAddresses holds ${source.address}`,
      outcome: open ? 'info' : 'fail',
      detail: open ? 'takes calls from any address, with user and password (inboundAuth)' : blocksText(trunk),
    });
  }
}

const MAX_TRUNKS_SHOWN = 20;
const MAX_BLOCKS_SHOWN = 10;

function blocksText({ allowedAddresses }: Trunk): string {
  const blocks = allowedAddresses.slice(0, MAX_BLOCKS_SHOWN).map((cidr) => cidr.text);
  if (allowedAddresses.length > MAX_BLOCKS_SHOWN) blocks.push('…');
  return blocks.length > 0 ? blocks.join(', ') : 'takes calls from no address';
}

function traceLogin(trace: ExplanationStep[] | null, { id, inboundAuth }: Trunk, shown: boolean): void {
  trace?.push({
    subject: `trunk ${id}`,
    test: 'user and password (inboundAuth) are shown',
    outcome: shown ? 'pass' : 'fail',
    detail: `user ${JSON.stringify(inboundAuth?.username ?? '')}`,
  });
}

function traceNoDid(trace: ExplanationStep[], trunk: Trunk, didSource: DidSource): void {
  trace.push({
    subject: `trunk ${trunk.id}`,
    test: `${didSource} names a number`,
    outcome: 'info',
    detail: 'absent, or without a user part',
  });
}

function traceDid(
  trace: ExplanationStep[],
  snapshot: InboundDirectory,
  trunk: Trunk,
  didSource: DidSource,
  did: Octets,
  normalised: string,
  number: PhoneNumber | undefined,
): void {
  const written = printable(did, 64);
  const form = normalised === did ? written : `${written}, normalised ${printable(fromText(normalised), 64)}`;
  // A record of the call belongs to the trunk's organisation, which does not hear of others' trunks.
  const elsewhere = (number === undefined ? snapshot.numbersAnywhere(normalised) : [])
    .filter(({ organizationId }) => organizationId === trunk.organizationId)
    .map((other) => other.credentialsId);
  trace.push({
    subject: `trunk ${trunk.id}`,
    test: `${didSource} names a number of this trunk`,
    outcome: number === undefined ? 'fail' : 'pass',
    detail:
      number !== undefined
        ? `${form}: number ${number.id}`
        : elsewhere.length > 0
          ? `${form}: not on this trunk, but on ${elsewhere.join(', ')}`
          : `${form}: unknown`,
  });
}

function traceAgent(trace: ExplanationStep[], number: PhoneNumber, agent: Agent | undefined): void {
  trace.push({
    subject: `number ${number.id}`,
    test: 'has an agent',
    outcome: agent === undefined ? 'fail' : 'pass',
    detail: agent === undefined ? 'inboundAgentId is not set' : `agent ${agent.id}`,
  });
  if (agent === undefined) return;
  trace.push({
    subject: `agent ${agent.id}`,
    test: 'is enabled',
    outcome: agent.enabled ? 'pass' : 'fail',
    detail: agent.enabled ? 'enabled' : 'disabled',
  });
  if (!agent.enabled) return;
  const count = agent.endpoints.length;
  trace.push({
    subject: `agent ${agent.id}`,
    test: 'has an endpoint',
    outcome: count > 0 ? 'pass' : 'fail',
    detail: count === 1 ? '1 endpoint' : `${count} endpoints`,
  });
}
