import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackupFault, backupLines, readBackup } from '#directory/backup.js';
import { resealAll } from '#directory/reseal.js';
import { keyIdOf, makeSecretKey, SecretBox, type SecretKeys } from '#directory/secret-box.js';
import { type Desk, deskOn, sqlitePlace } from '../../kit/editor.js';

const ACME = { organizationId: 'acme', name: 'administrator' };
const former = makeSecretKey();
let keys: SecretKeys;
let place: ReturnType<typeof sqlitePlace>;
let desk: Desk;
let box: SecretBox;

async function* from(lines: readonly string[]): AsyncIterable<string> {
  yield* lines;
}

async function saved(): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of backupLines(desk.store, 0)) lines.push(line);
  return lines;
}

beforeEach(async () => {
  keys = [former];
  box = new SecretBox(() => keys);
  place = sqlitePlace();
  desk = await deskOn(await place.open(), { box });
  const trunk = await desk.editor.create(ACME, 'sipCredentials', {
    id: 'carrier',
    server: 'sip.example',
    authUser: 'u',
    authPassword: 'open-sesame',
  });
  expect(trunk.kind).toBe('written');
});

afterEach(async () => {
  await desk.close();
  place.remove();
});

describe('a back-up', () => {
  it('brings everything back, and running gateways take it over', async () => {
    const lines = await saved();
    expect(lines.join('\n')).not.toContain('open-sesame');
    await desk.editor.update(ACME, 'sipCredentials', 'carrier', { description: 'later' });
    await desk.editor.create(ACME, 'agent', { id: 'later' });
    await desk.store.replaceAll(await readBackup(from(lines)));
    await expect.poll(() => desk.live.directory.current.agent('later')).toBeUndefined();
    const trunk = desk.live.directory.current.trunk('carrier');
    expect(trunk?.description).toBeUndefined();
    expect(trunk?.authPassword?.reveal()).toBe('open-sesame');
  });

  it('that was cut off, changed or is none is refused before anything is touched', async () => {
    const lines = await saved();
    const changed = lines.map((line) => line.replace('sip.example', 'sip.evil'));
    for (const [wrong, message] of [
      [lines.slice(0, -1), /cut off/],
      [[lines[0]!, lines.at(-1)!], /not those that were saved/],
      [changed, /not those that were saved/],
      [[...lines, lines[1]!], /behind the end/],
      [lines.slice(1), /line 1: this is no back-up/],
      [['{"format":"trunkline-backup","version":9}'], /version 9/],
      [[lines[0]!, '{"kind":"agent"}'], /line 2: this is no object/],
      [['-----BEGIN'], /no back-up/],
      [[], /cut off/],
    ] as const) {
      await expect(readBackup(from(wrong))).rejects.toThrow(message);
      await expect(readBackup(from(wrong))).rejects.toBeInstanceOf(BackupFault);
    }
  });
});

describe('sealing anew', () => {
  it('takes every secret to the new key while the gateway runs on', async () => {
    const next = makeSecretKey();
    keys = [next, former];
    const fresh = new SecretBox(() => keys);
    expect(await resealAll(desk.store, fresh)).toEqual({ changed: 1, faults: [] });
    expect(await resealAll(desk.store, fresh)).toEqual({ changed: 0, faults: [] });
    const { secrets } = (await desk.store.get('sipCredentials', 'carrier'))!.document;
    expect(keyIdOf((secrets as Record<string, string>).authPassword!)).toBe(next.id);
    await expect.poll(() => box.keyId).toBe(next.id);
    expect(desk.live.problems).toEqual([]);
    expect(desk.live.directory.current.trunk('carrier')?.authPassword?.reveal()).toBe('open-sesame');
    keys = [next];
    box.reload();
    expect((await desk.editor.update(ACME, 'sipCredentials', 'carrier', { description: 'x' })).kind).toBe(
      'written',
    );
  });

  it('names what it cannot open, and the secret can be given anew', async () => {
    keys = [makeSecretKey()];
    const stranger = new SecretBox(() => keys);
    const { changed, faults } = await resealAll(desk.store, stranger);
    expect(changed).toBe(0);
    expect(faults).toEqual([
      expect.stringMatching(/^sipCredentials\/carrier authPassword was sealed with key/),
    ]);
    await desk.close();
    desk = await deskOn(await place.open(), { box: stranger });
    expect(desk.live.directory.current.trunk('carrier')).toBeUndefined();
    const kept = await desk.editor.update(ACME, 'sipCredentials', 'carrier', { description: 'x' });
    expect(kept).toMatchObject({ kind: 'invalid', faults: [{ hint: 'give the secret anew' }] });
    const anew = await desk.editor.update(ACME, 'sipCredentials', 'carrier', { authPassword: 'again' });
    expect(anew.kind).toBe('written');
    expect(desk.live.directory.current.trunk('carrier')?.authPassword?.reveal()).toBe('again');
  });
});
