/**
 * IP addresses and CIDR blocks as map keys, and a table that finds the blocks around an address, most specific
 * first, with one map read per prefix length in use.
 *
 * An IPv4 address is a 32-bit unsigned number, an IPv6 address a string of eight UTF-16 units: both are cheap to
 * mask and to look up, which a BigInt is not.
 */
export interface Cidr {
  readonly family: 4 | 6;
  /** 0 to 32 or 128. */
  readonly prefix: number;
  /** `192.0.2.0/24`; a single address is given without prefix length. */
  readonly text: string;
  /** Key of the network address. */
  readonly key: number | string;
}

/** The key of an IP literal (IPv6 without brackets, a zone id is ignored); undefined when it is none. */
export function addressKey(text: string): number | string | undefined {
  return text.includes(':') ? ipv6Key(text) : ipv4Key(text);
}

/**
 * Reads `192.0.2.0/24`, `2001:db8::/32` or a single address. Answers what is wrong as text. Host bits behind the
 * prefix are refused: `10.1.2.3/8` is as likely a slip in the address as in the length.
 */
export function parseCidr(text: string): Cidr | string {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  const key = addressKey(address);
  if (key === undefined || address.includes('%')) return 'is neither an IP address nor a CIDR block';
  const family = typeof key === 'number' ? 4 : 6;
  const bits = family === 4 ? 32 : 128;
  if (slash < 0) return { family, prefix: bits, text: address, key };
  const length = text.slice(slash + 1);
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix <= bits)) return `has no prefix length from 0 to ${bits} behind its slash`;
  const network = maskKey(key, prefix);
  if (network !== key) {
    return `has address bits set behind the prefix: write ${formatKey(network)}/${prefix} for the network or ${address} for the one address`;
  }
  return { family, prefix, text: prefix === bits ? address : text, key };
}

/** One block holds the other, or they are the same. */
export function overlap(a: Cidr, b: Cidr): boolean {
  if (a.family !== b.family) return false;
  const prefix = Math.min(a.prefix, b.prefix);
  return maskKey(a.key, prefix) === maskKey(b.key, prefix);
}

/** Blocks and what belongs to them. Filled once, then only read. */
export class CidrTable<T> {
  readonly #byLength4: (Map<number, T[]> | undefined)[] = [];
  readonly #byLength6: (Map<string, T[]> | undefined)[] = [];
  /** Prefix lengths in use, longest first. */
  #lengths4: number[] = [];
  #lengths6: number[] = [];

  /** Each value adds all its blocks before the next one does: the same block twice is then noticed. */
  add(cidr: Cidr, value: T): void {
    if (typeof cidr.key === 'number') {
      const map = this.#byLength4[cidr.prefix] ?? new Map<number, T[]>();
      this.#byLength4[cidr.prefix] = map;
      append(map, cidr.key, value);
      this.#lengths4 = lengthsOf(this.#byLength4);
    } else {
      const map = this.#byLength6[cidr.prefix] ?? new Map<string, T[]>();
      this.#byLength6[cidr.prefix] = map;
      append(map, cidr.key, value);
      this.#lengths6 = lengthsOf(this.#byLength6);
    }
  }

  /** Values of every block around the address, the most specific block first, each value once. */
  find(address: string): T[] {
    const key = addressKey(address);
    const found: T[] = [];
    if (typeof key === 'number') {
      for (const length of this.#lengths4) collect(this.#byLength4[length]?.get(mask4(key, length)), found);
    } else if (key !== undefined) {
      for (const length of this.#lengths6) collect(this.#byLength6[length]?.get(mask6(key, length)), found);
    }
    return found;
  }

  /** The values of exactly this block. */
  exactly({ key, prefix }: Cidr): readonly T[] {
    const values =
      typeof key === 'number' ? this.#byLength4[prefix]?.get(key) : this.#byLength6[prefix]?.get(key);
    return values ?? [];
  }

  /** The values block by block. */
  *blocks(): Iterable<{ readonly text: string; readonly values: readonly T[] }> {
    for (const [length, map] of this.#byLength4.entries()) {
      for (const [key, values] of map ?? []) yield { text: `${formatKey(key)}/${length}`, values };
    }
    for (const [length, map] of this.#byLength6.entries()) {
      for (const [key, values] of map ?? []) yield { text: `${formatKey(key)}/${length}`, values };
    }
  }
}

function append<K, T>(map: Map<K, T[]>, key: K, value: T): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else if (values.at(-1) !== value) values.push(value);
}

function lengthsOf(maps: readonly (object | undefined)[]): number[] {
  const lengths: number[] = [];
  for (let length = maps.length - 1; length >= 0; length--) if (maps[length]) lengths.push(length);
  return lengths;
}

function collect<T>(values: readonly T[] | undefined, into: T[]): void {
  if (values === undefined) return;
  const before = into.length;
  for (const value of values) if (before === 0 || !into.includes(value)) into.push(value);
}

const DOT = 46;
const ZERO = 48;
const NINE = 57;

/** Dotted quad. A leading zero is refused: some systems read `010` as eight. */
function ipv4Key(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= ZERO && c <= NINE) {
      if (octet === 0) return undefined;
      octet = octet < 0 ? c - ZERO : octet * 10 + c - ZERO;
      if (octet > 255) return undefined;
    } else if (c === DOT && octet >= 0 && dots < 3) {
      value = value * 256 + octet;
      octet = -1;
      dots++;
    } else return undefined;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : undefined;
}

/** RFC 4291 §2.2: hextets, one `::`, a dotted quad at the end. */
function ipv6Key(text: string): string | undefined {
  const zone = text.indexOf('%');
  const address = zone < 0 ? text : text.slice(0, zone);
  const gap = address.indexOf('::');
  if (gap < 0) {
    const units = hextets(address);
    return units?.length === 8 ? String.fromCharCode(...units) : undefined;
  }
  const head = gap === 0 ? [] : hextets(address.slice(0, gap), false);
  const tail = gap + 2 === address.length ? [] : hextets(address.slice(gap + 2));
  // §2.2: "::" stands for one or more groups of zeros.
  if (head === undefined || tail === undefined || head.length + tail.length > 7) return undefined;
  const zeros = new Array<number>(8 - head.length - tail.length).fill(0);
  return String.fromCharCode(...head, ...zeros, ...tail);
}

function hextets(text: string, quadAllowed = true): number[] | undefined {
  const units: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) units.push(Number.parseInt(group, 16));
    else {
      const quad = quadAllowed && index === groups.length - 1 ? ipv4Key(group) : undefined;
      if (quad === undefined) return undefined;
      units.push(quad >>> 16, quad & 0xffff);
    }
  }
  return units.length <= 8 ? units : undefined;
}

function maskKey(key: number | string, prefix: number): number | string {
  return typeof key === 'number' ? mask4(key, prefix) : mask6(key, prefix);
}

function mask4(key: number, prefix: number): number {
  // A shift by 32 is a shift by 0 in JavaScript.
  return prefix === 0 ? 0 : (key & (-1 << (32 - prefix))) >>> 0;
}

function mask6(key: string, prefix: number): string {
  if (prefix === 128) return key;
  const whole = prefix >> 4;
  const rest = prefix & 15;
  const partial = rest === 0 ? 0 : key.charCodeAt(whole) & (0xffff << (16 - rest)) & 0xffff;
  return key.slice(0, whole) + String.fromCharCode(partial) + '\0'.repeat(7 - whole);
}

/** Text of a key; IPv6 with its longest run of zero groups shortened (RFC 5952 §4.2). */
export function formatKey(key: number | string): string {
  if (typeof key === 'number')
    return [key >>> 24, (key >>> 16) & 255, (key >>> 8) & 255, key & 255].join('.');
  const groups = Array.from({ length: 8 }, (_, i) => key.charCodeAt(i).toString(16));
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.length < 2) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
