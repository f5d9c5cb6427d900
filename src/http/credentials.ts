/** SIP credentials: the trunks. */
import * as z from 'zod';
import { trunkRules, trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import { affectedAgents } from '#directory/usage.js';
import {
  authorOf,
  CHANGE_PROBLEMS,
  CREATE_PROBLEMS,
  etagHeader,
  fieldsOf,
  forceQuery,
  metaOf,
  metaShape,
  REMOVE_PROBLEMS,
  removed,
  wantedVersion,
  written,
} from './edit.js';
import { answerOf, fieldsBut, patchOf, plain } from './mirror.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound } from './problem.js';
import { created, noContent, ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const KIND = 'sipCredentials';
const WHAT = 'SIP credentials';

const fields = fieldsBut(trunkSchema.shape, 'id', 'organizationId');

export const credentialsSchema = component(
  'SipCredentials',
  answerOf(trunkSchema.shape).extend({
    source,
    providerId: z.string().nullable().meta({ description: 'The provider that it came and goes with.' }),
    effectiveCpsLimit: z
      .number()
      .nullable()
      .meta({ description: 'The smallest limit of all trunks with its cpsKey; null: not paced.' }),
    cpsWarning: z
      .string()
      .nullable()
      .meta({ description: 'Where trunks with one cpsKey have different limits.' }),
    ...metaShape,
  }),
);

const named = z.object({ id: z.string(), name: z.string() });

/** Who would feel it: S0 `affected-agents`, and the 409 of a removal. */
export const affectedSchema = component(
  'AffectedAgents',
  z.object({
    phoneNumbers: z.array(
      z.object({ id: z.string(), phoneNumber: z.string(), linkedAgent: named.nullable() }),
    ),
    agents: z.array(named),
    queuedCallsCount: z.int().meta({ description: 'Calls that wait for a slot of it and would fail.' }),
    activeCallsCount: z.int().meta({ description: 'Calls in progress on it; they may end by themselves.' }),
  }),
);

const shared = { tag: 'SIP credentials' } as const;

export const credentialsRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/sip-credentials',
    id: 'listSipCredentials',
    summary: 'Trunks.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(credentialsSchema),
    handle({ query: { limit, cursor }, organizationId }, ports) {
      const trunks = trunksOf(ports, organizationId);
      const { items, nextCursor } = page(trunks, { limit, cursor, placeOf: ({ id }) => id, place: /./ });
      return ok({ items: items.map((trunk) => shown(trunk, ports)), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/sip-credentials',
    id: 'createSipCredentials',
    summary: 'Adds a trunk. It is in force at once.',
    access: 'write',
    body: component('NewSipCredentials', z.strictObject(fields).superRefine(trunkRules)),
    bodyLimit: 1_048_576,
    status: 201,
    answer: credentialsSchema,
    etag: true,
    problems: CREATE_PROBLEMS,
    async handle(request, ports) {
      const { id } = written(await ports.editor.create(authorOf(request), KIND, fieldsOf(request)), WHAT);
      return created(...answerFor(ports, id, request.organizationId), `/sip-credentials/${id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/sip-credentials/{id}',
    id: 'getSipCredentials',
    summary: 'One trunk.',
    access: 'read',
    params: byId,
    answer: credentialsSchema,
    etag: true,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) => ok(...answerFor(ports, params.id, organizationId)),
  }),
  route({
    ...shared,
    method: 'PATCH',
    path: '/sip-credentials/{id}',
    id: 'updateSipCredentials',
    summary: 'Changes a trunk (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    access: 'write',
    params: byId,
    body: component('SipCredentialsPatch', patchOf(fields)),
    bodyLimit: 1_048_576,
    answer: credentialsSchema,
    etag: true,
    problems: CHANGE_PROBLEMS,
    async handle(request, ports) {
      const { id } = request.params;
      const ifVersion = wantedVersion(request, ports, KIND, id);
      written(await ports.editor.update(authorOf(request), KIND, id, fieldsOf(request), { ifVersion }), WHAT);
      return ok(...answerFor(ports, id, request.organizationId));
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/sip-credentials/{id}',
    id: 'deleteSipCredentials',
    summary: 'Removes a trunk. While numbers use it, that is refused with what is affected.',
    description:
      'With `force` its numbers go too, agents are unlinked, calls that wait for it fail, and what is registered is un-registered; calls in progress may end by themselves.',
    access: 'write',
    params: byId,
    query: forceQuery,
    status: 204,
    etag: true,
    problems: REMOVE_PROBLEMS,
    async handle(request, ports) {
      const { id } = request.params;
      await removeTrunk(request, ports, id, request.query.force === 'true', WHAT);
      return noContent();
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/sip-credentials/{id}/affected-agents',
    id: 'getAffectedAgents',
    summary: 'Which numbers, agents and calls depend on a trunk.',
    access: 'read',
    params: byId,
    answer: affectedSchema,
    problems: { 404: 'There is no such object.' },
    handle({ params, organizationId }, ports) {
      const { id } = trunkOf(ports, params.id, organizationId);
      return ok(affectedBy(ports, id));
    },
  }),
];

/** Also what `/sip-trunks` does. Throws the Problem of a refusal, which lists what depends on it. */
export async function removeTrunk(
  request: Parameters<typeof authorOf>[0],
  ports: HttpPorts,
  id: string,
  force: boolean,
  what: string,
): Promise<void> {
  const ifVersion = wantedVersion(request, ports, KIND, id);
  const counts = callCounts(ports, ({ trunkId }) => trunkId === id);
  const result = await ports.editor.remove(authorOf(request), KIND, id, { force, ifVersion });
  removed(
    result.kind === 'in_use' ? { ...result, affected: { ...result.affected, ...counts } } : result,
    what,
  );
}

export function affectedBy(ports: HttpPorts, trunkId: string): z.output<typeof affectedSchema> {
  const { phoneNumbers, agents } = affectedAgents(ports.directory.current, trunkId);
  return {
    phoneNumbers: [...phoneNumbers],
    agents: [...agents],
    ...callCounts(ports, (call) => call.trunkId === trunkId),
  };
}

/** Calls that wait, and calls in progress. */
export function callCounts(
  ports: HttpPorts,
  concerns: (call: {
    readonly trunkId: string | null;
    readonly agentId: string | null;
    readonly phoneNumberId: string | null;
  }) => boolean,
): { queuedCallsCount: number; activeCallsCount: number } {
  let queuedCallsCount = 0;
  let activeCallsCount = 0;
  for (const call of ports.calls.list()) {
    if (call.state === 'ended' || !concerns(call)) continue;
    if (call.state === 'queued') queuedCallsCount++;
    else activeCallsCount++;
  }
  return { queuedCallsCount, activeCallsCount };
}

export function trunksOf(ports: HttpPorts, organizationId: string): Trunk[] {
  return Array.from(ports.directory.current.trunks()).filter(
    (trunk) => trunk.organizationId === organizationId,
  );
}

export function trunkOf(ports: HttpPorts, id: string, organizationId: string): Trunk {
  const trunk = ports.directory.current.trunk(id);
  if (trunk?.organizationId === organizationId) return trunk;
  throw notFound(`no such ${WHAT}`);
}

function answerFor(
  ports: HttpPorts,
  id: string,
  organizationId: string,
): [Record<string, unknown>, { etag: string }] {
  const trunk = trunkOf(ports, id, organizationId);
  return [shown(trunk, ports), etagHeader(ports, KIND, id, plain(trunk))];
}

function shown(trunk: Trunk, ports: HttpPorts): Record<string, unknown> {
  const line = ports.directory.current.cpsLine(trunk.organizationId, trunk.cpsKey);
  return {
    ...plain(trunk),
    effectiveCpsLimit: line?.limit ?? null,
    cpsWarning: line?.warning ?? null,
    ...metaOf(ports, KIND, trunk.id),
  };
}
