/** What routing answers: a way for the call or a refusal, and how it came to it. */
import type { Agent, Endpoint } from '#directory/agent.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Trunk } from '#directory/trunk.js';
import type { Octets } from '#sip/octets.js';
import type { ReasonCode } from './refusals.js';

/** One test on the way to a decision, for people. Texts are printable. */
export interface ExplanationStep {
  /** What was tested: `source 192.0.2.1`, `trunk carrier-a`, `number +14155550100`, `agent sales`. */
  readonly subject: string;
  /** The question. */
  readonly test: string;
  readonly outcome: 'pass' | 'fail' | 'info';
  readonly detail: string;
}

export type Explanation = readonly ExplanationStep[];

/**
 * `explanation` is worked out when it is read, from the request; whoever keeps a decision beyond the set-up of a
 * call keeps the request too, so keep its parts instead.
 */
export interface InboundRoute {
  readonly kind: 'route';
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
  readonly agent: Agent;
  /** The number's normal form, E.164 where it can be told. */
  readonly did: string;
  /** The user part as the caller's side wrote it, with its escapes: fit for a header field. */
  readonly originalDid: Octets;
  /** In the order to try them; never empty. */
  readonly endpoints: readonly Endpoint[];
  readonly explanation: Explanation;
}

export interface InboundRefusal {
  readonly kind: 'refuse';
  readonly status: number;
  /** Reason phrase. */
  readonly reason: string;
  /** What `X-Trunkline-Reason` says. */
  readonly code: ReasonCode;
  readonly explanation: Explanation;
  /** The trunk that sent it, where that much is known. */
  readonly trunk: Trunk | undefined;
  readonly number: PhoneNumber | undefined;
  readonly agent: Agent | undefined;
  /** No trunk takes calls from its source, nor did it come to a registration. */
  readonly stranger: boolean;
}

export type InboundDecision = InboundRoute | InboundRefusal;
