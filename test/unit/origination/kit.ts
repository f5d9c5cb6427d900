/** Originated calls on a scripted engine and a scripted line, with a clock that stands still. */
import { Calls } from '#call/calls.js';
import { SeededIds } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { CallOrder } from '#origination/order.js';
import { type OrderedCall, type OrderRefusal, Originations } from '#origination/originations.js';
import type { OutboundAcceptance, OutboundDecision, OutboundRoute } from '#routing/outbound-decision.js';
import { FakeEngine, type FakeOutgoingInvite } from '../../kit/fake-engine.js';
import { ScriptedPacer } from '../../kit/scripted-pacer.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { agent, FakeResolver, Recorder, trunk } from '../call/kit.js';

export function way(more: Partial<OutboundRoute> = {}, limit: number | undefined = 10): OutboundRoute {
  const by = more.trunk ?? trunk();
  return {
    trunk: by,
    number: {
      id: 'number-1',
      organizationId: 'default',
      source: 'config',
      phoneNumber: '+14155550100',
      normalised: '+14155550100',
      credentialsId: by.id,
      inboundAgentId: undefined,
      transferTrunkId: undefined,
      displayName: undefined,
      description: undefined,
      registration: false,
    },
    dialled: '+12125550199',
    uri: 'sip:+12125550199@198.51.100.9',
    from: '"Acme" <sip:+14155550100@carrier.example>',
    to: '<sip:+12125550199@198.51.100.9>',
    contactUser: undefined,
    headers: [],
    nextHop: {
      kind: 'registered',
      registrationId: 'r',
      target: { transport: 'udp', address: '198.51.100.9', port: 5060 },
      route: undefined,
    },
    credentials: undefined,
    expectedRealm: undefined,
    pace: { key: `default/${by.cpsKey}`, limit, burst: 1, countsChallenges: false },
    maxDurationSeconds: undefined,
    ...more,
  };
}

const ORDER: CallOrder = { organizationId: 'default', agentId: 'sales', to: '+12125550199' };

/** Where agents and the provider are, as the gateway addresses them. */
export const AGENT = 'sip:agent@192.0.2.9:5090';

export class OriginationHouse {
  readonly engine = new FakeEngine();
  readonly clock = new VirtualClock();
  readonly observer = new Recorder();
  readonly pacer = new ScriptedPacer(this.engine.misuse);
  readonly errors: string[] = [];
  readonly calls: Calls;
  readonly originations: Originations;
  /** What routing says; tests change it. */
  decision: OutboundDecision = this.acceptance([way()]);

  constructor() {
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
      resolver: new FakeResolver(),
      observer: this.observer,
      log,
      pacer: this.pacer,
      binding: () => ({ target: { transport: 'udp', address: '198.51.100.9', port: 5060 }, route: [] }),
    });
    this.originations = new Originations({
      calls: this.calls,
      pacer: this.pacer,
      decide: () => this.decision,
      random: () => 0.5,
    });
  }

  acceptance(
    routes: readonly OutboundRoute[],
    changes: Parameters<typeof agent>[0] = {},
  ): OutboundAcceptance {
    return {
      kind: 'route',
      organizationId: 'default',
      agent: agent({ endpoints: [{ uri: AGENT, priority: 0, weight: 1 }], ...changes }),
      callee: '+12125550199',
      routes,
      explanation: [],
    };
  }

  place(order: Partial<CallOrder> = {}): Promise<OrderedCall | OrderRefusal> {
    return this.originations.place({ ...ORDER, ...order });
  }

  /** INVITEs to the agent, in order. */
  get agents(): FakeOutgoingInvite[] {
    return this.engine.invites.filter(({ options }) => options.uri.includes('agent'));
  }

  /** INVITEs to the provider, in order. */
  get provider(): FakeOutgoingInvite[] {
    return this.engine.invites.filter(({ options }) => !options.uri.includes('agent'));
  }

  /** Fails when something was done that a peer or a promise forbids, or is left. */
  expectClean(): void {
    const faults = [...this.engine.misuse, ...this.errors];
    const live = this.calls.activeCount;
    const timers = this.clock.armedCount;
    const left = this.engine.invites.filter(
      ({ pending, dialog }) => pending || dialog?.alive === true,
    ).length;
    if (faults.length > 0 || live > 0 || timers > 0 || left > 0) {
      throw new Error(`faults ${faults.join('; ')}, live ${live}, timers ${timers}, legs left ${left}`);
    }
  }
}
