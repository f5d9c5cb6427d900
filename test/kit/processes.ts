/** Programs started by tests: their output, their end, and the facts that /proc tells about them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Names the folder of the whole run, which the global set-up makes and removes. */
export const RUN_FOLDER_VARIABLE = 'TRUNKLINE_TEST_FOLDER';

/** A new folder outside the work tree, where programs leave their files until the run is over. */
export function temporaryFolder(name: string): string {
  return mkdtempSync(join(process.env[RUN_FOLDER_VARIABLE] ?? tmpdir(), `trunkline-${name}-`));
}

/**
 * Waits for a condition by asking again and again.
 * @param what goes into the Error when the time is up
 */
export async function until(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`Waited ${timeoutMs} ms in vain: ${typeof what === 'string' ? what : what()}`);
    }
    await delay(10);
  }
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Nobody outlives the test worker. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
// vitest ends its workers so, and a process that a signal ends has no `exit`.
process.once('SIGTERM', () => process.exit(143));

/** A running program. Its output is kept; it is ended by its own pid only, and with the test worker at the latest. */
export class Program {
  readonly child: ChildProcess;
  readonly name: string;
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';
  exit: Exit | undefined;

  constructor(
    name: string,
    command: string,
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; ipc?: boolean; keepOutput?: boolean } = {},
  ) {
    this.name = name;
    const output = options.keepOutput === false ? 'ignore' : 'pipe';
    this.child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: options.env ?? process.env,
      stdio: ['ignore', output, output, ...(options.ipc ? (['ipc'] as const) : [])],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    running.add(this.child);
    this.exited = new Promise((resolve) => {
      const settle = (exit: Exit): void => {
        running.delete(this.child);
        this.exit = exit;
        resolve(exit);
      };
      this.child.once('error', (error) => {
        this.stderr += `${error.message}\n`;
        settle({ code: null, signal: null });
      });
      this.child.once('close', (code, signal) => settle({ code, signal }));
    });
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error(`${this.name} did not start: ${this.stderr}`);
    return pid;
  }

  /** Asks with `signal` and, when that does not help within `graceMs`, kills. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Exit> {
    if (this.exit === undefined) {
      this.child.kill(signal);
      const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
      await this.exited;
      clearTimeout(timer);
    }
    return this.exited;
  }

  /** The last lines of what it said, for messages of failed tests. */
  get tail(): string {
    return `${this.name}: ${[this.stdout, this.stderr].map((text) => text.slice(-2_000).trim()).join('\n')}`;
  }

  /** Waits for a condition, and fails at once when the program ends before it holds. */
  async until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
    await until(
      () => `${what}. ${this.tail}`,
      () => {
        if (this.exit !== undefined) throw new Error(`${this.name} ended before: ${what}. ${this.tail}`);
        return condition();
      },
      timeoutMs,
    );
  }
}

/** Open file descriptors of a process. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Whether a socket of this machine is bound to the port: a UDP socket, or a listening one for TCP. */
export function isBound(transport: 'udp' | 'tcp', port: number): boolean {
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
