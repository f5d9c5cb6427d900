/** What the benches ask of the machine: processes and their CPU time, free ports, statistics, tables. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const HOST = '127.0.0.1';

/** @type {string[]} */
const folders = [];

/** A new folder that goes with this process. @param {string} name */
export function temporaryFolder(name) {
  if (folders.length === 0) {
    process.once('exit', () => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    });
  }
  const folder = mkdtempSync(join(tmpdir(), `trunkline-bench-${name}-`));
  folders.push(folder);
  return folder;
}

/** A program with its output in a file; killed with the bench at the latest. */
export class Program {
  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {{folder: string, ipc?: boolean, env?: NodeJS.ProcessEnv}} options
   */
  constructor(command, args, { folder, ipc = false, env = process.env }) {
    this.outputPath = join(folder, 'output.log');
    const output = openSync(this.outputPath, 'a');
    this.child = spawn(command, args, {
      cwd: folder,
      env,
      stdio: ['ignore', output, output, ...(ipc ? /** @type {const} */ (['ipc']) : [])],
    });
    closeSync(output);
    this.name = command;
    /** @type {number | null | undefined} undefined while it runs */
    this.exitCode = undefined;
    const lastResort = () => this.child.kill('SIGKILL');
    process.on('exit', lastResort);
    /** @type {Promise<number | null>} */
    this.exited = new Promise((resolve) => {
      this.child.once('error', (error) => {
        throw error;
      });
      this.child.once('exit', (code) => {
        process.off('exit', lastResort);
        this.exitCode = code;
        resolve(code);
      });
    });
  }

  get pid() {
    return this.child.pid ?? 0;
  }

  get output() {
    return readFileSync(this.outputPath, 'utf8');
  }

  /** @param {string} what @param {() => boolean | Promise<boolean>} condition */
  async until(what, condition, timeoutMs = 15_000) {
    const deadline = performance.now() + timeoutMs;
    while (!(await condition())) {
      if (this.exitCode !== undefined || performance.now() > deadline) {
        throw new Error(`${this.name}: ${what}, in vain.\n${this.output.slice(-3_000)}`);
      }
      await delay(20);
    }
  }

  /** @param {NodeJS.Signals} signal */
  async stop(signal = 'SIGTERM', graceMs = 5_000) {
    if (this.exitCode !== undefined) return;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    await this.exited;
    clearTimeout(timer);
  }
}

/**
 * CPU time of a process and its threads so far, in milliseconds: utime + stime of /proc/PID/stat, in ticks of 10 ms.
 * Only the sum is exact; the kernel divides it between the two by sampling, which a process that sleeps and wakes a
 * thousand times a second misleads.
 * @param {number} pid
 */
export function cpuMs(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the name in brackets and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** @param {'udp' | 'tcp'} transport @param {number} port */
export function isBound(transport, port) {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['', '6'].some((family) =>
    readFileSync(`/proc/net/${transport}${family}`, 'latin1')
      .split('\n')
      .some((line) => {
        const [, local, , state] = line.trim().split(/\s+/);
        return local?.endsWith(wanted) === true && (transport === 'udp' || state === '0A');
      }),
  );
}

let nextPort = 12_000 + (process.pid % 400) * 20;

/** A port below the machine's own range that is free for UDP and TCP now. @returns {Promise<number>} */
export async function freePort() {
  for (;;) {
    const port = nextPort++;
    const free = await new Promise((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, HOST, () => {
        const socket = createSocket('udp4');
        socket.once('error', () => server.close(() => resolve(false)));
        socket.bind(port, HOST, () => socket.close(() => server.close(() => resolve(true))));
      });
    });
    if (free) return port;
  }
}

/** @param {readonly number[]} sorted ascending @param {number} q 0 to 1 */
export function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

/** @param {number} value @param {number} digits */
export const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '-');

/**
 * @param {string} title
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function printTable(title, head, rows) {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] ?? '').length)));
  /** @param {readonly string[]} cells */
  const line = (cells) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ');
  process.stdout.write(
    `\n${title}\n${line(head)}\n${widths.map((width) => '-'.repeat(width)).join('  ')}\n${rows.map((row) => `${line(row)}\n`).join('')}`,
  );
}

export function describeMachine() {
  const [first] = cpus();
  return `${cpus().length} × ${first?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}, ${process.platform}`;
}
