import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCountry, matchKey, NumberPlan, unseenFault } from '#directory/number-format.js';

describe('normalisation', () => {
  it.each([
    // What is E.164 already.
    [undefined, '+14155550100', '+14155550100'],
    [undefined, '+1 (415) 555-0100', '+14155550100'],
    [undefined, '+1.415.555.0100', '+14155550100'],
    // A zero in brackets is dialled in Italy and not in Britain.
    [undefined, '+44 (0)20 7123 4567', '+442071234567'],
    [undefined, '+39 (0)6 1234 5678', '+390612345678'],
    // Without a country, digits stay digits.
    [undefined, '4155550100', '4155550100'],
    [undefined, '0044 20 7123 4567', '00442071234567'],
    // National and international prefixes by country.
    ['US', '4155550100', '+14155550100'],
    ['US', '14155550100', '+14155550100'],
    ['US', '011442071234567', '+442071234567'],
    ['US', '(415) 555-0100', '+14155550100'],
    ['GB', '02071234567', '+442071234567'],
    ['GB', '442071234567', '+442071234567'],
    ['GB', '00442071234567', '+442071234567'],
    ['GB', '0014155550100', '+14155550100'],
    ['IT', '0612345678', '+390612345678'],
    ['AT', '0660123456', '+43660123456'],
    // Short codes and emergency numbers are no E.164 numbers.
    ['US', '911', '911'],
    ['GB', '12', '12'],
    // Names.
    ['US', 'sales', 'sales'],
    ['US', 'user1', 'user1'],
    ['US', '', ''],
    ['US', '+', '+'],
    ['US', '()', '()'],
    ['US', '*97', '*97'],
    ['US', '12+34', '12+34'],
    ['US', '1234567890123456789012345', '1234567890123456789012345'],
  ])('in %s of %s is %s', (country, text, normal) => {
    expect(new NumberPlan(country).normalise(text)).toBe(normal);
  });

  it('done twice changes nothing', () => {
    const plans = [undefined, 'US', 'GB', 'DE', 'IT', 'BR', 'AU', 'JP'].map(
      (country) => new NumberPlan(country),
    );
    const numberish = fc
      .array(fc.constantFrom(...'00112345678956+() -.'), { maxLength: 20 })
      .map((characters) => characters.join(''));
    fc.assert(
      fc.property(fc.oneof(numberish, fc.string()), fc.constantFrom(...plans), (text, plan) => {
        const once = plan.normalise(text);
        expect(plan.normalise(once)).toBe(once);
      }),
      { numRuns: 2_000 },
    );
  });

  it('answers the same from its memory', () => {
    const plan = new NumberPlan('GB');
    expect(plan.normalise('02071234567')).toBe('+442071234567');
    expect(plan.normalise('02071234567')).toBe('+442071234567');
  });

  it('knows countries by their code in capitals', () => {
    expect(isCountry('GB')).toBe(true);
    expect(isCountry('UK')).toBe(false);
    expect(() => new NumberPlan('UK')).toThrow(RangeError);
  });
});

describe('matching', () => {
  it('takes a number with and without + as one', () => {
    expect(matchKey('+14155550100')).toBe(matchKey('14155550100'));
    expect(matchKey('sales')).toBe('sales');
  });
});

describe('what nobody sees', () => {
  it.each([
    ['\u202a+14155550100\u202c', 'U+202A'],
    ['+1\u00a0415\u00a05550100', 'U+00A0'],
    ['+1415\u200b5550100', 'U+200B'],
    ['\ufeff+14155550100', 'U+FEFF'],
    ['+1415\u00ad5550100', 'U+00AD'],
  ])('%j is told by its code', (number, code) => {
    expect(unseenFault(number)).toContain(code);
  });

  it.each(['+1 (415) 555-0100', 'sales', 'büro', '*67#', '東京'])('%s is as it looks', (number) => {
    expect(unseenFault(number)).toBeUndefined();
  });
});
