/**
 * What a server goes on holding after the connection to it was lost: calls in progress, pending INVITEs. They are over
 * for our user, but their peers do not know. The server hears any connection about them, so they are ended when it is
 * back: BYE, CANCEL, 503. Until then it answers the peers' own requests 481, BYE too. A server that was started anew
 * knows none of them, and says so at no cost; its peers find out by themselves.
 */
import { CallbackTimer } from '#lib/clock.js';
import type { HeaderField } from '#sip/message.js';
import type { DrachtioContext, Estate } from './context.js';
import type { ServerListener } from './endpoints.js';
import { sendBye } from './exchange.js';
import type { ServerLink } from './link.js';

const REASON: readonly HeaderField[] = [
  { name: 'Reason', value: 'SIP;cause=500;text="Gateway Lost Its Server"' },
];
const UNAVAILABLE: readonly HeaderField[] = [...REASON, { name: 'Retry-After', value: '5' }];
/** 1,000 a second: new calls come first. */
const BATCH = 50;
const BATCH_MS = 50;

interface Left {
  readonly via: ServerListener;
  readonly estate: Estate;
}

export class Estates {
  readonly #context: DrachtioContext;
  readonly #left = new Map<ServerLink, Left[]>();
  readonly #next = new CallbackTimer(() => this.#settle());

  constructor(context: DrachtioContext) {
    this.#context = context;
  }

  /** The link of `via` is down. Bounded by the bound of dialogs: what exceeds it is left to the peers. */
  add(via: ServerListener, estate: Estate): void {
    const known = this.#left.get(via.link) ?? [];
    this.#left.set(via.link, known);
    if (known.length < this.#context.limits.dialogs) known.push({ via, estate });
  }

  /** A link is up again. */
  begin(): void {
    if (this.#left.size > 0 && !this.#next.armed) this.#context.clock.arm(this.#next, 0);
  }

  /** Forgets all. */
  clear(): void {
    this.#left.clear();
    this.#context.clock.disarm(this.#next);
  }

  #settle(): void {
    let more = false;
    for (const [link, left] of this.#left) {
      if (!link.ready) continue;
      for (const { via, estate } of left.splice(0, BATCH)) this.#end(via, estate);
      if (left.length === 0) this.#left.delete(link);
      else more = true;
    }
    if (more) this.#context.clock.arm(this.#next, BATCH_MS);
  }

  #end(via: ServerListener, estate: Estate): void {
    switch (estate.kind) {
      case 'dialog':
        sendBye(this.#context, via, estate.dialogId, REASON);
        break;
      case 'incoming':
        via.link.answer(estate.transactionId, 503, UNAVAILABLE);
        break;
      case 'outgoing':
        // The 2xx may be there already, or cross the CANCEL: the server does not acknowledge it, but it can end it.
        via.link.cancel(estate.transactionId, REASON, () =>
          sendBye(this.#context, via, estate.dialogId, REASON),
        );
        break;
    }
  }
}
