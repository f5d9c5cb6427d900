/**
 * Puts described end-points on the server: access, organisation, input, then the handler, then its answer. Nothing of
 * a request reaches a handler that the description's schemas have not read.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { idSchema } from '#directory/field-kinds.js';
import { DEFAULT_ORGANIZATION } from '#directory/trunk.js';
import { type Caller, callerName, checkAccess } from './caller.js';
import { parseTags } from './etag.js';
import { sendStream } from './event-stream.js';
import { IDEMPOTENCY_HEADER, once } from './idempotency.js';
import { organizationIds } from './organizations.js';
import type { HttpPorts } from './ports.js';
import { type FieldError, invalid, notFound, read } from './problem.js';
import type { ApiRequest, Reply, Route } from './route.js';

const ORGANIZATION_HEADER = 'x-organization-id';
const MERGE_PATCH_TYPE = 'application/merge-patch+json';
const ORGANIZATION_QUERY = 'organizationId';

/** A handler's time when it says nothing else: what it waits for (a store) gives up well before. */
export const HANDLER_TIMEOUT_MS = 20_000;

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before anything under /api/v1 is handled. */
    caller: Caller | null;
  }
}

/**
 * Registers all end-points with what their descriptions ask for: access, input, problems, ETags,
 * idempotency.
 */
export function serve(api: FastifyInstance, routes: readonly Route[], ports: HttpPorts): void {
  const textTypes = new Set(routes.flatMap(({ textBody }) => textBody ?? []));
  for (const type of textTypes) {
    api.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => done(null, body));
  }
  // What a PATCH is by its name (RFC 7396); plain JSON is taken for the same.
  api.addContentTypeParser(
    MERGE_PATCH_TYPE,
    { parseAs: 'string' },
    api.getDefaultJsonParser('error', 'error'),
  );
  for (const each of routes) {
    api.route({
      method: each.method,
      url: each.path.replaceAll(/\{(\w+)\}/g, ':$1'),
      ...(each.bodyLimit === undefined ? {} : { bodyLimit: each.bodyLimit }),
      handlerTimeout: each.timeoutMs ?? HANDLER_TIMEOUT_MS,
      handler: (request, reply) => answer(each, request, reply, ports),
    });
  }
}

async function answer(
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  ports: HttpPorts,
): Promise<FastifyReply> {
  const { caller } = request;
  if (caller === null) throw new Error(`${route.id} was reached by nobody`);
  checkAccess(caller, route.access);
  const { organization, query } = splitQuery(request.query);
  const organizationId = organizationOf(
    caller,
    organization ?? headerOf(request, ORGANIZATION_HEADER),
    ports,
  );
  const input = inputOf(route, request, query);
  const apiRequest: ApiRequest<unknown, unknown, unknown> = {
    ...input,
    given: request.body,
    caller,
    organizationId,
    ifMatch: parseTags(headerOf(request, 'if-match')),
    lastEventId: headerOf(request, 'last-event-id'),
    extendTimeout: (milliseconds) => void request.socket.setTimeout(milliseconds),
  };
  const act = (): Reply<unknown> | Promise<Reply<unknown>> => route.handle(apiRequest, ports);
  const key = route.method === 'POST' ? headerOf(request, IDEMPOTENCY_HEADER) : undefined;
  if (key !== undefined && route.repeatable === false) {
    const message = 'is not taken here, since the answer cannot be given again';
    throw invalid([{ path: 'Idempotency-Key', message }]);
  }
  const operation = `${route.id} ${JSON.stringify(input.params ?? null)}`;
  const made =
    key === undefined
      ? await act()
      : await once(
          ports.memory,
          { owner: `${callerName(caller)} ${organizationId}`, key, operation, body: request.body },
          act,
        );
  if (made.stream !== undefined) return sendStream(reply, ports.clock, made.headers ?? {}, made.stream);
  return send(route, request, reply, made);
}

function send(
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  made: Reply<unknown>,
): FastifyReply {
  reply.code(made.status).headers(made.headers ?? {});
  const etag = made.headers?.etag;
  if (etag !== undefined && route.method === 'GET') {
    const known = parseTags(headerOf(request, 'if-none-match'));
    if (known?.some((tag) => tag === etag || tag === '*')) return reply.code(304).send();
  }
  const content = made.raw ?? made.body;
  return content === undefined ? reply.send() : reply.send(content);
}

/** `organizationId` may stand in every query and is no field of any. */
function splitQuery(given: unknown): { organization: unknown; query: Record<string, unknown> } {
  const query: Record<string, unknown> = { ...(given as Record<string, unknown>) };
  const organization = query[ORGANIZATION_QUERY];
  delete query[ORGANIZATION_QUERY];
  return { organization, query };
}

/** The administrator chooses; for a token there is its own and no other. */
function organizationOf(caller: Caller, wanted: unknown, ports: HttpPorts): string {
  const fallback = caller.kind === 'token' ? caller.organizationId : DEFAULT_ORGANIZATION;
  if (wanted === undefined) return fallback;
  const id = idSchema.safeParse(wanted);
  if (!id.success) {
    throw invalid([{ path: ORGANIZATION_QUERY, message: 'is not the id of an organisation' }]);
  }
  const known =
    caller.kind === 'token' ? id.data === fallback : organizationIds(ports.directory.current).has(id.data);
  if (!known) throw notFound('no such organisation');
  return id.data;
}

const nothing = z.strictObject({});

function inputOf(
  route: Route,
  request: FastifyRequest,
  query: Record<string, unknown>,
): { params: unknown; query: unknown; body: unknown } {
  const errors: FieldError[] = [];
  const part = (schema: z.ZodType, value: unknown): unknown => {
    const result = read(schema, value);
    if ('data' in result) return result.data;
    errors.push(...result.errors);
    return undefined;
  };
  const params = route.params === undefined ? undefined : part(route.params, request.params);
  const readQuery = part(route.query ?? nothing, query);
  const body = bodyOf(route, request, part);
  if (errors.length > 0) throw invalid(errors);
  return { params, query: readQuery, body };
}

function bodyOf(
  route: Route,
  request: FastifyRequest,
  part: (schema: z.ZodType, value: unknown) => unknown,
): unknown {
  const { body } = request;
  if (route.body === undefined) return body === undefined || body === null ? undefined : part(nothing, body);
  if (body === undefined && route.bodyOptional === true) return undefined;
  return part(route.body, body);
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
