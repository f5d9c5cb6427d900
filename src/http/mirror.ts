/**
 * The directory's schemas as the API shows them: what is sent to create an object, what changes one, and what answers
 * look like. All are made from the one schema that the config file is read with, field by field, so that a field that
 * is added there is there in the API too. Secrets go in and never come out: an answer says `hasPassword`.
 */
import * as z from 'zod';
import type { Cidr } from '#directory/cidr.js';
import { Secret } from '#directory/secret.js';
import type { HostPort } from '#directory/trunk.js';
import { unwrap } from '#directory/walk.js';
import { hostPort } from '#sip/uri.js';

type Shape = Readonly<Record<string, z.ZodType>>;

/** What answers say instead of a secret. */
const SECRETS: Readonly<Record<string, string>> = {
  authPassword: 'hasPassword',
  password: 'hasPassword',
  clientKey: 'hasClientKey',
};

/** Fields of a schema but for some. */
export function fieldsBut<S extends Shape, K extends keyof S & string>(shape: S, ...names: K[]): Omit<S, K> {
  const dropped: readonly string[] = names;
  return Object.fromEntries(Object.entries(shape).filter(([name]) => !dropped.includes(name))) as Omit<S, K>;
}

/**
 * What changes an object (RFC 7396): every field may be left out, null takes it back to its default. Rules between
 * fields are checked on the whole, when it is put together.
 */
export function patchOf(shape: Shape): z.ZodObject {
  return z.strictObject(
    Object.fromEntries(Object.entries(shape).map(([name, schema]) => [name, patchField(schema)])),
  );
}

function patchField(schema: z.ZodType): z.ZodType {
  const inner = present(schema);
  const bare = unwrap(inner);
  const value = bare instanceof z.ZodObject ? patchOf(bare.shape as Shape) : inner;
  return described(z.nullish(value), schema);
}

/** What answers look like: every field is there, null where it is not set. */
export function answerOf(shape: Shape): z.ZodObject {
  return z.object(
    Object.fromEntries(
      Object.entries(shape).map(([name, schema]) => {
        const instead = SECRETS[name];
        return instead === undefined ? [name, answerField(schema)] : [instead, z.boolean()];
      }),
    ),
  );
}

function answerField(schema: z.ZodType): z.ZodType {
  const bare = unwrap(schema);
  const value = described(answerValue(bare), schema);
  return isOptional(schema) ? value.nullable() : value;
}

function answerValue(bare: z.core.$ZodType): z.ZodType {
  if (bare instanceof z.ZodObject) return answerOf(bare.shape as Shape);
  if (bare instanceof z.ZodArray) return z.array(answerValue(unwrap(bare.element)));
  if (bare instanceof z.ZodRecord) return z.record(z.string(), z.string());
  if (bare instanceof z.ZodEnum || bare instanceof z.ZodBoolean) return bare as z.ZodType;
  if (bare instanceof z.ZodNumber) return bare.isInt ? z.int() : z.number();
  // Rules for what is written would only burden those who read.
  if (bare instanceof z.ZodString) return z.string();
  throw new TypeError(`no answer is known for a field of type ${bare._zod.def.type}`);
}

function isOptional(schema: z.ZodType): boolean {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodNullable;
}

/** Without what says that it may be absent. */
function present(schema: z.ZodType): z.ZodType {
  let inner: z.core.$ZodType = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodNullable ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault
  ) {
    inner = inner.def.innerType;
  }
  return inner as z.ZodType;
}

function described<T extends z.ZodType>(schema: T, like: z.ZodType): T {
  const { description } = like.meta() ?? {};
  return description === undefined ? schema : schema.meta({ description });
}

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [name: string]: Plain };

/** A model of the directory as an answer shows it: what `answerOf` describes. */
export function plain(model: object): { readonly [name: string]: Plain } {
  const shown: Record<string, Plain> = {};
  for (const [name, value] of Object.entries(model)) {
    const instead = SECRETS[name];
    if (instead === undefined) shown[name] = plainValue(value);
    else shown[instead] = value !== undefined;
  }
  return shown;
}

function plainValue(value: unknown): Plain {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(plainValue);
  // A secret of a name that nobody has told above.
  if (value instanceof Secret) throw new TypeError('a secret has no place in an answer');
  if (value instanceof Map) return Object.fromEntries(value as ReadonlyMap<string, string>);
  if (typeof value !== 'object') throw new TypeError(`no answer is known for a ${typeof value}`);
  if (isCidr(value)) return value.text;
  if (isHostPort(value)) return hostPort(value.host, value.port);
  return plain(value);
}

function isCidr(value: object): value is Cidr {
  return 'prefix' in value && 'family' in value && 'text' in value;
}

function isHostPort(value: object): value is HostPort {
  return 'host' in value && 'port' in value && Object.keys(value).length === 2;
}
