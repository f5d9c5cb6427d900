import { defineConfig } from 'vitest/config';
import { findServer } from './kit/drachtio-found.js';

/** Tests that put a load on the machine, or measure what one leaves behind: after the others and one at a time. */
const LOADS = [
  'test/scenario/endurance.test.ts',
  'test/scenario/origination-load.test.ts',
  'test/scenario/pacing.test.ts',
  'test/scenario/pacing-long.test.ts',
  'test/hostile/**/*.test.ts',
  'test/scenario/drachtio-restart.test.ts',
];

const shared = {
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

// TRUNKLINE_ENGINE=drachtio: what can be shown on either engine, on a drachtio-server.
const onDrachtio = process.env.TRUNKLINE_ENGINE === 'drachtio';
const server = await findServer(process.env);
const ON_DRACHTIO =
  server.kind === 'none'
    ? ['test/unit/drachtio/**/*.test.ts', 'test/kit/drachtio-not-run.ts']
    : ['test/unit/drachtio/**/*.test.ts', 'test/contract/drachtio-*.test.ts', 'test/scenario/**/*.test.ts'];
/** One server for all serves one gateway at a time. */
const oneByOne = onDrachtio && server.kind === 'running';

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    globalSetup: ['test/kit/build.ts'],
    // Every test by its name: what is skipped there says why.
    reporters: onDrachtio ? ['verbose'] : ['default'],
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: 'tests',
          include: onDrachtio ? ON_DRACHTIO : ['test/**/*.test.ts'],
          setupFiles: onDrachtio ? ['test/kit/drachtio-scenarios.ts'] : [],
          exclude: LOADS,
          // Scenarios wait for timers more than they compute: more workers than cores.
          maxWorkers: oneByOne ? 1 : 4,
          ...(oneByOne ? { fileParallelism: false, maxConcurrency: 1 } : {}),
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...shared,
          name: 'loads',
          include: onDrachtio
            ? LOADS.filter(
                (path) =>
                  server.kind !== 'none' &&
                  path.startsWith('test/scenario/') &&
                  // Four gateways at once; and whatever paces is above the engine.
                  !path.startsWith('test/scenario/pacing'),
              )
            : LOADS,
          setupFiles: onDrachtio ? ['test/kit/drachtio-scenarios.ts'] : [],
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
