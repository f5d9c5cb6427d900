/**
 * Provider accounts of organisations: what is done at the provider and here in which order, so that the two sides agree
 * or it is said where they do not. `account-record.ts` keeps each step.
 *
 * An account that could not be connected, or removed, wholly stays as `failed`, with what is left at the provider, until
 * connecting or removing it again has worked.
 */
import { createHash } from 'node:crypto';
import { type AuditAuthor, auditEntry } from '#directory/audit.js';
import type { Editor, RemoveResult, WriteRefusal } from '#directory/editor.js';
import { Secret } from '#directory/secret.js';
import type { Document, StoredObject } from '#directory/store.js';
import {
  AccountRecord,
  type AccountRecordParts,
  type Fields,
  fieldsOf,
  KIND,
  Overtaken,
  type ProviderState,
  type ProviderView,
  recordOf,
  viewOf,
} from './account-record.js';
import {
  type AvailableNumber,
  type Connector,
  type Leftover,
  type ProviderAccount,
  ProviderFault,
} from './provider.js';

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

export interface ProvidersOptions extends AccountRecordParts {
  readonly editor: Pick<Editor, 'create' | 'remove'>;
  /** Our number of that E.164 text on a trunk. */
  readonly numberOn: (trunkId: string, phoneNumber: string) => string | undefined;
  readonly connectors: readonly Connector[];
}

const PASSWORD_BITS = 160;

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
  ): Promise<AccountRecord> {
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
    const record = new AccountRecord(this.#options, author.organizationId, id, known?.version ?? 0, fields, {
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
    record: AccountRecord,
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
    record: AccountRecord,
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
  readonly record: AccountRecord;
}

/** The same account of the same organisation has the same id: two who connect it at once meet. */
function idOf(organizationId: string, { type, accountSid }: ConnectRequest): string {
  const identity = [organizationId, type, accountSid].join('\0');
  return `prov_${createHash('sha256').update(identity).digest('hex').slice(0, 20)}`;
}

function failed(number: string, detail: string): ImportedRow {
  return { number, outcome: 'failed', id: null, detail };
}

function faultOf(error: unknown, id: string): ProviderRefusal {
  if (error instanceof ProviderFault) return { kind: 'fault', fault: error, id };
  throw error;
}
