/** Where requests of a trunk go, and what they call their destination. */
import { fromText, type Octets } from '#sip/octets.js';
import { hostPort, parseUri, type SipUri } from '#sip/uri.js';
import type { Trunk, TrunkTls } from './trunk.js';

/** The engine's TLS options, in which the key is in the clear. */
export interface ServerTls extends Omit<TrunkTls, 'clientKey'> {
  readonly clientKey: string | undefined;
}

/** What all accounts and calls of one trunk have in common. */
export interface Server {
  /** Host part of the AOR, From and To: the domain, or the server's host. */
  readonly domain: string;
  /** Request-URI of REGISTER: `sip:` and the domain, or the server with its port. */
  readonly registrar: Octets;
  /** Where requests go (RFC 3263): the outbound proxy, or the server. */
  readonly destination: SipUri;
  /** `host:port` of it. */
  readonly lane: string;
  /** Preloaded route towards an outbound proxy. */
  readonly route: readonly Octets[] | undefined;
  readonly tls: ServerTls | undefined;
}

/** Throws a RangeError for a host that the schema would not have let pass. */
export function serverOf(trunk: Trunk): Server {
  const { server, outboundProxy, transport } = trunk;
  const domain = trunk.domain ?? server.host;
  const { host, port } = outboundProxy ?? server;
  const lane = hostPort(host, port);
  const destination = parseUri(`sip:${lane}`);
  // The schema has checked both.
  if (destination === undefined) throw new RangeError(`${lane} is no host`);
  const suffix = transport === 'udp' ? '' : `;transport=${transport}`;
  return {
    domain,
    // §10.2: "The 'userinfo' and '@' components of the SIP URI MUST NOT be present". A server that is known by its
    // address alone has no domain, so its port is part of its name.
    registrar: fromText(
      trunk.domain === undefined ? `sip:${hostPort(server.host, server.port)}` : `sip:${hostPort(domain)}`,
    ),
    destination,
    lane,
    route: outboundProxy === undefined ? undefined : [`<sip:${lane}${suffix};lr>`],
    tls: transport === 'tls' ? tlsOf(trunk.tls) : undefined,
  };
}

function tlsOf({ verify, ca, clientCert, clientKey, serverName, minVersion }: TrunkTls): ServerTls {
  return { verify, ca, clientCert, clientKey: clientKey?.reveal(), serverName, minVersion };
}
