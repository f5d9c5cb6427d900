/**
 * The lint rules can fail: each one meets a planted breach in a copy of the sources and must name it. TypeScript 7
 * offers the import checker no API, so this also shows that it reads the sources at all.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../../..');
const bin = (name: string) => join(ROOT, 'node_modules/.bin', name);

interface Cruise {
  readonly summary: {
    readonly totalCruised: number;
    readonly totalDependenciesCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

function cruise(root: string): Cruise {
  const { stdout, stderr } = spawnSync(
    bin('depcruise'),
    ['--config', '.dependency-cruiser.cjs', 'src', '--output-type', 'json'],
    { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  );
  if (!stdout.startsWith('{')) throw new Error(`depcruise said: ${stdout}${stderr}`);
  return JSON.parse(stdout) as Cruise;
}

/** File, what it holds, and the rule that must name it. */
const BREACHES: readonly (readonly [file: string, text: string, rule: string])[] = [
  ['src/lib/planted.ts', "import '#sip/octets.js';", 'arrow-lib'],
  [
    'src/sip/planted.ts',
    "import type { Engine } from '#engine/engine.js';\nexport type E = Engine;",
    'arrow-sip',
  ],
  ['src/engine/planted.ts', "import '#engine/embedded/limits.js';", 'arrow-engine'],
  ['src/engine/embedded/planted.ts', "import '#engine/drachtio/planted.js';", 'arrow-embedded'],
  ['src/engine/drachtio/planted.ts', "import '#engine/embedded/limits.js';", 'arrow-drachtio'],
  ['src/directory/planted.ts', "import '#engine/engine.js';", 'arrow-directory'],
  ['src/targets/planted.ts', "import '#directory/planted.js';", 'arrow-targets'],
  ['src/routing/planted.ts', "import '#call/planted.js';", 'arrow-routing'],
  ['src/auth/planted.ts', "import '#registration/answer.js';", 'arrow-auth'],
  ['src/registration/planted.ts', "import '#call/planted.js';", 'arrow-registration'],
  ['src/pacing/planted.ts', "import '#directory/planted.js';", 'arrow-pacing'],
  ['src/provider/planted.ts', "import '#http/planted.js';", 'arrow-provider'],
  ['src/webhook/planted.ts', "import '#observe/planted.js';", 'arrow-webhook'],
  ['src/trace/planted.ts', "import '#http/planted.js';", 'arrow-trace'],
  ['src/origination/planted.ts', "import '#ingress/screen.js';", 'arrow-origination'],
  ['src/store/sqlite/planted.ts', "import '#store/redis/client.js';", 'arrow-sqlite'],
  ['src/store/redis/planted.ts', "import '#registration/answer.js';", 'arrow-redis'],
  ['src/call/planted.ts', "import '#observe/planted.js';", 'arrow-call'],
  ['src/ingress/planted.ts', "import '#http/planted.js';", 'arrow-ingress'],
  ['src/trace/planted.ts', "import '#http/planted.js';", 'arrow-trace'],
  ['src/observe/planted.ts', "import '#config/planted.js';", 'arrow-observe'],
  ['src/http/planted.ts', "import '#config/planted.js';", 'arrow-http'],
  ['src/config/planted.ts', "import '#routing/planted.js';", 'arrow-config'],
  ['src/main.ts', "import '#call/planted.js';", 'arrow-main'],
  ['src/engine/embedded/transport/planted.ts', "import '../transaction/transaction.js';", 'floor-transport'],
  ['src/engine/embedded/transaction/planted.ts', "import '../dialog/planted.js';", 'floor-transaction'],
  ['src/engine/embedded/dialog/planted-floor.ts', "import '../engine.js';", 'floor-dialog'],
  ['src/engine/embedded/dialog/planted.ts', "import 'node:net';", 'tenant-dgram'],
  ['src/call/planted-dns.ts', "import 'node:dns/promises';", 'tenant-dns'],
  ['src/call/planted-http.ts', "import 'fastify';", 'tenant-http'],
  ['src/http/planted-pino.ts', "import 'pino';", 'tenant-pino'],
  ['src/observe/planted-zod.ts', "import 'zod';", 'tenant-zod'],
  ['src/routing/planted-plan.ts', "import 'libphonenumber-js';", 'tenant-libphonenumber-js'],
  ['src/http/planted-yaml.ts', "import 'yaml';", 'tenant-yaml'],
  ['src/ingress/planted-limits.ts', "import 'rate-limiter-flexible';", 'tenant-rate-limiter-flexible'],
  ['src/engine/planted-srf.ts', "import 'drachtio-srf';", 'tenant-drachtio-srf'],
  ['src/registration/planted-sax.ts', "import 'sax';", 'tenant-sax'],
  ['src/directory/planted-sqlite.ts', "import 'better-sqlite3';", 'tenant-better-sqlite3'],
  ['src/directory/planted-thread.ts', "import 'node:worker_threads';", 'tenant-worker_threads'],
  ['src/pacing/planted-redis.ts', "import 'ioredis';", 'tenant-ioredis'],
  ['src/directory/planted-sqlite.ts', "import 'better-sqlite3';", 'tenant-better-sqlite3'],
  ['src/call/planted-thread.ts', "import 'node:worker_threads';", 'tenant-worker_threads'],
  ['src/utils.ts', "import '#lib/clock.js';", 'known-room'],
  ['src/call/planted-crossing.ts', "import '../lib/clock.js';", 'crossing'],
  ['src/lib/planted-one.ts', "import './planted-two.js';", 'no-circular'],
  ['src/lib/planted-two.ts', "import './planted-one.js';\nimport '#http/planted.js';", 'arrow-lib'],
  ['src/lib/planted-missing.ts', "import './nowhere.js';", 'resolvable'],
  ['src/lib/planted-dev.ts', "import 'fast-check';", 'declared'],
];

describe('the import rules', () => {
  let copy: string;
  let planted: Cruise;

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'trunkline-lint-'));
    for (const name of ['src', 'package.json', '.dependency-cruiser.cjs']) {
      cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    for (const [file, text] of BREACHES) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      writeFileSync(join(copy, file), `${text}\n`);
    }
    planted = cruise(copy);
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  it('read every room and follow #room imports', () => {
    const { summary } = cruise(ROOT);
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
    expect(summary.totalCruised).toBeGreaterThanOrEqual(
      sources.filter((name) => name.endsWith('.ts')).length,
    );
    expect(summary.totalCruised).toBeGreaterThan(20);
    expect(summary.totalDependenciesCruised).toBeGreaterThan(summary.totalCruised);
  });

  it.each(BREACHES)('%s: %s is named by %s', (file, _text, rule) => {
    expect(planted.summary.violations.filter(({ from }) => from === file).map((v) => v.rule.name)).toContain(
      rule,
    );
  });

  it('are each met by a planted breach', () => {
    const { forbidden } = createRequire(import.meta.url)(join(ROOT, '.dependency-cruiser.cjs')) as {
      forbidden: readonly { readonly name: string }[];
    };
    const planted = new Set(BREACHES.map(([, , rule]) => rule));
    expect(forbidden.map(({ name }) => name).filter((name) => !planted.has(name))).toEqual([]);
  });

  it('give every library a tenant', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Readonly<Record<string, string>>;
    };
    const rules = readFileSync(join(ROOT, '.dependency-cruiser.cjs'), 'utf8');
    const tenants = rules.slice(rules.indexOf('const TENANTS'), rules.indexOf('/** Matches a library'));
    const named = new Set(tenants.split(/['|:\s]+/));
    expect(Object.keys(dependencies).filter((name) => !named.has(name))).toEqual([]);
  });

  it.each([
    ['observe', ['lib', 'sip']],
    ['http', ['directory', 'registration', 'routing', 'trace', 'sip', 'lib']],
  ])('%s takes only types from other rooms than %j', (room, whole) => {
    for (const name of readdirSync(join(ROOT, 'src', room))) {
      const text = readFileSync(join(ROOT, 'src', room, name), 'utf8');
      const values = [...text.matchAll(/^import (?!type\b)[^;]*?from '#(?<room>\w+)\//gm)].map(
        (match) => match.groups?.room ?? '',
      );
      expect(
        values.filter((from) => !whole.includes(from)),
        name,
      ).toEqual([]);
    }
  });
});

/** What biome's rules must name, each in a file of its own, and what they must let pass. */
const FAULTS: readonly (readonly [file: string, text: string, says: string])[] = [
  ['src/call/fault-date.ts', 'export const now = Date.now();', 'lib/clock.ts'],
  ['src/call/fault-random.ts', 'export const r = Math.random();', 'lib/clock.ts'],
  ['src/call/fault-timer.ts', 'setTimeout(() => undefined, 5);', 'lib/clock.ts'],
  [
    'src/http/fault-env.ts',
    "import process from 'node:process';\nexport const e = process.env.HOME;",
    'noProcessEnv',
  ],
  [
    'src/observe/fault-env.ts',
    "import { env } from 'node:process';\nexport const e = env.HOME;",
    'noProcessEnv',
  ],
  ['src/call/fault-console.ts', "console.log('x');", 'noConsole'],
  ['src/call/fault-any.ts', 'export const x: any = 1;', 'noExplicitAny'],
];
const FINE: readonly (readonly [file: string, text: string])[] = [
  ['src/config/fine-env.ts', 'export const e = process.env.HOME;'],
  ['src/lib/fine-clock.ts', 'export const now = Date.now();'],
  ['src/call/fine-date.ts', 'export const date = new Date(5);'],
];

describe('the source rules', () => {
  let copy: string;
  let said: string[];

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'trunkline-lint-'));
    for (const name of ['.biome.json', '.biome', '.gitignore']) {
      cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    }
    for (const [file, text] of [...FAULTS, ...FINE]) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      writeFileSync(join(copy, file), `${text}\n`);
    }
    const args = ['lint', '--reporter=github', '--max-diagnostics=none', '.'];
    said = spawnSync(bin('biome'), args, { cwd: copy, encoding: 'utf8' }).stdout.split('\n');
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  const about = (file: string) => said.filter((line) => line.startsWith('::error') && line.includes(file));

  it.each(FAULTS)('%s: %s is named by %s', (file, _text, says) => {
    expect(about(file).join('\n')).toContain(says);
  });

  it.each(FINE)('%s: %s passes', (file) => {
    expect(about(file)).toEqual([]);
  });
});
