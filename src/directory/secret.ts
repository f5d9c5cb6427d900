/**
 * A value that must not be shown: a password, a token, a private key. It reads as `[secret]` wherever a value is
 * printed by accident (log, JSON, template string, `inspect`); only `reveal` gives it away.
 */
import { inspect } from 'node:util';

const MASK = '[secret]';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself; for the one place that computes or sends with it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
