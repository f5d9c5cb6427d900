/** The listeners of the servers, where messages come in, and which of them a target is reached from. */
import { BoundedMap } from '#lib/bounded-map.js';
import { hostPort } from '#sip/uri.js';
import type { Listener, Source, Target, TransportName } from '../engine.js';
import type { EngineFault } from '../faults.js';
import type { ServerLink } from './link.js';
import type { WireSource } from './wire.js';

/** A listener of one of the servers. */
export interface ServerListener {
  readonly listener: Listener;
  /** `host:port` for Contact, as the server advertises it. */
  readonly sentBy: string;
  readonly link: ServerLink;
}

const ORDER: readonly TransportName[] = ['udp', 'tcp', 'tls'];
/** Connections remembered by number. The server tells none of its own; the far end's address stands for it. */
const FLOWS_MAX = 20_000;

export class Endpoints {
  readonly #byLink = new Map<ServerLink, readonly ServerListener[]>();
  readonly #flows = new BoundedMap<string, number>(FLOWS_MAX, (_key, flow) => this.#flowTargets.delete(flow));
  readonly #flowTargets = new Map<
    number,
    { readonly address: string; readonly port: number; readonly link: ServerLink }
  >();
  #nextFlow = 1;
  #turn = 0;
  #listeners: readonly Listener[] = [];

  get listeners(): readonly Listener[] {
    return this.#listeners;
  }

  /** Takes over what `link` listens on; a server that comes back keeps the ids of its listeners. */
  update(link: ServerLink): void {
    const found: ServerListener[] = [];
    link.bound.forEach((entry, i) => {
      const parsed = parseHostport(entry);
      if (parsed === undefined) return;
      const { transport, host, port } = parsed;
      const advertised = parseHostport(link.advertised[i] ?? entry) ?? parsed;
      const sentBy = hostPort(advertised.host, advertised.port);
      found.push({
        listener: { id: `${transport}:${hostPort(host, port)}`, transport, host, port, sentBy },
        sentBy,
        link,
      });
    });
    this.#byLink.set(link, found);
    // The server tells them in no order of its own.
    this.#listeners = [...this.#byLink.values()]
      .flat()
      .map(({ listener }) => listener)
      .sort((a, b) => ORDER.indexOf(a.transport) - ORDER.indexOf(b.transport));
  }

  /** The listener that a request outside a dialog came in by; `source.receivedOn` names it. */
  incoming(link: ServerLink, source: WireSource): ServerListener | undefined {
    const known = this.#byLink.get(link) ?? [];
    const transport = transportOf(source.transport);
    if (source.receivedOn !== undefined) {
      for (const one of known) {
        const { listener } = one;
        if (listener.transport !== transport) continue;
        if (source.receivedOn === `${listener.host}:${listener.port}`) return one;
        if (source.receivedOn === hostPort(listener.host, listener.port)) return one;
      }
    }
    const v6 = source.address.includes(':');
    return (
      known.find(({ listener }) => listener.transport === transport && listener.host.includes(':') === v6) ??
      known.find(({ listener }) => listener.transport === transport) ??
      known[0]
    );
  }

  source(one: ServerListener, wire: WireSource): Source {
    // With an ACK the server does not tell it.
    const transport = wire.transport === '' ? one.listener.transport : transportOf(wire.transport);
    const address = plain(wire.address);
    return {
      transport,
      address,
      port: wire.port,
      listener: one.listener,
      flow: transport === 'udp' ? 0 : this.#flow(transport, address, wire.port, one.link),
    };
  }

  /** The listener that a request to this target leaves from: the one that it names, else the first of a server that is there. */
  leavesFrom(target: Target): Listener | undefined {
    const fitting = this.#fitting(target).filter(({ link }) => link.ready);
    return (this.#wanted(target, fitting) ?? fitting[0])?.listener;
  }

  /** The listener to send from, and the next hop as a URI with an address, so that the server resolves nothing. */
  outlet(target: Target): { readonly via: ServerListener; readonly proxy: string } | EngineFault {
    const known = this.#fitting(target);
    const fitting = known.filter(({ link }) => link.ready);
    if (fitting.length === 0) {
      if (known.length > 0 || this.#byLink.size === 0)
        return { kind: 'engine-down', detail: 'no drachtio-server is connected' };
      const family = target.address.includes(':') ? 'IPv6' : 'IPv4';
      return {
        kind: 'unreachable',
        detail: `no drachtio-server listens on ${target.transport} over ${family}`,
      };
    }
    const flow = target.flow === undefined ? undefined : this.#flowTargets.get(target.flow);
    const wanted = this.#wanted(target, fitting) ?? fitting[this.#turn++ % fitting.length]!;
    const address = flow === undefined ? target.address : flow.address;
    const port = flow === undefined ? target.port : flow.port;
    return { via: wanted, proxy: `sip:${hostPort(address, port)};transport=${target.transport}` };
  }

  /** Of each server the listener that it sends from to this address, if it has one for the transport and family. */
  #fitting({ transport, address }: Target): ServerListener[] {
    const v6 = address.includes(':');
    const fitting: ServerListener[] = [];
    for (const listeners of this.#byLink.values()) {
      const [one] = listeners
        .filter(({ listener }) => listener.transport === transport && listener.host.includes(':') === v6)
        .sort((a, b) => likeness(b, address) - likeness(a, address));
      if (one !== undefined) fitting.push(one);
    }
    return fitting;
  }

  #wanted({ listenerId, flow }: Target, fitting: readonly ServerListener[]): ServerListener | undefined {
    const link = flow === undefined ? undefined : this.#flowTargets.get(flow)?.link;
    return (
      fitting.find(({ listener }) => listener.id === listenerId) ?? fitting.find((each) => each.link === link)
    );
  }

  #flow(transport: TransportName, address: string, port: number, link: ServerLink): number {
    const key = `${transport} ${address} ${port}`;
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    const flow = this.#nextFlow++;
    this.#flows.set(key, flow);
    this.#flowTargets.set(flow, { address, port, link });
    return flow;
  }
}

/** `udp/127.0.0.1:5060`, `tls/[::1]:5061`; undefined for a transport that the port does not have (ws, wss). */
export function parseHostport(
  entry: string,
): { readonly transport: TransportName; readonly host: string; readonly port: number } | undefined {
  const slash = entry.indexOf('/');
  const colon = entry.lastIndexOf(':');
  if (slash < 0 || colon < slash) return undefined;
  const transport = entry.slice(0, slash);
  if (transport !== 'udp' && transport !== 'tcp' && transport !== 'tls') return undefined;
  const port = Number(entry.slice(colon + 1));
  const host = plain(entry.slice(slash + 1, colon));
  if (host === '' || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return { transport, host, port };
}

/**
 * The server sends from the listener whose address has most leading octets in common with the target's (IPv4 only), then
 * from one with an external address, and from loopback last. Where several are alike, its choice is its own.
 */
function likeness({ listener, sentBy }: ServerListener, address: string): number {
  const { host } = listener;
  const ours = host.split('.');
  const theirs = address.split('.');
  let octets = 0;
  if (ours.length === 4) while (octets < 4 && ours[octets] === theirs[octets]) octets++;
  const external = sentBy !== hostPort(host, listener.port);
  const loopback = host === '127.0.0.1' || host === '::1';
  return 4 * octets + (external ? 2 : 0) + (loopback ? 0 : 1);
}

function transportOf(name: string): TransportName {
  return name === 'tcp' || name === 'tls' ? name : 'udp';
}

/** Without brackets; an IPv4-mapped IPv6 address as IPv4. */
function plain(address: string): string {
  const bare = address.startsWith('[') && address.endsWith(']') ? address.slice(1, -1) : address;
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice(7) : bare;
}
