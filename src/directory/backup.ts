/**
 * Back-ups: what a store has, as text that any store takes back. One line of JSON each: a head, the objects, an end
 * with their number and a digest, so that a file that was cut off or changed is noticed before anything is replaced.
 * Secrets stay sealed: a back-up is worth nothing without the keys, and the keys are not in it.
 */
import { createHash } from 'node:crypto';
import { isRecord } from './documents.js';
import { OBJECT_KINDS, type ObjectKind, type ObjectStore, type RestoredObject } from './store.js';

const FORMAT = 'trunkline-backup';
const VERSION = 1;

/** Why a back-up cannot be taken back. */
export class BackupFault extends Error {
  override readonly name = 'BackupFault';
}

/** The lines of a back-up, as of one moment. Rejects with StoreUnavailable. */
export async function* backupLines(store: ObjectStore, at: number): AsyncIterable<string> {
  const { sequence, objects } = await store.load(OBJECT_KINDS);
  yield JSON.stringify({ format: FORMAT, version: VERSION, at: new Date(at).toISOString(), sequence });
  const digest = createHash('sha256');
  for (const { kind, id, organizationId, createdAt, updatedAt, document } of objects) {
    const line = JSON.stringify({ kind, id, organizationId, createdAt, updatedAt, document });
    digest.update(line).update('\n');
    yield line;
  }
  yield JSON.stringify({ end: true, objects: objects.length, sha256: digest.digest('hex') });
}

/** Reads a back-up whole. Throws BackupFault naming the line. */
export async function readBackup(lines: AsyncIterable<string>): Promise<RestoredObject[]> {
  const objects: RestoredObject[] = [];
  const digest = createHash('sha256');
  let number = 0;
  let ended = false;
  for await (const line of lines) {
    number++;
    if (line === '') continue;
    if (ended) throw new BackupFault(`line ${number}: there is something behind the end`);
    const value = parse(line, number);
    if (number === 1) checkHead(value);
    else if (value.end === true) {
      if (value.objects !== objects.length || value.sha256 !== digest.digest('hex')) {
        throw new BackupFault(`line ${number}: the objects are not those that were saved`);
      }
      ended = true;
    } else {
      digest.update(line).update('\n');
      objects.push(objectOf(value, number));
    }
  }
  if (!ended) throw new BackupFault('the file is cut off: its end is missing');
  return objects;
}

function parse(line: string, number: number): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    if (isRecord(value)) return value;
  } catch {
    // Told below.
  }
  throw new BackupFault(`line ${number}: this is no back-up of Trunkline`);
}

function checkHead({ format, version }: Readonly<Record<string, unknown>>): void {
  if (format !== FORMAT) throw new BackupFault('line 1: this is no back-up of Trunkline');
  if (version !== VERSION) {
    throw new BackupFault(`line 1: it has version ${String(version)}, and this Trunkline reads ${VERSION}`);
  }
}

function objectOf(value: Readonly<Record<string, unknown>>, number: number): RestoredObject {
  const { kind, id, organizationId, createdAt, updatedAt, document } = value;
  if (
    !OBJECT_KINDS.some((known) => known === kind) ||
    typeof id !== 'string' ||
    typeof organizationId !== 'string' ||
    typeof createdAt !== 'number' ||
    typeof updatedAt !== 'number' ||
    !isRecord(document)
  ) {
    throw new BackupFault(`line ${number}: this is no object of Trunkline`);
  }
  return { kind: kind as ObjectKind, id, organizationId, createdAt, updatedAt, document };
}
