/**
 * Webhooks: what happens in the gateway, told to addresses of an organisation by HTTP POST. Signed, in order per call
 * (per registration, per key), tried again over restarts until a day has passed, then kept as a dead letter.
 */
import type { Secret } from '#directory/secret.js';

export interface Webhook {
  readonly id: string;
  readonly organizationId: string;
  /** http or https. */
  readonly url: string;
  /** Types of events, `call.ended`, or all of a family, `call.*`, or `*`. */
  readonly events: readonly string[];
  /** Keys of the signature, the present one first; the former one signs too while receivers change over. */
  readonly secrets: readonly Secret[];
  readonly enabled: boolean;
}

/** What is told. */
export interface Occurrence {
  /** Unique; receivers drop what they have seen. */
  readonly id: string;
  readonly type: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly organizationId: string;
  /** What it is about: the call, the registration, the key. Occurrences of one subject arrive in order. */
  readonly subject: string;
  readonly data: object;
}

/** It is of the same organisation, enabled, and one of its patterns fits the type. */
export function wants(webhook: Webhook, { type, organizationId }: Occurrence): boolean {
  if (!webhook.enabled || webhook.organizationId !== organizationId) return false;
  return webhook.events.some((pattern) =>
    pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type,
  );
}
