/**
 * Where a webhook may lead. Whoever may write a webhook must not reach what only this machine reaches: loopback, the
 * private network, the cloud's metadata service. The address is checked, not the name, and at each connection, since a
 * name may point elsewhere the next time.
 */
import { addressKey, CidrTable, formatKey, parseCidr } from '#directory/cidr.js';

/** Of the IANA special-purpose address registries (RFC 6890) what is not globally reachable, and multicast. */
const CLOSED = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  '::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
] as const;

/** First 96 bits of IPv6 addresses that hold an IPv4 address, which is what they are judged by (RFC 4291 §2.5.5.2, RFC 6052 §2.1). */
const IPV4_INSIDE = [
  String.fromCharCode(0, 0, 0, 0, 0, 0xffff),
  String.fromCharCode(0x64, 0xff9b, 0, 0, 0, 0),
];

export class AddressGuard {
  readonly #closed = new CidrTable<true>();
  readonly #open = new CidrTable<true>();

  /** @param allowed blocks that may be reached although they are private, as CIDR */
  constructor(allowed: readonly string[]) {
    for (const block of CLOSED) add(this.#closed, block);
    for (const block of allowed) add(this.#open, block);
  }

  /** @param address an IP literal, IPv6 without brackets */
  allows(address: string): boolean {
    if (this.#open.find(address).length > 0) return true;
    const key = addressKey(address);
    if (key === undefined) return false;
    if (typeof key === 'string' && IPV4_INSIDE.some((prefix) => key.startsWith(prefix))) {
      return this.allows(formatKey(key.charCodeAt(6) * 65_536 + key.charCodeAt(7)));
    }
    return this.#closed.find(address).length === 0;
  }
}

function add(table: CidrTable<true>, block: string): void {
  const cidr = parseCidr(block);
  if (typeof cidr === 'string') throw new Error(`${block} ${cidr}`);
  table.add(cidr, true);
}
