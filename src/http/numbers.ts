/** Phone numbers, each with how its registration is. */
import * as z from 'zod';
import type { PhoneNumber } from '#directory/number.js';
import { numberSchema } from '#directory/schema.js';
import { callingFrom } from '#directory/usage.js';
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

const KIND = 'phoneNumber';
const WHAT = 'phone number';

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
    queuedCallsCount: z.int(),
    activeCallsCount: z.int(),
  }),
);

const shared = { tag: 'Phone numbers' } as const;

export const numberRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/phone-numbers',
    id: 'listPhoneNumbers',
    summary: 'Numbers, with how their registration is.',
    access: 'read',
    query: z.strictObject({
      ...pageQuery,
      credentialsId: z.string().optional(),
      inboundAgentId: z.string().optional(),
      phoneNumber: z.string().optional().meta({ description: 'In any spelling that its trunk understands.' }),
    }),
    answer: listOf(answerSchema),
    handle({ query: { limit, cursor, credentialsId, inboundAgentId, phoneNumber }, organizationId }, ports) {
      const { current } = ports.directory;
      const candidates =
        phoneNumber === undefined ? current.numbers() : current.ownedNumbers(organizationId, phoneNumber);
      const numbers = Array.from(candidates).filter(
        (number) =>
          number.organizationId === organizationId &&
          (credentialsId === undefined || number.credentialsId === credentialsId) &&
          (inboundAgentId === undefined || number.inboundAgentId === inboundAgentId),
      );
      const { items, nextCursor } = page(numbers, { limit, cursor, placeOf: ({ id }) => id, place: /./ });
      return ok({ items: items.map((number) => shown(number, ports)), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/phone-numbers',
    id: 'createPhoneNumber',
    summary: 'Adds a number. It is in force, and registered if it asks for that, at once.',
    access: 'write',
    body: newNumberSchema,
    status: 201,
    answer: answerSchema,
    etag: true,
    problems: CREATE_PROBLEMS,
    async handle(request, ports) {
      const { id } = written(await ports.editor.create(authorOf(request), KIND, fieldsOf(request)), WHAT);
      return created(...answerFor(ports, id, request.organizationId), `/phone-numbers/${id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/phone-numbers/{id}',
    id: 'getPhoneNumber',
    summary: 'One number.',
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
    path: '/phone-numbers/{id}',
    id: 'updatePhoneNumber',
    summary: 'Changes a number (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    access: 'write',
    params: byId,
    body: component('PhoneNumberPatch', patchOf(fields)),
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
    path: '/phone-numbers/{id}',
    id: 'deletePhoneNumber',
    summary: 'Removes a number. While agents call from it, that is refused with which ones.',
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
    path: '/phone-numbers/{id}/usage',
    id: 'getPhoneNumberUsage',
    summary: 'Which agents and calls use a number.',
    access: 'read',
    params: byId,
    answer: usageSchema,
    problems: { 404: 'There is no such object.' },
    handle: ({ params, organizationId }, ports) =>
      ok(usageOf(numberOf(ports, params.id, organizationId), ports)),
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

function numberOf(ports: HttpPorts, id: string, organizationId: string): PhoneNumber {
  const number = ports.directory.current.numberById(id);
  if (number?.organizationId === organizationId) return number;
  throw notFound('no such phone number; GET /api/v1/phone-numbers lists them');
}

function answerFor(
  ports: HttpPorts,
  id: string,
  organizationId: string,
): [Record<string, unknown>, { etag: string }] {
  const number = numberOf(ports, id, organizationId);
  return [shown(number, ports), etagHeader(ports, KIND, id, plain(number))];
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
