/** One of the two that a call by API joins, and the call to it: a call of the call room like any other. */
import { Call, type CallRoom } from '#call/call.js';
import type { Callee } from '#call/callee.js';
import type { CallerDialog } from '#call/caller-leg.js';
import type { CallRecord } from '#call/observer.js';
import type { CallFacts } from '#call/record.js';
import type { CallPlan } from '#call/script.js';
import type { Trunk } from '#directory/trunk.js';
import type { InDialogRequest, Target } from '#engine/engine.js';
import type { PaceRule, Ticket } from '#pacing/pacer.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { InnerLeg } from './inner-leg.js';
import type { Role } from './join.js';

/** One of the two to be called. */
export interface PartyBlueprint {
  readonly callee: Callee;
  readonly facts: CallFacts;
  /** @param leg the caller of that call */
  plan(leg: InnerLeg): CallPlan;
  /** name-addr without tag: who calls, as this side is told. */
  readonly from: Octets;
  readonly headers: readonly HeaderField[];
}

/** What concerns the whole of which a party is one side. */
export interface Whole {
  /** A party's call joins a line. */
  joinLine(call: Call, line: number, rule: PaceRule, timeoutMs: number): Ticket;
  /** A party's call shows another state. */
  sideChanged(): void;
  /** A party's call is over. */
  sideOver(party: Party, record: CallRecord): void;
}

/** The room of the call to it: the house's, but for what concerns the whole. */
export class Party implements CallRoom {
  readonly role: Role;
  readonly engine: CallRoom['engine'];
  readonly clock: CallRoom['clock'];
  readonly resolver: CallRoom['resolver'];
  readonly observer: CallRoom['observer'];
  readonly log: CallRoom['log'];
  readonly ids: CallRoom['ids'];
  /** The caller of its call. */
  leg: InnerLeg | null = null;
  call: Call | null = null;
  /** Header fields of its BYE. */
  lastWords: readonly HeaderField[] = [];
  readonly #whole: Whole;
  readonly #room: CallRoom;
  #over = false;

  constructor(whole: Whole, role: Role, room: CallRoom) {
    this.role = role;
    this.#whole = whole;
    this.#room = room;
    this.engine = room.engine;
    this.clock = room.clock;
    this.resolver = room.resolver;
    this.log = room.log;
    this.ids = room.ids;
    this.observer = { callChanged: () => whole.sideChanged(), callEnded: () => undefined };
  }

  /** It has been called, and its call is not over. */
  get live(): boolean {
    return this.call !== null && !this.#over;
  }

  /** Calls it. @param leg the caller of that call */
  dial(blueprint: PartyBlueprint, leg: InnerLeg): void {
    this.leg = leg;
    this.call = new Call(this, blueprint.plan(leg), blueprint.facts, leg, blueprint.callee);
    this.call.start();
  }

  dialling(target: Target): void {
    this.#room.dialling(target);
  }

  joinLine(call: Call, line: number, rule: PaceRule, timeoutMs: number): Ticket {
    return this.#whole.joinLine(call, line, rule, timeoutMs);
  }

  changeTrunk(from: Trunk | undefined, to: Trunk): void {
    this.#room.changeTrunk(from, to);
  }

  refer(id: string, request: InDialogRequest, dialog: CallerDialog): void {
    this.#room.refer(id, request, dialog);
  }

  slowDown(rule: PaceRule): void {
    this.#room.slowDown(rule);
  }

  callOver(_call: Call, record: CallRecord): void {
    this.#over = true;
    this.#whole.sideOver(this, record);
  }
}
