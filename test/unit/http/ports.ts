/** Ports for an HTTP server under test: nothing is there until a test says so. */
import type { HttpPorts } from '#http/ports.js';
import { systemClock } from '#lib/wheel.js';
import { emptyLine } from '#pacing/memory-pacer.js';
import { snapshotOf } from '../../kit/directory.js';
import { TransientMemory } from '../../kit/transient-memory.js';

const unscripted = (what: string) => Promise.reject(new Error(`${what}: not scripted`));

export function scriptedPorts(given: Partial<HttpPorts> = {}): HttpPorts {
  return {
    clock: systemClock(),
    events: { types: [], follow: () => ({ missed: [], stop: () => undefined }) },
    readiness: () => [{ name: 'sip', ok: true, detail: '2 listeners' }],
    metrics: { contentType: 'text/plain; version=0.0.4', text: async () => 'trunkline_x 1\n' },
    calls: {
      list: () => [],
      get: () => undefined,
      hangUp: () => false,
      place: () => Promise.reject(new Error('not scripted')),
      transfer: () => ({ kind: 'impossible', why: 'not_answered' }),
    },
    memory: new TransientMemory(systemClock()),
    pacing: { line: async (key, limit) => emptyLine(key, limit) },
    directory: { current: snapshotOf({}) },
    editor: {
      create: () => unscripted('editor'),
      createMany: () => unscripted('editor'),
      update: () => unscripted('editor'),
      remove: () => unscripted('editor'),
    },
    meta: () => undefined,
    objects: { list: async () => [] },
    webhooks: {
      list: async () => [],
      get: async () => undefined,
      create: () => unscripted('webhooks'),
      update: () => unscripted('webhooks'),
      rotate: () => unscripted('webhooks'),
      remove: () => unscripted('webhooks'),
      deadLetters: async () => [],
      forgetDeadLetter: async () => false,
    },
    providers: {
      list: async () => [],
      get: async () => undefined,
      connect: () => unscripted('providers'),
      availableNumbers: () => unscripted('providers'),
      importNumbers: () => unscripted('providers'),
      remove: () => unscripted('providers'),
    },
    tokens: {
      authenticate: () => undefined,
      create: () => unscripted('tokens'),
      list: async () => [],
      revoke: async () => false,
    },
    registrations: {
      all: () => [],
      get: () => undefined,
      ofNumber: () => undefined,
      ofAgent: () => undefined,
      refresh: () => false,
    },
    targets: () => [],
    presence: { ofRegistration: () => undefined },
    trace: undefined,
    probe: async () => undefined,
    explainInbound: () => 'not scripted',
    explainOutbound: () => {
      throw new Error('not scripted');
    },
    ...given,
  };
}
