/** SIPp at both ends of what is measured. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, HOST, isBound, Program, temporaryFolder } from './machine.mjs';

const SCENARIOS = fileURLToPath(new URL('../sipp-scenarios', import.meta.url));

/**
 * @typedef {object} SippResult
 * @property {number | null} exitCode
 * @property {number} created
 * @property {number} successful
 * @property {number} failed
 * @property {number} retransmissions
 * @property {number} rate calls per second over the whole run
 */

/** A table of SIPp's; empty before its first line. @param {string} path */
function readTable(path) {
  const [names = [], ...rows] = (existsSync(path) ? readFileSync(path, 'latin1') : '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(';'));
  return { names, rows };
}

export class Sipp {
  /** @param {Program} program @param {string} folder */
  constructor(program, folder) {
    this.program = program;
    this.folder = folder;
  }

  /** Its last report, at most a second old while it runs. @returns {SippResult} */
  report() {
    const { names, rows } = readTable(join(this.folder, 'stat.csv'));
    const last = rows.at(-1) ?? [];
    /** @param {string} name */
    const value = (name) => Number(last[names.indexOf(name)] ?? 0);
    return {
      exitCode: this.program.exitCode ?? null,
      created: value('TotalCallCreated'),
      successful: value('SuccessfulCall(C)'),
      failed: value('FailedCall(C)'),
      retransmissions: value('Retransmissions(C)'),
      rate: value('CallRate(C)'),
    };
  }

  /**
   * REGISTERs received so far, retransmissions included, once a second.
   * @returns {{at: number, requests: number}[]} `at` in seconds since 1970
   */
  registers() {
    const file = readdirSync(this.folder).find((name) => name.endsWith('_counts.csv'));
    const { names, rows } = readTable(file === undefined ? '' : join(this.folder, file));
    const columns = names.flatMap((name, i) => (/^\d+_REGISTER_(Recv|Retrans)$/.test(name) ? [i] : []));
    return rows.map((row) => ({
      at: Number(row[0]?.split('\t').at(-1)),
      requests: columns.reduce((sum, column) => sum + Number(row[column]), 0),
    }));
  }

  async result() {
    await this.program.exited;
    return this.report();
  }
}

/** @param {'udp' | 'tcp'} transport */
const common = (transport) => [
  ...['-i', HOST, '-bind_local', '-ci', HOST, '-nostdin', '-t', transport === 'udp' ? 'u1' : 't1'],
  // With its default buffers SIPp itself loses packets above 3,000 calls/s.
  ...['-buff_size', '4000000', '-max_recv_loops', '5000', '-max_sched_loops', '5000'],
  ...['-trace_stat', '-stf', 'stat.csv', '-fd', '1', '-watchdog_minor_maxtriggers', '10000'],
];

/** @param {{transport: 'udp' | 'tcp', port: number, calls: number}} options */
export async function startAgent({ transport, port, calls }) {
  const folder = temporaryFolder('agent');
  const program = new Program(
    'sipp',
    [
      ...['-sf', join(SCENARIOS, 'uas/load.xml'), '-p', String(port), '-cp', String(await freePort())],
      ...common(transport),
      ...['-m', String(calls)],
    ],
    { folder },
  );
  await program.until('waited for its port', () => isBound(transport, port));
  return new Sipp(program, folder);
}

/**
 * @param {{transport: 'udp' | 'tcp', to: number, calls: number, rate: number, pauseMs?: number, number: string}} options
 */
export async function startCaller({ transport, to, calls, rate, pauseMs = 0, number }) {
  const folder = temporaryFolder('caller');
  const program = new Program(
    'sipp',
    [
      ...[
        '-sf',
        join(SCENARIOS, 'uac/load.xml'),
        '-p',
        String(await freePort()),
        '-cp',
        String(await freePort()),
      ],
      ...common(transport),
      ...['-m', String(calls), '-r', String(rate), '-l', String(Math.max(1_000, rate * 40, calls))],
      ...['-d', String(pauseMs), '-s', number, '-cid_str', 'caller-id-%u-%p@%s', `${HOST}:${to}`],
    ],
    { folder },
  );
  return new Sipp(program, folder);
}

/** A registrar for any number of accounts. @param {{port: number, expires: number}} options */
export async function startRegistrar({ port, expires }) {
  const folder = temporaryFolder('registrar');
  const program = new Program(
    'sipp',
    [
      ...['-sf', join(SCENARIOS, 'registrar/load.xml'), '-p', String(port), '-cp', String(await freePort())],
      ...common('udp'),
      // A Call-ID that comes again is a refresh.
      ...['-deadcall_wait', '0', '-key', 'expires', String(expires), '-trace_counts'],
    ],
    { folder },
  );
  await program.until('waited for its port', () => isBound('udp', port));
  return new Sipp(program, folder);
}
