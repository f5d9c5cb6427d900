/** A redis-server of a test's own: on a free port, with its own folder, ended with the test worker at the latest. */
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './ports.js';
import { Program, temporaryFolder } from './processes.js';

export interface RedisServerOptions {
  /** The clock of this Redis can be moved with `shiftClock` (libfaketime). */
  readonly movableClock?: boolean;
}

/**
 * Debian's package `faketime` leaves its library here, whatever the machine's architecture is called. With libc before
 * the jemalloc that redis-server is linked to: the two libraries would wait for each other's start.
 */
const FAKETIME = '/usr/$LIB/faketime/libfaketime.so.1:libc.so.6';

export class RedisServer {
  readonly port: number;
  readonly url: string;
  readonly #folder = temporaryFolder('redis');
  readonly #movableClock: boolean;
  #program: Program | undefined;

  private constructor(port: number, { movableClock = false }: RedisServerOptions) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#movableClock = movableClock;
  }

  /** Resolves when it answers. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options);
    await server.#run();
    return server;
  }

  /** Ends it in order. What it held is on disk. */
  async stop(): Promise<void> {
    await this.#program?.stop();
    this.#program = undefined;
  }

  /** Ends it as a power failure would. What it had acknowledged is on disk. */
  async kill(): Promise<void> {
    await this.#program?.stop('SIGKILL');
    this.#program = undefined;
  }

  /** It stands still: connections stay, nothing answers. */
  pause(): void {
    this.#live.child.kill('SIGSTOP');
  }

  resume(): void {
    this.#live.child.kill('SIGCONT');
  }

  /** Starts it again on the same port after `stop` or `kill`, with what it held or empty. */
  async restart(data: 'kept' | 'empty'): Promise<void> {
    if (this.#program !== undefined) throw new Error('this Redis is still running');
    if (data === 'empty') rmSync(join(this.#folder, 'appendonlydir'), { recursive: true, force: true });
    await this.#run();
  }

  /** Moves its wall clock by so many seconds from the machine's, in both directions. Needs `movableClock`. */
  shiftClock(seconds: number): void {
    if (!this.#movableClock) throw new Error('start this Redis with movableClock');
    writeFileSync(this.#clockFile, `${seconds >= 0 ? '+' : ''}${seconds}`);
  }

  /** Runs one command over a connection of its own; gives the answer as text, of an array its elements. */
  command(...args: readonly string[]): Promise<string | string[]> {
    return redisCommand(this.port, args);
  }

  /** How often each command was carried out since the start or `CONFIG RESETSTAT`. Those inside scripts count too. */
  async commandCounts(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for (const [, name, calls] of String(await this.command('INFO', 'commandstats')).matchAll(
      /^cmdstat_(\S+?):calls=(\d+)/gm,
    )) {
      counts.set(name!, Number(calls));
    }
    return counts;
  }

  get pid(): number {
    return this.#live.pid;
  }

  get #live(): Program {
    if (this.#program === undefined) throw new Error('this Redis is not running');
    return this.#program;
  }

  get #clockFile(): string {
    return join(this.#folder, 'clock');
  }

  async #run(): Promise<void> {
    if (this.#movableClock) writeFileSync(this.#clockFile, '+0');
    const program = new Program(
      'redis-server',
      'redis-server',
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', ''],
        ...['--appendonly', 'yes', '--appendfsync', 'no', '--daemonize', 'no'],
      ],
      {
        cwd: this.#folder,
        env: this.#movableClock
          ? {
              ...process.env,
              LD_PRELOAD: FAKETIME,
              FAKETIME_TIMESTAMP_FILE: this.#clockFile,
              FAKETIME_NO_CACHE: '1',
              FAKETIME_DONT_FAKE_MONOTONIC: '1',
            }
          : process.env,
      },
    );
    this.#program = program;
    await program.until('it answers', async () => {
      try {
        return (await this.command('PING')) === 'PONG';
      } catch {
        // Not listening yet.
        return false;
      }
    });
  }
}

/** One command to a Redis, over a connection that is closed after it. Rejects with what Redis refused it for. */
function redisCommand(port: number, args: readonly string[]): Promise<string | string[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(5_000, () => socket.destroy(new Error(`Redis did not answer ${args[0]}`)));
    socket.once('error', reject);
    socket.on('data', (chunk: string) => {
      text += chunk;
      const reply = readReply(text, 0);
      if (reply === undefined) return;
      socket.destroy();
      if (reply.value instanceof Error) reject(reply.value);
      else resolve(reply.value);
    });
    socket.write(
      `*${args.length}\r\n${args.map((each) => `$${Buffer.byteLength(each)}\r\n${each}\r\n`).join('')}`,
    );
  });
}

/** Reads one RESP2 reply of ASCII text; undefined while it is incomplete. */
function readReply(
  text: string,
  from: number,
): { readonly value: string | string[] | Error; readonly end: number } | undefined {
  const lineEnd = text.indexOf('\r\n', from);
  if (lineEnd < 0) return undefined;
  const kind = text[from];
  const line = text.slice(from + 1, lineEnd);
  const next = lineEnd + 2;
  if (kind === '-') return { value: new Error(line), end: next };
  if (kind === '$') {
    const length = Number(line);
    if (length < 0) return { value: '', end: next };
    if (text.length < next + length + 2) return undefined;
    return { value: text.slice(next, next + length), end: next + length + 2 };
  }
  if (kind !== '*') return { value: line, end: next };
  const items: string[] = [];
  let at = next;
  for (let left = Number(line); left > 0; left--) {
    const item = readReply(text, at);
    if (item === undefined) return undefined;
    items.push(String(item.value));
    at = item.end;
  }
  return { value: items, end: at };
}
