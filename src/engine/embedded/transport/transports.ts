/**
 * The transports of the embedded engine put together: listeners, the pool of connections, and the choice between
 * them for what is to be sent (RFC 3261 §18).
 *
 * A message goes to the sink as soon as it is whole, with the address that the socket saw. Nothing here reads more
 * of a message than its Content-Length.
 */
import { isIP } from 'node:net';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Octets } from '#sip/octets.js';
import type { Listener, Source, Target, WireTap } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Limits } from '../limits.js';
import { bindAddress, type Interfaces, isLoopback, isPort } from './addresses.js';
import type { Connection } from './connection.js';
import { ConnectionPool } from './connection-pool.js';
import { listenError } from './listen-error.js';
import type { ListenOptions } from './listen-options.js';
import { OutgoingListener, outgoingListeners } from './outgoing-listener.js';
import { closedTo, type OwnService } from './own-services.js';
import { StreamListener } from './stream-listener.js';
import { StreamOutlet } from './stream-outlet.js';
import { TlsContexts } from './tls-options.js';
import type { Outlet, ReturnAddress, SendOwner, TransportSink, Transports } from './transport.js';
import { listenerId, UdpListener, UdpOutlet } from './udp.js';

export interface EmbeddedTransportsOptions {
  readonly listen: readonly ListenOptions[];
  readonly limits: Limits;
  readonly clock: Clock;
  /** Default that of `node:os`. */
  readonly interfaces?: Interfaces | undefined;
  readonly tap?: WireTap | undefined;
  /** What no connection is opened to, whoever asks for it. */
  readonly ownServices?: (() => readonly OwnService[]) | undefined;
}

const KEEP_ALIVE = '\r\n\r\n';

type AnyListener = UdpListener | StreamListener | OutgoingListener;

/** What `stop` leaves to connections to flush, in milliseconds, and a little for the sockets to close. */
const STOP_MS = 1_200;

export class EmbeddedTransports implements Transports {
  readonly #options: EmbeddedTransportsOptions;
  #listeners: readonly (UdpListener | StreamListener)[] = [];
  /** The bound ones, then those that only connections of ours leave from. */
  #origins: readonly AnyListener[] = [];
  #pool: ConnectionPool | undefined;

  constructor(options: EmbeddedTransportsOptions) {
    this.#options = options;
  }

  /** Those that are bound, in the order of the options. */
  get listeners(): readonly Listener[] {
    return this.#listeners;
  }

  get connectionCount(): number {
    return this.#pool?.size ?? 0;
  }

  /** Binds all listeners, or none: then it rejects with an Error that names the listener and the mend. */
  async start(sink: TransportSink): Promise<void> {
    const { listen, clock, limits, tap } = this.#options;
    this.#pool = new ConnectionPool(clock, limits, sink, new TlsContexts(), tap);
    const bound: (UdpListener | StreamListener)[] = [];
    try {
      for (const options of listen) {
        checkHost(options);
        const ipv6Only = hasIpv4Twin(options, listen);
        if (options.transport === 'udp') {
          const listener = new UdpListener(options, ipv6Only, tap);
          await listener.start(sink);
          bound.push(listener);
        } else {
          const listener = new StreamListener(options, options.transport, ipv6Only);
          await listener.start(this.#pool);
          bound.push(listener);
        }
      }
    } catch (error) {
      for (const listener of bound) listener.stop();
      throw error;
    }
    this.#listeners = bound;
    this.#origins = [...bound, ...outgoingListeners(bound)];
  }

  /** Looks whether listeners on all addresses announce one that has changed. */
  refreshAddresses(): boolean {
    let changed = false;
    for (const listener of this.#listeners) {
      if (listener.refreshAddress(this.#options.interfaces)) changed = true;
    }
    return changed;
  }

  /** The listener of what is sent to this target. */
  leavesFrom(target: Target): Listener | undefined {
    const { transport, flow } = target;
    const connection = transport === 'udp' ? undefined : this.#connection(flow ?? 0);
    if (connection !== undefined && connection.source.transport === transport) {
      const { listener } = connection;
      // What is announced to a registrar outlives connections.
      return listener instanceof OutgoingListener ? listener.base : listener;
    }
    const family = isIP(target.address);
    return family === 0 ? undefined : this.#listenerFor(target, family as 4 | 6);
  }

  async stop(): Promise<void> {
    const pool = this.#pool;
    if (pool === undefined) return;
    for (const listener of this.#listeners) listener.stop();
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const late = new CallbackTimer(resolve);
      clock.arm(late, STOP_MS);
      pool.stop(() => {
        clock.disarm(late);
        resolve();
      });
    });
  }

  outlet(target: Target): Outlet | EngineFault {
    const { transport, address, port, flow } = target;
    const pool = this.#pool;
    if (pool === undefined) return { kind: 'engine-down', detail: 'the transports are not started' };
    if (flow && transport !== 'udp') {
      const connection = pool.byFlow(flow);
      if (connection !== undefined && connection.source.transport === transport) {
        return new StreamOutlet(target, connection.listener, pool);
      }
    }
    const family = isIP(address);
    if (family === 0) return { kind: 'unreachable', detail: 'the target is not an IP address' };
    if (!isPort(port)) return { kind: 'unreachable', detail: `${port} is no port` };
    if (transport !== 'udp') {
      const closed = closedTo(target, this.#options.ownServices?.() ?? [], this.#options.interfaces);
      if (closed !== undefined) return closed;
    }
    const listener = this.#listenerFor(target, family as 4 | 6);
    if (listener === undefined) {
      return {
        kind: 'unreachable',
        detail: `no listener has an IPv${family} address to send from: add one to sip.listen`,
      };
    }
    return listener instanceof UdpListener
      ? new UdpOutlet(target, listener)
      : new StreamOutlet(target, listener, pool);
  }

  /**
   * The listener asked for; else the first that fits transport and family, where one bound to the loopback fits a
   * peer elsewhere only when there is no other.
   */
  #listenerFor(target: Target, family: 4 | 6): AnyListener | undefined {
    const { transport, listenerId: wanted } = target;
    const far = !isLoopback(target.address);
    let best: AnyListener | undefined;
    for (const listener of this.#origins) {
      if (listener.transport !== transport) continue;
      if (listener.family !== family && listener.family !== 46) continue;
      if (listener.id === wanted) return listener;
      if (best === undefined || (far && isLoopback(best.host) && !isLoopback(listener.host))) best = listener;
    }
    return best;
  }

  reply(source: Source, fallback: ReturnAddress, octets: Octets): void {
    if (source.transport === 'udp') {
      const listener = source.listener instanceof UdpListener ? source.listener : undefined;
      // RFC 3581 §4: with rport "to the address and port where the request came from"; else RFC 3261 §18.2.2: to
      // the address it came from, at the port of sent-by.
      const port = fallback.rport ? source.port : (fallback.port ?? 5060);
      listener?.send(octets, source.address, port, null, fallback.standing);
      return;
    }
    const connection = this.#pool?.byFlow(source.flow);
    if (connection !== undefined) {
      connection.send(octets, null);
      return;
    }
    // §18.2.2: "if that connection is no longer open, the server SHOULD open a connection to the IP address in the
    // 'received' parameter […] using the port in the 'sent-by' value".
    const { transport, listener } = source;
    const address = isIP(fallback.host) === 0 ? source.address : fallback.host;
    const port = fallback.port ?? (transport === 'tls' ? 5061 : 5060);
    const way = this.outlet({ transport, address, port, listenerId: listener.id });
    if (!('kind' in way)) way.send(octets, null);
  }

  /** RFC 5626 §3.5.1: a double CRLF. A stream is used only while the flow that the target names lives. */
  keepAlive(target: Target): void {
    if (target.transport !== 'udp') {
      this.#connection(target.flow ?? 0)?.send(KEEP_ALIVE, null);
      return;
    }
    const outlet = this.outlet(target);
    if (!('kind' in outlet)) outlet.send(KEEP_ALIVE, null);
  }

  /** Ends a connection whose peer is known to be gone; whoever waits on it hears `flow-lost`. */
  closeFlow(flow: number, reason: string): void {
    this.#connection(flow)?.close(reason, { kind: 'flow-lost', detail: reason });
  }

  sentBy(listener: Listener): string {
    return listener.sentBy ?? `${listener.host}:${listener.port}`;
  }

  /** Reads the certificate files of the TLS listeners again; connections that exist keep what they have. */
  reloadCertificates(): void {
    for (const listener of this.#listeners) {
      if (listener instanceof StreamListener) listener.reloadCertificate();
    }
  }

  watch(flow: number, owner: SendOwner): boolean {
    const connection = this.#connection(flow);
    connection?.watch(owner);
    return connection !== undefined;
  }

  unwatch(flow: number, owner: SendOwner): void {
    this.#connection(flow)?.forget(owner);
  }

  #connection(flow: number): Connection | undefined {
    return this.#pool?.byFlow(flow);
  }
}

/** Names would need the DNS, and an answer with two addresses would leave open which one is meant. */
function checkHost(options: ListenOptions): void {
  const { transport, port } = options;
  const address = bindAddress(options.host);
  if (isIP(address) !== 0) return;
  const problem = new Error(
    `${options.host} is not an IP address. Write the address, or 0.0.0.0 or :: for all.`,
  );
  throw listenError(listenerId(transport, address, port), address, port, problem);
}

/** Linux gives `::` IPv4 too, which would collide with an IPv4 listener of the same port. */
function hasIpv4Twin(options: ListenOptions, all: readonly ListenOptions[]): boolean {
  const family = options.transport === 'udp' ? 'udp' : 'stream';
  return all.some(
    (other) =>
      isIP(bindAddress(other.host)) === 4 &&
      other.port === options.port &&
      other.port !== 0 &&
      (other.transport === 'udp' ? 'udp' : 'stream') === family,
  );
}
