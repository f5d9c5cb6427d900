/** A client of the API in TypeScript, written from its OpenAPI document: one type per schema, one method per operation. */
import type { JsonSchema, OpenApiDocument, Operation, Parameter } from './openapi.js';

/** As far as the document uses it. */
interface Schema {
  readonly $ref?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly type?: string | readonly string[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly description?: string;
}

/** The answers of an operation. */
type Answers = Readonly<
  Record<string, { readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>> }>
>;

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;
const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

/** The text of a client. */
export function clientOf(document: OpenApiDocument): string {
  const { components, paths, info } = document;
  const types = Object.entries(components.schemas).map(
    ([name, schema]) => `${comment(textOf(schema))}export type ${name} = ${typeOf(schema)};\n`,
  );
  const methods: string[] = [];
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of METHODS) {
      const operation = operations[method];
      // A stream is no answer to wait for: EventSource follows it.
      if (operation !== undefined && !isStream(operation))
        methods.push(methodOf(path, method, operation, components.parameters));
    }
  }
  return `/** ${info.title} ${info.version}: client of its API. Written by \`npm run client\`; changes to it are lost. */

${types.join('\n')}
${RUNTIME}
/** Every method rejects with a TrunklineProblem when the gateway refuses. */
export class Trunkline extends Connection {
${methods.join('\n\n')}
}
`;
}

/** What every generated client brings along. */
const RUNTIME = `export interface ConnectionOptions {
  /** Such as http://127.0.0.1:8080. */
  readonly url: string;
  readonly token: string;
  /** For the administrator's token; default: \`default\`. */
  readonly organizationId?: string;
  readonly fetch?: typeof fetch;
}

export interface RequestOptions {
  /** A POST that is repeated with the same key is done once. */
  readonly idempotencyKey?: string;
  /** ETag of the object as it was read: refused with 412 when it has changed. */
  readonly ifMatch?: string;
  readonly signal?: AbortSignal;
}

/** The gateway's refusal, as problem+json says it. */
export class TrunklineProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.name = 'TrunklineProblem';
    this.status = problem.status;
    this.code = problem.code;
    this.problem = problem;
  }
}

interface Call_ {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly options: RequestOptions | undefined;
}

class Connection {
  readonly #options: ConnectionOptions;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  protected async send<T>({ method, path, query = {}, body, options = {} }: Call_): Promise<T> {
    const { url, token, organizationId, fetch: send = fetch } = this.#options;
    const target = new URL(\`/api/v1\${path}\`, url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = { authorization: \`Bearer \${token}\` };
    if (organizationId !== undefined) headers['x-organization-id'] = organizationId;
    if (options.idempotencyKey !== undefined) headers['idempotency-key'] = options.idempotencyKey;
    if (options.ifMatch !== undefined) headers['if-match'] = options.ifMatch;
    if (body !== undefined) headers['content-type'] = typeof body === 'string' ? 'text/csv' : 'application/json';
    const response = await send(target, {
      method,
      headers,
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const text = await response.text();
    const answer: unknown = text === '' ? undefined : JSON.parse(text);
    if (!response.ok) throw new TrunklineProblem(answer as Problem);
    return answer as T;
  }
}
`;

function methodOf(
  path: string,
  method: string,
  operation: Operation,
  shared: Readonly<Record<string, Parameter>>,
): string {
  const parameters = operation.parameters
    .map((each) => ('$ref' in each ? shared[nameIn(String(each.$ref))]! : each))
    .filter(({ name, in: place }) => place !== 'header' && name !== 'organizationId');
  const inQuery = parameters.filter((each) => each.in === 'query').map(({ name }) => name);
  const members = parameters.map(
    ({ name, required, schema, description }) =>
      `${comment(description, '    ')}    readonly ${key(name)}${required ? '' : '?'}: ${typeOf(schema)};`,
  );
  const { requestBody } = operation;
  if (requestBody !== undefined) {
    const kinds = Object.values(requestBody.content).map(({ schema }) => typeOf(schema));
    members.push(`    readonly body${requestBody.required ? '' : '?'}: ${[...new Set(kinds)].join(' | ')};`);
  }
  const needed = requestBody?.required === true || parameters.some(({ required }) => required);
  const args = members.length === 0 ? '' : `given: {\n${members.join('\n')}\n  }${needed ? '' : ' = {}'}, `;
  const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => `\${encodeURIComponent(given.${name})}`);
  const parts = [
    `method: '${method.toUpperCase()}'`,
    `path: \`${target}\``,
    ...(inQuery.length === 0
      ? []
      : [`query: { ${inQuery.map((name) => `${key(name)}: given.${name}`).join(', ')} }`]),
    ...(requestBody === undefined ? [] : ['body: given.body']),
    'options',
  ];
  return `  /** ${sentence(operation.summary)} */
  ${operation.operationId}(${args}options?: RequestOptions): Promise<${answerOf(operation)}> {
    return this.send({ ${parts.join(', ')} });
  }`;
}

function isStream({ responses }: Operation): boolean {
  return Object.values(responses as Answers).some(
    ({ content }) => content?.['text/event-stream'] !== undefined,
  );
}

function answerOf({ responses }: Operation): string {
  const success = Object.entries(responses as Answers).find(([status]) => status.startsWith('2'));
  const schema = success?.[1].content?.['application/json']?.schema;
  return schema === undefined ? 'undefined' : typeOf(schema);
}

/** A type for one JSON Schema, as far as the document uses them. */
function typeOf(given: JsonSchema): string {
  const schema = given as Schema;
  if (Object.keys(schema).every((name) => name === 'description')) return 'unknown';
  if (schema.$ref !== undefined) return nameIn(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const several = schema.anyOf ?? schema.oneOf;
  if (several !== undefined) return [...new Set(several.map((each) => typeOf(each)))].join(' | ');
  if (schema.allOf !== undefined) return schema.allOf.map((each) => `(${typeOf(each)})`).join(' & ');
  const { type: types } = schema;
  if (typeof types === 'object') return types.map((type) => typeOf({ ...schema, type })).join(' | ');
  switch (types) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `readonly (${schema.items === undefined ? 'unknown' : typeOf(schema.items)})[]`;
    case 'object':
      return objectOf(schema);
    default:
      throw new Error(`no type is known for ${JSON.stringify(schema)}`);
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): string {
  const members = Object.entries(properties).map(
    ([name, schema]) =>
      `${comment(textOf(schema))}readonly ${key(name)}${required.includes(name) ? '' : '?'}: ${typeOf(schema)};`,
  );
  const open = typeof additionalProperties === 'object' ? typeOf(additionalProperties) : 'unknown';
  if (members.length === 0) {
    return additionalProperties === false
      ? '{ readonly [name: string]: never }'
      : `{ readonly [name: string]: ${open} }`;
  }
  const type = `{\n${members.join('\n').replaceAll(/^/gm, '  ')}\n}`;
  const more = additionalProperties !== undefined && additionalProperties !== false;
  return more ? `${type} & { readonly [name: string]: unknown }` : type;
}

const key = (name: string): string => (IDENTIFIER.test(name) ? name : JSON.stringify(name));
const nameIn = (reference: string): string => reference.slice(reference.lastIndexOf('/') + 1);
const textOf = (schema: JsonSchema): string | undefined => (schema as Schema).description;
const sentence = (text: string): string => text.replaceAll('*/', '* /');
const comment = (text: string | undefined, indent = ''): string =>
  text === undefined ? '' : `${indent}/** ${sentence(text)} */\n`;
