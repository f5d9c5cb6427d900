/**
 * The webhooks of all organisations: kept in the store, and followed, so that what one node writes every node delivers
 * by. The signing secret is made here, shown once when it is made, and sealed.
 */
import { type AuditAuthor, auditEntry } from '#directory/audit.js';
import { Secret } from '#directory/secret.js';
import { SealFault, type SecretBox } from '#directory/secret-box.js';
import type { Change, Document, ObjectStore, StoredObject } from '#directory/store.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import type { DeadLetter } from './backlog.js';
import type { Trouble } from './deliveries.js';
import type { Webhook } from './webhook.js';

export interface WebhookFields {
  readonly url: string;
  readonly events: readonly string[];
  readonly description: string | null;
  readonly enabled: boolean;
}

export interface WebhookView extends WebhookFields {
  readonly id: string;
  /** What the latest delivery from this node met; null: it was taken, or there was none. */
  readonly trouble: Trouble | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** For `ifVersion`. */
  readonly version: number;
}

export type WebhookRefusal =
  | { readonly kind: 'not_found' }
  | { readonly kind: 'changed' }
  | { readonly kind: 'too_many'; readonly most: number }
  /** The URL leads where webhooks may not. */
  | { readonly kind: 'closed'; readonly detail: string };

export interface WebhookRegistryOptions {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Logger;
  /** Dead letters kept of one organisation, the oldest go first. Default 1,000. */
  readonly deadLettersMax?: number | undefined;
  /** Told of all webhooks, at first and whenever something has changed. */
  readonly configure: (webhooks: readonly Webhook[]) => void;
  /** Why nothing could ever be sent to a URL, as far as the URL itself says; null: nothing speaks against it. */
  readonly closed: (url: string) => string | null;
  readonly troubleOf: (id: string) => Trouble | null;
}

const KIND = 'webhook';
const DEAD = 'deadLetter';
/** Of one organisation: each event is matched with each. */
export const WEBHOOKS_MAX = 50;
const SECRET_BITS = 256;
const PAGE = 1_000;
const AGAIN_MS = 1_000;
const LOOK_MS = 100;

export class WebhookRegistry {
  readonly #options: WebhookRegistryOptions;
  #unwatch: (() => void) | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #again = new CallbackTimer(() => this.#reload());
  #stopped = false;
  /** The store cannot be read, and that has been said. */
  #blind = false;
  #lastBurial = 0;

  constructor(options: WebhookRegistryOptions) {
    this.#options = options;
  }

  /** Rejects with StoreUnavailable. */
  async start(): Promise<void> {
    await this.#load();
    const { store, clock } = this.#options;
    // A run of writes, most of them of other things, is looked at once.
    this.#unwatch = store.watch(() => {
      if (!this.#again.armed) clock.arm(this.#again, LOOK_MS);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch?.();
    this.#options.clock.disarm(this.#again);
  }

  /** The following reject with StoreUnavailable when the store fails. */
  async list(organizationId: string): Promise<readonly WebhookView[]> {
    return (await this.#objects(organizationId)).map((object) => this.#view(object));
  }

  async get(organizationId: string, id: string): Promise<WebhookView | undefined> {
    const object = await this.#object(organizationId, id);
    return object === undefined ? undefined : this.#view(object);
  }

  /** @returns the signing secret too: it is not shown again */
  async create(
    author: AuditAuthor,
    fields: WebhookFields,
  ): Promise<
    { readonly kind: 'written'; readonly webhook: WebhookView; readonly secret: Secret } | WebhookRefusal
  > {
    const { organizationId } = author;
    const closed = this.#options.closed(fields.url);
    if (closed !== null) return { kind: 'closed', detail: closed };
    if ((await this.#objects(organizationId)).length >= WEBHOOKS_MAX) {
      return { kind: 'too_many', most: WEBHOOKS_MAX };
    }
    const id = `wh_${this.#options.ids.token(80)}`;
    const secret = this.#newSecret();
    const secrets = { secret: this.#seal(id, 'secret', secret) };
    const written = await this.#write(author, 'create', id, 'absent', fields, secrets, Object.keys(fields));
    return 'webhook' in written ? { ...written, secret } : written;
  }

  async update(
    author: AuditAuthor,
    id: string,
    patch: Partial<WebhookFields>,
    ifVersion?: number,
  ): Promise<{ readonly kind: 'written'; readonly webhook: WebhookView } | WebhookRefusal> {
    const closed = patch.url === undefined ? null : this.#options.closed(patch.url);
    if (closed !== null) return { kind: 'closed', detail: closed };
    const object = await this.#object(author.organizationId, id);
    if (object === undefined) return { kind: 'not_found' };
    if (ifVersion !== undefined && ifVersion !== object.version) return { kind: 'changed' };
    const fields = { ...fieldsOf(object), ...patch };
    return this.#write(author, 'update', id, object.version, fields, secretsOf(object), Object.keys(patch));
  }

  /** Makes a new secret. The one before signs along until the next time, so receivers can change over. */
  async rotate(
    author: AuditAuthor,
    id: string,
  ): Promise<
    { readonly kind: 'written'; readonly webhook: WebhookView; readonly secret: Secret } | WebhookRefusal
  > {
    const object = await this.#object(author.organizationId, id);
    if (object === undefined) return { kind: 'not_found' };
    const former = this.#open(id, 'secret', secretsOf(object).secret);
    const secret = this.#newSecret();
    const secrets: Record<string, string> = { secret: this.#seal(id, 'secret', secret) };
    if (former !== undefined) secrets.formerSecret = this.#seal(id, 'formerSecret', former);
    const { version } = object;
    const written = await this.#write(author, 'rotate', id, version, fieldsOf(object), secrets, ['secret']);
    return 'webhook' in written ? { ...written, secret } : written;
  }

  async remove(
    author: AuditAuthor,
    id: string,
    ifVersion?: number,
  ): Promise<{ readonly kind: 'removed' } | WebhookRefusal> {
    const object = await this.#object(author.organizationId, id);
    if (object === undefined) return { kind: 'not_found' };
    if (ifVersion !== undefined && ifVersion !== object.version) return { kind: 'changed' };
    const outcome = await this.#options.store.transaction([
      { kind: KIND, id, expect: object.version, document: null },
      this.#audit(author, 'remove', id, []),
    ]);
    return outcome.kind === 'committed' ? { kind: 'removed' } : { kind: 'changed' };
  }

  /** Keeps what was given up, at most `DEAD_LETTERS_MAX` of an organisation. */
  async bury(letter: DeadLetter): Promise<void> {
    const { store, clock, ids, deadLettersMax = PAGE } = this.#options;
    const { organizationId } = letter;
    const kept = await store.list(DEAD, { organizationId, limit: PAGE });
    const surplus = kept.slice(0, Math.max(kept.length + 1 - deadLettersMax, 0));
    // Ids sort by time, also within a millisecond.
    this.#lastBurial = Math.max(Math.floor(clock.wallNow()), this.#lastBurial + 1);
    const id = `dl_${this.#lastBurial.toString(36).padStart(9, '0')}-${ids.token(50)}`;
    await store.transaction([
      ...surplus.map((each): Change => ({ kind: DEAD, id: each.id, expect: 'any', document: null })),
      {
        kind: DEAD,
        id,
        expect: 'absent',
        organizationId,
        document: { ...letter, id } as unknown as Document,
      },
    ]);
  }

  /** The latest first. */
  async deadLetters(organizationId: string): Promise<readonly DeadLetter[]> {
    const objects = await this.#options.store.list(DEAD, { organizationId, limit: PAGE });
    return objects.map(({ document }) => document as unknown as DeadLetter).reverse();
  }

  async forgetDeadLetter(organizationId: string, id: string): Promise<boolean> {
    const { store } = this.#options;
    const object = await store.get(DEAD, id);
    if (object?.organizationId !== organizationId) return false;
    await store.transaction([{ kind: DEAD, id, expect: 'any', document: null }]);
    return true;
  }

  #reload(): void {
    if (this.#stopped) return;
    this.#last = this.#last
      .then(() => this.#load())
      .catch((error: unknown) => {
        const { log, clock } = this.#options;
        // Every second for as long as it lasts, so it is said once.
        const message = 'webhooks cannot be read from the store: those known stay in force';
        if (this.#blind) log.debug({ err: error }, message);
        else log.warn({ err: error }, message);
        this.#blind = true;
        if (!this.#stopped) clock.arm(this.#again, AGAIN_MS);
      });
  }

  async #load(): Promise<void> {
    const { objects } = await this.#options.store.load([KIND]);
    this.#blind = false;
    if (this.#stopped) return;
    this.#options.configure(
      objects.map((object) => this.#webhook(object)).filter((each) => each !== undefined),
    );
  }

  /** One whose secret cannot be opened is left out, and that is said. */
  #webhook(object: StoredObject): Webhook | undefined {
    const { id, organizationId } = object;
    const { url, events, enabled } = fieldsOf(object);
    const sealed = secretsOf(object);
    const secrets: Secret[] = [];
    for (const field of ['secret', 'formerSecret']) {
      const secret = this.#open(id, field, sealed[field]);
      if (secret !== undefined) secrets.push(secret);
    }
    if (secrets.length === 0) return undefined;
    return { id, organizationId, url, events, enabled, secrets };
  }

  #open(id: string, field: string, sealed: string | undefined): Secret | undefined {
    if (sealed === undefined) return undefined;
    try {
      return this.#options.box.open(sealed, { kind: KIND, id, field });
    } catch (error) {
      if (!(error instanceof SealFault)) throw error;
      this.#options.log.warn({ webhook: id, fault: error.message }, 'a secret of a webhook cannot be opened');
      return undefined;
    }
  }

  #seal(id: string, field: string, secret: Secret): string {
    return this.#options.box.seal(secret, { kind: KIND, id, field });
  }

  #newSecret(): Secret {
    return new Secret(`whsec_${this.#options.ids.token(SECRET_BITS)}`);
  }

  async #write(
    author: AuditAuthor,
    action: string,
    id: string,
    expect: number | 'absent',
    fields: WebhookFields,
    secrets: Readonly<Record<string, string>>,
    named: readonly string[],
  ): Promise<{ readonly kind: 'written'; readonly webhook: WebhookView } | { readonly kind: 'changed' }> {
    const { organizationId } = author;
    const document: Document = { fields: { ...fields }, secrets: { ...secrets } };
    const outcome = await this.#options.store.transaction([
      { kind: KIND, id, expect, organizationId, document },
      this.#audit(author, action, id, named),
    ]);
    if (outcome.kind !== 'committed') return { kind: 'changed' };
    const object = outcome.objects.find((each) => each.kind === KIND);
    if (object === undefined || object.document === null) throw new Error(`${KIND}/${id} was not written`);
    this.#reload();
    return { kind: 'written', webhook: this.#view(object) };
  }

  #audit(author: AuditAuthor, action: string, id: string, fields: readonly string[]): Change {
    const { clock, ids } = this.#options;
    return auditEntry(clock, ids, author, { action, kind: KIND, id, fields });
  }

  async #object(organizationId: string, id: string): Promise<StoredObject | undefined> {
    const object = await this.#options.store.get(KIND, id);
    return object?.organizationId === organizationId ? object : undefined;
  }

  async #objects(organizationId: string): Promise<readonly StoredObject[]> {
    return this.#options.store.list(KIND, { organizationId, limit: PAGE });
  }

  #view(object: StoredObject): WebhookView {
    return viewOf(object, this.#options.troubleOf(object.id));
  }
}

function fieldsOf(object: StoredObject): WebhookFields {
  return object.document.fields as unknown as WebhookFields;
}

function secretsOf(object: StoredObject): Readonly<Record<string, string>> {
  return object.document.secrets as Readonly<Record<string, string>>;
}

function viewOf(object: StoredObject, trouble: Trouble | null): WebhookView {
  const { id, version, createdAt, updatedAt } = object;
  const { url, events, description, enabled } = fieldsOf(object);
  return {
    id,
    url,
    events,
    description,
    enabled,
    trouble,
    version,
    createdAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
  };
}
