/** The client that is written from the OpenAPI document: it type-checks strictly, and does what it says. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiDocument } from '#http/api.js';
import { clientOf } from '#http/client.js';
import { type Api, apiOn } from '../../kit/api.js';
import { ADMINISTRATOR } from '../../kit/ask.js';
import { sqlitePlace } from '../../kit/editor.js';

const ROOT = resolve(import.meta.dirname, '../../..');
let folder: string;
let api: Api;
const place = sqlitePlace();

const USE = `import { Trunkline, TrunklineProblem } from './trunkline.js';

export async function use(url: string, token: string): Promise<readonly string[]> {
  const client = new Trunkline({ url, token });
  const trunk = await client.createSipCredentials({ body: { server: 'sip.a.example', transport: 'tls' } });
  const agent = await client.createAgent({ body: { name: 'Sales' } }, { idempotencyKey: 'once' });
  const again = await client.createAgent({ body: { name: 'Sales' } }, { idempotencyKey: 'once' });
  const number = await client.createPhoneNumber({
    body: { phoneNumber: '+14155550100', credentialsId: trunk.id, inboundAgentId: agent.id },
  });
  const { items, nextCursor } = await client.listPhoneNumbers({ limit: 1 });
  const report = await client.importPhoneNumbers({ body: 'phoneNumber,credentialsId\\n+1415,' + trunk.id });
  const name: string | null = number.displayName;
  let code = '';
  try {
    await client.deleteSipCredentials({ id: trunk.id });
  } catch (error) {
    if (error instanceof TrunklineProblem) code = error.code;
  }
  await client.deleteSipCredentials({ id: trunk.id, force: 'true' });
  return [agent.id === again.id ? 'same' : 'other', items[0]!.phoneNumber, String(nextCursor), String(name), code, String(report.created)];
}
`;

const WRONG = [
  ["await client.createAgent({ body: { nmae: 'x' } });", 'nmae'],
  ["await client.createSipCredentials({ body: { server: 'a', transport: 'ws' } });", 'ws'],
  ['await client.getAgent({});', 'id'],
  ['const n: number = (await client.getAgent({ id: "a" })).name;', 'string'],
] as const;

const compile = (...files: string[]) =>
  spawnSync(
    join(ROOT, 'node_modules/.bin/tsc'),
    [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--noUncheckedIndexedAccess',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--lib',
      'es2023,dom',
      ...files,
    ],
    { cwd: folder, encoding: 'utf8' },
  );

beforeAll(async () => {
  mkdirSync(join(ROOT, 'test/tmp'), { recursive: true });
  folder = mkdtempSync(join(ROOT, 'test/tmp/client-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'trunkline.ts'), clientOf(apiDocument('1.2.3')));
  writeFileSync(join(folder, 'use.ts'), USE);
  api = await apiOn(await place.open());
});
afterAll(async () => {
  await api.close();
  place.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe('the typed client', () => {
  it('type-checks strictly', () => {
    const { status, stdout } = compile('use.ts');
    expect([status, stdout]).toEqual([0, '']);
  });

  it('refuses wrong fields, values and parameters before anything is sent', () => {
    const lines = WRONG.map(
      ([line], index) => `export async function f${index}(client: Trunkline) {\n${line}\n}`,
    );
    writeFileSync(
      join(folder, 'wrong.ts'),
      `import type { Trunkline } from './trunkline.js';\n${lines.join('\n')}\n`,
    );
    const { status, stdout } = compile('wrong.ts');
    expect(status).not.toBe(0);
    for (const [, word] of WRONG) expect(stdout).toContain(word);
    expect(stdout.match(/error TS/g)).toHaveLength(WRONG.length);
  });

  it('has a method for every operation, and works against the server', async () => {
    const { use } = (await import(/* @vite-ignore */ join(folder, 'use.ts'))) as {
      use(url: string, token: string): Promise<readonly string[]>;
    };
    expect(await use(api.url, ADMINISTRATOR)).toEqual([
      'same',
      '+14155550100',
      'null',
      'null',
      'in_use',
      '1',
    ]);
    const { Trunkline } = (await import(/* @vite-ignore */ join(folder, 'trunkline.ts'))) as {
      Trunkline: { prototype: object };
    };
    const operations = Object.values(apiDocument('0').paths)
      .flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId))
      .filter((id) => id !== 'followEvents');
    expect(Object.getOwnPropertyNames(Trunkline.prototype).sort()).toEqual(
      ['constructor', ...operations].sort(),
    );
  });
});
