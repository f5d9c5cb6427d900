/** Parts that the descriptions of several end-points share. */
import * as z from 'zod';
import { VERDICT_CODES } from '#registration/verdict.js';
import { component } from './openapi.js';

/** Ids in paths; what cannot be one is simply not there. */
export const byId = z.strictObject({ id: z.string().max(1_024) });

/** ISO 8601 in UTC, as `Date.toISOString` writes it. */
export const time = z.string().meta({ description: 'ISO 8601, UTC.', example: '2026-01-31T12:00:00.000Z' });

export const explanationStep = z.object({
  subject: z.string(),
  test: z.string(),
  outcome: z.enum(['pass', 'fail', 'info']),
  detail: z.string(),
});

export const verdict = component(
  'Verdict',
  z.object({
    code: z.enum(VERDICT_CODES),
    detail: z.string(),
    status: z.int().optional().meta({ description: 'The SIP status behind it.' }),
  }),
);

export const source = z.enum(['config', 'manual', 'provider']).meta({
  description:
    'Who wrote it: the config file or a provider (both read-only here), or a person through the API (manual).',
});
