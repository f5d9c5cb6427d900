/**
 * RFC 3263 §4: from the host of a SIP URI to the servers behind it, by NAPTR, SRV and address records. It asks and
 * selects; caching, order by lot and health are the resolver's.
 */
import type { TransportName } from '#engine/engine.js';
import type { AddressRecord, Dns, NaptrRecord, SrvRecord } from './dns.js';

export interface ResolutionFault {
  readonly kind: 'not-found' | 'timeout' | 'server-failure' | 'unsupported';
  /** For people; printable. */
  readonly detail: string;
}

/** What to look for: the outcome depends on these and the DNS alone. */
export interface Query {
  /** Lower case, no IP literal. */
  readonly host: string;
  /** An explicit port turns SRV off. */
  readonly port: number | undefined;
  /** undefined: NAPTR and SRV say (§4.1). */
  readonly transport: TransportName | undefined;
  /** `sips:` goes over TLS only. */
  readonly secure: boolean;
}

/** Addresses of one server; several of them when SRV names several. */
export interface Server {
  readonly transport: TransportName;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
  readonly addresses: readonly string[];
}

export interface Location {
  /** By priority, lowest first; never empty. */
  readonly servers: readonly Server[];
  readonly ttlSeconds: number;
}

/** RFC 2782 sets no bound; one answer of a large provider has a dozen. */
const MAX_SRV = 32;
const MAX_ADDRESSES = 16;
const MAX_NAPTR = 16;
/** SRV and NAPTR come without a time to live, so an answer that rests on them is asked for again after this. */
const SRV_TTL_SECONDS = 60;
/** The system's own look-up tells no time to live either. */
const LOOKUP_TTL_SECONDS = 30;

/** RFC 3261 §19.1.2. */
export function defaultPort(transport: TransportName): number {
  return transport === 'tls' ? 5061 : 5060;
}

/** Resolves; a fault is an answer too. */
export async function locate(
  query: Query,
  dns: Dns,
  families: readonly (4 | 6)[],
): Promise<Location | ResolutionFault> {
  const { host, port, secure } = query;
  // A name without a dot is in no public zone: the hosts file and the search list know it (RFC 6761 §6.3 for localhost).
  const local = !host.includes('.') || host.endsWith('.localhost');
  if (port !== undefined || local) {
    // §4.1: "if no transport protocol is specified, and the TARGET is not numeric, but an explicit port is provided,
    // the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI" – which is TLS over TCP.
    const transport = query.transport ?? (secure ? 'tls' : 'udp');
    return byAddress(query, transport, port ?? defaultPort(transport), dns, families, local);
  }
  const found =
    query.transport === undefined
      ? await byNaptr(query, dns, families)
      : await bySrv(srvName(query.transport, host), query.transport, dns, families);
  if (found !== 'none') return found;
  // §4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name."
  const transport = query.transport ?? (secure ? 'tls' : 'udp');
  return byAddress(query, transport, defaultPort(transport), dns, families, false);
}

function srvName(transport: TransportName, host: string): string {
  return `${transport === 'tls' ? '_sips._tcp' : `_sip._${transport}`}.${host}`;
}

const NAPTR_SERVICES: Readonly<Record<string, TransportName>> = {
  'SIP+D2U': 'udp',
  'SIP+D2T': 'tcp',
  'SIPS+D2T': 'tls',
};

type Found = Location | ResolutionFault | 'none';

/** §4.1: NAPTR chooses the transport; without it, the SRV names of every transport are tried. */
async function byNaptr(query: Query, dns: Dns, families: readonly (4 | 6)[]): Promise<Found> {
  for (const { transport, name } of await naptrServices(query, dns)) {
    const found = await bySrv(name, transport, dns, families);
    if (found !== 'none') return found;
  }
  for (const transport of query.secure ? (['tls'] as const) : (['udp', 'tcp', 'tls'] as const)) {
    const found = await bySrv(srvName(transport, query.host), transport, dns, families);
    if (found !== 'none') return found;
  }
  return 'none';
}

async function naptrServices(query: Query, dns: Dns): Promise<{ transport: TransportName; name: string }[]> {
  let records: readonly NaptrRecord[];
  try {
    records = await dns.resolveNaptr(query.host);
  } catch {
    // Many servers and middle boxes fail on NAPTR; SRV and address records, asked next, decide what that means.
    return [];
  }
  const services: { transport: TransportName; name: string }[] = [];
  // RFC 3403 §4.1: order first, then preference.
  const sorted = records
    .toSorted((a, b) => a.order - b.order || a.preference - b.preference)
    .slice(0, MAX_NAPTR);
  for (const { flags, service, replacement } of sorted) {
    const transport = NAPTR_SERVICES[service.toUpperCase()];
    // §4.1: with a SIPS URI, services other than SIPS are discarded. Flag "s": the replacement is an SRV name.
    if (transport === undefined || flags.toLowerCase() !== 's' || replacement === '') continue;
    if (query.secure && transport !== 'tls') continue;
    services.push({ transport, name: replacement });
  }
  return services;
}

async function bySrv(
  name: string,
  transport: TransportName,
  dns: Dns,
  families: readonly (4 | 6)[],
): Promise<Found> {
  let records: readonly SrvRecord[];
  try {
    records = await dns.resolveSrv(name);
  } catch (error) {
    const fault = faultOf(error, `SRV ${name}`);
    // A failure is not "no SRV": going on to the address record could reach the wrong port.
    return fault.kind === 'not-found' ? 'none' : fault;
  }
  if (records.length === 0) return 'none';
  // RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
  const usable = records.filter((record) => record.name !== '' && record.name !== '.' && record.port > 0);
  if (usable.length === 0)
    return { kind: 'not-found', detail: `SRV ${name} says that there is no such service` };
  const sorted = usable.toSorted((a, b) => a.priority - b.priority).slice(0, MAX_SRV);
  const answers = await Promise.all(sorted.map((record) => addresses(record.name, dns, families, false)));
  const servers: Server[] = [];
  let ttlSeconds = SRV_TTL_SECONDS;
  let fault: ResolutionFault | undefined;
  for (const [index, answer] of answers.entries()) {
    if ('kind' in answer) {
      fault ??= answer;
      continue;
    }
    const { port, priority, weight } = sorted[index]!;
    servers.push({ transport, port, priority, weight, addresses: answer.addresses });
    ttlSeconds = Math.min(ttlSeconds, answer.ttlSeconds);
  }
  if (servers.length > 0) return { servers, ttlSeconds };
  return fault ?? { kind: 'not-found', detail: `no address for any server of SRV ${name}` };
}

async function byAddress(
  query: Query,
  transport: TransportName,
  port: number,
  dns: Dns,
  families: readonly (4 | 6)[],
  local: boolean,
): Promise<Location | ResolutionFault> {
  const answer = await addresses(query.host, dns, families, local);
  if ('kind' in answer) return answer;
  return {
    servers: [{ transport, port, priority: 0, weight: 0, addresses: answer.addresses }],
    ttlSeconds: answer.ttlSeconds,
  };
}

interface Addresses {
  readonly addresses: readonly string[];
  readonly ttlSeconds: number;
}

async function addresses(
  host: string,
  dns: Dns,
  families: readonly (4 | 6)[],
  local: boolean,
): Promise<Addresses | ResolutionFault> {
  if (local) return (await byLookup(host, dns, families)) ?? none(host);
  const answers = await Promise.allSettled(
    families.map((family) => (family === 4 ? dns.resolve4(host) : dns.resolve6(host))),
  );
  const records: AddressRecord[] = [];
  let fault: ResolutionFault = none(host);
  for (const answer of answers) {
    if (answer.status === 'fulfilled') records.push(...answer.value);
    else {
      const told = faultOf(answer.reason, `address of ${host}`);
      if (told.kind !== 'not-found') fault = told;
    }
  }
  if (records.length > 0) {
    const used = records.slice(0, MAX_ADDRESSES);
    return {
      addresses: used.map((record) => record.address),
      ttlSeconds: Math.min(...used.map((record) => record.ttl)),
    };
  }
  // The hosts file may know what the DNS does not.
  return (await byLookup(host, dns, families)) ?? fault;
}

async function byLookup(
  host: string,
  dns: Dns,
  families: readonly (4 | 6)[],
): Promise<Addresses | undefined> {
  try {
    const found = await dns.lookup(host);
    const used: string[] = [];
    for (const family of families) {
      for (const entry of found) if (entry.family === family) used.push(entry.address);
    }
    return used.length === 0
      ? undefined
      : { addresses: used.slice(0, MAX_ADDRESSES), ttlSeconds: LOOKUP_TTL_SECONDS };
  } catch {
    return undefined;
  }
}

function none(host: string): ResolutionFault {
  return { kind: 'not-found', detail: `no address for ${host}` };
}

function faultOf(error: unknown, what: string): ResolutionFault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  if (code === 'ENOTFOUND' || code === 'ENODATA') return { kind: 'not-found', detail: `no ${what}` };
  if (code === 'ETIMEOUT') return { kind: 'timeout', detail: `no DNS answer for ${what}` };
  return { kind: 'server-failure', detail: `DNS failed (${code}) for ${what}` };
}
