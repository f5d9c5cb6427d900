import { describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import { Events, type GatewayEvent } from '#observe/events.js';
import { Metrics } from '#observe/metrics.js';
import { RegistrationRecorder } from '#observe/registration-recorder.js';
import type { LiveRegistration } from '#registration/observer.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const registration: LiveRegistration = {
  id: 'r1',
  aor: 'sip:acme@provider.example',
  state: 'registered',
  view: () => {
    throw new Error('a view is not built for every event');
  },
};

function recorder(events: Events): RegistrationRecorder {
  const sources = {
    engine: () => undefined,
    draining: () => false,
    callsInProgress: () => 0,
    directory: () => ({ trunks: 0, numbers: 0, agents: 0 }),
    registrations: () => new Map(),
    subscriptions: () => new Map(),
    records: () => ({ written: 0, lost: 0, faults: 0 }),
  };
  return new RegistrationRecorder(new Metrics({ sources, reasons: {}, verdicts: [] }), events);
}

describe('events', () => {
  it('tell whoever listens what becomes of registrations, and when', () => {
    const events = new Events(new VirtualClock(), silentLogger);
    const heard: GatewayEvent[] = [];
    const stop = events.listen((event) => heard.push(event));
    const observer = recorder(events);
    observer.registrationChanged(registration, 'registering');
    observer.registrationRemoved(registration);
    stop();
    observer.registrationRemoved(registration);
    const subject = {
      registrationId: 'r1',
      aor: 'sip:acme@provider.example',
      at: '2030-01-01T00:00:00.000Z',
    };
    expect(heard).toEqual([
      { type: 'registration.changed', state: 'registered', previous: 'registering', ...subject },
      { type: 'registration.removed', ...subject },
    ]);
  });

  it('reach the others when one listener throws, and say so in the log', () => {
    const errors: string[] = [];
    const log = { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) };
    const events = new Events(new VirtualClock(), log);
    let heard = 0;
    events.listen(() => {
      throw new Error('a listener of the test');
    });
    events.listen(() => heard++);
    recorder(events).registrationRemoved(registration);
    expect([heard, errors]).toEqual([1, ['a listener to events failed']]);
  });
});
