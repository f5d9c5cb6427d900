/**
 * Which drachtio-server the tests may use. It is no package of npm or Debian, so they take what the environment offers:
 *
 * - TRUNKLINE_DRACHTIO_BINARY: path of the program. Every test starts its own, on free ports.
 * - TRUNKLINE_DRACHTIO_HOST, with _PORT (9022) and _SECRET (cymru, the server's own default): one that runs already, for
 *   TRUNKLINE_ENGINE=drachtio only. It must listen on 127.0.0.1, UDP and TCP, on one port. Tests go one at a time, and
 *   those that need a server of their own are reported as not run.
 *
 * The search is made once for the whole run, by the configuration of vitest, and handed on in the environment.
 */
import { accessSync, constants } from 'node:fs';
import { createConnection } from 'node:net';

export type FoundServer =
  | { readonly kind: 'own'; readonly binary: string }
  | {
      readonly kind: 'running';
      readonly host: string;
      readonly port: number;
      readonly secret: string;
      /** Of UDP and TCP on 127.0.0.1. */
      readonly sipPort: number;
    }
  | { readonly kind: 'none'; readonly reason: string };

/** Where the worker processes find the result. */
const VARIABLE = 'TRUNKLINE_TEST_DRACHTIO';
const DEFAULT_PORT = 9022;
const DEFAULT_SECRET = 'cymru';
const ANSWER_MS = 5_000;

export async function findServer(env: NodeJS.ProcessEnv): Promise<FoundServer> {
  const found = await search(env);
  env[VARIABLE] = JSON.stringify(found);
  return found;
}

/** What `findServer` found. */
export function foundServer(): FoundServer {
  const text = process.env[VARIABLE];
  return text === undefined
    ? { kind: 'none', reason: 'nobody has looked' }
    : (JSON.parse(text) as FoundServer);
}

async function search(env: NodeJS.ProcessEnv): Promise<FoundServer> {
  const binary = env.TRUNKLINE_DRACHTIO_BINARY;
  if (binary) {
    try {
      accessSync(binary, constants.X_OK);
      return { kind: 'own', binary };
    } catch {
      return { kind: 'none', reason: `${binary} (TRUNKLINE_DRACHTIO_BINARY) is no program` };
    }
  }
  const host = env.TRUNKLINE_DRACHTIO_HOST;
  if (!host) {
    return {
      kind: 'none',
      reason: 'neither TRUNKLINE_DRACHTIO_BINARY nor TRUNKLINE_DRACHTIO_HOST names a drachtio-server',
    };
  }
  if (env.TRUNKLINE_ENGINE !== 'drachtio') {
    return {
      kind: 'none',
      reason: 'a server that runs already is used with TRUNKLINE_ENGINE=drachtio only, one test at a time',
    };
  }
  const port = Number(env.TRUNKLINE_DRACHTIO_PORT || DEFAULT_PORT);
  const secret = env.TRUNKLINE_DRACHTIO_SECRET || DEFAULT_SECRET;
  const answer = await ask(host, port, secret);
  if ('reason' in answer) {
    return { kind: 'none', reason: `no drachtio-server at ${host}:${port}: ${answer.reason}` };
  }
  const { listeners } = answer;
  const sipPort = listeners
    .map((listener) => /^udp\/127\.0\.0\.1:(\d+)$/.exec(listener)?.[1])
    .find((udp) => udp !== undefined && listeners.includes(`tcp/127.0.0.1:${udp}`));
  if (sipPort === undefined) {
    return {
      kind: 'none',
      reason: `the drachtio-server at ${host}:${port} does not listen on 127.0.0.1 on UDP and TCP, but on ${listeners.join(' ')}`,
    };
  }
  return { kind: 'running', host, port, secret, sipPort: Number(sipPort) };
}

/** The server's listeners, `udp/127.0.0.1:5060`, which it tells who authenticates. */
function ask(
  host: string,
  port: number,
  secret: string,
): Promise<{ readonly listeners: readonly string[] } | { readonly reason: string }> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const settle = (answer: Awaited<ReturnType<typeof ask>>): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => settle({ reason: `no answer in ${ANSWER_MS} ms` }), ANSWER_MS);
    const request = `look|authenticate|${secret}|`;
    let heard = '';
    socket.setEncoding('utf8');
    socket.once('connect', () => socket.write(`${Buffer.byteLength(request)}#${request}`));
    socket.once('error', (error) => settle({ reason: error.message }));
    socket.once('close', () => settle({ reason: 'it closes the connection' }));
    socket.on('data', (text: string) => {
      heard += text;
      // `length#uuid|response|look|OK|advertised|version|bound`
      const [length = '', frame = ''] = heard.split(/#(.*)/s);
      if (frame === '' || Buffer.byteLength(frame) < Number(length)) return;
      const [, , , verdict, advertised = '', , bound = advertised] = frame.split('|');
      settle(verdict === 'OK' ? { listeners: bound.split(',') } : { reason: 'it refuses the secret' });
    });
  });
}
