/**
 * What the directory's objects look like in a store: the fields as the API takes them, their secrets taken out and
 * sealed. Going in, a document must be valid to the letter. Coming out it is read with patience: fields that this
 * version does not know are passed over, and what cannot be used at all is said instead of thrown.
 */
import type * as z from 'zod';
import type { Agent } from './agent.js';
import type { NumberInput } from './draft.js';
import { toAgent, toNumber, toOrganization, toTrunk } from './models.js';
import type { Organization } from './organization.js';
import { agentSchema, numberSchema, organizationSchema, trunkSchema } from './schema.js';
import { Secret } from './secret.js';
import type { SecretBox } from './secret-box.js';
import { SealFault } from './secret-box.js';
import type { Document, JsonValue, ObjectKind, StoredObject } from './store.js';
import type { Trunk } from './trunk.js';

/** The kinds that make up the snapshot. */
export const DIRECTORY_KINDS = ['organization', 'sipCredentials', 'phoneNumber', 'agent'] as const;
export type DirectoryKind = (typeof DIRECTORY_KINDS)[number];

export type Model =
  | { readonly kind: 'organization'; readonly model: Organization }
  | { readonly kind: 'sipCredentials'; readonly model: Trunk }
  | { readonly kind: 'phoneNumber'; readonly model: NumberInput }
  | { readonly kind: 'agent'; readonly model: Agent };

export const SCHEMAS: Readonly<Record<DirectoryKind, z.ZodType>> = {
  organization: organizationSchema,
  sipCredentials: trunkSchema,
  phoneNumber: numberSchema,
  agent: agentSchema,
};

export interface Identity {
  readonly kind: DirectoryKind;
  readonly id: string;
  readonly organizationId: string;
  /** Trunks that a provider's connection made. */
  readonly providerId?: string | undefined;
}

export type ReadInput =
  | { readonly kind: 'valid'; readonly model: Model; readonly document: Document }
  | { readonly kind: 'invalid'; readonly value: unknown; readonly issues: readonly z.core.$ZodIssue[] };

export function isDirectoryKind(kind: ObjectKind): kind is DirectoryKind {
  return DIRECTORY_KINDS.some((known) => known === kind);
}

/** Reads fields as a person wrote them, and makes the document to store. */
export function readInput(identity: Identity, fields: Document, box: SecretBox): ReadInput {
  const value = withIdentity(identity, fields);
  const result = SCHEMAS[identity.kind].safeParse(value);
  if (!result.success) return { kind: 'invalid', value, issues: result.error.issues };
  const plain = structuredClone(fields) as Record<string, JsonValue>;
  // The envelope has them.
  delete plain.id;
  delete plain.organizationId;
  const secrets: Record<string, string> = {};
  for (const [path, secret] of secretsIn(result.data)) {
    const field = path.join('.');
    secrets[field] = box.seal(secret, { kind: identity.kind, id: identity.id, field });
    take(plain, path);
  }
  const document: Document = {
    fields: plain,
    secrets,
    ...(identity.providerId === undefined ? {} : { providerId: identity.providerId }),
  };
  return { kind: 'valid', model: modelOf(identity, result.data), document };
}

/** What an object is, or why it cannot be used. */
export function readObject(object: StoredObject, box: SecretBox): Model | string {
  const { kind } = object;
  if (!isDirectoryKind(kind)) return `is of another kind: ${kind}`;
  const identity = {
    kind,
    id: object.id,
    organizationId: object.organizationId,
    providerId: providerOf(object),
  };
  let fields: Document;
  try {
    fields = openFields(object, box);
  } catch (error) {
    if (error instanceof SealFault) return error.message;
    throw error;
  }
  const value = withIdentity(identity, fields);
  let result = SCHEMAS[kind].safeParse(value);
  if (!result.success && dropUnknown(value, result.error.issues)) result = SCHEMAS[kind].safeParse(value);
  if (result.success) return modelOf(identity, result.data);
  return result.error.issues
    .map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`)
    .slice(0, 5)
    .join('; ');
}

/** The fields without secrets. */
function fieldsOf(object: StoredObject): Document {
  const { fields } = object.document;
  return isRecord(fields) ? fields : {};
}

/** Paths of the secrets that an object has: `authPassword`. */
export function secretNames(object: StoredObject): string[] {
  const { secrets } = object.document;
  return isRecord(secrets) ? Object.keys(secrets) : [];
}

/** @returns the provider that a trunk came with */
export function providerOf(object: StoredObject): string | undefined {
  const { providerId } = object.document;
  return typeof providerId === 'string' ? providerId : undefined;
}

/**
 * The fields with their secrets opened, as they were once written.
 * @param but paths of secrets that are not wanted, so that those that cannot be opened can be replaced
 * @throws SealFault
 */
export function openFields(
  object: StoredObject,
  box: SecretBox,
  but: ReadonlySet<string> = new Set(),
): Document {
  const fields = structuredClone(fieldsOf(object)) as Record<string, JsonValue>;
  const { secrets } = object.document;
  if (!isRecord(secrets)) return fields;
  for (const [field, sealed] of Object.entries(secrets)) {
    if (but.has(field)) continue;
    const { kind, id } = object;
    put(fields, field.split('.'), box.open(String(sealed), { kind, id, field }).reveal());
  }
  return fields;
}

/** The document with its secrets sealed by the current key; undefined when they are already. @throws SealFault */
export function resealed(object: StoredObject, box: SecretBox): Document | undefined {
  const { secrets } = object.document;
  if (!isRecord(secrets)) return undefined;
  const { kind, id } = object;
  let changed = false;
  const anew: Record<string, JsonValue> = {};
  for (const [field, sealed] of Object.entries(secrets)) {
    const current = box.isCurrent(String(sealed));
    changed ||= !current;
    anew[field] = current
      ? sealed
      : box.seal(box.open(String(sealed), { kind, id, field }), { kind, id, field });
  }
  return changed ? { ...object.document, secrets: anew } : undefined;
}

/** RFC 7396: null takes a member away, objects are merged, everything else replaces. */
export function mergePatch(target: Document, patch: Document): Document {
  const merged: Record<string, JsonValue> = { ...target };
  for (const [name, value] of Object.entries(patch)) {
    // A member of that name would change the object itself.
    if (name === '__proto__') continue;
    if (value === null) delete merged[name];
    else if (isRecord(value)) {
      const before = merged[name];
      merged[name] = mergePatch(isRecord(before) ? before : {}, value);
    } else merged[name] = value;
  }
  return merged;
}

export function isRecord(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withIdentity({ kind, id, organizationId }: Identity, fields: Document): Record<string, unknown> {
  return kind === 'organization' ? { ...fields, id } : { ...fields, id, organizationId };
}

function modelOf({ kind, providerId }: Identity, data: unknown): Model {
  switch (kind) {
    case 'organization':
      return { kind, model: toOrganization(data as z.output<typeof organizationSchema>, 'manual') };
    case 'sipCredentials': {
      const input = data as z.output<typeof trunkSchema>;
      return { kind, model: toTrunk(input, providerId === undefined ? 'manual' : 'provider', providerId) };
    }
    case 'phoneNumber':
      return { kind, model: toNumber(data as z.output<typeof numberSchema>, 'manual') };
    case 'agent':
      return { kind, model: toAgent(data as z.output<typeof agentSchema>, 'manual') };
  }
}

function* secretsIn(value: unknown, path: readonly string[] = []): Iterable<[readonly string[], Secret]> {
  if (value instanceof Secret) yield [path, value];
  else if (typeof value === 'object' && value !== null && !(value instanceof Map)) {
    for (const [name, inner] of Object.entries(value)) yield* secretsIn(inner, [...path, name]);
  }
}

type Holder = Record<string, JsonValue>;

function holderAt(root: Holder, path: readonly string[], make: boolean): Holder | undefined {
  let holder = root;
  for (const name of path.slice(0, -1)) {
    const inner = Object.hasOwn(holder, name) ? holder[name] : undefined;
    if (typeof inner === 'object' && inner !== null) holder = inner as Holder;
    else if (make) {
      const made: Holder = {};
      holder[name] = made;
      holder = made;
    } else return undefined;
  }
  return holder;
}

function put(root: Holder, path: readonly string[], value: string): void {
  const name = path.at(-1);
  const holder = holderAt(root, path, true);
  if (name !== undefined && holder !== undefined) holder[name] = value;
}

function take(root: Holder, path: readonly string[]): void {
  const name = path.at(-1);
  const holder = holderAt(root, path, false);
  if (name !== undefined && holder !== undefined) delete holder[name];
}

/** @returns whether there was something to drop */
function dropUnknown(value: unknown, issues: readonly z.core.$ZodIssue[]): boolean {
  let dropped = false;
  for (const issue of issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    let holder: unknown = value;
    for (const part of issue.path) {
      holder =
        typeof holder === 'object' && holder !== null
          ? (holder as Record<PropertyKey, unknown>)[part]
          : undefined;
    }
    if (typeof holder !== 'object' || holder === null) continue;
    for (const key of issue.keys) delete (holder as Record<string, unknown>)[key];
    dropped = true;
  }
  return dropped;
}
