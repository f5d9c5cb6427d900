/** An agent's own account at a PBX or provider: its settings, and how its registration is. Saving enables it. */
import * as z from 'zod';
import type { Agent } from '#directory/agent.js';
import { sipRegistrationSchema } from '#directory/schema.js';
import type { Document } from '#directory/store.js';
import { agents } from './agents.js';
import { authorOf, CHANGE_PROBLEMS, etagHeader, fieldsOf, wantedVersion, written } from './edit.js';
import { answerOf, plain } from './mirror.js';
import { component } from './openapi.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem } from './problem.js';
import { presenceSchema, registrationSchema, registrationState, timeline } from './registrations.js';
import { type DeepReadonly, noContent, ok, type Reply, type Route, route } from './route.js';
import { time, verdict } from './schemas.js';

const KIND = 'agent';
const WHAT = 'agent';

/** What agents run on whose calls reach them by SIP, so that an account may be registered for them. */
const CAN_REGISTER: ReadonlySet<string> = new Set(['sip', 'livekit']);

const text = z.string().nullable();

/** The settings as they were saved. Of the password only that there is one. */
const settingsSchema = component(
  'SipRegistrationData',
  answerOf(sipRegistrationSchema.shape).extend({
    registrationEnabled: z.literal(true).meta({ description: 'Saving a registration enables it.' }),
    extension: z.string().meta({ description: 'Equals `username`.' }),
  }),
);

const answerSchema = component(
  'AgentSipRegistration',
  z.object({
    agentId: z.string(),
    sipRegistrationData: settingsSchema,
    registration: registrationSchema.nullable(),
    presence: presenceSchema.nullable(),
    state: registrationState,
    registrar: text,
    expiresAt: time.nullable(),
    lastVerdict: verdict.nullable(),
    timeline,
  }),
);

const byAgent = z.strictObject({ agentId: z.string().max(1_024) });
const shared = { tag: 'Agents', path: '/agents/{agentId}/sip-registration', params: byAgent } as const;
const missing = { 404: '"Agent not found", or it has no SIP registration.' } as const;

export const agentRegistrationRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    id: 'getAgentSipRegistration',
    summary: "Settings of the agent's own account, and how its registration is.",
    access: 'read',
    answer: answerSchema,
    etag: true,
    problems: missing,
    handle: ({ params, organizationId }, ports) =>
      shown(agents.get(ports, params.agentId, organizationId), ports),
  }),
  route({
    ...shared,
    method: 'PUT',
    id: 'setAgentSipRegistration',
    summary: 'Sets the account. Saving enables it: REGISTER goes out at once.',
    access: 'write',
    body: component('NewAgentSipRegistration', sipRegistrationSchema),
    answer: answerSchema,
    etag: true,
    problems: {
      ...CHANGE_PROBLEMS,
      400: 'A faulty field, or "Cannot update vida agents via this API": the platform cannot register.',
      404: '"Agent not found".',
    },
    async handle(request, ports) {
      const agent = agents.get(ports, request.params.agentId, request.organizationId);
      if (!CAN_REGISTER.has(agent.platform)) throw cannotRegister(agent.platform);
      const ifVersion = wantedVersion(request, ports, KIND, agent.id);
      // What was there before and is not named now is unset.
      const unset = Object.fromEntries(Object.keys(sipRegistrationSchema.shape).map((name) => [name, null]));
      const sipRegistration: Document = { ...unset, ...fieldsOf(request) };
      const result = await ports.editor.update(
        authorOf(request),
        KIND,
        agent.id,
        { sipRegistration },
        { ifVersion },
      );
      written(result, WHAT);
      return shown(agents.get(ports, agent.id, request.organizationId), ports);
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    id: 'deleteAgentSipRegistration',
    summary: 'Takes the account away: it is un-registered.',
    access: 'write',
    status: 204,
    etag: true,
    problems: { ...CHANGE_PROBLEMS, ...missing },
    async handle(request, ports) {
      const agent = agents.get(ports, request.params.agentId, request.organizationId);
      if (agent.sipRegistration === undefined) throw noRegistration();
      const ifVersion = wantedVersion(request, ports, KIND, agent.id);
      const patch = { sipRegistration: null };
      written(await ports.editor.update(authorOf(request), KIND, agent.id, patch, { ifVersion }), WHAT);
      return noContent();
    },
  }),
];

/** First the words that clients know it by, and then plain ones. */
function cannotRegister(platform: string): Problem {
  return new Problem(
    400,
    'platform_cannot_register',
    'Cannot update vida agents via this API',
    `Cannot update vida agents via this API: an agent of platform ${platform} takes no calls by SIP registration; ${[...CAN_REGISTER].join(' and ')} do`,
    [{ path: 'platform', message: `is ${platform}`, hint: 'change the platform of the agent first' }],
  );
}

function noRegistration(): Problem {
  return notFound('this agent has no SIP registration');
}

function shown(agent: Agent, ports: HttpPorts): Reply<DeepReadonly<z.output<typeof answerSchema>>> {
  const { sipRegistration: settings } = agent;
  if (settings === undefined) throw noRegistration();
  const view = ports.registrations.ofAgent(agent.id);
  const body = {
    agentId: agent.id,
    sipRegistrationData: {
      ...plain(settings),
      registrationEnabled: true as const,
      extension: settings.username,
    },
    // A disabled agent is not registered; nor is one that comes with the next change of the directory.
    registration: view ?? null,
    presence: view === undefined ? null : (ports.presence.ofRegistration(view.id) ?? null),
    state: view?.state ?? ('unregistered' as const),
    registrar: view?.registrar ?? null,
    expiresAt: view?.expiresAt ?? null,
    lastVerdict: view?.lastVerdict ?? null,
    timeline: view?.timeline ?? [],
  };
  return ok(body, etagHeader(ports, KIND, agent.id, agent));
}
