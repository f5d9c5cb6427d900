/** Every bound of the embedded engine, with its reason. At a bound something is refused and counted, never lost silently. */
export interface Limits {
  /** Transactions of all kinds. One call leaves about five behind for 5 to 32 s (timers J, K, L, M). */
  readonly transactions: number;
  /** Confirmed and early dialogs; a call is two. */
  readonly dialogs: number;
  /** TCP and TLS connections in both directions. */
  readonly connections: number;
  /** Connections from one address, so that one peer cannot take them all. */
  readonly connectionsPerAddress: number;
  /** Octets of one message, start line to end of body. */
  readonly messageBytes: number;
  /** Octets of start line and header fields. */
  readonly headBytes: number;
  readonly headers: number;
  /** Milliseconds for a message to arrive whole once its first octet is there. */
  readonly messageTimeoutMs: number;
  /** Milliseconds without a whole message or keep-alive before an incoming connection without dialogs closes. */
  readonly idleTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Octets queued on a connection whose peer does not read. */
  readonly sendQueueBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  transactions: 500_000,
  dialogs: 100_000,
  connections: 10_000,
  connectionsPerAddress: 2_000,
  messageBytes: 65_536,
  headBytes: 32_768,
  headers: 256,
  messageTimeoutMs: 30_000,
  idleTimeoutMs: 600_000,
  connectTimeoutMs: 5_000,
  sendQueueBytes: 1_048_576,
};
