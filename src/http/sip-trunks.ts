/**
 * SIP trunks, the other name of the same objects: seen as targets of call transfers, with the fields and the snake_case
 * of that resource.
 */
import * as z from 'zod';
import { parseHostPort } from '#directory/host-port.js';
import type { Trunk } from '#directory/trunk.js';
import { hostPort } from '#sip/uri.js';
import { credentials, trunksOf } from './credentials.js';
import {
  authorOf,
  CREATE_PROBLEMS,
  etagHeader,
  forceQuery,
  metaOf,
  REMOVE_PROBLEMS,
  written,
} from './edit.js';
import { component } from './openapi.js';
import type { HttpPorts } from './ports.js';
import { created, noContent, ok, type Route, route } from './route.js';
import { byId, time } from './schemas.js';

const KIND = 'sipCredentials';
const WHAT = 'SIP trunk';
const DEFAULT_PORT = 5060;
const DEFAULT_TLS_PORT = 5061;

const trunkSchema = component(
  'SipTrunk',
  z.object({
    id: z.string(),
    name: z.string(),
    host: z.string(),
    port: z.int(),
    username: z.string().nullable(),
    created_at: time.nullable(),
  }),
);

const line = (max: number) => z.string().min(1).max(max);

const newTrunk = component(
  'NewSipTrunk',
  z.strictObject({
    name: line(1_024).meta({ description: 'Name for people.', example: 'Main Trunk' }),
    host: z
      .string()
      .max(255)
      .transform((value, context): string => {
        const read = parseHostPort(value.includes(':') && !value.startsWith('[') ? `[${value}]` : value);
        if (typeof read !== 'string' && read.port === undefined) return read.host;
        context.issues.push({ code: 'custom', message: 'must be a host name or an address', input: value });
        return z.NEVER;
      })
      .meta({ description: 'SIP server: a host name or an address.', example: 'sip.provider.com' }),
    port: z.int().min(1).max(65_535).default(DEFAULT_PORT).meta({ description: 'SIP port.' }),
    username: line(256).meta({ description: 'SIP user.' }),
    password: line(65_536).meta({ description: 'SIP password. Kept sealed, never answered.' }),
  }),
);

const shared = { tag: 'SIP trunks' } as const;

export const sipTrunkRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'GET',
    path: '/sip-trunks',
    id: 'listSipTrunks',
    summary: 'All trunks that calls may be transferred by.',
    access: 'read',
    answer: component('SipTrunks', z.object({ trunks: z.array(trunkSchema) })),
    handle: ({ organizationId }, ports) =>
      ok({ trunks: trunksOf(ports, organizationId).map((trunk) => shown(trunk, ports)) }),
  }),
  route({
    ...shared,
    method: 'POST',
    path: '/sip-trunks',
    id: 'createSipTrunk',
    summary: 'Adds a trunk.',
    access: 'write',
    body: newTrunk,
    status: 201,
    answer: trunkSchema,
    problems: CREATE_PROBLEMS,
    async handle(request, ports) {
      const { name, host, port, username, password } = request.body;
      const fields = {
        description: name,
        server: hostPort(host, port),
        authUser: username,
        authPassword: password,
      };
      const { id } = written(await ports.editor.create(authorOf(request), KIND, fields), WHAT);
      const trunk = credentials.get(ports, id, request.organizationId);
      return created(shown(trunk, ports), etagHeader(ports, KIND, id, trunk), `/sip-trunks/${id}`);
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/sip-trunks/{id}',
    id: 'getSipTrunk',
    summary: 'One trunk.',
    access: 'read',
    params: byId,
    answer: trunkSchema,
    etag: true,
    problems: { 404: 'There is no such object.' },
    handle({ params, organizationId }, ports) {
      const trunk = credentials.get(ports, params.id, organizationId);
      return ok(shown(trunk, ports), etagHeader(ports, KIND, trunk.id, trunk));
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/sip-trunks/{id}',
    id: 'deleteSipTrunk',
    summary: 'Removes a trunk. Numbers that transfer by it have their `transferTrunkId` set to null.',
    description: 'While numbers live on it, that is refused with what is affected; `force` removes them too.',
    access: 'write',
    params: byId,
    query: forceQuery,
    status: 204,
    etag: true,
    problems: REMOVE_PROBLEMS,
    async handle(request, ports) {
      await credentials.remove(request, ports, request.params.id, request.query.force === 'true', WHAT);
      return noContent();
    },
  }),
];

function shown(trunk: Trunk, ports: HttpPorts): z.output<typeof trunkSchema> {
  const { id, description, server, transport, authUser } = trunk;
  return {
    id,
    name: description ?? id,
    host: server.host,
    port: server.port ?? (transport === 'tls' ? DEFAULT_TLS_PORT : DEFAULT_PORT),
    username: authUser ?? null,
    created_at: metaOf(ports, KIND, id).createdAt,
  };
}
