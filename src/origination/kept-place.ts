/**
 * The place in line of a call by API, from the order until its slot. It is kept before anybody is called; shortly before
 * the slot the agent is, and then the call to the telephone takes the place over. Who asked for the call hears once how
 * it stands.
 */
import type {
  PaceRefusal,
  PaceRule,
  Pacer,
  Place,
  Ticket,
  TicketEvents,
  TicketRequest,
} from '#pacing/pacer.js';

/** What became of the place in line, for who asked for the call. */
export type FirstWord =
  | { readonly kind: 'place'; readonly place: Place }
  /** It goes without waiting. */
  | { readonly kind: 'started' }
  | { readonly kind: 'refused'; readonly why: PaceRefusal };

export interface KeptPlaceOptions {
  readonly pacer: Pacer;
  /** Everything of the place but the rule and what is told of it. */
  readonly ticket: Omit<TicketRequest, 'rule' | 'timeoutMs' | 'leadMs'>;
  /** The line of the first way; undefined: none. */
  readonly rule: PaceRule | undefined;
  readonly queueTimeoutMs: number;
  /** How long before its slot the agent is called. */
  readonly leadMs: number;
}

export interface KeptPlaceEvents {
  /** The slot is `leadMs` away. */
  onPrepare(): void;
  /** It was refused, or lost, before it was taken over. */
  onRefused(why: PaceRefusal): void;
}

export class KeptPlace {
  readonly #options: KeptPlaceOptions;
  readonly #events: KeptPlaceEvents;
  /** Until it is taken over, left or lost. */
  #ticket: Ticket | null = null;
  /** Who has taken it over. */
  #heir: TicketEvents | null = null;
  #place: Place | undefined;
  #firstWord: ((word: FirstWord) => void) | null = null;
  #handedOver = false;

  constructor(options: KeptPlaceOptions, events: KeptPlaceEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** It waits, and nobody has taken it over. */
  get waits(): boolean {
    return this.#ticket !== null;
  }

  /** Where it stood last; undefined when that was never known. */
  get place(): Place | undefined {
    return this.#place;
  }

  /** Another node goes on with the call. */
  get handedOver(): boolean {
    return this.#handedOver;
  }

  /** `told` is called once, with what is known first. */
  tell(told: (word: FirstWord) => void): void {
    this.#firstWord = told;
  }

  /** Nothing is waited for any more: who has heard nothing yet hears that. */
  started(): void {
    this.#say({ kind: 'started' });
  }

  /** Joins the line. */
  join(rule: PaceRule): void {
    const { pacer } = this.#options;
    this.adopt((request, events) => pacer.enqueue(request, events), rule);
  }

  /** Goes on with a place that a dead node has left. */
  adopt(take: (request: TicketRequest, events: TicketEvents) => Ticket, rule: PaceRule): void {
    const { ticket, queueTimeoutMs, leadMs } = this.#options;
    this.#ticket = take({ ...ticket, rule, timeoutMs: queueTimeoutMs, leadMs }, this.#ticketEvents);
  }

  /**
   * The call to the telephone has somebody to talk to and joins a line: first of all the one in which the place is kept.
   * @param line counts the lines that it has joined, from 0
   * @param alone nobody was called before it, so that its first place is the one that is told of
   */
  takeOver(call: TicketEvents, line: number, rule: PaceRule, timeoutMs: number, alone: boolean): Ticket {
    const { pacer, ticket } = this.#options;
    const kept = this.#ticket;
    this.#ticket = null;
    if (kept !== null && rule.key === this.#options.rule?.key) {
      this.#heir = call;
      kept.ready();
      return kept;
    }
    // The first way could not be tried at all, and this one has a line of its own.
    kept?.cancel();
    if (line === 0 && kept === null && alone) {
      this.#heir = call;
      return pacer.enqueue({ ...ticket, rule, timeoutMs }, this.#ticketEvents);
    }
    const further = { ...ticket, id: `${ticket.id}-${line}`, payload: undefined, rule, timeoutMs };
    return pacer.enqueue(further, call);
  }

  /** The rule of its line has changed. */
  repace(rule: PaceRule): void {
    this.#ticket?.rule(rule);
  }

  leave(): void {
    this.#ticket?.cancel();
    this.#ticket = null;
  }

  /** It stays in line, where another node finds it once this one has gone. */
  leaveBehind(): void {
    this.#ticket = null;
    this.#handedOver = true;
  }

  readonly #ticketEvents: TicketEvents = {
    onPlace: (place) => {
      this.#place = place;
      this.#say({ kind: 'place', place });
      this.#heir?.onPlace?.(place);
    },
    onPrepare: () => {
      this.started();
      this.#events.onPrepare();
    },
    // Nobody is ready before it is taken over.
    onSlot: () => {
      this.started();
      return this.#heir?.onSlot() ?? false;
    },
    onRefused: (why) => {
      this.#say({ kind: 'refused', why });
      this.#ticket = null;
      this.#handedOver ||= why === 'taken_over';
      if (this.#heir !== null) this.#heir.onRefused(why);
      else this.#events.onRefused(why);
    },
  };

  #say(word: FirstWord): void {
    const told = this.#firstWord;
    this.#firstWord = null;
    told?.(word);
  }
}
