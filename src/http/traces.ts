/** The SIP messages of a call or a registration, as they crossed the wire: to read, or as a capture file. */
import * as z from 'zod';
import type { CallRecord } from '#call/observer.js';
import { hostPort } from '#sip/uri.js';
import { type LegOf, ladder, messageText, startLine } from '#trace/ladder.js';
import { pcap } from '#trace/pcap.js';
import type { Trace } from '#trace/wire-trace.js';
import { isVisible } from './calls.js';
import { component } from './openapi.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem } from './problem.js';
import { registrationOf } from './registrations.js';
import { ok, type RawReply, type Reply, type Route, raw, route } from './route.js';
import { byId, time } from './schemas.js';

const messageSchema = component(
  'TracedMessage',
  z.object({
    at: time,
    leg: z
      .string()
      .meta({ description: '`caller`, or the attempt: `attempt 1`. Of a registration: `registrar`.' }),
    direction: z.enum(['in', 'out']),
    transport: z.enum(['udp', 'tcp', 'tls']),
    local: z.string().meta({ description: 'The listener.' }),
    peer: z.string(),
    callId: z.string(),
    startLine: z.string(),
    message: z.string().meta({ description: 'The whole message; credentials and media keys are asterisks.' }),
  }),
);

const traceSchema = component(
  'Trace',
  z.object({
    complete: z
      .boolean()
      .meta({ description: 'false: its first messages may have been given up for newer ones.' }),
    items: z.array(messageSchema),
  }),
);
type TraceAnswer = z.output<typeof traceSchema>;

const query = z.strictObject({
  format: z
    .enum(['json', 'text', 'pcap'])
    .default('json')
    .meta({ description: 'text: a ladder for a terminal. pcap: a capture file for Wireshark and sngrep.' }),
});

const TEXT = 'text/plain';
const PCAP = 'application/vnd.tcpdump.pcap';

const shared = {
  method: 'GET',
  access: 'read',
  params: byId,
  query,
  answer: traceSchema,
  otherAnswers: [TEXT, PCAP],
} as const;

const NOT_KEPT = 'Messages are not kept (`trace.megabytes` is 0, or the engine is drachtio).';
/** The INVITE is kept a moment before its call begins. */
const BEFORE_MS = 1_000;
/** 64·T1 and a little: repeated messages after the end. */
const AFTER_MS = 40_000;

export const traceRoutes: readonly Route[] = [
  route({
    ...shared,
    path: '/calls/{id}/trace',
    id: 'traceCall',
    tag: 'Calls',
    summary: 'The SIP messages of a call, on both sides, as they crossed the wire.',
    description:
      'Kept by the node that had the call, in memory, newest first out last: `trace.megabytes` of the configuration says how much.',
    problems: { 404: 'No such call is in progress or among the latest.', 409: NOT_KEPT },
    async handle(request, ports) {
      const record = ports.calls.get(request.params.id);
      if (record === undefined || !isVisible(record, request)) throw notFound('no such call');
      const legs = legsOf(record, ports.calls.list());
      const begun = Date.parse(record.startedAt) - BEFORE_MS;
      const over = record.endedAt === null ? Number.POSITIVE_INFINITY : Date.parse(record.endedAt) + AFTER_MS;
      const { messages, lostUntil } = await find(ports, new Set(legs.keys()));
      const own = {
        messages: messages.filter(({ at }) => at >= begun && at <= over),
        lostUntil: lostUntil !== undefined && lostUntil > begun ? lostUntil : undefined,
      };
      return answer(own, (callId) => legs.get(callId) ?? '', request.query.format, record.id);
    },
  }),
  route({
    ...shared,
    path: '/registrations/{id}/trace',
    id: 'traceRegistration',
    tag: 'Registrations',
    summary: 'The latest REGISTERs of a registration and their responses, as they crossed the wire.',
    problems: { 404: 'No such registration.', 409: NOT_KEPT },
    async handle({ params, query: { format }, organizationId }, ports) {
      const { id, callId } = registrationOf(ports, params.id, organizationId);
      return answer(await find(ports, new Set([callId])), () => 'registrar', format, id);
    },
  }),
];

async function find({ trace }: HttpPorts, callIds: ReadonlySet<string>): Promise<Trace> {
  if (trace !== undefined) return trace.find(callIds);
  throw new Problem(
    409,
    'not_traced',
    'Not traced',
    'this gateway keeps no messages: sip.engine is drachtio, which has a log of its own, or trace.megabytes is 0',
  );
}

/** What the call's Call-IDs belong to. */
function legsOf(record: CallRecord, all: readonly CallRecord[]): ReadonlyMap<string, string> {
  const legs = new Map<string, string>();
  // The caller chose this one, perhaps to read the messages of another organisation's call by it.
  const isBorrowed = all.some(
    ({ callId, attempts, organizationId }) =>
      organizationId !== record.organizationId &&
      (callId === record.callId || attempts.some((attempt) => attempt.callId === record.callId)),
  );
  if (!isBorrowed) legs.set(record.callId, 'caller');
  for (const [index, { callId }] of record.attempts.entries()) {
    if (callId !== null) legs.set(callId, `attempt ${index + 1}`);
  }
  return legs;
}

function answer(
  trace: Trace,
  legOf: LegOf,
  format: z.output<typeof query>['format'],
  name: string,
): Reply<TraceAnswer> | RawReply {
  if (format === 'text') return raw(`${TEXT}; charset=utf-8`, ladder(trace, legOf));
  if (format === 'pcap') {
    return raw(PCAP, pcap(trace.messages), { 'content-disposition': `attachment; filename="${name}.pcap"` });
  }
  return ok({
    complete: trace.lostUntil === undefined,
    items: trace.messages.map((message) => ({
      at: new Date(message.at).toISOString(),
      leg: legOf(message.callId),
      direction: message.direction,
      transport: message.listener.transport,
      local: message.listener.id,
      peer: hostPort(message.address, message.port),
      callId: message.callId,
      startLine: startLine(message.octets),
      message: messageText(message),
    })),
  });
}
