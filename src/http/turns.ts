/**
 * Requests get their turn a few at a time. What has come together would otherwise be answered in one go, and a call that
 * came a moment later would wait for all of it: between two turns the process hears what else has arrived.
 */

/** Requests of one turn; each takes some tenths of a millisecond. */
const AT_ONCE = 2;
const FORGET_AT = 256;

export class Turns {
  readonly #waiting: (() => void)[] = [];
  #next = 0;
  #armed = false;

  /** Resolves when it is the caller's turn: in the order of asking. */
  take(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#armed) this.#arm();
    });
  }

  /** After the sockets were heard, once in each round of the event loop. */
  #arm(): void {
    this.#armed = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    for (let n = 0; n < AT_ONCE && this.#next < this.#waiting.length; n++) this.#waiting[this.#next++]?.();
    const done = this.#next === this.#waiting.length;
    // Those who have had their turn go now and then, however long others keep coming.
    if (done || this.#next >= FORGET_AT) {
      this.#waiting.splice(0, this.#next);
      this.#next = 0;
    }
    if (done) this.#armed = false;
    else this.#arm();
  }
}
