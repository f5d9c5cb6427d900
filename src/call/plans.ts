/** What a call keeps to, from the settings and from what trunk and agent say otherwise. */
import type { Agent } from '#directory/agent.js';
import type { Trunk } from '#directory/trunk.js';
import type { OutboundRoute } from '#routing/outbound-decision.js';
import type { CallerLeg } from './caller-leg.js';
import { failoverSet } from './hunt.js';
import type { CallPlan, WayRules } from './script.js';
import { type CallSettings, DEFAULT_CALL_SETTINGS } from './settings.js';

/** What a call to a telephone may ask for itself. */
export interface CalleeWishes {
  /** Default the setting. */
  readonly queueTimeoutMs?: number | undefined;
  /** Default the first trunk's, else the setting. */
  readonly ringTimeoutMs?: number | undefined;
}

export class Planner {
  #settings: CallSettings;
  #failover: ReadonlySet<number>;

  constructor(settings: Partial<CallSettings> = {}) {
    this.#settings = { ...DEFAULT_CALL_SETTINGS, ...settings };
    this.#failover = failoverSet(this.#settings.failoverStatuses);
  }

  get settings(): CallSettings {
    return this.#settings;
  }

  configure(settings: Partial<CallSettings>): void {
    this.#settings = { ...DEFAULT_CALL_SETTINGS, ...settings };
    this.#failover = failoverSet(this.#settings.failoverStatuses);
  }

  /**
   * A call to an agent.
   * @param trunk by which the other side is reached
   * @param endpoints their number
   */
  toAgent(caller: CallerLeg, agent: Agent, trunk: Trunk, endpoints: number): CallPlan {
    const settings = this.#settings;
    const ringSeconds = agent.ringTimeoutSeconds ?? trunk.ringTimeoutSeconds;
    return {
      called: 'agent',
      ways: endpoints,
      maxAttempts: Number.MAX_SAFE_INTEGER,
      rules: null,
      queueTimeoutMs: 0,
      ringTimeoutMs: ringSeconds === undefined ? settings.ringTimeoutMs : ringSeconds * 1000,
      setupTimeoutMs: settings.setupTimeoutMs,
      attemptTimeoutMs: settings.attemptTimeoutMs,
      maxDurationMs:
        trunk.maxDurationSeconds === undefined ? settings.maxDurationMs : trunk.maxDurationSeconds * 1000,
      failoverStatuses: this.#failoverOf(trunk),
      maxForwards: settings.maxForwards,
      agentRefers: settings.acceptRefer,
      delayedOffer: caller.request.body === '',
      callerReliable: caller.supportsReliable,
      callerRequiresReliable: caller.requiresReliable,
    };
  }

  /** A call to a telephone. */
  toCallee(caller: CallerLeg, routes: readonly OutboundRoute[], wishes: CalleeWishes): CallPlan {
    const settings = this.#settings;
    const ringSeconds = routes[0]!.trunk.ringTimeoutSeconds;
    return {
      called: 'callee',
      ways: routes.length,
      maxAttempts: settings.maxAttempts,
      rules: routes.map((route) => this.#rulesOf(route)),
      queueTimeoutMs: wishes.queueTimeoutMs ?? settings.queueTimeoutMs,
      ringTimeoutMs:
        wishes.ringTimeoutMs ??
        (ringSeconds === undefined ? settings.calleeRingTimeoutMs : ringSeconds * 1000),
      setupTimeoutMs: settings.setupTimeoutMs,
      attemptTimeoutMs: settings.attemptTimeoutMs,
      maxDurationMs: 0,
      failoverStatuses: this.#failover,
      maxForwards: settings.maxForwards,
      agentRefers: settings.acceptRefer,
      delayedOffer: caller.request.body === '',
      callerReliable: caller.supportsReliable,
      callerRequiresReliable: caller.requiresReliable,
    };
  }

  #rulesOf({ trunk, pace, maxDurationSeconds }: OutboundRoute): WayRules {
    const paced = pace.limit !== undefined;
    const longest = maxDurationSeconds === undefined ? 0 : maxDurationSeconds * 1000;
    const { maxDurationMs } = this.#settings;
    return {
      paced,
      countsChallenges: paced && pace.countsChallenges,
      heedsRefusals: paced && this.#settings.heedPaceRefusals,
      failoverStatuses: this.#failoverOf(trunk),
      maxDurationMs:
        longest === 0 ? maxDurationMs : maxDurationMs === 0 ? longest : Math.min(longest, maxDurationMs),
    };
  }

  #failoverOf({ failoverStatuses }: Trunk): ReadonlySet<number> {
    return failoverStatuses === undefined ? this.#failover : failoverOf(failoverStatuses);
  }
}

const failovers = new WeakMap<readonly number[], ReadonlySet<number>>();

function failoverOf(statuses: readonly number[]): ReadonlySet<number> {
  let set = failovers.get(statuses);
  if (set === undefined) {
    set = failoverSet(statuses);
    failovers.set(statuses, set);
  }
  return set;
}
