import { describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import {
  formatSecretKey,
  isSealed,
  keyIdOf,
  makeSecretKey,
  parseSecretKey,
  SealFault,
  SecretBox,
  type SecretKeys,
} from '#directory/secret-box.js';

const PLACE = { kind: 'sipCredentials', id: 'carrier', field: 'authPassword' };
const key = makeSecretKey();
const box = new SecretBox(() => [key]);

describe('a sealed secret', () => {
  it('opens again, and never looks the same twice', () => {
    for (const text of ['x', 'pässwörd 🙂', 'a'.repeat(65_536)]) {
      const sealed = box.seal(new Secret(text), PLACE);
      expect(isSealed(sealed)).toBe(true);
      expect(keyIdOf(sealed)).toBe(key.id);
      expect(sealed).not.toContain(text.length > 1 ? text : '\0');
      expect(box.open(sealed, PLACE).reveal()).toBe(text);
      expect(box.seal(new Secret(text), PLACE)).not.toBe(sealed);
    }
  });

  it('opens for nobody with another key, and says which one is needed', () => {
    const other = makeSecretKey();
    const sealed = box.seal(new Secret('open-sesame'), PLACE);
    expect(() => new SecretBox(() => [other]).open(sealed, PLACE)).toThrow(
      `sipCredentials/carrier authPassword was sealed with key ${key.id}, which is not here (here: ${other.id})`,
    );
    // Not even when the other key takes its name.
    const impostor = { id: key.id, bytes: other.bytes };
    expect(() => new SecretBox(() => [impostor]).open(sealed, PLACE)).toThrow(SealFault);
  });

  it('does not open with any bit flipped', () => {
    const sealed = box.seal(new Secret('open-sesame'), PLACE);
    const start = sealed.lastIndexOf(':') + 1;
    const bytes = Buffer.from(sealed.slice(start), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const damaged = sealed.slice(0, start) + flipped.toString('base64url');
      expect(() => box.open(damaged, PLACE), `bit ${bit}`).toThrow(
        /is damaged, or belongs to another object/,
      );
    }
  });

  it('does not open elsewhere: another object, another field, cut short, or no seal at all', () => {
    const sealed = box.seal(new Secret('open-sesame'), PLACE);
    for (const place of [
      { ...PLACE, kind: 'agent' },
      { ...PLACE, id: 'carrier2' },
      { ...PLACE, field: 'tls.clientKey' },
      { kind: 'sipCredentials', id: 'carrierauth', field: 'Password' },
    ]) {
      expect(() => box.open(sealed, place)).toThrow(SealFault);
    }
    for (const text of ['', 'open-sesame', sealed.slice(0, 40), 'sealed:1:', `sealed:2:${key.id}:AAAA`]) {
      expect(() => box.open(text, PLACE), text).toThrow(SealFault);
    }
  });

  it('is read with a former key, sealed with the first, and with one that was added meanwhile', () => {
    const next = makeSecretKey();
    const old = box.seal(new Secret('x'), PLACE);
    const both = new SecretBox(() => [next, key]);
    expect(both.open(old, PLACE).reveal()).toBe('x');
    expect(both.isCurrent(old)).toBe(false);
    const anew = both.seal(both.open(old, PLACE), PLACE);
    expect(keyIdOf(anew)).toBe(next.id);
    let keys: SecretKeys = [key];
    const following = new SecretBox(() => keys);
    expect(() => following.open(anew, PLACE)).toThrow(/which is not here/);
    keys = [next, key];
    expect(following.open(anew, PLACE).reveal()).toBe('x');
    expect(following.keyId).toBe(next.id);
  });

  it('tells nothing in its faults', () => {
    const sealed = box.seal(new Secret('open-sesame'), PLACE);
    try {
      box.open(sealed, { ...PLACE, id: 'x' });
      expect.unreachable();
    } catch (error) {
      expect(String(error)).not.toContain('open-sesame');
      expect(String(error)).not.toContain(sealed.slice(30));
      expect(String(error)).not.toContain(formatSecretKey(key));
    }
  });
});

describe('a key', () => {
  it('is read from base64, base64url and hex, and nothing else', () => {
    for (const text of [
      formatSecretKey(key),
      ` ${key.bytes.toString('base64url')}\n`,
      key.bytes.toString('hex'),
    ]) {
      expect(parseSecretKey(text)).toEqual(key);
    }
    for (const text of [
      '',
      'short',
      'x'.repeat(64),
      formatSecretKey(key).slice(0, 40),
      `${formatSecretKey(key)}AAAA`,
    ]) {
      expect(() => parseSecretKey(text), text).toThrow(/32 random bytes/);
    }
  });
});
