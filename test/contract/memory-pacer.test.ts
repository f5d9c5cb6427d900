/** The pacer in memory keeps the promises of every pacer; time is virtual. */
import { FINE_TICK_MS } from '#lib/wheel.js';
import { MemoryPacer } from '#pacing/memory-pacer.js';
import { VirtualClock } from '../kit/virtual-clock.js';
import { pacingContract, recordingObserver } from './pacing.contract.js';
import { leadContract } from './pacing-lead.contract.js';
import type { PacingRig } from './pacing-rig.js';

async function memoryRig(): Promise<PacingRig> {
  const clock = new VirtualClock(FINE_TICK_MS);
  const pacers: MemoryPacer[] = [];
  return {
    open: async ({ observer = recordingObserver(), slowDown } = {}) => {
      const pacer = new MemoryPacer({ clock, observer, slowDown });
      pacers.push(pacer);
      return pacer;
    },
    now: () => clock.now(),
    pass: async (ms) => clock.advance(ms),
    until: async (what, condition, limitMs) => {
      if (!clock.advanceUntil(condition, limitMs)) throw new Error(`Waited ${limitMs} ms in vain: ${what}`);
    },
    close: async () => {
      for (const pacer of pacers) await pacer.stop();
    },
  };
}

pacingContract('in memory', memoryRig);
leadContract('in memory', memoryRig);
