/** The staged probe by HTTP: on SIP credentials that are saved, or on a body before it is. */
import * as z from 'zod';
import { toTrunk } from '#directory/models.js';
import { trunkRules, trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import type { ProbeReport } from '#registration/probe/report.js';
import { VERDICT_CODES } from '#registration/verdict.js';
import { credentials } from './credentials.js';
import { component } from './openapi.js';
import type { HttpPorts } from './ports.js';
import { Problem } from './problem.js';
import { ok, type Reply, type Route, route } from './route.js';
import { byId, time, verdict } from './schemas.js';

/** Certificates and a key may come along. */
const BODY_BYTES_MAX = 1_048_576;
/** A probe takes half a minute at most, more than the server lets a connection be silent otherwise. */
const PROBE_TIMEOUT_MS = 60_000;
const RETRY_SECONDS = 10;

const report = component(
  'ProbeReport',
  z.object({
    verdict,
    server: z.string(),
    transport: z.string(),
    aor: z.string().nullable(),
    startedAt: time,
    durationMs: z.number(),
    steps: z.array(
      z.object({
        stage: z.enum(['dns', 'connection', 'tls', 'options', 'challenge', 'register', 'unregister']),
        subject: z.string(),
        outcome: z.enum(['pass', 'warn', 'fail', 'skip']),
        code: z.enum(VERDICT_CODES).nullable(),
        atMs: z.number(),
        durationMs: z.number(),
        status: z.int().nullable(),
        detail: z.string(),
        facts: z.record(z.string(), z.unknown()).meta({ description: 'What the stage learnt, by name.' }),
      }),
    ),
  }),
);

const { id: _id, organizationId: _organizationId, ...fields } = trunkSchema.shape;
/** What would be saved; it has no id yet. */
const body = component('SipCredentialsToTest', z.strictObject(fields).superRefine(trunkRules));

const shared = {
  method: 'POST',
  tag: 'SIP credentials',
  access: 'write',
  answer: report,
  timeoutMs: PROBE_TIMEOUT_MS,
} as const;
const busy = { 429: 'As many probes as there may be run already, or too many requests.' } as const;

export const probeRoutes: readonly Route[] = [
  route({
    ...shared,
    path: '/sip-credentials/test',
    id: 'testSipCredentialsBody',
    summary: 'Tests credentials that have not been saved, stage by stage.',
    body,
    bodyLimit: BODY_BYTES_MAX,
    problems: busy,
    handle: ({ body: given, organizationId, extendTimeout }, ports) => {
      extendTimeout(PROBE_TIMEOUT_MS);
      return probe(ports, toTrunk({ ...given, id: 'test', organizationId }, 'manual'));
    },
  }),
  route({
    ...shared,
    path: '/sip-credentials/{id}/test',
    id: 'testSipCredentials',
    summary: 'Tests saved credentials, stage by stage.',
    params: byId,
    problems: { ...busy, 404: 'No such credentials.' },
    handle({ params, organizationId, extendTimeout }, ports) {
      const trunk = credentials.get(ports, params.id, organizationId);
      extendTimeout(PROBE_TIMEOUT_MS);
      return probe(ports, trunk);
    },
  }),
];

async function probe(ports: HttpPorts, trunk: Trunk): Promise<Reply<ProbeReport>> {
  const found = await ports.probe(trunk);
  if (found !== undefined) return ok(found);
  throw new Problem(
    429,
    'too_many_probes',
    'Too many probes',
    `as many probes as there may be run already: try again in ${RETRY_SECONDS} seconds`,
    undefined,
    {},
    { 'retry-after': String(RETRY_SECONDS) },
  );
}
