import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKey, CidrTable, formatKey, parseCidr } from '#directory/cidr.js';

/** The plain way: compare bit by bit. */
function bitsOf(key: number | string): string {
  if (typeof key === 'number') return key.toString(2).padStart(32, '0');
  return Array.from(key, (unit) => unit.charCodeAt(0).toString(2).padStart(16, '0')).join('');
}

const ipv4 = fc.nat({ max: 0xffffffff });
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat({ max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((units) => String.fromCharCode(...units));

function network(key: number | string, prefix: number): number | string {
  const bits = bitsOf(key).slice(0, prefix);
  if (typeof key === 'number') return Number.parseInt(bits.padEnd(32, '0'), 2);
  const whole = bits.padEnd(128, '0');
  return String.fromCharCode(
    ...Array.from({ length: 8 }, (_, i) => Number.parseInt(whole.slice(i * 16, i * 16 + 16), 2)),
  );
}

describe('addresses', () => {
  it.each([
    ['0.0.0.0', 0],
    ['255.255.255.255', 0xffffffff],
    ['192.0.2.1', 0xc0000201],
    ['::', '\0\0\0\0\0\0\0\0'],
    ['::1', '\0\0\0\0\0\0\0\u0001'],
    ['2001:DB8::a', '\u2001\u0db8\0\0\0\0\0\u000a'],
    ['1:2:3:4:5:6:7:8', '\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008'],
    ['::ffff:192.0.2.1', '\0\0\0\0\0\uffff\uc000\u0201'],
    ['fe80::1%eth0', '\ufe80\0\0\0\0\0\0\u0001'],
  ])('reads %s', (text, key) => {
    expect(addressKey(text)).toBe(key);
  });

  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.04',
    '1..2.3',
    '.1.2.3',
    '1.2.3.',
    '1.2.3.4 ',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::1:2:3:4:5:6:7:8',
    '12345::',
    'g::',
    '1.2.3.4::',
    '[::1]',
    '::1.2.3',
    'localhost',
  ])('refuses %j', (text) => {
    expect(addressKey(text)).toBeUndefined();
  });

  it('are written so that they read back', () => {
    fc.assert(fc.property(fc.oneof(ipv4, ipv6), (key) => addressKey(formatKey(key)) === key));
  });

  it('are shortened at the longest run of zeros', () => {
    expect(formatKey(addressKey('2001:0:0:1:0:0:0:1')!)).toBe('2001:0:0:1::1');
    expect(formatKey(addressKey('1:0:3:4:5:6:7:8')!)).toBe('1:0:3:4:5:6:7:8');
  });
});

describe('CIDR blocks', () => {
  it('take a single address as a block of one', () => {
    expect(parseCidr('192.0.2.1')).toMatchObject({ family: 4, prefix: 32 });
    expect(parseCidr('2001:db8::1')).toMatchObject({ family: 6, prefix: 128 });
    expect(parseCidr('0.0.0.0/0')).toMatchObject({ family: 4, prefix: 0, key: 0 });
  });

  it.each([
    ['192.0.2.1/24', 'write 192.0.2.0/24'],
    ['2001:db8::1/64', 'write 2001:db8::/64'],
    ['192.0.2.0/33', 'prefix length from 0 to 32'],
    ['2001:db8::/129', 'prefix length from 0 to 128'],
    ['192.0.2.0/', 'prefix length'],
    ['192.0.2.0/-1', 'prefix length'],
    ['example.com', 'neither'],
    ['fe80::1%eth0', 'neither'],
  ])('refuse %s', (text, message) => {
    expect(parseCidr(text)).toContain(message);
  });

  it('are found as comparing bits finds them, most specific first', () => {
    const pair = fc.oneof(
      fc.record({ key: ipv4, bits: fc.constant(32) }),
      fc.record({ key: ipv6, bits: fc.constant(128) }),
    );
    const block = fc.tuple(pair, fc.nat({ max: 128 })).map(([{ key, bits }, length]) => {
      const prefix = length % (bits + 1);
      return `${formatKey(network(key, prefix))}/${prefix}`;
    });
    fc.assert(
      fc.property(fc.array(block, { maxLength: 12 }), fc.array(pair, { maxLength: 4 }), (blocks, extra) => {
        const table = new CidrTable<string>();
        const cidrs = blocks.map((text) => {
          const cidr = parseCidr(text);
          if (typeof cidr === 'string') throw new Error(`${text} ${cidr}`);
          table.add(cidr, text);
          return { text, cidr };
        });
        // Addresses inside the blocks, not only random ones, which would hardly ever hit.
        const probes = [...cidrs.map(({ cidr }) => cidr.key), ...extra.map(({ key }) => key)];
        for (const probe of probes) {
          const naive = cidrs
            .filter(({ cidr }) => typeof cidr.key === typeof probe)
            .filter(
              ({ cidr }) => bitsOf(cidr.key).slice(0, cidr.prefix) === bitsOf(probe).slice(0, cidr.prefix),
            )
            .sort((a, b) => b.cidr.prefix - a.cidr.prefix)
            .map(({ text }) => text);
          expect(table.find(formatKey(probe))).toEqual([...new Set(naive)]);
        }
      }),
    );
  });

  it('find nothing for what is no address', () => {
    const table = new CidrTable<string>();
    const everything = parseCidr('0.0.0.0/0');
    if (typeof everything === 'string') throw new Error(everything);
    table.add(everything, 'all');
    expect(table.find('localhost')).toEqual([]);
    expect(table.find('::1')).toEqual([]);
    expect(table.find('8.8.8.8')).toEqual(['all']);
  });
});
