/** What is measured: the gateway as `npm start` runs it, or the bare floor. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, HOST, isBound, Program, temporaryFolder } from './machine.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PROBE = join(ROOT, 'test/kit/probe.mjs');

/** The number that the callers dial. */
export const NUMBER = '+14155550100';

/** Of the management API. */
export const TOKEN = 'bench';

/**
 * @typedef {object} Subject
 * @property {string} name
 * @property {number} port where callers send to
 * @property {number} agentPort where it sends calls to
 * @property {Program} program
 * @property {string} folder for profiles
 * @property {Program} [server] a second process that does part of the work
 */

/** @typedef {{transport: 'udp' | 'tcp', probe?: boolean, profile?: boolean}} StartOptions */

/** @param {string} folder @param {Omit<StartOptions, 'transport'>} options */
function nodeArguments(folder, { probe, profile }) {
  return [
    ...(probe ? ['--expose-gc', '--import', PROBE] : []),
    ...(profile ? ['--cpu-prof', '--cpu-prof-dir', folder] : []),
  ];
}

/** @type {readonly string[] | undefined} */
let flags;

/** Other arguments for node than those of `npm start`. @param {readonly string[]} list */
export function useFlags(list) {
  flags = list;
}

/** What `npm start` passes to node before the program. */
function startFlags() {
  if (flags !== undefined) return flags;
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return /** @type {string} */ (scripts.start).split(' ').filter((word) => word.startsWith('--'));
}

/** Brings `dist/` up to date, as `npm start` does. */
export function build() {
  const { status } = spawnSync(process.execPath, ['src/setup.mjs'], { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/**
 * Runs the gateway as `npm start` does, on any configuration; resolves when it is ready.
 * @param {{folder: string, httpPort: number, config: unknown, options: Omit<StartOptions, 'transport'>}} run
 */
export async function runGateway({ folder, httpPort, config, options }) {
  const configPath = join(folder, 'trunkline.yaml');
  // JSON is YAML.
  writeFileSync(configPath, JSON.stringify(config, null, 2));
  const program = new Program(
    process.execPath,
    [...startFlags(), ...nodeArguments(folder, options), join(ROOT, 'dist/main.js'), '--config', configPath],
    { folder, ipc: options.probe === true, env: { ...process.env, TRUNKLINE_API_TOKEN: TOKEN } },
  );
  await program.until(
    'waited for /readyz',
    async () => {
      try {
        return (await fetch(`http://${HOST}:${httpPort}/readyz`)).ok;
      } catch {
        return false;
      }
    },
    60_000,
  );
  return program;
}

/** @param {StartOptions} options @returns {Promise<Subject>} */
export async function startGateway(options) {
  const { transport } = options;
  const folder = temporaryFolder('gateway');
  const port = await freePort();
  const agentPort = await freePort();
  const httpPort = await freePort();
  const config = {
    sip: { listen: ['udp', 'tcp'].map((name) => ({ transport: name, host: HOST, port })) },
    http: { host: HOST, port: httpPort },
    sipCredentials: [{ id: 'carrier', server: `${HOST}:5080`, transport, allowedAddresses: [`${HOST}/32`] }],
    phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'agent' }],
    agents: [
      {
        id: 'agent',
        name: 'Agent',
        endpoints: [{ uri: `sip:agent@${HOST}:${agentPort};transport=${transport}` }],
      },
    ],
  };
  const program = await runGateway({ folder, httpPort, config, options });
  return { name: 'gateway', port, agentPort, program, folder };
}

/** @param {StartOptions} options @returns {Promise<Subject>} */
export async function startFloor(options) {
  const folder = temporaryFolder('floor');
  const port = await freePort();
  const agentPort = await freePort();
  const program = new Program(
    process.execPath,
    [
      ...startFlags(),
      ...nodeArguments(folder, options),
      join(ROOT, 'bench/bare-floor.mjs'),
      String(port),
      String(agentPort),
    ],
    { folder, ipc: options.probe === true },
  );
  await program.until('waited for its port', () => isBound('udp', port));
  return { name: 'bare floor', port, agentPort, program, folder };
}

/**
 * Memory after a full collection, of a subject started with `probe`.
 * @param {Pick<Subject, 'program'>} subject
 * @returns {Promise<{rss: number, heapUsed: number, external: number}>}
 */
export function probeMemory({ program }) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${program.name} did not answer the probe`)), 30_000);
    program.child.once('message', (/** @type {{memory: NodeJS.MemoryUsage}} */ message) => {
      clearTimeout(timer);
      resolve(message.memory);
    });
    program.child.send('probe');
  });
}
