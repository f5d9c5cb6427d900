/** Calls: those in progress and the latest ended ones. */
import * as z from 'zod';
import type { CallRecord } from '#call/observer.js';
import { DEFAULT_ORGANIZATION } from '#directory/trunk.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import { notFound } from './problem.js';
import { type ApiRequest, ok, type Route, route } from './route.js';
import { byId, explanationStep, time } from './schemas.js';

const text = z.string().nullable();
const count = z.int().nullable();

const attempt = z.object({
  endpoint: z.string(),
  trunkId: text,
  target: text,
  callId: text,
  startedAt: time,
  durationMs: z.int(),
  outcome: z.enum(['pending', 'answered', 'rejected', 'fault', 'cancelled']),
  challenges: z.int(),
  sipStatus: count,
  cause: text,
  detail: text,
});

export const callSchema = component(
  'Call',
  z.object({
    id: z.string(),
    direction: z.enum(['inbound', 'outbound']),
    organizationId: text,
    state: z.enum(['queued', 'dialing', 'ringing', 'early-media', 'answered', 'ended']),
    trunkId: text,
    phoneNumberId: text,
    agentId: text,
    did: text,
    originalDid: text,
    callee: text,
    caller: text,
    callerName: text,
    sourceAddress: z.string(),
    sourcePort: z.int(),
    transport: z.string(),
    callId: z.string(),
    startedAt: time,
    queuedAt: time.nullable(),
    waitedMs: count,
    cpsKey: text,
    ringingAt: time.nullable(),
    answeredAt: time.nullable(),
    endedAt: time.nullable(),
    setupMs: count,
    ringMs: count,
    talkMs: count,
    durationMs: z.int(),
    endedBy: z.enum(['caller', 'callee', 'agent', 'gateway']).nullable(),
    sipStatus: count,
    q850: count,
    code: text,
    detail: text,
    explanation: z.array(explanationStep).nullable(),
    attempts: z.array(attempt),
  }),
);

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(['live', 'ended']).optional(),
  trunkId: z.string().optional(),
  agentId: z.string().optional(),
  code: z.string().optional(),
});

export const callRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/calls',
    id: 'listCalls',
    tag: 'Calls',
    summary: 'Calls in progress and the latest ended ones, newest first.',
    access: 'read',
    query: listQuery,
    answer: listOf(callSchema),
    handle(request, ports) {
      const { limit, cursor, ...wanted } = request.query;
      const records = ports.calls
        .list()
        .filter((record) => isVisible(record, request) && matches(record, wanted));
      return ok(page(records, { limit, cursor, placeOf, place: PLACE, descending: true }));
    },
  }),
  route({
    method: 'GET',
    path: '/calls/{id}',
    id: 'getCall',
    tag: 'Calls',
    summary: 'One call.',
    access: 'read',
    params: byId,
    answer: callSchema,
    problems: { 404: 'No such call is in progress or among the latest.' },
    handle(request, ports) {
      const record = ports.calls.get(request.params.id);
      if (record !== undefined && isVisible(record, request)) return ok(record);
      throw notFound(
        'no call of this id is in progress or among the latest; the call records on disk go back further',
      );
    },
  }),
];

/** A call of no trunk (from a stranger) is nobody's: the administrator finds it in the default organisation. */
function isVisible(
  record: CallRecord,
  { caller, organizationId }: Pick<ApiRequest<unknown, unknown, unknown>, 'caller' | 'organizationId'>,
): boolean {
  if (record.organizationId !== null) return record.organizationId === organizationId;
  return caller.kind === 'administrator' && organizationId === DEFAULT_ORGANIZATION;
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
