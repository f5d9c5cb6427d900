/**
 * One snapshot of two sources: the config file's objects, compiled and sound, and the store's. Where they do not fit,
 * the config wins: the store's object is left out, or is without what it refers to, and that is reported. Nothing here
 * fails: a gateway starts with what it can use.
 */
import type { CompiledSnapshot } from './compiled-snapshot.js';
import type { DirectoryKind, Model } from './documents.js';
import { type Complaint, Draft } from './draft.js';
import type { ObjectKey } from './store.js';
import type { Trunk } from './trunk.js';

/** What stands in the config file. */
export interface ConfigPart {
  readonly snapshot: CompiledSnapshot;
  /** `calls.relayHeaders`: part of every trunk. */
  readonly relayHeaders: readonly string[];
}

/** An object of the store that is not, or not wholly, in force. */
export interface DirectoryProblem {
  readonly kind: DirectoryKind;
  readonly id: string;
  /** It is not in force at all; false: without the field that is told. */
  readonly leftOut: boolean;
  readonly detail: string;
}

export interface Change {
  readonly kind: DirectoryKind;
  readonly id: string;
  /** undefined: it goes. */
  readonly model: Model | undefined;
}

/** A complaint and the object that it is about. */
export interface Objection extends Complaint {
  readonly on: { readonly kind: DirectoryKind; readonly id: string };
}

/**
 * Applies changes to a snapshot, all or nothing.
 * @returns the draft to finish, or everything that speaks against it
 */
export function apply(
  base: CompiledSnapshot,
  changes: readonly Change[],
  relayHeaders: readonly string[],
): Draft | readonly Objection[] {
  const objections: Objection[] = [];
  const draft = new Draft(base, relayHeaders);
  const about =
    ({ kind, id }: Change) =>
    (complaint: Complaint): void => {
      objections.push({ ...complaint, on: { kind, id } });
    };
  const { parts } = base;
  const removed = changes.some(({ model }) => model === undefined);
  for (const change of changes) {
    if (change.model !== undefined && change.kind !== 'phoneNumber') continue;
    // A number that changes leaves its old place first: others may take it in the same breath.
    if (sourceOf(base, change) !== 'config') remove(draft, change);
  }
  for (const change of changes) {
    if (change.model === undefined) continue;
    const { id } = change;
    const config = sourceOf(base, change) === 'config';
    const complain = about(change);
    if (config) {
      const message = `is taken already: ${id}`;
      complain({ path: ['id'], kind: 'conflict', message, hint: 'the configuration file has it' });
    } else if (change.model.kind === 'organization') draft.replaceOrganization(change.model.model);
    else if (change.model.kind === 'sipCredentials') {
      draft.replaceTrunk(relaying(change.model.model, relayHeaders), complain);
    }
  }
  for (const change of changes) {
    if (change.model?.kind !== 'agent' || parts.agents.get(change.id)?.source === 'config') continue;
    draft.replaceAgent(change.model.model, about(change));
  }
  for (const change of changes) {
    if (change.model?.kind !== 'phoneNumber' || parts.numbers.get(change.id)?.source === 'config') continue;
    draft.putNumber(change.model.model, about(change));
  }
  draft.link();
  draft.checkShared();
  draft.checkPlaces();
  if (removed) objections.push(...dangling(draft));
  return objections.length > 0 ? objections : draft;
}

/** Config and store in one, from scratch. */
export function merge(
  { snapshot, relayHeaders }: ConfigPart,
  models: Iterable<Model>,
): { readonly draft: Draft; readonly problems: DirectoryProblem[] } {
  const draft = new Draft(snapshot, relayHeaders);
  const troubled = new Map<string, Trouble>();
  const all = [...models];
  // Complaints may come while an object is put, or later: of what it refers to, and of who has its number too.
  const put = (
    { kind, model: { id } }: Model,
    work: (complain: (complaint: Complaint) => void) => boolean,
  ): void => {
    const trouble = (): Trouble => {
      const key = `${kind}/${id}`;
      const known = troubled.get(key) ?? { kind, id, leftOut: false, told: [] };
      troubled.set(key, known);
      return known;
    };
    const within = work(({ path, message }) => trouble().told.push(`${path.join('.')} ${message}`));
    if (!within) trouble().leftOut = true;
  };
  for (const each of all) {
    if (each.kind === 'organization') put(each, (complain) => draft.putOrganization(each.model, complain));
    else if (each.kind === 'sipCredentials') {
      put(each, (complain) => draft.putTrunk(relaying(each.model, relayHeaders), complain));
    }
  }
  for (const each of all) {
    if (each.kind === 'agent') put(each, (complain) => draft.putAgent(each.model, complain));
  }
  for (const each of all) {
    if (each.kind === 'phoneNumber') put(each, (complain) => draft.putNumber(each.model, complain));
  }
  for (const id of new Set(draft.checkShared())) {
    draft.removeNumber(id);
    const trouble = troubled.get(`phoneNumber/${id}`);
    if (trouble !== undefined) trouble.leftOut = true;
  }
  for (const id of draft.checkPlaces(true)) {
    for (const each of all) {
      if (each.kind !== 'phoneNumber' || each.model.credentialsId !== id) continue;
      put(each, (complain) => {
        complain({
          path: ['credentialsId'],
          kind: 'conflict',
          message: `is left out: ${id}`,
          hint: undefined,
        });
        draft.removeNumber(each.model.id);
        return false;
      });
    }
    draft.removeTrunk(id);
    const trouble = troubled.get(`sipCredentials/${id}`);
    if (trouble !== undefined) trouble.leftOut = true;
  }
  draft.link();
  const problems = Array.from(troubled.values(), ({ kind, id, leftOut, told }) => ({
    kind,
    id,
    leftOut,
    detail: told.join('; '),
  }));
  return { draft, problems };
}

interface Trouble {
  readonly kind: DirectoryKind;
  readonly id: string;
  leftOut: boolean;
  readonly told: string[];
}

function remove(draft: Draft, { kind, id }: Change): void {
  switch (kind) {
    case 'organization':
      draft.removeOrganization(id);
      return;
    case 'sipCredentials':
      draft.removeTrunk(id);
      return;
    case 'agent':
      draft.removeAgent(id);
      return;
    case 'phoneNumber':
      draft.removeNumber(id);
  }
}

function* dangling(draft: Draft): Iterable<Objection> {
  const { numbers, agents } = draft.dangling();
  const refers = (key: ObjectKey & { kind: DirectoryKind }): Objection => ({
    on: key,
    path: [],
    kind: 'conflict',
    message: `${key.kind} ${key.id} refers to what is to be removed`,
    hint: 'change or remove it first',
  });
  for (const { id } of numbers) yield refers({ kind: 'phoneNumber', id });
  for (const { id } of agents) yield refers({ kind: 'agent', id });
}

function sourceOf({ parts }: CompiledSnapshot, { kind, id }: Change): string | undefined {
  switch (kind) {
    case 'organization':
      return parts.organizations.get(id)?.source;
    case 'sipCredentials':
      return parts.trunks.get(id)?.trunk.source;
    case 'agent':
      return parts.agents.get(id)?.source;
    case 'phoneNumber':
      return parts.numbers.get(id)?.source;
  }
}

function relaying(trunk: Trunk, relayHeaders: readonly string[]): Trunk {
  return { ...trunk, relayHeaders: [...relayHeaders, ...trunk.relayHeaders] };
}
