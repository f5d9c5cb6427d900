/**
 * An end-point, described once. What fastify registers, who may ask, what is checked before the handler runs and what
 * the OpenAPI document says all come from the description (`serve.ts`, `openapi.ts`), so they cannot differ.
 */
import type * as z from 'zod';
import type { Caller, Scope } from './caller.js';
import type { EventStream } from './event-stream.js';
import type { HttpPorts } from './ports.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What answers are made of is read-only all through the house. */
export type DeepReadonly<T> = T extends (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

export interface ApiRequest<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** The body as it was sent, once `body` has read it without fault. */
  readonly given: unknown;
  readonly caller: Caller;
  /** Whose objects it is about. The handler sees, names and changes those of no other. */
  readonly organizationId: string;
  /** The ETags of If-Match, when it was sent. */
  readonly ifMatch: readonly string[] | undefined;
  /** Last-Event-ID, for a stream. */
  readonly lastEventId: string | undefined;
  /** Lets the connection be silent for longer than the server does otherwise. */
  extendTimeout(milliseconds: number): void;
}

export interface Reply<A> {
  readonly status: number;
  readonly body: A;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Instead of a body. */
  readonly stream?: EventStream | undefined;
  /** Instead of a body: what is sent as it stands, its media type among the headers. */
  readonly raw?: string | Buffer | undefined;
}

/** An answer that is no JSON. */
export interface RawReply extends Reply<undefined> {
  readonly raw: string | Buffer;
}

type Answered<A> = Reply<A> | RawReply;

/** Who may ask: a token of this scope, or only the administrator. */
export type Access = Scope | 'administrator';

export interface RouteSpec<
  P extends z.ZodType,
  Q extends z.ZodObject,
  B extends z.ZodType,
  A extends z.ZodType,
> {
  readonly method: Method;
  /** Below /api/v1, with `{name}` for parameters. */
  readonly path: string;
  /** Name of the operation, for clients. */
  readonly id: string;
  /** Heading that it stands under in the document. */
  readonly tag: string;
  readonly summary: string;
  readonly description?: string | undefined;
  readonly access: Access;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** The body may be left out. */
  readonly bodyOptional?: boolean | undefined;
  /** Besides JSON: media types that reach the handler as one text. Then `body` must read a string too. */
  readonly textBody?: readonly string[] | undefined;
  /** Bytes; default `BODY_BYTES_MAX` of the server. */
  readonly bodyLimit?: number | undefined;
  /** Milliseconds that the handler may take; default `HANDLER_TIMEOUT_MS`. */
  readonly timeoutMs?: number | undefined;
  /** The answer of a success; 204 has none. */
  readonly status?: 200 | 201 | 202 | 204;
  readonly answer?: A;
  /** Media types that it answers besides, when asked to. */
  readonly otherAnswers?: readonly string[] | undefined;
  /** The answer is a stream of server-sent events. */
  readonly stream?: boolean | undefined;
  readonly answerDescription?: string | undefined;
  /** Statuses of problems that are the end-point's own, with when they come. 400, 401, 403, 413, 415, 429 go without saying. */
  readonly problems?: Readonly<Record<number, string>> | undefined;
  /** false: its answer cannot be given again, so that it takes no Idempotency-Key. Of a POST only; default true. */
  readonly repeatable?: boolean | undefined;
  /** The object has an ETag: a change may carry If-Match, a GET If-None-Match. */
  readonly etag?: boolean | undefined;
  handle(
    request: ApiRequest<z.output<P>, z.output<Q>, z.output<B>>,
    ports: HttpPorts,
  ): Answered<DeepReadonly<z.output<A>>> | Promise<Answered<DeepReadonly<z.output<A>>>>;
}

/** A description of whatever kind; the types of its parts hold inside its handler. */
export type Route = Omit<RouteSpec<z.ZodType, z.ZodObject, z.ZodType, z.ZodType>, 'handle'> & {
  handle(
    request: ApiRequest<unknown, unknown, unknown>,
    ports: HttpPorts,
  ): Reply<unknown> | Promise<Reply<unknown>>;
};

export function route<
  P extends z.ZodType = z.ZodUndefined,
  Q extends z.ZodObject = z.ZodObject<Record<string, never>>,
  B extends z.ZodType = z.ZodUndefined,
  A extends z.ZodType = z.ZodUndefined,
>(spec: RouteSpec<P, Q, B, A>): Route {
  // A method's parameters compare both ways, so that what `handle` takes may be narrower than what Route says;
  // `serve.ts` hands it only what the schemas have read.
  return spec;
}

export function ok<A>(body: A, headers?: Readonly<Record<string, string>>): Reply<A> {
  return { status: 200, body, headers };
}

/** @param location path of the new object below /api/v1 */
export function created<A>(body: A, headers: Readonly<Record<string, string>>, location: string): Reply<A> {
  return { status: 201, body, headers: { ...headers, location: `/api/v1${location}` } };
}

export function accepted<A>(body: A, headers?: Readonly<Record<string, string>>): Reply<A> {
  return { status: 202, body, headers };
}

/** 200 with events until the client or the server closes. */
export function streaming(stream: EventStream): Reply<undefined> {
  return { status: 200, body: undefined, stream };
}

/** @param type media type of the content */
export function raw(
  type: string,
  content: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): RawReply {
  return { status: 200, body: undefined, raw: content, headers: { ...headers, 'content-type': type } };
}

export function noContent(): Reply<undefined> {
  return { status: 204, body: undefined };
}
