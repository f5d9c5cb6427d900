/**
 * Idempotency-Key: a POST that a client repeats because it did not hear the answer is done once. The first answer is
 * kept for a day by all nodes; the same key with another request is refused, and while the first one is still being done
 * too. A refusal (4xx) is kept like a success; after a failure of ours (5xx) the request may be tried again.
 */
import { createHash } from 'node:crypto';
import type { Memory } from '#directory/store.js';
import { MEMORY_VALUE_MAX } from '#directory/store.js';
import { invalid, Problem } from './problem.js';

const KEPT_MS = 86_400_000;
/** A node that dies in the middle must not block the key for a day. */
const PENDING_MS = 150_000;

/** Answers that another try may not get. */
const PASSING: ReadonlySet<number> = new Set([408, 429]);

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON; empty: none. */
  readonly body: string;
}

interface Kept {
  readonly fingerprint: string;
  readonly answer: Answered | null;
}

export interface IdempotentRequest {
  /** Who asks: keys of one caller are nothing to another. */
  readonly owner: string;
  /** The header field. */
  readonly key: string;
  /** Method, path and body. */
  readonly what: readonly unknown[];
}

/**
 * Does `work` unless it was done already. Throws a Problem (400, 409).
 * @returns the answer, and whether it is an old one
 */
export async function once(
  memory: Memory,
  request: IdempotentRequest,
  work: () => Promise<Answered>,
): Promise<{ readonly answer: Answered; readonly replayed: boolean }> {
  if (!/^[\x21-\x7e]{1,255}$/.test(request.key)) {
    throw invalid([{ path: 'Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters' }]);
  }
  // Hashed: the key may be anything, and the store's names are bounded.
  const place = `idempotency/${digest([request.owner, request.key])}`;
  // With the key, which is kept nowhere: a body may hold a password that a bare hash would let one guess.
  const fingerprint = digest([request.key, ...request.what]);
  const pending: Kept = { fingerprint, answer: null };
  const found = await memory.remember(place, JSON.stringify(pending), PENDING_MS);
  if (found !== undefined) return { answer: earlier(JSON.parse(found) as Kept, fingerprint), replayed: true };
  try {
    const answer = await work();
    const kept = JSON.stringify({ fingerprint, answer } satisfies Kept);
    if (PASSING.has(answer.status) || answer.status >= 500 || Buffer.byteLength(kept) > MEMORY_VALUE_MAX)
      await memory.forget(place);
    else await memory.replace(place, kept, KEPT_MS);
    return { answer, replayed: false };
  } catch (error) {
    await memory.forget(place);
    throw error;
  }
}

function earlier({ fingerprint, answer }: Kept, wanted: string): Answered {
  if (fingerprint !== wanted) {
    throw new Problem(
      409,
      'idempotency_key_reused',
      'Conflict',
      'this Idempotency-Key was used for another request: take a new one',
    );
  }
  if (answer !== null) return answer;
  throw new Problem(
    409,
    'idempotency_in_progress',
    'Conflict',
    'the first request with this Idempotency-Key is still being done: try again in a moment',
    undefined,
    {},
    { 'retry-after': '1' },
  );
}

function digest(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
