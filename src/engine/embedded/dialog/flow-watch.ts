/**
 * Keeps the connection that a call lives on open while it is silent, and tells when it closes. Over UDP there is
 * nothing to watch.
 */
import type { EngineFault } from '../../faults.js';
import type { SendOwner, Transports } from '../transport/transport.js';

export class FlowWatch implements SendOwner {
  readonly #transports: Transports;
  readonly #onClosed: ((detail: string) => void) | null;
  #flow = 0;

  constructor(transports: Transports, onClosed: ((detail: string) => void) | null) {
    this.#transports = transports;
    this.#onClosed = onClosed;
  }

  /** Watches this connection instead of the one before; 0 for none. */
  follow(flow: number): void {
    if (flow === this.#flow) return;
    this.stop();
    // A connection that has closed already is not watched: the peer may open another, or be reached anew.
    if (flow !== 0 && this.#transports.watch(flow, this)) this.#flow = flow;
  }

  stop(): void {
    if (this.#flow === 0) return;
    this.#transports.unwatch(this.#flow, this);
    this.#flow = 0;
  }

  sendFailed(fault: EngineFault): void {
    this.#flow = 0;
    this.#onClosed?.(fault.detail);
  }
}

/** Undefined for UDP, so that a call over it carries none. */
export function watchFlow(
  transports: Transports,
  flow: number,
  onClosed: ((detail: string) => void) | null,
): FlowWatch | undefined {
  if (flow === 0) return undefined;
  const watch = new FlowWatch(transports, onClosed);
  watch.follow(flow);
  return watch;
}
