/** The staged probe by HTTP: on SIP credentials that are saved, or on a body before it is. */
import * as z from 'zod';
import { toTrunk, trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import type { Fact, ProbeReport } from '#registration/probe/report.js';
import { VERDICT_CODES } from '#registration/verdict.js';
import { component } from './openapi.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem, validated } from './problem.js';
import { type ApiRequest, ok, type Reply, type Route, route } from './route.js';
import { byId, time, verdict } from './schemas.js';

/** Certificates and a key may come along. */
const BODY_BYTES_MAX = 1_048_576;
/** A probe takes half a minute at most, more than the server lets a connection be silent otherwise. */
const PROBE_TIMEOUT_MS = 60_000;
const RETRY_SECONDS = 10;

/** Facts are whatever a stage learns, by name. */
const fact: z.ZodType<Fact> = z.custom<Fact>().meta({ description: 'Text, number, list or object.' });

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
        facts: z.record(z.string(), fact),
      }),
    ),
  }),
);

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
    body: trunkBody(),
    bodyLimit: BODY_BYTES_MAX,
    problems: busy,
    handle: (request, ports) => probe(ports, request, credentialsIn(request.body)),
  }),
  route({
    ...shared,
    path: '/sip-credentials/{id}/test',
    id: 'testSipCredentials',
    summary: 'Tests saved credentials, stage by stage.',
    params: byId,
    problems: { ...busy, 404: 'No such credentials.' },
    handle(request, ports) {
      const trunk = ports.directory.current.trunk(request.params.id);
      if (trunk === undefined || trunk.organizationId !== request.organizationId) {
        throw notFound('no such SIP credentials');
      }
      return probe(ports, request, trunk);
    },
  }),
];
