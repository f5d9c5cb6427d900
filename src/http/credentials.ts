/** SIP credentials: the trunks. */
import * as z from 'zod';
import { trunkRules, trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import { affectedAgents } from '#directory/usage.js';
import { callCounts } from './call-counts.js';
import { metaOf, metaShape } from './edit.js';
import { answerOf, fieldsBut, patchOf, plain } from './mirror.js';
import { component } from './openapi.js';
import { pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { resource } from './resource.js';
import { ok, type Route, route } from './route.js';
import { byId, source } from './schemas.js';

const KIND = 'sipCredentials';

const fields = fieldsBut(trunkSchema.shape, 'id', 'organizationId');

const answerSchema = component(
  'SipCredentials',
  answerOf(trunkSchema.shape).extend({
    source,
    providerId: z.string().nullable().meta({ description: 'The provider that it came and goes with.' }),
    effectiveCpsLimit: z
      .number()
      .nullable()
      .meta({ description: 'The smallest limit of all trunks with its cpsKey; null: not paced.' }),
    cpsWarning: z
      .string()
      .nullable()
      .meta({ description: 'Where trunks with one cpsKey have different limits.' }),
    ...metaShape,
  }),
);

const named = z.object({ id: z.string(), name: z.string() });

/** Who would feel it when the trunk goes. */
const affectedSchema = component(
  'AffectedAgents',
  z.object({
    phoneNumbers: z.array(
      z.object({ id: z.string(), phoneNumber: z.string(), linkedAgent: named.nullable() }),
    ),
    agents: z.array(named),
    queuedCallsCount: z.int().meta({ description: 'Calls that wait for a slot of it and would fail.' }),
    activeCallsCount: z.int().meta({ description: 'Calls in progress on it; they may end by themselves.' }),
  }),
);

export const credentials = resource({
  kind: KIND,
  what: 'SIP credentials',
  tag: 'SIP credentials',
  path: '/sip-credentials',
  one: 'SipCredentials',
  many: 'SipCredentials',
  summaries: {
    list: 'Trunks.',
    create: 'Adds a trunk. It is in force at once.',
    get: 'One trunk.',
    update: 'Changes a trunk (JSON Merge Patch, RFC 7396): null takes a field back to its default.',
    remove: 'Removes a trunk. While numbers use it, that is refused with what is affected.',
  },
  removeDescription:
    'With `force` its numbers go too, agents are unlinked, calls that wait for it fail, and what is registered is un-registered; calls in progress may end by themselves.',
  newSchema: component('NewSipCredentials', z.strictObject(fields).superRefine(trunkRules)),
  patchSchema: component('SipCredentialsPatch', patchOf(fields)),
  // Certificates and a key may come along.
  bodyLimit: 1_048_576,
  answer: answerSchema,
  query: z.strictObject(pageQuery),
  select: (_query, organizationId, ports) => trunksOf(ports, organizationId),
  find: (snapshot, id) => snapshot.trunk(id),
  missing: 'no such SIP credentials',
  shown,
  alsoAffected: callsOf,
});

export const credentialsRoutes: readonly Route[] = [
  ...credentials.routes,
  route({
    tag: 'SIP credentials',
    method: 'GET',
    path: '/sip-credentials/{id}/affected-agents',
    id: 'getAffectedAgents',
    summary: 'Which numbers, agents and calls depend on a trunk.',
    access: 'read',
    params: byId,
    answer: affectedSchema,
    problems: { 404: 'There is no such object.' },
    handle({ params, organizationId }, ports) {
      const { id } = credentials.get(ports, params.id, organizationId);
      const { phoneNumbers, agents } = affectedAgents(ports.directory.current, id);
      return ok({ phoneNumbers: [...phoneNumbers], agents: [...agents], ...callsOf(id, ports) });
    },
  }),
];

function callsOf(id: string, ports: HttpPorts): ReturnType<typeof callCounts> {
  return callCounts(ports, ({ trunkId }) => trunkId === id);
}

/** Also what `/sip-trunks` lists. */
export function trunksOf(ports: HttpPorts, organizationId: string): Trunk[] {
  return Array.from(ports.directory.current.trunks()).filter(
    (trunk) => trunk.organizationId === organizationId,
  );
}

function shown(trunk: Trunk, ports: HttpPorts): Record<string, unknown> {
  const line = ports.directory.current.cpsLine(trunk.organizationId, trunk.cpsKey);
  return {
    ...plain(trunk),
    effectiveCpsLimit: line?.limit ?? null,
    cpsWarning: line?.warning ?? null,
    ...metaOf(ports, KIND, trunk.id),
  };
}
