/** The dry run of routing by HTTP; `explain.ts` makes an INVITE of the question. */
import * as z from 'zod';
import { component } from './openapi.js';
import { Problem } from './problem.js';
import { ok, type Route, route } from './route.js';
import { explanationStep } from './schemas.js';

const text = z.string().nullable();

const explainQuery = z.strictObject({
  direction: z
    .literal('inbound', 'must be inbound; outbound calls are not there yet')
    .default('inbound')
    .meta({ description: 'Which way the call goes.' }),
  to: z.string().min(1).max(1_000).meta({ description: 'A number, or a SIP URI.', example: '+14155550100' }),
  from: z.string().max(1_000).optional().meta({ description: 'Who calls; default anonymous.' }),
  source: z
    .union([z.ipv4(), z.ipv6()], 'must be an IP address')
    .default('127.0.0.1')
    .meta({ description: 'Address that the INVITE would come from.' }),
});

const answer = component(
  'RouteExplanation',
  z.object({
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

export const explainRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/routes/explain',
    id: 'explainRoute',
    tag: 'Calls',
    summary: 'Dry run of routing: what would become of such a call now, and why.',
    access: 'read',
    query: explainQuery,
    answer,
    handle({ query: { to, from, source } }, ports) {
      const explained = ports.explainInbound({ to, from, source });
      if (typeof explained !== 'string') return ok(explained);
      throw new Problem(400, 'invalid_request', 'Invalid request', explained);
    },
  }),
];
