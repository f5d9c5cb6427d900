/** What the set-up scripts decide to do; that they do it is shown by every `npm start` and `npm test`. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildReason, installReason, nodeFault, sourceStamp } from '../../../src/setup.mjs';
import { ROOT } from '../../kit/processes.js';
import { missingPackages, PACKAGES, plan } from '../../setup.mjs';

describe('Node', () => {
  it.each(['20.19.0', '20.20.2', '22.0.0', '24.1.0'])('%s will do', (version) => {
    expect(nodeFault(version, '>=20.19')).toBeNull();
  });
  it.each(['20.18.3', '18.20.0', '9.11.0'])(
    '%s is too old, and the message says what is needed',
    (version) => {
      expect(nodeFault(version, '>=20.19')).toContain('>=20.19');
      expect(nodeFault(version, '>=20.19')).toContain(version);
    },
  );
});

describe('the installation of packages', () => {
  const lock = (packages: object) => JSON.stringify({ packages });
  const wanted = lock({
    '': { version: '0.1.0' },
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '2.0.0', optional: true },
  });

  it('runs without node_modules', () => {
    expect(installReason(wanted, null)).toContain('missing');
  });
  it('is left out when everything is there', () => {
    expect(installReason(wanted, lock({ 'node_modules/a': { version: '1.0.0' } }))).toBeNull();
  });
  it('runs for a package that is not there', () => {
    expect(installReason(wanted, lock({ 'node_modules/b': { version: '2.0.0' } }))).toContain(
      'node_modules/a',
    );
  });
  it('runs for a package of another version, optional or not', () => {
    expect(installReason(wanted, lock({ 'node_modules/a': { version: '0.9.0' } }))).toContain('1.0.0');
    const old = { 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '1.0.0' } };
    expect(installReason(wanted, lock(old))).toContain('node_modules/b');
  });
});

describe('the lockfile', () => {
  it('locks what package.json asks for', () => {
    const read = (name: string) => JSON.parse(readFileSync(join(ROOT, name), 'utf8'));
    const { dependencies, devDependencies } = read('package.json');
    expect(read('package-lock.json').packages['']).toMatchObject({ dependencies, devDependencies });
  });
});

describe('the build', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'trunkline-setup-'));
    mkdirSync(join(root, 'src/sip'), { recursive: true });
    for (const file of [
      'package.json',
      'tsconfig.json',
      'src/tsconfig.json',
      'src/main.ts',
      'src/sip/uri.ts',
    ]) {
      writeFileSync(join(root, file), 'x');
    }
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('runs without dist, and not again while nothing changes', () => {
    const stamp = sourceStamp(root);
    expect(buildReason(stamp, null)).toContain('dist');
    expect(buildReason(sourceStamp(root), stamp)).toBeNull();
  });
  it('runs when a source is edited, added or removed', () => {
    const stamp = sourceStamp(root);
    appendFileSync(join(root, 'src/sip/uri.ts'), 'y');
    const edited = sourceStamp(root);
    expect(buildReason(edited, stamp)).toContain('changed');
    writeFileSync(join(root, 'src/sip/via.ts'), '');
    const added = sourceStamp(root);
    expect(buildReason(added, edited)).toContain('changed');
    unlinkSync(join(root, 'src/main.ts'));
    expect(buildReason(sourceStamp(root), added)).toContain('changed');
  });
});

describe('Debian packages', () => {
  it('are missing unless dpkg says installed', () => {
    expect(missingPackages(['a', 'b', 'c'], 'a installed\nb config-files\n')).toEqual(['b', 'c']);
    expect(missingPackages(PACKAGES, PACKAGES.map((name) => `${name} installed\n`).join(''))).toEqual([]);
  });

  const machine = { missing: ['sip-tester'], apt: true, root: false, sudo: false };
  it('need nothing when none is missing', () => {
    expect(plan({ ...machine, missing: [] })).toEqual({ kind: 'nothing' });
  });
  it('are installed as root, or through sudo', () => {
    expect(plan({ ...machine, root: true, sudo: true })).toEqual({ kind: 'install', prefix: [] });
    expect(plan({ ...machine, sudo: true })).toEqual({ kind: 'install', prefix: ['sudo', '-n'] });
  });
  it('are otherwise told, with the command to run', () => {
    const step = plan(machine);
    expect(step).toMatchObject({ kind: 'tell' });
    expect(step.kind === 'tell' && step.message).toContain(
      'sudo apt-get install -y --no-install-recommends sip-tester',
    );
    expect(plan({ ...machine, apt: false, root: true })).toMatchObject({ kind: 'tell' });
  });
});

describe('the packages', () => {
  const json = (file: string) => JSON.parse(readFileSync(join(ROOT, file), 'utf8'));

  /** Whether a range as `engines` writes it (`>=20`, `^20.19.0 || >=22`, `20.x`) admits a version. */
  const admits = (range: string, [major, minor]: readonly [number, number]): boolean =>
    range.split('||').some((alternative) =>
      [...alternative.matchAll(/(>=|\^)?\s*(\d+|\*)(?:\.(\d+|x))?/g)]
        // The third number begins no version of its own.
        .filter(({ index }) => alternative[index - 1] !== '.')
        .every(([, operator, first = '*', second]) => {
          if (first === '*') return true;
          const wanted = Number(first);
          const least = second === undefined || second === 'x' ? 0 : Number(second);
          const enough = major === wanted && minor >= least;
          return operator === '>=' ? major > wanted || enough : enough;
        }),
    );

  it('all run on the oldest Node that is promised, so that npm warns of none', () => {
    const oldest = /^>=(\d+)\.(\d+)$/.exec(json('package.json').engines.node);
    const version = [Number(oldest?.[1]), Number(oldest?.[2])] as const;
    expect(admits('>=22', version)).toBe(false);
    expect(admits('^18 || >=20.20.1', version)).toBe(false);
    const packages: [string, { engines?: { node?: string } }][] = Object.entries(
      json('package-lock.json').packages,
    );
    expect(packages.length).toBeGreaterThan(50);
    const foreign = packages.filter(([, { engines }]) => !admits(engines?.node ?? '*', version));
    expect(foreign.map(([path]) => path)).toEqual([]);
  });
});
