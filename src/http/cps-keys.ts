/** Lines of calls per second: who shares them, who waits, and what became of the last minute. */
import * as z from 'zod';
import type { CpsLine } from '#directory/cps-line.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { notFound } from './problem.js';
import { type DeepReadonly, ok, type Route, route } from './route.js';

const milliseconds = z.number().nullable();

const cpsKey = component(
  'CpsKey',
  z.object({
    cpsKey: z.string(),
    trunkIds: z.array(z.string()).meta({ description: 'Trunks that share it.' }),
    limit: z
      .number()
      .nullable()
      .meta({ description: "New calls per second: the smallest of the trunks' limits; null: not paced." }),
    cpsBurst: z.number().meta({ description: 'Calls that may leave at once after a rest.' }),
    pace: z.number().nullable().meta({
      description: 'Calls per second now: less than `limit` while a refusal by the provider is heeded.',
    }),
    warning: z.string().nullable().meta({ description: "Set where the trunks' limits differ." }),
    waiting: z.array(z.object({ priority: z.int(), count: z.int() })).meta({
      description: 'Calls that wait, the highest priority first; priorities without any are left out.',
    }),
    sentLastMinute: z
      .int()
      .meta({ description: 'INVITEs that left in the last 60 seconds, over all nodes.' }),
    waitP50Ms: milliseconds.meta({
      description: 'Of the latest calls (200 or 5 minutes); null: there were none.',
    }),
    waitP95Ms: milliseconds,
    refusedByProvider: z.int().meta({ description: 'INVITEs that the provider refused for their speed.' }),
    slotsLost: z.int().meta({ description: 'Slots that a late node could not use.' }),
  }),
);

type Shown = DeepReadonly<z.output<typeof cpsKey>>;

export const cpsKeyRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/cps-keys',
    id: 'listCpsKeys',
    tag: 'Calls',
    summary: 'Lines of calls per second, by the cpsKey of their trunks.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(cpsKey),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const own = Array.from(ports.directory.current.cpsLines()).filter(
        (line) => line.organizationId === organizationId,
      );
      const found = page(own, { limit, cursor, placeOf: (line) => line.cpsKey });
      const items = await Promise.all(found.items.map((line) => shown(line, ports)));
      return ok({ items, nextCursor: found.nextCursor });
    },
  }),
  route({
    method: 'GET',
    path: '/cps-keys/{key}',
    id: 'getCpsKey',
    tag: 'Calls',
    summary: 'One line of calls per second.',
    access: 'read',
    params: z.strictObject({ key: z.string().max(1_024) }),
    answer: cpsKey,
    problems: { 404: 'No trunk has this cpsKey.' },
    async handle({ params, organizationId }, ports) {
      const line = ports.directory.current.cpsLine(organizationId, params.key);
      if (line === undefined) throw notFound('no trunk has this cpsKey; GET /api/v1/cps-keys lists them');
      return ok(await shown(line, ports));
    },
  }),
];

async function shown(line: CpsLine, { pacing }: HttpPorts): Promise<Shown> {
  const { limit } = line;
  const view = await pacing.line(line.key, limit ?? 0);
  return {
    cpsKey: line.cpsKey,
    trunkIds: [...line.trunkIds],
    limit: limit ?? null,
    cpsBurst: line.burst,
    pace: limit === undefined ? null : view.pace,
    warning: line.warning ?? null,
    waiting: view.waiting.map(({ priority, count }) => ({ priority, count })),
    sentLastMinute: view.sentLastMinute,
    waitP50Ms: view.waitP50Ms,
    waitP95Ms: view.waitP95Ms,
    refusedByProvider: view.refusedByProvider,
    slotsLost: view.slotsLost,
  };
}
