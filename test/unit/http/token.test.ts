import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bearerToken, storedToken, tokenCheck } from '#http/token.js';
import { RandomIds } from '#lib/ids.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trunkline-token-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the stored token', () => {
  it('is made once, for our eyes only, and found again', () => {
    const path = join(folder, 'data/api-token');
    const first = storedToken(path, new RandomIds());
    expect(first.created).toBe(true);
    expect(first.token).toMatch(/^[a-z2-7]{40}$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toBe(`${first.token}\n`);
    expect(storedToken(path, new RandomIds())).toEqual({ token: first.token, created: false });
    expect(storedToken(join(folder, 'other'), new RandomIds()).token).not.toBe(first.token);
  });

  it('is refused when the file holds none worth the name', () => {
    const path = join(folder, 'api-token');
    for (const text of ['', '\n', 'short']) {
      writeFileSync(path, text);
      expect(() => storedToken(path, new RandomIds())).toThrow(path);
    }
  });
});

describe('the check', () => {
  it('takes the token and nothing else', () => {
    const check = tokenCheck('the-token');
    expect(check('the-token')).toBe(true);
    for (const wrong of ['', 'the-toke', 'the-token2', 'The-token']) expect(check(wrong)).toBe(false);
  });

  it('finds the token in the header field', () => {
    expect(bearerToken('Bearer the-token')).toBe('the-token');
    expect(bearerToken('bearer  the-token ')).toBe('the-token');
    for (const wrong of [undefined, '', 'the-token', 'Bearer', 'Bearer the token', 'Basic dGhlOnRva2Vu']) {
      expect(bearerToken(wrong)).toBeUndefined();
    }
  });
});
