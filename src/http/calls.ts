/** Calls: placing and ending them, those in progress and the latest ended ones. */
import * as z from 'zod';
import type { CallRecord } from '#call/observer.js';
import { idSchema } from '#directory/field-kinds.js';
import { askedHeaderFault, destUserFault } from '#directory/header-rules.js';
import { DEFAULT_ORGANIZATION } from '#directory/trunk.js';
import type { OrderRefusal } from '#origination/originations.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import { notFound, Problem } from './problem.js';
import { type ApiRequest, accepted, noContent, ok, type Route, route } from './route.js';
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
    metadata: z.record(z.string(), z.string()).nullable(),
    transferCallId: text.meta({
      description: 'The call of the latest transfer that was asked for, whatever has become of it.',
    }),
    transferredFrom: text.meta({ description: 'The call that this one was to take the telephone of.' }),
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
    warnings: z
      .array(
        z.object({
          code: z.enum(['private_media_address']),
          side: z.enum(['caller', 'callee', 'agent', 'gateway']),
          detail: z.string(),
        }),
      )
      .meta({ description: 'What may be wrong with a call that was answered.' }),
  }),
);

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(['live', 'ended']).optional(),
  trunkId: z.string().optional(),
  agentId: z.string().optional(),
  code: z.string().optional(),
});

const METADATA_MAX = 50;
const HEADERS_MAX = 50;

/** Header values and names for people go into SIP as they are. */
const line = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\p{Cc}]*$/u, 'must not have control characters');

const texts = (name: z.ZodType<string, string>, value: z.ZodType<string, string>, most: number) =>
  z
    .record(name, value)
    .refine((given) => Object.keys(given).length <= most, `must not have more than ${most} entries`);

function checkHeaders(headers: Readonly<Record<string, string>> | undefined, context: z.RefinementCtx): void {
  for (const [name, value] of Object.entries(headers ?? {})) {
    const message = askedHeaderFault(name, value);
    if (message !== undefined) context.addIssue({ code: 'custom', path: ['headers', name], message });
  }
}

const orderSchema = component(
  'CallOrder',
  z
    .strictObject({
      agentId: idSchema.meta({ description: 'The agent that is to talk.', example: 'sales' }),
      to: line(1_000).min(1).meta({
        description: 'Whom to call: a number, or a `sip:` or `tel:` URI of which the user part counts.',
        example: '+12125550199',
      }),
      from: line(1_000).optional().meta({
        description:
          "The number to show, one of the organisation's, which then says by which trunk; or `anonymous`. Default: the agent's.",
      }),
      displayName: line(256).optional().meta({ description: "The name to show. Default: the number's." }),
      headers: texts(z.string().min(1).max(64), line(1_024), HEADERS_MAX)
        .optional()
        .meta({ description: 'Header fields for the INVITE to the callee.' }),
      xDestUser: line(256).optional().meta({ description: 'Value of X-Dest-User.' }),
      priority: z
        .int()
        .min(0)
        .max(9)
        .optional()
        .meta({ description: 'In line; the highest goes first. Default 5.' }),
      queueTimeoutSeconds: z
        .number()
        .positive()
        .max(86_400)
        .optional()
        .meta({ description: 'How long it may wait for a slot. Default: `calls.queueTimeoutSeconds`.' }),
      ringTimeoutSeconds: z
        .number()
        .positive()
        .max(3_600)
        .optional()
        .meta({ description: "How long the callee may ring. Default: the trunk's." }),
      metadata: texts(z.string().min(1).max(64), z.string().max(1_024), METADATA_MAX)
        .optional()
        .meta({ description: 'Kept with the call and given back with it.' }),
    })
    .superRefine(({ headers, xDestUser }, context) => {
      checkHeaders(headers, context);
      const wrong = xDestUser === undefined ? undefined : destUserFault(xDestUser);
      if (wrong !== undefined) context.addIssue({ code: 'custom', path: ['xDestUser'], message: wrong });
    }),
);

const orderedSchema = component(
  'OrderedCall',
  z.object({
    id: z.string(),
    state: callSchema.shape.state,
    position: count.meta({ description: 'Calls before it in line; null: not known yet.' }),
    estimatedStartAt: time.nullable(),
    cpsKey: text.meta({ description: 'The line that it waits in; null: none.' }),
    effectiveCps: z.number().nullable().meta({ description: 'Calls per second of that line.' }),
  }),
);

const transferSchema = component(
  'TransferOrder',
  z
    .strictObject({
      to: line(1_000).min(1).meta({
        description: 'Whom to call: a number, or a `sip:` or `tel:` URI of which the user part counts.',
        example: '+12125550199',
      }),
      trunkId: idSchema.optional().meta({
        description:
          "The trunk to leave by. Default: `transferTrunkId` of the call's number, else the trunk of the call.",
      }),
      ringTimeoutSeconds: z
        .number()
        .positive()
        .max(3_600)
        .optional()
        .meta({ description: "How long they may ring. Default: the trunk's." }),
      headers: texts(z.string().min(1).max(64), line(1_024), HEADERS_MAX)
        .optional()
        .meta({ description: 'Header fields for the INVITE.' }),
    })
    .superRefine(({ headers }, context) => checkHeaders(headers, context)),
);

const transferredSchema = component(
  'OrderedTransfer',
  z.object({
    id: z.string().meta({ description: 'The call that is made for it.' }),
    transferredFrom: z.string(),
    state: callSchema.shape.state,
  }),
);

const IMPOSSIBLE = {
  not_answered: 'only a call that is answered, and not over, can be transferred',
  no_agent: 'two telephones talk to each other in this call, which itself is a transfer',
  transfer_pending: 'a transfer of this call is under way; `transferCallId` of the call names it',
} as const;

/** A refusal as a problem: its code is the reason's, which `/reasons/{code}` explains. */
function problemOf({ code, httpStatus, detail, field, retryAfterSeconds }: OrderRefusal): Problem {
  const title = code === 'no_outbound_config' ? 'No outbound config' : sentence(code);
  const errors = field === undefined ? undefined : [{ path: field, message: detail }];
  const headers: Record<string, string> = {};
  if (retryAfterSeconds !== undefined) headers['retry-after'] = String(retryAfterSeconds);
  return new Problem(httpStatus, code, title, detail, errors, {}, headers);
}

const sentence = (code: string): string => code.charAt(0).toUpperCase() + code.slice(1).replaceAll('_', ' ');

export const callRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/calls',
    id: 'placeCall',
    tag: 'Calls',
    summary: 'Places a call: it joins its line, and agent and callee are called when its turn comes.',
    description:
      'The agent is called about two seconds before the slot of the call, the callee in it (`originate` of the agent turns that round). A call that is cancelled, or whose agent does not answer, uses no slot.',
    access: 'calls',
    body: orderSchema,
    status: 202,
    answer: orderedSchema,
    problems: {
      404: 'There is no such agent (`unknown_agent`).',
      409: 'The call cannot be made: `no_outbound_config`, `agent_disabled`, `agent_without_endpoints`, `not_registered`.',
      422: 'The Idempotency-Key was used for another request.',
      429: 'As many calls wait as may (`queue_full`), or a limit is reached.',
      503: 'The gateway is full, or about to stop.',
    },
    async handle({ body, organizationId }, ports) {
      const placed = await ports.calls.place({ ...body, organizationId });
      if (placed.kind === 'refused') throw problemOf(placed);
      const { id, state, position, estimatedStartAt, cpsKey, effectiveCps } = placed;
      return accepted(
        {
          id,
          state,
          position,
          estimatedStartAt: estimatedStartAt === null ? null : new Date(estimatedStartAt).toISOString(),
          cpsKey,
          effectiveCps,
        },
        { location: `/api/v1/calls/${id}` },
      );
    },
  }),
  route({
    method: 'POST',
    path: '/calls/{id}/transfer',
    id: 'transferCall',
    tag: 'Calls',
    summary:
      'Transfers the telephone of an answered call: somebody else is called, and takes its place at their answer.',
    description:
      'The new call leaves like any other, with the number of the call, and has its own record (`transferredFrom`). Until it is answered the agent stays; then the agent is released with BYE, and its call ends with `transferred`. When nobody answers, or the telephone does not take the change, the call goes on as it was.',
    access: 'calls',
    params: byId,
    body: transferSchema,
    status: 202,
    answer: transferredSchema,
    problems: {
      404: 'No such call is in progress or among the latest.',
      409: 'The call is not answered, or over (`not_answered`), or being transferred (`transfer_pending`), or without an agent (`no_agent`); or the new call cannot be made.',
      429: 'A limit is reached.',
      503: 'The gateway is full, or about to stop.',
    },
    handle(request, ports) {
      const record = ports.calls.get(request.params.id);
      if (record === undefined || !isVisible(record, request)) throw notFound('no such call');
      const ordered = ports.calls.transfer(record.id, request.body);
      if (ordered.kind === 'refused') throw problemOf(ordered);
      if (ordered.kind === 'impossible') {
        throw new Problem(409, ordered.why, sentence(ordered.why), IMPOSSIBLE[ordered.why]);
      }
      const state = ports.calls.get(ordered.id)?.state ?? 'dialing';
      return accepted(
        { id: ordered.id, transferredFrom: record.id, state },
        { location: `/api/v1/calls/${ordered.id}` },
      );
    },
  }),
  route({
    method: 'DELETE',
    path: '/calls/{id}',
    id: 'endCall',
    tag: 'Calls',
    summary:
      'Ends a call: one that waits leaves its line, one in progress is hung up. One that is over stays so.',
    access: 'calls',
    params: byId,
    status: 204,
    problems: { 404: 'No such call is in progress or among the latest.' },
    handle(request, ports) {
      const record = ports.calls.get(request.params.id);
      if (record === undefined || !isVisible(record, request)) throw notFound('no such call');
      ports.calls.hangUp(record.id);
      return noContent();
    },
  }),
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
export function isVisible(
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
