/**
 * A kind of objects of the directory as the API has it: listed, added, read, changed and removed at five end-points that
 * are the same for every kind. It is described once; its own file says only what it is: fields, filters, what is shown.
 */
import type * as z from 'zod';
import type { DirectoryKind } from '#directory/documents.js';
import type { Snapshot } from '#directory/snapshot.js';
import {
  authorOf,
  CHANGE_PROBLEMS,
  CREATE_PROBLEMS,
  etagHeader,
  fieldsOf,
  forceQuery,
  REMOVE_PROBLEMS,
  removed,
  wantedVersion,
  written,
} from './edit.js';
import { listOf, type PageQuery, page } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound } from './problem.js';
import { type ApiRequest, created, noContent, ok, type Route, route } from './route.js';
import { byId } from './schemas.js';

interface Owned {
  readonly id: string;
  readonly organizationId: string;
}

export interface ResourceSpec<M extends Owned, Q extends z.ZodObject & z.ZodType<PageQuery>> {
  readonly kind: DirectoryKind;
  /** As refusals name one: `phone number`. */
  readonly what: string;
  /** Heading in the document. */
  readonly tag: string;
  /** Of the list, below /api/v1; an object stands at `{id}` below it. */
  readonly path: string;
  /** Names of the operations: `getPhoneNumber` of the one, `listPhoneNumbers` of the many. */
  readonly one: string;
  readonly many: string;
  readonly summaries: Readonly<Record<'list' | 'create' | 'get' | 'update' | 'remove', string>>;
  readonly removeDescription?: string;
  /** What is sent to add one, and to change one (RFC 7396). */
  readonly newSchema: z.ZodType;
  readonly patchSchema: z.ZodType;
  /** Bytes of such a body; default as `route` has it. */
  readonly bodyLimit?: number;
  readonly answer: z.ZodType;
  /** `pageQuery`, and what the list can be narrowed by. */
  readonly query: Q;
  /** The objects of the organisation that the query asks for, in any order. */
  select(query: z.output<Q>, organizationId: string, ports: HttpPorts): Iterable<M>;
  find(snapshot: Snapshot, id: string): M | undefined;
  /** Detail of the 404 where the organisation has no such object. */
  readonly missing: string;
  /** One as `answer` has it. */
  shown(model: M, ports: HttpPorts): Record<string, unknown>;
  /** Calls and the like that depend on one, for a refused removal to tell besides numbers and agents. */
  alsoAffected?(id: string, ports: HttpPorts): Readonly<Record<string, unknown>>;
}

export interface Resource<M extends Owned> {
  readonly routes: readonly Route[];
  /** The organisation's object of that id. Throws a Problem (404) where it has none. */
  get(ports: HttpPorts, id: string, organizationId: string): M;
  /**
   * Removes an object. Throws the Problem of a refusal; one because of what depends on it (409) lists that.
   * @param what as the refusal names it, where the object is known by another name
   */
  remove(
    request: Pick<ApiRequest<unknown, unknown, unknown>, 'caller' | 'organizationId' | 'ifMatch' | 'given'>,
    ports: HttpPorts,
    id: string,
    force: boolean,
    what?: string,
  ): Promise<void>;
}

/** The five end-points of a kind of objects, and how other end-points get at one. */
export function resource<M extends Owned, Q extends z.ZodObject & z.ZodType<PageQuery>>(
  spec: ResourceSpec<M, Q>,
): Resource<M> {
  const { kind, what, tag, path, summaries, answer } = spec;
  const onePath = `${path}/{id}`;

  const get: Resource<M>['get'] = (ports, id, organizationId) => {
    const model = spec.find(ports.directory.current, id);
    if (model?.organizationId === organizationId) return model;
    throw notFound(spec.missing);
  };

  const answerFor = (
    ports: HttpPorts,
    id: string,
    organizationId: string,
  ): [Record<string, unknown>, { etag: string }] => {
    const model = get(ports, id, organizationId);
    return [spec.shown(model, ports), etagHeader(ports, kind, id, model)];
  };

  const remove: Resource<M>['remove'] = async (request, ports, id, force, named = what) => {
    const ifVersion = wantedVersion(request, ports, kind, id);
    const result = await ports.editor.remove(authorOf(request), kind, id, { force, ifVersion });
    if (result.kind === 'in_use') {
      removed({ ...result, affected: { ...result.affected, ...spec.alsoAffected?.(id, ports) } }, named);
    } else removed(result, named);
  };

  const routes = [
    route({
      method: 'GET',
      tag,
      path,
      id: `list${spec.many}`,
      summary: summaries.list,
      access: 'read',
      query: spec.query,
      answer: listOf(answer),
      handle({ query, organizationId }, ports) {
        const { limit, cursor } = query;
        const models = spec.select(query, organizationId, ports);
        const { items, nextCursor } = page(models, { limit, cursor, placeOf: ({ id }) => id });
        return ok({ items: items.map((model) => spec.shown(model, ports)), nextCursor });
      },
    }),
    route({
      method: 'POST',
      tag,
      path,
      id: `create${spec.one}`,
      summary: summaries.create,
      access: 'write',
      body: spec.newSchema,
      bodyLimit: spec.bodyLimit,
      status: 201,
      answer,
      etag: true,
      problems: CREATE_PROBLEMS,
      async handle(request, ports) {
        const { id } = written(await ports.editor.create(authorOf(request), kind, fieldsOf(request)), what);
        return created(...answerFor(ports, id, request.organizationId), `${path}/${id}`);
      },
    }),
    route({
      method: 'GET',
      tag,
      path: onePath,
      id: `get${spec.one}`,
      summary: summaries.get,
      access: 'read',
      params: byId,
      answer,
      etag: true,
      problems: { 404: 'There is no such object.' },
      handle: ({ params, organizationId }, ports) => ok(...answerFor(ports, params.id, organizationId)),
    }),
    route({
      method: 'PATCH',
      tag,
      path: onePath,
      id: `update${spec.one}`,
      summary: summaries.update,
      access: 'write',
      params: byId,
      body: spec.patchSchema,
      bodyLimit: spec.bodyLimit,
      answer,
      etag: true,
      problems: CHANGE_PROBLEMS,
      async handle(request, ports) {
        const { id } = request.params;
        const ifVersion = wantedVersion(request, ports, kind, id);
        const fields = fieldsOf(request);
        written(await ports.editor.update(authorOf(request), kind, id, fields, { ifVersion }), what);
        return ok(...answerFor(ports, id, request.organizationId));
      },
    }),
    route({
      method: 'DELETE',
      tag,
      path: onePath,
      id: `delete${spec.one}`,
      summary: summaries.remove,
      description: spec.removeDescription,
      access: 'write',
      params: byId,
      query: forceQuery,
      status: 204,
      etag: true,
      problems: REMOVE_PROBLEMS,
      async handle(request, ports) {
        await remove(request, ports, request.params.id, request.query.force === 'true');
        return noContent();
      },
    }),
  ];
  return { routes, get, remove };
}
