/** The staged probe by HTTP: on SIP credentials that are saved, or on a body before it is. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { toTrunk, trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';
import type { ProbeReport } from '#registration/probe/report.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem, validated } from './problem.js';

/** Certificates and a key may come along. */
const BODY_BYTES_MAX = 1_048_576;
/** A probe takes half a minute at most, more than the server lets a connection be silent otherwise. */
const SOCKET_TIMEOUT_MS = 60_000;
const RETRY_SECONDS = 10;

export function registerProbe(api: FastifyInstance, ports: HttpPorts): void {
  api.post('/sip-credentials/test', { bodyLimit: BODY_BYTES_MAX }, (request, reply) =>
    probe(ports, request, reply, credentialsIn(request.body)),
  );

  api.post<{ Params: { id: string } }>('/sip-credentials/:id/test', (request, reply) => {
    const trunk = ports.directory.current.trunk(request.params.id);
    if (trunk === undefined) throw notFound('no such SIP credentials');
    return probe(ports, request, reply, trunk);
  });
}

/** The body is what would be saved; an id may be missing, since there is none yet. */
function credentialsIn(body: unknown): Trunk {
  const fields = typeof body === 'object' && body !== null && !Array.isArray(body) ? body : {};
  return toTrunk(validated(trunkSchema, { id: 'test', ...fields }), 'manual');
}

async function probe(
  ports: HttpPorts,
  request: FastifyRequest,
  reply: FastifyReply,
  trunk: Trunk,
): Promise<ProbeReport> {
  request.socket.setTimeout(SOCKET_TIMEOUT_MS);
  const report = await ports.probe(trunk);
  if (report !== undefined) return report;
  reply.header('retry-after', RETRY_SECONDS);
  throw new Problem(
    429,
    'too_many_probes',
    'Too many probes',
    `as many probes as there may be run already: try again in ${RETRY_SECONDS} seconds`,
  );
}
