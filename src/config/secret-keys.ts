/**
 * The keys that secrets at rest are sealed with: TRUNKLINE_SECRET_KEY, or a file that only we can read. Several keys,
 * separated by commas or lines: the first one seals, the others only open.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { formatSecretKey, makeSecretKey, parseSecretKey, type SecretKeys } from '#directory/secret-box.js';
import { type Environment, reasonOf } from './source.js';

export const SECRET_KEY_VARIABLE = 'TRUNKLINE_SECRET_KEY';

export type SecretKeyPlace =
  | { readonly kind: 'environment'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string };

/** Where the keys are: the environment goes before the file. */
export function secretKeyPlace(path: string, environment: Environment = process.env): SecretKeyPlace {
  const text = environment[SECRET_KEY_VARIABLE];
  return text === undefined || text.trim() === '' ? { kind: 'file', path } : { kind: 'environment', text };
}

/** For messages. */
export function placeName(place: SecretKeyPlace): string {
  return place.kind === 'environment' ? SECRET_KEY_VARIABLE : place.path;
}

/** undefined: the file does not exist. Throws an Error that says what to mend, without a key. */
export function readSecretKeys(place: SecretKeyPlace): SecretKeys | undefined {
  let text: string;
  try {
    text = place.kind === 'environment' ? place.text : readFileSync(place.path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new Error(`the secret key cannot be read from ${placeName(place)}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  const parts = text.split(/[\s,]+/).filter((part) => part !== '');
  try {
    const [current, ...others] = parts.map(parseSecretKey);
    if (current === undefined) throw new Error('it is empty');
    return [current, ...others];
  } catch (error) {
    throw new Error(`${placeName(place)} holds no secret key: ${reasonOf(error)}`, { cause: error });
  }
}

/** Makes the file with a new key. Fails when there is one already. */
export function createKeyFile(path: string): SecretKeys {
  const key = makeSecretKey();
  mkdirSync(dirname(path), { recursive: true });
  // `wx`: of two gateways that start at once, one makes the key and the other one says so.
  writeFileSync(path, `${formatSecretKey(key)}\n`, { mode: 0o600, flag: 'wx' });
  return [key];
}

/** Puts a new key before those of the file, in one step. */
export function addKeyToFile(path: string, keys: SecretKeys): SecretKeys {
  const all: SecretKeys = [makeSecretKey(), ...keys];
  const beside = `${path}.new`;
  rmSync(beside, { force: true });
  writeFileSync(beside, all.map((key) => `${formatSecretKey(key)}\n`).join(''), { mode: 0o600, flag: 'wx' });
  chmodSync(beside, 0o600);
  renameSync(beside, path);
  return all;
}
