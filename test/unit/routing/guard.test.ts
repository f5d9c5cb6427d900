/** Where calls may go, in whatever spelling. */
import { describe, expect, it } from 'vitest';
import { NumberPlan } from '#directory/number-format.js';
import { destinationVerdict, readingsOf, smallest } from '#routing/guard.js';

function verdict(callee: string, destinations: { allow?: string[]; deny?: string[] }, country?: string) {
  const { allow = [], deny = [] } = destinations;
  return destinationVerdict({ allow, deny }, readingsOf(callee, new NumberPlan(country), country));
}

describe('destinations', () => {
  const LISTS = { allow: ['+1', '+44', '112', 'echo'], deny: ['+1900', '+1415555', '0900'] };

  it.each([
    ['+14155540199', '+1'],
    ['14155540199', '+1'],
    ['+1 (415) 554-0199', '+1'],
    ['+442071234567', '+44'],
    ['112', '112'],
    ['echo', 'echo'],
    ['echo-test', 'echo'],
  ])('%s is allowed by %s', (callee, by) => {
    expect(verdict(callee, LISTS)).toEqual({ allowed: true, by });
  });

  it.each([
    ['+19005550199', '+1900'],
    ['19005550199', '+1900'],
    ['+1-900-555-0199', '+1900'],
    ['0019005550199', '+1900'],
    ['01119005550199', '+1900'],
    ['+1/900/5550199', '+1900'],
    ['1_900_5550199', '+1900'],
    ['＋１９００５５５０１９９', '+1900'],
    ['+14155550199', '+1415555'],
    ['09005550199', '0900'],
  ])('%s is denied by %s', (callee, by) => {
    expect(verdict(callee, LISTS)).toEqual({ allowed: false, by });
  });

  it.each(['+4930123', '4930123', '004930123', 'sales', '0044207', '+', 'e'])(
    '%s is allowed by nothing',
    (callee) => {
      expect(verdict(callee, LISTS)).toEqual({ allowed: false, by: undefined });
    },
  );

  it('is read as the trunk’s country writes it', () => {
    expect(verdict('0900 1234567', { deny: ['+49900'] }, 'DE')).toEqual({ allowed: false, by: '+49900' });
    expect(verdict('00190055501990', { deny: ['+1900'] }, 'DE').allowed).toBe(false);
    expect(verdict('030 1234567', { allow: ['+49'] }, 'DE')).toEqual({ allowed: true, by: '+49' });
    // 1900… is no number of the United States here, so nothing of the sort is denied.
    expect(verdict('1900123', { deny: ['+1900'] }, 'DE')).toEqual({ allowed: true, by: undefined });
  });

  it('lets a longer beginning open what a shorter one closes, and the other way round', () => {
    const lists = { allow: ['+1900555'], deny: ['+1'] };
    expect(verdict('+19005550100', lists)).toEqual({ allowed: true, by: '+1900555' });
    expect(verdict('0019005550100', { ...lists, allow: [] }).allowed).toBe(false);
    expect(verdict('+19005', lists)).toEqual({ allowed: false, by: '+1' });
  });

  it('denies what stands in both lists', () => {
    expect(verdict('+1415', { allow: ['+1'], deny: ['+1'] })).toEqual({ allowed: false, by: '+1' });
    expect(verdict('1415', { allow: ['1'], deny: ['+1'] })).toEqual({ allowed: false, by: '+1' });
    expect(verdict('1415', { allow: ['+1'], deny: ['1'] })).toEqual({ allowed: false, by: '1' });
  });

  it('are free without lists', () => {
    expect(verdict('anything', {})).toEqual({ allowed: true, by: undefined });
  });

  it('leave names alone that end in digits', () => {
    expect(verdict('support-1900', { deny: ['+1900'] }).allowed).toBe(true);
  });
});

describe('the smallest bound', () => {
  it('is that of those that are given', () => {
    expect(smallest(undefined, 3, 2, undefined)).toBe(2);
    expect(smallest(undefined)).toBeUndefined();
  });
});
