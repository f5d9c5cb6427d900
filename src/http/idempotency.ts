/**
 * Idempotency-Key: a request that carries one is done once. Repeated within a day with the same body it gets the first
 * answer again; with another body it is refused. What failed was not done, and may be tried again.
 */
import { createHash } from 'node:crypto';
import type { Memory } from '#directory/store.js';
import { MEMORY_VALUE_MAX } from '#directory/store.js';
import { invalid, Problem } from './problem.js';
import type { Reply } from './route.js';

export const IDEMPOTENCY_HEADER = 'idempotency-key';

/** How long an answer is kept. */
const KEPT_MS = 86_400_000;
/** Nothing takes longer: a node that has not answered by then has died on the way. */
const PENDING_MS = 120_000;
const RETRY_SECONDS = 1;

export interface Repeatable {
  /** Whose keys: two callers may have the same. */
  readonly owner: string;
  /** As the client sent it. */
  readonly key: string;
  /** What is to be done: two with one key must be the same. */
  readonly operation: string;
  readonly body: unknown;
}

interface Kept {
  readonly fingerprint: string;
  /** Absent: it is being done. */
  readonly reply?: Reply<unknown> | undefined;
}

/** Requests under way here, so that a repetition can wait for them. */
const underWay = new WeakMap<Memory, Map<string, Promise<Reply<unknown>>>>();

/** Does it, or gives the answer of the time when it was done. Rejects with a Problem: 400, 409, 422, or that of `act`. */
export async function once(
  memory: Memory,
  request: Repeatable,
  act: () => Reply<unknown> | Promise<Reply<unknown>>,
): Promise<Reply<unknown>> {
  const name = nameOf(request);
  const fingerprint = digest(`${request.key}\n${request.operation}\n${JSON.stringify(request.body ?? null)}`);
  const known = await memory.remember(name, JSON.stringify({ fingerprint } satisfies Kept), PENDING_MS);
  if (known !== undefined) return repeated(memory, name, fingerprint, known);
  const done = perform(memory, name, fingerprint, act);
  const here = hereOf(memory);
  here.set(name, done);
  try {
    return await done;
  } finally {
    here.delete(name);
  }
}

async function perform(
  memory: Memory,
  name: string,
  fingerprint: string,
  act: () => Reply<unknown> | Promise<Reply<unknown>>,
): Promise<Reply<unknown>> {
  let reply: Reply<unknown>;
  try {
    reply = await act();
  } catch (error) {
    await memory.forget(name);
    throw error;
  }
  const { status, body, headers } = reply;
  const kept = JSON.stringify({ fingerprint, reply: { status, body, headers } } satisfies Kept);
  // No object that is made by a POST comes near; one that did would be made again.
  if (kept.length <= MEMORY_VALUE_MAX) await memory.replace(name, kept, KEPT_MS);
  else await memory.forget(name);
  return reply;
}

async function repeated(
  memory: Memory,
  name: string,
  fingerprint: string,
  known: string,
): Promise<Reply<unknown>> {
  const kept = JSON.parse(known) as Kept;
  if (kept.fingerprint !== fingerprint) {
    throw new Problem(
      422,
      'idempotency_key_reused',
      'Idempotency-Key reused',
      'another request was made with this Idempotency-Key: give each request a key of its own',
    );
  }
  const reply = kept.reply ?? (await hereOf(memory).get(name));
  if (reply !== undefined) return { ...reply, headers: { ...reply.headers, 'idempotent-replayed': 'true' } };
  throw new Problem(
    409,
    'idempotency_key_in_use',
    'Idempotency-Key in use',
    'a request with this Idempotency-Key is being done: ask again for its answer',
    undefined,
    {},
    { 'retry-after': String(RETRY_SECONDS) },
  );
}

function hereOf(memory: Memory): Map<string, Promise<Reply<unknown>>> {
  let here = underWay.get(memory);
  if (here === undefined) {
    here = new Map();
    underWay.set(memory, here);
  }
  return here;
}

function nameOf({ owner, key }: Repeatable): string {
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw invalid([{ path: 'Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters' }]);
  }
  return `idempotency:${digest(`${owner}\n${key}`)}`;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url');
