import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '#lib/logger.js';
import { CdrLog } from '#observe/cdr.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { callRecord, refusedRecord } from './records.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-cdr-'));
  path = join(folder, 'cdr.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the call records', () => {
  it('are one JSON line each, refused calls included', async () => {
    const cdr = new CdrLog({ path, clock: new VirtualClock(), log: silentLogger });
    const records = [callRecord({ id: 'a' }), refusedRecord({ id: 'b', caller: 'x\ny' })];
    for (const record of records) cdr.write(record);
    await cdr.close();
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual(records);
  });

  it.runIf(existsSync('/dev/full'))('are told lost in the log when the disk is full to the end', async () => {
    const told: [fields: object, message: string][] = [];
    const log = { ...silentLogger, error: (...said: [object, string]) => told.push(said) };
    const cdr = new CdrLog({ path: '/dev/full', clock: new VirtualClock(), log });
    for (const id of ['a', 'b', 'c']) cdr.write(callRecord({ id }));
    await cdr.close();
    expect(told.at(-1)).toEqual([
      { path: '/dev/full', lost: 3 },
      'call records are lost: they could not be written',
    ]);
  });

  it('are all in the file when SIGTERM ends the process', async () => {
    const dist = (file: string) => pathToFileURL(resolve(import.meta.dirname, '../../../dist', file)).href;
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { CdrLog } from ${JSON.stringify(dist('observe/cdr.js'))};
         import { systemClock } from ${JSON.stringify(dist('lib/wheel.js'))};
         const log = { error() {}, warn() {}, info() {}, debug() {} };
         const cdr = new CdrLog({ path: ${JSON.stringify(path)}, clock: systemClock(), log });
         let written = 0;
         const write = () => { for (let i = 0; i < 500; i++) cdr.write({ id: String(written++), pad: 'x'.repeat(900) }); };
         const timer = setInterval(write, 1);
         process.on('SIGTERM', async () => {
           clearInterval(timer);
           write();
           await cdr.close();
           process.stdout.write(String(written), () => process.exit(0));
         });
         setTimeout(() => process.stdout.write('ready\\n'), 100);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
      if (said === 'ready\n') child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    const written = Number(said.split('\n')[1]);
    expect(written).toBeGreaterThan(500);
    const ids = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).id);
    expect(ids).toEqual(Array.from({ length: written }, (_, i) => String(i)));
  });
});
