import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LiveConfig, NEEDS_RESTART } from '#config/live.js';
import { loadConfig } from '#config/load.js';
import { configSchema } from '#config/schema.js';
import { ConfigWatch } from '#config/watch.js';
import { schemaAt } from '#directory/walk.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'trunkline-live-'));
  file = join(directory, 'trunkline.yaml');
});

afterEach(() => rmSync(directory, { recursive: true }));

function start(text: string): LiveConfig {
  writeFileSync(file, text);
  const loaded = loadConfig(file, { environment: {} });
  if (loaded.kind === 'faults') throw new Error('faulty');
  return new LiveConfig(file, loaded, { environment: {} });
}

describe('a reload', () => {
  it('takes what can change and names what waits for a restart', () => {
    const live = start('http: { port: 8080, token: one }\ncalls: { ringTimeoutSeconds: 20 }');
    writeFileSync(
      file,
      'http: { port: 8081, token: two }\ncalls: { ringTimeoutSeconds: 25 }\nsip: { unknownSources: drop }\nsipCredentials: [{ id: a, server: a.test }]',
    );
    const reloaded = live.reload();
    if (reloaded.kind !== 'reloaded') throw new Error(reloaded.kind);
    expect(reloaded.changed).toEqual(['sip.unknownSources', 'calls.ringTimeoutSeconds']);
    expect(reloaded.restart).toEqual(['http.port', 'http.token']);
    expect(reloaded.snapshot).toMatchObject({ version: 2, trunkCount: 1 });
    expect(live.config.calls.ringTimeoutSeconds).toBe(25);
    // Put back, a restart is no longer due.
    writeFileSync(file, 'http: { port: 8080, token: one }');
    expect(live.reload()).toMatchObject({ kind: 'reloaded', restart: [], snapshot: { version: 3 } });
  });

  it('of a faulty file changes nothing', () => {
    const live = start('calls: { ringTimeoutSeconds: 20 }');
    const before = live.config;
    writeFileSync(file, 'calls: { ringTimeoutSeconds: soon }');
    expect(live.reload()).toMatchObject({
      kind: 'faults',
      faults: [{ path: 'calls.ringTimeoutSeconds', line: 1 }],
    });
    rmSync(file);
    expect(live.reload()).toMatchObject({ kind: 'faults' });
    expect(live.config).toBe(before);
  });

  it('of the same text does nothing unless it is forced', () => {
    const live = start('log: { level: warn }');
    expect(live.reload()).toEqual({ kind: 'unchanged' });
    expect(live.reload(true)).toMatchObject({ kind: 'reloaded', changed: [], restart: [] });
  });

  it('knows only settings that exist as needing a restart', () => {
    for (const path of NEEDS_RESTART) expect(schemaAt(configSchema, path.split('.')), path).toBeDefined();
  });
});

describe('the watch', () => {
  /** Resolves when the change has been seen and has settled. */
  function changes(clock: VirtualClock): { seen: () => number; watch: ConfigWatch } {
    let count = 0;
    const watch = new ConfigWatch({
      file,
      clock,
      onChange: () => {
        count++;
      },
      onFault: (detail) => {
        throw new Error(detail);
      },
    });
    return { seen: () => count, watch };
  }

  it.each([
    ['written', () => writeFileSync(file, 'b')],
    [
      'replaced',
      () => {
        writeFileSync(`${file}.new`, 'c');
        renameSync(`${file}.new`, file);
      },
    ],
  ])('tells once that the file was %s', async (_how, change) => {
    writeFileSync(file, 'a');
    const clock = new VirtualClock();
    const { seen, watch } = changes(clock);
    change();
    // The clock is armed by the event of the file system, and fires when time passes.
    await expect.poll(() => clock.armedCount).toBe(1);
    expect(seen()).toBe(0);
    clock.advance(250);
    expect(seen()).toBe(1);
    watch.close();
    expect(clock.armedCount).toBe(0);
  });

  it('is not woken by its neighbours', async () => {
    writeFileSync(file, 'a');
    const clock = new VirtualClock();
    const { watch } = changes(clock);
    // Events of one directory come in order: when the second is seen, the first has been passed over.
    writeFileSync(join(directory, 'other.yaml'), 'x');
    expect(clock.armedCount).toBe(0);
    writeFileSync(file, 'b');
    await expect.poll(() => clock.armedCount).toBe(1);
    watch.close();
  });

  it('says when there is nothing to watch', () => {
    let told = '';
    new ConfigWatch({
      file: join(directory, 'none', 'x.yaml'),
      clock: new VirtualClock(),
      onChange: () => undefined,
      onFault: (detail) => {
        told = detail;
      },
    }).close();
    expect(told).toContain('ENOENT');
  });
});
