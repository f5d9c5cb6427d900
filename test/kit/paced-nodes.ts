/**
 * Gateways that share a Redis and call one provider, by order of the API and for SIP agents. Every call has a number
 * of its own to call, so that the provider tells which calls left, when, and how often.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { API_TOKEN, Gateway, type GatewayConfig, type Metrics } from './gateway.js';
import { InviteRecorder, type SentInvite } from './invite-recorder.js';
import { freePort } from './ports.js';
import { RedisServer } from './redis.js';
import { Sipp } from './sipp.js';

export interface PacedNodesOptions {
  readonly nodes: number;
  /** cpsLimit by cpsKey. */
  readonly limits: Readonly<Record<string, number>>;
  /** See `RedisServer`. */
  readonly movableClock?: boolean | undefined;
  readonly config?: GatewayConfig | undefined;
}

export interface PlacedCall {
  readonly id: string;
  readonly key: string;
  readonly callee: string;
  readonly node: Gateway;
  readonly priority: number;
  /** Milliseconds since 1970: when the order was answered, and the start that the answer promised. */
  readonly placedAt: number;
  readonly estimatedStartAt: number | null;
}

/** A line as `GET /api/v1/cps-keys/{key}` shows it, as far as tests look. */
export interface ShownLine {
  readonly limit: number;
  readonly pace: number;
  readonly waiting: readonly { readonly priority: number; readonly count: number }[];
  readonly sentLastMinute: number;
  readonly slotsLost: number;
}

export class PacedNodes {
  readonly redis: RedisServer;
  readonly recorder: InviteRecorder;
  readonly nodes: Gateway[] = [];
  readonly placed: PlacedCall[] = [];
  readonly #limits: Readonly<Record<string, number>>;
  readonly #config: GatewayConfig;
  /** From which port the agent of a key calls. */
  readonly #agentPorts = new Map<string, number>();
  readonly #sipps: Sipp[] = [];
  #orders = 0;
  #runs = 0;

  private constructor(redis: RedisServer, recorder: InviteRecorder, options: PacedNodesOptions) {
    this.redis = redis;
    this.recorder = recorder;
    this.#limits = options.limits;
    this.#config = options.config ?? {};
  }

  /** Resolves when all are ready. */
  static async start(options: PacedNodesOptions): Promise<PacedNodes> {
    const redis = await RedisServer.start({ movableClock: options.movableClock === true });
    const rig = new PacedNodes(redis, await InviteRecorder.start(), options);
    for (const key of Object.keys(options.limits)) rig.#agentPorts.set(key, await freePort());
    try {
      // One after the other: a process that starts wants a core for itself.
      for (let i = 0; i < options.nodes; i++) await rig.add();
    } catch (error) {
      await rig.stop();
      throw error;
    }
    return rig;
  }

  /** One more gateway. */
  async add(): Promise<Gateway> {
    const { calls, pacing, sipCredentials = [], phoneNumbers = [], agents = [], ...more } = this.#config;
    const keys = Object.entries(this.#limits);
    const gateway = await Gateway.start({
      config: {
        ...more,
        redis: { url: this.redis.url },
        pacing: { whenRedisIsDown: 'hold', ...(pacing as object | undefined) },
        calls: { queueTimeoutSeconds: 600, maxQueued: 20_000, endedKept: 20_000, ...(calls as object) },
        sipCredentials: [
          ...keys.map(([key, cpsLimit]) => ({
            id: key,
            server: `127.0.0.1:${this.recorder.providerPort}`,
            cpsLimit,
          })),
          ...sipCredentials,
        ],
        phoneNumbers: [
          ...keys.map(([key], i) => ({ id: key, phoneNumber: `+1415555010${i}`, credentialsId: key })),
          ...phoneNumbers,
        ],
        agents: [
          ...keys.flatMap(([key]) => [
            {
              id: `api-${key}`,
              endpoints: [{ uri: `sip:agent@127.0.0.1:${this.recorder.agentPort}` }],
              outboundNumberId: key,
            },
            {
              id: `sip-${key}`,
              endpoints: [{ uri: `sip:sales@127.0.0.1:${this.#agentPorts.get(key)}` }],
              outboundNumberId: key,
            },
          ]),
          ...agents,
        ],
      },
    });
    this.nodes.push(gateway);
    return gateway;
  }

  /** Orders a call by API. Throws when it is not accepted. */
  async place(
    node: Gateway,
    key: string,
    { priority = 5, queueTimeoutSeconds }: { priority?: number; queueTimeoutSeconds?: number } = {},
  ): Promise<PlacedCall> {
    const order = ++this.#orders;
    const callee = `+1${this.#area(key)}0${String(order).padStart(6, '0')}`;
    const answer = await this.#ask(node, 'POST', '/calls', {
      body: { agentId: `api-${key}`, to: callee, priority, queueTimeoutSeconds },
      headers: { 'idempotency-key': `order-${order}` },
    });
    const { id, estimatedStartAt } = answer as { id: string; estimatedStartAt: string | null };
    const call: PlacedCall = {
      id,
      key,
      callee,
      node,
      priority,
      placedAt: Date.now(),
      estimatedStartAt: estimatedStartAt === null ? null : Date.parse(estimatedStartAt),
    };
    this.placed.push(call);
    return call;
  }

  /** Cancels a call or hangs it up; false when it is over already. */
  async cancel({ id, node }: PlacedCall): Promise<boolean> {
    const response = await fetch(`http://127.0.0.1:${node.httpPort}/api/v1/calls/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${API_TOKEN}` },
    });
    await response.arrayBuffer();
    if (response.status === 204 || response.status === 202) return true;
    if (response.status === 404 || response.status === 409) return false;
    throw new Error(`DELETE of a call: ${response.status}`);
  }

  /** Calls of a SIP agent. Gives the SIPp that makes them, and how the numbers that it calls begin. */
  async agentCalls(
    node: Gateway,
    key: string,
    { calls, rate }: { readonly calls: number; readonly rate: number },
  ): Promise<{ readonly sipp: Sipp; readonly prefix: string }> {
    const prefix = `+1${this.#area(key)}9${String(++this.#runs).padStart(3, '0')}`;
    const sipp = await Sipp.start({
      scenario: 'agent/waits-busy',
      to: node.port,
      port: this.#agentPorts.get(key),
      calls,
      rate,
      limit: calls,
      service: prefix,
      timeoutSeconds: 300,
    });
    this.#sipps.push(sipp);
    return { sipp, prefix };
  }

  /** INVITEs that have left for the provider, of one key. */
  sent(key: string): SentInvite[] {
    const start = `+1${this.#area(key)}`;
    return this.recorder.invites.filter(({ callee }) => callee.startsWith(start));
  }

  /** What became of a placed call at the provider; more than one is a call dialled twice. */
  sentOf({ callee }: PlacedCall): SentInvite[] {
    return this.recorder.invites.filter((invite) => invite.callee === callee);
  }

  async line(key: string, node = this.nodes[0]!): Promise<ShownLine> {
    return (await this.#ask(node, 'GET', `/cps-keys/${key}`)) as ShownLine;
  }

  /** Calls that a node has in progress. */
  async callsOf(node: Gateway): Promise<{ readonly id: string; readonly state: string }[]> {
    const items: { id: string; state: string }[] = [];
    let cursor = '';
    do {
      const page = (await this.#ask(node, 'GET', `/calls?limit=200${cursor}`)) as {
        items: { id: string; state: string }[];
        nextCursor: string | null;
      };
      items.push(...page.items);
      cursor = page.nextCursor === null ? '' : `&cursor=${encodeURIComponent(page.nextCursor)}`;
    } while (cursor !== '');
    return items;
  }

  /** Writes another limit of a key into the file of a node, which reads it again. */
  relimit(node: Gateway, key: string, cpsLimit: number): void {
    const config = parse(readFileSync(node.configPath, 'utf8')) as {
      sipCredentials: { id: string; cpsLimit: number }[];
    };
    for (const trunk of config.sipCredentials) if (trunk.id === key) trunk.cpsLimit = cpsLimit;
    writeFileSync(node.configPath, stringify(config, { aliasDuplicateObjects: false }));
    node.program.child.kill('SIGHUP');
  }

  metrics(): Promise<Metrics[]> {
    return Promise.all(this.nodes.map((node) => node.metrics()));
  }

  /** As a power failure ends it. */
  async kill(node: Gateway): Promise<void> {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    await node.program.stop('SIGKILL');
  }

  async stop(): Promise<void> {
    await Promise.all([
      ...this.#sipps.map((sipp) => sipp.stop()),
      ...this.nodes.map((node) => node.stop('SIGKILL')),
      this.recorder.stop(),
    ]);
    await this.redis.kill();
  }

  #area(key: string): number {
    const index = Object.keys(this.#limits).indexOf(key);
    if (index < 0) throw new Error(`there is no key ${key}`);
    return 201 + index;
  }

  async #ask(
    node: Gateway,
    method: string,
    path: string,
    { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${node.httpPort}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${API_TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}
