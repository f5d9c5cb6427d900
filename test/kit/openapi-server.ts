/**
 * A server that answers as an OpenAPI 3.0 document says: paths, methods, parameters, status codes and bodies come from
 * the document, nothing of them is written here. It keeps what is posted, so that a listing, a look-up and a deletion agree.
 *
 * A request that the document does not know, lacks a required parameter, has an unknown one or one of a wrong shape, is
 * answered 400 or 404 and remembered in `faults`.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly pattern?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly nullable?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
}

interface Media {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: Media;
  readonly responses: Readonly<Record<string, Media>>;
  readonly security?: readonly unknown[];
}

export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

type Row = Record<string, unknown>;

interface Route {
  readonly path: string;
  readonly parts: RegExp;
  readonly document: OpenApiDocument;
  readonly operations: Readonly<Record<string, unknown>>;
}

/** What to do instead of answering as usual, for the next request that fits. */
export interface Upset {
  readonly method: string;
  /** A part of the path. */
  readonly path: string;
  /** Requests that fit and are answered as usual before it. Default 0. */
  readonly after?: number;
  /** `status`: that answer instead. `lose`: do it and break off. `refuse`: break off undone. */
  readonly with:
    | { readonly status: number; readonly body?: unknown; readonly headers?: Record<string, string> }
    | 'lose'
    | 'refuse';
}

export class OpenApiServer {
  readonly #routes: Route[] = [];
  /** Rows by collection path, as put. */
  readonly #rows = new Map<string, Row[]>();
  readonly #server: Server;
  readonly #upsets: { readonly upset: Upset; left: number }[] = [];
  readonly #credentials: string;
  /** Requests that the document forbids. */
  readonly faults: string[] = [];
  /** `METHOD path` of every request. */
  readonly requests: string[] = [];

  /** @param credentials `user:password` that Basic authentication must bring */
  constructor(documents: readonly OpenApiDocument[], credentials: string) {
    this.#credentials = credentials;
    for (const document of documents) {
      for (const [path, operations] of Object.entries(document.paths)) {
        const pattern = path.replaceAll('.', '\\.').replace(/\{(\w+)\}/g, '(?<$1>[^/]+?)');
        this.#routes.push({ path, parts: new RegExp(`^${pattern}$`), document, operations });
      }
    }
    this.#server = createServer((request, response) => {
      this.#answer(request).then(
        (answer) => {
          if (answer === null) {
            request.socket.destroy();
            return;
          }
          response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
          response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
        },
        (error: unknown) => {
          this.faults.push(String(error));
          response.writeHead(500).end();
        },
      );
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  upset(upset: Upset): void {
    this.#upsets.push({ upset, left: upset.after ?? 0 });
  }

  /** Rows of a collection; `path` as requests name it, without `.json`. */
  rows(path: string): readonly Row[] {
    return this.#rows.get(path) ?? [];
  }

  /** Puts a row there that the document's schema fills up. */
  put(path: string, row: Row): Row {
    const route = this.#routeOf(`${path}/x`) ?? this.#routeOf(`${path}/x.json`);
    if (route === undefined) throw new Error(`no such collection: ${path}`);
    const made = this.#fill(route.document, this.#resource(route, 'get', '200'), row);
    this.#collection(path).push(made);
    return made;
  }

  #routeOf(path: string): (Route & { readonly values: Record<string, string> }) | undefined {
    // A literal path goes before one with a parameter in the same place.
    const fits = this.#routes.filter((route) => route.parts.test(path));
    fits.sort((a, b) => a.path.split('{').length - b.path.split('{').length);
    const [route] = fits;
    if (route === undefined) return undefined;
    return { ...route, values: { ...route.parts.exec(path)!.groups } };
  }

  async #answer(
    request: IncomingMessage,
  ): Promise<{ status: number; body?: unknown; headers?: Record<string, string> } | null> {
    const url = new URL(request.url!, 'http://localhost');
    const path = decodeURIComponent(url.pathname);
    const method = request.method!;
    this.requests.push(`${method} ${path}`);
    let text = '';
    for await (const part of request) text += part;
    const upset = this.#upsetOf(method, path);
    if (upset === 'refuse') return null;
    if (typeof upset === 'object') return upset;
    const answer = this.#perform(request, method, path, url.searchParams, text);
    return upset === 'lose' ? null : answer;
  }

  #upsetOf(method: string, path: string): Upset['with'] | undefined {
    const due = this.#upsets.find(({ upset }) => upset.method === method && path.includes(upset.path));
    if (due === undefined || due.left-- > 0) return undefined;
    this.#upsets.splice(this.#upsets.indexOf(due), 1);
    return due.upset.with;
  }

  #perform(request: IncomingMessage, method: string, path: string, query: URLSearchParams, text: string) {
    const complain = (status: number, message: string) => {
      this.faults.push(`${method} ${path}: ${message}`);
      return { status, body: { code: 20_000 + status, message, more_info: '', status } };
    };
    const expected = `Basic ${Buffer.from(this.#credentials).toString('base64')}`;
    if (request.headers.authorization !== expected) {
      return { status: 401, body: { code: 20_003, message: 'Authenticate', more_info: '', status: 401 } };
    }
    const route = this.#routeOf(path);
    const operation = route?.operations[method.toLowerCase()] as Operation | undefined;
    if (route === undefined || operation === undefined)
      return complain(404, 'the document has no such operation');
    for (const name of query.keys()) {
      if (!operation.parameters?.some((one) => one.in === 'query' && one.name === name))
        return complain(400, `unknown query parameter ${name}`);
    }
    const form = new URLSearchParams(text);
    const bodySchema = operation.requestBody?.content?.['application/x-www-form-urlencoded']?.schema;
    const fault = this.#formFault(route.document, bodySchema, form);
    if (fault !== null) return complain(400, fault);

    const status = Object.keys(operation.responses)[0]!;
    const plain = path.replace(/\.json$/, '');
    if (method === 'POST' && status === '201') {
      const row = this.#fill(route.document, this.#resource(route, 'post', '201'), {
        ...snaked(route.values),
        ...snaked(Object.fromEntries(form)),
        ...this.#referred(form),
      });
      this.#collection(plain).push(row);
      return { status: 201, body: row };
    }
    const rows = this.#rows.get(plain.slice(0, plain.lastIndexOf('/'))) ?? [];
    const id = plain.slice(plain.lastIndexOf('/') + 1);
    const schema = operation.responses[status]?.content?.['application/json']?.schema;
    if (method === 'GET' && schema !== undefined && this.#isListing(schema)) {
      return { status: 200, body: this.#page(path, schema, query) };
    }
    const at = rows.findIndex((row) => row.sid === id);
    if (at < 0) {
      return {
        status: 404,
        body: { code: 20_404, message: `The requested resource ${path} was not found`, status: 404 },
      };
    }
    if (method === 'DELETE') {
      rows.splice(at, 1);
      for (const key of [...this.#rows.keys()]) if (key.startsWith(`${plain}/`)) this.#rows.delete(key);
      return { status: 204 };
    }
    if (method === 'POST') Object.assign(rows[at]!, snaked(Object.fromEntries(form)));
    return { status: Number(status), body: rows[at] };
  }

  /** A form field that names a row kept elsewhere (`PhoneNumberSid`) makes a row of that id, with what is known of it. */
  #referred(form: URLSearchParams): Row {
    for (const [name, value] of form) {
      if (!name.endsWith('Sid')) continue;
      for (const rows of this.#rows.values()) {
        const row = rows.find(({ sid }) => sid === value);
        if (row !== undefined) return { ...row };
      }
    }
    return {};
  }

  #collection(path: string): Row[] {
    let rows = this.#rows.get(path);
    if (rows === undefined) {
      rows = [];
      this.#rows.set(path, rows);
    }
    return rows;
  }

  #isListing(schema: Schema): boolean {
    return (
      Object.values(schema.properties ?? {}).some(({ type }) => type === 'array') && schema.$ref === undefined
    );
  }

  /** One page, in the words of the document: both ways of pointing to the next are known to it. */
  #page(path: string, schema: Schema, query: URLSearchParams): Row {
    const rows = this.#rows.get(path.replace(/\.json$/, '')) ?? [];
    const size = Math.min(Number(query.get('PageSize') ?? 50), 3);
    const page = Number(query.get('Page') ?? 0);
    const next = (page + 1) * size < rows.length ? `${path}?PageSize=${size}&Page=${page + 1}` : null;
    const body: Row = {};
    for (const [name, { type }] of Object.entries(schema.properties!)) {
      if (type === 'array') body[name] = rows.slice(page * size, (page + 1) * size);
      else if (name === 'next_page_uri') body[name] = next;
      // Of another host than was asked: whoever follows it blindly gives credentials away.
      else if (name === 'meta')
        body[name] = { next_page_url: next === null ? null : `https://elsewhere.invalid${next}` };
    }
    return body;
  }

  #resource(route: Route, method: string, status: string): Schema {
    const operation = route.operations[method] as Operation | undefined;
    const schema = operation?.responses[status]?.content?.['application/json']?.schema;
    if (schema === undefined) throw new Error(`${route.path} has no ${method} ${status}`);
    return this.#deref(route.document, schema);
  }

  #deref(document: OpenApiDocument, schema: Schema): Schema {
    return schema.$ref === undefined ? schema : document.components.schemas[schema.$ref.split('/').at(-1)!]!;
  }

  #fill(document: OpenApiDocument, schema: Schema, given: Row): Row {
    const row: Row = {};
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const shape = this.#deref(document, property);
      row[name] = name in given ? typed(shape, given[name]) : example(shape);
    }
    return row;
  }

  #formFault(document: OpenApiDocument, schema: Schema | undefined, form: URLSearchParams): string | null {
    for (const name of schema?.required ?? []) if (!form.has(name)) return `${name} is required`;
    for (const [name, value] of form) {
      const property = schema?.properties?.[name];
      if (property === undefined) return `unknown parameter ${name}`;
      const { pattern, type, format, enum: values } = this.#deref(document, property);
      if (pattern !== undefined && !new RegExp(pattern).test(value)) return `${name} does not fit ${pattern}`;
      if (type === 'integer' && !/^-?\d+$/.test(value)) return `${name} is no integer`;
      if (type === 'boolean' && !/^(true|false)$/.test(value)) return `${name} is no boolean`;
      if (format === 'uri' && !URL.canParse(value)) return `${name} is no URI`;
      if (values !== undefined && !values.includes(value)) return `${name} is none of ${values.join(', ')}`;
    }
    return null;
  }
}

function snaked(values: Readonly<Record<string, string>>): Row {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase(),
      value,
    ]),
  );
}

function typed(schema: Schema, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (schema.type === 'integer') return Number(value);
  return schema.type === 'boolean' ? value === 'true' : value;
}

/** A value that the schema allows. */
function example(schema: Schema): unknown {
  const sid = /^\^([A-Z]{2})\[0-9a-fA-F\]\{32\}\$$/.exec(schema.pattern ?? '')?.[1];
  if (sid !== undefined && schema.nullable !== true) return sid + randomBytes(16).toString('hex');
  if (sid !== undefined) return sid + randomBytes(16).toString('hex');
  if (schema.nullable === true) return null;
  if (schema.enum !== undefined) return schema.enum[0];
  switch (schema.type) {
    case 'integer':
      return 0;
    case 'boolean':
      return false;
    case 'object':
      return {};
    case 'array':
      return [];
    default:
      return '';
  }
}
