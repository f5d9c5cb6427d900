/** Ways to spoil a message, as fast-check values: a failed run prints the seed and the shrunk list of steps. */
import fc from 'fast-check';

type Step =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'drop'; readonly at: number; readonly length: number }
  | { readonly kind: 'insert'; readonly at: number; readonly octets: string }
  | { readonly kind: 'doubleLine'; readonly line: number }
  | { readonly kind: 'dropLine'; readonly line: number }
  | { readonly kind: 'swapLines'; readonly line: number; readonly other: number }
  | { readonly kind: 'number'; readonly which: number; readonly value: string };

/** 0 to 1, a place in a message of any length. */
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const line = fc.nat(30);

const NASTY = [
  '\u0000',
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  ' \t',
  '"',
  '<',
  '>',
  ',',
  ';',
  '%00',
  '\u00ff\u00fe',
  'é',
  ':'.repeat(300),
  ';tag='.repeat(50),
  'x'.repeat(5_000),
  '\r\nVia: SIP/2.0/UDP a'.repeat(100),
];
const NUMBERS = [
  '0',
  '-1',
  '4294967296',
  '2147483648',
  '18446744073709551616',
  '9'.repeat(400),
  '1e9',
  '0x10',
  '',
];

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut' as const), at: place }),
  fc.record({ kind: fc.constant('drop' as const), at: place, length: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ kind: fc.constant('insert' as const), at: place, octets: fc.constantFrom(...NASTY) }),
  fc.record({ kind: fc.constant('doubleLine' as const), line }),
  fc.record({ kind: fc.constant('dropLine' as const), line }),
  fc.record({ kind: fc.constant('swapLines' as const), line, other: line }),
  fc.record({ kind: fc.constant('number' as const), which: fc.nat(20), value: fc.constantFrom(...NUMBERS) }),
);

export const steps: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 1, maxLength: 4 });

export function spoil(octets: string, list: readonly Step[]): string {
  return list.reduce(apply, octets);
}

function apply(octets: string, one: Step): string {
  switch (one.kind) {
    case 'flip': {
      const at = Math.floor(one.at * octets.length);
      const code = octets.charCodeAt(at);
      return Number.isNaN(code)
        ? octets
        : octets.slice(0, at) + String.fromCharCode(code ^ (1 << one.bit)) + octets.slice(at + 1);
    }
    case 'cut':
      return octets.slice(0, Math.floor(one.at * octets.length));
    case 'drop': {
      const at = Math.floor(one.at * octets.length);
      return octets.slice(0, at) + octets.slice(at + one.length);
    }
    case 'insert': {
      const at = Math.floor(one.at * octets.length);
      return octets.slice(0, at) + one.octets + octets.slice(at);
    }
    case 'number': {
      const found = [...octets.matchAll(/\d+/g)];
      const match = found[one.which % Math.max(found.length, 1)];
      if (match === undefined) return octets;
      return octets.slice(0, match.index) + one.value + octets.slice(match.index + match[0].length);
    }
    case 'doubleLine':
    case 'dropLine':
    case 'swapLines': {
      const lines = octets.split('\r\n');
      const at = one.line % lines.length;
      if (one.kind === 'doubleLine') lines.splice(at, 0, lines[at]!);
      else if (one.kind === 'dropLine') lines.splice(at, 1);
      else {
        const other = one.other % lines.length;
        [lines[at], lines[other]] = [lines[other]!, lines[at]!];
      }
      return lines.join('\r\n');
    }
  }
}
