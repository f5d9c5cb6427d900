/** Voice agents: where their calls go, and what they call from. */
import * as z from 'zod';
import type { Agent } from '#directory/agent.js';
import { agentSchema } from '#directory/schema.js';
import { numbersAnsweredBy } from '#directory/usage.js';
import { callCounts } from './credentials.js';
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
import { registrationState } from './registrations.js';
import { created, noContent, ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const KIND = 'agent';
const WHAT = 'agent';

const fields = fieldsBut(agentSchema.shape, 'id', 'organizationId', 'sipRegistration');

const answerSchema = component(
  'Agent',
  answerOf(fieldsBut(agentSchema.shape, 'sipRegistration')).extend({
    name: z.string(),
    source,
    hasSipRegistration: z
      .boolean()
      .meta({ description: 'It has an account of its own: see its `sip-registration`.' }),
    ...metaShape,
  }),
);

const usageSchema = component(
  'AgentUsage',
  z.object({
    phoneNumbers: z.array(
      z.object({
        id: z.string(),
        phoneNumber: z.string(),
        inbound: z.boolean().meta({ description: 'The agent answers its calls.' }),
        outbound: z.boolean().meta({ description: 'The agent calls from it, first or as a fallback.' }),
      }),
    ),
    registrationStatus: registrationState
      .nullable()
      .meta({ description: 'Of its own account; null: it has none.' }),
    queuedCallsCount: z.int(),
    activeCallsCount: z.int(),
  }),
);

const shared = { tag: 'Agents' } as const;

export const agentRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/agents',
    id: 'listAgents',
    summary: 'Voice agents.',
    access: 'read',
    query: z.strictObject({ ...pageQuery, platform: z.string().optional() }),
    answer: listOf(answerSchema),
    handle({ query: { limit, cursor, platform }, organizationId }, ports) {
      const agents = Array.from(ports.directory.current.agents()).filter(
        (agent) =>
          agent.organizationId === organizationId && (platform === undefined || agent.platform === platform),
      );
      const { items, nextCursor } = page(agents, { limit, cursor, placeOf: ({ id }) => id, place: /./ });
      return ok({ items: items.map((agent) => shown(agent, ports)), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/agents',
    id: 'createAgent',
    summary: 'Adds an agent.',
    access: 'write',
    body: component('NewAgent', z.strictObject(fields)),
    status: 201,
    answer: answerSchema,
    etag: true,
    problems: CREATE_PROBLEMS,
    async handle(request, ports) {
      const { id } = written(await ports.editor.create(authorOf(request), KIND, fieldsOf(request)), WHAT);
      return created(...answerFor(ports, id, request.organizationId), `/agents/${id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/agents/{id}',
    id: 'getAgent',
    summary: 'One agent.',
    access: 'read',
    params: byId,
    answer: answerSchema,
    etag: true,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) => ok(...answerFor(ports, params.id, organizationId)),
  }),
  route({
    ...shared,
    method: 'PATCH',
    path: '/agents/{id}',
    id: 'updateAgent',
    summary: 'Changes an agent (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    access: 'write',
    params: byId,
    body: component('AgentPatch', patchOf(fields)),
    answer: answerSchema,
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
    path: '/agents/{id}',
    id: 'deleteAgent',
    summary: 'Removes an agent. While it answers numbers, that is refused with which ones.',
    access: 'write',
    params: byId,
    query: forceQuery,
    status: 204,
    etag: true,
    problems: REMOVE_PROBLEMS,
    async handle(request, ports) {
      const { id } = request.params;
      const options = {
        force: request.query.force === 'true',
        ifVersion: wantedVersion(request, ports, KIND, id),
      };
      removed(await ports.editor.remove(authorOf(request), KIND, id, options), WHAT);
      return noContent();
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/agents/{id}/usage',
    id: 'getAgentUsage',
    summary: 'Which numbers, registration and calls depend on an agent.',
    access: 'read',
    params: byId,
    answer: usageSchema,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) =>
      ok(usageOf(agentOf(ports, params.id, organizationId), ports)),
  }),
];

function usageOf(agent: Agent, ports: HttpPorts): z.output<typeof usageSchema> {
  const { current } = ports.directory;
  const answered = numbersAnsweredBy(current, agent.id);
  const calledFrom = [agent.outboundNumberId, ...agent.fallbackNumberIds].flatMap((id) => {
    const number = id === undefined ? undefined : current.numberById(id);
    return number === undefined ? [] : [number];
  });
  const { sipRegistration } = agent;
  return {
    phoneNumbers: Array.from(new Set([...answered, ...calledFrom]), (number) => ({
      id: number.id,
      phoneNumber: number.phoneNumber,
      inbound: answered.includes(number),
      outbound: calledFrom.includes(number),
    })),
    registrationStatus:
      sipRegistration === undefined ? null : (ports.registrations.ofAgent(agent.id)?.state ?? 'unregistered'),
    ...callCounts(ports, ({ agentId }) => agentId === agent.id),
  };
}

/** Throws a Problem (404) in the words of S4 for what the organisation does not have. */
export function agentOf(ports: HttpPorts, id: string, organizationId: string): Agent {
  const agent = ports.directory.current.agent(id);
  if (agent?.organizationId === organizationId) return agent;
  throw notFound('Agent not found');
}

function answerFor(
  ports: HttpPorts,
  id: string,
  organizationId: string,
): [Record<string, unknown>, { etag: string }] {
  const agent = agentOf(ports, id, organizationId);
  return [shown(agent, ports), etagHeader(ports, KIND, id, plain(agent))];
}

function shown(agent: Agent, ports: HttpPorts): Record<string, unknown> {
  const { sipRegistration, ...rest } = agent;
  return {
    ...plain(rest),
    hasSipRegistration: sipRegistration !== undefined,
    ...metaOf(ports, KIND, agent.id),
  };
}
