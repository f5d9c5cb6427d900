/**
 * Where TCP and TLS connections leave from when no listener of that transport is configured: a TLS trunk needs no
 * certificate of ours. Nothing is bound. As long as there is no connection, Via and Contact name the place of a listener
 * that there is, then the connection's own port; the peer speaks to us over the connection that we opened.
 */
import type { TransportName } from '../../engine.js';
import type { OpenListener } from './connection.js';
import { listenerId } from './udp.js';

/** A bound listener, as far as others lean on it. */
export interface BoundListener {
  readonly transport: TransportName;
  readonly host: string;
  readonly port: number;
  readonly sentBy: string;
  readonly family: 4 | 6 | 46;
}

export class OutgoingListener implements OpenListener {
  readonly id: string;
  readonly transport: 'tcp' | 'tls';
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6 | 46;
  /** That of no connection in particular. */
  readonly base: OutgoingListener;
  readonly #place: BoundListener;
  readonly #localPort: number | undefined;

  /** @param localPort of the connection that this one stands for */
  constructor(transport: 'tcp' | 'tls', place: BoundListener, localPort?: number, base?: OutgoingListener) {
    const { host, port, family } = place;
    this.#place = place;
    this.#localPort = localPort;
    this.id = listenerId(transport, host, port);
    this.transport = transport;
    this.host = host;
    this.port = port;
    this.family = family;
    this.base = base ?? this;
  }

  /** Follows the address of the place, which may change. */
  get sentBy(): string {
    const { sentBy } = this.#place;
    return this.#localPort === undefined ? sentBy : sentBy.replace(/:\d+$/, `:${this.#localPort}`);
  }

  at(localPort: number): OutgoingListener {
    return new OutgoingListener(this.transport, this.#place, localPort, this.base);
  }
}

/** One for each stream transport and place that the bound ones leave without; UDP's port is named before others. */
export function outgoingListeners(bound: readonly BoundListener[]): OutgoingListener[] {
  const datagramsFirst = [
    ...bound.filter(({ transport }) => transport === 'udp'),
    ...bound.filter(({ transport }) => transport !== 'udp'),
  ];
  const made = new Map<string, OutgoingListener>();
  for (const transport of ['tcp', 'tls'] as const) {
    for (const place of datagramsFirst) {
      const key = `${transport} ${place.host}`;
      if (made.has(key) || isCovered(transport, place.family, bound)) continue;
      made.set(key, new OutgoingListener(transport, place));
    }
  }
  return [...made.values()];
}

function isCovered(transport: TransportName, family: 4 | 6 | 46, bound: readonly BoundListener[]): boolean {
  const own = bound.filter((listener) => listener.transport === transport);
  const has = (wanted: 4 | 6): boolean =>
    own.some((listener) => listener.family === wanted || listener.family === 46);
  return (family === 6 || has(4)) && (family === 4 || has(6));
}
