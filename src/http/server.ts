/**
 * HTTP: health, metrics and the management API. Health and metrics need no token, everything under `/api/v1` but its
 * own description does. What the answers are made of comes in through ports; this room knows fastify, and no SIP.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Logger } from '#lib/logger.js';
import { API_ROUTES, apiDocument } from './api.js';
import type { Caller } from './caller.js';
import { serveDocs } from './docs.js';
import { DEFAULT_LIMITS, RequestLimits } from './limits.js';
import type { HttpPorts } from './ports.js';
import { notFound, PROBLEM_TYPE, Problem } from './problem.js';
import { HANDLER_TIMEOUT_MS, serve } from './serve.js';
import { bearerToken, tokenCheck } from './token.js';
import { Turns } from './turns.js';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface HttpOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** The administrator's. */
  readonly token: string;
  readonly ports: HttpPorts;
  readonly log: Logger;
  /** PEM files of certificate chain and private key; without them it speaks no TLS. */
  readonly tls?: CertificateFiles | undefined;
  /** By one token; default 100. */
  readonly requestsPerSecond?: number | undefined;
  /** A connected ioredis client, where nodes share request limits. */
  readonly redis?: object | undefined;
  /** Of the gateway, for the OpenAPI document. */
  readonly version?: string | undefined;
}

const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
const BODY_BYTES_MAX = 262_144;
const CONNECTIONS_MAX = 500;
/** Longest parameter of a path: an id, each character of it percent-encoded. */
const PARAMETER_MAX = 512;
/** Wrong tokens that are remembered, so that a client that repeats one is not taken for one that guesses. */
const WRONG_TOKENS_KEPT = 10_000;

export class HttpServer {
  readonly #options: HttpOptions;
  readonly #app: FastifyInstance;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#app = buildApp(options);
  }

  /** Binds, or rejects with an Error that names the address and what to mend. Gives the URL. */
  async start(): Promise<string> {
    const { host, port } = this.#options;
    try {
      return await this.#app.listen({ host, port });
    } catch (error) {
      throw new Error(bindFault(host, port, error), { cause: error });
    }
  }

  /** Reads certificate and key again, for new connections. What cannot be read or used is logged, and the old ones stay. */
  reloadCertificate(): void {
    const { tls, log } = this.#options;
    const { server } = this.#app;
    if (tls === undefined || !('setSecureContext' in server)) return;
    try {
      (server as unknown as { setSecureContext(options: object): void }).setSecureContext(
        readCertificate(tls),
      );
    } catch (error) {
      log.error({ err: error, ...tls }, 'the certificate of HTTP was not read again: the one in use stays');
    }
  }

  /** Closes the listener and every connection. */
  async stop(): Promise<void> {
    await this.#app.close();
  }
}

function bindFault(host: string, port: number, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  const remedy =
    code === 'EADDRINUSE'
      ? 'another process listens there: stop it, or set http.port to a free one'
      : code === 'EACCES'
        ? 'ports below 1024 need rights: set http.port to a higher one'
        : code === 'EADDRNOTAVAIL'
          ? 'no interface of this machine has that address: correct http.host'
          : 'correct http.host and http.port';
  return `HTTP cannot listen on ${host}:${port} (${code}): ${remedy}`;
}

function buildApp(options: HttpOptions): FastifyInstance {
  const { ports, log } = options;
  const app = createApp(options);
  app.server.maxConnections = CONNECTIONS_MAX;
  app.decorateRequest('caller', null);
  // Clients that set the type on every request send DELETE with it and without a body.
  const readJson = app.getDefaultJsonParser('error', 'error');
  // fastify would take it for a body of text, which no end-point has.
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined);
    else readJson(request, String(body), done);
  });

  app.setErrorHandler((error, _request, reply) => {
    const problem = asProblem(error);
    // A Problem was thrown on purpose: a provider that refuses (502) is no failure of ours.
    if (problem.status >= 500 && !(error instanceof Problem))
      log.error({ err: error }, 'an HTTP request failed');
    return send(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) =>
    send(reply, notFound('no such address; the API lives under /api/v1')),
  );

  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', (_request, reply) => {
    const checks = ports.readiness();
    const ready = checks.every(({ ok }) => ok);
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', checks });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(ports.metrics.contentType).send(await ports.metrics.text()),
  );

  const document = apiDocument(options.version ?? '0');
  serveDocs(app, document);
  const identify = identification(options);
  const turns = new Turns();
  app.register(
    async (api) => {
      api.addHook('onRequest', async (request, reply) => {
        await turns.take();
        request.caller = await identify(request, reply);
      });
      // Without a token not even what exists can be learnt: the hook above runs for unknown addresses too.
      api.setNotFoundHandler((_request, reply) => send(reply, notFound('no such address under /api')));
      serve(api, API_ROUTES, ports);
    },
    { prefix: '/api/v1' },
  );
  return app;
}

function createApp({ tls }: HttpOptions): FastifyInstance {
  const settings = {
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: Math.max(REQUEST_TIMEOUT_MS, HANDLER_TIMEOUT_MS),
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    return503OnClosing: true,
    // What fastify refuses before it has found a route: a path that cannot be decoded, or is too long.
    frameworkErrors: (error: Error, _request: FastifyRequest, reply: FastifyReply) =>
      send(reply, asProblem(error)),
    routerOptions: { maxParamLength: PARAMETER_MAX },
  } as const;
  if (tls === undefined) return fastify(settings);
  // Which server is below makes no difference to anybody here.
  return fastify({ ...settings, https: readCertificate(tls) }) as unknown as FastifyInstance;
}

function readCertificate({ certFile, keyFile }: CertificateFiles): {
  cert: Buffer;
  key: Buffer;
  minVersion: 'TLSv1.2';
} {
  return { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' };
}

/** Who sends a request; rejects with a Problem (401, 429). */
function identification({
  token,
  ports,
  requestsPerSecond = DEFAULT_LIMITS.requestsPerSecond,
  redis,
}: HttpOptions): (request: FastifyRequest, reply: FastifyReply) => Promise<Caller> {
  const limits = new RequestLimits({ ...DEFAULT_LIMITS, requestsPerSecond }, ports.clock, redis);
  const isAdministrator = tokenCheck(token);
  const known = new BoundedMap<string, true>(WRONG_TOKENS_KEPT);
  return async (request, reply) => {
    const given = bearerToken(request.headers.authorization);
    if (given !== undefined) {
      await limits.check(request.ip);
      if (isAdministrator(given)) {
        await limits.request('administrator');
        return { kind: 'administrator' };
      }
      const holder = ports.tokens.authenticate(given);
      if (holder !== undefined) {
        await limits.request(holder.tokenId);
        return { kind: 'token', ...holder };
      }
      const wrong = `${request.ip} ${createHash('sha256').update(given).digest('base64')}`;
      if (!known.has(wrong)) {
        known.set(wrong, true);
        await limits.wrongToken(request.ip);
      }
    }
    reply.header('www-authenticate', 'Bearer');
    throw new Problem(
      401,
      'unauthorized',
      'Unauthorized',
      'send the API token as "Authorization: Bearer TOKEN"; it is TRUNKLINE_API_TOKEN, or kept in data/api-token',
    );
  };
}

function send(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(PROBLEM_TYPE)
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem.toJSON());
}

/** Codes of fastify's own refusals, by status. */
const CODES: Readonly<Record<number, readonly [code: string, title: string]>> = {
  413: ['body_too_large', 'Body too large'],
  415: ['unsupported_media_type', 'Unsupported media type'],
};

const WORDS_MAX = 200;

/** What fastify says, or more than it says; it repeats a path of any length. */
function wordsOf(error: Error): string {
  switch ((error as { readonly code?: unknown }).code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return 'send the body with Content-Type: application/json; an import may be text/csv';
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return 'the body is not valid JSON, or has a key __proto__ or constructor.prototype';
    default:
      return error.message.slice(0, WORDS_MAX);
  }
}

/** fastify's own refusals (a body too large, a broken URL) keep their status; anything else is our failure. */
function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof Error && error.name === 'StoreUnavailable') {
    return new Problem(
      503,
      'store_unavailable',
      'Store unavailable',
      'the store cannot be reached: try again',
    );
  }
  if (error instanceof Error && 'statusCode' in error) {
    const status = Number(error.statusCode);
    const [code, title] = CODES[status] ?? ['invalid_request', 'Invalid request'];
    if (status >= 400 && status < 500) return new Problem(status, code, title, wordsOf(error));
  }
  return new Problem(500, 'internal_error', 'Internal error', 'the gateway failed; its log says more');
}
