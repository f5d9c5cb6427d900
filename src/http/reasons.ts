/** What each reason code of a call means, and what to do about it. */
import * as z from 'zod';
import { REASONS, reasonEntry } from '#routing/refusals.js';
import { component } from './openapi.js';
import { listOf } from './page.js';
import { notFound } from './problem.js';
import { ok, type Route, route } from './route.js';

const reason = component(
  'Reason',
  z.object({
    code: z.string(),
    status: z
      .int()
      .meta({ description: "SIP status; 0 where the peer's own is passed on, or none is sent." }),
    phrase: z.string(),
    stage: z.enum(['refused', 'failed', 'ended', 'warning']),
    httpStatus: z.int().meta({ description: 'What POST /calls answers for it; 0: it has no such answer.' }),
    meaning: z.string(),
    remedy: z.string(),
  }),
);

export const reasonRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/reasons',
    id: 'listReasons',
    tag: 'Calls',
    summary: 'Reason codes of calls: SIP status, meaning, remedy.',
    access: 'read',
    answer: listOf(reason),
    handle() {
      const items = Object.entries(REASONS).map(([code, entry]) => ({ code, ...entry }));
      return ok({ items, nextCursor: null });
    },
  }),
  route({
    method: 'GET',
    path: '/reasons/{code}',
    id: 'getReason',
    tag: 'Calls',
    summary: 'One reason code.',
    access: 'read',
    params: z.strictObject({ code: z.string().max(1_024) }),
    answer: reason,
    problems: { 404: 'No such reason code.' },
    handle({ params: { code } }) {
      const entry = reasonEntry(code);
      if (entry === undefined) throw notFound('no such reason code; GET /api/v1/reasons lists them');
      return ok({ code, ...entry });
    },
  }),
];
