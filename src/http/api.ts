/** The end-points of `/api/v1` about calls and routing; those of other things stand in files of their own. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { CallRecord } from '#call/observer.js';
import { REASONS, reasonEntry } from '#routing/refusals.js';
import { registerNumbers } from './numbers.js';
import { page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { registerProbe } from './probe.js';
import { notFound, Problem, validated } from './problem.js';
import { registerRegistrations } from './registrations.js';

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(['live', 'ended']).optional(),
  trunkId: z.string().optional(),
  agentId: z.string().optional(),
  code: z.string().optional(),
});

const explainQuery = z.strictObject({
  direction: z.literal('inbound', 'must be inbound; outbound calls are not there yet').default('inbound'),
  to: z.string().min(1).max(1_000),
  from: z.string().max(1_000).optional(),
  source: z.union([z.ipv4(), z.ipv6()], 'must be an IP address').default('127.0.0.1'),
});

export function registerApi(api: FastifyInstance, ports: HttpPorts): void {
  registerRegistrations(api, ports);
  registerNumbers(api, ports);
  registerProbe(api, ports);

  api.get('/calls', (request) => {
    const { limit, cursor, ...wanted } = validated(listQuery, request.query);
    const records = ports.calls.list().filter((record) => matches(record, wanted));
    return page(records, { limit, cursor, placeOf, place: PLACE, descending: true });
  });

  api.get<{ Params: { id: string } }>('/calls/:id', (request) => {
    const record = ports.calls.get(request.params.id);
    if (record !== undefined) return record;
    throw notFound(
      'no call of this id is in progress or among the latest; the call records on disk go back further',
    );
  });

  api.get('/reasons', () => ({
    items: Object.entries(REASONS).map(([code, entry]) => ({ code, ...entry })),
    nextCursor: null,
  }));

  api.get<{ Params: { code: string } }>('/reasons/:code', (request) => {
    const { code } = request.params;
    const entry = reasonEntry(code);
    if (entry === undefined) throw notFound('no such reason code; GET /api/v1/reasons lists them');
    return { code, ...entry };
  });

  api.get('/routes/explain', (request) => {
    const { to, from, source } = validated(explainQuery, request.query);
    const answer = ports.explainInbound({ to, from, source });
    if (typeof answer !== 'string') return answer;
    throw new Problem(400, 'invalid_request', 'Invalid request', answer);
  });
}

function matches(
  record: CallRecord,
  wanted: Pick<z.output<typeof listQuery>, 'state' | 'trunkId' | 'agentId' | 'code'>,
): boolean {
  if (wanted.state !== undefined && (record.state === 'ended') !== (wanted.state === 'ended')) return false;
  if (wanted.trunkId !== undefined && record.trunkId !== wanted.trunkId) return false;
  if (wanted.agentId !== undefined && record.agentId !== wanted.agentId) return false;
  return wanted.code === undefined || record.code === wanted.code;
}

/** Place of a record in the list, newest start first. It does not change when the call ends, so a cursor stays good. */
const placeOf = ({ startedAt, id }: CallRecord): string => `${startedAt} ${id}`;
const PLACE = /^\d{4}-\d\d-\d\dT\S+ \S+$/;
