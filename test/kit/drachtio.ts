/**
 * drachtio-server for tests. It is no package of npm or Debian, so tests take what the environment offers:
 *
 * - TRUNKLINE_DRACHTIO_BINARY: path of the program; every test starts its own on free ports.
 *
 * Where there is none the tests are reported as not run, never as passed.
 */
import { accessSync, constants, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { freePort } from './ports.js';
import { type Exit, Program, temporaryFolder } from './processes.js';

const HOST = '127.0.0.1';
export const SECRET = 'trunkline-test';

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
  /** `debug` shows every message. Default `notice`. */
  readonly logLevel?: 'notice' | 'info' | 'debug' | undefined;
}

/** Why tests that need a drachtio-server cannot run here; undefined when they can. */
export const missingServer: string | undefined = (() => {
  const binary = process.env.TRUNKLINE_DRACHTIO_BINARY;
  if (!binary) return 'TRUNKLINE_DRACHTIO_BINARY does not name a drachtio-server';
  try {
    accessSync(binary, constants.X_OK);
    return undefined;
  } catch {
    return `${binary} (TRUNKLINE_DRACHTIO_BINARY) is no program`;
  }
})();

export class DrachtioServer {
  readonly adminPort: number;
  readonly program: Program;

  private constructor(program: Program, adminPort: number) {
    this.program = program;
    this.adminPort = adminPort;
  }

  get address(): { readonly host: string; readonly port: number; readonly secret: string } {
    return { host: HOST, port: this.adminPort, secret: SECRET };
  }

  /** Resolves once the admin port takes connections. */
  static async start(options: DrachtioOptions): Promise<DrachtioServer> {
    if (missingServer !== undefined) throw new Error(missingServer);
    const adminPort = options.adminPort ?? (await freePort());
    const configPath = join(temporaryFolder('drachtio'), 'drachtio.conf.xml');
    writeFileSync(configPath, await configuration(options, adminPort));
    const program = new Program('drachtio', process.env.TRUNKLINE_DRACHTIO_BINARY!, ['-f', configPath], {
      env: { ...process.env, NODE_ENV: '' },
    });
    const server = new DrachtioServer(program, adminPort);
    await program.until('its admin port is open', () => isOpen(adminPort));
    return server;
  }

  stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    return this.program.stop(signal);
  }
}

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
  return `<drachtio>
  <admin port="${adminPort}" secret="${SECRET}">${HOST}</admin>
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
 * With TRUNKLINE_ENGINE=drachtio, a server that listens where the gateway under test would, and the part of the
 * gateway's `sip` section that leads to it; else null.
 */
export async function engineUnderTest(sip: {
  /** Set by a test that has a server of its own. */
  readonly engine?: unknown;
  readonly listen: readonly DrachtioListen[];
  readonly timers?: DrachtioOptions['timers'];
}): Promise<{ readonly server: DrachtioServer; readonly sip: Readonly<Record<string, unknown>> } | null> {
  if (process.env.TRUNKLINE_ENGINE !== 'drachtio' || sip.engine === 'drachtio') return null;
  const server = await DrachtioServer.start({ listen: sip.listen, timers: sip.timers });
  return { server, sip: { engine: 'drachtio', drachtio: server.address } };
}
