/** Voice agents: where their calls go, and what they call from. */
import * as z from 'zod';
import type { Agent } from '#directory/agent.js';
import { agentSchema } from '#directory/schema.js';
import { numbersAnsweredBy } from '#directory/usage.js';
import { callCounts, callCountsShape } from './call-counts.js';
import { metaOf, metaShape } from './edit.js';
import { answerOf, fieldsBut, patchOf, plain } from './mirror.js';
import { component } from './openapi.js';
import { pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { registrationState } from './registrations.js';
import { resource } from './resource.js';
import { ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const KIND = 'agent';

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
    ...callCountsShape,
  }),
);

export const agents = resource({
  kind: KIND,
  what: 'agent',
  tag: 'Agents',
  path: '/agents',
  one: 'Agent',
  many: 'Agents',
  summaries: {
    list: 'Voice agents.',
    create: 'Adds an agent.',
    get: 'One agent.',
    update: 'Changes an agent (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    remove: 'Removes an agent. While it answers numbers, that is refused with which ones.',
  },
  newSchema: component('NewAgent', z.strictObject(fields)),
  patchSchema: component('AgentPatch', patchOf(fields)),
  answer: answerSchema,
  query: z.strictObject({ ...pageQuery, platform: z.string().optional() }),
  select: ({ platform }, organizationId, ports) =>
    Array.from(ports.directory.current.agents()).filter(
      (agent) =>
        agent.organizationId === organizationId && (platform === undefined || agent.platform === platform),
    ),
  find: (snapshot, id) => snapshot.agent(id),
  // The words that clients know it by.
  missing: 'Agent not found',
  shown,
});

export const agentRoutes: readonly Route[] = [
  ...agents.routes,
  route({
    tag: 'Agents',
    method: 'GET',
    path: '/agents/{id}/usage',
    id: 'getAgentUsage',
    summary: 'Which numbers, registration and calls depend on an agent.',
    access: 'read',
    params: byId,
    answer: usageSchema,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) =>
      ok(usageOf(agents.get(ports, params.id, organizationId), ports)),
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

function shown(agent: Agent, ports: HttpPorts): Record<string, unknown> {
  const { sipRegistration, ...rest } = agent;
  return {
    ...plain(rest),
    hasSipRegistration: sipRegistration !== undefined,
    ...metaOf(ports, KIND, agent.id),
  };
}
