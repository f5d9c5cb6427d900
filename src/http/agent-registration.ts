/** An agent's own account at a PBX or provider: its settings, and how its registration is. */
import * as z from 'zod';
import type { AgentSipRegistration } from '#directory/agent.js';
import { TRANSPORTS } from '#directory/trunk.js';
import { hostPort } from '#sip/uri.js';
import { component } from './openapi.js';
import { notFound } from './problem.js';
import { presenceSchema, registrationSchema, registrationState, timeline } from './registrations.js';
import { type DeepReadonly, ok, type Route, route } from './route.js';
import { byId, time, verdict } from './schemas.js';

const text = z.string().nullable();

/** The settings as they were saved. Of the password only that there is one. */
const settingsSchema = component(
  'SipRegistrationData',
  z.object({
    registrationEnabled: z.literal(true),
    domain: z.string(),
    username: z.string(),
    extension: z.string().meta({ description: 'Equals `username`.' }),
    hasPassword: z.boolean(),
    proxy: text,
    port: z.int().nullable(),
    transport: z.enum(TRANSPORTS),
    subscribe: z.boolean(),
    authUsername: text,
    did: text,
    xDestUser: text,
  }),
);

export const agentRegistrationSchema = component(
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

export const agentRegistrationRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/agents/{id}/sip-registration',
    id: 'getAgentSipRegistration',
    tag: 'Agents',
    summary: "Settings of the agent's own account, and how its registration is.",
    access: 'read',
    params: byId,
    answer: agentRegistrationSchema,
    problems: { 404: 'No such agent, or it has no SIP registration.' },
    handle({ params, organizationId }, ports) {
      const agent = ports.directory.current.agent(params.id);
      if (agent?.organizationId !== organizationId) throw notFound('Agent not found');
      const settings = agent.sipRegistration;
      if (settings === undefined) throw notFound('this agent has no SIP registration');
      const view = ports.registrations.ofAgent(agent.id);
      return ok({
        agentId: agent.id,
        sipRegistrationData: stored(settings),
        // A disabled agent is not registered; nor is one that comes with the next change of the directory.
        registration: view ?? null,
        presence: view === undefined ? null : (ports.presence.ofRegistration(view.id) ?? null),
        state: view?.state ?? 'unregistered',
        registrar: view?.registrar ?? null,
        expiresAt: view?.expiresAt ?? null,
        lastVerdict: view?.lastVerdict ?? null,
        timeline: view?.timeline ?? [],
      });
    },
  }),
];

function stored(settings: AgentSipRegistration): DeepReadonly<z.output<typeof settingsSchema>> {
  const { domain, username, proxy, port, transport, subscribe, authUsername, did, xDestUser } = settings;
  return {
    registrationEnabled: true,
    domain,
    username,
    extension: username,
    hasPassword: true,
    proxy: proxy === undefined ? null : hostPort(proxy.host, proxy.port),
    port: port ?? null,
    transport,
    subscribe,
    authUsername: authUsername ?? null,
    did: did ?? null,
    xDestUser: xDestUser ?? null,
  };
}
