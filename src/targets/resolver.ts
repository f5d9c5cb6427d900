/**
 * From a SIP URI to next hops in the order to try them (RFC 3263): remembered answers, order by lot among SRV
 * records of one priority, and the health that calls report back: a target in quarantine is tried last.
 *
 * Addresses need no DNS and are answered at once, and so are names that are remembered. What is nearly too old is
 * asked for again in the background, and when the DNS fails the last good answer serves on for an hour (the idea of
 * RFC 8767): a provider must not become unreachable because a name server is.
 */
import type { Target, TlsOptions, TransportName } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import { weightedOrder } from '#lib/weighted-order.js';
import { hostPort, type SipUri } from '#sip/uri.js';
import type { Dns } from './dns.js';
import { defaultPort, type Location, locate, type Query, type ResolutionFault } from './locate.js';

export type { ResolutionFault } from './locate.js';

export interface ResolverOptions {
  readonly dns: Dns;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Address families that we can send to, the preferred one first. Default IPv4, then IPv6. */
  readonly families?: readonly (4 | 6)[] | undefined;
  /** Milliseconds after which a caller gets a `timeout` although the DNS may still answer. Default 5,000. */
  readonly timeoutMs?: number | undefined;
  /** Names remembered. Default 10,000. */
  readonly cacheLimit?: number | undefined;
}

export interface ResolveOptions {
  /** Transport of a `sip:` URI that names none. Without it NAPTR and SRV say, and else UDP. */
  readonly transport?: TransportName | undefined;
  /** Put into TLS targets. */
  readonly tls?: TlsOptions | undefined;
}

export type Resolved = readonly Target[] | ResolutionFault;

/** Longest time that an answer is remembered, whatever its time to live says. */
const MAX_TTL_MS = 3_600_000;
/** A time to live of 0 is common with load balancers; one question per second and name is enough. */
const MIN_TTL_MS = 1_000;
/** How long an answer serves on while the DNS fails. */
const STALE_MS = 3_600_000;
/** Between two questions for a name whose last one failed. */
const RETRY_MS = 10_000;
/** How long "there is none" is believed. */
const NEGATIVE_TTL_MS = 30_000;
/** Part of its time to live after which an answer in use is renewed in the background. */
const RENEW_AFTER = 0.8;
const DEFAULT_QUARANTINE_MS = 30_000;
const QUARANTINE_LIMIT = 10_000;

type Done = (result: Resolved) => void;

export class Resolver {
  readonly #dns: Dns;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #families: readonly (4 | 6)[];
  readonly #timeoutMs: number;
  readonly #entries: BoundedMap<string, Entry>;
  /** Target key → end of its quarantine on the clock. */
  readonly #quarantined = new BoundedMap<string, number>(QUARANTINE_LIMIT);

  constructor(options: ResolverOptions) {
    this.#dns = options.dns;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#families = options.families ?? [4, 6];
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#entries = new BoundedMap(options.cacheLimit ?? 10_000);
  }

  /**
   * Calls `done` once: before it returns for an address or a remembered name, later otherwise. The targets are in
   * the order to try them and never none.
   */
  resolve(uri: SipUri, done: Done, options?: ResolveOptions): void {
    const secure = uri.scheme === 'sips';
    if (!secure && uri.scheme !== 'sip') {
      done({ kind: 'unsupported', detail: `cannot send to a ${uri.scheme}: URI` });
      return;
    }
    const transport = transportOf(uri, secure, options?.transport);
    if (typeof transport === 'object') {
      done(transport);
      return;
    }
    // §4: "If the URI contains an maddr parameter, TARGET is its value".
    const host = targetHost(uri);
    const family = literalFamily(host);
    if (family !== 0) {
      // §4.1: a numeric TARGET without transport: UDP for SIP, TLS over TCP for SIPS.
      const used = transport ?? (secure ? 'tls' : 'udp');
      done([target(used, host, uri.port ?? defaultPort(used), undefined, options?.tls)]);
      return;
    }
    this.#byName({ host, port: uri.port, transport, secure }, done, options?.tls);
  }

  /** Puts the target behind all healthy ones for a while: it refused, was silent, or failed TLS. */
  quarantine(target: Target, ms = DEFAULT_QUARANTINE_MS): void {
    const key = targetKey(target);
    // Set anew at the end, so that the bound pushes out the oldest.
    this.#quarantined.delete(key);
    this.#quarantined.set(key, this.#clock.now() + ms);
  }

  /** It answered. */
  release(target: Target): void {
    if (this.#quarantined.size > 0) this.#quarantined.delete(targetKey(target));
  }

  isQuarantined(target: Target): boolean {
    if (this.#quarantined.size === 0) return false;
    const key = targetKey(target);
    const until = this.#quarantined.get(key);
    if (until === undefined) return false;
    if (this.#clock.now() < until) return true;
    this.#quarantined.delete(key);
    return false;
  }

  /** Names remembered, for metrics. */
  get cacheSize(): number {
    return this.#entries.size;
  }

  /** Healthy first, otherwise in the given order. */
  healthyFirst(targets: readonly Target[]): readonly Target[] {
    if (this.#quarantined.size === 0 || targets.length < 2) return targets;
    const ill = targets.filter((each) => this.isQuarantined(each));
    if (ill.length === 0 || ill.length === targets.length) return targets;
    return [...targets.filter((each) => !ill.includes(each)), ...ill];
  }

  #byName(query: Query, done: Done, tls: TlsOptions | undefined): void {
    const key = `${query.secure ? 'sips' : 'sip'}|${query.host}|${query.port ?? ''}|${query.transport ?? ''}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = new Entry(query, this.#dns, this.#clock, this.#families);
      this.#entries.set(key, entry);
    }
    entry.ask(
      (result) => done('kind' in result ? result : this.#targets(query.host, result, tls)),
      this.#timeoutMs,
    );
  }

  #targets(name: string, location: Location, tls: TlsOptions | undefined): readonly Target[] {
    const targets: Target[] = [];
    for (const { transport, port, addresses } of weightedOrder(location.servers, this.#random)) {
      for (const address of addresses) targets.push(target(transport, address, port, name, tls));
    }
    return this.healthyFirst(targets);
  }
}

/** What is known of one name, and who waits for it. */
class Entry {
  readonly #query: Query;
  readonly #dns: Dns;
  readonly #clock: Clock;
  readonly #families: readonly (4 | 6)[];
  #location: Location | undefined;
  #fault: ResolutionFault | undefined;
  /** On the clock: when to ask again in the background, when the answer is too old, when not even a failing DNS excuses it. */
  #renewAt = 0;
  #expiresAt = 0;
  #staleUntil = 0;
  #asking = false;
  /** Who waits, until the DNS or the clock answers. */
  #waiting: ((result: Location | ResolutionFault) => void)[] = [];
  readonly #deadline = new CallbackTimer(() => this.#tooLate());

  constructor(query: Query, dns: Dns, clock: Clock, families: readonly (4 | 6)[]) {
    this.#query = query;
    this.#dns = dns;
    this.#clock = clock;
    this.#families = families;
  }

  ask(done: (result: Location | ResolutionFault) => void, timeoutMs: number): void {
    const now = this.#clock.now();
    if (now < this.#expiresAt) {
      const known = this.#location ?? this.#fault;
      if (known !== undefined) {
        if (now >= this.#renewAt) this.#start();
        done(known);
        return;
      }
    }
    this.#waiting.push(done);
    // From the first who waits on: a question that hangs must not make later callers wait anew.
    if (!this.#deadline.armed) this.#clock.arm(this.#deadline, timeoutMs);
    this.#start();
  }

  #start(): void {
    if (this.#asking) return;
    this.#asking = true;
    locate(this.#query, this.#dns, this.#families).then(
      (result) => this.#answered(result),
      (error: unknown) =>
        this.#answered({
          kind: 'server-failure',
          detail: error instanceof Error ? error.message : 'unknown',
        }),
    );
  }

  #answered(result: Location | ResolutionFault): void {
    this.#asking = false;
    const now = this.#clock.now();
    if (!('kind' in result)) {
      const ttl = Math.min(Math.max(result.ttlSeconds * 1_000, MIN_TTL_MS), MAX_TTL_MS);
      this.#location = result;
      this.#fault = undefined;
      this.#renewAt = now + ttl * RENEW_AFTER;
      this.#expiresAt = now + ttl;
      this.#staleUntil = this.#expiresAt + STALE_MS;
    } else if (result.kind === 'not-found') {
      // That is an answer, not a failure: what was known is no longer so.
      this.#location = undefined;
      this.#fault = result;
      this.#renewAt = this.#expiresAt = now + NEGATIVE_TTL_MS;
    } else this.#failed(result, now);
    this.#flush(this.#location ?? this.#fault ?? result);
  }

  /** Serves the last good answer on, or the failure, and asks again after a pause. */
  #failed(fault: ResolutionFault, now: number): void {
    if (this.#location !== undefined && now >= this.#staleUntil) this.#location = undefined;
    this.#fault = fault;
    this.#renewAt = now + RETRY_MS;
    // A good answer is renewed in the background from then on; a failure alone is not served without asking.
    this.#expiresAt = this.#location === undefined ? this.#renewAt : this.#staleUntil;
  }

  #tooLate(): void {
    const fault: ResolutionFault = {
      kind: 'timeout',
      detail: `no DNS answer for ${this.#query.host} in time`,
    };
    this.#failed(fault, this.#clock.now());
    this.#flush(this.#location ?? fault);
  }

  #flush(result: Location | ResolutionFault): void {
    this.#clock.disarm(this.#deadline);
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const done of waiting) done(result);
  }
}

/** The transport that the URI asks for; undefined when it leaves it open. */
function transportOf(
  uri: SipUri,
  secure: boolean,
  preferred: TransportName | undefined,
): TransportName | undefined | ResolutionFault {
  const named = uri.params.get('transport');
  if (named === undefined) return secure ? 'tls' : preferred;
  switch (named.toLowerCase()) {
    case 'udp':
      return secure ? { kind: 'unsupported', detail: 'sips: cannot go over UDP' } : 'udp';
    case 'tcp':
      // RFC 3261 §26.2.2: with SIPS, "tcp" names what lies under TLS.
      return secure ? 'tls' : 'tcp';
    case 'tls':
      return 'tls';
    default:
      return { kind: 'unsupported', detail: 'the URI names a transport other than udp, tcp and tls' };
  }
}

function targetHost(uri: SipUri): string {
  const maddr = uri.params.get('maddr');
  if (maddr === undefined || maddr === '') return uri.host;
  return (maddr.startsWith('[') ? maddr.slice(1, -1) : maddr).toLowerCase();
}

/** 4 or 6 for an address, 0 for a name. The URI's grammar has checked the rest. */
function literalFamily(host: string): 0 | 4 | 6 {
  if (host.includes(':')) return 6;
  const last = host.charCodeAt(host.length - 1);
  // RFC 3261 §25.1: the top label of a host name begins with a letter, so a digit at the end of dotted digits is IPv4.
  return last >= 48 && last <= 57 && /^[\d.]+$/.test(host) ? 4 : 0;
}

/** Every target has the same shape. */
function target(
  transport: TransportName,
  address: string,
  port: number,
  name: string | undefined,
  tls: TlsOptions | undefined,
): Target {
  return {
    transport,
    address,
    port,
    name,
    tls: transport === 'tls' ? tls : undefined,
    flow: undefined,
    listenerId: undefined,
  };
}

/** `udp:192.0.2.1:5060`. */
export function targetKey({
  transport,
  address,
  port,
}: Pick<Target, 'transport' | 'address' | 'port'>): string {
  return `${transport}:${hostPort(address, port)}`;
}
