import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog, REDACTED } from '#observe/log.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-log-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function logged(
  options: { level?: 'debug' | 'info' | 'warn'; format?: 'json' | 'text' },
  use: (log: ReturnType<typeof createLog>) => void,
): Promise<string> {
  const to = join(folder, options.format ?? 'log');
  const log = createLog({ level: 'info', format: 'json', clock: new VirtualClock(), to, ...options });
  use(log);
  await log.close();
  return readFileSync(to, 'utf8');
}

describe('the log', () => {
  it('writes one JSON object per line: level, time, message, fields', async () => {
    const text = await logged({}, ({ logger }) => logger.info({ call: 'c1' }, 'call ended'));
    expect(text.endsWith('\n')).toBe(true);
    expect(JSON.parse(text)).toMatchObject({ level: 'info', msg: 'call ended', call: 'c1' });
    expect(JSON.parse(text).time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it.each([...REDACTED])('masks %s at any depth', async (name) => {
    const fields = {
      [name]: 'hunter2',
      trunk: { [name]: 'hunter2' },
      list: [{ of: { [name]: ['hunter2'] } }],
    };
    for (const format of ['json', 'text'] as const) {
      const text = await logged({ format }, ({ logger }) => logger.warn(fields, 'm'));
      expect(text).not.toContain('hunter2');
      expect(text.split('[redacted]')).toHaveLength(4);
    }
    expect(fields.trunk[name]).toBe('hunter2');
  });

  it('does not follow a circle', async () => {
    const circle: Record<string, unknown> = { name: 'here' };
    circle.self = circle;
    const text = await logged({}, ({ logger }) => logger.info({ circle }, 'm'));
    expect(JSON.parse(text)).toMatchObject({ circle: { name: 'here', self: { name: 'here' } } });
  });

  it('keeps a line a line whatever the fields hold', async () => {
    for (const format of ['json', 'text'] as const) {
      const text = await logged({ format }, ({ logger }) =>
        logger.info({ from: 'a\r\nlevel=error' }, 'm\nn'),
      );
      expect(text.split('\n').filter((line) => line !== '')).toHaveLength(1);
    }
  });

  it('obeys its level, and a change of level at once', async () => {
    const text = await logged({ level: 'warn' }, (log) => {
      log.logger.info({}, 'unheard');
      log.setLevel('debug');
      log.logger.debug({}, 'heard');
    });
    expect(text).not.toContain('unheard');
    expect(text).toContain('heard');
  });

  it('writes text for people, with the stack of an error', async () => {
    const text = await logged({ format: 'text' }, ({ logger }) =>
      logger.error({ err: new Error('broken'), count: 2, why: 'two words' }, 'it failed'),
    );
    expect(text).toMatch(/^[\d:.]{12} error it failed {2}count=2 {2}why="two words"\nError: broken\n/);
  });
});
