/**
 * The ways that registrations have taken, each watched once for all who share it, and what a failure on one of them
 * means for the others.
 */
import type { Engine, RequestOutcome, Target } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import { targetKey as keyOf } from '#targets/resolver.js';
import { Watch, type WatchParts } from './keep-alive.js';
import type { RegistrarResolver } from './registrar-resolver.js';
import type { Registration } from './registration.js';
import { type WatchedWay, wayOf } from './target-view.js';

export interface WaysParts extends Omit<WatchParts, 'engine' | 'onHealth'> {
  readonly engine: Pick<Engine, 'request' | 'keepAlive' | 'closeFlow'>;
  readonly resolver: RegistrarResolver;
}

const FLOWS_REMEMBERED = 10_000;

export class Ways {
  readonly #parts: WaysParts;
  readonly #watchParts: WatchParts;
  readonly #watches = new Map<string, Watch>();
  readonly #watchByFlow = new Map<number, Watch>();
  /** Last connection that an answer came by, per target: a half-open one can then be closed. */
  readonly #flows = new BoundedMap<string, number>(FLOWS_REMEMBERED);

  constructor(parts: WaysParts) {
    this.#parts = parts;
    const { engine, clock, random, resolver } = parts;
    this.#watchParts = {
      engine,
      clock,
      random,
      onHealth: ({ health, target, members }) => {
        if (health !== 'down') resolver.release(target);
        // Who is registered there asks with a REGISTER first: servers that ignore OPTIONS are not down.
        else if (members.size === 0) resolver.quarantine(target);
      },
    };
  }

  /** For `targetViews`. */
  *all(): Iterable<WatchedWay> {
    for (const watch of this.#watches.values()) {
      yield wayOf(watch, this.#parts.clock, [...watch.members, ...watch.waiting] as Registration[]);
    }
  }

  /** The connection is gone, and its watch with it; undefined when none of ours used it. */
  closed(flow: number): Watch | undefined {
    const watch = this.#watchByFlow.get(flow);
    if (watch === undefined) return undefined;
    this.#watchByFlow.delete(flow);
    this.#watches.delete(watch.key);
    watch.close();
    return watch;
  }

  /** An answer came from there, by this connection (0 over UDP). */
  reached(target: Target, flow: number): void {
    this.#parts.resolver.release(target);
    if (flow !== 0) this.#flows.set(keyOf(target), flow);
  }

  /**
   * A request on a connection that was there already has failed: the next one goes by a new connection, at once. What
   * the server says is known only after that.
   */
  flowIsDead(target: Target, { fault }: Extract<RequestOutcome, { kind: 'fault' }>): boolean {
    const { flow } = target;
    if (flow === undefined || (fault.kind !== 'timeout' && fault.kind !== 'flow-lost')) return false;
    if (fault.kind === 'timeout' && fault.connecting === true) return false;
    // Others hear of it by `connection-closed`.
    if (fault.kind === 'timeout') this.#parts.engine.closeFlow?.(flow, 'no answer to REGISTER');
    return true;
  }

  /** No answer. The way there is in doubt, for others too when they doubted it already. */
  missed(
    registration: Registration,
    target: Target,
    { fault }: Extract<RequestOutcome, { kind: 'fault' }>,
    more: boolean,
  ): void {
    if (fault.kind === 'capacity' || fault.kind === 'engine-down') return;
    const { engine, resolver } = this.#parts;
    resolver.quarantine(target);
    registration.flow = 0;
    const key = keyOf(target);
    // Whoever is told first that the server is back, when nobody else is left to ask. Before the old watch is left:
    // over UDP it is the same one, and it knows whether the server was away.
    if (!more && registration.machine.wanted) {
      const first = registration.targets[0] ?? target;
      const away = this.#watchOf(keyOf(first), { ...first, flow: undefined });
      away.waiting.add(registration);
      if (registration.watch !== away) this.leave(registration);
      else away.members.delete(registration);
      registration.watch = away;
      away.lost(fault.kind === 'refused' || fault.kind === 'unreachable');
    } else this.leave(registration);
    if (target.transport === 'udp') this.#doubt(key);
    else if (fault.kind === 'timeout') {
      const flow = target.flow ?? this.#flows.get(key);
      // Its members hear of it by `connection-closed`.
      if (flow !== undefined) engine.closeFlow?.(flow, 'no answer to REGISTER');
    }
  }

  /** OPTIONS went unanswered, and now a REGISTER: whoever is registered there looks for another way. */
  #doubt(key: string): void {
    const watch = this.#watches.get(key);
    if (watch === undefined || !watch.doubtful) return;
    for (const member of [...watch.members]) member.urge();
  }

  /** It is registered there, by this connection (0 over UDP). */
  join(registration: Registration, target: Target, flow: number): void {
    const key = flow === 0 ? keyOf(target) : `${keyOf(target)} ${flow}`;
    if (registration.watch?.key !== key || !registration.watch.members.has(registration)) {
      this.leave(registration);
      const watch = this.#watchOf(key, { ...target, flow: flow === 0 ? undefined : flow });
      if (flow !== 0) this.#watchByFlow.set(flow, watch);
      watch.join(registration);
      registration.watch = watch;
    }
    registration.live = registration.watch!.target;
    registration.watch!.confirmed();
  }

  #watchOf(key: string, target: Target): Watch {
    let watch = this.#watches.get(key);
    if (watch === undefined) {
      watch = new Watch(this.#watchParts, key, target);
      this.#watches.set(key, watch);
    }
    return watch;
  }

  leave(registration: Registration): void {
    const { watch } = registration;
    if (watch === null) return;
    registration.watch = null;
    watch.members.delete(registration);
    watch.waiting.delete(registration);
    if (!watch.idle) return;
    watch.close();
    this.#watches.delete(watch.key);
    const { flow } = watch.target;
    if (flow !== undefined) this.#watchByFlow.delete(flow);
  }
}
