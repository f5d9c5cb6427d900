/** The bearer token of the management API: given, or made at first start and kept in a file that only we can read. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Ids } from '#lib/ids.js';

/** A token of less could be guessed; 200 bits are made. */
const TOKEN_BITS = 200;
const TOKEN_CHARACTERS_MIN = 16;

export interface StoredToken {
  readonly token: string;
  /** It did not exist before: the one time to show it. */
  readonly created: boolean;
}

/** The token kept in `path`; makes and keeps one when there is none. Throws an Error that says what to mend. */
export function storedToken(path: string, ids: Ids): StoredToken {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    const token = ids.token(TOKEN_BITS);
    mkdirSync(dirname(path), { recursive: true });
    // `wx`: of two gateways that start at once, one makes the token and the other one says so.
    writeFileSync(path, `${token}\n`, { mode: 0o600, flag: 'wx' });
    return { token, created: true };
  }
  if (text.length < TOKEN_CHARACTERS_MIN) {
    throw new Error(
      `${path} holds no token of ${TOKEN_CHARACTERS_MIN} characters or more: delete it to have a new one made`,
    );
  }
  return { token: text, created: false };
}

/** Compares in a time that tells nothing about the token. */
export function tokenCheck(token: string): (given: string) => boolean {
  const expected = digest(token);
  return (given) => timingSafeEqual(digest(given), expected);
}

/** The token of an Authorization header field (RFC 6750 §2.1). */
export function bearerToken(authorization: string | undefined): string | undefined {
  return /^Bearer +([A-Za-z0-9._~+/=-]{1,512}) *$/i.exec(authorization ?? '')?.[1];
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
