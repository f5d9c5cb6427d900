/**
 * The connection to Redis, which everything in this room shares. It connects by itself, again and again, and never
 * queues: a command while there is no connection fails at once, and one without an answer fails soon. Whoever gives a
 * command must bear that it fails and is carried out all the same, later: a Redis that stood still reads on.
 */
import { createHash } from 'node:crypto';
import { Redis, ReplyError } from 'ioredis';
import type { Logger } from '#lib/logger.js';

export interface RedisClientOptions {
  /** redis://[user[:password]@]host[:port][/db], or rediss:// for TLS. */
  readonly url: string;
  readonly log: Logger;
  /** Milliseconds to wait for an answer; default 1000. */
  readonly commandTimeoutMs?: number | undefined;
}

/** Why a command failed: no connection; no answer, so it may have been carried out or be later; refused by Redis. */
export type RedisFaultKind = 'down' | 'timeout' | 'refused';

/** The only error that a command fails with. */
export class RedisFault extends Error {
  readonly kind: RedisFaultKind;

  constructor(kind: RedisFaultKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'RedisFault';
    this.kind = kind;
  }
}

/** A Lua script; sent whole once per Redis, by its digest after that. */
export class RedisScript {
  readonly source: string;
  /** SHA-1 as EVALSHA wants it. */
  readonly digest: string;

  constructor(source: string) {
    this.source = source;
    this.digest = createHash('sha1').update(source).digest('hex');
  }
}

export interface RedisHealth {
  readonly ok: boolean;
  /** For people; without user and password. */
  readonly detail: string;
}

const COMMAND_TIMEOUT_MS = 1_000;
/** Without any byte from Redis for so long while an answer is due, the connection is given up. */
const SILENCE_MS = 2_500;
const CONNECT_TIMEOUT_MS = 1_500;
/** Short and without growth: what waits for Redis has waited long enough. */
const RECONNECT_MS = 250;

export class RedisClient {
  /** Host and port, for messages. */
  readonly address: string;
  readonly #redis: Redis;
  readonly #url: string;
  readonly #log: Logger;
  readonly #listeners = new Set<(up: boolean) => void>();
  readonly #channels = new Map<string, (message: string) => void>();
  #subscriber: Redis | undefined;
  #up = false;
  #remoteAddress: string | undefined;
  #lastFault: string | undefined;
  #closed = false;

  /** Opens nothing yet. */
  constructor({ url, log, commandTimeoutMs = COMMAND_TIMEOUT_MS }: RedisClientOptions) {
    this.#url = url;
    this.#log = log;
    this.address = new URL(url).host;
    this.#redis = this.#open(commandTimeoutMs);
    this.#redis.on('ready', () => {
      this.#remoteAddress = this.#redis.stream.remoteAddress ?? this.#remoteAddress;
      this.#turned(true);
    });
    this.#redis.on('close', () => this.#turned(false));
  }

  /** Begins to connect. Resolves when the first attempt has succeeded or failed; never rejects. */
  async start(): Promise<void> {
    await this.#redis.connect().catch((error: unknown) => this.#note(error));
  }

  /** The connection itself, for a library that brings commands of its own. It must not close it. */
  get connection(): Redis {
    return this.#redis;
  }

  /** The IP address behind the name, as last connected to; undefined before that. */
  get remoteAddress(): string | undefined {
    return this.#remoteAddress;
  }

  /** Connected, and Redis takes commands. */
  get up(): boolean {
    return this.#up;
  }

  health(): RedisHealth {
    if (this.#up) return { ok: true, detail: `connected to ${this.address}` };
    return {
      ok: false,
      detail: `no connection to ${this.address}${this.#lastFault ? `: ${this.#lastFault}` : ''}`,
    };
  }

  /** Hears of every change of `up`. Gives a function that ends it. */
  onTurn(listener: (up: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Any command by its name. Rejects with RedisFault.
   * @returns the answer as ioredis gives it: text, number, null, or arrays of them
   */
  async command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    if (!this.#up) throw this.#downFault();
    try {
      return await this.#redis.call(name, args as (string | number)[]);
    } catch (error) {
      throw asFault(error);
    }
  }

  /** Commands that happen together or not at all (MULTI). Gives the answer of each. Rejects with RedisFault. */
  async transaction(
    commands: readonly (readonly [name: string, ...args: (string | number)[]])[],
  ): Promise<unknown[]> {
    if (!this.#up) throw this.#downFault();
    const multi = this.#redis.multi();
    for (const [name, ...args] of commands) multi.call(name, args);
    try {
      const answers = await multi.exec();
      if (answers === null) throw new RedisFault('refused', 'the transaction was given up');
      return answers.map(([error, answer]) => {
        if (error !== null) throw error;
        return answer;
      });
    } catch (error) {
      throw asFault(error);
    }
  }

  /** Runs a script. A Redis that does not know it (restarted, replaced) is given it. Rejects with RedisFault. */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    if (!this.#up) throw this.#downFault();
    const rest = [...keys, ...args];
    try {
      return await this.#redis.evalsha(script.digest, keys.length, ...rest);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw asFault(error);
    }
    try {
      return await this.#redis.eval(script.source, keys.length, ...rest);
    } catch (error) {
      throw asFault(error);
    }
  }

  /**
   * Hears what is published on a channel, over a second connection that is opened for the first one and comes back by
   * itself. What is published while it is away is lost.
   */
  subscribe(channel: string, listener: (message: string) => void): void {
    this.#channels.set(channel, listener);
    if (this.#subscriber === undefined) {
      const subscriber = this.#open(undefined);
      this.#subscriber = subscriber;
      subscriber.on('message', (name: string, message: string) => this.#channels.get(name)?.(message));
      subscriber.on('ready', () => {
        const names = [...this.#channels.keys()];
        if (names.length > 0) subscriber.subscribe(...names).catch((error: unknown) => this.#note(error));
      });
      subscriber.connect().catch((error: unknown) => this.#note(error));
    } else if (this.#subscriber.status === 'ready') {
      this.#subscriber.subscribe(channel).catch((error: unknown) => this.#note(error));
    }
  }

  /** Closes the connections; commands under way fail. */
  close(): void {
    this.#closed = true;
    this.#redis.disconnect();
    this.#subscriber?.disconnect();
  }

  #open(commandTimeout: number | undefined): Redis {
    const redis = new Redis(this.#url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => RECONNECT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      // Subscribers hear nothing for hours.
      socketTimeout: commandTimeout === undefined ? undefined : Math.max(SILENCE_MS, commandTimeout),
      commandTimeout,
      disableClientInfo: true,
    });
    // ioredis reports failed attempts here; without a listener it would write them to the console.
    redis.on('error', (error: unknown) => this.#note(error));
    return redis;
  }

  #turned(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    if (up) {
      this.#lastFault = undefined;
      this.#log.info({ redis: this.address }, 'connected to Redis');
    } else if (!this.#closed) {
      this.#log.warn({ redis: this.address, fault: this.#lastFault }, 'the connection to Redis is lost');
    }
    for (const listener of this.#listeners) listener(up);
  }

  #note(error: unknown): void {
    const fault = wordsOf(error);
    // The library ends whatever waits for a connection with these words, after it has said what is wrong with it.
    if (fault === CLOSED && this.#lastFault !== undefined) return;
    const news = !this.#up && fault !== this.#lastFault;
    this.#lastFault = fault;
    // Every attempt ends here, several a second; people hear of what they do not know yet.
    const told = { redis: this.address, fault };
    if (news && !this.#closed) this.#log.warn(told, 'Redis cannot be reached');
    else this.#log.debug(told, 'Redis cannot be reached');
  }

  #downFault(): RedisFault {
    return new RedisFault('down', this.health().detail);
  }
}

const CLOSED = 'Connection is closed.';

/** An error about all addresses of a name has no message, only a code. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message !== '' ? error.message : String((error as NodeJS.ErrnoException).code ?? error.name);
}

function asFault(error: unknown): RedisFault {
  if (error instanceof RedisFault) return error;
  const message = wordsOf(error);
  if (error instanceof ReplyError) return new RedisFault('refused', message, error);
  if (message === 'Command timed out') return new RedisFault('timeout', message, error);
  return new RedisFault('down', message, error);
}
