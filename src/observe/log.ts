/**
 * The log: pino, as JSON lines, or as text for people where standard output is a terminal. What must never be read
 * in a log stands in one list, `REDACTED`.
 */
import pino from 'pino';
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import { LineFile } from './line-file.js';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Field names whose values are masked, at the top of a log line's fields and one level below. */
const REDACTED_FIELDS = [
  'authPassword',
  'authToken',
  'authorization',
  'proxyAuthorization',
  'password',
  'clientKey',
  'secret',
  'token',
  'apiToken',
];

/** The declared list of what is masked, as pino's paths. */
export const REDACTED: readonly string[] = REDACTED_FIELDS.flatMap((name) => [name, `*.${name}`]);

export interface LogOptions {
  readonly level: LogLevel;
  /** `text`: for people; `json`: for machines. */
  readonly format: 'json' | 'text';
  readonly clock: Clock;
  /** Where to, default standard output. */
  readonly to?: string | number | undefined;
}

export interface Log {
  readonly logger: Logger;
  /** Takes effect at once, also for loggers that were handed out. */
  setLevel(level: LogLevel): void;
  /** Writes what is gathered and waits for it; for the last words of a dying process. */
  flushSync(): void;
  close(): Promise<void>;
}

export function createLog(options: LogOptions): Log {
  const lines = new LineFile({ to: options.to ?? 1, clock: options.clock, maxBuffered: 16 * 1024 * 1024 });
  const stream = options.format === 'json' ? lines : { write: (line: string) => lines.write(asText(line)) };
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date(options.clock.wallNow()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...REDACTED], censor: '[redacted]' },
    },
    stream,
  );
  return {
    logger,
    setLevel: (level) => {
      logger.level = level;
    },
    flushSync: () => lines.flushSync(),
    close: () => lines.close(),
  };
}

/** Controls and line ends as escapes, so that one message cannot pose as two. */
function oneLine(text: string): string {
  return JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
}

/** `12:00:00.123 info  message  key=value`, from pino's JSON. */
function asText(line: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  let text = `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${oneLine(String(msg))}`;
  for (const [name, value] of Object.entries(fields)) {
    text += `  ${name}=${typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`;
  }
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? `\n${String(err.stack)}` : '';
  return `${text}${stack}\n`;
}
