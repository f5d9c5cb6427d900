/**
 * What the transaction layer asks of the transports: whole messages in, octets out. Framing, connections, TLS and
 * sockets stay behind this interface (RFC 3261 §18).
 */

import type { Octets } from '#sip/octets.js';
import type { Listener, Source, Target, TransportName } from '../../engine.js';
import type { EngineFault } from '../../faults.js';

/** Told when octets handed over could not be sent, or when their connection closed before `forget`. */
export interface SendOwner {
  sendFailed(fault: EngineFault): void;
}

/** A way out to one target. Making one opens nothing; the first `send` connects. */
export interface Outlet {
  readonly target: Target;
  readonly transport: TransportName;
  /** TCP and TLS: no retransmission by timers A, E, G. */
  readonly reliable: boolean;
  readonly listener: Listener;
  /** `host:port` that we announce in Via and Contact for this listener; IPv6 in brackets. */
  readonly sentBy: string;
  /** Sends once. `owner.sendFailed` may follow later, never from inside this call. */
  send(octets: Octets, owner: SendOwner | null): void;
  /** `owner` no longer wants to hear that the connection closed. */
  forget(owner: SendOwner): void;
}

/** What the top Via of a request says of where its response goes. */
export interface ReturnAddress {
  readonly host: string;
  readonly port: number | undefined;
  readonly rport: boolean;
  /** Of whoever sent the request; default known. */
  readonly standing?: 'known' | 'stranger' | undefined;
}

export interface Transports {
  start(sink: TransportSink): Promise<void>;
  /** Closes listeners and connections; what is queued on streams is flushed for up to a second. */
  stop(): Promise<void>;
  readonly listeners: readonly Listener[];
  readonly connectionCount: number;
  /** The way to a target, or the fault that there is none (no listener for transport and family, a bound). */
  outlet(target: Target): Outlet | EngineFault;
  /**
   * Sends a response where RFC 3261 §18.2.2 and RFC 3581 say: a stream's own connection while it lives, else a
   * new one to `fallback` (sent-by); UDP to the address it came from (port: `source.port` when the peer asked for
   * rport, else `fallback.port`).
   */
  reply(source: Source, fallback: ReturnAddress, octets: Octets): void;
  /** `host:port` announced for a listener. */
  sentBy(listener: Listener): string;
  /**
   * `owner` hears when the connection with this number closes (a pending INVITE's caller is gone), and until
   * `unwatch` it is not closed for being idle (a dialog lives on it). False: it has closed already.
   */
  watch(flow: number, owner: SendOwner): boolean;
  unwatch(flow: number, owner: SendOwner): void;
}

export interface TransportSink {
  /** Asked for each datagram, and for each stream message, before it is decoded. */
  screen(source: Source): 'known' | 'stranger' | 'drop';
  /** One whole message. On streams the framing has been checked. */
  onMessage(octets: Octets, source: Source, standing: 'known' | 'stranger'): void;
  /**
   * A stream that cannot be framed further (bad or missing Content-Length, head or body over its bound). What is
   * returned is written before the connection closes.
   */
  onUnframeable(
    head: Octets,
    source: Source,
    problem: { readonly status: 400 | 413 | 513; readonly detail: string },
  ): Octets | undefined;
  onNotice(notice: import('../../engine.js').EngineNotice): void;
}
