/**
 * Asks the servers of trunks that do not register whether they are there, where the trunk's `optionsPing` says so. Who
 * stays silent `failAfter` times is tried last by calls, until it has answered `okAfter` times.
 */
import { type Server, serverOf } from '#directory/server.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { Trunk } from '#directory/trunk.js';
import type { Target } from '#engine/engine.js';
import { CallbackTimer } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import { hostPort } from '#sip/uri.js';
import { targetKey } from '#targets/resolver.js';
import { sameTls } from './accounts.js';
import { type Traveller, Watch, type WatchParts } from './keep-alive.js';
import type { RegistrarResolver } from './registrar-resolver.js';
import { type WatchedWay, wayOf } from './target-view.js';

export interface TrunkHealthOptions extends Omit<WatchParts, 'onHealth'> {
  readonly resolver: RegistrarResolver;
  /** OPTIONS go to this address: what comes from it is no stranger's. */
  readonly dialling?: ((address: string) => void) | undefined;
}

/** How often the names of servers are asked for again. The resolver remembers them as long as the DNS says. */
const RESOLVE_MS = 60_000;
/** Of one name; more are not watched. */
const TARGETS_MAX = 16;

/** A trunk on its way to its servers. */
class Pinged implements Traveller {
  readonly trunk: Trunk;
  readonly server: Server;
  readonly watches = new Set<Watch>();

  constructor(trunk: Trunk) {
    this.trunk = trunk;
    this.server = serverOf(trunk);
  }

  get aor(): Octets {
    return `sip:trunkline@${hostPort(this.server.domain)}`;
  }

  get registrar(): Octets {
    return this.server.registrar;
  }

  get ping(): Trunk['optionsPing'] {
    return this.trunk.optionsPing;
  }

  get organizationId(): string {
    return this.trunk.organizationId;
  }

  get trunkIds(): readonly string[] {
    return [this.trunk.id];
  }

  /** There is no binding to renew. */
  urge(): void {}
}

export class TrunkHealth {
  readonly #options: TrunkHealthOptions;
  readonly #parts: WatchParts;
  readonly #byTrunk = new Map<string, Pinged>();
  readonly #watches = new Map<string, Watch>();
  readonly #again = new CallbackTimer(() => this.#resolveAll());
  #stopped = false;

  constructor(options: TrunkHealthOptions) {
    this.#options = options;
    const { engine, clock, random, resolver } = options;
    this.#parts = {
      engine,
      clock,
      random,
      onHealth: ({ health, target }) => {
        if (health === 'down') resolver.quarantine(target);
        else resolver.release(target);
      },
    };
  }

  /** Watches what the directory wants and is not watched, and no longer what it no longer wants. */
  apply(snapshot: Snapshot): void {
    if (this.#stopped) return;
    const registering = new Set<string>();
    for (const number of snapshot.registeringNumbers()) registering.add(number.credentialsId);
    const wanted = new Map<string, Trunk>();
    for (const trunk of snapshot.trunks()) {
      if (trunk.optionsPing !== undefined && !registering.has(trunk.id)) wanted.set(trunk.id, trunk);
    }
    for (const [id, pinged] of this.#byTrunk) {
      // Compiled anew it is another object: begun anew, only where something about it has changed.
      const trunk = wanted.get(id);
      if (trunk === undefined || !isSame(pinged, trunk)) this.#forget(id, pinged);
    }
    for (const trunk of wanted.values()) {
      if (this.#byTrunk.has(trunk.id)) continue;
      const pinged = new Pinged(trunk);
      this.#byTrunk.set(trunk.id, pinged);
      this.#resolve(pinged);
    }
    const { clock } = this.#options;
    if (this.#byTrunk.size === 0) clock.disarm(this.#again);
    else if (!this.#again.armed) clock.arm(this.#again, RESOLVE_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.disarm(this.#again);
    for (const [id, pinged] of [...this.#byTrunk]) this.#forget(id, pinged);
  }

  /** What is watched here, for `targetViews`. */
  *ways(): Iterable<WatchedWay> {
    const { clock } = this.#options;
    for (const watch of this.#watches.values()) {
      yield wayOf(watch, clock, [...watch.members] as Pinged[]);
    }
  }

  #resolveAll(): void {
    for (const pinged of this.#byTrunk.values()) this.#resolve(pinged);
    this.#options.clock.arm(this.#again, RESOLVE_MS);
  }

  #resolve(pinged: Pinged): void {
    const { trunk, server } = pinged;
    this.#options.resolver.resolve(
      server.destination,
      (result) => {
        // While the DNS fails what is known is watched on.
        if ('kind' in result || this.#byTrunk.get(trunk.id) !== pinged) return;
        const watches = new Set(result.slice(0, TARGETS_MAX).map((target) => this.#watch(pinged, target)));
        for (const watch of pinged.watches) if (!watches.has(watch)) this.#leave(pinged, watch);
      },
      { transport: trunk.transport, tls: server.tls },
    );
  }

  #watch(pinged: Pinged, target: Target): Watch {
    // TLS by other rules is another way.
    const key = target.transport === 'tls' ? `${targetKey(target)} ${pinged.trunk.id}` : targetKey(target);
    let watch = this.#watches.get(key);
    if (watch === undefined) {
      watch = new Watch(this.#parts, key, target);
      this.#watches.set(key, watch);
    }
    this.#options.dialling?.(target.address);
    if (!watch.members.has(pinged)) {
      pinged.watches.add(watch);
      watch.join(pinged);
    }
    return watch;
  }

  #forget(id: string, pinged: Pinged): void {
    this.#byTrunk.delete(id);
    for (const watch of [...pinged.watches]) this.#leave(pinged, watch);
  }

  #leave(pinged: Pinged, watch: Watch): void {
    pinged.watches.delete(watch);
    watch.members.delete(pinged);
    if (!watch.idle) return;
    watch.close();
    this.#watches.delete(watch.key);
    if (watch.health === 'down') this.#options.resolver.release(watch.target);
  }
}

/** The same servers are asked in the same way. */
function isSame(pinged: Pinged, trunk: Trunk): boolean {
  const { server } = pinged;
  const next = serverOf(trunk);
  const [a, b] = [pinged.trunk.optionsPing, trunk.optionsPing];
  return (
    pinged.trunk.organizationId === trunk.organizationId &&
    pinged.trunk.transport === trunk.transport &&
    server.lane === next.lane &&
    server.registrar === next.registrar &&
    sameTls(server.tls, next.tls) &&
    a?.intervalSeconds === b?.intervalSeconds &&
    a?.failAfter === b?.failAfter &&
    a?.okAfter === b?.okAfter
  );
}
