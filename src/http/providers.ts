/** Accounts at providers: the gateway makes trunk and credentials there by itself, and takes over numbers. */
import * as z from 'zod';
import { Secret } from '#directory/secret.js';
import type { ProviderView } from '#provider/account-record.js';
import type { ProviderRefusal } from '#provider/providers.js';
import { parseUri } from '#sip/uri.js';
import { authorOf, fieldErrors, forceQuery } from './edit.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import { invalid, notFound, Problem } from './problem.js';
import { created, noContent, ok, type Route, route } from './route.js';
import { byId, time } from './schemas.js';

/** Several requests to the provider, one after the other. */
const TIMEOUT_MS = 120_000;

const resource = z.object({
  kind: z.string().meta({ description: '`trunk`, `credentialList`, `originationUrl`…' }),
  id: z
    .string()
    .nullable()
    .meta({ description: "The provider's id; null: it is not known whether it exists." }),
});
const providerSchema = component(
  'Provider',
  z.object({
    id: z.string(),
    type: z.string(),
    accountSid: z.string(),
    hasAuthToken: z.literal(true),
    description: z.string().nullable(),
    state: z.enum(['connecting', 'connected', 'failed', 'removing']),
    credentialsId: z.string().nullable().meta({ description: 'The trunk that came with it, read-only.' }),
    originationUri: z.string().meta({ description: 'Where the provider sends inbound calls.' }),
    resources: z.array(resource).meta({ description: 'What exists at the provider because of us.' }),
    detail: z.string().nullable().meta({ description: 'Why it has failed.' }),
    createdAt: time,
    updatedAt: time,
  }),
);
const newSchema = component(
  'NewProvider',
  z.strictObject({
    type: z.string().max(64).meta({ description: 'The provider.', example: 'twilio' }),
    accountSid: z
      .string()
      .regex(/^AC[0-9a-fA-F]{32}$/, { error: 'must be AC and 32 hexadecimal digits' })
      .meta({ description: "The account's SID." }),
    authToken: z
      .string()
      .min(1)
      .max(256)
      .meta({ description: "The account's auth token. Write-only.", example: '${TWILIO_AUTH_TOKEN}' }),
    originationUri: z
      .string()
      .max(255)
      .refine(reachable, {
        error: 'must be a SIP URI such as sip:203.0.113.7:5060, as the provider reaches us',
      })
      .meta({
        description: 'SIP URI of this gateway, as the provider reaches it.',
        example: 'sip:203.0.113.7:5060',
      }),
    description: z.string().max(256).optional(),
    cpsLimit: z
      .number()
      .positive()
      .max(10_000)
      .optional()
      .meta({ description: 'Calls per second of the trunk. Default: what the provider gives a new one.' }),
  }),
);
const numberSchema = component(
  'AvailableNumber',
  z.object({
    id: z.string().meta({ description: "The provider's id." }),
    phoneNumber: z.string(),
    friendlyName: z.string().nullable(),
    voice: z.boolean().meta({ description: 'It can carry calls.' }),
    assigned: z
      .enum(['here', 'elsewhere', 'none'])
      .meta({ description: 'Whether its calls come to us, go to another trunk of the account, or to none.' }),
  }),
);
const importSchema = component(
  'NumbersToTakeOver',
  z.strictObject({
    numbers: z
      .array(
        z.strictObject({
          number: z.string().min(1).max(64).meta({ description: "The provider's id of it, or the number." }),
          inboundAgentId: z.string().max(128).optional(),
          displayName: z.string().max(256).optional(),
        }),
      )
      .min(1)
      .max(500),
  }),
);
const reportSchema = component(
  'TakeOverReport',
  z.object({
    rows: z.array(
      z.object({
        number: z.string(),
        outcome: z.enum(['imported', 'present', 'failed']),
        id: z.string().nullable().meta({ description: 'Of our phone number.' }),
        detail: z.string().nullable(),
      }),
    ),
  }),
);
const shared = { tag: 'Providers' } as const;
const missing = { 404: 'There is no such provider.' } as const;
const meeting = {
  409: 'The account is connected already, or another request works on it.',
  502: 'The provider refused, or could not be reached; `provider_fault`.',
} as const;

export const providerRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/providers',
    id: 'listProviders',
    summary: 'Provider accounts of the organisation.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(providerSchema),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const all = await ports.providers.list(organizationId);
      const { items, nextCursor } = page(all, { limit, cursor, placeOf: ({ id }) => id });
      return ok({ items: items.map(shown), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/providers',
    id: 'connectProvider',
    summary: 'Connects an account: makes a trunk, credentials and the way to us there, and a trunk here.',
    description:
      'What is made is written down step by step. When a step fails, what was made is taken back; what cannot be is kept ' +
      'in `resources` of a provider in state `failed`, and the same request goes on from there.',
    access: 'write',
    body: newSchema,
    timeoutMs: TIMEOUT_MS,
    status: 201,
    answer: providerSchema,
    problems: meeting,
    async handle(request, ports) {
      request.extendTimeout(TIMEOUT_MS);
      const { type, accountSid, authToken, originationUri, description, cpsLimit } = request.body;
      const outcome = await ports.providers.connect(authorOf(request), {
        type,
        accountSid,
        authToken: new Secret(authToken),
        originationUri,
        description,
        cpsLimit,
      });
      if (outcome.kind !== 'connected') throw refusal(outcome);
      return created(shown(outcome.provider), {}, `/providers/${outcome.provider.id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/providers/{id}',
    id: 'getProvider',
    summary: 'One provider account.',
    access: 'read',
    params: byId,
    answer: providerSchema,
    problems: missing,
    async handle({ params, organizationId }, ports) {
      const provider = await ports.providers.get(organizationId, params.id);
      if (provider === undefined) throw notFound('no such provider');
      return ok(shown(provider));
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/providers/{id}/available-numbers',
    id: 'listAvailableNumbers',
    summary: 'Numbers of the account.',
    access: 'read',
    params: byId,
    query: z.strictObject(pageQuery),
    timeoutMs: TIMEOUT_MS,
    answer: listOf(numberSchema),
    problems: { ...missing, ...meeting },
    async handle({ params, query: { limit, cursor }, organizationId, extendTimeout }, ports) {
      extendTimeout(TIMEOUT_MS);
      const outcome = await ports.providers.availableNumbers(organizationId, params.id);
      if (outcome.kind !== 'numbers') throw refusal(outcome);
      const { items, nextCursor } = page(outcome.numbers, {
        limit,
        cursor,
        placeOf: ({ phoneNumber, id }) => `${phoneNumber} ${id}`,
      });
      return ok({ items, nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/providers/{id}/import',
    id: 'importProviderNumbers',
    summary: 'Takes over numbers of the account: their calls come to us. Reports on every row.',
    access: 'write',
    params: byId,
    body: importSchema,
    timeoutMs: TIMEOUT_MS,
    answer: reportSchema,
    problems: { ...missing, ...meeting },
    async handle(request, ports) {
      request.extendTimeout(TIMEOUT_MS);
      const outcome = await ports.providers.importNumbers(
        authorOf(request),
        request.params.id,
        request.body.numbers,
      );
      if (outcome.kind !== 'imported') throw refusal(outcome);
      return ok({ rows: outcome.rows.map((row) => ({ ...row })) });
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/providers/{id}',
    id: 'deleteProvider',
    summary: 'Removes the account with its trunk and numbers, on both sides.',
    description:
      '204: everything is gone. When something cannot be removed at the provider, 502 lists it in `left` with the reasons, ' +
      'and the account stays in state `failed`: the same request tries again, `abandon=true` forgets what is left, which ' +
      'the audit log then names.',
    access: 'write',
    params: byId,
    query: forceQuery.extend({
      abandon: z
        .enum(['true', 'false'])
        .default('false')
        .meta({ description: 'true: forget what cannot be removed at the provider.' }),
    }),
    timeoutMs: TIMEOUT_MS,
    status: 204,
    problems: {
      ...missing,
      409: 'Numbers are on its trunk (`in_use`), which `force=true` takes along; or another request works on it.',
      502: 'Something could not be removed at the provider (`left_at_provider`): `left` has kind, id and reason of each.',
    },
    async handle(request, ports) {
      request.extendTimeout(TIMEOUT_MS);
      const { force, abandon } = request.query;
      const outcome = await ports.providers.remove(authorOf(request), request.params.id, {
        force: force === 'true',
        abandon: abandon === 'true',
      });
      if (outcome.kind !== 'removed') throw refusal(outcome);
      return noContent();
    },
  }),
];

function reachable(value: string): boolean {
  const uri = parseUri(value);
  if (uri === undefined || uri.headers !== undefined || uri.password !== undefined) return false;
  return uri.scheme === 'sip' || uri.scheme === 'sips';
}

function shown({ resources, ...rest }: ProviderView) {
  return { ...rest, hasAuthToken: true as const, resources: resources.map(({ kind, id }) => ({ kind, id })) };
}

function refusal(refused: ProviderRefusal): Problem {
  switch (refused.kind) {
    case 'not_found':
      return notFound('no such provider');
    case 'exists':
      return new Problem(409, 'conflict', 'Conflict', 'the account is connected already', undefined, {
        providerId: refused.id,
      });
    case 'unknown_type':
      return invalid([
        {
          path: 'type',
          message: 'is no provider that is known here',
          hint: `one of ${refused.types.join(', ')}`,
        },
      ]);
    case 'busy':
      return new Problem(
        409,
        'busy',
        'Conflict',
        'another request works on this account: try again when it is done',
        undefined,
        {},
        { 'retry-after': '5' },
      );
    case 'not_connected':
      return new Problem(
        409,
        'not_connected',
        'Conflict',
        `the account is ${refused.state}: connect it again`,
      );
    case 'left': {
      const left = refused.left.map(({ kind, id, reason }) => ({ kind, id, reason }));
      const detail = `${left.length} of what was made at the provider could not be removed: repeat the request, or give up with ?abandon=true`;
      return new Problem(502, 'left_at_provider', 'Bad gateway', detail, undefined, { left });
    }
    case 'refused': {
      const { refusal: why } = refused;
      const detail = 'the directory did not take the change';
      if (why.kind === 'in_use') {
        return new Problem(
          409,
          'in_use',
          'In use',
          'numbers are on the trunk of this provider; ?force=true removes it with them',
          undefined,
          { ...why.affected },
        );
      }
      return new Problem(
        409,
        'conflict',
        'Conflict',
        detail,
        'faults' in why ? fieldErrors(why.faults) : undefined,
      );
    }
    case 'fault': {
      const { fault, id } = refused;
      if (fault.kind === 'unauthorised') {
        return invalid([
          {
            path: 'authToken',
            message: `is not taken: ${fault.message}`,
            hint: "compare accountSid and authToken with the provider's console",
          },
        ]);
      }
      return new Problem(502, 'provider_fault', 'Bad gateway', fault.message, undefined, {
        providerId: id,
        providerStatus: fault.status,
        providerCode: fault.code,
      });
    }
  }
}
