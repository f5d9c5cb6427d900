/** The program behind `npm run store` and `npm run token`: looks after what the gateway remembers. */
import { createReadStream, createWriteStream, renameSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatFaults } from '#config/faults.js';
import { loadConfig } from '#config/load.js';
import { addKeyToFile, placeName, readSecretKeys, secretKeyPlace } from '#config/secret-keys.js';
import { backupLines, readBackup } from '#directory/backup.js';
import { LiveDirectory } from '#directory/live.js';
import { resealAll } from '#directory/reseal.js';
import { OBJECT_KINDS, type Store } from '#directory/store.js';
import { Tokens } from '#directory/tokens.js';
import { RandomIds } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { silentLogger } from '#lib/logger.js';
import { systemClock } from '#lib/wheel.js';
import { configPart, openBox, openStore, writeCheck } from './knowledge.js';
import { MANAGE_USAGE, type ManageArguments, parseManageArguments } from './manage-arguments.js';

const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** What to mend, for people. */
class Refused extends Error {}

const clock = systemClock();
const ids = new RandomIds();
const AUTHOR = 'command';
/** Warnings matter here too; everything else would be in the way. */
const log: Logger = {
  ...silentLogger,
  warn: (fields, message) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
};

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function run(what: ManageArguments): Promise<void> {
  const loaded = loadConfig(what.config);
  if (loaded.kind === 'faults') throw new Refused(formatFaults(loaded.faults).trimEnd());
  const { config } = loaded;
  const store = await openStore(config, clock, ids, log);
  try {
    switch (what.kind) {
      case 'backup':
        return await backup(store, what.file);
      case 'restore':
        return await restore(store, what.file);
      case 'rotate-key':
      case 'reseal':
        return await reseal(store, config.store.secretKeyFile, what.kind === 'rotate-key');
      case 'status':
        return await status(store, loaded);
      default:
        return await tokens(store, what);
    }
  } finally {
    await store.close();
  }
}

async function backup(store: Store, file: string): Promise<void> {
  const beside = `${file}.part`;
  let objects = -2;
  async function* lines(): AsyncIterable<string> {
    for await (const line of backupLines(store, clock.wallNow())) {
      objects++;
      yield `${line}\n`;
    }
  }
  try {
    // Whole or not at all: a back-up that was cut off would be found out too late.
    await pipeline(Readable.from(lines()), createWriteStream(beside, { mode: 0o600, flush: true }));
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
  say(`${objects} objects were saved to ${file}; keep the secret key apart from it`);
}

async function restore(store: Store, file: string): Promise<void> {
  const input = createReadStream(file);
  const objects = await readBackup(createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }));
  await store.replaceAll(objects);
  say(`${objects.length} objects were restored from ${file} in the place of what was there`);
}

async function reseal(store: Store, keyFile: string, rotate: boolean): Promise<void> {
  const place = secretKeyPlace(keyFile);
  await openBox(store, place);
  if (rotate) {
    if (place.kind === 'environment') {
      throw new Refused(
        `the keys come from ${placeName(place)}: put a new one first there (NEW,OLD), restart every gateway, then run reseal`,
      );
    }
    const keys = readSecretKeys(place);
    if (keys === undefined) throw new Refused(`${placeName(place)} is gone`);
    addKeyToFile(place.path, keys);
  }
  const { box } = await openBox(store, place);
  const { changed, faults } = await resealAll(store, box);
  await writeCheck(store, box);
  say(`secrets of ${changed} objects were sealed with key ${box.keyId}`);
  if (faults.length > 0) throw new Refused(`these cannot be opened:\n${faults.join('\n')}`);
  if (rotate)
    say(
      `the former key stays in ${placeName(place)} for older back-ups; remove its line when there are none`,
    );
}

async function status(
  store: Store,
  { config, snapshot }: Extract<ReturnType<typeof loadConfig>, { readonly kind: 'config' }>,
): Promise<void> {
  say(store.health().detail);
  const { sequence, objects } = await store.load(OBJECT_KINDS);
  say(`sequence ${sequence}, objects ${objects.length}`);
  for (const kind of OBJECT_KINDS) {
    const count = objects.filter((object) => object.kind === kind).length;
    if (count > 0) say(`  ${kind} ${count}`);
  }
  const { box } = await openBox(store, secretKeyPlace(config.store.secretKeyFile));
  const live = new LiveDirectory({
    store,
    box,
    clock,
    log: silentLogger,
    config: configPart(config, snapshot),
  });
  await live.start();
  live.stop();
  for (const { kind, id, leftOut, detail } of live.problems) {
    say(`${kind} ${id} is ${leftOut ? 'left out' : 'not wholly in force'}: ${detail}`);
  }
}

async function tokens(
  store: Store,
  what: Extract<
    ManageArguments,
    { readonly kind: 'token-create' } | { readonly kind: 'token-list' } | { readonly kind: 'token-revoke' }
  >,
): Promise<void> {
  const desk = new Tokens({ store, memory: store.memory, ids, clock, log });
  if (what.kind === 'token-create') {
    const { name, scopes, organizationId } = what;
    const { token, view } = await desk.create({ organizationId, name: AUTHOR }, name, scopes);
    process.stderr.write(
      `token ${view.tokenId} of ${organizationId}, for ${scopes.join(', ')}; it is shown this once:\n`,
    );
    say(token);
  } else if (what.kind === 'token-revoke') {
    const { id, organizationId } = what;
    if (!(await desk.revoke({ organizationId, name: AUTHOR }, id))) {
      throw new Refused(`organisation ${organizationId} has no token ${id}`);
    }
    say(`token ${id} is refused from now on`);
  } else {
    for (const {
      tokenId,
      organizationId,
      scopes,
      name,
      createdAt,
      revokedAt,
      lastUsedAt,
    } of await desk.list()) {
      const state = revokedAt === null ? `last used ${day(lastUsedAt)}` : `revoked ${day(revokedAt)}`;
      say(
        `${tokenId}  ${organizationId}  ${scopes.join(',')}  ${JSON.stringify(name)}  created ${day(createdAt)}  ${state}`,
      );
    }
  }
}

function day(time: number | null): string {
  return time === null ? 'never' : new Date(time).toISOString();
}

const given = parseManageArguments(process.argv.slice(2));
switch (given.kind) {
  case 'help':
    process.stdout.write(MANAGE_USAGE);
    break;
  case 'fault':
    process.stderr.write(`${given.message}\n\n${MANAGE_USAGE}`);
    process.exitCode = EXIT.usage;
    break;
  case 'do':
    try {
      await run(given.what);
    } catch (error) {
      // What is to be mended is in the message; a stack would hide it, and helps only where the program is at fault.
      const ours = error instanceof TypeError || error instanceof ReferenceError;
      const message =
        error instanceof Error ? ((ours ? error.stack : undefined) ?? error.message) : String(error);
      process.stderr.write(`${message}\n`);
      process.exitCode = EXIT.failed;
    }
}
