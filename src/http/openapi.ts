/**
 * The OpenAPI 3.1 document, made from the descriptions that the server runs on. Schemas that `component` has named
 * stand under `components`, the others where they are used.
 */
import * as z from 'zod';
import { SCOPES } from './caller.js';
import { problemSchema } from './problem.js';
import type { Route } from './route.js';

/** Gives a schema its name in the document and in clients. Names must differ. */
export function component<T extends z.ZodType>(name: string, schema: T): T {
  return schema.meta({ ...schema.meta(), id: name });
}

export type JsonSchema = { readonly [key: string]: unknown };

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly description?: string | undefined;
  readonly schema: JsonSchema;
}

export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string | undefined;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly 'x-access': string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>>;
  };
  readonly responses: Readonly<Record<string, unknown>>;
}

export interface OpenApiDocument {
  readonly openapi: '3.1.0';
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly responses: Readonly<Record<string, unknown>>;
    readonly parameters: Readonly<Record<string, Parameter>>;
    readonly securitySchemes: Readonly<Record<string, unknown>>;
  };
}

const DESCRIPTION = `Everything under /api/v1 wants \`Authorization: Bearer TOKEN\`. A token belongs to one organisation and has scopes
(${SCOPES.join(', ')}); the administrator's token has all, in every organisation, and chooses by the query parameter
\`organizationId\` or the header field X-Organization-Id (default: \`default\`). Errors are application/problem+json with a
stable \`code\`; a bad request names every faulty field at once. Lists answer \`{items, nextCursor}\`.

An object that can be changed has an ETag. A change that carries If-Match is refused with 412 when the object has
changed since; without If-Match the last write wins. A POST that carries Idempotency-Key is done once: repeated within
a day it gets the first answer again.`;

/** Throws an Error when two schemas have one name. */
export function openApiDocument(routes: readonly Route[], version: string): OpenApiDocument {
  const schemas = new Schemas();
  schemas.answer(component('Problem', problemSchema));
  const paths: Record<string, Record<string, Operation>> = {};
  for (const route of routes) {
    const path = paths[route.path] ?? {};
    paths[route.path] = path;
    path[route.method.toLowerCase()] = operation(route, schemas);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Trunkline', version, description: DESCRIPTION },
    servers: [{ url: '/api/v1' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: schemas.components,
      responses: {
        Problem: {
          description: 'A problem (RFC 9457).',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      parameters: PARAMETERS,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
  };
}

const PARAMETERS: Readonly<Record<string, Parameter>> = {
  organizationId: {
    name: 'organizationId',
    in: 'query',
    required: false,
    description: "The organisation; for the administrator's token. A token has its own only.",
    schema: { type: 'string' },
  },
  ifMatch: {
    name: 'If-Match',
    in: 'header',
    required: false,
    description: 'ETag of the object as it was read; when it has changed since, nothing is written (412).',
    schema: { type: 'string' },
  },
  ifNoneMatch: {
    name: 'If-None-Match',
    in: 'header',
    required: false,
    description: 'ETag of the object as it is known; 304 when it is still so.',
    schema: { type: 'string' },
  },
  idempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description:
      'A name of this request, 1 to 255 visible characters: repeated with the same one, it is done once.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
};

const REFERENCE = '#/components/parameters/';

function operation(route: Route, schemas: Schemas): Operation {
  const { method, description, status = 200, answer } = route;
  const shared = ['organizationId'];
  if (route.etag === true) shared.push(method === 'GET' ? 'ifNoneMatch' : 'ifMatch');
  if (method === 'POST' && route.repeatable !== false) shared.push('idempotencyKey');
  return {
    operationId: route.id,
    tags: [route.tag],
    summary: route.summary,
    ...(description === undefined ? {} : { description }),
    security: [{ bearer: [] }],
    'x-access': route.access,
    parameters: [
      ...(route.params === undefined ? [] : schemas.parameters(route.params, 'path')),
      ...(route.query === undefined ? [] : schemas.parameters(route.query, 'query')),
      ...shared.map((name) => ({ $ref: `${REFERENCE}${name}` }) as unknown as Parameter),
    ],
    ...(route.body === undefined ? {} : { requestBody: requestBody(route, route.body, schemas) }),
    responses: {
      [status]: {
        description: route.answerDescription ?? (status === 204 ? 'Done.' : route.summary),
        ...(route.stream === true
          ? { content: { 'text/event-stream': { schema: { type: 'string' } } } }
          : {}),
        ...(answer === undefined
          ? {}
          : {
              content: {
                'application/json': { schema: schemas.answer(answer) },
                ...Object.fromEntries(
                  (route.otherAnswers ?? []).map((type) => [type, { schema: { type: 'string' } }]),
                ),
              },
            }),
        ...(route.etag === true && status !== 204
          ? { headers: { ETag: { schema: { type: 'string' } } } }
          : {}),
        ...(status === 201 ? { headers: { Location: { schema: { type: 'string' } } } } : {}),
      },
      ...Object.fromEntries(
        Object.entries(route.problems ?? {}).map(([code, when]) => [
          code,
          {
            description: when,
            content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
          },
        ]),
      ),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function requestBody(route: Route, body: z.ZodType, schemas: Schemas): Operation['requestBody'] & object {
  const text = route.textBody ?? [];
  return {
    required: route.bodyOptional !== true,
    content: {
      'application/json': { schema: schemas.body(body) },
      ...Object.fromEntries(text.map((type) => [type, { schema: { type: 'string' } }])),
    },
  };
}

/** Converts schemas and gathers those that have a name. */
class Schemas {
  readonly components: Record<string, JsonSchema> = {};

  body(schema: z.ZodType): JsonSchema {
    return this.#convert(schema, 'input');
  }

  answer(schema: z.ZodType): JsonSchema {
    return this.#convert(schema, 'output');
  }

  parameters(schema: z.ZodType, place: 'path' | 'query'): Parameter[] {
    const { properties, required } = this.#convert(schema, 'input') as {
      readonly properties?: Readonly<Record<string, JsonSchema>>;
      readonly required?: readonly string[];
    };
    return Object.entries(properties ?? {}).map(([name, { description, ...rest }]) => ({
      name,
      in: place,
      required: place === 'path' || (required?.includes(name) ?? false),
      ...(typeof description === 'string' ? { description } : {}),
      schema: rest,
    }));
  }

  #convert(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    const { $defs, $schema, ...own } = z.toJSONSchema(schema, { io, override: tidy }) as {
      readonly $defs?: Readonly<Record<string, JsonSchema>>;
      readonly $schema?: string;
    } & JsonSchema;
    for (const [name, each] of Object.entries($defs ?? {})) this.#keep(name, relocated(each));
    return relocated(own);
  }

  #keep(name: string, schema: JsonSchema): void {
    const known = this.components[name];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema)) {
      throw new Error(`two schemas are named ${name}, or one that differs in bodies and in answers`);
    }
    this.components[name] = schema;
  }
}

function tidy({ jsonSchema }: { readonly jsonSchema: object }): void {
  const schema = jsonSchema as Record<string, unknown>;
  if ('example' in schema) {
    schema.examples = [schema.example];
    delete schema.example;
  }
  // zod's word for a list that our own code must not change.
  delete schema.readOnly;
}

/** References from where zod keeps definitions to where OpenAPI does. */
function relocated(schema: JsonSchema): JsonSchema {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/$defs/', '"$ref":"#/components/schemas/');
  return JSON.parse(text) as JsonSchema;
}
