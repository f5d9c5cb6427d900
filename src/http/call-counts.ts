/** How many calls depend on a trunk, a number or an agent: what its removal would meet. */
import * as z from 'zod';
import type { CallRecord } from '#call/observer.js';
import type { HttpPorts } from './ports.js';

/** Of answers that say what depends on an object. */
export const callCountsShape = { queuedCallsCount: z.int(), activeCallsCount: z.int() };

/** Counts calls that wait, and calls in progress, among those that `concerns` says yes to. */
export function callCounts(
  ports: HttpPorts,
  concerns: (call: Pick<CallRecord, 'trunkId' | 'agentId' | 'phoneNumberId'>) => boolean,
): { queuedCallsCount: number; activeCallsCount: number } {
  let queuedCallsCount = 0;
  let activeCallsCount = 0;
  for (const call of ports.calls.list()) {
    if (call.state === 'ended' || !concerns(call)) continue;
    if (call.state === 'queued') queuedCallsCount++;
    else activeCallsCount++;
  }
  return { queuedCallsCount, activeCallsCount };
}
