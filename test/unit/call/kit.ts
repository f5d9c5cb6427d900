/** A call room on a scripted engine and a clock that stands still. */
import { Calls, type Origination } from '#call/calls.js';
import type { CallObserver, CallRecord } from '#call/observer.js';
import type { Binding } from '#call/provider-callee.js';
import type { CallSettings } from '#call/settings.js';
import type { TargetResolver } from '#call/target-resolver.js';
import type { Agent } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import { Secret } from '#directory/secret.js';
import type { Trunk } from '#directory/trunk.js';
import type { Target } from '#engine/engine.js';
import { SeededIds } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { InboundRoute } from '#routing/decision.js';
import type { OutboundAcceptance, OutboundDecision, OutboundRoute } from '#routing/outbound-decision.js';
import { parseUri, type SipUri } from '#sip/uri.js';
import { FakeEngine, FakeIncomingInvite, request, SDP, source } from '../../kit/fake-engine.js';
import { ScriptedPacer } from '../../kit/scripted-pacer.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

export function trunk(changes: Partial<Trunk> = {}): Trunk {
  return {
    id: 'carrier-a',
    organizationId: 'default',
    description: undefined,
    source: 'config',
    providerId: undefined,
    server: { host: 'carrier.example', port: undefined },
    transport: 'udp',
    outboundProxy: undefined,
    authUser: undefined,
    authUsername: undefined,
    authPassword: undefined,
    domain: undefined,
    fromUser: undefined,
    fromDomain: undefined,
    callerIdMode: 'from',
    numberFormat: 'asIs',
    country: undefined,
    techPrefix: undefined,
    userPhone: false,
    privacy: false,
    cpsLimit: undefined,
    cpsKey: 'carrier-a',
    cpsBurst: 1,
    cpsCountsChallenges: false,
    allowedAddresses: [],
    inboundAuth: undefined,
    didSource: ['ruri'],
    headers: new Map(),
    relayHeaders: [],
    tls: {
      verify: undefined,
      ca: undefined,
      clientCert: undefined,
      clientKey: undefined,
      serverName: undefined,
      minVersion: undefined,
    },
    optionsPing: undefined,
    maxConcurrentCalls: undefined,
    callsPerDay: undefined,
    destinations: { allow: [], deny: [] },
    ringTimeoutSeconds: undefined,
    maxDurationSeconds: undefined,
    failoverStatuses: undefined,
    delayedOffer: false,
    ...changes,
  };
}

export function agent(changes: Partial<Agent> = {}): Agent {
  return {
    id: 'sales',
    organizationId: 'default',
    source: 'config',
    name: 'Sales',
    enabled: true,
    platform: 'sip',
    endpoints: [],
    headers: new Map(),
    outboundNumberId: undefined,
    fallbackNumberIds: [],
    callerPrivacy: false,
    originate: 'agentFirst',
    inboundAuth: undefined,
    allowedAddresses: [],
    ringTimeoutSeconds: undefined,
    sipRegistration: undefined,
    ...changes,
  };
}

const NUMBER: PhoneNumber = {
  id: 'number-1',
  organizationId: 'default',
  source: 'config',
  phoneNumber: '+14155550100',
  normalised: '+14155550100',
  credentialsId: 'carrier-a',
  inboundAgentId: 'sales',
  transferTrunkId: undefined,
  displayName: undefined,
  description: undefined,
  registration: false,
};

export function route(
  endpoints: readonly string[] = ['sip:agent@192.0.2.9:5090'],
  more: { trunk?: Trunk; agent?: Agent } = {},
): InboundRoute {
  return {
    kind: 'route',
    trunk: more.trunk ?? trunk(),
    number: NUMBER,
    agent: more.agent ?? agent(),
    did: '+14155550100',
    originalDid: '14155550100',
    endpoints: endpoints.map((uri, i) => ({ uri, priority: i, weight: 1 })),
    explanation: [],
  };
}

/** A call that may leave by these trunks, in this order. Each server is an address, so it resolves at once. */
export function acceptance(
  routes: readonly {
    readonly trunk?: Trunk;
    readonly server?: string;
    readonly limit?: number;
    readonly countsChallenges?: boolean;
    readonly headers?: OutboundRoute['headers'];
    readonly password?: string;
    readonly maxDurationSeconds?: number;
    readonly nextHop?: OutboundRoute['nextHop'];
  }[] = [{}],
): OutboundAcceptance {
  return {
    kind: 'route',
    organizationId: 'default',
    agent: agent(),
    callee: '+14155550199',
    routes: routes.map((each, i) => {
      const carrier = each.trunk ?? trunk({ id: `carrier-${i + 1}`, cpsKey: `key-${i + 1}` });
      const host = each.server ?? `203.0.113.${i + 1}`;
      return {
        trunk: carrier,
        number: NUMBER,
        dialled: '+14155550199',
        uri: `sip:+14155550199@${host}`,
        from: '<sip:+14155550100@carrier.example>',
        to: `<sip:+14155550199@${host}>`,
        contactUser: undefined,
        headers: each.headers ?? [
          { name: 'P-Asserted-Identity', value: '<sip:+14155550100@carrier.example>' },
        ],
        nextHop: each.nextHop ?? {
          kind: 'resolve',
          destination: parseUri(`sip:${host}`)!,
          transport: 'udp',
          tls: undefined,
          route: undefined,
        },
        credentials:
          each.password === undefined ? undefined : { username: 'acme', password: new Secret(each.password) },
        expectedRealm: 'carrier.example',
        pace: {
          key: `default/${carrier.cpsKey}`,
          limit: each.limit,
          burst: 1,
          countsChallenges: each.countsChallenges ?? false,
        },
        maxDurationSeconds: each.maxDurationSeconds,
      };
    }),
    explanation: [],
  };
}

/** Addresses resolve at once to themselves; names to what `names` says, or later when `hold` is set. */
export class FakeResolver implements TargetResolver {
  readonly names = new Map<string, readonly Target[] | { kind: string; detail: string }>();
  readonly quarantined = new Map<string, number | undefined>();
  readonly released: string[] = [];
  hold = false;
  held: (() => void)[] = [];

  resolve(uri: SipUri, done: Parameters<TargetResolver['resolve']>[1]): void {
    const named = this.names.get(uri.host);
    const result = named ?? [{ transport: 'udp', address: uri.host, port: uri.port ?? 5060 } as const];
    if (this.hold) this.held.push(() => done(result));
    else done(result);
  }

  quarantine(target: Target, ms?: number): void {
    this.quarantined.set(target.address, ms);
  }

  isQuarantined(target: Target): boolean {
    return this.quarantined.has(target.address);
  }

  release(target: Target): void {
    this.released.push(target.address);
    this.quarantined.delete(target.address);
  }
}

export class Recorder implements CallObserver {
  readonly started: string[] = [];
  readonly changes: string[] = [];
  readonly records: CallRecord[] = [];

  callStarted(call: { readonly id: string }): void {
    this.started.push(call.id);
  }

  callChanged(call: { readonly state: string }, previous: string): void {
    this.changes.push(`${previous}→${call.state}`);
  }

  callEnded(record: CallRecord): void {
    this.records.push(record);
  }

  /** The only record. */
  get record(): CallRecord {
    if (this.records.length !== 1) throw new Error(`${this.records.length} records instead of one`);
    return this.records[0]!;
  }
}

export class CallHouse {
  readonly engine = new FakeEngine();
  readonly clock = new VirtualClock();
  readonly resolver = new FakeResolver();
  readonly observer = new Recorder();
  readonly errors: string[] = [];
  readonly dialled: string[] = [];
  readonly pacer = new ScriptedPacer(this.engine.misuse);
  /** Where accounts are registered. */
  readonly bindings = new Map<string, Binding>();
  readonly calls: Calls;

  constructor(settings: Partial<CallSettings> = {}) {
    const log: Logger = {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (_fields, message) => {
        this.errors.push(message);
      },
    };
    this.calls = new Calls({
      engine: this.engine,
      clock: this.clock,
      ids: new SeededIds(7),
      resolver: this.resolver,
      observer: this.observer,
      log,
      pacer: this.pacer,
      binding: (id) => this.bindings.get(id),
      dialling: (target) => this.dialled.push(target.address),
      settings,
    });
  }

  call(decision: InboundRoute = route(), lines: readonly string[] = [], body = SDP): FakeIncomingInvite {
    const invite = new FakeIncomingInvite(request('INVITE', lines, body), undefined, this.engine.misuse);
    this.calls.handleInvite(invite, decision);
    return invite;
  }

  /** An agent calls out. */
  originate(
    decision: OutboundDecision = acceptance(),
    lines: readonly string[] = [],
    body = SDP,
    more: Origination = {},
  ): FakeIncomingInvite {
    const message = request('INVITE', lines, body, 'sip:+14155550199@192.0.2.1');
    const invite = new FakeIncomingInvite(message, source('192.0.2.9'), this.engine.misuse);
    this.calls.originate(invite, decision, more);
    return invite;
  }
}
