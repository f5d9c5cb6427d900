/**
 * Every end-point of the OpenAPI document with input that is right, nearly right and wrong: no answer is a failure of
 * ours, none takes long or shows a stack, each is what the document says, and whatever was done, the server lives.
 */
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiDocument } from '#http/api.js';
import type { JsonSchema } from '#http/openapi.js';
import { type Api, apiOn } from '../kit/api.js';
import type { Body } from '../kit/ask.js';
import { sqlitePlace } from '../kit/editor.js';
import { Documented, type DocumentedOperation } from '../kit/openapi.js';

const RUNS = 40;
const ANSWER_MS = 20_000;

const documented = new Documented(apiDocument('0'));
// A stream does not end; it has tests of its own.
const operations = documented
  .operations()
  .filter(({ operation }) => operation.operationId !== 'followEvents')
  // What is made is removed last, so that there is something to ask about.
  .sort((a, b) => Number(a.method === 'DELETE') - Number(b.method === 'DELETE'));

let api: Api;
const place = sqlitePlace();
/** Ids that answers have named: requests that name one reach deeper. */
const ids: string[] = ['fixed', 'desk', '+442079460000', 'default'];
/** The same by collection, the first part of a path. */
const own = new Map<string, string[]>();
const successes = new Map<string, number>();

beforeAll(async () => {
  api = await apiOn(await place.open(), {
    config: {
      sipCredentials: [{ id: 'fixed', server: 'sip.fixed.example' }],
      phoneNumbers: [{ phoneNumber: '+442079460000', credentialsId: 'fixed', inboundAgentId: 'desk' }],
      agents: [{ id: 'desk' }],
    },
  });
});
afterAll(async () => {
  await api.close();
  place.remove();
});

const junk = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    ' ',
    '\r\nX: y',
    '\u0000',
    '../../etc/passwd',
    '%00',
    '__proto__',
    'constructor',
    'ü',
    '💥',
  ),
  fc.string({ minLength: 300, maxLength: 3_000 }),
);
const anything = fc.anything({ maxDepth: 2, maxKeys: 3 }) as fc.Arbitrary<unknown>;

/** Values that look as if they belonged there. */
const TEXTS = [
  'sip.provider.example:5070',
  'sip:sales@127.0.0.1:5090',
  '192.0.2.0/24',
  '192.0.2.1',
  '+14155550123',
  'GB',
  'X-Account',
  'acme',
  '2030-01-01T00:00:00.000Z',
];

function valueFor(schema: JsonSchema, depth = 0): fc.Arbitrary<unknown> {
  const right = rightValue(schema, depth);
  return fc.oneof({ weight: 30, arbitrary: right }, { weight: 1, arbitrary: anything });
}

function rightValue(schema: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const { $ref, anyOf, type, examples } = schema as {
    $ref?: string;
    anyOf?: JsonSchema[];
    enum?: unknown[];
    const?: unknown;
    type?: string;
    examples?: unknown[];
  };
  if ($ref !== undefined) return valueFor(documented.schema($ref.split('/').at(-1)!), depth);
  if (anyOf !== undefined) return fc.oneof(...anyOf.map((each) => valueFor(each, depth)));
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  switch (type) {
    case 'string':
      return fc.oneof(
        { weight: 5, arbitrary: fc.constantFrom(...(examples ?? TEXTS)) },
        { weight: 3, arbitrary: fc.nat(1_000).map((at) => ids[at % ids.length]) },
        { weight: 1, arbitrary: junk },
      );
    case 'integer':
      return fc.oneof(fc.integer({ min: 0, max: 100 }), fc.maxSafeInteger());
    case 'number':
      return fc.oneof(fc.integer({ min: 1, max: 50 }), fc.double());
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valueFor((schema.items ?? {}) as JsonSchema, depth + 1), { maxLength: 3 });
    case 'object':
      return objectOf(schema, depth);
    default:
      return anything;
  }
}

/** What the objects of the configuration make a right value for a field of this name. */
const FITTING: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  credentialsId: fc.constant('fixed'),
  transferTrunkId: fc.constant('fixed'),
  inboundAgentId: fc.constant('desk'),
  outboundNumberId: fc.constant('+442079460000'),
  url: fc.constant('https://hooks.example.com/trunkline'),
  events: fc.constantFrom(['*'], ['call.*', 'pacing.lowered']),
  phoneNumber: fc.integer({ min: 1, max: 9_999_999 }).map((n) => `+4989${1_000_000 + n}`),
};

function fieldOf(name: string, schema: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const fitting = FITTING[name];
  const any = valueFor(schema, depth);
  return fitting === undefined
    ? any
    : fc.oneof({ weight: 6, arbitrary: fitting }, { weight: 1, arbitrary: any });
}

function objectOf(schema: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const { properties = {}, required = [] } = schema as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  const optional = Object.keys(properties).filter((name) => !required.includes(name));
  return fc
    .tuple(
      fc.subarray(optional, { maxLength: Math.min(optional.length, depth === 0 ? 6 : 2) }),
      fc.nat(15),
      fc.string({ maxLength: 8 }),
    )
    .chain(([chosen, luck, extra]) => {
      const names = luck === 0 ? chosen : [...required, ...chosen];
      const fields = Object.fromEntries(
        names.map((name) => [name, fieldOf(name, properties[name]!, depth + 1)]),
      );
      const model: Record<string, fc.Arbitrary<unknown>> = luck === 1
        ? { ...fields, [extra]: anything }
        : fields;
      return fc.record(model);
    });
}

const collectionOf = (path: string): string => path.split('/')[1]!;

/** An id of the path's own collection, the latest ones most of the time; any where there is none. */
function ownOf(path: string, at: number): string {
  const known = own.get(collectionOf(path)) ?? ids;
  return known[known.length - 1 - (at % Math.min(known.length, 10))]!;
}

interface Asked {
  readonly path: string;
  readonly body: unknown;
  readonly headers: Record<string, string>;
}

function requests({ path, parameters, body, text }: DocumentedOperation): fc.Arbitrary<Asked> {
  const inPath = fc.record(
    Object.fromEntries(
      parameters
        .filter((each) => each.in === 'path')
        .map(({ name }) => [
          name,
          fc.oneof(
            { weight: 3, arbitrary: fc.nat(1_000).map((at) => ids[at % ids.length]!) },
            { weight: 6, arbitrary: fc.nat(1_000).map((at) => ownOf(path, at)) },
            { weight: 1, arbitrary: junk },
          ),
        ]),
    ),
  );
  const inQuery = fc.record(
    Object.fromEntries(
      parameters.filter((each) => each.in === 'query').map(({ name, schema }) => [name, valueFor(schema)]),
    ),
    {
      requiredKeys: parameters.filter((each) => each.in === 'query' && each.required).map(({ name }) => name),
    },
  );
  const headers = fc.record(
    {
      'if-match': fc.constantFrom('*', '"v1"', 'W/"x"', ',', '"'),
      'if-none-match': fc.constantFrom('*', '"v1"'),
      'idempotency-key': fc.oneof(fc.uuid(), fc.constantFrom('same', ' ')),
    },
    { requiredKeys: [] },
  );
  const csv = fc.oneof(junk, fc.constant('phoneNumber,credentialsId\n+1415555,fixed\n"'));
  const content =
    body === undefined ? fc.constant(undefined) : text ? fc.oneof(valueFor(body), csv) : valueFor(body);
  return fc
    .tuple(inPath, inQuery, headers, content, fc.nat(4))
    .map(([names, query, given, sent, withHeaders]) => {
      const search = new URLSearchParams();
      for (const [name, value] of Object.entries(query)) {
        if (name === 'organizationId') continue;
        if (value !== undefined && value !== null) search.append(name, printable(value));
      }
      const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
        encodeURIComponent(wellFormed(names[name]!)),
      );
      return { path: `${target}?${search}`, body: sent, headers: withHeaders === 0 ? given : {} };
    });
}

/** Half a surrogate pair cannot be percent-encoded. */
const wellFormed = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');
const printable = (value: unknown): string => {
  if (typeof value === 'string') return wellFormed(value);
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return '';
  }
};

function remember(path: string, answer: Body): void {
  const found: unknown = answer.id ?? answer.rows?.[0]?.id;
  if (typeof found !== 'string' || found === '' || ids.length >= 500) return;
  ids.push(found);
  const collection = collectionOf(path);
  const known = own.get(collection);
  if (known === undefined) own.set(collection, [found]);
  else if (!known.includes(found)) known.push(found);
}

async function within<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer: ${what}`)), ANSWER_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

describe('whatever is asked', () => {
  // Twice: the second time with what the first has made.
  it.each(
    [...operations, ...operations].map(
      (each, index) => [`${each.operation.operationId} ${index}`, each] as const,
    ),
  )('%s', async (_, each) => {
    const { operation, method } = each;
    await fc.assert(
      fc.asyncProperty(requests(each), async ({ path, body, headers }) => {
        let sent: unknown = body;
        // fc.anything makes what JSON cannot say (BigInt, cycles of none): then nothing is sent.
        if (sent !== undefined && typeof sent !== 'string') sent = printable(sent) === '' ? {} : sent;
        const answer = await within(
          api.ask(path, { method, headers, ...(sent === undefined ? {} : { body: sent }) }),
          `${method} ${path}`,
        );
        const what = `${method} ${path} ${printable(sent)} -> ${answer.status} ${answer.text.slice(0, 300)}`;
        expect(answer.status, what).toBeLessThan(500);
        expect(answer.text, what).not.toMatch(/node_modules|\.ts:\d+|\.js:\d+|\n\s+at /);
        if (answer.status >= 400) {
          expect(answer.headers.get('content-type'), what).toContain('application/problem+json');
          expect(answer.body.status, what).toBe(answer.status);
        }
        if (answer.status !== 304)
          expect(documented.fault(operation, answer.status, answer.text)).toBeUndefined();
        if (answer.status < 300) {
          successes.set(operation.operationId, (successes.get(operation.operationId) ?? 0) + 1);
          remember(path, answer.body);
        }
      }),
      // A failure is told as it was found: making it smaller would take longer than reading it.
      { numRuns: RUNS, endOnFailure: true },
    );
  });

  it('was not refused all the time', () => {
    // Those need something that is not there: a call, a registration, a probe, a provider.
    const never = operations
      .filter(({ operation }) => !successes.has(operation.operationId))
      .map(({ operation }) => operation.operationId);
    expect(
      never.filter(
        (id) =>
          !/Call|Registration|test|explain|Target|CpsKey|Reason|DeadLetter|Provider|AvailableNumbers/i.test(
            id,
          ),
      ),
    ).toEqual([]);
  });
});

describe('what is no HTTP request', () => {
  it.each([
    'GET /api/v1/agents HTTP/1.1\r\n',
    'POST /api/v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n{',
    'GET /api/v1/\u0000 HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST /api/v1/agents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n',
    `GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`,
    '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001',
  ])('%j leaves the server as it was', async (text) => {
    const port = Number(new URL(api.url).port);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.end(text);
      });
      socket.resume().once('close', () => resolve());
      socket.once('error', () => resolve());
      socket.setTimeout(15_000, () => reject(new Error('the connection was kept')));
    });
    expect((await api.ask('/agents')).status).toBe(200);
  });
});
