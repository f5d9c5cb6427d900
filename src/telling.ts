/** A composition root: what happens is told to webhooks. `app.ts` builds the gateway with it. */
import type { Config } from '#config/schema.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { Events } from '#observe/events.js';
import type { Dns } from '#targets/dns.js';
import { AddressGuard } from '#webhook/address-guard.js';
import { Deliveries, type DeliveriesObserver } from '#webhook/deliveries.js';
import { WebhookRegistry } from '#webhook/registry.js';
import { closedFor, Sender } from '#webhook/sender.js';
import type { Knowledge } from './knowledge.js';

export interface TellingOptions {
  readonly config: Config;
  readonly knowledge: Knowledge;
  readonly events: Events;
  readonly observer: DeliveriesObserver;
  readonly dns: Pick<Dns, 'lookup'>;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Logger;
}

const QUEUE = 'webhooks';

export class Telling {
  readonly webhooks: WebhookRegistry;
  readonly #deliveries: Deliveries;
  readonly #events: Events;
  #deaf: (() => void) | undefined;

  constructor({ config, knowledge, events, observer, dns, clock, ids, log }: TellingOptions) {
    const { store, box } = knowledge;
    const { queue } = store;
    this.#events = events;
    const guard = new AddressGuard(config.webhooks.allowedAddresses);
    const sender = new Sender({
      clock,
      guard,
      lookup: (name) => dns.lookup(name),
      timeoutMs: config.webhooks.timeoutSeconds * 1000,
    });
    this.#deliveries = new Deliveries({
      clock,
      random: Math.random,
      log,
      backlog: {
        add: (items) => queue.add(QUEUE, items),
        claim: (limit, leaseMs) => queue.claim(QUEUE, limit, leaseMs),
        finish: (id) => queue.finish(QUEUE, id),
        postpone: (id, delayMs) => queue.postpone(QUEUE, id, delayMs),
      },
      send: (webhook, occurrence) => sender.send(webhook, occurrence),
      bury: (letter) => this.webhooks.bury(letter),
      observer,
    });
    this.webhooks = new WebhookRegistry({
      store,
      box,
      ids,
      clock,
      log,
      closed: (url) => closedFor(url, guard),
      troubleOf: (id) => this.#deliveries.troubleOf(id),
      configure: (webhooks) => {
        this.#deliveries.configure(webhooks);
        this.#listen(this.#deliveries.wanted);
      },
    });
  }

  /** Rejects with StoreUnavailable. */
  async start(): Promise<void> {
    await this.webhooks.start();
    this.#deliveries.start();
  }

  /** Writes what has just happened; what is not delivered stays for the next start, or for other nodes. */
  async stop(): Promise<void> {
    this.webhooks.stop();
    this.#listen(false);
    await this.#deliveries.stop();
  }

  /** Without webhooks nobody listens, so that events cost nothing. */
  #listen(wanted: boolean): void {
    if (wanted) this.#deaf ??= this.#events.listen((event) => this.#deliveries.tell(event));
    else {
      this.#deaf?.();
      this.#deaf = undefined;
    }
  }
}
