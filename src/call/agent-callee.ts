/** A voice agent as the side that is called: its endpoints are the ways, nothing is paced, no challenge is answered. */
import type { OutgoingInviteOptions, Target } from '#engine/engine.js';
import type { InboundRoute } from '#routing/decision.js';
import { agentInvite, endpointAddress } from './agent-invite.js';
import type { Callee, InviteDraft, NoTargets } from './callee.js';
import type { TargetResolver } from './target-resolver.js';

export class AgentCallee implements Callee {
  readonly #route: Pick<InboundRoute, 'trunk' | 'agent' | 'did' | 'endpoints'>;
  readonly #resolver: TargetResolver;

  constructor(route: Pick<InboundRoute, 'trunk' | 'agent' | 'did' | 'endpoints'>, resolver: TargetResolver) {
    this.#route = route;
    this.#resolver = resolver;
  }

  label(way: number): string {
    return this.#route.endpoints[way]!.uri;
  }

  trunk(): undefined {
    return undefined;
  }

  number(): undefined {
    return undefined;
  }

  resolve(way: number, done: (result: readonly Target[] | NoTargets) => void): void {
    const address = endpointAddress(this.label(way));
    if (address === null) done(NO_SIP_URI);
    else this.#resolver.resolve(address.uri, done);
  }

  invite(way: number, draft: InviteDraft): OutgoingInviteOptions {
    const { trunk, agent, did } = this.#route;
    return agentInvite({
      draft,
      trunkId: trunk.id,
      relayHeaders: trunk.relayHeaders,
      agent,
      did,
      address: endpointAddress(this.label(way))!,
    });
  }

  login(): undefined {
    return undefined;
  }

  pace(): undefined {
    return undefined;
  }
}

const NO_SIP_URI: NoTargets = { detail: 'not a SIP URI' };
