/**
 * Changes of the directory, as people and programs ask for them: what is created, changed and removed, with the rules
 * between objects, everything that goes along, and an entry in the audit log, in one transaction. A refusal changes
 * nothing and names every reason.
 */
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { type AuditAuthor, auditEntry } from './audit.js';
import type { CompiledSnapshot } from './compiled-snapshot.js';
import {
  type DirectoryKind,
  type Identity,
  isRecord,
  mergePatch,
  openFields,
  providerOf,
  type ReadInput,
  readInput,
  SCHEMAS,
  secretNames,
} from './documents.js';
import { type Fault, faultsOf } from './issues.js';
import type { Committed, LiveDirectory, Plan } from './live.js';
import type { Change, Objection } from './merge.js';
import { SealFault, type SecretBox } from './secret-box.js';
import type { Document, JsonValue, ObjectStore, Change as StoreChange, StoredObject } from './store.js';
import type { ObjectSource } from './trunk.js';
import {
  type AffectedAgents,
  affectedAgents,
  callingFrom,
  numbersAnsweredBy,
  numbersOn,
  numbersTransferring,
} from './usage.js';

/** Who writes. */
export type Author = AuditAuthor;

export type WriteRefusal =
  /** 400: every faulty field. */
  | { readonly kind: 'invalid'; readonly faults: readonly Fault[] }
  /** 404, also for another organisation's. */
  | { readonly kind: 'not_found' }
  /** 409: another object has what this one asks for (a number, an id, a user), or routing would be ambiguous. */
  | { readonly kind: 'conflict'; readonly faults: readonly Fault[] }
  /** 409: from the config file, or a provider's. */
  | { readonly kind: 'read_only'; readonly source: ObjectSource; readonly providerId: string | undefined }
  /** 409: others depend on it; `force` takes them along. */
  | { readonly kind: 'in_use'; readonly affected: AffectedAgents }
  /** 412: it is not the version that was read. */
  | { readonly kind: 'changed' };

export type WriteResult =
  | { readonly kind: 'written'; readonly id: string; readonly object: StoredObject }
  | WriteRefusal;

export type CreatedRow = { readonly kind: 'written'; readonly id: string } | WriteRefusal;

export type RemoveResult =
  | {
      readonly kind: 'removed';
      /** What went along or was unlinked. */
      readonly affected: AffectedAgents;
    }
  | WriteRefusal;

export interface CreateOptions {
  /** Default: a new one with the kind's prefix. */
  readonly id?: string | undefined;
  /** The trunk belongs to a provider's connection, and only that changes it. */
  readonly providerId?: string | undefined;
}

export interface ChangeOptions {
  readonly ifVersion?: number | undefined;
  /** Acts for this provider's connection: its trunk is not read-only then. */
  readonly providerId?: string | undefined;
}

export interface RemoveOptions extends ChangeOptions {
  /** With everything that depends on it. */
  readonly force?: boolean | undefined;
}

export interface EditorOptions {
  readonly live: LiveDirectory;
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly ids: Ids;
  readonly clock: Clock;
}

const ID_PREFIX: Readonly<Record<DirectoryKind, string>> = {
  organization: 'org_',
  sipCredentials: 'trunk_',
  phoneNumber: 'num_',
  agent: 'agent_',
};
const ID_BITS = 80;
/** Objects read at once while a cascade is worked out. */
const READ_AT_ONCE = 500;
const NOBODY: AffectedAgents = { phoneNumbers: [], agents: [] };

export class Editor {
  readonly #live: LiveDirectory;
  readonly #store: ObjectStore;
  readonly #box: SecretBox;
  readonly #ids: Ids;
  readonly #clock: Clock;

  constructor({ live, store, box, ids, clock }: EditorOptions) {
    this.#live = live;
    this.#store = store;
    this.#box = box;
    this.#ids = ids;
    this.#clock = clock;
  }

  /** Every method rejects with StoreUnavailable when the store fails. */
  async create(
    author: Author,
    kind: DirectoryKind,
    fields: Document,
    options: CreateOptions = {},
  ): Promise<WriteResult> {
    const wanted = options.id ?? (typeof fields.id === 'string' ? fields.id : undefined);
    const id = wanted ?? `${ID_PREFIX[kind]}${this.#ids.token(ID_BITS)}`;
    const organizationId = kind === 'organization' ? id : author.organizationId;
    const identity: Identity = { kind, id, organizationId, providerId: options.providerId };
    // A null is a field left out: as a patch of nothing.
    const read = readInput(identity, mergePatch({}, fields), this.#box);
    if (read.kind === 'invalid') return invalid(kind, read);
    const written = await this.#live.commit<WriteRefusal>(async () => {
      if ((await this.#store.get(kind, id)) !== undefined) return taken(id);
      return {
        changes: [{ kind, id, model: read.model }],
        writes: [
          { kind, id, expect: 'absent', organizationId, document: read.document },
          this.#audit(author, 'create', kind, id, Object.keys(fields)),
        ],
      };
    });
    return this.#written(written, kind, id);
  }

  /**
   * Creates what can be created of many, in one transaction, and says of each what became of it. Those that cannot be are
   * left out; of two that want the same number, the first one gets it.
   */
  async createMany(
    author: Author,
    kind: Exclude<DirectoryKind, 'organization'>,
    rows: readonly Document[],
  ): Promise<readonly CreatedRow[]> {
    const { organizationId } = author;
    const results: CreatedRow[] = [];
    const sound = new Map<
      string,
      { readonly row: number; readonly read: Extract<ReadInput, { kind: 'valid' }> }
    >();
    for (const [row, fields] of rows.entries()) {
      const id = `${ID_PREFIX[kind]}${this.#ids.token(ID_BITS)}`;
      const read = readInput({ kind, id, organizationId }, mergePatch({}, fields), this.#box);
      results.push(read.kind === 'invalid' ? invalid(kind, read) : { kind: 'written', id });
      if (read.kind === 'valid') sound.set(id, { row, read });
    }
    while (sound.size > 0) {
      const ids = [...sound.keys()];
      const outcome = await this.#live.commit<WriteRefusal>(async () => ({
        changes: ids.map((id) => ({ kind, id, model: sound.get(id)!.read.model })),
        writes: [
          ...ids.map((id): StoreChange => {
            const { document } = sound.get(id)!.read;
            return { kind, id, expect: 'absent', organizationId, document };
          }),
          auditEntry(this.#clock, this.#ids, author, {
            action: 'import',
            kind,
            id: `${ids.length} objects`,
            fields: [],
          }),
        ],
      }));
      if (outcome.kind === 'committed') break;
      if (outcome.kind !== 'refused') throw new Error(`an import ended as ${outcome.kind}`);
      const objected = new Set(outcome.objections.map(({ on }) => on.id));
      // An objection against somebody else's object cannot be pinned to a row: then none is taken.
      const faulty = ids.some((id) => objected.has(id)) ? ids.filter((id) => objected.has(id)) : ids;
      for (const id of faulty) {
        const own = outcome.objections.filter(({ on }) => on.id === id);
        results[sound.get(id)!.row] = refused(own.length > 0 ? own : outcome.objections, kind, id);
        sound.delete(id);
      }
    }
    return results;
  }

  /** @param patch RFC 7396: null unsets, objects are merged */
  async update(
    author: Author,
    kind: DirectoryKind,
    id: string,
    patch: Document,
    options: ChangeOptions = {},
  ): Promise<WriteResult> {
    const written = await this.#live.commit<WriteRefusal>(async (snapshot) => {
      const object = await this.#writable(author, kind, id, snapshot, options);
      if ('refusal' in object) return object.refusal;
      return this.#changed(object, patch, author);
    });
    return this.#written(written, kind, id);
  }

  async remove(
    author: Author,
    kind: DirectoryKind,
    id: string,
    options: RemoveOptions = {},
  ): Promise<RemoveResult> {
    let affected = NOBODY;
    const removed = await this.#live.commit<WriteRefusal>(async (snapshot) => {
      const object = await this.#writable(author, kind, id, snapshot, options);
      if ('refusal' in object) return object.refusal;
      affected = dependants(snapshot, kind, id);
      const inUse = affected.phoneNumbers.length + affected.agents.length > 0;
      if (inUse && options.force !== true) return { kind: 'in_use', affected };
      return this.#cascade(author, snapshot, object);
    });
    if (removed.kind === 'refused') return refused(removed.objections, kind, id);
    return removed.kind === 'committed' ? { kind: 'removed', affected } : removed;
  }

  /** An object that the author may change now, or why not. */
  async #writable(
    author: Author,
    kind: DirectoryKind,
    id: string,
    snapshot: CompiledSnapshot,
    options: ChangeOptions,
  ): Promise<StoredObject | { readonly refusal: WriteRefusal }> {
    const object = await this.#store.get(kind, id);
    if (object === undefined || object.organizationId !== author.organizationId) {
      const fromConfig = configOwner(snapshot, kind, id) === author.organizationId;
      if (fromConfig) return { refusal: { kind: 'read_only', source: 'config', providerId: undefined } };
      return { refusal: { kind: 'not_found' } };
    }
    const providerId = providerOf(object);
    if (providerId !== undefined && providerId !== options.providerId) {
      return { refusal: { kind: 'read_only', source: 'provider', providerId } };
    }
    if (options.ifVersion !== undefined && options.ifVersion !== object.version) {
      return { refusal: { kind: 'changed' } };
    }
    return object;
  }

  #changed(object: StoredObject, patch: Document, author: Author): Plan | WriteRefusal {
    const kind = object.kind as DirectoryKind;
    const { id, organizationId, version } = object;
    const fixed = Object.entries({ id, organizationId })
      .filter(([name, value]) => patch[name] !== undefined && patch[name] !== value)
      .map(([name]): Fault => ({ path: [name], message: 'cannot be changed', hint: undefined }));
    if (fixed.length > 0) return { kind: 'invalid', faults: fixed };
    let fields: Document;
    try {
      fields = openFields(object, this.#box, replacedSecrets(object, patch));
    } catch (error) {
      if (!(error instanceof SealFault)) throw error;
      const hint = 'give the secret anew';
      return { kind: 'invalid', faults: [{ path: [], message: error.message, hint }] };
    }
    const identity: Identity = { kind, id, organizationId, providerId: providerOf(object) };
    const read = readInput(identity, mergePatch(fields, patch), this.#box);
    if (read.kind === 'invalid') return invalid(kind, read);
    return {
      changes: [{ kind, id, model: read.model }],
      writes: [
        { kind, id, expect: version, organizationId, document: read.document },
        this.#audit(author, 'update', kind, id, Object.keys(patch)),
      ],
    };
  }

  /** The object goes, what lives on it too, and whoever referred to any of it does no longer. */
  async #cascade(author: Author, snapshot: CompiledSnapshot, object: StoredObject): Promise<Plan> {
    const kind = object.kind as DirectoryKind;
    const { id } = object;
    const gone = new Set(kind === 'phoneNumber' ? [id] : []);
    if (kind === 'sipCredentials') for (const number of numbersOn(snapshot, id)) gone.add(number.id);
    const changes: Change[] = [{ kind, id, model: undefined }];
    const writes: StoreChange[] = [{ kind, id, expect: object.version, document: null }];
    const goneNumbers = await this.#read(
      'phoneNumber',
      [...gone].filter((number) => number !== id),
    );
    for (const number of goneNumbers) {
      changes.push({ kind: 'phoneNumber', id: number.id, model: undefined });
      writes.push({ kind: 'phoneNumber', id: number.id, expect: number.version, document: null });
    }
    const unlink = (each: StoredObject, patch: Document): void => {
      const plan = this.#changed(each, patch, author);
      if ('kind' in plan)
        throw new Error(`${each.kind}/${each.id} cannot be unlinked: ${JSON.stringify(plan)}`);
      changes.push(...plan.changes);
      // One entry in the audit log for the whole.
      writes.push(...plan.writes.filter((write) => write.kind !== 'auditEntry'));
    };
    if (kind === 'sipCredentials') {
      const transferring = numbersTransferring(snapshot, id).filter((number) => !gone.has(number.id));
      for (const each of await this.#read(
        'phoneNumber',
        transferring.map((number) => number.id),
      )) {
        unlink(each, { transferTrunkId: null });
      }
    }
    if (kind === 'agent') {
      const answered = numbersAnsweredBy(snapshot, id).map((number) => number.id);
      for (const each of await this.#read('phoneNumber', answered)) unlink(each, { inboundAgentId: null });
    }
    const callers = callingFrom(snapshot, gone);
    const agents = await this.#read(
      'agent',
      callers.map((agent) => agent.id),
    );
    for (const each of agents) {
      const agent = callers.find((caller) => caller.id === each.id)!;
      const { outboundNumberId, fallbackNumberIds } = agent;
      const outbound = outboundNumberId === undefined || gone.has(outboundNumberId) ? null : outboundNumberId;
      unlink(each, {
        outboundNumberId: outbound,
        fallbackNumberIds: fallbackNumberIds.filter((number) => !gone.has(number)),
      });
    }
    writes.push(this.#audit(author, 'remove', kind, id, []));
    return { changes, writes };
  }

  /** Those of the store; the config file's objects do not refer to the store's. */
  async #read(kind: DirectoryKind, ids: readonly string[]): Promise<StoredObject[]> {
    const found: StoredObject[] = [];
    for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
      const some = ids.slice(at, at + READ_AT_ONCE).map((id) => this.#store.get(kind, id));
      for (const object of await Promise.all(some)) if (object !== undefined) found.push(object);
    }
    return found;
  }

  #written(outcome: Committed | WriteRefusal, kind: DirectoryKind, id: string): WriteResult {
    if (outcome.kind === 'refused') return refused(outcome.objections, kind, id);
    if (outcome.kind !== 'committed') return outcome;
    const object = outcome.objects.find((each) => each.kind === kind && each.id === id);
    if (object === undefined || object.document === null) throw new Error(`${kind}/${id} was not written`);
    return { kind: 'written', id, object };
  }

  #audit(
    author: Author,
    action: string,
    kind: DirectoryKind,
    id: string,
    fields: readonly string[],
  ): StoreChange {
    return auditEntry(this.#clock, this.#ids, author, { action, kind, id, fields });
  }
}

function invalid(kind: DirectoryKind, read: Extract<ReadInput, { readonly kind: 'invalid' }>): WriteRefusal {
  const faults = read.issues.flatMap((issue) => faultsOf(issue, SCHEMAS[kind], read.value));
  return { kind: 'invalid', faults };
}

function taken(id: string): WriteRefusal {
  return {
    kind: 'conflict',
    faults: [{ path: ['id'], message: `is taken already: ${id}`, hint: undefined }],
  };
}

/** A reference to nothing is the request's own fault; all else is between it and others. */
function refused(objections: readonly Objection[], kind: DirectoryKind, id: string): WriteRefusal {
  const faults = objections.map(({ on, path, message, hint }): Fault => {
    const own = on.kind === kind && on.id === id;
    return { path: own ? path : [], message: own ? message : `${on.kind} ${on.id}: ${message}`, hint };
  });
  return {
    kind: objections.some((objection) => objection.kind === 'reference') ? 'invalid' : 'conflict',
    faults,
  };
}

/** Secrets that a patch replaces or takes away: what they were need not be known. */
function replacedSecrets(object: StoredObject, patch: Document): Set<string> {
  const replaced = new Set<string>();
  for (const name of secretNames(object)) {
    let inner: JsonValue | undefined = patch;
    for (const part of name.split('.')) {
      // A null takes away everything below it.
      if (!isRecord(inner)) break;
      inner = inner[part];
    }
    if (inner !== undefined) replaced.add(name);
  }
  return replaced;
}

/** What would be left pointing to nothing. Numbers that are only transferred by a trunk do not keep it. */
function dependants(snapshot: CompiledSnapshot, kind: DirectoryKind, id: string): AffectedAgents {
  switch (kind) {
    case 'sipCredentials':
      return affectedAgents(snapshot, id);
    case 'agent':
      return {
        agents: [],
        phoneNumbers: numbersAnsweredBy(snapshot, id).map((number) => ({
          id: number.id,
          phoneNumber: number.phoneNumber,
          linkedAgent: { id, name: snapshot.agent(id)?.name ?? id },
        })),
      };
    case 'phoneNumber': {
      const agents = callingFrom(snapshot, new Set([id]));
      return { phoneNumbers: [], agents: agents.map((agent) => ({ id: agent.id, name: agent.name })) };
    }
    case 'organization':
      return NOBODY;
  }
}

function configOwner(snapshot: CompiledSnapshot, kind: DirectoryKind, id: string): string | undefined {
  const { parts } = snapshot;
  const found =
    kind === 'sipCredentials'
      ? parts.trunks.get(id)?.trunk
      : kind === 'phoneNumber'
        ? parts.numbers.get(id)
        : kind === 'agent'
          ? parts.agents.get(id)
          : undefined;
  if (kind === 'organization') return parts.organizations.get(id)?.source === 'config' ? id : undefined;
  return found?.source === 'config' ? found.organizationId : undefined;
}
