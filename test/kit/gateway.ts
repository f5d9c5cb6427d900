/** The real gateway as a process: `node dist/main.js --config FILE`, as `npm start` runs it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { inject } from 'vitest';
import { stringify } from 'yaml';
import type { CallRecord } from '#call/observer.js';
import { type DrachtioServer, engineUnderTest } from './drachtio.js';
import { freePorts } from './ports.js';
import { type Exit, openDescriptors, Program, ROOT, temporaryFolder, until } from './processes.js';

export const API_TOKEN = 'test-token';

/** Sections of the config file that a test adds or replaces. */
export interface GatewayConfig {
  readonly sip?: Readonly<Record<string, unknown>> | undefined;
  readonly http?: Readonly<Record<string, unknown>> | undefined;
  readonly sipCredentials?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly phoneNumbers?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly agents?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly [section: string]: unknown;
}

export interface GatewayOptions {
  readonly config?: GatewayConfig | undefined;
  /** With these files there is a TLS listener too. */
  readonly tls?:
    | { readonly certFile: string; readonly keyFile: string; readonly caFile?: string }
    | undefined;
  /** Allows `probe`. */
  readonly probe?: boolean | undefined;
  readonly nodeArguments?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** What `test/kit/probe.mjs` answers, and what /proc says. */
export interface Probe {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly descriptors: number;
  /** Active resources of the event loop by kind, `{UDPWrap: 1, Timeout: 2}`. */
  readonly resources: Readonly<Record<string, number>>;
}

/** A start takes a second of CPU, and a busy machine may take long to give it. Less than hooks have. */
const READY_MS = 45_000;

/** Samples of one scrape by name and labels as written: `trunkline_calls_total{outcome="answered",code="normal"}`. */
export type Metrics = ReadonlyMap<string, number>;

export class Gateway {
  readonly program: Program;
  /** UDP and TCP. */
  readonly port: number;
  readonly tlsPort: number;
  readonly httpPort: number;
  readonly configPath: string;
  readonly #cdrPath: string;
  /** The server behind the gateway when TRUNKLINE_ENGINE=drachtio. */
  drachtio: DrachtioServer | undefined;

  private constructor(
    program: Program,
    ports: { sip: number; tls: number; http: number },
    configPath: string,
    cdrPath: string,
  ) {
    this.program = program;
    this.port = ports.sip;
    this.tlsPort = ports.tls;
    this.httpPort = ports.http;
    this.configPath = configPath;
    this.#cdrPath = cdrPath;
  }

  /** Resolves once it is ready for calls. */
  static async start(options: GatewayOptions = {}): Promise<Gateway> {
    const fault = inject('buildFault');
    if (fault) throw new Error(fault);
    const [sip = 0, tls = 0, http = 0] = await freePorts(3);
    const folder = temporaryFolder('gateway');
    const cdrPath = join(folder, 'calls.jsonl');
    const host = '127.0.0.1';
    const given = options.config ?? {};
    const config = {
      cdr: { path: cdrPath },
      ...given,
      sip: {
        listen: [
          { transport: 'udp', host, port: sip },
          { transport: 'tcp', host, port: sip },
          ...(options.tls ? [{ transport: 'tls', host, port: tls, ...options.tls }] : []),
        ],
        ...given.sip,
      },
      // Tests look as often as they can.
      http: { host, port: http, requestsPerSecond: 10_000, ...given.http },
    };
    const engine = await engineUnderTest(config.sip);
    Object.assign(config.sip, engine?.sip);
    const configPath = join(folder, 'trunkline.yaml');
    // Two places with the same value are no reason for an anchor.
    writeFileSync(configPath, stringify(config, { aliasDuplicateObjects: false }));
    const program = new Program(
      'gateway',
      process.execPath,
      [
        ...startFlags(),
        ...(options.probe ? ['--expose-gc', '--import', join(ROOT, 'test/kit/probe.mjs')] : []),
        ...(options.nodeArguments ?? []),
        join(ROOT, 'dist/main.js'),
        '--config',
        configPath,
      ],
      {
        cwd: folder,
        ipc: options.probe === true,
        env: { ...process.env, TRUNKLINE_API_TOKEN: API_TOKEN, ...options.env },
      },
    );
    const sipPort = engine?.server.sipPort ?? sip;
    const gateway = new Gateway(program, { sip: sipPort, tls, http }, configPath, cdrPath);
    gateway.drachtio = engine?.server;
    try {
      await program.until(
        'it is ready',
        async () => (await gateway.#look('/readyz').catch(() => null))?.ok === true,
        READY_MS,
      );
    } catch (error) {
      await gateway.stop('SIGKILL');
      throw error;
    }
    return gateway;
  }

  get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.httpPort}${path}`, {
      headers: { authorization: `Bearer ${API_TOKEN}` },
    });
  }

  /** As `get`, over a connection that is closed afterwards: looking at the gateway leaves nothing behind in it. */
  #look(path: string): Promise<{ readonly ok: boolean; readonly status: number; readonly body: string }> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${API_TOKEN}` };
      get({ host: '127.0.0.1', port: this.httpPort, path, headers, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.once('close', () => {
          const status = response.statusCode ?? 0;
          resolve({ ok: status >= 200 && status < 300, status, body });
        });
      }).once('error', reject);
    });
  }

  /** Call records written so far, in order of their end. */
  records(): CallRecord[] {
    let text: string;
    try {
      text = readFileSync(this.#cdrPath, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    // A last line without its end is still being written.
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as CallRecord);
  }

  /** Waits until at least `count` records fulfil the condition, and returns those. */
  async waitForRecords(
    count: number,
    condition: (record: CallRecord) => boolean = () => true,
    timeoutMs = 15_000,
  ): Promise<CallRecord[]> {
    let found: CallRecord[] = [];
    await until(
      () => `${count} call records, there are ${found.length}. ${this.program.tail}`,
      () => {
        found = this.records().filter(condition);
        return found.length >= count;
      },
      timeoutMs,
    );
    return found;
  }

  async metrics(): Promise<Metrics> {
    const samples = new Map<string, number>();
    for (const line of (await this.#look('/metrics')).body.split('\n')) {
      const at = line.lastIndexOf(' ');
      if (at > 0 && !line.startsWith('#')) samples.set(line.slice(0, at), Number(line.slice(at + 1)));
    }
    return samples;
  }

  /** What the engine and the calls hold now; all zero in an idle gateway without connections. */
  async held(): Promise<{
    calls: number;
    transactions: number;
    dialogs: number;
    connections: number;
    timers: number;
  }> {
    const metrics = await this.metrics();
    const value = (name: string): number => {
      const found = metrics.get(`trunkline_${name}`);
      if (found === undefined) throw new Error(`/metrics has no trunkline_${name}`);
      return found;
    };
    return {
      calls: value('calls_in_progress'),
      transactions: value('engine_transactions'),
      dialogs: value('engine_dialogs'),
      connections: value('engine_connections'),
      timers: value('engine_timers'),
    };
  }

  /** Waits until no call, transaction, dialog or timer is left. Fails after `timeoutMs` with what is. */
  async idle(timeoutMs = 40_000): Promise<void> {
    let held: Awaited<ReturnType<Gateway['held']>> | undefined;
    await until(
      () => `nothing is left in the gateway, but it holds ${JSON.stringify(held)}`,
      async () => {
        held = await this.held();
        return held.calls + held.transactions + held.dialogs + held.timers === 0;
      },
      timeoutMs,
    );
  }

  /** Memory after a full collection, descriptors, and what keeps the event loop busy. */
  async probe(): Promise<Probe> {
    const { child, pid } = this.program;
    const answer = new Promise<{ memory: NodeJS.MemoryUsage; resources: Record<string, number> }>(
      (resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('The gateway does not answer the probe.')), 30_000);
        child.once('message', (message) => {
          clearTimeout(timer);
          resolve(message as { memory: NodeJS.MemoryUsage; resources: Record<string, number> });
        });
      },
    );
    child.send('probe');
    const { memory, resources } = await answer;
    return {
      rss: memory.rss,
      heapUsed: memory.heapUsed,
      external: memory.external,
      descriptors: openDescriptors(pid),
      resources,
    };
  }

  /** Log lines that are JSON, parsed. */
  log(): Record<string, unknown>[] {
    return this.program.stdout
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Exit> {
    const exit = await this.program.stop(signal, graceMs);
    await this.drachtio?.stop();
    return exit;
  }
}

/** What `npm start` passes to node before the program. */
function startFlags(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: { start: string };
  };
  return scripts.start.split(' ').filter((word) => word.startsWith('--'));
}
