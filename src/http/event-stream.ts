/**
 * Server-sent events (WHATWG HTML §9.2) on one connection: numbered so that a client that comes back says where it
 * was, and bounded: a client that does not read is let go, and loses nothing when it comes back in time.
 */
import type { FastifyReply } from 'fastify';
import { CallbackTimer, type Clock } from '#lib/clock.js';

export interface StreamedEvent {
  /** What the client gives back as Last-Event-ID; absent: the client keeps the last one. */
  readonly id?: string | undefined;
  readonly type: string;
  /** Plain data. */
  readonly data: unknown;
}

export interface EventSink {
  send(event: StreamedEvent): void;
  /** Closes the stream; the client comes back by itself. */
  end(): void;
}

/** Begins to send; the answer is called once when the client has gone or been let go. */
export type EventStream = (sink: EventSink) => () => void;

/** A proxy on the way closes what is silent for a minute; half of what the least patient ones wait. */
const BEAT_MS = 15_000;
/** How long a client waits before it comes back. */
const RETRY_MS = 2_000;
const UNREAD_BYTES_MAX = 1_048_576;

/** Takes the connection over from fastify. */
export function sendStream(
  reply: FastifyReply,
  clock: Clock,
  headers: Readonly<Record<string, string>>,
  stream: EventStream,
): FastifyReply {
  reply.hijack();
  const { raw } = reply;
  raw.socket?.setTimeout(0);
  raw.writeHead(200, {
    ...headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Proxies that gather answers before they pass them on are asked not to.
    'x-accel-buffering': 'no',
  });
  const beat = new CallbackTimer(() => {
    raw.write(': still here\n\n');
    clock.arm(beat, BEAT_MS);
  });
  let stop: (() => void) | undefined;
  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    clock.disarm(beat);
    stop?.();
    raw.end();
  };
  raw.on('close', end);
  raw.on('error', end);
  raw.write(`retry: ${RETRY_MS}\n\n`);
  clock.arm(beat, BEAT_MS);
  stop = stream({
    send: ({ id, type, data }) => {
      if (over) return;
      // JSON has no line ends outside of its strings, and none inside them.
      raw.write(`${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
      if (raw.writableLength > UNREAD_BYTES_MAX) {
        end();
        raw.destroy();
      }
    },
    end,
  });
  if (over) stop();
  return reply;
}
