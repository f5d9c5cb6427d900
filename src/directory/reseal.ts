/** Seals the secrets of a store anew, while others go on writing to it. */
import { resealed } from './documents.js';
import { SealFault, type SecretBox } from './secret-box.js';
import { OBJECT_KINDS, type ObjectStore, type StoredObject } from './store.js';

export interface Resealed {
  /** Objects that were written anew. */
  readonly changed: number;
  /** Why others could not be opened. */
  readonly faults: readonly string[];
}

const AT_ONCE = 200;

/** With the current key of the box. Rejects with StoreUnavailable; it can be done again then. */
export async function resealAll(store: ObjectStore, box: SecretBox): Promise<Resealed> {
  let changed = 0;
  const faults: string[] = [];
  for (const kind of OBJECT_KINDS) {
    for (let after: string | undefined; ; ) {
      const page = await store.list(kind, { after, limit: AT_ONCE });
      if (page.length === 0) break;
      after = page.at(-1)?.id;
      for (const object of page) {
        const outcome = await resealOne(store, object, box);
        if (typeof outcome === 'string') faults.push(outcome);
        else if (outcome) changed++;
      }
    }
  }
  return { changed, faults };
}

/** @returns whether it was written, or why it cannot be opened */
async function resealOne(
  store: ObjectStore,
  object: StoredObject,
  box: SecretBox,
): Promise<boolean | string> {
  const { kind, id } = object;
  for (let state: StoredObject | undefined = object; state !== undefined; state = await store.get(kind, id)) {
    let document: ReturnType<typeof resealed>;
    try {
      document = resealed(state, box);
    } catch (error) {
      if (error instanceof SealFault) return error.message;
      throw error;
    }
    if (document === undefined) return false;
    const { organizationId, version } = state;
    const outcome = await store.transaction([{ kind, id, expect: version, organizationId, document }]);
    if (outcome.kind === 'committed') return true;
  }
  return false;
}
