import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallbackTimer } from '#lib/clock.js';
import { type Alarm, systemClock, TICK_MS, TimerWheel } from '#lib/wheel.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

/** Records what the wheel asks of the machine. */
class RecordingAlarm implements Alarm {
  wake: (() => void) | undefined;
  delay = -1;
  sets = 0;

  set(delayMs: number, wake: () => void): void {
    this.sets++;
    this.delay = delayMs;
    this.wake = wake;
  }

  cancel(): void {
    this.wake = undefined;
  }
}

describe('the timing wheel', () => {
  it('fires never early and at most one tick late, whatever is armed', () => {
    const armings = fc.array(
      fc.record({
        at: fc.integer({ min: 0, max: 5_000 }),
        delay: fc.double({ min: 0, max: 100_000, noNaN: true }),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(armings, (list) => {
        const clock = new VirtualClock();
        let fired = 0;
        for (const { at, delay } of [...list].sort((a, b) => a.at - b.at)) {
          clock.advance(at - clock.now());
          const armedAt = clock.now();
          clock.arm(
            new CallbackTimer(() => {
              fired++;
              expect(clock.now()).toBeGreaterThanOrEqual(armedAt + delay);
              // One tick for rounding up, and one more only for a timer armed on the tick that has just run.
              expect(clock.now()).toBeLessThanOrEqual(armedAt + Math.max(delay, 1) + TICK_MS);
            }),
            delay,
          );
        }
        clock.advance(200_000);
        expect(fired).toBe(list.length);
        expect(clock.armedCount).toBe(0);
      }),
    );
  });

  it('keeps the order of ticks', () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    for (const delay of [50_000, 20, 41_000, 500, 10, 90_000])
      clock.arm(new CallbackTimer(() => seen.push(delay)), delay);
    clock.advance(100_000);
    expect(seen).toEqual([10, 20, 500, 41_000, 50_000, 90_000]);
  });

  it('moves a timer that is armed again', () => {
    const clock = new VirtualClock();
    let firedAt = -1;
    const timer = new CallbackTimer(() => {
      firedAt = clock.now();
    });
    clock.arm(timer, 100);
    clock.arm(timer, 300);
    expect(clock.armedCount).toBe(1);
    clock.advance(250);
    expect(firedAt).toBe(-1);
    clock.advance(100);
    expect(firedAt).toBe(300);
    expect(timer.armed).toBe(false);
  });

  it('lets a timer take off another one that is due in the same tick', () => {
    const clock = new VirtualClock();
    let fired = 0;
    const second = new CallbackTimer(() => fired++);
    clock.arm(new CallbackTimer(() => clock.disarm(second)), 100);
    clock.arm(second, 100);
    clock.advance(1_000);
    expect(fired).toBe(0);
    expect(clock.armedCount).toBe(0);
  });

  it('does not spin on a timer that arms itself without delay', () => {
    const clock = new VirtualClock();
    let fired = 0;
    const timer: CallbackTimer = new CallbackTimer(() => {
      fired++;
      clock.arm(timer, 0);
    });
    clock.arm(timer, 0);
    clock.advance(100);
    expect(fired).toBe(10);
    clock.disarm(timer);
  });

  it('counts a delay that makes no sense as none', () => {
    const clock = new VirtualClock();
    let fired = 0;
    for (const delay of [Number.NaN, -5, Number.NEGATIVE_INFINITY])
      clock.arm(new CallbackTimer(() => fired++), delay);
    clock.advance(TICK_MS);
    expect(fired).toBe(3);
  });

  it('goes on with the other timers after one has thrown', () => {
    const clock = new VirtualClock();
    let fired = 0;
    clock.arm(
      new CallbackTimer(() => {
        throw new Error('broken timer');
      }),
      100,
    );
    clock.arm(new CallbackTimer(() => fired++), 100);
    clock.arm(new CallbackTimer(() => fired++), 200);
    expect(() => clock.advance(1_000)).toThrow('broken timer');
    clock.advance(1_000);
    expect(fired).toBe(2);
  });

  it('catches up after the event loop has stood still', () => {
    const time = { at: 0 };
    const alarm = new RecordingAlarm();
    const wheel = new TimerWheel({ now: () => time.at, wallNow: () => 0 }, alarm);
    const seen: string[] = [];
    wheel.arm(new CallbackTimer(() => seen.push('short')), 100);
    wheel.arm(new CallbackTimer(() => seen.push('long')), 120_000);
    time.at = 3_600_000;
    alarm.wake?.();
    expect(seen).toEqual(['short', 'long']);
  });

  it('uses the machine’s timer only while something is armed, and sleeps until it is due', () => {
    const time = { at: 5 };
    const alarm = new RecordingAlarm();
    const wheel = new TimerWheel({ now: () => time.at, wallNow: () => 0 }, alarm);
    expect(alarm.sets).toBe(0);
    const timer = new CallbackTimer(() => undefined);
    wheel.arm(timer, 500);
    expect(alarm.delay).toBe(505);
    wheel.arm(new CallbackTimer(() => undefined), 1_000);
    expect(alarm.sets).toBe(1);
    time.at = 510;
    alarm.wake?.();
    expect(timer.armed).toBe(false);
    expect(alarm.delay).toBe(500);
    time.at = 1_010;
    alarm.wake?.();
    expect(wheel.armedCount).toBe(0);
    expect(alarm.wake).toBeUndefined();
    wheel.arm(timer, 20);
    wheel.disarm(timer);
    expect(alarm.wake).toBeUndefined();
  });

  it('waits again when the machine wakes it too soon', () => {
    const time = { at: 0 };
    const alarm = new RecordingAlarm();
    const wheel = new TimerWheel({ now: () => time.at, wallNow: () => 0 }, alarm);
    let fired = 0;
    wheel.arm(new CallbackTimer(() => fired++), 20);
    time.at = 19.5;
    alarm.wake?.();
    expect(fired).toBe(0);
    expect(alarm.delay).toBe(1);
    time.at = 20;
    alarm.wake?.();
    expect(fired).toBe(1);
  });

  it('runs on the machine’s clock', async () => {
    const clock = systemClock();
    const armedAt = clock.now();
    const firedAt = await new Promise<number>((resolve) =>
      clock.arm(new CallbackTimer(() => resolve(clock.now())), 25),
    );
    expect(firedAt - armedAt).toBeGreaterThanOrEqual(25);
    expect(clock.armedCount).toBe(0);
  });
});
