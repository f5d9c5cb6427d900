/** The audit log: who changed what and when. Names of fields, never values. */
import * as z from 'zod';
import type { StoredObject } from '#directory/store.js';
import { component } from './openapi.js';
import { listOf, pageQuery } from './page.js';
import { invalid } from './problem.js';
import { ok, type Route, route } from './route.js';
import { time } from './schemas.js';

const entrySchema = component(
  'AuditEntry',
  z.object({
    id: z.string(),
    at: time,
    by: z.string().meta({ description: '`administrator`, `token ID`, `provider ID` or `command`.' }),
    action: z.string().meta({ description: 'create, update, remove, abandon, import, revoke…' }),
    kind: z.string(),
    objectId: z.string(),
    fields: z.array(z.string()).meta({ description: 'Names of the fields that were given.' }),
    detail: z
      .string()
      .nullable()
      .meta({ description: 'What else is to be known, such as what was left at a provider.' }),
  }),
);

/** Ids of entries grow with time. */
const ENTRY_ID = /^[a-z0-9-]{1,128}$/;

export const auditRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/audit',
    id: 'listAudit',
    tag: 'Organisations',
    summary: 'Changes, oldest first; kept for 90 days.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(entrySchema),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
      if (after !== undefined && !ENTRY_ID.test(after)) {
        const hint = 'leave it away to start anew';
        throw invalid([{ path: 'cursor', message: 'is not one that this list gave out', hint }]);
      }
      // One more than asked for tells whether there are more.
      const found = await ports.objects.list('auditEntry', { organizationId, after, limit: limit + 1 });
      const items = found.slice(0, limit);
      const last = found.length > limit ? items.at(-1) : undefined;
      return ok({
        items: items.map(shown),
        nextCursor: last === undefined ? null : Buffer.from(last.id).toString('base64url'),
      });
    },
  }),
];

function shown({ id, createdAt, document }: StoredObject): z.output<typeof entrySchema> {
  const { at, by, action, kind, id: objectId, fields, detail } = document;
  return {
    id,
    at: typeof at === 'string' ? at : new Date(createdAt).toISOString(),
    by: String(by),
    action: String(action),
    kind: String(kind),
    objectId: String(objectId),
    fields: Array.isArray(fields) ? fields.map(String) : [],
    detail: typeof detail === 'string' ? detail : null,
  };
}
