/**
 * IP addresses and CIDR blocks as numbers, and a table that finds the blocks around an address, most specific
 * first, with one map read per prefix length in use.
 */
export interface Cidr {
  readonly family: 4 | 6;
  /** 0 to 32 or 128. */
  readonly prefix: number;
  /** Canonical text: network address and prefix length, `192.0.2.0/24`. */
  readonly text: string;
  /** Map key of the network address: a 32-bit number, or eight UTF-16 units. */
  readonly key: number | string;
}
