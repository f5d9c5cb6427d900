/**
 * A trace as a capture file for Wireshark, sngrep and tcpdump. Each message becomes one UDP datagram between the
 * addresses it really went between, also where TCP or TLS carried it: one message, one packet, readable without keys.
 */
import { addressKey } from '#directory/cidr.js';
import { withoutSecrets } from './secrets.js';
import type { TracedMessage } from './wire-trace.js';

/** The classic format, times in microseconds (draft-ietf-opsawg-pcap). */
const MAGIC = 0xa1b2c3d4;
/** LINKTYPE_RAW: packets begin with the IP header, of either version. */
const LINK_TYPE = 101;
const SNAP_LENGTH = 0x40000;
const UDP = 17;
const IP4_HEADER = 20;
const IP6_HEADER = 40;
const UDP_HEADER = 8;
/** A datagram's length is 16 bits, the IPv4 header included. */
const PAYLOAD_MAX = 0xffff - IP4_HEADER - UDP_HEADER;

/** The whole file; secrets are masked in it. */
export function pcap(messages: readonly TracedMessage[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32BE(MAGIC, 0);
  head.writeUInt16BE(2, 4);
  head.writeUInt16BE(4, 6);
  head.writeUInt32BE(SNAP_LENGTH, 16);
  head.writeUInt32BE(LINK_TYPE, 20);
  return Buffer.concat([head, ...messages.map(packet)]);
}

function packet(message: TracedMessage): Buffer {
  const payload = Buffer.from(withoutSecrets(message.octets).slice(0, PAYLOAD_MAX), 'latin1');
  const v6 = message.address.includes(':');
  const ours = { address: addressBytes(message.listener.host, v6), port: message.listener.port };
  const peers = { address: addressBytes(message.address, v6), port: message.port };
  const [from, to] = message.direction === 'in' ? [peers, ours] : [ours, peers];
  const ip = v6
    ? ip6(from.address, to.address, payload.length)
    : ip4(from.address, to.address, payload.length);
  const udp = Buffer.alloc(UDP_HEADER);
  udp.writeUInt16BE(from.port, 0);
  udp.writeUInt16BE(to.port, 2);
  udp.writeUInt16BE(UDP_HEADER + payload.length, 4);
  const pseudo = Buffer.from([
    0,
    UDP,
    (UDP_HEADER + payload.length) >> 8,
    (UDP_HEADER + payload.length) & 0xff,
  ]);
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  udp.writeUInt16BE(checksum([from.address, to.address, pseudo, udp, payload]) || 0xffff, 6);
  const record = Buffer.alloc(16);
  const length = ip.length + UDP_HEADER + payload.length;
  record.writeUInt32BE(Math.floor(message.at / 1000), 0);
  record.writeUInt32BE(Math.floor((message.at % 1000) * 1000), 4);
  record.writeUInt32BE(length, 8);
  record.writeUInt32BE(length, 12);
  return Buffer.concat([record, ip, udp, payload]);
}

function ip4(from: Buffer, to: Buffer, payload: number): Buffer {
  const header = Buffer.alloc(IP4_HEADER);
  header[0] = 0x45;
  header.writeUInt16BE(IP4_HEADER + UDP_HEADER + payload, 2);
  header[8] = 64;
  header[9] = UDP;
  from.copy(header, 12);
  to.copy(header, 16);
  header.writeUInt16BE(checksum([header]), 10);
  return header;
}

function ip6(from: Buffer, to: Buffer, payload: number): Buffer {
  const header = Buffer.alloc(IP6_HEADER);
  header[0] = 0x60;
  header.writeUInt16BE(UDP_HEADER + payload, 4);
  header[6] = UDP;
  header[7] = 64;
  from.copy(header, 8);
  to.copy(header, 24);
  return header;
}

/** RFC 1071. */
function checksum(parts: readonly Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The octets of an IP literal; of one of the other version (a socket on `::` that takes IPv4) all zero. */
function addressBytes(address: string, v6: boolean): Buffer {
  const bytes = Buffer.alloc(v6 ? 16 : 4);
  const key = addressKey(address);
  if (typeof key === 'number' && !v6) bytes.writeUInt32BE(key);
  if (typeof key === 'string' && v6) {
    for (let i = 0; i < key.length; i++) bytes.writeUInt16BE(key.charCodeAt(i), i * 2);
  }
  return bytes;
}
