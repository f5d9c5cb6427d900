/**
 * How often somebody has answered wrongly of late: passwords are not to be found out by trying. Counted by address and
 * user, so that nobody locks a user out from elsewhere, and by address, for those who try many users. A fixed window of a
 * minute: twice as many in the worst minute find nothing either.
 */
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';

/** Wrong answers in a minute, of one user from one address. */
export const WRONG_PER_USER = 10;
/** Of all users from one address. */
export const WRONG_PER_ADDRESS = 100;
const WINDOW_MS = 60_000;
/** Addresses, and pairs of address and user, that are remembered. Strangers alone cannot fill it in a minute. */
const KEPT_MAX = 20_000;

interface Window {
  readonly since: number;
  count: number;
}

export class WrongAnswers {
  readonly #clock: Clock;
  readonly #users = new BoundedMap<string, Window>(KEPT_MAX);
  readonly #addresses = new BoundedMap<string, Window>(KEPT_MAX);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Answers of this user from this address are not looked at for now. */
  tooMany(address: string, username: string): boolean {
    return (
      this.#countOf(this.#users, pair(address, username)) >= WRONG_PER_USER ||
      this.#countOf(this.#addresses, address) >= WRONG_PER_ADDRESS
    );
  }

  count(address: string, username: string): void {
    this.#add(this.#users, pair(address, username));
    this.#add(this.#addresses, address);
  }

  #countOf(windows: BoundedMap<string, Window>, key: string): number {
    const window = windows.get(key);
    return window === undefined || this.#clock.now() - window.since >= WINDOW_MS ? 0 : window.count;
  }

  #add(windows: BoundedMap<string, Window>, key: string): void {
    const window = windows.get(key);
    const now = this.#clock.now();
    if (window !== undefined && now - window.since < WINDOW_MS) window.count++;
    else {
      // Anew, so that it is not the oldest.
      windows.delete(key);
      windows.set(key, { since: now, count: 1 });
    }
  }
}

const USER_LENGTH = 256;

function pair(address: string, username: string): string {
  return `${address} ${username.slice(0, USER_LENGTH)}`;
}
