/** Errors of the management API: `application/problem+json` (RFC 9457) with a stable code. */
import { z } from 'zod';

export interface FieldError {
  /** Where: `limit`. */
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

  constructor(status: number, code: string, title: string, detail: string, errors?: readonly FieldError[]) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.title = title;
    this.errors = errors;
  }

  toJSON(): object {
    return {
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

/** `input` as `schema` reads it, or a Problem that names every faulty field at once. */
export function validated<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue): FieldError[] => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: key, message: 'is not known here', hint: knownKeys(schema) }));
    }
    return [{ path: issue.path.join('.'), message: issue.message }];
  });
  const detail = errors.map(({ path, message }) => `${path}: ${message}`).join('; ');
  throw new Problem(400, 'invalid_request', 'Invalid request', detail, errors);
}

function knownKeys(schema: z.ZodType): string | undefined {
  return schema instanceof z.ZodObject ? `known: ${Object.keys(schema.shape).join(', ')}` : undefined;
}
