/**
 * From what happens to what is delivered: matching occurrences go to the backlog in batches, and from there to their
 * addresses, a few at a time. One that fails is tried again, ever later; its lane (webhook and subject) waits, so the
 * order holds. An address that fails again and again is asked by one delivery at a time until it answers.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { Backlog, BacklogItem, ClaimedBacklogItem, DeadLetter } from './backlog.js';
import type { Delivery } from './sender.js';
import { type Occurrence, type Webhook, wants } from './webhook.js';

export interface DeliveriesOptions {
  readonly clock: Clock;
  /** 0 up to 1. */
  readonly random: () => number;
  readonly log: Logger;
  readonly backlog: Backlog;
  readonly send: (webhook: Webhook, occurrence: Occurrence) => Promise<Delivery>;
  /** Keeps what was given up. */
  readonly bury: (letter: DeadLetter) => Promise<void>;
  readonly observer?: DeliveriesObserver | undefined;
}

export interface DeliveriesObserver {
  delivered(outcome: 'delivered' | 'failed' | 'dead' | 'lost'): void;
}

/** Seconds until the next attempt, by failures in a row. */
const BACK_OFF_S = [1, 5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 14_400];
/** A delivery is given up after so long. */
export const GIVEN_UP_AFTER_MS = 86_400_000;
/** What happens within this time is written to the backlog at once. */
const BATCH_MS = 50;
/** Occurrences that wait to be written while the store is slow; beyond, they are counted as lost. */
const UNWRITTEN_MAX = 50_000;
const AT_ONCE = 32;
/** Longer than any attempt takes. */
const LEASE_MS = 60_000;
/** How often the backlog is asked when nothing calls for it: what others left, and what was put off. */
const ASK_MS = 1_000;
/** Failures in a row after which an address is asked by one delivery at a time. */
const SUSPECT = 3;

interface Address {
  failures: number;
  /** In `now` time. */
  notBefore: number;
  underWay: number;
  /** What the latest attempt met; null: it was taken. */
  trouble: Trouble | null;
}

/** Why an address gets nothing, as this node has met it. */
export interface Trouble {
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** When the latest did, in ISO 8601. */
  readonly at: string;
  readonly detail: string;
}

export class Deliveries {
  readonly #options: DeliveriesOptions;
  #webhooks = new Map<string, Webhook>();
  readonly #addresses = new Map<string, Address>();
  #unwritten: BacklogItem[] = [];
  #writing = false;
  #underWay = 0;
  #asking = false;
  #stopped = false;
  /** The store has failed, and that has been said. */
  #storeFails = false;
  readonly #batch = new CallbackTimer(() => void this.#write());
  readonly #ask = new CallbackTimer(() => void this.#next());
  #idle: (() => void)[] = [];

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** Somebody listens to something: when not, nobody need say what happens. */
  get wanted(): boolean {
    return this.#webhooks.size > 0;
  }

  /** What the latest attempt of this node met at a webhook's address; null: nothing, or it was taken. */
  troubleOf(id: string): Trouble | null {
    return this.#addresses.get(id)?.trouble ?? null;
  }

  /** Takes up what an earlier process left. */
  start(): void {
    void this.#next();
  }

  /** The webhooks that there are, from now on. */
  configure(webhooks: Iterable<Webhook>): void {
    this.#webhooks = new Map();
    for (const webhook of webhooks) if (webhook.enabled) this.#webhooks.set(webhook.id, webhook);
    for (const id of this.#addresses.keys()) if (!this.#webhooks.has(id)) this.#addresses.delete(id);
  }

  /** Something has happened. Cheap, and never throws. */
  tell(occurrence: Occurrence): void {
    for (const webhook of this.#webhooks.values()) {
      if (!wants(webhook, occurrence)) continue;
      if (this.#unwritten.length >= UNWRITTEN_MAX) {
        this.#options.observer?.delivered('lost');
        continue;
      }
      this.#unwritten.push({
        id: `${webhook.id}/${occurrence.id}`,
        lane: `${webhook.id}/${occurrence.subject}`,
        payload: JSON.stringify({ webhookId: webhook.id, occurrence }),
      });
      if (!this.#batch.armed && !this.#writing) this.#options.clock.arm(this.#batch, BATCH_MS);
    }
  }

  /** Writes what has not been written and waits for attempts under way; what is left stays for the next process. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const { clock } = this.#options;
    clock.disarm(this.#ask);
    clock.disarm(this.#batch);
    await this.#write();
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  async #write(): Promise<void> {
    if (this.#writing || this.#unwritten.length === 0) return;
    this.#writing = true;
    const { clock, log, backlog, observer } = this.#options;
    const batch = this.#unwritten;
    this.#unwritten = [];
    try {
      if (!(await backlog.add(batch))) {
        log.error({ events: batch.length }, 'the backlog of webhooks is full: these are lost');
        for (const _item of batch) observer?.delivered('lost');
      }
    } catch (error) {
      // Kept and written with the next batch, as far as there is room.
      const kept = batch.slice(0, Math.max(UNWRITTEN_MAX - this.#unwritten.length, 0));
      for (let lost = batch.length - kept.length; lost > 0; lost--) observer?.delivered('lost');
      this.#unwritten = [...kept, ...this.#unwritten];
      this.#storeFailed(
        error,
        { events: kept.length },
        'webhooks wait in memory: the store does not take them',
      );
    } finally {
      this.#writing = false;
    }
    if (this.#unwritten.length > 0 && !this.#stopped) clock.arm(this.#batch, ASK_MS);
    if (!this.#stopped) await this.#next();
  }

  /** Claims as much as may be under way at once. */
  async #next(): Promise<void> {
    if (this.#asking || this.#stopped) return;
    const { clock, backlog } = this.#options;
    const room = AT_ONCE - this.#underWay;
    if (room > 0) {
      this.#asking = true;
      try {
        const items = await backlog.claim(room, LEASE_MS);
        this.#storeFails = false;
        for (const item of items) void this.#attempt(item);
      } catch (error) {
        this.#storeFailed(error, {}, 'webhooks wait: the store does not give them out');
      } finally {
        this.#asking = false;
      }
    }
    if (!this.#stopped) clock.arm(this.#ask, ASK_MS);
  }

  /** Every second for as long as it lasts, so it is said once. */
  #storeFailed(error: unknown, fields: object, message: string): void {
    const { log } = this.#options;
    if (this.#storeFails) log.debug({ err: error, ...fields }, message);
    else log.warn({ err: error, ...fields }, message);
    this.#storeFails = true;
  }

  async #attempt(item: ClaimedBacklogItem): Promise<void> {
    this.#underWay++;
    try {
      await this.#deliver(item);
    } catch (error) {
      // The store failed. Its lease runs out, and the item is handed out again.
      this.#options.log.warn({ err: error, delivery: item.id }, 'a webhook waits: the store does not answer');
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) for (const done of this.#idle.splice(0)) done();
    }
    void this.#next();
  }

  async #deliver(item: ClaimedBacklogItem): Promise<void> {
    const { clock, backlog, send, observer, log } = this.#options;
    const letter = read(item.payload);
    const webhook = letter === undefined ? undefined : this.#webhooks.get(letter.webhookId);
    if (letter === undefined || webhook === undefined) {
      // Deleted or disabled meanwhile: nobody waits for it.
      await backlog.finish(item.id);
      return;
    }
    const address = this.#addressOf(webhook.id);
    const wait = address.notBefore - clock.now();
    if (address.failures >= SUSPECT && (wait > 0 || address.underWay > 0)) {
      await backlog.postpone(item.id, Math.max(wait, ASK_MS));
      return;
    }
    address.underWay++;
    const failures = address.failures + 1;
    const delivery = await send(webhook, letter.occurrence);
    address.underWay--;
    if (delivery.ok) {
      if (address.failures >= SUSPECT) log.info({ webhook: webhook.id }, 'a webhook is delivered again');
      address.failures = 0;
      address.trouble = null;
      observer?.delivered('delivered');
      await backlog.finish(item.id);
      return;
    }
    // Those that were under way together failed once, not one after the other.
    const before = address.failures;
    address.failures = Math.max(before, failures);
    address.trouble = {
      failures: address.failures,
      at: new Date(clock.wallNow()).toISOString(),
      detail: delivery.detail,
    };
    if (before < SUSPECT && address.failures >= SUSPECT) {
      log.warn(
        { webhook: webhook.id, detail: delivery.detail },
        'a webhook is not delivered: it is tried again for a day, ever later',
      );
    }
    const pause = this.#pauseAfter(address.failures);
    address.notBefore = clock.now() + pause;
    if (clock.wallNow() - item.addedAt + pause < GIVEN_UP_AFTER_MS) {
      observer?.delivered('failed');
      log.debug(
        { webhook: webhook.id, detail: delivery.detail, againMs: pause },
        'a webhook was not delivered',
      );
      await backlog.postpone(item.id, pause);
      return;
    }
    observer?.delivered('dead');
    log.warn({ webhook: webhook.id, detail: delivery.detail }, 'a webhook was given up');
    await this.#options.bury(this.#deadLetter(webhook, letter.occurrence, delivery.detail));
    await backlog.finish(item.id);
  }

  #deadLetter(
    webhook: Webhook,
    { id, type, at, organizationId, data }: Occurrence,
    detail: string,
  ): DeadLetter {
    const failedAt = new Date(this.#options.clock.wallNow()).toISOString();
    return {
      id: `${webhook.id}-${id}`,
      webhookId: webhook.id,
      organizationId,
      type,
      at,
      failedAt,
      detail,
      data,
    };
  }

  #addressOf(id: string): Address {
    let address = this.#addresses.get(id);
    if (address === undefined) {
      address = { failures: 0, notBefore: 0, underWay: 0, trouble: null };
      this.#addresses.set(id, address);
    }
    return address;
  }

  /** Between a half and the whole of the step, so that what failed together does not come together again. */
  #pauseAfter(failures: number): number {
    const step = BACK_OFF_S[Math.min(failures, BACK_OFF_S.length) - 1]! * 1000;
    return step / 2 + (this.#options.random() * step) / 2;
  }
}

interface Letter {
  readonly webhookId: string;
  readonly occurrence: Occurrence;
}

/** What this room wrote; undefined for what cannot be read, which no later attempt would change. */
function read(payload: string): Letter | undefined {
  try {
    return JSON.parse(payload) as Letter;
  } catch {
    return undefined;
  }
}
