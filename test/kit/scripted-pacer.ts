/** A pacer that is a script: a test says when a slot comes, and reads what became of it. For rooms above the port. */
import type {
  LineView,
  Orphan,
  PaceRefusal,
  PaceRule,
  Pacer,
  Place,
  Ticket,
  TicketEvents,
  TicketRequest,
} from '#pacing/pacer.js';

export class ScriptedTicket implements Ticket {
  readonly id: string;
  readonly request: TicketRequest;
  place: Place | undefined;
  cancelled = false;
  /** It may be given its slot: the call it keeps the place for has somebody to talk to. */
  isReady: boolean;
  /** Rules that it was told of since it joined. */
  readonly rules: PaceRule[] = [];
  /** What became of the slot: it was used, or the line said no. */
  over = false;
  used = false;
  readonly #events: TicketEvents;
  readonly #misuse: string[];

  constructor(request: TicketRequest, events: TicketEvents, misuse: string[]) {
    this.id = request.id;
    this.request = request;
    this.isReady = request.leadMs === undefined;
    this.#events = events;
    this.#misuse = misuse;
  }

  get waits(): boolean {
    return !this.cancelled && !this.over;
  }

  ready(): void {
    if (this.request.leadMs === undefined) this.#misuse.push('ready of a ticket without leadMs');
    this.isReady = true;
  }

  cancel(): void {
    this.cancelled = true;
  }

  rule(rule: PaceRule): void {
    this.rules.push(rule);
  }

  // What the line does.

  at(position: number, waitMs: number): void {
    this.place = { position, waitMs };
    this.#events.onPlace?.(this.place);
  }

  /** Its slot is `leadMs` away. */
  prepare(): void {
    if (this.request.leadMs === undefined) throw new Error('a ticket without leadMs is not told to prepare');
    this.#events.onPrepare?.();
  }

  /** Whether the slot was used. */
  slot(): boolean {
    if (this.over) throw new Error('a slot for a ticket that is over');
    this.used = this.#events.onSlot();
    this.over = this.used;
    return this.used;
  }

  refuse(why: PaceRefusal): void {
    if (this.over) throw new Error('a refusal for a ticket that is over');
    this.over = true;
    this.#events.onRefused(why);
  }
}

export class ScriptedPacer implements Pacer {
  shared = false;
  readonly tickets: ScriptedTicket[] = [];
  readonly slowed: PaceRule[] = [];
  onOrphan: ((orphan: Orphan) => void) | undefined;
  readonly #misuse: string[];

  /** @param misuse gets what the port forbids */
  constructor(misuse: string[]) {
    this.#misuse = misuse;
  }

  enqueue(request: TicketRequest, events: TicketEvents): Ticket {
    if (this.tickets.some(({ id }) => id === request.id)) this.#misuse.push(`ticket ${request.id} twice`);
    const ticket = new ScriptedTicket(request, events, this.#misuse);
    this.tickets.push(ticket);
    return ticket;
  }

  slowDown(rule: PaceRule): void {
    this.slowed.push(rule);
  }

  line(): Promise<LineView> {
    throw new Error('not scripted');
  }

  health(): { readonly ok: boolean; readonly detail: string } {
    return { ok: true, detail: '' };
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /** The newest ticket. */
  get last(): ScriptedTicket {
    const ticket = this.tickets.at(-1);
    if (ticket === undefined) throw new Error('no call stands in line');
    return ticket;
  }
}
