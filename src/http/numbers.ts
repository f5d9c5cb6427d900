/** Phone numbers, each with how its registration is. */
import * as z from 'zod';
import type { PhoneNumber } from '#directory/number.js';
import { numberSchema } from '#directory/schema.js';
import { callingFrom } from '#directory/usage.js';
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

const KIND = 'phoneNumber';

const fields = fieldsBut(numberSchema.shape, 'id', 'organizationId');

/** What is sent to add one; the rows of an import are the same. */
export const newNumberSchema = component('NewPhoneNumber', z.strictObject(fields));

const answerSchema = component(
  'PhoneNumber',
  answerOf(numberSchema.shape).extend({
    id: z.string(),
    normalised: z.string().meta({ description: 'In E.164, where its trunk tells the country.' }),
    source,
    registrationStatus: registrationState.nullable().meta({ description: 'null: it asks for none.' }),
    ...metaShape,
  }),
);

const usageSchema = component(
  'PhoneNumberUsage',
  z.object({
    agents: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        inbound: z.boolean().meta({ description: 'It answers the calls to this number.' }),
        outbound: z.boolean().meta({ description: 'It calls from this number, first or as a fallback.' }),
      }),
    ),
    registrationStatus: registrationState.nullable(),
    ...callCountsShape,
  }),
);

const numbers = resource({
  kind: KIND,
  what: 'phone number',
  tag: 'Phone numbers',
  path: '/phone-numbers',
  one: 'PhoneNumber',
  many: 'PhoneNumbers',
  summaries: {
    list: 'Numbers, with how their registration is.',
    create: 'Adds a number. It is in force, and registered if it asks for that, at once.',
    get: 'One number.',
    update: 'Changes a number (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    remove: 'Removes a number. While agents call from it, that is refused with which ones.',
  },
  newSchema: newNumberSchema,
  patchSchema: component('PhoneNumberPatch', patchOf(fields)),
  answer: answerSchema,
  query: z.strictObject({
    ...pageQuery,
    credentialsId: z.string().optional(),
    inboundAgentId: z.string().optional(),
    phoneNumber: z.string().optional().meta({ description: 'In any spelling that its trunk understands.' }),
  }),
  select({ credentialsId, inboundAgentId, phoneNumber }, organizationId, { directory: { current } }) {
    const candidates =
      phoneNumber === undefined ? current.numbers() : current.ownedNumbers(organizationId, phoneNumber);
    const found: PhoneNumber[] = [];
    for (const number of candidates) {
      if (
        number.organizationId === organizationId &&
        (credentialsId === undefined || number.credentialsId === credentialsId) &&
        (inboundAgentId === undefined || number.inboundAgentId === inboundAgentId)
      ) {
        found.push(number);
      }
    }
    return found;
  },
  find: (snapshot, id) => snapshot.numberById(id),
  missing: 'no such phone number; GET /api/v1/phone-numbers lists them',
  shown,
});

export const numberRoutes: readonly Route[] = [
  ...numbers.routes,
  route({
    tag: 'Phone numbers',
    method: 'GET',
    path: '/phone-numbers/{id}/usage',
    id: 'getPhoneNumberUsage',
    summary: 'Which agents and calls use a number.',
    access: 'read',
    params: byId,
    answer: usageSchema,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) =>
      ok(usageOf(numbers.get(ports, params.id, organizationId), ports)),
  }),
];

function usageOf(number: PhoneNumber, ports: HttpPorts): z.output<typeof usageSchema> {
  const { current } = ports.directory;
  const calling = callingFrom(current, new Set([number.id]));
  const inbound = number.inboundAgentId === undefined ? undefined : current.agent(number.inboundAgentId);
  const agents = new Set(inbound === undefined ? calling : [inbound, ...calling]);
  return {
    agents: Array.from(agents, (agent) => ({
      id: agent.id,
      name: agent.name,
      inbound: agent === inbound,
      outbound: calling.includes(agent),
    })),
    registrationStatus: statusOf(number, ports),
    ...callCounts(ports, ({ phoneNumberId }) => phoneNumberId === number.id),
  };
}

function shown(number: PhoneNumber, ports: HttpPorts): Record<string, unknown> {
  return {
    ...plain(number),
    registrationStatus: statusOf(number, ports),
    ...metaOf(ports, KIND, number.id),
  };
}

function statusOf({ id, registration }: PhoneNumber, { registrations }: HttpPorts) {
  return registration ? (registrations.ofNumber(id)?.state ?? 'unregistered') : null;
}
