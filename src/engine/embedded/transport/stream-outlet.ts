/** The way to a target over TCP or TLS. Nothing is opened before the first `send`. */
import type { Octets } from '#sip/octets.js';
import type { Target } from '../../engine.js';
import { Connection, type OpenListener } from './connection.js';
import type { ConnectionPool } from './connection-pool.js';
import type { Outlet, SendOwner } from './transport.js';

export class StreamOutlet implements Outlet {
  readonly reliable = true;
  readonly target: Target;
  readonly listener: OpenListener;
  readonly #pool: ConnectionPool;
  readonly #poolKey: string;
  #connection: Connection | undefined;

  constructor(target: Target, listener: OpenListener, pool: ConnectionPool) {
    this.target = target;
    this.#pool = pool;
    this.#poolKey = pool.poolKey(target, listener);
    // What is announced stays the same for all that leaves by this outlet.
    this.listener = listener.at === undefined ? listener : (pool.opened(this.#poolKey)?.listener ?? listener);
  }

  get transport(): 'tcp' | 'tls' {
    return this.listener.transport;
  }

  get sentBy(): string {
    return this.listener.sentBy;
  }

  send(octets: Octets, owner: SendOwner | null): void {
    let connection = this.#connection;
    if (connection === undefined || !connection.usable) {
      const way = this.#pool.way(this.target, this.listener, this.#poolKey);
      if (!(way instanceof Connection)) {
        if (owner !== null) process.nextTick(() => owner.sendFailed(way));
        return;
      }
      connection = way;
      this.#connection = way;
    }
    connection.send(octets, owner);
  }

  forget(owner: SendOwner): void {
    this.#connection?.forget(owner);
  }
}
