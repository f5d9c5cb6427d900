/**
 * A gateway whose trunks register: each line is a trunk with one number, the account that it registers, and where the
 * registrar is. The number leads to an agent of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import type { RegistrationAttempt, RegistrationView } from '#registration/registration-view.js';
import { API_TOKEN, Gateway, type GatewayOptions } from './gateway.js';
import { freePort } from './ports.js';
import { until } from './processes.js';

export interface AccountOptions {
  /** Of the registrar. */
  readonly port: number;
  /** Of the registrar. Default 127.0.0.1. */
  readonly host?: string | undefined;
  readonly transport?: 'udp' | 'tcp' | 'tls' | undefined;
  /** Default the line's name. */
  readonly user?: string | undefined;
  /** Default `secret`. */
  readonly password?: string | undefined;
  /** Default `registrar.test`. */
  readonly domain?: string | undefined;
  /** More fields of the trunk. */
  readonly trunk?: Readonly<Record<string, unknown>> | undefined;
}

export interface Account {
  readonly number: string;
  /** Where its agent is called. */
  readonly agentPort: number;
}

export interface EditableConfig {
  sipCredentials: Record<string, unknown>[];
  phoneNumbers: Record<string, unknown>[];
  agents: Record<string, unknown>[];
}

export class Registrations<Name extends string> {
  readonly gateway: Gateway;
  readonly accounts: Readonly<Record<Name, Account>>;

  private constructor(gateway: Gateway, accounts: Readonly<Record<Name, Account>>) {
    this.gateway = gateway;
    this.accounts = accounts;
  }

  static async open<Name extends string>(
    lines: Readonly<Record<Name, AccountOptions>>,
    options: GatewayOptions = {},
  ): Promise<Registrations<Name>> {
    const accounts = {} as Record<Name, Account>;
    const sipCredentials: Record<string, unknown>[] = [];
    const phoneNumbers: Record<string, unknown>[] = [];
    const agents: Record<string, unknown>[] = [];
    let next = 14155550200;
    for (const [name, line] of Object.entries(lines) as [Name, AccountOptions][]) {
      const account: Account = { number: `+${next++}`, agentPort: await freePort() };
      accounts[name] = account;
      sipCredentials.push({
        id: name,
        server: `${line.host ?? '127.0.0.1'}:${line.port}`,
        transport: line.transport ?? 'udp',
        authUser: line.user ?? name,
        authPassword: line.password ?? 'secret',
        domain: line.domain ?? 'registrar.test',
        // Calls are known by the registered contact, not by their source.
        allowedAddresses: ['192.0.2.1'],
        ...line.trunk,
      });
      phoneNumbers.push({
        phoneNumber: account.number,
        credentialsId: name,
        inboundAgentId: name,
        registration: true,
      });
      agents.push({
        id: name,
        name,
        endpoints: [{ uri: `sip:agent@127.0.0.1:${account.agentPort}` }],
      });
    }
    const { config } = options;
    const gateway = await Gateway.start({
      ...options,
      config: { sipCredentials, phoneNumbers, ...config, agents: [...agents, ...(config?.agents ?? [])] },
    });
    return new Registrations(gateway, accounts);
  }

  /** Of all accounts. */
  async all(): Promise<RegistrationView[]> {
    const items: RegistrationView[] = [];
    let cursor: string | null = null;
    do {
      const answer = await this.#get(
        `/api/v1/registrations?limit=100${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      const page = (await answer.json()) as { items: RegistrationView[]; nextCursor: string | null };
      items.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return items;
  }

  /** One account with its time line, by line or by the agent whose own it is. */
  async view(name: string): Promise<RegistrationView> {
    const found = (await this.all()).find(({ trunkId, agentId }) => (trunkId ?? agentId) === name);
    if (found === undefined) throw new Error(`The gateway has no registration of ${name}.`);
    const answer = await this.#get(`/api/v1/registrations/${encodeURIComponent(found.id)}`);
    return (await answer.json()) as RegistrationView;
  }

  /** Waits until the account fulfils the condition, and returns it. */
  async until(
    name: string,
    what: string,
    condition: (view: RegistrationView) => boolean,
    timeoutMs = 30_000,
  ): Promise<RegistrationView> {
    let view: RegistrationView | undefined;
    await until(
      () => `${name} ${what}: ${JSON.stringify(view, null, 2)}`,
      async () => {
        view = await this.view(name);
        return condition(view);
      },
      timeoutMs,
    );
    return view as RegistrationView;
  }

  registered(name: string, timeoutMs?: number): Promise<RegistrationView> {
    return this.until(name, 'is registered', ({ state }) => state === 'registered', timeoutMs);
  }

  /** Waits for the end of `count` attempts, and returns the newest. */
  async attempts(name: string, count = 1, timeoutMs?: number): Promise<RegistrationAttempt> {
    const view = await this.until(
      name,
      `has made ${count} attempts`,
      ({ timeline }) => timeline.length >= count,
      timeoutMs,
    );
    return view.timeline.at(-1) as RegistrationAttempt;
  }

  /** Registers now. */
  async refresh(name: string): Promise<void> {
    const { id } = await this.view(name);
    const answer = await fetch(this.#url(`/api/v1/registrations/${encodeURIComponent(id)}/refresh`), {
      method: 'POST',
      headers: { authorization: `Bearer ${API_TOKEN}` },
    });
    if (!answer.ok) throw new Error(`refresh of ${name}: ${answer.status} ${await answer.text()}`);
  }

  /** Changes the file of the configuration, which the gateway then reads again. */
  edit(change: (config: EditableConfig) => void): void {
    const { configPath, program } = this.gateway;
    const config = parse(readFileSync(configPath, 'utf8')) as EditableConfig;
    change(config);
    writeFileSync(configPath, stringify(config, { aliasDuplicateObjects: false }));
    program.child.kill('SIGHUP');
  }

  async close(): Promise<void> {
    await this.gateway.stop('SIGTERM', 40_000);
  }

  #url(path: string): string {
    return `http://127.0.0.1:${this.gateway.httpPort}${path}`;
  }

  async #get(path: string): Promise<Response> {
    const answer = await this.gateway.get(path);
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }
}
