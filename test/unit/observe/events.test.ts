import { describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import { Events, type EventsOptions, type GatewayEvent } from '#observe/events.js';
import { Metrics } from '#observe/metrics.js';
import { RegistrationRecorder } from '#observe/registration-recorder.js';
import type { LiveRegistration } from '#registration/observer.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const registration: LiveRegistration = {
  id: 'r1',
  organizationId: 'acme',
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
    targets: () => [],
    waiting: () => 0,
    records: () => ({ written: 0, lost: 0, faults: 0 }),
  };
  return new RegistrationRecorder(
    new Metrics({ sources, reasons: {}, verdicts: [], states: { registrations: [], subscriptions: [] } }),
    events,
  );
}

const made = (clock = new VirtualClock(), more: Partial<EventsOptions> = {}): Events =>
  new Events({ clock, log: silentLogger, epoch: 'evt_t', ...more });
const removed = (events: Events, subject: string): void =>
  events.publish('acme', 'registration.removed', subject, { registrationId: subject, aor: 'sip:a@b' });
const subjects = (events: readonly GatewayEvent[] | null) => events?.map(({ subject }) => subject) ?? null;

describe('events', () => {
  it('tell whoever listens what becomes of registrations, when, and whose they are', () => {
    const events = made();
    const heard: GatewayEvent[] = [];
    const stop = events.listen((event) => heard.push(event));
    const observer = recorder(events);
    observer.registrationChanged(registration, 'registering');
    observer.registrationRemoved(registration);
    stop();
    observer.registrationRemoved(registration);
    const common = { organizationId: 'acme', subject: 'r1', at: '2030-01-01T00:00:00.000Z' };
    const data = { registrationId: 'r1', aor: 'sip:acme@provider.example' };
    expect(heard).toEqual([
      {
        id: 'evt_t-1',
        type: 'registration.changed',
        ...common,
        data: { ...data, state: 'registered', previous: 'registering' },
      },
      { id: 'evt_t-2', type: 'registration.removed', ...common, data },
    ]);
  });

  it('reach the others when one listener throws, and say so in the log', () => {
    const errors: string[] = [];
    const log = { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) };
    const events = made(new VirtualClock(), { log });
    let heard = 0;
    events.listen(() => {
      throw new Error('a listener of the test');
    });
    events.listen(() => heard++);
    recorder(events).registrationRemoved(registration);
    expect([heard, errors]).toEqual([1, ['a listener to events failed']]);
  });

  it('are told to who comes back, from where it left', () => {
    const clock = new VirtualClock();
    const events = made(clock);
    const heard: GatewayEvent[] = [];
    const first = events.follow(undefined, (event) => heard.push(event));
    expect(first.missed).toEqual([]);
    removed(events, 'a');
    first.stop();
    first.stop();
    removed(events, 'b');
    removed(events, 'c');
    clock.advance(299_000);
    const again = events.follow(heard[0]!.id, () => undefined);
    expect(subjects(again.missed)).toEqual(['b', 'c']);
    again.stop();
    expect(subjects(events.follow('evt_t-3', () => undefined).missed)).toEqual([]);
  });

  it('are not kept where nobody follows, and that is said and not glossed over', () => {
    const clock = new VirtualClock();
    const events = made(clock, { kept: 3 });
    removed(events, 'unheard');
    expect(events.wanted).toBe(false);
    const { stop } = events.follow(undefined, () => undefined);
    removed(events, 'a');
    stop();
    clock.advance(300_010);
    expect(events.wanted).toBe(false);
    removed(events, 'b');
    const off = events.listen(() => undefined);
    removed(events, 'c');
    off();
    expect(events.follow('evt_t-1', () => undefined).missed).toBeNull();
  });

  it('are kept up to a bound', () => {
    const events = made(new VirtualClock(), { kept: 3 });
    events.follow(undefined, () => undefined);
    for (const subject of ['a', 'b', 'c', 'd', 'e']) removed(events, subject);
    const missed = (after: string) => subjects(events.follow(after, () => undefined).missed);
    expect(missed('evt_t-1')).toBeNull();
    expect(missed('evt_t-2')).toEqual(['c', 'd', 'e']);
    expect(missed('evt_t-4')).toEqual(['e']);
    expect(missed('evt_t-5')).toEqual([]);
  });

  it.each(['evt_t-6', 'evt_other-1', 'evt_t', 'evt_t-x', '', '-1'])('know no event %j', (after) => {
    const events = made();
    events.follow(undefined, () => undefined);
    for (let i = 0; i < 5; i++) removed(events, 'a');
    expect(events.follow(after, () => undefined).missed).toBeNull();
  });
});
