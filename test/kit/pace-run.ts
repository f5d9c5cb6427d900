/** Pacing runs with processes as nodes, and what the moments that they wrote down say. */
import { join } from 'node:path';
import { Program, ROOT } from './processes.js';

export interface PaceRun {
  readonly url: string;
  readonly key: string;
  readonly limit: number;
  readonly nodes: number;
  readonly seconds: number;
  readonly kind?: 'trunkline' | 'rate-limiter-flexible';
}

interface Told {
  readonly sends: readonly number[];
  readonly waits: readonly (readonly [number, number])[];
  readonly inOrder: boolean;
  readonly lost: number;
  readonly cpuMs: number;
}

export interface PaceFigures {
  /** Moments of INVITEs of all nodes, in order. */
  readonly sends: readonly number[];
  /** Sent, and sent or lost, of what the limit allows from the first moment to the last. */
  readonly use: number;
  readonly useAndLost: number;
  readonly lost: number;
  readonly inOrder: boolean;
  /** Median of |promised wait − real wait| / real wait, of calls that waited at least a second; null: there were none. */
  readonly etaError: number | null;
  readonly cpuMsPerCall: number;
}

/** Runs the nodes; each has its part of more calls than can leave. */
export async function runPacers(run: PaceRun): Promise<PaceFigures> {
  const { url, key, limit, nodes, seconds, kind = 'trunkline' } = run;
  const calls = Math.ceil((limit * seconds * 1.3 + 4) / nodes);
  const argument = JSON.stringify({ url, key, limit, calls, seconds, kind });
  const programs = Array.from(
    { length: nodes },
    (_, n) => new Program(`pacer ${n}`, process.execPath, [join(ROOT, 'bench/pace-worker.mjs'), argument]),
  );
  const told = await Promise.all(
    programs.map(async (program): Promise<Told> => {
      const { code } = await program.exited;
      if (code !== 0) throw new Error(program.tail);
      return JSON.parse(program.stdout) as Told;
    }),
  );
  const sends = told.flatMap((each) => each.sends).sort((a, b) => a - b);
  const spanMs = sends.at(-1)! - sends[0]!;
  const possible = (spanMs * limit) / 1000 + 1;
  const lost = told.reduce((sum, each) => sum + each.lost, 0);
  const errors = told
    .flatMap((each) => each.waits)
    .filter(([, real]) => real >= 1_000)
    .map(([promised, real]) => Math.abs(promised - real) / real)
    .sort((a, b) => a - b);
  return {
    sends,
    use: sends.length / possible,
    useAndLost: (sends.length + lost) / possible,
    lost,
    inOrder: told.every((each) => each.inOrder),
    etaError: errors.length === 0 ? null : errors[errors.length >> 1]!,
    cpuMsPerCall: told.reduce((sum, each) => sum + each.cpuMs, 0) / sends.length,
  };
}
