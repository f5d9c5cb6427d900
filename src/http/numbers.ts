/** Phone numbers as they stand in the directory, each with how its registration is. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { PhoneNumber } from '#directory/number.js';
import { page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound, validated } from './problem.js';

const listQuery = z.strictObject({ ...pageQuery, credentialsId: z.string().optional() });

export function registerNumbers(api: FastifyInstance, ports: HttpPorts): void {
  api.get('/phone-numbers', (request) => {
    const { limit, cursor, credentialsId } = validated(listQuery, request.query);
    const numbers = ports.directory.current.numbers();
    const wanted = credentialsId === undefined ? numbers : ofTrunk(numbers, credentialsId);
    const { items, nextCursor } = page(wanted, { limit, cursor, placeOf: ({ id }) => id, place: /./ });
    return { items: items.map((number) => shown(number, ports)), nextCursor };
  });

  api.get<{ Params: { id: string } }>('/phone-numbers/:id', (request) => {
    const number = ports.directory.current.numberById(request.params.id);
    if (number !== undefined) return shown(number, ports);
    throw notFound('no such phone number; GET /api/v1/phone-numbers lists them');
  });
}

function* ofTrunk(numbers: Iterable<PhoneNumber>, trunkId: string): Iterable<PhoneNumber> {
  for (const number of numbers) if (number.credentialsId === trunkId) yield number;
}

function shown(number: PhoneNumber, { registrations }: HttpPorts): object {
  const { id, phoneNumber, credentialsId, registration, source } = number;
  return {
    id,
    phoneNumber,
    credentialsId,
    displayName: number.displayName ?? null,
    description: number.description ?? null,
    registration,
    // null: it asks for none.
    registrationStatus: registration ? (registrations.ofNumber(id)?.state ?? 'unregistered') : null,
    inboundAgentId: number.inboundAgentId ?? null,
    transferTrunkId: number.transferTrunkId ?? null,
    source,
  };
}
