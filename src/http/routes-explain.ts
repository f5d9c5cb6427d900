/** The dry run of routing by HTTP, both ways: the decisions that calls go by, made without a call. */
import * as z from 'zod';
import type { OutboundQuestion } from '#routing/outbound-decision.js';
import { component } from './openapi.js';
import { Problem } from './problem.js';
import { ok, type Route, route } from './route.js';
import { explanationStep } from './schemas.js';

const text = z.string().nullable();
const text1000 = z.string().max(1_000).optional();

const explainQuery = z
  .strictObject({
    direction: z
      .enum(['inbound', 'outbound'])
      .default('inbound')
      .meta({ description: 'Which way the call goes.' }),
    to: z
      .string()
      .min(1)
      .max(1_000)
      .meta({ description: 'A number, or a SIP URI.', example: '+14155550100' }),
    from: text1000.meta({
      description:
        "Inbound: who calls; default anonymous. Outbound: the number to show; default the agent's own.",
    }),
    source: z
      .union([z.ipv4(), z.ipv6()], 'must be an IP address')
      .optional()
      .meta({ description: 'Inbound: address that the INVITE would come from; default 127.0.0.1.' }),
    username: text1000.meta({
      description: 'Inbound: user of the `inboundAuth` of a trunk, which the call shows with its password.',
      example: 'office-pbx',
    }),
    agentId: text1000.meta({ description: 'Outbound: the agent that calls.', example: 'sales' }),
    displayName: text1000.meta({
      description: "Outbound: the name to show; empty: none; default the number's.",
    }),
    privacy: z
      .stringbool()
      .optional()
      .meta({ description: 'Outbound: withhold the number; default as agent and trunk say.' }),
    xDestUser: text1000.meta({ description: 'Outbound: value of X-Dest-User.' }),
  })
  .superRefine((query, context) => {
    const complain = (name: string, message: string) =>
      context.addIssue({ code: 'custom', path: [name], message, input: undefined });
    if (query.direction === 'outbound') {
      if (query.agentId === undefined) complain('agentId', 'is needed for direction=outbound');
      for (const name of ['source', 'username'] as const) {
        if (query[name] !== undefined) complain(name, 'is for direction=inbound only');
      }
      return;
    }
    for (const name of ['agentId', 'displayName', 'privacy', 'xDestUser'] as const) {
      if (query[name] !== undefined) complain(name, 'is for direction=outbound only');
    }
  });

const inboundAnswer = component(
  'RouteExplanation',
  z.object({
    direction: z.literal('inbound'),
    decision: z.enum(['route', 'refuse']),
    status: z.int().nullable(),
    code: text,
    trunkId: text,
    phoneNumberId: text,
    agentId: text,
    did: text,
    endpoints: z.array(z.string()),
    explanation: z.array(explanationStep),
  }),
);

const use = z
  .object({ used: z.int(), most: z.int().nullable() })
  .meta({ description: 'What is in use of a bound; most null: there is none.' });

const way = z.object({
  trunkId: z.string().meta({ description: "A trunk, or agent:ID for the agent's own account." }),
  phoneNumberId: z.string(),
  phoneNumber: z.string().meta({ description: 'The number that is shown.' }),
  dialled: z.string().meta({ description: 'The callee as this trunk writes it.' }),
  nextHop: z.string().meta({ example: 'tls sip.provider.example:5061' }),
  registrationId: text,
  digestUser: text,
  invite: z.string().meta({
    description:
      'Request line and header fields that routing decides; Via, Call-ID, CSeq, tags, Contact and body are made when it is sent.',
  }),
  limits: z.object({
    cpsKey: z.string(),
    effectiveCpsLimit: z
      .number()
      .nullable()
      .meta({ description: 'New calls per second of all trunks with this key; null: not paced.' }),
    cpsBurst: z.int(),
    cpsCountsChallenges: z.boolean(),
    warning: text.meta({ description: 'Where limits of trunks with one key differ.' }),
    maxDurationSeconds: z.number().nullable(),
    trunkCalls: use,
    trunkCallsToday: use,
    organizationCalls: use,
    organizationCallsToday: use,
  }),
});

const outboundAnswer = component(
  'OutboundRouteExplanation',
  z.object({
    direction: z.literal('outbound'),
    decision: z.enum(['route', 'refuse']),
    status: z.int().nullable().meta({ description: 'What an agent that calls by SIP would get.' }),
    httpStatus: z.int().nullable().meta({ description: 'What POST /api/v1/calls would answer.' }),
    code: text,
    detail: text,
    field: text.meta({ description: 'The part of the question that is at fault.' }),
    agentId: text,
    organizationId: text,
    callee: text.meta({ description: 'In normal form.' }),
    routes: z.array(way).meta({ description: 'In the order in which they would be tried.' }),
    explanation: z.array(explanationStep),
  }),
);

export const explainRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/routes/explain',
    id: 'explainRoute',
    tag: 'Calls',
    summary: 'Dry run of routing: what would become of such a call now, and why.',
    access: 'read',
    query: explainQuery,
    answer: z.discriminatedUnion('direction', [inboundAnswer, outboundAnswer]),
    handle({ query, organizationId, caller }, ports) {
      if (query.direction === 'outbound') return ok(ports.explainOutbound(questionOf(query, organizationId)));
      const { to, from, source = '127.0.0.1', username } = query;
      const sees = caller.kind === 'administrator' ? undefined : organizationId;
      const explained = ports.explainInbound({ to, from, source, username, organizationId: sees });
      if (typeof explained !== 'string') return ok(explained);
      throw new Problem(400, 'invalid_request', 'Invalid request', explained);
    },
  }),
];

function questionOf(query: z.output<typeof explainQuery>, organizationId: string): OutboundQuestion {
  const { agentId = '', to, from, displayName, privacy, xDestUser } = query;
  return { agentId, organizationId, to, from, displayName, privacy, xDestUser };
}
