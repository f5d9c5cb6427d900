/**
 * The contract of the engine port (`src/engine/engine.ts`), as one suite that every engine runs. A fixture says how to
 * make the engine, and which tests it does not pass, by name and with the reason; those show as skipped.
 *
 * Everything is checked on the wire with real sockets and a peer that shares no code with the engine.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { dialogs } from './dialog.contract.js';
import { incomingInvite } from './incoming.contract.js';
import { lifecycle, prepareListeners } from './lifecycle.contract.js';
import { outgoingInvite } from './outgoing.contract.js';
import { requests } from './requests.contract.js';
import { type EngineFixture, type Scenario, scenarios } from './rig.js';
import { transports } from './transport.contract.js';

const PARTS: readonly (readonly [string, (scenario: Scenario) => void])[] = [
  ['life', lifecycle],
  ['incoming INVITE', incomingInvite],
  ['outgoing INVITE', outgoingInvite],
  ['dialogs', dialogs],
  ['requests outside dialogs', requests],
  ['transports', transports],
];

export function engineContract(fixture: EngineFixture): void {
  describe(`engine contract: ${fixture.name}`, () => {
    beforeAll(prepareListeners);
    const { scenario, names } = scenarios(fixture);
    // Each test has an engine and peers of its own, and mostly waits for timers: several at a time.
    for (const [part, register] of PARTS) describe.concurrent(part, () => register(scenario));

    test('every skip names a test and gives a reason', () => {
      for (const entry of fixture.skip) {
        expect(names).toContain(entry.test);
        expect(entry.reason).not.toBe('');
      }
    });
  });
}
