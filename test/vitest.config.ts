import { defineConfig } from 'vitest/config';

/** Tests that put a load on the machine, or measure what one leaves behind: after the others and one at a time. */
const LOADS = [
  'test/scenario/endurance.test.ts',
  'test/hostile/**/*.test.ts',
  'test/scenario/drachtio-restart.test.ts',
];

const shared = {
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

const onDrachtio = process.env.TRUNKLINE_ENGINE === 'drachtio';
const ON_DRACHTIO = [
  'test/contract/drachtio-engine.test.ts',
  'test/unit/drachtio/**/*.test.ts',
  'test/scenario/**/*.test.ts',
];

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    globalSetup: ['test/kit/build.ts'],
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: 'tests',
          // TRUNKLINE_ENGINE=drachtio: what can be shown on either engine, on a drachtio-server.
          include: onDrachtio ? ON_DRACHTIO : ['test/**/*.test.ts'],
          setupFiles: onDrachtio ? ['test/kit/drachtio-scenarios.ts'] : [],
          exclude: LOADS,
          // Scenarios wait for timers more than they compute: more workers than cores.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...shared,
          name: 'loads',
          include: onDrachtio ? LOADS.filter((path) => path.startsWith('test/scenario/')) : LOADS,
          setupFiles: onDrachtio ? ['test/kit/drachtio-scenarios.ts'] : [],
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
