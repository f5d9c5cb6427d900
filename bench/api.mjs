/**
 * `npm run bench -- api`: what the management API costs the calls. The same calls without and with requests at the API
 * beside them, all in one process of the gateway.
 */
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { timeCalls } from './calls.mjs';
import {
  cpuMs,
  describeMachine,
  fixed,
  freePort,
  HOST,
  Program,
  printTable,
  quantile,
  temporaryFolder,
} from './machine.mjs';
import { readProfile } from './profile.mjs';
import { startAgent } from './sipp.mjs';
import { build, NUMBER, runGateway, TOKEN } from './subjects.mjs';

export const usage = `npm run bench -- api [options]

  --reads N      requests per second that read, a tenth of them lists of 20 (default 2000)
  --writes N     requests per second that write (default 200)
  --calls N      calls per second (default 200)
  --seconds N    length of each run (default 20)
  --numbers N    phone numbers in the store (default 1000)
  --redis URL    the store in this Redis instead of SQLite; what it has stays there
  --profile      prints where the time goes; the figures are then too high
`;

export const options = /** @type {const} */ ({
  reads: { type: 'string', default: '2000' },
  writes: { type: 'string', default: '200' },
  calls: { type: 'string', default: '200' },
  seconds: { type: 'string', default: '20' },
  numbers: { type: 'string', default: '1000' },
  redis: { type: 'string' },
  profile: { type: 'boolean', default: false },
});

/** Requests at a time while the store is filled. */
const FILL_AT_ONCE = 16;

/** @param {number} httpPort @param {string} path @param {unknown} body @returns {Promise<string>} its id */
async function make(httpPort, path, body) {
  const response = await fetch(`http://${HOST}:${httpPort}/api/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 201) throw new Error(`POST ${path}: ${response.status} ${text}`);
  return String(JSON.parse(text).id);
}

/** Phone numbers on a trunk, by the API. @param {number} httpPort @param {number} count */
async function fill(httpPort, count) {
  const credentialsId = await make(httpPort, '/sip-credentials', {
    server: 'sip.provider.example',
    authUser: 'bench',
    authPassword: 'secret of the bench',
  });
  /** @type {string[]} */
  const ids = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: FILL_AT_ONCE }, async () => {
      while (next < count) {
        const phoneNumber = `+1${2_000_000_000 + next++}`;
        ids.push(await make(httpPort, '/phone-numbers', { phoneNumber, credentialsId }));
      }
    }),
  );
  return ids;
}

/** @param {{times: number[]}} tally @param {number} q @param {number} perMs */
const at = ({ times }, q, perMs) => fixed(quantile(times, q) / perMs, 2);

/** @param {{[name: string]: string | boolean | undefined}} values */
export async function run(values) {
  const [reads, writes, rate, seconds, count] = ['reads', 'writes', 'calls', 'seconds', 'numbers'].map(
    (name) => Number(values[name]),
  );
  const calls = rate * seconds;
  build();
  const folder = temporaryFolder('api');
  const [port, agentPort, httpPort] = [await freePort(), await freePort(), await freePort()];
  const program = await runGateway({
    folder,
    httpPort,
    options: { profile: values.profile === true },
    config: {
      sip: { listen: [{ transport: 'udp', host: HOST, port }] },
      http: { host: HOST, port: httpPort, requestsPerSecond: 100_000 },
      ...(values.redis === undefined ? {} : { store: { kind: 'redis' }, redis: { url: values.redis } }),
      sipCredentials: [{ id: 'carrier', server: `${HOST}:5080`, allowedAddresses: [HOST] }],
      phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'agent' }],
      agents: [{ id: 'agent', endpoints: [{ uri: `sip:agent@${HOST}:${agentPort}` }] }],
    },
  });
  const ids = await fill(httpPort, count);
  const agent = await startAgent({ transport: 'udp', port: agentPort, calls: calls * 3 });

  /** @param {boolean} asked */
  const measure = async (asked) => {
    const began = performance.now();
    const cpu = cpuMs(program.pid);
    const api = asked
      ? new Program(
          process.execPath,
          [
            fileURLToPath(new URL('./api-caller.mjs', import.meta.url)),
            ...[String(httpPort), TOKEN, String(reads), String(writes), String(seconds), ids.join(',')],
          ],
          { folder: temporaryFolder('api-caller') },
        )
      : undefined;
    const called = await timeCalls('udp', port, { rate, calls });
    const share = (cpuMs(program.pid) - cpu) / (performance.now() - began);
    await api?.exited;
    return { called, share, asked: api === undefined ? undefined : JSON.parse(api.output) };
  };
  await measure(true);
  const quiet = await measure(false);
  const busy = await measure(true);
  const [load = 0] = loadavg();
  await agent.program.stop('SIGKILL');
  await program.stop('SIGTERM', 40_000);

  process.stdout.write(
    `${describeMachine()}, load average ${fixed(load, 1)}. ${values.redis === undefined ? 'SQLite' : 'Redis'}, ${count} numbers; SIPp as agent, all on the same machine.\n`,
  );
  printTable(
    `INVITE→200 in ms at ${rate} calls/s, ${calls} calls`,
    ['API', 'median', 'p99', 'worst', 'lost', 'CPU of the gateway'],
    [
      { name: 'not asked', ...quiet },
      { name: `${reads} reads/s, ${writes} writes/s`, ...busy },
    ].map(({ name, called, share }) => [
      name,
      ...[0.5, 0.99, 1].map((q) => at(called, q, 1_000)),
      String(calls - called.answered),
      `${fixed(share * 100, 0)} %`,
    ]),
  );
  printTable(
    `Answers of the API in ms beside these calls, from when each request was due; ${busy.asked.unanswered} without an answer`,
    ['requests', 'per second', 'median', 'p99', 'worst', 'failed'],
    /** @type {const} */ (['read', 'write']).map((kind) => {
      const tally = busy.asked[kind];
      tally.times.sort((/** @type {number} */ a, /** @type {number} */ b) => a - b);
      return [
        kind,
        fixed(tally.times.length / seconds, 0),
        ...[0.5, 0.99, 1].map((q) => at(tally, q, 1)),
        String(tally.failed),
      ];
    }),
  );
  if (values.profile !== true) return;
  const profile = readProfile(folder, 30);
  printTable(
    'Self time by function, from start to end',
    ['function', 'share', 'ms', 'where'],
    profile.functions.map(({ name, share, ms, where }) => [
      name,
      `${fixed(share * 100, 1)} %`,
      fixed(ms, 0),
      where,
    ]),
  );
}
