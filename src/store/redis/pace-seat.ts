/** A call of this node in a line that Redis keeps. */
import { CallbackTimer } from '#lib/clock.js';
import { LiveTicket } from '#pacing/live-ticket.js';
import type { Ticket } from '#pacing/pacer.js';

export class PaceSeat extends LiveTicket {
  /** Its place in the order, once Redis has said it. */
  score: string | undefined;
  /** Redis was told of it, or may have been. */
  announced = false;
  /** The slot that it was given, as Redis names it. */
  slot: string | undefined;
  /** The one before, which it has used, given back or missed. */
  pastSlot: string | undefined;
  /** When that is, on this node's clock. */
  slotAt = 0;
  /** How many milliseconds later it may be used; after that it is not. */
  toleranceMs = 0;
  readonly slotTimer = new CallbackTimer(() => this.onSlotTime?.(this));
  /** When its slot is, for which it prepares: it may go before, and after. */
  preparedFor = Number.NEGATIVE_INFINITY;
  /** When it is told to prepare. */
  readonly prepareTimer = new CallbackTimer(() => this.prepare());
  onSlotTime: ((seat: PaceSeat) => void) | undefined;
  /** When its place is asked for next. */
  askAt = 0;
  /** Asks for another slot after one that it did not use. */
  again: CallbackTimer | undefined;
  /** Its place in this node's own line while there is no Redis. */
  local: Ticket | undefined;

  /** Another node may go on with it. */
  get portable(): boolean {
    return this.request.payload !== undefined;
  }
}
