/**
 * A telephone as the side that is called: each route of an outbound decision is a way, paced by its trunk's key and
 * answering its trunk's challenges.
 */
import type { ChallengeMemory } from '#auth/challenge-memory.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Trunk } from '#directory/trunk.js';
import type { OutgoingInviteOptions, Target } from '#engine/engine.js';
import type { PaceRule } from '#pacing/pacer.js';
import type { OutboundRoute } from '#routing/outbound-decision.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { Callee, InviteDraft, Login, NoTargets } from './callee.js';
import { allowFor, ORIGINATE, relayed, requireFor, supportedFor } from './header-policy.js';
import type { TargetResolver } from './target-resolver.js';

/** Where an account is registered now. */
export interface Binding {
  readonly target: Target;
  readonly route: readonly Octets[];
}

export interface ProviderRoom {
  readonly resolver: TargetResolver;
  /** Undefined: the account is not registered any more. */
  readonly binding: (registrationId: string) => Binding | undefined;
  /** What servers of this trunk have asked. */
  memory(trunkId: string): ChallengeMemory;
  readonly maxQueued: number;
  readonly maxChallenges: number;
  /** The call may not go on by this trunk, which it has not been on before. */
  isFull(trunk: Trunk): boolean;
}

export class ProviderCallee implements Callee {
  readonly #room: ProviderRoom;
  readonly #routes: readonly OutboundRoute[];

  constructor(room: ProviderRoom, routes: readonly OutboundRoute[]) {
    this.#room = room;
    this.#routes = routes;
  }

  label(way: number): Octets {
    return this.#routes[way]!.uri;
  }

  trunk(way: number): Trunk {
    return this.#routes[way]!.trunk;
  }

  number(way: number): PhoneNumber {
    return this.#routes[way]!.number;
  }

  resolve(way: number, done: (result: readonly Target[] | NoTargets) => void): void {
    const { nextHop, trunk } = this.#routes[way]!;
    // The decision looked at the first alone, and the others may have filled up since.
    if (way > 0 && this.#room.isFull(trunk)) {
      done({ detail: `trunk ${trunk.id} carries as many calls as it may`, code: 'trunk_capacity' });
      return;
    }
    if (nextHop.kind === 'resolve') {
      const { destination, transport, tls } = nextHop;
      this.#room.resolver.resolve(destination, done, { transport, tls });
      return;
    }
    const binding = this.#room.binding(nextHop.registrationId);
    if (binding === undefined) {
      done({ detail: `trunk ${trunk.id} is not registered any more`, code: 'trunk_unregistered' });
    } else done([binding.target]);
  }

  invite(way: number, draft: InviteDraft): OutgoingInviteOptions {
    const route = this.#routes[way]!;
    const { request } = draft;
    const headers: HeaderField[] = [];
    const own = new Set(route.headers.map(({ name }) => name.toLowerCase()));
    relayed(request, ORIGINATE, headers, null, own);
    headers.push({ name: 'Allow', value: allowFor(request.headers, false) });
    const supported = supportedFor(request.headers, draft.reliable);
    if (supported !== '') headers.push({ name: 'Supported', value: supported });
    const required = requireFor(request.headers);
    if (required !== '') headers.push({ name: 'Require', value: required });
    for (const field of route.headers) headers.push(field);
    return {
      uri: route.uri,
      target: draft.target,
      from: route.from,
      to: route.to,
      contactUser: route.contactUser,
      route: this.#preloaded(route),
      maxForwards: Math.min(request.maxForwards - 1, draft.maxForwards),
      headers,
      body: request.body === '' ? undefined : request.body,
      timeoutMs: draft.timeoutMs,
    };
  }

  login(way: number): Login {
    const { trunk, credentials, expectedRealm } = this.#routes[way]!;
    return {
      credentials,
      expectedRealm,
      memory: this.#room.memory(trunk.id),
      mostChallenges: this.#room.maxChallenges,
    };
  }

  pace(way: number): PaceRule | undefined {
    return paceRule(this.#routes[way]!, this.#room.maxQueued);
  }

  #preloaded({ nextHop }: OutboundRoute): readonly Octets[] | undefined {
    if (nextHop.kind === 'resolve') return nextHop.route;
    return this.#room.binding(nextHop.registrationId)?.route ?? nextHop.route;
  }
}

/** Undefined: calls by this route are not paced. */
export function paceRule({ pace }: OutboundRoute, maxQueued: number): PaceRule | undefined {
  const { key, limit, burst } = pace;
  return limit === undefined ? undefined : { key, limit, burst, maxQueued };
}

/** What keys allow now: the directory, or what stands for it. */
export type CpsLines = Pick<Snapshot, 'cpsLine'>;

/** The rule of a call that waits, as the directory has it now; undefined: nobody says any more, and the old one stays. */
export function presentRule(lines: CpsLines, trunk: Trunk | undefined, rule: PaceRule): PaceRule | undefined {
  const line = trunk === undefined ? undefined : lines.cpsLine(trunk.organizationId, trunk.cpsKey);
  return line?.limit === undefined ? undefined : { ...rule, limit: line.limit, burst: line.burst };
}
