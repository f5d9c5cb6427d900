/** A call as the API asks for it, and as text that another node can go on from. */
import type { OutboundQuestion } from '#routing/outbound-decision.js';

export interface CallOrder {
  readonly organizationId: string;
  readonly agentId: string;
  readonly to: string;
  readonly from?: string | undefined;
  readonly displayName?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly xDestUser?: string | undefined;
  /** 0 to 9, the highest goes first. */
  readonly priority?: number | undefined;
  readonly queueTimeoutSeconds?: number | undefined;
  /** How long the callee may ring. */
  readonly ringTimeoutSeconds?: number | undefined;
  /** Kept with the call, for whoever asked for it. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** What routing is asked about an order. */
export function questionOf(order: CallOrder): OutboundQuestion {
  const { agentId, organizationId, to, from, displayName, headers, xDestUser } = order;
  return {
    agentId,
    organizationId,
    to,
    from,
    displayName,
    headers: headers === undefined ? undefined : new Map(Object.entries(headers)),
    xDestUser,
  };
}

/** What is left of a call when the node that held it dies. */
export interface Legacy {
  readonly id: string;
  readonly order: CallOrder;
  /** Milliseconds since 1970. */
  readonly orderedAt: number;
}

const VERSION = 1;

/** Numbers, names and the caller's own header fields; no credentials, which the directory has. */
export function payloadOf({ id, order, orderedAt }: Legacy): string {
  return JSON.stringify({ version: VERSION, id, orderedAt, order });
}

/** Undefined: not what `payloadOf` writes, perhaps that of a later release. */
export function legacyOf(payload: string): Legacy | undefined {
  let read: unknown;
  try {
    read = JSON.parse(payload);
  } catch {
    return undefined;
  }
  if (!isRecord(read) || read.version !== VERSION) return undefined;
  const { id, orderedAt, order } = read;
  if (typeof id !== 'string' || typeof orderedAt !== 'number' || !isOrder(order)) return undefined;
  return { id, orderedAt, order };
}

const TEXTS = ['organizationId', 'agentId', 'to'] as const;
const OPTIONAL_TEXTS = ['from', 'displayName', 'xDestUser'] as const;
const OPTIONAL_NUMBERS = ['priority', 'queueTimeoutSeconds', 'ringTimeoutSeconds'] as const;
const OPTIONAL_MAPS = ['headers', 'metadata'] as const;

function isOrder(value: unknown): value is CallOrder {
  if (!isRecord(value)) return false;
  const optional = (key: string, type: string): boolean =>
    value[key] === undefined || typeof value[key] === type;
  return (
    TEXTS.every((key) => typeof value[key] === 'string') &&
    OPTIONAL_TEXTS.every((key) => optional(key, 'string')) &&
    OPTIONAL_NUMBERS.every((key) => optional(key, 'number')) &&
    OPTIONAL_MAPS.every((key) => value[key] === undefined || isTexts(value[key]))
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isTexts = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((text) => typeof text === 'string');
