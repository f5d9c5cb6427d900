/**
 * No library slows the language down for all of us. `class extends String` (ioredis 6.0.0) makes V8 of Node 20 keep
 * String.prototype as a dictionary from then on: each `length` and each method of any string becomes a look-up, which
 * made a bridged call's share of the process, sockets apart, about a quarter dearer. V8 alone can say so, hence its natives.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../../..');
const BUILT_INS = [
  'Object',
  'Function',
  'String',
  'Array',
  'Map',
  'Set',
  'RegExp',
  'Promise',
  'Error',
  'Buffer',
];

/** Built-ins whose prototype is no longer fast after these statements. */
function slowedBy(statements: string): unknown {
  const script = `
    const fast = () => [${BUILT_INS.map((name) => `%HasFastProperties(${name}.prototype)`).join()}];
    const before = fast();
    ${statements}
    const after = fast();
    console.log(JSON.stringify(${JSON.stringify(BUILT_INS)}.filter((_, i) => before[i] && !after[i])));`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--allow-natives-syntax', '--input-type=module', '--eval', script],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};

describe('the built-ins stay fast', () => {
  it('which this test would see', () => {
    expect(slowedBy('String.prototype.a = 1; String.prototype.b = 2; delete String.prototype.a;')).toEqual([
      'String',
    ]);
  });

  it.each(Object.keys(dependencies))('with %s', (name) => {
    expect(slowedBy(`await import(${JSON.stringify(name)});`)).toEqual([]);
  });
});
