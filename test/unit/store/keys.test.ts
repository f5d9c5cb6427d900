import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapePart, redisKey, unescapePart } from '#store/redis/keys.js';

describe('keys in Redis', () => {
  it('keep plain names readable', () => {
    expect(redisKey('pace', 'carrier-a', 'q')).toBe('trunkline:pace:carrier-a:q');
  });

  it('escape what separates, what nests and what is not ASCII', () => {
    expect(redisKey('pace', 'org/a:b{c}*é\r\n')).toBe('trunkline:pace:org%2Fa%3Ab%7Bc%7D%2A%C3%A9%0D%0A');
  });

  it('are different for different parts', () => {
    const parts = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(redisKey(...a) === redisKey(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  it('can be read back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (part) => {
        expect(escapePart(part)).toMatch(/^[\w.+@~%-]*$/);
        expect(unescapePart(escapePart(part))).toBe(part);
      }),
    );
  });
});
