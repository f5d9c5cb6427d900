/** What the HTTP room asks of the rest of the house. `app.ts` wires it. */
import type { CallRecord } from '#call/observer.js';

export interface HealthCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface RouteQuestion {
  /** A number, or a whole SIP URI. */
  readonly to: string;
  readonly from: string | undefined;
  /** IP address that the INVITE would come from. */
  readonly source: string;
}

export interface RouteAnswer {
  readonly decision: 'route' | 'refuse';
  /** The SIP status that the caller would get; null when it is the agent's to say. */
  readonly status: number | null;
  readonly code: string | null;
  readonly trunkId: string | null;
  readonly phoneNumberId: string | null;
  readonly agentId: string | null;
  readonly did: string | null;
  /** In the order in which they would be tried. */
  readonly endpoints: readonly string[];
  readonly explanation: readonly {
    readonly subject: string;
    readonly test: string;
    readonly outcome: 'pass' | 'fail' | 'info';
    readonly detail: string;
  }[];
}

export interface HttpPorts {
  /** Each thing that new calls depend on. */
  readiness(): readonly HealthCheck[];
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
  readonly calls: {
    /** Calls in progress and the latest ended ones, in any order. */
    list(): readonly CallRecord[];
    get(id: string): CallRecord | undefined;
  };
  /** What would become of such a call; a text when the question makes no INVITE. */
  explainInbound(question: RouteQuestion): RouteAnswer | string;
}
