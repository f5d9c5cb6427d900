/**
 * What really crossed the wire lately, for whoever asks why a call failed: every SIP message that came in or left, in
 * a fixed piece of memory. Strangers have a part of their own, so that a flood of theirs pushes out no call.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Listener, WireTap } from '#engine/engine.js';
import type { Clock } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import { type Direction, type KeptMessage, Shelf } from './shelf.js';

export interface TracedMessage extends KeptMessage {
  readonly callId: string;
}

export interface Trace {
  /** In the order in which they crossed the wire. */
  readonly messages: readonly TracedMessage[];
  /** Milliseconds since 1970: nothing before it is kept any more. Undefined: nothing was ever lost. */
  readonly lostUntil: number | undefined;
}

/** Of the memory, what strangers may fill: one in so many parts. */
const STRANGERS_PART = 8;
/** Messages that are looked at before others get a turn: a millisecond's work. */
const SLICE = 500;
const CR = 13;

export class WireTrace implements WireTap {
  readonly #clock: Clock;
  readonly #known: Shelf;
  readonly #strangers: Shelf;
  #sequence = 0;

  /** @param bytes memory to fill, at least 2 MiB */
  constructor({ clock, bytes }: { readonly clock: Clock; readonly bytes: number }) {
    this.#clock = clock;
    this.#strangers = new Shelf(Math.floor(bytes / STRANGERS_PART));
    this.#known = new Shelf(bytes - Math.floor(bytes / STRANGERS_PART));
  }

  message(
    direction: Direction,
    octets: Octets,
    listener: Listener,
    address: string,
    port: number,
    standing: 'known' | 'stranger',
  ): void {
    // A keep-alive or its answer (RFC 5626 §3.5.1).
    if (octets.charCodeAt(0) === CR) return;
    const shelf = standing === 'known' ? this.#known : this.#strangers;
    shelf.keep(this.#sequence++, this.#clock.wallNow(), direction, octets, listener, address, port);
  }

  /** The messages with one of these Call-IDs. Looks through everything, in slices, so that calls do not wait for it. */
  async find(callIds: ReadonlySet<string>): Promise<Trace> {
    const messages: TracedMessage[] = [];
    let lostUntil: number | undefined;
    for (const shelf of [this.#known, this.#strangers]) {
      // As the search begins: what is lost while it goes on was looked at before, or is older than that.
      if (shelf.oldest > 0) lostUntil = Math.max(lostUntil ?? 0, shelf.oldestAt() ?? 0);
      const end = shelf.next;
      for (let number = shelf.oldest; number < end; number++) {
        if (number % SLICE === 0) await nextTurn();
        number = Math.max(number, shelf.oldest);
        if (number >= end) break;
        const octets = shelf.octetsOf(number);
        const callId = callIdOf(octets);
        if (callId !== undefined && callIds.has(callId))
          messages.push({ ...shelf.message(number, octets), callId });
      }
    }
    messages.sort((a, b) => a.sequence - b.sequence);
    return { messages, lostUntil };
  }
}

/** Of a message that may be too broken to parse. §20.8, "i" in compact form. */
const CALL_ID = /\r?\n(?:call-id|i)[ \t]*:\s*([^\s]+)/i;

function callIdOf(octets: Octets): string | undefined {
  return CALL_ID.exec(octets)?.[1];
}
