/** Registrations: which there are, how they are, and trying one again at once. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { AgentSipRegistration } from '#directory/agent.js';
import type { RegistrationState, RegistrationView } from '#registration/registration-view.js';
import { hostPort } from '#sip/uri.js';
import { page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem, validated } from './problem.js';

const STATES = [
  'idle',
  'registering',
  'registered',
  'refreshing',
  'retrying',
  'auth_rejected',
  'failed',
  'unregistering',
  'unregistered',
] as const satisfies readonly RegistrationState[];

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(STATES).optional(),
  trunkId: z.string().optional(),
  agentId: z.string().optional(),
});

interface ById {
  readonly Params: { readonly id: string };
}

export function registerRegistrations(api: FastifyInstance, ports: HttpPorts): void {
  const { registrations } = ports;

  api.get('/registrations', (request) => {
    const { limit, cursor, state, trunkId, agentId } = validated(listQuery, request.query);
    const wanted = Array.from(registrations.all()).filter(
      (each) =>
        (state === undefined || each.state === state) &&
        (trunkId === undefined || each.trunkIds.includes(trunkId)) &&
        (agentId === undefined || each.agentIds.includes(agentId)),
    );
    const { items, nextCursor } = page(wanted, { limit, cursor, placeOf: ({ id }) => id, place: /^\S+$/ });
    return { items: items.map((each) => withoutTimeline(each.view())), nextCursor };
  });

  api.get<ById>('/registrations/:id', (request) => {
    const view = registrations.get(request.params.id);
    if (view !== undefined) return { ...view, presence: ports.presence.ofRegistration(view.id) ?? null };
    throw noRegistration();
  });

  api.post<ById>('/registrations/:id/refresh', (request, reply) => {
    const { id } = request.params;
    if (registrations.get(id) === undefined) throw noRegistration();
    if (!registrations.refresh(id)) {
      throw new Problem(
        409,
        'registration_not_wanted',
        'Registration not wanted',
        'this registration is being removed: nothing in the directory asks for it any more',
      );
    }
    // Sent in its turn: never more than one REGISTER a second for an AOR.
    return reply.code(202).send(registrations.get(id));
  });

  api.get<ById>('/agents/:id/sip-registration', (request) => {
    const agent = ports.directory.current.agent(request.params.id);
    if (agent === undefined) throw new Problem(404, 'not_found', 'Not found', 'Agent not found');
    const settings = agent.sipRegistration;
    if (settings === undefined) throw notFound('this agent has no SIP registration');
    const view = registrations.ofAgent(agent.id);
    return {
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
    };
  });
}

function noRegistration(): Problem {
  return notFound('no such registration; GET /api/v1/registrations lists them');
}

/** A list of thousands without the fifty attempts of each. */
function withoutTimeline({ timeline, ...rest }: RegistrationView): Omit<RegistrationView, 'timeline'> {
  return rest;
}

/** The settings as they were saved. Of the password only that there is one. */
function stored(settings: AgentSipRegistration): object {
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
