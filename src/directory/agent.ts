/** A voice agent: where its calls go. */
import type { ObjectSource } from './trunk.js';

/** One place where an agent answers. */
export interface Endpoint {
  /** SIP or SIPS URI, used as Request-URI; `;transport=` and port say how it is reached (RFC 3263). */
  readonly uri: string;
  /** 0 to 65535, the lowest is tried first. */
  readonly priority: number;
  /** 0 to 65535, the share of first attempts among endpoints of one priority (as in RFC 2782). */
  readonly weight: number;
}

export interface Agent {
  readonly id: string;
  readonly source: ObjectSource;
  readonly name: string;
  readonly enabled: boolean;
  /** `sip`, `livekit` or another; says what the agent can do, not how it is reached. */
  readonly platform: string;
  readonly endpoints: readonly Endpoint[];
  /** Header fields added to every INVITE towards the agent. */
  readonly headers: ReadonlyMap<string, string>;
  /** Id of the number that the agent calls from. */
  readonly outboundNumberId: string | undefined;
  readonly ringTimeoutSeconds: number | undefined;
}
