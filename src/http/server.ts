/**
 * HTTP: health, metrics and the management API. Health and metrics need no token, everything under `/api` does. What
 * the answers are made of comes in through ports; this room knows fastify, and no SIP.
 */
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import type { Logger } from '#lib/logger.js';
import { registerApi } from './api.js';
import type { HttpPorts } from './ports.js';
import { notFound, Problem } from './problem.js';
import { tokenCheck } from './token.js';

export interface HttpOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly token: string;
  readonly ports: HttpPorts;
  readonly log: Logger;
}

const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
/** Nothing takes a body yet. */
const BODY_BYTES_MAX = 16_384;
const CONNECTIONS_MAX = 500;

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

function buildApp({ token, ports, log }: HttpOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    return503OnClosing: true,
  });
  app.server.maxConnections = CONNECTIONS_MAX;

  app.setErrorHandler((error, _request, reply) => {
    const problem = asProblem(error);
    if (problem.status >= 500) log.error({ err: error }, 'an HTTP request failed');
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

  const authorised = tokenCheck(token);
  app.register(
    async (api) => {
      api.addHook('onRequest', async (request, reply) => {
        if (authorised(request.headers.authorization)) return;
        reply.header('www-authenticate', 'Bearer');
        throw new Problem(
          401,
          'unauthorized',
          'Unauthorized',
          'send the API token as "Authorization: Bearer TOKEN"; it is TRUNKLINE_API_TOKEN, or kept in data/api-token',
        );
      });
      // Without the token not even what exists can be learnt: the hook above runs for unknown addresses too.
      api.setNotFoundHandler((_request, reply) => send(reply, notFound('no such address under /api')));
      registerApi(api, ports);
    },
    { prefix: '/api/v1' },
  );
  return app;
}

function send(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .type('application/problem+json')
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem.toJSON());
}

/** fastify's own refusals (a body too large, a broken URL) keep their status; anything else is our failure. */
function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof Error && 'statusCode' in error) {
    const status = Number(error.statusCode);
    if (status >= 400 && status < 500)
      return new Problem(status, 'invalid_request', 'Invalid request', error.message);
  }
  return new Problem(500, 'internal_error', 'Internal error', 'the gateway failed; its log says more');
}
