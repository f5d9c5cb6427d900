/**
 * A call in a line, as this node holds it: the same for every pacer. It owns the timer of its time-out, and tells its
 * place when that is worth it.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Place, TicketEvents, TicketRequest } from './pacer.js';

/** The place is told at most so often. */
const PLACE_MS = 1_000;
/** Far back, a change of less than this part of the wait is not worth telling. */
const MARKED = 0.05;

export class LiveTicket {
  readonly id: string;
  readonly request: TicketRequest;
  readonly events: TicketEvents;
  readonly joinedAt: number;
  /** False while its call is not ready to send: see `leadMs`. */
  isReady: boolean;
  /** Over: nothing may be called any more. */
  ended = false;
  readonly #clock: Clock;
  readonly #timeout: CallbackTimer;
  #prepared = false;
  #place: Place | undefined;
  #placedAt = 0;
  #told: Place | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(
    clock: Clock,
    request: TicketRequest,
    events: TicketEvents,
    onTimeout: (ticket: LiveTicket) => void,
  ) {
    this.id = request.id;
    this.request = request;
    this.events = events;
    this.joinedAt = clock.now();
    this.isReady = request.leadMs === undefined;
    this.#clock = clock;
    this.#timeout = new CallbackTimer(() => onTimeout(this));
    clock.arm(this.#timeout, request.timeoutMs);
  }

  /** Where it stands now: what was last known, and the time that has passed since. */
  get place(): Place | undefined {
    if (this.#place === undefined) return undefined;
    const { position, waitMs } = this.#place;
    return { position, waitMs: Math.max(0, waitMs - (this.#clock.now() - this.#placedAt)) };
  }

  /** It became known where it stands. Calls `onPlace` where it is due. */
  placed(place: Place): void {
    const now = this.#clock.now();
    this.#place = place;
    this.#placedAt = now;
    if (this.ended || now - this.#toldAt < PLACE_MS || !this.#isNews(place, now)) return;
    this.#told = place;
    this.#toldAt = now;
    this.events.onPlace?.(place);
  }

  get prepared(): boolean {
    return this.#prepared;
  }

  /** Its slot is near: calls `onPrepare`, unless it has been told or is ready. */
  prepare(): void {
    if (this.#prepared || this.isReady || this.ended) return;
    this.#prepared = true;
    this.events.onPrepare?.();
  }

  end(): void {
    this.ended = true;
    this.#clock.disarm(this.#timeout);
  }

  #isNews(place: Place, now: number): boolean {
    if (this.#told === undefined) return true;
    if (place.position !== this.#told.position && place.position < 10) return true;
    const expected = this.#told.waitMs - (now - this.#toldAt);
    const differs = Math.abs(place.waitMs - expected) > Math.max(PLACE_MS, MARKED * this.#told.waitMs);
    const moved = Math.abs(place.position - this.#told.position) > MARKED * this.#told.position;
    return differs || moved;
  }
}
