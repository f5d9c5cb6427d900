/** The audit log: who changed what and when. Names of fields only, never a value. */
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Change, ObjectStore } from './store.js';

export interface AuditAuthor {
  readonly organizationId: string;
  /** `token ID`, `administrator`, `provider ID`, `command`. */
  readonly name: string;
}

export interface AuditedAction {
  /** `create`, `update`, `remove`, `import`, `revoke`… */
  readonly action: string;
  readonly kind: string;
  readonly id: string;
  /** Fields that were given. */
  readonly fields: readonly string[];
  /** What else is to be known of it, without a secret. Default none. */
  readonly detail?: string | undefined;
}

const ID_BITS = 50;
/** Enough for the year 5000 in base 36, so that ids sort by time. */
const TIME_DIGITS = 9;

/** To be written in the transaction of what it tells. */
export function auditEntry(clock: Clock, ids: Ids, author: AuditAuthor, action: AuditedAction): Change {
  const at = clock.wallNow();
  return {
    kind: 'auditEntry',
    id: `${timeId(at)}-${ids.token(ID_BITS)}`,
    expect: 'absent',
    organizationId: author.organizationId,
    document: {
      at: new Date(at).toISOString(),
      by: author.name,
      action: action.action,
      kind: action.kind,
      id: action.id,
      fields: [...action.fields],
      ...(action.detail === undefined ? {} : { detail: action.detail }),
    },
  };
}

/** Removes entries from before `time`, at most a thousand; tells how many. Rejects with StoreUnavailable. */
export async function forgetAudit(store: ObjectStore, time: number): Promise<number> {
  const oldest = await store.list('auditEntry', { limit: 1_000 });
  const limit = timeId(time);
  const old = oldest.filter(({ id }) => id < limit);
  if (old.length === 0) return 0;
  const outcome = await store.transaction(
    old.map(({ kind, id }) => ({ kind, id, expect: 'any', document: null })),
  );
  return outcome.kind === 'committed' ? old.length : 0;
}

function timeId(time: number): string {
  return Math.floor(time).toString(36).padStart(TIME_DIGITS, '0');
}
