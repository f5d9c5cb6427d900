/**
 * `npm run bench -- pacing`: calls per second held over several processes on one Redis: the most in any second, how much
 * of the limit is used, order, how well waits are foretold, and what a call costs. Beside it, on the same Redis and at
 * the same time of day, the queue of rate-limiter-flexible, which counts by fixed windows.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuMs, describeMachine, fixed, freePort, HOST, printTable, temporaryFolder } from './machine.mjs';
import { build } from './subjects.mjs';

export const usage = `npm run bench -- pacing [options]

  --limits LIST   calls per second, comma-separated (default 0.5,1,5,20,100,400)
  --nodes LIST    processes, comma-separated (default 1,2,4)
  --seconds N     length of each run (default 12)
  --without-peer  leave rate-limiter-flexible out
`;

export const options = /** @type {const} */ ({
  limits: { type: 'string', default: '0.5,1,5,20,100,400' },
  nodes: { type: 'string', default: '1,2,4' },
  seconds: { type: 'string', default: '12' },
  'without-peer': { type: 'boolean', default: false },
});

const WORKER = fileURLToPath(new URL('pace-worker.mjs', import.meta.url));

/** @param {number} port @param {string} command @returns {Promise<string>} the raw answer */
async function ask(port, command) {
  const socket = connect(port, HOST);
  await once(socket, 'connect');
  socket.write(`${command}\r\n`);
  const [data] = await once(socket, 'data');
  socket.destroy();
  return String(data);
}

/** @param {number} port requests carried out so far; those inside scripts are not among them */
async function requests(port) {
  const text = await ask(port, 'INFO commandstats');
  return [...text.matchAll(/^cmdstat_(?:evalsha|eval|multi):calls=(\d+)/gm)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0,
  );
}

/** @param {readonly number[]} moments sorted @param {number} ms */
function mostWithin(moments, ms) {
  let most = 0;
  let first = 0;
  for (let last = 0; last < moments.length; last++) {
    while ((moments[last] ?? 0) - (moments[first] ?? 0) >= ms) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** @param {object} argument @returns {Promise<any>} */
async function worker(argument) {
  const child = spawn(process.execPath, [WORKER, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`a pacing process ended with ${code}`);
  return JSON.parse(text);
}

/** @param {Record<string, any>} values */
export async function run(values) {
  build();
  const port = await freePort();
  const folder = temporaryFolder('bench-pacing');
  const redis = spawn(
    'redis-server',
    ['--port', String(port), '--bind', HOST, '--save', '', '--dir', folder],
    {
      stdio: 'ignore',
    },
  );
  try {
    await delay(500);
    const url = `redis://${HOST}:${port}`;
    const seconds = Number(values.seconds);
    process.stdout.write(`${describeMachine()}\n\n`);
    // A new Redis gives no slot for its first window.
    await worker({ url, key: 'warm', limit: 0.5, calls: 1, seconds: 2.5, kind: 'trunkline' });
    /** @type {string[][]} */
    const rows = [];
    for (const limit of values.limits.split(',').map(Number)) {
      for (const nodes of values.nodes.split(',').map(Number)) {
        for (const kind of ['trunkline', ...(values['without-peer'] ? [] : ['rate-limiter-flexible'])]) {
          const calls = Math.ceil((limit * seconds * 1.3 + 4) / nodes);
          const before = await requests(port);
          const redisBefore = cpuMs(redis.pid ?? 0);
          const key = `bench/${limit}-${nodes}`;
          const told = await Promise.all(
            Array.from({ length: nodes }, () => worker({ url, key, limit, calls, seconds, kind })),
          );
          const sends = told.flatMap((each) => each.sends).sort((a, b) => a - b);
          const spanMs = sends.at(-1) - sends[0];
          const errors = told
            .flatMap((each) => each.waits)
            .filter(([, real]) => real >= 1000)
            .map(([promised, real]) => Math.abs(promised - real) / real)
            .sort((a, b) => a - b);
          rows.push([
            kind,
            String(limit),
            String(nodes),
            String(sends.length),
            String(mostWithin(sends, limit < 1 ? 1000 / limit : 1000)),
            `${fixed((100 * (sends.length - 1)) / ((spanMs * limit) / 1000), 1)} %`,
            String(told.reduce((sum, each) => sum + each.lost, 0)),
            told.every((each) => each.inOrder) ? 'yes' : 'no',
            errors.length === 0 ? '-' : `${fixed(100 * errors[errors.length >> 1], 1)} %`,
            fixed(((await requests(port)) - before) / sends.length, 2),
            fixed(told.reduce((sum, each) => sum + each.cpuMs, 0) / sends.length, 2),
            fixed((cpuMs(redis.pid ?? 0) - redisBefore) / sends.length, 2),
          ]);
        }
      }
    }
    printTable(
      `${seconds} s each, more calls in line than can leave`,
      [
        ...['pacer', 'limit/s', 'nodes', 'sent', 'most in a second', 'use', 'lost', 'in order', 'ETA error'],
        ...['requests/call', 'CPU ms/call', "Redis's CPU ms/call"],
      ],
      rows,
    );
  } finally {
    redis.kill();
  }
}
