/**
 * `npm run bench -- registrations`: what it costs to keep many accounts registered. SIPp is the registrar: it asks for
 * a password once and grants what it is told. The start shows whether the set rate is kept; the time after it shows
 * whether the refreshes, born together, come spread.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  cpuMs,
  describeMachine,
  fixed,
  freePort,
  HOST,
  printTable,
  quantile,
  temporaryFolder,
} from './machine.mjs';
import { startRegistrar } from './sipp.mjs';
import { build, probeMemory, runGateway, TOKEN } from './subjects.mjs';

export const usage = `npm run bench -- registrations [options]

  --count N       accounts (default 20000)
  --registrars N  servers that they are spread over (default 1)
  --rate N        registrations.perSecond, for each server (default 200)
  --expires N     seconds that are granted (default 180)
  --seconds N     length of the watch after the last account is registered (default 180)
`;

export const options = /** @type {const} */ ({
  count: { type: 'string', default: '20000' },
  registrars: { type: 'string', default: '1' },
  rate: { type: 'string', default: '200' },
  expires: { type: 'string', default: '180' },
  seconds: { type: 'string', default: '180' },
});

/** Seconds of one line in the table of rates. */
const STEP = 10;

/** @typedef {import('./sipp.mjs').Sipp} Sipp */

/**
 * @param {object} plan
 * @param {number} plan.count
 * @param {number} plan.rate
 * @param {readonly number[]} plan.registrarPorts
 * @param {boolean} plan.registration
 */
async function startAccounts({ count, rate, registrarPorts, registration }) {
  const folder = temporaryFolder('gateway');
  const port = await freePort();
  const httpPort = await freePort();
  const accounts = Array.from({ length: count }, (_, i) => `account-${i}`);
  const config = {
    sip: { listen: [{ transport: 'udp', host: HOST, port }] },
    http: { host: HOST, port: httpPort },
    registrations: { perSecond: rate },
    sipCredentials: accounts.map((id, i) => ({
      id,
      server: `${HOST}:${registrarPorts[i % registrarPorts.length]}`,
      authUser: id,
      authPassword: 'secret',
      domain: 'registrar.test',
    })),
    phoneNumbers: accounts.map((id, i) => ({
      phoneNumber: `+1415${1_000_000 + i}`,
      credentialsId: id,
      registration,
    })),
  };
  const program = await runGateway({ folder, httpPort, config, options: { probe: true } });
  return { program, httpPort };
}

/** How many accounts the gateway says have a binding. @param {number} httpPort */
async function registered(httpPort) {
  const answer = await fetch(`http://${HOST}:${httpPort}/metrics`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const text = await answer.text();
  return ['registered', 'refreshing']
    .map((state) => {
      const found = new RegExp(`^trunkline_registrations\\{state="${state}"\\} (\\d+)$`, 'm').exec(text);
      if (found === null) throw new Error(`/metrics does not say how many accounts are ${state}`);
      return Number(found[1]);
    })
    .reduce((sum, count) => sum + count, 0);
}

/**
 * REGISTERs that all registrars got in each second.
 * @param {readonly Sipp[]} registrars
 * @param {number} from seconds since 1970 @param {number} to
 */
function perSecond(registrars, from, to) {
  const histories = registrars.map((registrar) => registrar.registers());
  /** SIPp's seconds are not ours: a straight line between two of its reports. @param {number} at */
  const until = (at) => {
    let sum = 0;
    for (const history of histories) {
      const next = history.findIndex((row) => row.at >= at);
      const after = history[next];
      const before = history[next - 1];
      if (after === undefined) sum += history.at(-1)?.requests ?? 0;
      else if (before !== undefined) {
        sum +=
          before.requests + ((after.requests - before.requests) * (at - before.at)) / (after.at - before.at);
      }
    }
    return sum;
  };
  const rates = [];
  for (let at = from; at + 1 <= to; at++) rates.push(until(at + 1) - until(at));
  return rates;
}

/** @param {readonly number[]} rates */
function describeRates(rates) {
  const sorted = rates.toSorted((a, b) => a - b);
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  return [mean, sorted[0] ?? Number.NaN, quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0];
}

const now = () => Date.now() / 1_000;

/** @param {{[name: string]: string | boolean | undefined}} values */
export async function run(values) {
  const count = Number(values.count);
  const rate = Number(values.rate);
  const expires = Number(values.expires);
  const seconds = Number(values.seconds);
  build();
  process.stdout.write(`${describeMachine()}. SIPp as registrar on the same machine.\n`);

  const registrarPorts = [];
  while (registrarPorts.length < Number(values.registrars)) registrarPorts.push(await freePort());
  const registrars = [];
  for (const port of registrarPorts) registrars.push(await startRegistrar({ port, expires }));

  // What the accounts weigh that are only known, to be taken off.
  const known = await startAccounts({ count, rate, registrarPorts, registration: false });
  const knownMemory = await probeMemory(known);
  await known.program.stop('SIGKILL');

  const { program, httpPort } = await startAccounts({ count, rate, registrarPorts, registration: true });
  const started = now();
  const cpuAtStart = cpuMs(program.pid);
  // The first REGISTER of each is challenged, so it is two.
  const deadline = started + (4 * count) / (rate * registrarPorts.length) + 60;
  while ((await registered(httpPort)) < count) {
    if (now() > deadline) throw new Error(`${await registered(httpPort)} of ${count} registered; given up`);
    await delay(250);
  }
  const complete = now();
  const cpuAtComplete = cpuMs(program.pid);
  await delay(seconds * 1_000);
  const watched = now();
  const cpuAtEnd = cpuMs(program.pid);
  const stillRegistered = await registered(httpPort);
  const memory = await probeMemory({ program });
  // The last report of SIPp is up to a second old.
  const end = Math.floor(watched) - 2;
  const rates = perSecond(registrars, Math.floor(started), end);
  const [startRates, steadyRates] = [
    rates.slice(0, Math.ceil(complete - started)),
    rates.slice(Math.ceil(complete - started)),
  ];
  await program.stop('SIGKILL');
  const failed = registrars.reduce((sum, registrar) => sum + registrar.report().failed, 0);
  for (const registrar of registrars) await registrar.program.stop('SIGKILL');

  const set = rate * registrarPorts.length;
  printTable(
    `REGISTERs per second at the registrar, lines of ${STEP} s; set rate ${set}, ${count} accounts, ${expires} s granted`,
    ['from', 'mean', 'least', 'most'],
    Array.from({ length: Math.ceil(rates.length / STEP) }, (_, i) => {
      const [mean, least, , , most] = describeRates(rates.slice(i * STEP, (i + 1) * STEP));
      return [`${i * STEP} s`, fixed(mean ?? 0, 0), fixed(least ?? 0, 0), fixed(most ?? 0, 0)];
    }),
  );
  printTable(
    'The start, until the last account was registered, and the refreshes after it, in REGISTERs per second',
    ['phase', 'seconds', 'mean', 'least', 'median', 'p99', 'most', 'most of set rate'],
    [/** @type {const} */ (['start', startRates]), /** @type {const} */ (['refreshes', steadyRates])].map(
      ([phase, series]) => {
        const figures = describeRates(series);
        return [
          phase,
          String(series.length),
          ...figures.map((figure) => fixed(figure, 0)),
          `${fixed(((figures[4] ?? 0) / set) * 100, 0)} %`,
        ];
      },
    ),
  );
  const startRequests = startRates.reduce((sum, value) => sum + value, 0);
  const steadyRequests = steadyRates.reduce((sum, value) => sum + value, 0);
  const steadyCpu = cpuAtEnd - cpuAtComplete;
  printTable(
    'Cost, and whether everybody stayed',
    [
      ...['accounts', 'registered', 'failed at SIPp', 'CPU-ms/REGISTER start', 'CPU-ms/REGISTER refresh'],
      ...['CPU steady', 'CPU-ms/account·hour', 'heap KiB/account', 'RSS MiB in all'],
    ],
    [
      [
        String(count),
        String(stillRegistered),
        String(failed),
        fixed((cpuAtComplete - cpuAtStart) / startRequests, 3),
        fixed(steadyCpu / steadyRequests, 3),
        `${fixed(steadyCpu / (watched - complete) / 10, 1)} %`,
        fixed((steadyCpu / count) * (3_600 / (watched - complete)), 1),
        fixed(
          (memory.heapUsed + memory.external - knownMemory.heapUsed - knownMemory.external) / count / 1_024,
          2,
        ),
        fixed(memory.rss / 1_048_576, 0),
      ],
    ],
  );
}
