/**
 * `npm run bench -- NAME [options]`: what the gateway costs, as tables. Each bench is a module here with `usage`,
 * `options` (for node:util parseArgs) and `run`.
 */
import { parseArgs } from 'node:util';

const BENCHES = {
  calls: () => import('./calls.mjs'),
  api: () => import('./api.mjs'),
  registrations: () => import('./registrations.mjs'),
  pacing: () => import('./pacing.mjs'),
  store: () => import('./store.mjs'),
};

const [name = '', ...rest] = process.argv.slice(2);
const load = Object.hasOwn(BENCHES, name) ? BENCHES[/** @type {keyof typeof BENCHES} */ (name)] : undefined;
if (load === undefined) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(BENCHES).join('|')} [--help]\n`);
  process.exit(2);
}
const bench = await load();
let values;
try {
  ({ values } = parseArgs({ args: rest, options: { ...bench.options, help: { type: 'boolean' } } }));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${bench.usage}`);
  process.exit(2);
}
if (values.help) process.stdout.write(bench.usage);
else await bench.run(values);
