/**
 * What is wrong with a value, in words: the same ones for the config file and for the API. zod finds the issues, this
 * says them.
 */
import * as z from 'zod';
import { closest } from '#lib/closest.js';
import { schemaAt, unwrap } from './walk.js';

/** One faulty place. Never repeats the value, which may be a secret. */
export interface Fault {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly hint: string | undefined;
}

/** `sip.listen[0].port`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? String(part) : `.${String(part)}`;
  }
  return text;
}

/**
 * What an issue says about `value`, the whole that `schema` read. Several faults for several unknown names.
 * @param unknown what is said of a name that there is not
 */
export function faultsOf(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  value: unknown,
  unknown = 'is not known here',
): Fault[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, issue.path);
    return issue.keys.map((key) => {
      const near = closest(key, known);
      const hint = near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`;
      return { path: [...issue.path, key], message: unknown, hint };
    });
  }
  return [
    {
      path: issue.path,
      message: messageOf(issue, valueAt(value, issue.path)),
      // What the schema says about a field is the best hint.
      hint: schemaAt(schema, issue.path)?.meta()?.description,
    },
  ];
}

function messageOf(issue: z.core.$ZodIssue, given: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (given === undefined) return 'is missing';
      return `must be ${article(issue.expected)}, not ${article(typeOf(given))}`;
    case 'invalid_value':
      if (given === undefined) return 'is missing';
      return `must be ${oneOf(issue.values.map(String))}`;
    case 'too_small':
      if (issue.origin === 'string' || issue.origin === 'array') return 'must not be empty';
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'string') return `must not be longer than ${issue.maximum} characters`;
      if (issue.origin === 'array') return `must not have more than ${issue.maximum} entries`;
      return `must be at most ${issue.maximum}`;
    case 'invalid_union':
      return 'is not one of the values that it may have';
    default:
      return issue.message;
  }
}

function oneOf(values: readonly string[]): string {
  return values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
}

function article(type: string): string {
  const names: Record<string, string> = {
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    object: 'a section with settings',
    record: 'a section with names and values',
    array: 'a list',
    null: 'empty',
  };
  return names[type] ?? type;
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** The part of a plain value at a path; undefined when there is none. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let inner = value;
  for (const part of path) {
    if (typeof inner !== 'object' || inner === null) return undefined;
    inner = (inner as Record<PropertyKey, unknown>)[part];
  }
  return inner;
}

function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const found = schemaAt(schema, path);
  const inner = found === undefined ? undefined : unwrap(found);
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}
