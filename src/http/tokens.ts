/** Tokens of an organisation: made, listed, revoked. A token is shown once, in the answer to its making. */
import * as z from 'zod';
import { SCOPES, type Scope } from './caller.js';
import { authorOf } from './edit.js';
import { component } from './openapi.js';
import { listOf, page, pageQuery } from './page.js';
import type { HttpPorts, TokenView } from './ports.js';
import { notFound, Problem } from './problem.js';
import { created, noContent, ok, type Route, route } from './route.js';
import { byId, time } from './schemas.js';

const shape = {
  id: z.string(),
  organizationId: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  createdAt: time,
  revokedAt: time.nullable(),
  lastUsedAt: time.nullable().meta({ description: 'To the minute.' }),
};
const tokenSchema = component('Token', z.object(shape));
const madeSchema = component(
  'MadeToken',
  z.object({ ...shape, token: z.string().meta({ description: 'Shown this once.' }) }),
);

const shared = { tag: 'Tokens' } as const;
const missing = { 404: 'There is no such token.' } as const;

export const tokenRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/tokens',
    id: 'listTokens',
    summary: 'Tokens of the organisation, revoked ones too.',
    access: 'read',
    query: z.strictObject(pageQuery),
    answer: listOf(tokenSchema),
    async handle({ query: { limit, cursor }, organizationId }, ports) {
      const tokens = await ports.tokens.list(organizationId);
      const { items, nextCursor } = page(tokens, {
        limit,
        cursor,
        placeOf: ({ tokenId }) => tokenId,
      });
      return ok({ items: items.map(shown), nextCursor });
    },
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/tokens',
    id: 'createToken',
    summary: 'Makes a token of the organisation. It is shown in this answer only.',
    description: 'A token makes tokens of no more scopes than its own.',
    access: 'write',
    body: component(
      'NewToken',
      z.strictObject({
        name: z.string().min(1).max(256).meta({ description: 'What it is for.', example: 'dashboard' }),
        scopes: z
          .array(z.enum(SCOPES))
          .min(1)
          .max(SCOPES.length)
          .meta({ description: 'read, write, calls; none includes another.' }),
      }),
    ),
    status: 201,
    answer: madeSchema,
    // The answer has the token, which is kept nowhere: a repetition cannot get it again.
    repeatable: false,
    async handle(request, ports) {
      const { name, scopes } = request.body;
      const { caller } = request;
      const beyond = caller.kind === 'token' ? scopes.filter((scope) => !caller.scopes.includes(scope)) : [];
      if (beyond.length > 0) throw escalation(beyond);
      const { token, view } = await ports.tokens.create(authorOf(request), name, [...new Set(scopes)]);
      return created({ ...shown(view), token }, {}, `/tokens/${view.tokenId}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/tokens/{id}',
    id: 'getToken',
    summary: 'One token.',
    access: 'read',
    params: byId,
    answer: tokenSchema,
    problems: missing,
    handle: async ({ params, organizationId }, ports) =>
      ok(shown(await tokenOf(ports, params.id, organizationId))),
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/tokens/{id}',
    id: 'revokeToken',
    summary: 'Revokes a token, on all nodes within a second.',
    access: 'write',
    params: byId,
    status: 204,
    problems: missing,
    async handle(request, ports) {
      if (await ports.tokens.revoke(authorOf(request), request.params.id)) return noContent();
      throw notFound('no such token');
    },
  }),
];

function escalation(scopes: readonly Scope[]): Problem {
  return new Problem(
    403,
    'insufficient_scope',
    'Forbidden',
    `this token cannot give what it does not have: ${scopes.join(', ')}`,
    [{ path: 'scopes', message: `has ${scopes.join(', ')}, which this token does not have` }],
  );
}

async function tokenOf(ports: HttpPorts, id: string, organizationId: string): Promise<TokenView> {
  const found = (await ports.tokens.list(organizationId)).find(({ tokenId }) => tokenId === id);
  if (found === undefined) throw notFound('no such token');
  return found;
}

function shown({ tokenId, organizationId, name, scopes, createdAt, revokedAt, lastUsedAt }: TokenView) {
  const iso = (at: number | null) => (at === null ? null : new Date(at).toISOString());
  return {
    id: tokenId,
    organizationId,
    name,
    scopes: [...scopes],
    createdAt: new Date(createdAt).toISOString(),
    revokedAt: iso(revokedAt),
    lastUsedAt: iso(lastUsedAt),
  };
}
