/** Phone numbers as they stand in the directory, each with how its registration is. */
import * as z from 'zod';
import type { PhoneNumber } from '#directory/number.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound } from './problem.js';
import { registrationState } from './registrations.js';
import { type DeepReadonly, ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const text = z.string().nullable();

export const numberSchema = component(
  'PhoneNumber',
  z.object({
    id: z.string(),
    organizationId: z.string(),
    phoneNumber: z.string(),
    credentialsId: z.string(),
    displayName: text,
    description: text,
    registration: z.boolean(),
    registrationStatus: registrationState.nullable().meta({ description: 'null: it asks for none.' }),
    inboundAgentId: text,
    transferTrunkId: text,
    source,
  }),
);

export const numberRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/phone-numbers',
    id: 'listPhoneNumbers',
    tag: 'Phone numbers',
    summary: 'Numbers, with how their registration is.',
    access: 'read',
    query: z.strictObject({ ...pageQuery, credentialsId: z.string().optional() }),
    answer: listOf(numberSchema),
    handle({ query: { limit, cursor, credentialsId }, organizationId }, ports) {
      const numbers = Array.from(ports.directory.current.numbers()).filter(
        (number) =>
          number.organizationId === organizationId &&
          (credentialsId === undefined || number.credentialsId === credentialsId),
      );
      const { items, nextCursor } = page(numbers, { limit, cursor, placeOf: ({ id }) => id, place: /./ });
      return ok({ items: items.map((number) => shown(number, ports)), nextCursor });
    },
  }),
  route({
    method: 'GET',
    path: '/phone-numbers/{id}',
    id: 'getPhoneNumber',
    tag: 'Phone numbers',
    summary: 'One number.',
    access: 'read',
    params: byId,
    answer: numberSchema,
    problems: { 404: 'No such number.' },
    handle({ params, organizationId }, ports) {
      const number = ports.directory.current.numberById(params.id);
      if (number?.organizationId === organizationId) return ok(shown(number, ports));
      throw notFound('no such phone number; GET /api/v1/phone-numbers lists them');
    },
  }),
];

function shown(
  number: PhoneNumber,
  { registrations }: HttpPorts,
): DeepReadonly<z.output<typeof numberSchema>> {
  const { id, organizationId, phoneNumber, credentialsId, registration } = number;
  return {
    id,
    organizationId,
    phoneNumber,
    credentialsId,
    displayName: number.displayName ?? null,
    description: number.description ?? null,
    registration,
    registrationStatus: registration ? (registrations.ofNumber(id)?.state ?? 'unregistered') : null,
    inboundAgentId: number.inboundAgentId ?? null,
    transferTrunkId: number.transferTrunkId ?? null,
    source: number.source,
  };
}
