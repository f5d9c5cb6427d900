/**
 * One account at a provider as it is stored, and the ledger of what exists over there: each step is kept before the next,
 * so that what was made is known whatever happens to the gateway.
 */
import { type AuditAuthor, auditEntry } from '#directory/audit.js';
import type { Secret } from '#directory/secret.js';
import type { SecretBox } from '#directory/secret-box.js';
import type { Change, Document, ObjectStore, StoredObject } from '#directory/store.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Ledger, Leftover, RemoteResource } from './provider.js';

export type ProviderState = 'connecting' | 'connected' | 'failed' | 'removing';

export interface ProviderView {
  readonly id: string;
  readonly type: string;
  readonly accountSid: string;
  readonly description: string | null;
  readonly state: ProviderState;
  /** Our trunk of it, once there is one. */
  readonly credentialsId: string | null;
  readonly originationUri: string;
  /** What exists at the provider. */
  readonly resources: readonly RemoteResource[];
  /** Why it is `failed`. */
  readonly detail: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Of the objects that accounts are in the store. */
export const KIND = 'provider';

/** What is kept besides the secrets. */
export interface Fields {
  readonly type: string;
  readonly accountSid: string;
  readonly description: string | null;
  readonly originationUri: string;
  readonly cpsLimit: number | null;
  readonly username: string;
  readonly state: ProviderState;
  readonly credentialsId: string | null;
  readonly detail: string | null;
  readonly resources: readonly RemoteResource[];
}

/** Another node has written the account since it was read. */
export class Overtaken extends Error {}

export interface AccountRecordParts {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly clock: Clock;
  readonly ids: Ids;
}

export class AccountRecord implements Ledger {
  readonly id: string;
  readonly #parts: AccountRecordParts;
  readonly #organizationId: string;
  readonly #secrets: Document;
  #version: number;
  #fields: Fields;
  #times = { createdAt: 0, updatedAt: 0 };

  constructor(
    parts: AccountRecordParts,
    organizationId: string,
    id: string,
    version: number,
    fields: Fields,
    secrets: Document,
  ) {
    this.#parts = parts;
    this.#organizationId = organizationId;
    this.id = id;
    this.#version = version;
    this.#fields = fields;
    this.#secrets = secrets;
  }

  get fields(): Fields {
    return this.#fields;
  }

  get resources(): readonly RemoteResource[] {
    return this.#fields.resources;
  }

  view(): ProviderView {
    return shown(this.id, this.#fields, this.#times);
  }

  /** Opens one that is kept sealed. */
  secret(field: string): Secret {
    return this.#parts.box.open(String(this.#secrets[field]), { kind: KIND, id: this.id, field });
  }

  async intend(kind: string): Promise<void> {
    await this.change({ resources: [...this.resources, { kind, id: null }] });
  }

  async made(kind: string, id: string): Promise<void> {
    // What was intended is what was made; made twice is made once.
    const others = this.resources.filter((one) => one.kind !== kind || (one.id !== null && one.id !== id));
    await this.change({ resources: [...others, { kind, id }] });
  }

  async gone(kind: string, id: string | null): Promise<void> {
    await this.change({ resources: this.resources.filter((one) => one.kind !== kind || one.id !== id) });
  }

  /** Keeps what has changed. Throws Overtaken. */
  async change(fields: Partial<Fields>): Promise<void> {
    this.#fields = { ...this.#fields, ...fields };
    await this.write([]);
  }

  /** Keeps it as it is. Throws Overtaken. @param along changes that are written with it */
  async write(along: readonly Change[]): Promise<void> {
    const expect = this.#version === 0 ? 'absent' : this.#version;
    const document = { fields: this.#fields as unknown as Document, secrets: this.#secrets };
    const outcome = await this.#parts.store.transaction([
      { kind: KIND, id: this.id, expect, organizationId: this.#organizationId, document },
      ...along,
    ]);
    if (outcome.kind !== 'committed') throw new Overtaken();
    const written = outcome.objects.find(({ kind }) => kind === KIND);
    if (written === undefined || written.document === null)
      throw new Error(`${KIND}/${this.id} was not written`);
    this.#version = written.version;
    this.#times = written;
  }

  /** Forgets the account. Throws Overtaken. @param left what stays at the provider, and is nobody's from now on */
  async delete(author: AuditAuthor, left: readonly Leftover[] = []): Promise<void> {
    const { store, clock, ids } = this.#parts;
    const action = left.length === 0 ? 'remove' : 'abandon';
    const detail = left.length === 0 ? undefined : `left at the provider: ${left.map(named).join(', ')}`;
    const outcome = await store.transaction([
      { kind: KIND, id: this.id, expect: this.#version, document: null },
      auditEntry(clock, ids, author, { action, kind: KIND, id: this.id, fields: [], detail }),
    ]);
    if (outcome.kind !== 'committed') throw new Overtaken();
  }
}

/** `trunk TK…`. */
function named({ kind, id }: RemoteResource): string {
  return id === null ? `perhaps a ${kind}` : `${kind} ${id}`;
}

/** The account that an object of the store is. */
export function recordOf(parts: AccountRecordParts, object: StoredObject): AccountRecord {
  const secrets = object.document.secrets as Document;
  return new AccountRecord(
    parts,
    object.organizationId,
    object.id,
    object.version,
    fieldsOf(object),
    secrets,
  );
}

/** The fields of an account that an object of the store is. */
export function fieldsOf(object: StoredObject): Fields {
  return object.document.fields as unknown as Fields;
}

/** An account as the API shows it. */
export function viewOf(object: StoredObject): ProviderView {
  return shown(object.id, fieldsOf(object), object);
}

function shown(
  id: string,
  fields: Fields,
  { createdAt, updatedAt }: { readonly createdAt: number; readonly updatedAt: number },
): ProviderView {
  const { type, accountSid, description, state, credentialsId, originationUri, resources, detail } = fields;
  return {
    id,
    type,
    accountSid,
    description,
    state,
    credentialsId,
    originationUri,
    resources,
    detail,
    createdAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
  };
}
