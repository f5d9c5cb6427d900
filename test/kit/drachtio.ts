/**
 * drachtio-server for tests: one that is started for the test, or the one that runs already (`drachtio-found.ts`). Where
 * there is none the tests are reported as not run, never as passed.
 */
import { writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { type CertificateFiles, dhParameters } from './certificates.js';
import { foundServer } from './drachtio-found.js';
import { freePort } from './ports.js';
import { Program, temporaryFolder } from './processes.js';

const HOST = '127.0.0.1';
const SECRET = 'trunkline-test';

export interface DrachtioListen {
  readonly transport: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface DrachtioOptions {
  readonly listen: readonly DrachtioListen[];
  /** RFC 3261 §17; milliseconds. Timer B and its like are 64·T1. */
  readonly timers?: { readonly t1?: number; readonly t2?: number; readonly t4?: number } | undefined;
  /** Admin port, for a server that takes the place of another one. Default: a free one. */
  readonly adminPort?: number | undefined;
  /** TLS on a second admin port, with this certificate. */
  readonly adminTls?: (CertificateFiles & { readonly port: number }) | undefined;
  /** `debug` shows every message. Default `notice`. */
  readonly logLevel?: 'notice' | 'info' | 'debug' | undefined;
}

const found = foundServer();

/** Why tests that need a drachtio-server cannot run here; undefined when they can. */
export const missingServer: string | undefined = found.kind === 'none' ? found.reason : undefined;

/** The same of tests that need a server of their own: its listeners, its timers, or to kill it. */
export const missingOwnServer: string | undefined =
  found.kind === 'running'
    ? 'needs a drachtio-server of its own (TRUNKLINE_DRACHTIO_BINARY), not the one that runs'
    : missingServer;

/** Whether all tests have the one server that runs already, which serves one gateway at a time. */
export const serverIsShared = process.env.TRUNKLINE_ENGINE === 'drachtio' && found.kind === 'running';

export class DrachtioServer {
  readonly address: { readonly host: string; readonly port: number; readonly secret: string };
  /** Where a server that runs already takes SIP, on UDP and TCP. */
  readonly sipPort: number | undefined;
  /** Of a server of our own. */
  readonly program: Program | undefined;

  private constructor(address: DrachtioServer['address'], program: Program | undefined, sipPort?: number) {
    this.address = address;
    this.program = program;
    this.sipPort = sipPort;
  }

  /** A server of our own. Resolves once the admin port takes connections. */
  static async start(options: DrachtioOptions): Promise<DrachtioServer> {
    if (found.kind !== 'own') throw new Error(missingOwnServer);
    const adminPort = options.adminPort ?? (await freePort());
    const configPath = join(temporaryFolder('drachtio'), 'drachtio.conf.xml');
    writeFileSync(configPath, await configuration(options, adminPort));
    const program = new Program('drachtio', found.binary, ['-f', configPath], {
      env: { ...process.env, NODE_ENV: '' },
    });
    await program.until('its admin port is open', () => isOpen(adminPort));
    return new DrachtioServer({ host: HOST, port: adminPort, secret: SECRET }, program);
  }

  /**
   * A server of our own with these options, or the one that runs, with its own. That one serves one gateway at a time:
   * it shares calls out among all that are connected.
   */
  static async take(options: DrachtioOptions): Promise<DrachtioServer> {
    if (found.kind !== 'running') return DrachtioServer.start(options);
    if (taken) throw new Error(`Two gateways at once: this test ${missingOwnServer}`);
    taken = true;
    const { host, port, secret, sipPort } = found;
    return new DrachtioServer({ host, port, secret }, undefined, sipPort);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.program === undefined) taken = false;
    else await this.program.stop(signal);
  }
}

/** Whether a gateway of this process has the server that runs. */
let taken = false;

async function configuration(options: DrachtioOptions, adminPort: number): Promise<string> {
  const { t1 = 500, t2 = 4_000, t4 = 5_000 } = options.timers ?? {};
  const contacts: string[] = [];
  let tls = '';
  for (const { transport, host, port, certFile, keyFile } of options.listen) {
    const bound = `${host.includes(':') ? `[${host}]` : host}:${port === 0 ? await freePort() : port}`;
    contacts.push(
      `<contact>${transport === 'tls' ? 'sips' : 'sip'}:${bound};transport=${transport}</contact>`,
    );
    if (certFile !== undefined && keyFile !== undefined) {
      tls = `<tls><key-file>${keyFile}</key-file><cert-file>${certFile}</cert-file><chain-file>${certFile}</chain-file></tls>`;
    }
  }
  const { adminTls } = options;
  if (adminTls !== undefined) {
    const { certFile, keyFile } = adminTls;
    tls = `<tls><key-file>${keyFile}</key-file><cert-file>${certFile}</cert-file><dh-param>${dhParameters()}</dh-param></tls>`;
  }
  const tlsPort = adminTls === undefined ? '' : ` tls-port="${adminTls.port}"`;
  return `<drachtio>
  <admin port="${adminPort}"${tlsPort} secret="${SECRET}">${HOST}</admin>
  <sip>
    <contacts>${contacts.join('')}</contacts>
    <timers><t1>${t1}</t1><t2>${t2}</t2><t4>${t4}</t4><t1x64>${64 * t1}</t1x64></timers>
    ${tls}
  </sip>
  <logging><console/><loglevel>${options.logLevel ?? 'notice'}</loglevel></logging>
</drachtio>
`;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: HOST, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/**
 * With TRUNKLINE_ENGINE=drachtio, a server that listens where the gateway under test would (or the one that runs, where
 * it listens), and the part of the gateway's `sip` section that leads to it; else null.
 */
export async function engineUnderTest(sip: {
  /** Set by a test that has a server of its own. */
  readonly engine?: unknown;
  readonly listen: readonly DrachtioListen[];
  readonly timers?: DrachtioOptions['timers'];
}): Promise<{ readonly server: DrachtioServer; readonly sip: Readonly<Record<string, unknown>> } | null> {
  if (process.env.TRUNKLINE_ENGINE !== 'drachtio' || sip.engine === 'drachtio') return null;
  const server = await DrachtioServer.take({ listen: sip.listen, timers: sip.timers });
  const engine = { engine: 'drachtio', drachtio: server.address };
  // The gateway must not count with timers that the server has not.
  return { server, sip: server.sipPort === undefined ? engine : { ...engine, timers: {} } };
}
