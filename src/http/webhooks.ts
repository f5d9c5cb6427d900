/** Webhooks of an organisation, and what they could not be told. */
import * as z from 'zod';
import type { WebhookRefusal, WebhookView } from '#webhook/registry.js';
import { authorOf } from './edit.js';
import { changedMeanwhile, checkMatch } from './etag.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts } from './ports.js';
import { invalid, notFound, Problem } from './problem.js';
import { type ApiRequest, created, noContent, ok, type Route, route } from './route.js';
import { byId, time } from './schemas.js';

const url = z
  .string()
  .max(2_048)
  .refine(
    (value) => {
      if (!URL.canParse(value)) return false;
      const { protocol, username, password } = new URL(value);
      return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
    },
    { error: 'must be an http or https URL without user and password' },
  )
  .meta({ description: 'Where events are sent by POST.', example: 'https://hooks.example.com/trunkline' });

const events = z
  .array(z.string().min(1).max(64))
  .min(1)
  .max(32)
  .meta({
    description: 'Types of events, `call.ended`, all of a family, `call.*`, or `*`.',
    example: ['call.*'],
  });

const description = z.string().max(256).nullable().meta({ description: 'What it is for.' });
const enabled = z.boolean().meta({ description: 'Whether it is told anything.' });

const shape = {
  id: z.string(),
  url,
  events,
  description,
  enabled,
  trouble: z
    .object({
      failures: z.number().int().meta({ description: 'Attempts that failed in a row.' }),
      at: time.meta({ description: 'When the latest did.' }),
      detail: z.string().meta({ description: 'What it met.' }),
    })
    .nullable()
    .meta({ description: 'Why it is not told, as this node has met it; null when the latest was taken.' }),
  createdAt: time,
  updatedAt: time,
};
const webhookSchema = component('Webhook', z.object(shape));
const madeSchema = component(
  'MadeWebhook',
  z.object({
    ...shape,
    secret: z.string().meta({ description: 'Key of the signatures. Shown this once.' }),
  }),
);
const newSchema = component(
  'NewWebhook',
  z.strictObject({ url, events, description: description.default(null), enabled: enabled.default(true) }),
);
const patchSchema = component(
  'WebhookPatch',
  z.strictObject({
    url: url.optional(),
    events: events.optional(),
    description: description.optional(),
    enabled: enabled.optional(),
  }),
);
const deadSchema = component(
  'DeadLetter',
  z.object({
    id: z.string(),
    webhookId: z.string(),
    type: z.string(),
    at: time.meta({ description: 'When it happened.' }),
    failedAt: time.meta({ description: 'When it was given up.' }),
    detail: z.string().meta({ description: 'What the last attempt met.' }),
    data: z.looseObject({}),
  }),
);

const shared = { tag: 'Webhooks' } as const;
const missing = { 404: 'There is no such webhook.' } as const;
const changing = { ...missing, 412: 'If-Match was sent, and the object has changed since.' } as const;

export const webhookRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/webhooks',
    id: 'listWebhooks',
    summary: 'Webhooks of the organisation.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(webhookSchema),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const all = await ports.webhooks.list(organizationId);
      const { items, nextCursor } = page(all, { limit, cursor, placeOf: ({ id }) => id });
      return ok({ items: items.map(shown), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/webhooks',
    id: 'createWebhook',
    summary: 'Adds a webhook. Its secret is in this answer only.',
    description:
      'Each event is a POST of `{id, type, at, organizationId, data}` with `X-Trunkline-Signature: t=SECONDS,v1=HEX`, ' +
      'where HEX is the HMAC-SHA256 of `SECONDS.BODY` with the secret. Events of one call arrive in order; one that is ' +
      'not answered with 2xx is sent again, ever later, for a day.',
    access: 'write',
    body: newSchema,
    status: 201,
    answer: madeSchema,
    // The answer has the secret, which is shown once.
    repeatable: false,
    problems: { 409: 'The organisation has as many webhooks as it may.' },
    async handle(request, ports) {
      checkEvents(request.body.events, ports);
      const made = await ports.webhooks.create(authorOf(request), request.body);
      if (made.kind !== 'written') throw refusal(made);
      return created(
        { ...shown(made.webhook), secret: made.secret.reveal() },
        etag(made.webhook),
        `/webhooks/${made.webhook.id}`,
      );
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/webhooks/{id}',
    id: 'getWebhook',
    summary: 'One webhook.',
    access: 'read',
    params: byId,
    answer: webhookSchema,
    problems: missing,
    etag: true,
    async handle({ params, organizationId }, ports) {
      const webhook = await ports.webhooks.get(organizationId, params.id);
      if (webhook === undefined) throw notFound('no such webhook');
      return ok(shown(webhook), etag(webhook));
    },
  }),
  route({
    ...shared,
    method: 'PATCH',
    path: '/webhooks/{id}',
    id: 'updateWebhook',
    summary: 'Changes a webhook.',
    access: 'write',
    params: byId,
    body: patchSchema,
    answer: webhookSchema,
    problems: changing,
    etag: true,
    async handle(request, ports) {
      const { url: to, events: of, description: text, enabled: on } = request.body;
      if (of !== undefined) checkEvents(of, ports);
      const patch = {
        ...(to === undefined ? {} : { url: to }),
        ...(of === undefined ? {} : { events: of }),
        ...(text === undefined ? {} : { description: text }),
        ...(on === undefined ? {} : { enabled: on }),
      };
      const { id } = request.params;
      const written = await ports.webhooks.update(
        authorOf(request),
        id,
        patch,
        await version(request, ports, id),
      );
      if (written.kind !== 'written') throw refusal(written);
      return ok(shown(written.webhook), etag(written.webhook));
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/webhooks/{id}/rotate-secret',
    id: 'rotateWebhookSecret',
    summary: 'Makes a new secret. The former one signs along until the next time.',
    access: 'write',
    params: byId,
    answer: madeSchema,
    repeatable: false,
    problems: missing,
    async handle(request, ports) {
      const made = await ports.webhooks.rotate(authorOf(request), request.params.id);
      if (made.kind !== 'written') throw refusal(made);
      return ok({ ...shown(made.webhook), secret: made.secret.reveal() });
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/webhooks/{id}',
    id: 'deleteWebhook',
    summary: 'Removes a webhook. What it was still to be told is dropped.',
    access: 'write',
    params: byId,
    status: 204,
    problems: changing,
    etag: true,
    async handle(request, ports) {
      const { id } = request.params;
      const gone = await ports.webhooks.remove(authorOf(request), id, await version(request, ports, id));
      if (gone.kind !== 'removed') throw refusal(gone);
      return noContent();
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/dead-letters',
    id: 'listDeadLetters',
    summary: 'Events that could not be delivered within a day, the latest first; the last 1,000.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(deadSchema),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const all = await ports.webhooks.deadLetters(organizationId);
      const { items, nextCursor } = page(all, {
        limit,
        cursor,
        placeOf: ({ id }) => id,
        descending: true,
      });
      return ok({
        items: items.map(({ id, webhookId, type, at, failedAt, detail, data }) => ({
          id,
          webhookId,
          type,
          at,
          failedAt,
          detail,
          data: { ...data },
        })),
        nextCursor,
      });
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/dead-letters/{id}',
    id: 'deleteDeadLetter',
    summary: 'Removes a dead letter.',
    access: 'write',
    params: byId,
    status: 204,
    problems: { 404: 'There is no such dead letter.' },
    async handle({ params, organizationId }, ports) {
      if (await ports.webhooks.forgetDeadLetter(organizationId, params.id)) return noContent();
      throw notFound('no such dead letter');
    },
  }),
];

function shown({
  id,
  url: to,
  events: of,
  description: text,
  enabled: on,
  trouble,
  createdAt,
  updatedAt,
}: WebhookView) {
  const told = trouble === null ? null : { ...trouble };
  return {
    id,
    url: to,
    events: [...of],
    description: text,
    enabled: on,
    trouble: told,
    createdAt,
    updatedAt,
  };
}

const etag = ({ version: number }: WebhookView): { etag: string } => ({ etag: `"v${number}"` });

/** The version that If-Match asks for. Throws a Problem (412) when there is another one already. */
async function version(
  { ifMatch, organizationId }: Pick<ApiRequest<unknown, unknown, unknown>, 'ifMatch' | 'organizationId'>,
  ports: HttpPorts,
  id: string,
): Promise<number | undefined> {
  if (ifMatch === undefined) return undefined;
  const webhook = await ports.webhooks.get(organizationId, id);
  if (webhook === undefined) throw notFound('no such webhook');
  checkMatch(ifMatch, etag(webhook).etag);
  return ifMatch.includes('*') ? undefined : webhook.version;
}

/** A type that there is none of would never be told. */
function checkEvents(patterns: readonly string[], { events: { types } }: HttpPorts): void {
  const errors = patterns.flatMap((pattern, index) => {
    const known = pattern.endsWith('*')
      ? types.some((type) => type.startsWith(pattern.slice(0, -1)))
      : types.includes(pattern);
    const hint = `one of ${types.join(', ')}, or call.* and the like, or *`;
    return known ? [] : [{ path: `events[${index}]`, message: `there are no events ${pattern}`, hint }];
  });
  if (errors.length > 0) throw invalid(errors);
}

function refusal(refused: WebhookRefusal): Problem {
  switch (refused.kind) {
    case 'not_found':
      return notFound('no such webhook');
    case 'changed':
      return changedMeanwhile();
    case 'closed':
      return invalid([
        {
          path: 'url',
          message: refused.detail,
          hint: 'name a public address, or have the administrator allow this one',
        },
      ]);
    case 'too_many':
      return new Problem(
        409,
        'too_many_webhooks',
        'Conflict',
        `an organisation has at most ${refused.most} webhooks`,
      );
  }
}
