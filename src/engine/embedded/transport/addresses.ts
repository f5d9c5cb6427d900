/** Addresses as sockets give and take them, and as Via and Contact announce them. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { hostPort } from '#sip/uri.js';
import type { ListenOptions } from './listen-options.js';

/** Addresses of this machine by interface, as `node:os` tells them. */
export type Interfaces = typeof networkInterfaces;

const MAPPED = '::ffff:';

/** An IPv4-mapped IPv6 address as IPv4 (RFC 4291 §2.5.5.2); any other as it is. */
export function unmapped(address: string): string {
  return address.startsWith(MAPPED) && isIP(address.slice(MAPPED.length)) === 4
    ? address.slice(MAPPED.length)
    : address;
}

/** An address as an IPv6 socket takes it. */
export function mapped(address: string): string {
  return address.includes(':') ? address : MAPPED + address;
}

/** What a socket binds to: `localhost` is 127.0.0.1; otherwise the host itself. */
export function bindAddress(host: string): string {
  return host === 'localhost' ? '127.0.0.1' : host.replace(/^\[(.*)\]$/, '$1');
}

/** All addresses of this machine, of one IP version. */
export function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** An IP literal that only this machine reaches. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

/** A port that a datagram or a connection can be sent to. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port <= 65_535;
}

/** `host:port` to announce for a listener bound to `address` and `port`. */
export function announced(
  options: ListenOptions,
  address: string,
  port: number,
  interfaces: Interfaces = networkInterfaces,
): string {
  const external = options.externalAddress;
  if (external === undefined || external === '') {
    return hostPort(isWildcard(address) ? interfaceAddress(address === '::', interfaces()) : address, port);
  }
  // A bare IPv6 address has colons but no port; `[2001:db8::1]:5061` and `host:5061` bring theirs.
  if (isIP(external) === 6) return hostPort(external, port);
  return /:\d+$/.test(external) ? external : `${external}:${port}`;
}

/**
 * Without `externalAddress`, a listener on all addresses announces the first one of this machine that others can
 * reach. A socket on `::` takes IPv4 too, which more peers understand.
 */
function interfaceAddress(any: boolean, interfaces: ReturnType<Interfaces>): string {
  const all = Object.values(interfaces).flatMap((addresses) => addresses ?? []);
  const reachable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const found =
    reachable.find(({ family }) => family === 'IPv4') ??
    (any ? reachable.find(({ family }) => family === 'IPv6') : undefined);
  return found?.address ?? '127.0.0.1';
}
