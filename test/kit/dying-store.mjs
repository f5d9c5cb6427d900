/** The thread of the store, with two requests that it dies of: to read the agent `exit`, at once, and `throw`. */
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (/** @type {readonly {args: readonly unknown[]}[] | null} */ requests) => {
  for (const { args } of requests ?? []) {
    if (args[1] === 'exit') process.exit(3);
    if (args[1] === 'throw') throw new Error('poisoned');
  }
});
await import('../../dist/store/sqlite/worker.js');
