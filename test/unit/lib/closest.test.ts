import { describe, expect, it } from 'vitest';
import { closest } from '#lib/closest.js';

describe('closest', () => {
  it.each([
    ['transprot', 'transport'],
    ['allowedAdresses', 'allowedAddresses'],
    ['Server', 'server'],
    ['hots', 'host'],
    ['zebra', undefined],
    ['', undefined],
  ])('of %s is %s', (word, expected) => {
    expect(closest(word, ['transport', 'allowedAddresses', 'server', 'host'])).toBe(expected);
  });
});
