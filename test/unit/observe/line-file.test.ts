/** Lines reach their file whole and in order, whatever the file does meanwhile. */
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LineFile } from '#observe/line-file.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

let folder: string;
let path: string;
let clock: VirtualClock;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-lines-'));
  path = join(folder, 'deep/lines');
  clock = new VirtualClock();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const text = (file = path) => readFileSync(file, 'utf8');
const settled = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('LineFile', () => {
  it('makes its folder, gathers lines for a moment, then writes them in order', async () => {
    const file = new LineFile({ to: path, clock, gatherMs: 100 });
    file.write('one\n');
    file.write('zwei ü\n');
    expect(text()).toBe('');
    clock.advance(110);
    await settled(() => expect(text()).toBe('one\nzwei ü\n'));
    file.write('three\n');
    await file.close();
    expect(text()).toBe('one\nzwei ü\nthree\n');
  });

  it('does not wait for more when there is enough, and loses nothing of much', async () => {
    const file = new LineFile({ to: path, clock });
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`);
    for (const line of lines) file.write(line);
    await settled(() => expect(text().length).toBeGreaterThan(65_536));
    await file.close();
    expect(text()).toBe(lines.join(''));
    expect(file).toMatchObject({ accepted: 20_000, lost: 0, faults: 0 });
  });

  it('goes on in a new file after reopen, and no line is in both or in none', async () => {
    const file = new LineFile({ to: path, clock });
    file.write('old\n');
    clock.advance(110);
    await settled(() => expect(text()).toBe('old\n'));
    renameSync(path, `${path}.1`);
    file.write('between\n');
    file.reopen();
    file.write('new\n');
    await file.close();
    expect(text(`${path}.1`) + text()).toBe('old\nbetween\nnew\n');
    expect(text()).toContain('new\n');
  });

  it('says once that it cannot write, counts what it had to drop, and never throws', async () => {
    const onFault = vi.fn();
    // Every write to /dev/full answers ENOSPC.
    const file = new LineFile({ to: '/dev/full', clock, maxBuffered: 12, onFault });
    file.write('kept\n');
    clock.advance(110);
    await settled(() => expect(file.faults).toBe(1));
    file.write('kept2\n');
    file.write('dropped\n');
    expect(file.lost).toBe(1);
    clock.advance(1_010);
    await settled(() => expect(file.faults).toBe(2));
    expect(onFault).toHaveBeenCalledTimes(1);
    expect(onFault.mock.calls[0]?.[0]).toMatchObject({ code: 'ENOSPC' });
    await file.close();
    expect(file.lost).toBe(3);
  });

  it('writes what it kept when writing works again', async () => {
    const onFault = vi.fn();
    const onRecovered = vi.fn();
    const file = new LineFile({ to: path, clock, onFault, onRecovered });
    // The folder gives way to a file, so that opening anew fails.
    renameSync(join(folder, 'deep'), join(folder, 'away'));
    new LineFile({ to: join(folder, 'deep'), clock });
    file.reopen();
    expect(onFault).toHaveBeenCalledTimes(1);
    file.write('kept\n');
    rmSync(join(folder, 'deep'));
    clock.advance(1_010);
    await settled(() => expect(text()).toBe('kept\n'));
    await settled(() => expect(onRecovered).toHaveBeenCalledWith(0));
    await file.close();
  });

  it('refuses at once where the file cannot be opened', () => {
    expect(() => new LineFile({ to: '/dev/null/lines', clock })).toThrow(/ENOTDIR|EEXIST/);
  });
});
