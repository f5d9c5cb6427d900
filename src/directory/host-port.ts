/** `host`, `host:port`, `[IPv6]:port`: where a provider is, without `sip:`, user or parameters. */
import { addressKey } from './cidr.js';
import type { HostPort } from './trunk.js';

/** Labels of letters, digits, `-` and `_` (which DNS allows and providers use), at most 253 characters. */
const HOST_NAME =
  /^(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/;

/** Answers what is wrong as text. */
export function parseHostPort(text: string): HostPort | string {
  if (/^(sips?|tel|https?|udp|tcp|tls):/i.test(text))
    return 'must not have a scheme: write host or host:port';
  if (text.includes('@')) return 'must not have a user: write host or host:port';
  if (/[;?]/.test(text)) return 'must not have parameters: write host or host:port';
  if (addressKey(text) !== undefined && text.includes(':')) return `needs brackets around IPv6: [${text}]`;
  const match = /^(\[([^\]]*)\]|[^:[\]]*)(:(.*))?$/s.exec(text);
  if (match === null) return 'is not host or host:port';
  const [, outside = '', inside, , portText] = match;
  const host = parseHost(inside === undefined ? outside : `[${inside}]`);
  if (host === undefined) return 'has no valid host name or address';
  if (portText === undefined) return { host, port: undefined };
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) return 'has no port from 1 to 65535 behind its colon';
  return { host, port };
}

/** Lower case, IPv6 without brackets; undefined when it is neither a host name nor an address. */
function parseHost(text: string): string | undefined {
  if (text.startsWith('[')) {
    const address = text.slice(1, -1);
    return typeof addressKey(address) === 'string' ? address.toLowerCase() : undefined;
  }
  const host = text.toLowerCase();
  // "1.2.3" or "300.1.1.1" is a mistyped address, not a name: no top-level domain is a number (RFC 3696 §2).
  if (/(^|\.)\d+\.?$/.test(host)) return addressKey(host) === undefined ? undefined : host;
  return HOST_NAME.test(host) ? host : undefined;
}
