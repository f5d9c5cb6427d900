/** Registrations: which there are, how they are, and trying one again at once. */
import * as z from 'zod';
import { SUBSCRIPTION_STATES } from '#registration/presence/presence-view.js';
import { REGISTRATION_STATES, type RegistrationView } from '#registration/registration-view.js';
import { VERDICT_CODES } from '#registration/verdict.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem } from './problem.js';
import { accepted, ok, type Route, route } from './route.js';
import { byId, time, verdict } from './schemas.js';

export const registrationState = z.enum(REGISTRATION_STATES);

const attempt = z.object({
  at: time,
  target: z.string(),
  latencyMs: z.number(),
  status: z.int().nullable(),
  fault: z.string().nullable(),
  verdict: z.enum(VERDICT_CODES),
  realm: z.string().optional(),
  algorithm: z.string().optional(),
  grantedExpirySeconds: z.number().optional(),
  natAddress: z.string().optional(),
  foreignBindings: z.int().optional(),
  detail: z.string(),
});

export const timeline = z.array(attempt).meta({ description: 'The last attempts, newest last, at most 50.' });

const fields = {
  id: z.string(),
  organizationId: z.string(),
  aor: z.string(),
  callId: z.string().meta({ description: 'Call-ID of all its REGISTERs.' }),
  trunkId: z.string().nullable(),
  agentId: z.string().nullable(),
  phoneNumbers: z.array(z.string()),
  state: registrationState,
  registrar: z.string().nullable(),
  serviceRoute: z.array(z.string()),
  contact: z.string(),
  expiresAt: time.nullable(),
  nextAttemptAt: time.nullable(),
  lastVerdict: verdict.nullable(),
};

export const presenceSchema = component(
  'Presence',
  z.object({
    registrationId: z.string(),
    busy: z.boolean().nullable(),
    available: z.boolean().nullable(),
    dialogs: z.array(
      z.object({
        id: z.string(),
        state: z.string(),
        direction: z.enum(['initiator', 'recipient']).nullable(),
        remote: z.string().nullable(),
      }),
    ),
    tuples: z.array(
      z.object({
        id: z.string(),
        basic: z.enum(['open', 'closed']).nullable(),
        contact: z.string().nullable(),
        note: z.string().nullable(),
      }),
    ),
    updatedAt: time.nullable(),
    subscriptions: z.array(
      z.object({
        package: z.enum(['dialog', 'presence']),
        state: z.enum(SUBSCRIPTION_STATES),
        expiresAt: time.nullable(),
        detail: z.string(),
        notifies: z.int(),
      }),
    ),
  }),
);

const listed = component('ListedRegistration', z.object(fields));
export const registrationSchema = component('Registration', z.object({ ...fields, timeline }));
const withPresence = component(
  'RegistrationWithPresence',
  z.object({ ...fields, timeline, presence: presenceSchema.nullable() }),
);

const shared = { tag: 'Registrations' } as const;
const missing = { 404: 'No such registration.' } as const;

export const registrationRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/registrations',
    id: 'listRegistrations',
    summary: 'Registrations: state, registrar in use, expiry, last verdict.',
    access: 'read',
    query: z.strictObject({
      ...pageQuery,
      state: registrationState.optional(),
      trunkId: z.string().optional(),
      agentId: z.string().optional(),
    }),
    answer: listOf(listed),
    handle({ query: { limit, cursor, state, trunkId, agentId }, organizationId }, { registrations }) {
      const wanted = Array.from(registrations.all()).filter(
        (each) =>
          each.organizationId === organizationId &&
          (state === undefined || each.state === state) &&
          (trunkId === undefined || each.trunkIds.includes(trunkId)) &&
          (agentId === undefined || each.agentIds.includes(agentId)),
      );
      const { items, nextCursor } = page(wanted, { limit, cursor, placeOf: ({ id }) => id, place: /^\S+$/ });
      return ok({ items: items.map((each) => withoutTimeline(each.view())), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/registrations/{id}',
    id: 'getRegistration',
    summary: 'One registration, with its last attempts and what its presence subscriptions tell.',
    access: 'read',
    params: byId,
    answer: withPresence,
    problems: missing,
    handle({ params, organizationId }, ports) {
      const view = registrationOf(ports, params.id, organizationId);
      return ok({ ...view, presence: ports.presence.ofRegistration(view.id) ?? null });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/registrations/{id}/refresh',
    id: 'refreshRegistration',
    summary: 'Registers now, also after a rejected password.',
    description: 'Sent in its turn: never more than one REGISTER a second for an address of record.',
    access: 'write',
    params: byId,
    status: 202,
    answer: registrationSchema,
    problems: { ...missing, 409: 'It is being removed: nothing in the directory asks for it any more.' },
    handle({ params, organizationId }, ports) {
      registrationOf(ports, params.id, organizationId);
      if (ports.registrations.refresh(params.id)) {
        return accepted(registrationOf(ports, params.id, organizationId));
      }
      throw new Problem(
        409,
        'registration_not_wanted',
        'Registration not wanted',
        'this registration is being removed: nothing in the directory asks for it any more',
      );
    },
  }),
];

/** Throws a Problem (404) where the organisation has no such registration. */
export function registrationOf(
  { registrations }: Pick<HttpPorts, 'registrations'>,
  id: string,
  organizationId: string,
): RegistrationView {
  const view = registrations.get(id);
  if (view?.organizationId === organizationId) return view;
  throw notFound('no such registration; GET /api/v1/registrations lists them');
}

/** A list of thousands without the fifty attempts of each. */
function withoutTimeline({
  timeline: _timeline,
  ...rest
}: RegistrationView): Omit<RegistrationView, 'timeline'> {
  return rest;
}
