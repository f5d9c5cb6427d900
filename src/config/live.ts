/**
 * The configuration in force and its replacement. A faulty file changes nothing; a sound one replaces the directory
 * and everything that can change while calls are up, and says what waits for a restart.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CompiledSnapshot } from '#directory/compiled-snapshot.js';
import { Secret } from '#directory/secret.js';
import type { ConfigFault } from './faults.js';
import { type LoadOptions, loadConfig } from './load.js';
import type { Config } from './schema.js';

/** Settings that sockets, files and stores were opened with. */
export const NEEDS_RESTART: readonly string[] = [
  'sip.engine',
  'sip.listen',
  'sip.externalAddress',
  'sip.udpToTcpBytes',
  'sip.limits',
  'sip.timers',
  'sip.drachtio',
  'http',
  'store',
  'redis',
  'log.format',
  'cdr',
  'trace',
  'dns',
];

export type Reloaded =
  /** The file says what it said before. */
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'faults'; readonly faults: readonly ConfigFault[] }
  | {
      readonly kind: 'reloaded';
      readonly config: Config;
      readonly snapshot: CompiledSnapshot;
      /** Settings outside the directory that changed and apply now, such as `calls.ringTimeoutSeconds`. */
      readonly changed: readonly string[];
      /** Settings that changed and apply after a restart only. */
      readonly restart: readonly string[];
    };

export interface LiveConfigStart {
  readonly config: Config;
  readonly snapshot: CompiledSnapshot;
  readonly text: string;
}

export class LiveConfig {
  readonly #file: string;
  readonly #options: LoadOptions;
  /** What the running gateway was started with: whether a restart is due is measured against it. */
  readonly #started: Config;
  #config: Config;
  #text: string;
  #version: number;

  constructor(file: string, start: LiveConfigStart, options: LoadOptions = {}) {
    this.#file = file;
    this.#options = options;
    this.#started = start.config;
    this.#config = start.config;
    this.#text = start.text;
    this.#version = start.snapshot.version;
  }

  /** The last sound configuration. */
  get config(): Config {
    return this.#config;
  }

  /**
   * Reads the file again.
   * @param force also when its text has not changed: SIGHUP, after a change of an included file or a certificate
   */
  reload(force = false): Reloaded {
    const loaded = loadConfig(this.#file, { ...this.#options, version: this.#version + 1 });
    if (loaded.kind === 'faults') return loaded;
    if (!force && loaded.text === this.#text) return { kind: 'unchanged' };
    const changed = differences(this.#config, loaded.config).filter((path) => !needsRestart(path));
    const restart = differences(this.#started, loaded.config).filter(needsRestart);
    this.#config = loaded.config;
    this.#text = loaded.text;
    this.#version = loaded.snapshot.version;
    return { kind: 'reloaded', config: loaded.config, snapshot: loaded.snapshot, changed, restart };
  }
}

function needsRestart(path: string): boolean {
  return NEEDS_RESTART.some((prefix) => path === prefix || path.startsWith(`${prefix}.`));
}

/** The directory is compared by whoever uses it. */
const DIRECTORY = new Set(['sipCredentials', 'phoneNumbers', 'agents']);

/** Settings of two levels that differ, `section.setting`. */
function differences(before: Config, after: Config): string[] {
  const paths: string[] = [];
  for (const section of Object.keys(after) as (keyof Config)[]) {
    if (DIRECTORY.has(section)) continue;
    const old = before[section] as Record<string, unknown>;
    const now = after[section] as Record<string, unknown>;
    for (const setting of new Set([...Object.keys(old), ...Object.keys(now)])) {
      if (!isDeepStrictEqual(plain(old[setting]), plain(now[setting]))) paths.push(`${section}.${setting}`);
    }
  }
  return paths;
}

/** Secrets compare by what they hide, and only here. */
function plain(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
