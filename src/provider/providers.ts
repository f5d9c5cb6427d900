/**
 * Provider accounts of organisations: what the gateway keeps of them, and what is done at the provider and here in which
 * order, so that the two sides agree or it is said where they do not.
 *
 * An account that could not be connected, or removed, wholly stays as `failed`, with what is left at the provider, until
 * connecting or removing it again has worked.
 */
import { createHash } from 'node:crypto';
import { type AuditAuthor, auditEntry } from '#directory/audit.js';
import type { Editor, RemoveResult, WriteRefusal } from '#directory/editor.js';
import { Secret } from '#directory/secret.js';
import type { SecretBox } from '#directory/secret-box.js';
import type { Change, Document, ObjectStore, StoredObject } from '#directory/store.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import {
  type AvailableNumber,
  type Connector,
  type Ledger,
  type Leftover,
  type ProviderAccount,
  ProviderFault,
  type RemoteResource,
} from './provider.js';

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

export interface ConnectRequest {
  readonly type: string;
  readonly accountSid: string;
  readonly authToken: Secret;
  /** SIP URI of ours that the provider reaches. */
  readonly originationUri: string;
  readonly description: string | undefined;
  /** Calls per second of the new trunk; undefined: what the provider gives a new one. */
  readonly cpsLimit: number | undefined;
}

export type ProviderRefusal =
  | { readonly kind: 'not_found' }
  /** The organisation has this account already. */
  | { readonly kind: 'exists'; readonly id: string }
  | { readonly kind: 'unknown_type'; readonly types: readonly string[] }
  /** Another request works on it now. */
  | { readonly kind: 'busy' }
  | { readonly kind: 'not_connected'; readonly state: ProviderState }
  /** The provider did not do it; `left` is at the provider and nobody's now. */
  | { readonly kind: 'fault'; readonly fault: ProviderFault; readonly id: string | null }
  /** This could not be removed there; the account is kept, as `failed`, so that it can be tried again. */
  | { readonly kind: 'left'; readonly left: readonly Leftover[] }
  /** Our side did not. */
  | { readonly kind: 'refused'; readonly refusal: WriteRefusal };

export interface ImportRow {
  /** As it was asked for: the provider's id, or the number. */
  readonly number: string;
  readonly inboundAgentId?: string | undefined;
  readonly displayName?: string | undefined;
}

export interface ImportedRow {
  readonly number: string;
  readonly outcome: 'imported' | 'present' | 'failed';
  /** Of our phone number. */
  readonly id: string | null;
  readonly detail: string | null;
}

export interface ProvidersOptions {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly editor: Pick<Editor, 'create' | 'remove'>;
  /** Our number of that E.164 text on a trunk. */
  readonly numberOn: (trunkId: string, phoneNumber: string) => string | undefined;
  readonly connectors: readonly Connector[];
  readonly ids: Ids;
  readonly clock: Clock;
}

const KIND = 'provider';
const PASSWORD_BITS = 160;

interface Fields {
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

export class Providers {
  readonly #options: ProvidersOptions;
  readonly #connectors: ReadonlyMap<string, Connector>;
  /** Ids of those that are worked on by this node. */
  readonly #busy = new Set<string>();

  constructor(options: ProvidersOptions) {
    this.#options = options;
    this.#connectors = new Map(options.connectors.map((connector) => [connector.type, connector]));
  }

  get types(): readonly string[] {
    return [...this.#connectors.keys()];
  }

  /** Every method rejects with StoreUnavailable when the store fails. */
  async list(organizationId: string): Promise<readonly ProviderView[]> {
    return (await this.#objects(organizationId)).map(viewOf);
  }

  async get(organizationId: string, id: string): Promise<ProviderView | undefined> {
    const object = await this.#object(organizationId, id);
    return object === undefined ? undefined : viewOf(object);
  }

  /** Sets the account up on both sides. One of the organisation that has failed before is taken up where it stopped. */
  async connect(
    author: AuditAuthor,
    request: ConnectRequest,
  ): Promise<{ readonly kind: 'connected'; readonly provider: ProviderView } | ProviderRefusal> {
    const connector = this.#connectors.get(request.type);
    if (connector === undefined) return { kind: 'unknown_type', types: this.types };
    const id = idOf(author.organizationId, request);
    const known = await this.#object(author.organizationId, id);
    if (known !== undefined && fieldsOf(known).state === 'connected') return { kind: 'exists', id };
    return this.#alone(id, async () => {
      const record = await this.#begin(author, id, known, request);
      return this.#connect(author, connector, record, request);
    });
  }

  async availableNumbers(
    organizationId: string,
    id: string,
  ): Promise<{ readonly kind: 'numbers'; readonly numbers: readonly AvailableNumber[] } | ProviderRefusal> {
    const found = await this.#open(organizationId, id);
    if ('kind' in found) return found;
    try {
      const numbers = await found.connector.availableNumbers(found.account, found.record);
      return { kind: 'numbers', numbers };
    } catch (error) {
      return faultOf(error, id);
    }
  }

  /** Each row by itself: what one meets stops no other. */
  async importNumbers(
    author: AuditAuthor,
    id: string,
    rows: readonly ImportRow[],
  ): Promise<{ readonly kind: 'imported'; readonly rows: readonly ImportedRow[] } | ProviderRefusal> {
    return this.#alone(id, async () => {
      const found = await this.#open(author.organizationId, id);
      if ('kind' in found) return found;
      const { connector, account, record } = found;
      const { state, credentialsId } = record.fields;
      if (state !== 'connected' || credentialsId === null) return { kind: 'not_connected', state };
      let available: readonly AvailableNumber[];
      try {
        available = await connector.availableNumbers(account, record);
      } catch (error) {
        return faultOf(error, id);
      }
      const done: ImportedRow[] = [];
      for (const row of rows) {
        const wanted = available.find((one) => one.id === row.number || one.phoneNumber === row.number);
        done.push(
          wanted === undefined
            ? failed(row.number, 'the account has no such number')
            : await this.#importOne(author, found, credentialsId, wanted, row),
        );
      }
      return { kind: 'imported', rows: done };
    });
  }

  /**
   * Removes trunk, numbers and what was made at the provider.
   * @param options `force`: also when numbers are there. `abandon`: forget what cannot be removed at the provider; the
   * audit log names it
   */
  async remove(
    author: AuditAuthor,
    id: string,
    options: { readonly force: boolean; readonly abandon: boolean },
  ): Promise<{ readonly kind: 'removed' } | ProviderRefusal> {
    return this.#alone(id, async () => {
      const found = await this.#open(author.organizationId, id);
      if ('kind' in found) return found;
      const { connector, account, record } = found;
      const { credentialsId } = record.fields;
      if (credentialsId !== null) {
        const gone: RemoveResult = await this.#options.editor.remove(
          author,
          'sipCredentials',
          credentialsId,
          {
            providerId: id,
            force: options.force,
          },
        );
        if (gone.kind !== 'removed' && gone.kind !== 'not_found') return { kind: 'refused', refusal: gone };
      }
      await record.change({ state: 'removing', credentialsId: null, detail: null });
      const left = await connector.disconnect(account, record);
      if (left.length > 0 && !options.abandon) {
        await record.change({ state: 'failed', detail: left.map(({ reason }) => reason).join('; ') });
        return { kind: 'left', left };
      }
      await record.delete(author, left);
      return { kind: 'removed' };
    });
  }

  async #begin(
    author: AuditAuthor,
    id: string,
    known: StoredObject | undefined,
    { type, accountSid, authToken, originationUri, description, cpsLimit }: ConnectRequest,
  ): Promise<ProviderRecord> {
    const { box, ids, clock } = this.#options;
    const before = known === undefined ? undefined : fieldsOf(known);
    // Letters of both cases and a digit, as providers ask of passwords.
    const password = new Secret(`Tk1${ids.token(PASSWORD_BITS)}`);
    const secret = (field: string, value: Secret) => box.seal(value, { kind: KIND, id, field });
    const secrets =
      known === undefined
        ? { sipPassword: secret('sipPassword', password) }
        : (known.document.secrets as Document);
    const fields: Fields = {
      type,
      accountSid,
      description: description ?? null,
      originationUri,
      cpsLimit: cpsLimit ?? null,
      username: before?.username ?? `trunkline-${ids.token(40)}`,
      state: 'connecting',
      credentialsId: before?.credentialsId ?? null,
      detail: null,
      resources: before?.resources ?? [],
    };
    const record = new ProviderRecord(this.#options, author.organizationId, id, known?.version ?? 0, fields, {
      ...secrets,
      authToken: secret('authToken', authToken),
    });
    await record.write([
      auditEntry(clock, ids, author, {
        action: 'connect',
        kind: KIND,
        id,
        fields: ['type', 'accountSid', 'authToken'],
      }),
    ]);
    return record;
  }

  async #connect(
    author: AuditAuthor,
    connector: Connector,
    record: ProviderRecord,
    { authToken }: ConnectRequest,
  ): Promise<{ readonly kind: 'connected'; readonly provider: ProviderView } | ProviderRefusal> {
    const { id } = record;
    const { accountSid, originationUri, cpsLimit, description, username } = record.fields;
    const account: ProviderAccount = { providerId: id, accountSid, authToken };
    const password = record.secret('sipPassword');
    try {
      const trunk = await connector.connect(
        account,
        { originationUri, credentials: { username, password } },
        record,
      );
      if (record.fields.credentialsId === null) {
        const made = await this.#options.editor.create(
          author,
          'sipCredentials',
          {
            server: trunk.server,
            transport: trunk.transport,
            authUser: username,
            authPassword: password.reveal(),
            allowedAddresses: trunk.allowedAddresses,
            numberFormat: trunk.numberFormat,
            cpsLimit: cpsLimit ?? trunk.cpsLimit,
            description: description ?? `${record.fields.type} ${accountSid}`,
          },
          { providerId: id },
        );
        if (made.kind !== 'written') {
          await this.#undo(author, connector, account, record, 'our side refused its trunk');
          return { kind: 'refused', refusal: made };
        }
        await record.change({ credentialsId: made.id });
      }
      await record.change({ state: 'connected' });
      return { kind: 'connected', provider: record.view() };
    } catch (error) {
      if (!(error instanceof ProviderFault)) throw error;
      const kept = await this.#undo(author, connector, account, record, error.message);
      return { kind: 'fault', fault: error, id: kept ? id : null };
    }
  }

  /** Takes back what was made; tells whether something is left, and with it the account. */
  async #undo(
    author: AuditAuthor,
    connector: Connector,
    account: ProviderAccount,
    record: ProviderRecord,
    why: string,
  ): Promise<boolean> {
    const left = await connector.disconnect(account, record);
    if (left.length === 0 && record.fields.credentialsId === null) {
      await record.delete(author);
      return false;
    }
    await record.change({ state: 'failed', detail: why });
    return true;
  }

  async #importOne(
    author: AuditAuthor,
    { connector, account, record }: Opened,
    credentialsId: string,
    wanted: AvailableNumber,
    row: ImportRow,
  ): Promise<ImportedRow> {
    const { editor, numberOn } = this.#options;
    if (!wanted.voice) return failed(row.number, 'the number carries no calls');
    if (wanted.assigned === 'elsewhere') {
      return failed(
        row.number,
        'the number belongs to another trunk of the account: take it off there first',
      );
    }
    try {
      await connector.assign(account, wanted.id, record);
    } catch (error) {
      if (!(error instanceof ProviderFault)) throw error;
      return failed(row.number, error.message);
    }
    const present = numberOn(credentialsId, wanted.phoneNumber);
    if (present !== undefined) {
      return { number: row.number, outcome: 'present', id: present, detail: null };
    }
    const made = await editor.create(author, 'phoneNumber', {
      phoneNumber: wanted.phoneNumber,
      credentialsId,
      inboundAgentId: row.inboundAgentId ?? null,
      displayName: row.displayName ?? null,
      description: wanted.friendlyName,
    });
    if (made.kind === 'written')
      return { number: row.number, outcome: 'imported', id: made.id, detail: null };
    const why =
      'faults' in made
        ? made.faults.map(({ path, message }) => [...path, message].join(' ')).join('; ')
        : made.kind;
    try {
      await connector.release(account, wanted.id, record);
      return failed(row.number, why);
    } catch (error) {
      if (!(error instanceof ProviderFault)) throw error;
      return failed(row.number, `${why}; and the provider still sends its calls here: ${error.message}`);
    }
  }

  async #open(organizationId: string, id: string): Promise<Opened | ProviderRefusal> {
    const object = await this.#object(organizationId, id);
    if (object === undefined) return { kind: 'not_found' };
    const record = recordOf(this.#options, object);
    const connector = this.#connectors.get(record.fields.type);
    if (connector === undefined) return { kind: 'unknown_type', types: this.types };
    const { accountSid } = record.fields;
    const account = { providerId: id, accountSid, authToken: record.secret('authToken') };
    return { connector, account, record };
  }

  async #object(organizationId: string, id: string): Promise<StoredObject | undefined> {
    const object = await this.#options.store.get(KIND, id);
    return object?.organizationId === organizationId ? object : undefined;
  }

  async #objects(organizationId: string): Promise<readonly StoredObject[]> {
    return this.#options.store.list(KIND, { organizationId, limit: 1_000 });
  }

  async #alone<T>(id: string, work: () => Promise<T>): Promise<T | ProviderRefusal> {
    if (this.#busy.has(id)) return { kind: 'busy' };
    this.#busy.add(id);
    try {
      return await work();
    } catch (error) {
      if (error instanceof Overtaken) return { kind: 'busy' };
      throw error;
    } finally {
      this.#busy.delete(id);
    }
  }
}

interface Opened {
  readonly connector: Connector;
  readonly account: ProviderAccount;
  readonly record: ProviderRecord;
}

/** Another node works on the same account. */
class Overtaken extends Error {}

type RecordParts = Pick<ProvidersOptions, 'store' | 'box' | 'clock' | 'ids'>;

/** One account as it is stored, and the ledger of what exists at the provider: each step is kept before the next. */
class ProviderRecord implements Ledger {
  readonly id: string;
  readonly #parts: RecordParts;
  readonly #organizationId: string;
  readonly #secrets: Document;
  #version: number;
  #fields: Fields;
  #times = { createdAt: 0, updatedAt: 0 };

  constructor(
    parts: RecordParts,
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

  async change(fields: Partial<Fields>): Promise<void> {
    this.#fields = { ...this.#fields, ...fields };
    await this.write([]);
  }

  /** @param along changes that are written with it */
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

  /** @param left what stays at the provider, and is nobody's from now on */
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

/** The same account of the same organisation has the same id: two who connect it at once meet. */
function idOf(organizationId: string, { type, accountSid }: ConnectRequest): string {
  const identity = [organizationId, type, accountSid].join('\0');
  return `prov_${createHash('sha256').update(identity).digest('hex').slice(0, 20)}`;
}

function recordOf(parts: RecordParts, object: StoredObject): ProviderRecord {
  const secrets = object.document.secrets as Document;
  return new ProviderRecord(
    parts,
    object.organizationId,
    object.id,
    object.version,
    fieldsOf(object),
    secrets,
  );
}

function fieldsOf(object: StoredObject): Fields {
  return object.document.fields as unknown as Fields;
}

function viewOf(object: StoredObject): ProviderView {
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

function failed(number: string, detail: string): ImportedRow {
  return { number, outcome: 'failed', id: null, detail };
}

function faultOf(error: unknown, id: string): ProviderRefusal {
  if (error instanceof ProviderFault) return { kind: 'fault', fault: error, id };
  throw error;
}
