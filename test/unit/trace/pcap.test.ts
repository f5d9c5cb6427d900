/** The bytes by the format's own words; `tcpdump -r` and Wireshark read them. */
import { describe, expect, it } from 'vitest';
import { pcap } from '#trace/pcap.js';
import { LISTENER, message, traced } from './kit.js';

interface Packet {
  readonly seconds: number;
  readonly micros: number;
  readonly bytes: Buffer;
}

function packets(file: Buffer): Packet[] {
  expect(file.readUInt32BE(0)).toBe(0xa1b2c3d4);
  expect([file.readUInt16BE(4), file.readUInt16BE(6), file.readUInt32BE(20)]).toEqual([2, 4, 101]);
  const found: Packet[] = [];
  for (let at = 24; at < file.length; ) {
    const length = file.readUInt32BE(at + 8);
    expect(file.readUInt32BE(at + 12)).toBe(length);
    found.push({
      seconds: file.readUInt32BE(at),
      micros: file.readUInt32BE(at + 4),
      bytes: file.subarray(at + 16, at + 16 + length),
    });
    at += 16 + length;
  }
  return found;
}

/** RFC 1071: the sum over data and its own checksum is all ones. */
function sum(...parts: readonly Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

const pseudo = (from: Buffer, to: Buffer, udp: Buffer): readonly Buffer[] => [
  from,
  to,
  Buffer.from([0, 17, udp.length >> 8, udp.length & 255]),
  udp,
];

describe('a capture file', () => {
  it('has an IPv4 packet for each message, from where it came to where it went', () => {
    const octets = message('one');
    const [incoming, outgoing] = packets(
      pcap([traced(octets), traced(octets, { direction: 'out', at: 1_500_000_000_001 })]),
    ) as [Packet, Packet];
    expect([incoming.seconds, incoming.micros]).toEqual([Date.UTC(2030, 0, 1, 12) / 1000, 250_000]);
    expect([outgoing.seconds, outgoing.micros]).toEqual([1_500_000_000, 1_000]);
    const ip = incoming.bytes;
    expect([ip[0], ip[9]]).toEqual([0x45, 17]);
    expect(ip.readUInt16BE(2)).toBe(ip.length);
    expect([...ip.subarray(12, 20)]).toEqual([192, 0, 2, 1, 192, 0, 2, 9]);
    expect(sum(ip.subarray(0, 20))).toBe(0xffff);
    const udp = ip.subarray(20);
    expect([udp.readUInt16BE(0), udp.readUInt16BE(2), udp.readUInt16BE(4)]).toEqual([5080, 5060, udp.length]);
    expect(sum(...pseudo(ip.subarray(12, 16), ip.subarray(16, 20), udp))).toBe(0xffff);
    expect(udp.subarray(8).toString('latin1')).toBe(octets);
    expect([...outgoing.bytes.subarray(12, 20)]).toEqual([192, 0, 2, 9, 192, 0, 2, 1]);
  });

  it('has IPv6 packets, also where the listener is on all addresses', () => {
    const listener = { ...LISTENER, host: '::' };
    const [{ bytes }] = packets(pcap([traced(message('one'), { listener, address: '2001:db8::7' })])) as [
      Packet,
    ];
    expect(bytes[0]! >> 4).toBe(6);
    expect(bytes.readUInt16BE(4)).toBe(bytes.length - 40);
    expect(bytes.subarray(8, 24).toString('hex')).toBe('20010db8000000000000000000000007');
    expect(bytes.subarray(24, 40).toString('hex')).toBe('0'.repeat(32));
    expect(sum(...pseudo(bytes.subarray(8, 24), bytes.subarray(24, 40), bytes.subarray(40)))).toBe(0xffff);
    const [mixed] = packets(pcap([traced(message('one'), { listener })])) as [Packet];
    expect([...mixed.bytes.subarray(12, 20)]).toEqual([192, 0, 2, 1, 0, 0, 0, 0]);
  });

  it('has no secrets, and cuts what no datagram could hold', () => {
    const secret = message('one', ['Authorization: Digest response="SECRET"'], 'x'.repeat(65_536));
    const [{ bytes }] = packets(pcap([traced(secret)])) as [Packet];
    expect(bytes.length).toBe(65_535);
    expect(bytes.includes('SECRET')).toBe(false);
  });
});
