/** What the staged probe found, as the API and the command line show it: plain data, printable, without secrets. */
import type { Verdict, VerdictCode } from '../verdict.js';

export type Fact = string | number | boolean | null | readonly Fact[] | { readonly [name: string]: Fact };

/** In the order in which they are tried. */
export type StageName = 'dns' | 'connection' | 'tls' | 'options' | 'challenge' | 'register' | 'unregister';

export interface ProbeStep {
  readonly stage: StageName;
  /** What it was tried on: a name, or `tls:192.0.2.1:5061`. */
  readonly subject: string;
  readonly outcome: 'pass' | 'warn' | 'fail' | 'skip';
  /** What a failure or warning means by itself. */
  readonly code: VerdictCode | null;
  /** Milliseconds after the probe began. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Status of the SIP response, if one came. */
  readonly status: number | null;
  readonly detail: string;
  /** Records, certificates, the challenge: what the stage learnt, by name. */
  readonly facts: { readonly [name: string]: Fact };
}

export interface ProbeReport {
  readonly verdict: Verdict;
  readonly server: string;
  readonly transport: string;
  /** `sip:user@domain`; null when no user was given. */
  readonly aor: string | null;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly steps: readonly ProbeStep[];
}
