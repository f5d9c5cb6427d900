/**
 * The latest messages in a fixed piece of memory: a ring of octets, which the newest message takes over from the
 * oldest. Keeping one is a copy and leaves nothing to the garbage collector; finding costs the reader.
 */
import type { Listener } from '#engine/engine.js';
import type { Octets } from '#sip/octets.js';

export type Direction = 'in' | 'out';

export interface KeptMessage {
  /** Grows with every message that is kept, on whichever shelf. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly direction: Direction;
  readonly listener: Listener;
  /** Of the peer. */
  readonly address: string;
  readonly port: number;
  readonly octets: Octets;
  /** Octets that it had; more than `octets` where only its beginning is kept. */
  readonly length: number;
}

/** Octets of one message that are kept. */
const MESSAGE_MAX = 65_536;
/** The shortest mean message that the places are made for. */
const MESSAGE_MEAN = 256;

export class Shelf {
  readonly #bytes: Buffer;
  readonly #places: number;
  readonly #offsets: Uint32Array;
  readonly #kept: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #sequences: Float64Array;
  readonly #times: Float64Array;
  readonly #ports: Uint16Array;
  readonly #outgoing: Uint8Array;
  readonly #addresses: string[];
  readonly #listeners: (Listener | undefined)[];
  /** Where the next message goes. */
  #head = 0;
  /** Number of the oldest message that is whole, and of the next. */
  #oldest = 0;
  #next = 0;

  /** @param size octets, at least 4 × 65,536 */
  constructor(size: number) {
    const places = Math.ceil(size / MESSAGE_MEAN);
    this.#bytes = Buffer.alloc(size);
    this.#places = places;
    this.#offsets = new Uint32Array(places);
    this.#kept = new Uint32Array(places);
    this.#lengths = new Uint32Array(places);
    this.#sequences = new Float64Array(places);
    this.#times = new Float64Array(places);
    this.#ports = new Uint16Array(places);
    this.#outgoing = new Uint8Array(places);
    this.#addresses = new Array<string>(places).fill('');
    this.#listeners = new Array<Listener | undefined>(places).fill(undefined);
  }

  /** Numbers of the messages that are there: from `oldest` up to but without `next`. */
  get oldest(): number {
    return this.#oldest;
  }

  get next(): number {
    return this.#next;
  }

  keep(
    sequence: number,
    at: number,
    direction: Direction,
    octets: Octets,
    listener: Listener,
    address: string,
    port: number,
  ): void {
    const length = Math.min(octets.length, MESSAGE_MAX);
    const offset = this.#makeRoom(length);
    this.#bytes.write(octets, offset, length, 'latin1');
    this.#head = offset + length;
    const place = this.#next++ % this.#places;
    this.#offsets[place] = offset;
    this.#kept[place] = length;
    this.#lengths[place] = octets.length;
    this.#sequences[place] = sequence;
    this.#times[place] = at;
    this.#ports[place] = port;
    this.#outgoing[place] = direction === 'out' ? 1 : 0;
    this.#addresses[place] = address;
    this.#listeners[place] = listener;
  }

  /** Takes the oldest out until `length` octets are free in one piece; where that piece begins. */
  #makeRoom(length: number): number {
    if (this.#next - this.#oldest === this.#places) this.#oldest++;
    if (this.#head + length > this.#bytes.length) {
      // What the last round left behind the head goes, although it is not written over: it is the oldest.
      while (this.#oldest < this.#next && this.#offsetOf(this.#oldest) >= this.#head) this.#oldest++;
      this.#head = 0;
    }
    const end = this.#head + length;
    while (this.#oldest < this.#next) {
      const offset = this.#offsetOf(this.#oldest);
      // Below the head lies what this round has written.
      if (offset < this.#head || offset >= end) break;
      this.#oldest++;
    }
    return this.#head;
  }

  #offsetOf(number: number): number {
    return this.#offsets[number % this.#places]!;
  }

  /** Milliseconds since 1970 at which the oldest message was kept; undefined: there is none. */
  oldestAt(): number | undefined {
    return this.#oldest === this.#next ? undefined : this.#times[this.#oldest % this.#places];
  }

  /** One that is there. */
  octetsOf(number: number): Octets {
    const place = number % this.#places;
    const offset = this.#offsets[place]!;
    return this.#bytes.toString('latin1', offset, offset + this.#kept[place]!);
  }

  /** One that is there, with `octets` as `octetsOf` gave them. */
  message(number: number, octets: Octets): KeptMessage {
    const place = number % this.#places;
    return {
      sequence: this.#sequences[place]!,
      at: this.#times[place]!,
      direction: this.#outgoing[place] === 1 ? 'out' : 'in',
      listener: this.#listeners[place]!,
      address: this.#addresses[place]!,
      port: this.#ports[place]!,
      octets,
      length: this.#lengths[place]!,
    };
  }
}
