/**
 * Where a request inside a dialog goes (RFC 3261 §12.2.1.1 and §8.1.2), without asking the DNS: the engine is
 * given addresses. A peer that names itself by host name is answered where it last spoke from.
 */
import type { SipUri } from '#sip/uri.js';
import type { Source, Target, TlsOptions, TransportName } from '../../engine.js';

/** How the peer was verified when its dialog began; kept, because its Contact is usually a bare address. */
export interface PeerIdentity {
  readonly name: string | undefined;
  readonly tls: TlsOptions | undefined;
}

/**
 * The target for a URI taken from the peer's Contact or from the top of the route set.
 *
 * - A stream that the peer used stays in use (RFC 5923), unless the URI asks for another transport.
 * - An address literal is used as it is, except a private one from a peer that reaches us from a public address:
 *   that is a Contact from behind NAT, and only the source of its packets leads back.
 */
export function nextHop(uri: SipUri | undefined, last: Source, identity: PeerIdentity): Target {
  const transport = uri === undefined ? last.transport : transportOf(uri, last.transport);
  const stream = transport === last.transport && last.flow !== 0;
  const reachable =
    uri !== undefined && isAddress(uri.host) && !(isPrivate(uri.host) && !isPrivate(last.address));
  const address = reachable ? uri.host : last.address;
  const port = reachable
    ? (uri.port ?? defaultPort(transport))
    : transport === last.transport
      ? last.port
      : defaultPort(transport);
  return {
    transport,
    address,
    port,
    name: identity.name,
    tls: identity.tls,
    flow: stream ? last.flow : undefined,
    listenerId: transport === last.transport ? last.listener.id : undefined,
  };
}

function defaultPort(transport: TransportName): number {
  return transport === 'tls' ? 5061 : 5060;
}

function transportOf(uri: SipUri, used: TransportName): TransportName {
  if (uri.scheme === 'sips') return 'tls';
  const asked = uri.params.get('transport');
  if (asked === undefined) return used;
  switch (asked.toLowerCase()) {
    case 'udp':
      return 'udp';
    case 'tcp':
      // `sip:…;transport=tcp` from a peer that speaks TLS to us means "a stream": never fall back to clear text.
      return used === 'tls' ? 'tls' : 'tcp';
    case 'tls':
      return 'tls';
    default:
      return used;
  }
}

function isAddress(host: string): boolean {
  if (host.includes(':')) return true;
  let dots = 0;
  for (let i = 0; i < host.length; i++) {
    const c = host.charCodeAt(i);
    if (c === 46) dots++;
    else if (c < 48 || c > 57) return false;
  }
  return dots === 3;
}

/** RFC 1918, RFC 6598 (carrier-grade NAT), loopback, link-local, RFC 4193. */
function isPrivate(address: string): boolean {
  if (address.includes(':')) return /^(?:::1$|f[cd]|fe[89ab])/i.test(address);
  if (address.startsWith('10.') || address.startsWith('192.168.') || address.startsWith('127.')) return true;
  if (address.startsWith('169.254.')) return true;
  if (address.startsWith('172.')) return within(address, 4, 16, 31);
  if (address.startsWith('100.')) return within(address, 4, 64, 127);
  return false;
}

function within(address: string, from: number, low: number, high: number): boolean {
  const second = Number.parseInt(address.slice(from), 10);
  return second >= low && second <= high;
}
