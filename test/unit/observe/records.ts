/** Call records for tests. */
import type { CallRecord } from '#call/observer.js';

/** An answered call that ended normally, but for what `changes` says. */
export function callRecord(changes: Partial<CallRecord> = {}): CallRecord {
  return {
    id: 'call-1',
    direction: 'inbound',
    organizationId: 'default',
    state: 'ended',
    trunkId: 'carrier-a',
    phoneNumberId: 'number-1',
    agentId: 'sales',
    did: '+14155550100',
    originalDid: '14155550100',
    callee: null,
    caller: '+14155550123',
    callerName: null,
    sourceAddress: '127.0.0.1',
    sourcePort: 5080,
    transport: 'udp',
    callId: 'abc@example.com',
    startedAt: '2026-01-01T00:00:00.000Z',
    queuedAt: null,
    waitedMs: null,
    cpsKey: null,
    metadata: null,
    transferCallId: null,
    transferredFrom: null,
    ringingAt: '2026-01-01T00:00:00.020Z',
    answeredAt: '2026-01-01T00:00:02.000Z',
    endedAt: '2026-01-01T00:00:12.000Z',
    setupMs: 20,
    ringMs: 1980,
    talkMs: 10_000,
    durationMs: 12_000,
    endedBy: 'caller',
    sipStatus: 200,
    q850: 16,
    code: 'normal_clearing',
    detail: null,
    explanation: null,
    attempts: [],
    warnings: [],
    ...changes,
  };
}

/** A call that was refused before an agent was tried. */
export function refusedRecord(changes: Partial<CallRecord> = {}): CallRecord {
  return callRecord({
    ringingAt: null,
    answeredAt: null,
    setupMs: null,
    ringMs: null,
    talkMs: null,
    endedBy: 'gateway',
    sipStatus: 404,
    q850: 1,
    code: 'unknown_number',
    ...changes,
  });
}
