/** The management API over a real store, asked with fetch. What is no part of the directory is scripted. */
import type { SecretBox } from '#directory/secret-box.js';
import type { Store } from '#directory/store.js';
import { Tokens } from '#directory/tokens.js';
import type { Scope } from '#http/caller.js';
import { explainInbound } from '#http/explain.js';
import type { HttpPorts, OutboundRouteAnswer } from '#http/ports.js';
import { type HttpOptions, HttpServer } from '#http/server.js';
import { RandomIds } from '#lib/ids.js';
import { type Logger, silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { EVENT_TYPES } from '#observe/events.js';
import { Providers } from '#provider/providers.js';
import { WebhookRegistry } from '#webhook/registry.js';
import { scriptedPorts } from '../unit/http/ports.js';
import { ADMINISTRATOR, type Answer, type Asking, askAt } from './ask.js';
import type { Described } from './directory.js';
import { type Desk, deskOn, newBox } from './editor.js';

/** There is no routing of outbound calls below. */
const NOTHING_LEAVES: OutboundRouteAnswer = {
  direction: 'outbound',
  decision: 'refuse',
  status: 403,
  httpStatus: 409,
  code: 'no_outbound_config',
  detail: 'the agent has no number to call from',
  field: 'agentId',
  agentId: null,
  organizationId: null,
  callee: null,
  routes: [],
  explanation: [],
};

export interface ApiOptions {
  readonly config?: Described;
  readonly ports?: Partial<HttpPorts>;
  readonly log?: Logger;
  readonly http?: Partial<HttpOptions>;
  readonly box?: SecretBox;
}

export interface Api extends Desk {
  readonly url: string;
  readonly tokens: Tokens;
  /** @param path below /api/v1 */
  ask(path: string, how?: Asking): Promise<Answer>;
  /** Makes a token of an organisation. */
  token(organizationId: string, scopes?: readonly Scope[]): Promise<string>;
}

export async function apiOn(store: Store, options: ApiOptions = {}): Promise<Api> {
  const log = options.log ?? silentLogger;
  const { box = newBox() } = options;
  const desk = await deskOn(store, {
    log,
    box,
    ...(options.config === undefined ? {} : { config: options.config }),
  });
  const { live, editor } = desk;
  const tokens = new Tokens({ store, memory: store.memory, ids: new RandomIds(), clock: systemClock(), log });
  await tokens.start();
  const ids = new RandomIds();
  const clock = systemClock();
  const webhooks = new WebhookRegistry({
    store,
    box,
    ids,
    clock,
    log,
    configure: () => undefined,
    closed: () => null,
    troubleOf: () => null,
  });
  await webhooks.start();
  const server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: ADMINISTRATOR,
    log,
    requestsPerSecond: 100_000,
    ports: scriptedPorts({
      directory: live.directory,
      editor,
      meta: (kind, id) => live.meta(kind, id),
      objects: store,
      memory: store.memory,
      tokens,
      events: { types: EVENT_TYPES, follow: () => ({ missed: [], stop: () => undefined }) },
      webhooks,
      // No provider is known here; `contract/api/providers.test.ts` has one.
      providers: new Providers({
        store,
        box,
        editor,
        numberOn: (trunkId, number) => live.directory.current.number(trunkId, number)?.id,
        connectors: [],
        ids,
        clock,
      }),
      explainInbound: (question) => explainInbound(live.directory.current, question, () => 0),
      explainOutbound: () => NOTHING_LEAVES,
      calls: {
        ...scriptedPorts().calls,
        place: async () => ({
          kind: 'refused',
          code: 'no_outbound_config',
          httpStatus: 409,
          detail: 'the agent has no number to call from',
          field: 'agentId',
          retryAfterSeconds: undefined,
        }),
      },
      ...options.ports,
    }),
    ...options.http,
  });
  const url = await server.start();
  const ask: Api['ask'] = (path, how) => askAt(url, path, how);
  return {
    ...desk,
    url,
    tokens,
    ask,
    token: async (organizationId, scopes = ['read', 'write', 'calls']) => {
      const made = await tokens.create({ organizationId, name: 'test' }, 'test', scopes);
      return made.token;
    },
    close: async () => {
      await server.stop();
      tokens.stop();
      webhooks.stop();
      await desk.close();
    },
  };
}
