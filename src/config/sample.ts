/**
 * Writes the sample configuration from the schema, so that it cannot say anything else than the gateway does: what
 * is active works out of the box on loopback, every other setting stands beside it as a comment.
 */
import { stringify } from 'yaml';
import * as z from 'zod';
import { defaultOf, unwrap } from '#directory/walk.js';
import { configSchema } from './schema.js';

type Values = Readonly<Record<string, unknown>>;

/** What the sample sets. It must need no environment variable and no file. */
const ACTIVE: Values = {
  sip: {
    engine: 'embedded',
    listen: [
      { transport: 'udp', host: '127.0.0.1', port: 5060 },
      { transport: 'tcp', host: '127.0.0.1', port: 5060 },
    ],
    externalAddress: null,
  },
  http: { host: '127.0.0.1', port: 8080 },
  store: { kind: 'sqlite', path: 'data/trunkline.db' },
  redis: { url: null },
  pacing: { whenRedisIsDown: 'hold' },
  sipCredentials: [
    {
      id: 'carrier-a',
      server: '127.0.0.1:5080',
      transport: 'udp',
      allowedAddresses: ['127.0.0.1'],
      cpsLimit: 10,
      cpsKey: 'carrier-a',
    },
  ],
  phoneNumbers: [
    {
      phoneNumber: '+14155550100',
      credentialsId: 'carrier-a',
      inboundAgentId: 'sales',
      displayName: 'Acme',
    },
  ],
  agents: [
    {
      id: 'sales',
      name: 'Sales',
      endpoints: [{ uri: 'sip:sales@127.0.0.1:5090', priority: 1, weight: 1 }],
      outboundNumberId: '+14155550100',
    },
  ],
};

/** Examples where an entry in comments must differ from the active ones. */
const EXAMPLES: Readonly<Record<string, Values>> = {
  listen: { transport: 'tls', port: 5061 },
  sipCredentials: { id: 'carrier-b', description: 'Second carrier', cpsKey: 'carrier-b' },
  phoneNumbers: { id: 'second-line', phoneNumber: '+14155550101' },
  agents: { id: 'support', name: 'Support' },
};

const HEAD = `Configuration of Trunkline. It works as it stands, on loopback: a call to sip:+14155550100@127.0.0.1 is
taken from trunk carrier-a (127.0.0.1) and sent to agent sales at sip:sales@127.0.0.1:5090.

Lines that begin with # and a setting show its default, or an example where there is none. Values may be
\${ENV_NAME} or \${file:PATH}, with PATH relative to this file; $\${ is a plain \${. Check a file with
npm start -- --config FILE --check. SIGHUP or saving the file loads it again and leaves live calls alone;
a faulty file changes nothing. Written by src/config/sample.ts.`;

const WIDTH = 110;

/** The text of config/trunkline.yaml. */
export function sampleConfig(): string {
  const lines = HEAD.split('\n').map((line) => `# ${line}`.trimEnd());
  for (const [name, schema] of fieldsOf(configSchema)) {
    lines.push('', ...setting(name, schema, ACTIVE[name]));
  }
  return `${lines.join('\n')}\n`;
}

/** One setting with its description above; in comments when it has no value. */
function setting(name: string, schema: z.ZodType, value: unknown): string[] {
  if (value === undefined) return [...describe(schema), ...comments(spelledOut(name, schema, {}))];
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    const values = value as Values;
    const body = fieldsOf(inner).flatMap(([key, field]) => setting(key, field, values[key]));
    return [...describe(schema), `${name}:`, ...indent(body)];
  }
  if (inner instanceof z.ZodArray && unwrap(inner.element) instanceof z.ZodObject) {
    const entries = (value as readonly Values[]).flatMap((values) =>
      entry(Object.entries(values).map(([key, each]) => `${key}: ${scalar(each)}`)),
    );
    const template = entry(everything(inner.element, EXAMPLES[name] ?? {}));
    const commented = comments(['Every setting of an entry:', ...template]);
    return [...describe(schema), `${name}:`, ...indent([...entries, ...commented])];
  }
  return [...describe(schema), `${name}: ${scalar(value)}`];
}

/** A setting and all below it with examples, as it would stand without the comment marks around it. */
function spelledOut(name: string, schema: z.ZodType, examples: Values): string[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) return [`${name}:`, ...indent(everything(inner, {}))];
  if (inner instanceof z.ZodArray && unwrap(inner.element) instanceof z.ZodObject) {
    return [`${name}:`, ...indent(entry(everything(inner.element, {})))];
  }
  return [`${name}: ${scalar(name in examples ? examples[name] : exampleOf(schema))}`];
}

/** Every setting of a section or entry, described. */
function everything(schema: z.core.$ZodType, examples: Values): string[] {
  return fieldsOf(schema).flatMap(([name, field]) => [
    ...describe(field),
    ...spelledOut(name, field, examples),
  ]);
}

/** Lines of settings as one entry of a list. */
function entry(lines: readonly string[]): string[] {
  return lines.map((line, index) => (index === 0 ? `- ${line}` : `  ${line}`));
}

function fieldsOf(schema: z.core.$ZodType): [string, z.ZodType][] {
  const inner = unwrap(schema);
  return inner instanceof z.ZodObject ? Object.entries(inner.shape as Record<string, z.ZodType>) : [];
}

/** A default says more than an example, unless it is empty. */
export function exampleOf(schema: z.ZodType): unknown {
  const fallback = defaultOf(schema);
  const empty =
    fallback === undefined || (fallback instanceof Map && fallback.size === 0) || isEmptyList(fallback);
  const example = schema.meta()?.example;
  return empty && example !== undefined ? example : fallback;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function scalar(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: true }).trim();
}

const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
const comments = (lines: readonly string[]): string[] => lines.map((line) => `# ${line}`);

function describe(schema: z.ZodType): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of (schema.meta()?.description ?? '').split(' ')) {
    if (line.length + word.length + 1 > WIDTH - 10 && line !== '#') {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
