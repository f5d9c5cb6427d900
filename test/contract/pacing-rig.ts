/** What the suite of pacers needs of an implementation, and calls that write down what they are told. */

import type { PaceObserver } from '#pacing/observer.js';
import type { SlowDown } from '#pacing/pace.js';
import type {
  PaceRefusal,
  PaceRule,
  Pacer,
  Place,
  Ticket,
  TicketEvents,
  TicketRequest,
} from '#pacing/pacer.js';

export interface PacingRig {
  /** A pacer of a node of its own; those of one rig share their lines where the implementation does. */
  open(options?: { readonly slowDown?: SlowDown | null; readonly observer?: PaceObserver }): Promise<Pacer>;
  /** Milliseconds, on the scale on which moments of INVITEs are compared. */
  now(): number;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
  /** Lets time pass until the condition holds; throws with `what` after `limitMs`. */
  until(what: string, condition: () => boolean, limitMs: number): Promise<void>;
  close(): Promise<void>;
}

let lines = 0;

/** A line of its own for each test. */
export function ruleOf(limit: number, more: Partial<PaceRule> = {}): PaceRule {
  lines++;
  return { key: `default/line-${process.pid}-${lines}`, limit, burst: 1, maxQueued: 100_000, ...more };
}

export interface Heard {
  readonly call: FakeCall;
  readonly what: 'place' | 'prepare' | 'slot' | 'refused';
  readonly at: number;
}

/** A call that waits for its slot and writes down what it hears. */
export class FakeCall implements TicketEvents {
  readonly heard: Heard['what'][] = [];
  readonly places: Place[] = [];
  readonly ticket: Ticket;
  slotAt: number | undefined;
  preparedAt: number | undefined;
  refusal: PaceRefusal | undefined;
  /** What it says to slots. */
  sends = true;
  onPrepared: (() => void) | undefined;
  readonly id: string;
  readonly joinedAt: number;
  readonly #rig: PacingRig;
  #joining = true;

  constructor(rig: PacingRig, pacer: Pacer, rule: PaceRule, more: Partial<TicketRequest> = {}) {
    this.#rig = rig;
    this.id = more.id ?? `call-${process.pid}-${++calls}`;
    this.joinedAt = rig.now();
    this.ticket = pacer.enqueue({ id: this.id, rule, priority: 5, timeoutMs: 60_000, ...more }, this);
    this.#joining = false;
  }

  onPlace(place: Place): void {
    this.#hear('place');
    this.places.push(place);
  }

  onPrepare(): void {
    this.#hear('prepare');
    this.preparedAt = this.#rig.now();
    this.onPrepared?.();
  }

  onSlot(): boolean {
    this.#hear('slot');
    if (this.sends) this.slotAt = this.#rig.now();
    return this.sends;
  }

  onRefused(why: PaceRefusal): void {
    this.#hear('refused');
    this.refusal = why;
  }

  get sent(): boolean {
    return this.slotAt !== undefined;
  }

  #hear(what: Heard['what']): void {
    if (this.#joining) throw new Error(`${what} from inside enqueue`);
    if (this.sent || this.refusal !== undefined) throw new Error(`${what} after the end`);
    this.heard.push(what);
  }
}

let calls = 0;

/** The most INVITEs in any stretch of so many milliseconds, both ends belonging to it. */
export function mostWithin(moments: readonly number[], ms: number): number {
  const sorted = [...moments].sort((a, b) => a - b);
  let most = 0;
  let first = 0;
  for (let last = 0; last < sorted.length; last++) {
    while (sorted[last]! - sorted[first]! > ms) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

export function moments(sent: readonly FakeCall[]): number[] {
  return sent.map(({ slotAt }) => slotAt).filter((at) => at !== undefined);
}

/** Those that were sent, in the order in which they were. */
export function inOrder(all: readonly FakeCall[]): FakeCall[] {
  return all.filter(({ sent }) => sent).sort((a, b) => a.slotAt! - b.slotAt!);
}
