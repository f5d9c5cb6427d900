/**
 * The only failures that cross the engine port. A fault is what happened to us on the way, never a peer's
 * answer: a carrier's 503 arrives as a response, our own lack of capacity as `capacity`.
 */
export type TlsFailure = 'untrusted' | 'expired' | 'wrong-name' | 'alert' | 'other';

export type EngineFault =
  /** The peer's host answered that nothing listens there (ECONNREFUSED, ICMP port unreachable). */
  | { readonly kind: 'refused'; readonly detail: string }
  /** No route, no such network, or no listener of ours for that transport and address family. */
  | { readonly kind: 'unreachable'; readonly detail: string }
  | { readonly kind: 'tls'; readonly reason: TlsFailure; readonly detail: string }
  /**
   * `heard`: a 100 or another provisional response came before the silence. `connecting`: the connection did not
   * even open, so nothing was sent.
   */
  | {
      readonly kind: 'timeout';
      readonly heard: boolean;
      readonly connecting?: boolean | undefined;
      readonly detail: string;
    }
  /** The connection that carried the request closed before the answer. */
  | { readonly kind: 'flow-lost'; readonly detail: string }
  /** A bound of ours (transactions, dialogs, connections) is reached; nothing was sent. */
  | { readonly kind: 'capacity'; readonly detail: string }
  /** The 2xx crossed our CANCEL: it has been acknowledged and ended with BYE. */
  | { readonly kind: 'cancelled'; readonly detail: string }
  /** Inside a dialog: an INVITE (or offer) of the peer is in progress, ours was not sent (RFC 3261 §14.1). */
  | { readonly kind: 'glare'; readonly detail: string }
  /** The engine is stopping or its server is away; nothing was sent. */
  | { readonly kind: 'engine-down'; readonly detail: string };

/** What is made or found, or why not: only faults have both fields. */
export function isFault<T extends object>(value: T | EngineFault): value is EngineFault {
  return 'kind' in value && 'detail' in value;
}
