/**
 * What is used up of what trunks and organisations may: calls in progress and calls of the day, as this process sees
 * them. Routing asks before it lets a call out. A day is one of UTC, by the wall clock.
 */
import type { Clock } from '#lib/clock.js';
import type { OutboundUsage } from '#routing/outbound-decision.js';

const DAY_MS = 86_400_000;

export class Usage implements OutboundUsage {
  readonly #clock: Clock;
  readonly #onTrunk = new Map<string, number>();
  readonly #ofOrganization = new Map<string, number>();
  readonly #trunkToday = new Map<string, number>();
  readonly #organizationToday = new Map<string, number>();
  #day = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  callsOnTrunk(trunkId: string): number {
    return this.#onTrunk.get(trunkId) ?? 0;
  }

  callsOfOrganization(organizationId: string): number {
    return this.#ofOrganization.get(organizationId) ?? 0;
  }

  callsTodayOfOrganization(organizationId: string): number {
    this.#turnDay();
    return this.#organizationToday.get(organizationId) ?? 0;
  }

  callsTodayOnTrunk(trunkId: string): number {
    this.#turnDay();
    return this.#trunkToday.get(trunkId) ?? 0;
  }

  /** A call in either direction is on a trunk, until `leaveTrunk`. */
  takeTrunk(trunkId: string): void {
    count(this.#onTrunk, trunkId);
  }

  leaveTrunk(trunkId: string): void {
    discount(this.#onTrunk, trunkId);
  }

  /** An outbound call, until `leaveOrganization`. */
  takeOrganization(organizationId: string): void {
    this.#turnDay();
    count(this.#ofOrganization, organizationId);
    count(this.#organizationToday, organizationId);
  }

  leaveOrganization(organizationId: string): void {
    discount(this.#ofOrganization, organizationId);
  }

  /** An outbound call was sent to a trunk; once for each trunk that it tried. */
  countOnTrunk(trunkId: string): void {
    this.#turnDay();
    count(this.#trunkToday, trunkId);
  }

  #turnDay(): void {
    const day = Math.floor(this.#clock.wallNow() / DAY_MS);
    if (day === this.#day) return;
    this.#day = day;
    this.#trunkToday.clear();
    this.#organizationToday.clear();
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function discount(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
