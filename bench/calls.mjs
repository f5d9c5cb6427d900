/**
 * `npm run bench -- calls`: what a bridged call costs. Starts the gateway and, for comparison, the bare floor, with
 * SIPp as caller and agent (INVITE, 180, 200, ACK, BYE, 200: 13 messages in and out with the 100).
 */

import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { missingServer, startOnDrachtio } from './drachtio.mjs';
import {
  cpuMs,
  describeMachine,
  fixed,
  freePort,
  Program,
  printTable,
  quantile,
  temporaryFolder,
} from './machine.mjs';
import { readProfile } from './profile.mjs';
import { startAgent, startCaller } from './sipp.mjs';
import { build, NUMBER, probeMemory, startFloor, startGateway, useFlags } from './subjects.mjs';

/** @typedef {'udp' | 'tcp'} Transport */
/** @typedef {import('./subjects.mjs').Subject} Subject */
/** @typedef {{subject: string, transport: Transport, start: (options: import('./subjects.mjs').StartOptions) => Promise<Subject>}} Contender */

export const usage = `npm run bench -- calls [options]

  --only LIST       of cpu,rate,latency,memory (default all)
  --subject LIST    of gateway,floor (default both)
  --engine LIST     of embedded,drachtio for the gateway (default embedded); drachtio starts the drachtio-server that
                    TRUNKLINE_DRACHTIO_BINARY names, and counts the CPU time of both processes
  --transport LIST  of udp,tcp (default both; the bare floor speaks UDP only)
  --rate N          calls per second for cpu (default 1000)
  --seconds N       length of each cpu window, rate step and latency run (default 20, latency at most 10)
  --rates LIST      steps of the rate search (default 1000,2000,3000,4000,5000)
  --calls N         calls in progress for memory (default 10000)
  --tail            cpu also with all that comes after the calls: waits 34 s for the timers of RFC 3261 to end
  --flags=LIST      for node instead of those of npm start, separated by spaces
  --profile         runs the cpu part with --cpu-prof and prints where the time goes; its figures are then too high
`;

export const options = /** @type {const} */ ({
  only: { type: 'string', default: 'cpu,rate,latency,memory' },
  subject: { type: 'string', default: 'gateway,floor' },
  engine: { type: 'string', default: 'embedded' },
  transport: { type: 'string', default: 'udp,tcp' },
  rate: { type: 'string', default: '1000' },
  seconds: { type: 'string', default: '20' },
  rates: { type: 'string', default: '1000,2000,3000,4000,5000' },
  calls: { type: 'string', default: '10000' },
  tail: { type: 'boolean', default: false },
  profile: { type: 'boolean', default: false },
  flags: { type: 'string' },
});

/** Seconds of load before a CPU window opens: the compiler has seen the hot functions by then. */
const WARM_SECONDS = 5;
/** 64·T1 and a little: after that no transaction of a finished call is left. */
const TAIL_MS = 34_000;

/** CPU time of a subject so far, in milliseconds. @param {Subject} subject */
function cpuOf({ program, server }) {
  return cpuMs(program.pid) + (server === undefined ? 0 : cpuMs(server.pid));
}

/** Runs `calls` calls through a subject to their end. @param {Contender} contender @param {Subject} subject */
async function runLoad(contender, subject, { rate, calls, pauseMs = 0 }) {
  const agent = await startAgent({ transport: contender.transport, port: subject.agentPort, calls });
  const caller = await startCaller({
    transport: contender.transport,
    to: subject.port,
    calls,
    rate,
    pauseMs,
    number: NUMBER,
  });
  return { agent, caller };
}

/** @param {Contender} contender */
async function measureCpu(contender, { rate, seconds, tail, profile }) {
  const subject = await contender.start({ transport: contender.transport, profile });
  const idleCpu = cpuOf(subject);
  const calls = rate * (WARM_SECONDS + seconds + 2);
  const { agent, caller } = await runLoad(contender, subject, { rate, calls });
  await delay(WARM_SECONDS * 1_000);
  const started = performance.now();
  const before = cpuOf(subject);
  await delay(seconds * 1_000);
  const windowCpu = cpuOf(subject) - before;
  const elapsed = (performance.now() - started) / 1_000;
  const [callerResult, agentResult] = [await caller.result(), await agent.result()];
  let tailed = Number.NaN;
  if (tail) {
    await delay(TAIL_MS);
    tailed = (cpuOf(subject) - idleCpu) / calls;
  }
  await subject.program.stop('SIGTERM', 40_000);
  return {
    row: [
      contender.subject,
      contender.transport,
      fixed(callerResult.rate, 0),
      fixed(windowCpu / (callerResult.rate * elapsed), 3),
      ...(tail ? [fixed(tailed, 3)] : []),
      String(callerResult.failed + agentResult.failed + calls - callerResult.successful),
      String(callerResult.retransmissions + agentResult.retransmissions),
    ],
    profile: profile ? readProfile(subject.folder, 30) : null,
  };
}

/** @param {Contender} contender */
async function measureRate(contender, { rates, seconds }) {
  const rows = [];
  let highest = 0;
  for (const rate of rates) {
    const subject = await contender.start({ transport: contender.transport });
    const calls = rate * seconds;
    const { agent, caller } = await runLoad(contender, subject, { rate, calls });
    const before = cpuOf(subject);
    const callerResult = await caller.result();
    // What is still missing after its caller is done will not come.
    await Promise.race([agent.program.exited, delay(2_000)]);
    const cpu = cpuOf(subject) - before;
    const agentResult = agent.report();
    await agent.program.stop('SIGKILL');
    await subject.program.stop('SIGKILL');
    const failed = Math.max(calls - callerResult.successful, callerResult.failed, agentResult.failed);
    const again = (callerResult.retransmissions + agentResult.retransmissions) / calls;
    // A rate that was not reached proves nothing about it.
    const clean = failed === 0 && again < 0.01 && callerResult.rate >= 0.97 * rate;
    if (clean) highest = rate;
    rows.push([
      contender.subject,
      contender.transport,
      String(rate),
      fixed(callerResult.rate, 0),
      String(failed),
      `${fixed(again * 100, 2)} %`,
      fixed(cpu / calls, 3),
      clean ? 'clean' : 'no',
    ]);
    if (!clean) break;
  }
  return { rows, highest };
}

/** Times of INVITE→200 in µs, ascending. @param {Transport} transport @param {number} to */
export async function timeCalls(transport, to, { rate, calls }) {
  const folder = temporaryFolder('latency');
  const program = new Program(
    process.execPath,
    [
      fileURLToPath(new URL('./latency-caller.mjs', import.meta.url)),
      ...[transport, String(to), String(await freePort()), String(rate), String(calls), NUMBER],
    ],
    { folder },
  );
  await program.exited;
  const { times, answered } = JSON.parse(program.output);
  return { times: /** @type {number[]} */ (times).sort((a, b) => a - b), answered };
}

/** @param {Transport} transport @param {{rate: number, calls: number}} load */
async function timeDirect(transport, load) {
  const port = await freePort();
  const agent = await startAgent({ transport, port, calls: load.calls * 2 });
  await timeCalls(transport, port, load);
  const direct = await timeCalls(transport, port, load);
  await agent.program.stop('SIGKILL');
  return direct;
}

/** @param {Contender} contender @param {{rate: number, calls: number}} load @param {{times: number[]}} direct */
async function measureLatency(contender, load, direct) {
  const subject = await contender.start({ transport: contender.transport });
  const agent = await startAgent({
    transport: contender.transport,
    port: subject.agentPort,
    calls: load.calls * 2,
  });
  // The first run warms both sides up and is thrown away.
  await timeCalls(contender.transport, subject.port, load);
  const { times, answered } = await timeCalls(contender.transport, subject.port, load);
  await agent.program.stop('SIGKILL');
  await subject.program.stop('SIGKILL');
  const cells = [0.5, 0.99].flatMap((q) => {
    const [with_, without] = [quantile(times, q), quantile(direct.times, q)];
    return [without, with_, with_ - without].map((us) => fixed(us / 1_000, 2));
  });
  return [contender.subject, contender.transport, ...cells, String(load.calls - answered)];
}

/** @param {Contender} contender */
async function measureMemory(contender, { calls }) {
  const subject = await contender.start({ transport: contender.transport, probe: true });
  const rate = 1_000;
  const warm = 3_000;
  const load = await runLoad(contender, subject, { rate, calls: warm });
  await load.caller.result();
  await load.agent.result();
  if (contender.subject === 'gateway') await delay(TAIL_MS);
  const before = await probeMemory(subject);
  const held = await runLoad(contender, subject, { rate, calls, pauseMs: 600_000 });
  // The agent counts what has reached it; a last second lets the answers of the last calls cross.
  while (held.agent.report().created < calls && held.caller.program.exitCode === undefined) await delay(200);
  await delay(1_500);
  const fresh = await probeMemory(subject);
  /** @type {Awaited<ReturnType<typeof probeMemory>> | null} */
  let settled = null;
  if (contender.subject === 'gateway') {
    await delay(TAIL_MS);
    settled = await probeMemory(subject);
  }
  const failed = held.caller.report().failed + held.agent.report().failed;
  for (const { program } of [held.caller, held.agent, subject]) await program.stop('SIGKILL');
  /** @param {typeof settled} now */
  const perCall = (now) =>
    now === null
      ? ['-', '-']
      : [
          fixed((now.heapUsed + now.external - before.heapUsed - before.external) / calls / 1_024, 2),
          fixed((now.rss - before.rss) / calls / 1_024, 2),
        ];
  return [
    contender.subject,
    contender.transport,
    String(calls),
    ...perCall(fresh),
    ...perCall(settled),
    String(failed),
  ];
}

/** @param {{[name: string]: string | boolean | undefined}} values */
export async function run(values) {
  const list = (/** @type {string} */ name) => String(values[name]).split(',').filter(Boolean);
  const only = new Set(list('only'));
  const seconds = Number(values.seconds);
  const rate = Number(values.rate);
  const transports = /** @type {Transport[]} */ (list('transport'));
  const subjects = new Set(list('subject'));
  const engines = new Set(list('engine'));
  const missing = missingServer();
  if (subjects.has('gateway')) build();
  if (values.flags !== undefined) useFlags(String(values.flags).split(' ').filter(Boolean));
  /** @type {Contender[]} */
  const contenders = [];
  for (const transport of transports) {
    if (subjects.has('floor') && transport === 'udp') {
      contenders.push({ subject: 'bare floor', transport, start: startFloor });
    }
    if (!subjects.has('gateway')) continue;
    if (engines.has('embedded')) contenders.push({ subject: 'gateway', transport, start: startGateway });
    if (engines.has('drachtio') && missing === null) {
      contenders.push({ subject: 'on drachtio-server', transport, start: startOnDrachtio });
    }
  }
  if (engines.has('drachtio') && missing !== null) {
    process.stdout.write(`engine drachtio NOT RUN: ${missing}\n`);
  }
  process.stdout.write(`${describeMachine()}. SIPp as caller and agent on the same machine.\n`);

  if (only.has('cpu')) {
    const results = [];
    for (const contender of contenders) {
      results.push(
        await measureCpu(contender, {
          rate,
          seconds,
          tail: values.tail === true,
          profile: values.profile === true,
        }),
      );
    }
    printTable(
      `CPU time of one call, a window of ${seconds} s after ${WARM_SECONDS} s of load`,
      [
        ...['subject', 'transport', 'calls/s', 'CPU-ms/call'],
        ...(values.tail ? ['whole run and 34 s'] : []),
        ...['failed', 'retransmissions'],
      ],
      results.map(({ row }) => row),
    );
    for (const { row, profile } of results) {
      if (profile === null) continue;
      printTable(
        `Self time of ${row[0]}, ${row[1]}, from start to end, by room`,
        ['room', 'share', 'ms'],
        profile.rooms
          .filter(({ share }) => share >= 0.003)
          .map(({ name, share, ms }) => [name, `${fixed(share * 100, 1)} %`, fixed(ms, 0)]),
      );
      printTable(
        'and by function',
        ['function', 'share', 'ms', 'where'],
        profile.functions.map(({ name, share, ms, where }) => [
          name,
          `${fixed(share * 100, 1)} %`,
          fixed(ms, 0),
          where,
        ]),
      );
    }
  }
  if (only.has('rate')) {
    const results = [];
    for (const contender of contenders) {
      results.push(await measureRate(contender, { rates: list('rates').map(Number), seconds }));
    }
    printTable(
      `Highest clean rate: ${seconds} s each, no failed call, retransmissions under 1 % of the calls, 97 % of the rate reached`,
      ['subject', 'transport', 'asked', 'reached', 'failed', 'retransmissions', 'CPU-ms/call', 'verdict'],
      results.flatMap(({ rows }) => rows),
    );
  }
  if (only.has('latency')) {
    const load = { rate: 500, calls: 500 * Math.min(seconds, 10) };
    /** @type {Map<Transport, {times: number[]}>} */
    const direct = new Map();
    for (const transport of transports) direct.set(transport, await timeDirect(transport, load));
    const rows = [];
    for (const contender of contenders) {
      const times = direct.get(contender.transport);
      if (times !== undefined) rows.push(await measureLatency(contender, load, times));
    }
    printTable(
      `INVITE→200 in ms at 500 calls/s, ${load.calls} calls, a caller of our own (SIPp counts in whole ms), SIPp as agent`,
      [
        ...['subject', 'transport', 'median direct', 'through', 'added'],
        ...['p99 direct', 'through', 'added', 'lost'],
      ],
      rows,
    );
  }
  if (only.has('memory')) {
    const rows = [];
    for (const contender of contenders)
      rows.push(await measureMemory(contender, { calls: Number(values.calls) }));
    printTable(
      'Memory of a call in progress in KiB after a full collection: right after set-up with its transactions, and 34 s later',
      ['subject', 'transport', 'calls', 'heap fresh', 'RSS fresh', 'heap settled', 'RSS settled', 'failed'],
      rows,
    );
  }
}
