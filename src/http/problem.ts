/** Errors of the management API: `application/problem+json` (RFC 9457) with a stable code. */
import * as z from 'zod';
import { faultsOf, formatPath } from '#directory/issues.js';

export const PROBLEM_TYPE = 'application/problem+json';

export interface FieldError {
  /** Where: `endpoints[0].uri`; '' for the body as a whole. */
  readonly path: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** An answer that is not a success; thrown by handlers, written by the server. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly errors: readonly FieldError[] | undefined;
  /** Members of the answer besides those of every problem, such as what depends on an object. */
  readonly more: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    title: string,
    detail: string,
    errors?: readonly FieldError[],
    more: Readonly<Record<string, unknown>> = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.title = title;
    this.errors = errors;
    this.more = more;
    this.headers = headers;
  }

  toJSON(): object {
    return {
      ...this.more,
      status: this.status,
      code: this.code,
      title: this.title,
      detail: this.message,
      ...(this.errors === undefined ? {} : { errors: this.errors }),
    };
  }
}

export function notFound(detail: string): Problem {
  return new Problem(404, 'not_found', 'Not found', detail);
}

/** 400 that names every faulty field. */
export function invalid(errors: readonly FieldError[]): Problem {
  const detail = errors
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    .join('; ');
  return new Problem(400, 'invalid_request', 'Invalid request', detail, errors);
}

/** What `schema` makes of `input`, or what is wrong with it. */
export function read<T extends z.ZodType>(
  schema: T,
  input: unknown,
): { readonly data: z.output<T> } | { readonly errors: readonly FieldError[] } {
  const result = schema.safeParse(input);
  if (result.success) return { data: result.data };
  return {
    errors: result.error.issues.flatMap((issue) =>
      faultsOf(issue, schema, input).map(({ path, message, hint }) => ({
        path: formatPath(path),
        message,
        ...(hint === undefined ? {} : { hint }),
      })),
    ),
  };
}

const fieldError = z.object({
  path: z.string().meta({ description: 'Where: `endpoints[0].uri`; empty for the body as a whole.' }),
  message: z.string(),
  hint: z.string().optional(),
});

/** Every answer that is not a success, as the OpenAPI document describes it. */
export const problemSchema = z.looseObject({
  status: z.int(),
  code: z.string().meta({ description: 'Stable; for programs.' }),
  title: z.string(),
  detail: z.string().meta({ description: 'For people.' }),
  errors: z.array(fieldError).optional().meta({ description: 'Every faulty field of a bad request.' }),
});
