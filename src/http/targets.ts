/** Servers of trunks, as OPTIONS and REGISTERs have found them. */
import * as z from 'zod';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import { ok, type Route, route } from './route.js';
import { time } from './schemas.js';

const health = z.enum(['unknown', 'up', 'down']);

const target = component(
  'Target',
  z.object({
    target: z.string().meta({ example: 'udp:192.0.2.1:5060' }),
    health: health.meta({
      description: 'down after `failAfter` OPTIONS without an answer, up after `okAfter` answers.',
    }),
    since: time,
    missed: z.int().meta({ description: 'OPTIONS without an answer in a row.' }),
    trunkIds: z.array(z.string()),
  }),
);

export const targetRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/targets',
    id: 'listTargets',
    tag: 'Registrations',
    summary: 'Servers that are pinged: of trunks that register, and of those with `optionsPing`.',
    access: 'read',
    query: z.strictObject({ ...pageQuery, health: health.optional() }),
    answer: listOf(target),
    handle({ query: { limit, cursor, health: wanted }, organizationId }, ports) {
      const found = Array.from(ports.targets(organizationId)).filter(
        (each) => wanted === undefined || each.health === wanted,
      );
      const place = /^\S+$/;
      return ok(page(found, { limit, cursor, placeOf: (each) => each.target, place }));
    },
  }),
];
