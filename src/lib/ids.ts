/**
 * Identifiers that a peer must not guess (RFC 3261 §19.3: tags carry at least 32 bits of cryptographic
 * randomness; §8.1.1.7: branches are unique across space and time).
 */
import { randomFillSync } from 'node:crypto';

export interface Ids {
  /** A random token of lower-case letters and digits: at least `bits` bits of it are random. */
  token(bits: number): string;
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const POOL_BYTES = 8192;

/** Five bits per character, drawn from a pool that the operating system fills 8 KiB at a time. */
export class RandomIds implements Ids {
  readonly #pool = new Uint8Array(POOL_BYTES);
  #used = POOL_BYTES;

  token(bits: number): string {
    const length = Math.ceil(bits / 5);
    if (this.#used + length > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    let token = '';
    for (let i = 0; i < length; i++) token += ALPHABET[this.#pool[this.#used++]! & 31];
    return token;
  }
}

/** Deterministic ids for simulations: the same seed gives the same run. Never for production. */
export class SeededIds implements Ids {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  token(bits: number): string {
    let token = '';
    for (let i = Math.ceil(bits / 5); i > 0; i--) {
      // xorshift32: good enough to spread, short enough to check by eye.
      this.#state ^= this.#state << 13;
      this.#state >>>= 0;
      this.#state ^= this.#state >>> 17;
      this.#state ^= this.#state << 5;
      this.#state >>>= 0;
      token += ALPHABET[this.#state & 31];
    }
    return token;
  }
}
