/** Finding one's way in a schema: what describes the value at a path. */
import * as z from 'zod';

/** The object, list or field that wrappers (optional, default, transform) hide. */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema;
  for (;;) {
    if (
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodNullable ||
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodPrefault
    ) {
      inner = inner.def.innerType;
    } else if (inner instanceof z.ZodPipe) inner = inner.def.in;
    else return inner;
  }
}

/** What describes the value at a path; undefined when there is no such setting. */
export function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let found: z.core.$ZodType | undefined = schema;
  for (const part of path) {
    if (found === undefined) return undefined;
    const inner = unwrap(found);
    if (inner instanceof z.ZodObject) found = (inner.shape as Record<PropertyKey, z.ZodType>)[part];
    else if (inner instanceof z.ZodArray) {
      const element = inner.element;
      // An entry without a description of its own is described by its list.
      found = unwrap(element) instanceof z.ZodObject ? element : found;
    } else return undefined;
  }
  return found instanceof z.ZodType ? found : undefined;
}

/** The value that a field has when it is not given; undefined when there is none. */
export function defaultOf(schema: z.core.$ZodType): unknown {
  for (let inner = schema; ; ) {
    if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) return inner.def.defaultValue;
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable) inner = inner.def.innerType;
    else if (inner instanceof z.ZodPipe) inner = inner.def.in;
    else return undefined;
  }
}
