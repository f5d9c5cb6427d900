/** The port through which this room asks the DNS, and its implementation with the machine's resolver. */
import { lookup, Resolver as NodeResolver } from 'node:dns/promises';

export interface NaptrRecord {
  readonly flags: string;
  readonly service: string;
  readonly regexp: string;
  readonly replacement: string;
  readonly order: number;
  readonly preference: number;
}

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface AddressRecord {
  readonly address: string;
  /** Seconds. */
  readonly ttl: number;
}

/**
 * Rejects with an Error whose `code` is one of `node:dns`: ENOTFOUND and ENODATA for "there is none", ETIMEOUT,
 * ESERVFAIL and others for a failure. Time to live comes with addresses only: `node:dns` does not tell it for
 * SRV and NAPTR.
 */
export interface Dns {
  resolveNaptr(name: string): Promise<readonly NaptrRecord[]>;
  resolveSrv(name: string): Promise<readonly SrvRecord[]>;
  resolve4(name: string): Promise<readonly AddressRecord[]>;
  resolve6(name: string): Promise<readonly AddressRecord[]>;
  /** As the system sees the name, hosts file included. */
  lookup(name: string): Promise<readonly { readonly address: string; readonly family: number }[]>;
}

export interface SystemDnsOptions {
  /** `address` or `address:port`; default: those of the system. */
  readonly servers?: readonly string[] | undefined;
  /** Milliseconds that one try waits for an answer. Default 2,000. */
  readonly tryTimeoutMs?: number | undefined;
  /** Default 2. */
  readonly tries?: number | undefined;
}

/** DNS by c-ares, whose answers have their TTL; `lookup` asks the system, /etc/hosts included. */
export function systemDns(options: SystemDnsOptions = {}): Dns {
  const resolver = new NodeResolver({ timeout: options.tryTimeoutMs ?? 2_000, tries: options.tries ?? 2 });
  if (options.servers !== undefined && options.servers.length > 0) resolver.setServers(options.servers);
  return {
    resolveNaptr: (name) => resolver.resolveNaptr(name),
    resolveSrv: (name) => resolver.resolveSrv(name),
    resolve4: (name) => resolver.resolve4(name, { ttl: true }),
    resolve6: (name) => resolver.resolve6(name, { ttl: true }),
    lookup: (name) => lookup(name, { all: true }),
  };
}
