/** Organisations: whom everything belongs to. Only the administrator makes and removes them. */
import * as z from 'zod';
import type { Organization } from '#directory/organization.js';
import { organizationSchema } from '#directory/schema.js';
import type { Snapshot } from '#directory/snapshot.js';
import { DEFAULT_ORGANIZATION } from '#directory/trunk.js';
import { callerName } from './caller.js';
import {
  CHANGE_PROBLEMS,
  CREATE_PROBLEMS,
  etagHeader,
  fieldsOf,
  metaOf,
  metaShape,
  removed,
  wantedVersion,
  written,
} from './edit.js';
import { answerOf, fieldsBut, patchOf, plain } from './mirror.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem } from './problem.js';
import { type ApiRequest, created, noContent, ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const KIND = 'organization';
const WHAT = 'organisation';

const fields = fieldsBut(organizationSchema.shape, 'id');

const answerSchema = component(
  'Organization',
  answerOf(organizationSchema.shape).extend({ name: z.string(), source, ...metaShape }),
);

const shared = { tag: 'Organisations' } as const;

export const organizationRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/organizations',
    id: 'listOrganizations',
    summary: 'Organisations: all for the administrator, its own for a token.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(answerSchema),
    handle(request, ports) {
      const { limit, cursor } = request.query;
      const ids = Array.from(organizationIds(ports.directory.current)).filter((id) => mayKnow(request, id));
      const { items, nextCursor } = page(ids, { limit, cursor, placeOf: (id) => id });
      return ok({ items: items.map((id) => shown(id, ports)), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/organizations',
    id: 'createOrganization',
    summary: 'Adds an organisation.',
    access: 'administrator',
    body: component(
      'NewOrganization',
      z.strictObject({ ...fields, id: organizationSchema.shape.id.optional() }),
    ),
    status: 201,
    answer: answerSchema,
    etag: true,
    problems: CREATE_PROBLEMS,
    async handle(request, ports) {
      const { id: wanted } = request.body;
      if (wanted !== undefined && organizationIds(ports.directory.current).has(wanted)) {
        throw new Problem(409, 'conflict', 'Conflict', 'id is taken already', [
          { path: 'id', message: `is taken already: ${wanted}` },
        ]);
      }
      const author = { organizationId: wanted ?? DEFAULT_ORGANIZATION, name: callerName(request.caller) };
      const { id } = written(await ports.editor.create(author, KIND, fieldsOf(request)), WHAT);
      return created(...answerFor(ports, id), `/organizations/${id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/organizations/{id}',
    id: 'getOrganization',
    summary: 'One organisation.',
    access: 'read',
    params: byId,
    answer: answerSchema,
    etag: true,
    problems: { 404: 'There is no such object.' },
    handle(request, ports) {
      return ok(...answerFor(ports, known(request, ports, request.params.id)));
    },
  }),
  route({
    ...shared,
    method: 'PATCH',
    path: '/organizations/{id}',
    id: 'updateOrganization',
    summary: 'Changes an organisation (JSON Merge Patch, RFC 7396).',
    access: 'administrator',
    params: byId,
    body: component('OrganizationPatch', patchOf(fields)),
    answer: answerSchema,
    etag: true,
    problems: CHANGE_PROBLEMS,
    async handle(request, ports) {
      const id = known(request, ports, request.params.id);
      const ifVersion = wantedVersion({ ...request, organizationId: id }, ports, KIND, id);
      const author = { organizationId: id, name: callerName(request.caller) };
      written(await ports.editor.update(author, KIND, id, fieldsOf(request), { ifVersion }), WHAT);
      return ok(...answerFor(ports, id));
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/organizations/{id}',
    id: 'deleteOrganization',
    summary: 'Removes an organisation that has neither trunks, numbers, agents nor tokens in force.',
    access: 'administrator',
    params: byId,
    status: 204,
    etag: true,
    problems: {
      ...CHANGE_PROBLEMS,
      409: 'It is read-only (`read_only`), or has something still (`in_use`).',
    },
    async handle(request, ports) {
      const id = known(request, ports, request.params.id);
      const { current } = ports.directory;
      const tokens = await ports.tokens.list(id);
      if (hasObjects(current, id) || tokens.some(({ revokedAt }) => revokedAt === null)) {
        throw new Problem(
          409,
          'in_use',
          'In use',
          'the organisation has trunks, numbers, agents or tokens still: remove those first',
        );
      }
      const ifVersion = wantedVersion({ ...request, organizationId: id }, ports, KIND, id);
      const author = { organizationId: id, name: callerName(request.caller) };
      removed(await ports.editor.remove(author, KIND, id, { ifVersion }), WHAT);
      return noContent();
    },
  }),
];

const idsOf = new WeakMap<Snapshot, ReadonlySet<string>>();

/** Those that are described, those that something belongs to, and the default one. */
export function organizationIds(snapshot: Snapshot): ReadonlySet<string> {
  let ids = idsOf.get(snapshot);
  if (ids === undefined) {
    const found = new Set([DEFAULT_ORGANIZATION]);
    for (const { id } of snapshot.organizations()) found.add(id);
    for (const { organizationId } of snapshot.trunks()) found.add(organizationId);
    for (const { organizationId } of snapshot.agents()) found.add(organizationId);
    idsOf.set(snapshot, found);
    ids = found;
  }
  return ids;
}

function hasObjects(snapshot: Snapshot, organizationId: string): boolean {
  const belongs = (objects: Iterable<{ readonly organizationId: string }>): boolean => {
    for (const object of objects) if (object.organizationId === organizationId) return true;
    return false;
  };
  return belongs(snapshot.trunks()) || belongs(snapshot.agents()) || belongs(snapshot.numbers());
}

function mayKnow({ caller }: Pick<ApiRequest<unknown, unknown, unknown>, 'caller'>, id: string): boolean {
  return caller.kind === 'administrator' || caller.organizationId === id;
}

function known(
  request: Pick<ApiRequest<unknown, unknown, unknown>, 'caller'>,
  ports: HttpPorts,
  id: string,
): string {
  if (organizationIds(ports.directory.current).has(id) && mayKnow(request, id)) return id;
  throw notFound('no such organisation');
}

function answerFor(ports: HttpPorts, id: string): [Record<string, unknown>, { etag: string }] {
  return [shown(id, ports), etagHeader(ports, KIND, id, ports.directory.current.organization(id))];
}

function shown(id: string, ports: HttpPorts): Record<string, unknown> {
  const organization: Organization = ports.directory.current.organization(id);
  return { ...plain(organization), ...metaOf(ports, KIND, id) };
}
