/** Reading the OpenAPI document in tests: its operations, and whether an answer is what it says. */
import * as z from 'zod';
import type { JsonSchema, OpenApiDocument, Operation, Parameter } from '#http/openapi.js';

export interface DocumentedOperation {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
  readonly parameters: readonly Parameter[];
  readonly body: JsonSchema | undefined;
  readonly text: boolean;
}

export class Documented {
  readonly #document: OpenApiDocument;
  readonly #readers = new Map<string, z.ZodType>();

  constructor(document: OpenApiDocument) {
    this.#document = document;
  }

  operations(): DocumentedOperation[] {
    return Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        operation,
        parameters: operation.parameters.map((each) => this.#parameter(each)),
        body: operation.requestBody?.content['application/json']?.schema,
        text: operation.requestBody?.content['text/csv'] !== undefined,
      })),
    );
  }

  schema(name: string): JsonSchema {
    const found = this.#document.components.schemas[name];
    if (found === undefined) throw new Error(`the document has no schema ${name}`);
    return found;
  }

  /** What is wrong with an answer; undefined: it is as described. */
  fault({ operationId, responses }: Operation, status: number, text: string): string | undefined {
    const described = (responses[String(status)] ?? (status >= 400 ? responses.default : undefined)) as
      | {
          readonly $ref?: string;
          readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>;
        }
      | undefined;
    if (described === undefined) return `${operationId} says nothing of ${status}`;
    const content = described.content?.['application/json'];
    const schema = status >= 400 ? { $ref: '#/components/schemas/Problem' } : content?.schema;
    if (schema === undefined) return text === '' ? undefined : `${operationId} ${status} has a body`;
    const key = `${operationId} ${status}`;
    let reader = this.#readers.get(key);
    if (reader === undefined) {
      reader = this.#reader(schema);
      this.#readers.set(key, reader);
    }
    const result = reader.safeParse(JSON.parse(text));
    return result.success ? undefined : `${key}: ${z.prettifyError(result.error)}: ${text.slice(0, 500)}`;
  }

  #parameter(given: Parameter): Parameter {
    const reference = (given as unknown as { readonly $ref?: string }).$ref;
    return reference === undefined
      ? given
      : this.#document.components.parameters[reference.split('/').at(-1)!]!;
  }

  #reader(schema: JsonSchema): z.ZodType {
    const whole = { ...schema, $defs: this.#document.components.schemas };
    const text = JSON.stringify(whole).replaceAll('#/components/schemas/', '#/$defs/');
    return z.fromJSONSchema(JSON.parse(text));
  }
}
