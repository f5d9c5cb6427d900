/**
 * The log: pino, as JSON lines, or as text for people where standard output is a terminal. What must never be read
 * in a log stands in one list, `REDACTED`.
 */
import pino from 'pino';
import type { Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import { LineFile } from './line-file.js';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The list of what is masked: fields of these names, at any depth. */
export const REDACTED: ReadonlySet<string> = new Set([
  'authPassword',
  'authToken',
  'authorization',
  'proxyAuthorization',
  'password',
  'clientKey',
  'secret',
  'token',
  'apiToken',
]);

/** Objects deeper than this are not logged: nobody reads them, and they could be circular. */
const DEPTH_MAX = 5;

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

/** A log that masks what is `REDACTED`, at any depth. */
export function createLog(options: LogOptions): Log {
  const lines = new LineFile({ to: options.to ?? 1, clock: options.clock, maxBuffered: 16 * 1024 * 1024 });
  const stream = options.format === 'json' ? lines : { write: (line: string) => lines.write(asText(line)) };
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date(options.clock.wallNow()).toISOString()}"`,
      // Masked here and not by pino's own paths: with wildcards those cost 15 µs per line, this costs 1.
      formatters: { level: (label) => ({ level: label }), log: (fields) => masked(fields, 0) },
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

/** The same fields, copied only where something in them must be masked. */
function masked(fields: Record<string, unknown>, depth: number): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const name in fields) {
    const value = fields[name];
    let shown = value;
    if (REDACTED.has(name)) shown = '[redacted]';
    else if (typeof value === 'object' && value !== null && !(value instanceof Error)) {
      shown = depth === DEPTH_MAX ? '[deep]' : masked(value as Record<string, unknown>, depth + 1);
    }
    if (shown === value) continue;
    copy ??= Array.isArray(fields) ? ([...fields] as unknown as Record<string, unknown>) : { ...fields };
    copy[name] = shown;
  }
  return copy ?? fields;
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
