import { describe, expect, it } from 'vitest';
import { DEFAULT_CONFIG, parseArguments } from '../../../src/arguments.js';

describe('arguments', () => {
  it.each([
    [[], { kind: 'run', file: DEFAULT_CONFIG }],
    [['--config', 'a.yaml'], { kind: 'run', file: 'a.yaml' }],
    [['--config=a.yaml', '--check'], { kind: 'check', file: 'a.yaml' }],
    [['--check'], { kind: 'check', file: DEFAULT_CONFIG }],
    [['--help'], { kind: 'help' }],
    [['-h'], { kind: 'help' }],
    [['--version'], { kind: 'version' }],
  ])('%j', (given, expected) => {
    expect(parseArguments(given)).toEqual(expected);
  });

  it.each([
    [['--cofnig', 'a.yaml'], '--cofnig'],
    [['a.yaml'], 'a.yaml'],
    [['--config'], '--config'],
    [['--config='], '--config'],
    [['--check=yes'], '--check'],
  ])('%j is a fault that names the argument', (given, name) => {
    const found = parseArguments(given);
    expect(found).toMatchObject({ kind: 'fault', message: expect.stringContaining(name) });
  });
});
