/**
 * Numbers in one form, so that `+14155550100`, `1 (415) 555-0100` and `4155550100` from a trunk in the US are one
 * DID. Only what looks like a number is touched: a SIP user may just as well be a name (`sales`), and a carrier
 * may use short codes; both stay as they are.
 */

import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/min';
import { BoundedMap } from '#lib/bounded-map.js';
import type { NumberFormat } from './trunk.js';

/** Marks of direction, joiners, blanks other than the space: what comes along with a number that was copied from a page. */
const UNSEEN = /(?! )[\p{Zs}\p{Zl}\p{Zp}\p{Cf}]/u;

/** What is wrong with a number that has characters which nobody sees, and which no call would ever name; or undefined. */
export function unseenFault(number: string): string | undefined {
  const code = UNSEEN.exec(number)?.[0].codePointAt(0);
  return code === undefined
    ? undefined
    : `must not have the invisible character U+${code.toString(16).toUpperCase().padStart(4, '0')}: type it anew`;
}

/** Parsing by the number plans costs 20 µs, so each plan remembers its last answers. */
const CACHE_LIMIT = 10_000;

/** ITU-T Operational Bulletin, dialling procedures: what is dialled before a country code, and before a national number. */
const INTERNATIONAL_PREFIXES = ['00', '011', '0011', '010', '810'];
const NATIONAL_PREFIXES = ['', '0', '1', '8', '01', '06'];

const PLUS = 43;
const ZERO = 48;
const NINE = 57;

/** How one trunk writes numbers, with `+` and without. */
export class NumberPlan {
  readonly #country: CountryCode | undefined;
  readonly #cache = new BoundedMap<string, string>(CACHE_LIMIT);

  /** @param country ISO 3166 code in capitals; undefined: only numbers with `+` are known to be E.164. */
  constructor(country?: string) {
    if (country !== undefined && !isCountry(country)) throw new RangeError(`no number plan for ${country}`);
    this.#country = country as CountryCode | undefined;
  }

  /**
   * `+` and digits where the number in full can be told; digits alone for a number whose country is not known or
   * which its country's plan does not hold (short codes); everything else as given. Applying it twice changes
   * nothing.
   */
  normalise(text: string): string {
    const shape = shapeOf(text);
    // "+" and digits is the usual case and already the result.
    if (shape === 'plus-digits') return text;
    if (shape === 'other') return text;
    if (shape === 'digits' && this.#country === undefined) return text;
    const known = this.#cache.get(text);
    if (known !== undefined) return known;
    const normal = this.#parse(text);
    this.#cache.set(text, normal);
    return normal;
  }

  /**
   * A number as it is written on calls to this trunk. Names and short codes stay as they are, and so does a number
   * whose country is not known. `asIs` takes away what people write between digits, and nothing else; `national` writes
   * numbers of other countries with the international prefix of the trunk's own.
   */
  write(text: string, format: NumberFormat): string {
    const shape = shapeOf(text);
    if (shape === 'other') return text;
    if (format === 'asIs') return shape === 'separated' ? bareDigits(text) : text;
    const normal = this.normalise(text);
    if (normal.charCodeAt(0) !== PLUS || format === 'e164') return normal;
    return format === 'plain' ? normal.slice(1) : this.#national(normal);
  }

  /**
   * How a number in E.164 may be dialled without its `+` on a trunk that reads numbers by a country: nationally or
   * internationally. More than the country knows, so what is found by them has to be compared by `normalise`.
   * @param normal as `normalise` makes it
   */
  *spellings(normal: string): Iterable<string> {
    if (this.#country === undefined || normal.charCodeAt(0) !== PLUS) return;
    const digits = normal.slice(1);
    for (const prefix of INTERNATIONAL_PREFIXES) yield prefix + digits;
    const code = getCountryCallingCode(this.#country);
    if (!digits.startsWith(code)) return;
    const national = digits.slice(code.length);
    for (const prefix of NATIONAL_PREFIXES) yield prefix + national;
  }

  /** What `spellings` tells, the other way round: digits that this country may read as another number, without `+`. */
  *readings(digits: string): Iterable<string> {
    if (this.#country === undefined || !/^\d+$/.test(digits)) return;
    for (const prefix of INTERNATIONAL_PREFIXES) {
      if (digits.startsWith(prefix)) yield digits.slice(prefix.length);
    }
    const code = getCountryCallingCode(this.#country);
    for (const prefix of NATIONAL_PREFIXES) {
      if (digits.startsWith(prefix)) yield code + digits.slice(prefix.length);
    }
  }

  #national(e164: string): string {
    const parsed = parsePhoneNumberFromString(e164);
    const country = this.#country;
    if (parsed === undefined || country === undefined) return e164;
    const text =
      parsed.countryCallingCode === getCountryCallingCode(country)
        ? parsed.formatNational()
        : parsed.format('IDD', { fromCountry: country });
    // No country has a number without digits; `IDD` answers nothing where it knows no prefix.
    return text === undefined || text === '' ? e164 : text.replace(/\D/g, '');
  }

  #parse(text: string): string {
    const bare = text.replace(/[^+\d]/g, '');
    if (bare.startsWith('+')) return bareDigits(text);
    if (this.#country === undefined) return bare;
    const parsed = parsePhoneNumberFromString(bare, this.#country);
    return parsed?.isPossible() ? parsed.number : bare;
  }
}

/** `+` and digits of a number that is written with separators. */
function bareDigits(text: string): string {
  const bare = text.replace(/[^+\d]/g, '');
  // `+44 (0)20…` and `+39 (0)6…`: whether that zero is dialled is the country's affair.
  const parsed = bare.startsWith('+') && text.includes('(') ? parsePhoneNumberFromString(text) : undefined;
  return parsed?.isPossible() ? parsed.number : bare;
}

/** It looks like a number: digits, perhaps with `+` and with what people write between digits. */
export function isNumberLike(text: string): boolean {
  return shapeOf(text) !== 'other';
}

/** There is a number plan for this ISO 3166 code. */
export function isCountry(code: string): boolean {
  return isSupportedCountry(code);
}

/**
 * What two spellings of one number share: the normal form without `+`. A carrier whose trunk has no `country` may
 * then send `14155550100` for `+14155550100`.
 */
export function matchKey(normalised: string): string {
  return normalised.charCodeAt(0) === PLUS ? normalised.slice(1) : normalised;
}

type Shape = 'plus-digits' | 'digits' | 'separated' | 'other';

/** Digits, perhaps led by `+`, perhaps with the visual separators of RFC 3966 §5.1.1 and spaces. */
function shapeOf(text: string): Shape {
  let digits = 0;
  let separators = 0;
  const start = text.charCodeAt(0) === PLUS ? 1 : 0;
  for (let i = start; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= ZERO && c <= NINE) digits++;
    else if (c === 32 || c === 40 || c === 41 || c === 45 || c === 46) separators++;
    else return 'other';
  }
  // E.164 §6: at most 15 digits; 011 and a carrier's prefix may come before them. More is no number.
  if (digits === 0 || digits > 24 || separators > 16) return 'other';
  if (separators > 0) return 'separated';
  return start === 1 ? 'plus-digits' : 'digits';
}
