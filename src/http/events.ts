/** What happens, as it happens: `GET /api/v1/events`. */
import * as z from 'zod';
import type { HttpPorts, ToldEvent } from './ports.js';
import { invalid, Problem } from './problem.js';
import { type Route, route, streaming } from './route.js';

/** Streams open at once, of all organisations: each holds a connection. */
const STREAMS_MAX = 200;

/** Streams that are open, by server. */
const open = new WeakMap<HttpPorts, number>();

export const eventRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/events',
    id: 'followEvents',
    tag: 'Events',
    summary: 'What happens from now on, as server-sent events.',
    description:
      'Each event has an `id`, its `event` is the type, and `data` is `{id, type, at, organizationId, data}`. A client ' +
      'that comes back with Last-Event-ID (or `after`) gets what it missed of the last 5 minutes and 10,000 events; where ' +
      'that is more than is kept, or the gateway was restarted, `events.missed` comes first: read anew what you need.',
    access: 'read',
    query: z.strictObject({
      types: z
        .string()
        .max(1_000)
        .optional()
        .meta({ description: 'Types wanted, separated by commas; `call.*` for a family. Default: all.' }),
      after: z.string().max(200).optional().meta({ description: 'Id of the last event that was heard.' }),
    }),
    stream: true,
    problems: { 503: 'Too many streams are open.' },
    handle({ query: { types, after }, organizationId, lastEventId }, ports) {
      const wanted = patterns(types, ports.events.types);
      const streams = open.get(ports) ?? 0;
      if (streams >= STREAMS_MAX) {
        throw new Problem(
          503,
          'too_many_streams',
          'Service unavailable',
          `${STREAMS_MAX} streams are open already`,
          undefined,
          {},
          { 'retry-after': '10' },
        );
      }
      return streaming((sink) => {
        open.set(ports, (open.get(ports) ?? 0) + 1);
        const tell = (event: ToldEvent): void => {
          const { id, type, at, data } = event;
          if (event.organizationId !== organizationId) return;
          if (!wanted.some((pattern) => fits(pattern, type))) return;
          sink.send({ id, type, data: { id, type, at, organizationId, data } });
        };
        const { missed, stop } = ports.events.follow(lastEventId ?? after, tell);
        if (missed === null) sink.send({ type: 'events.missed', data: {} });
        else for (const event of missed) tell(event);
        return () => {
          stop();
          open.set(ports, open.get(ports)! - 1);
        };
      });
    },
  }),
];

function patterns(types: string | undefined, known: readonly string[]): readonly string[] {
  if (types === undefined) return ['*'];
  const wanted = types.split(',').map((each) => each.trim());
  const strange = wanted.filter((pattern) => !known.some((type) => fits(pattern, type)));
  if (strange.length === 0) return wanted;
  throw invalid([
    {
      path: 'types',
      message: `has no events: ${strange.join(', ')}`,
      hint: `one or more of ${known.join(', ')}, or call.* and the like`,
    },
  ]);
}

/** `call.*` fits every type of the family. */
function fits(pattern: string, type: string): boolean {
  return pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}
