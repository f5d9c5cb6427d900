import { describe, expect, it } from 'vitest';
import { AddressGuard } from '#webhook/address-guard.js';

const guard = new AddressGuard([]);

describe('addresses that webhooks may reach', () => {
  it.each(['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808'])(
    'lets %s through',
    (address) => {
      expect(guard.allows(address)).toBe(true);
    },
  );

  it.each([
    '127.0.0.1',
    '127.8.9.1',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::7f00:1',
    'fe80::1',
    'fc00::1',
    'fd12:3456::1',
    'ff02::1',
    '2001:db8::1',
    'localhost',
    '2130706433',
    '',
  ])('stops %s', (address) => {
    expect(guard.allows(address)).toBe(false);
  });

  it('lets through what is allowed by name of its block', () => {
    const open = new AddressGuard(['10.0.0.0/8', 'fd00::/8', '127.0.0.1']);
    expect(['10.1.2.3', '::ffff:10.1.2.3', 'fd12::1', '127.0.0.1'].map((one) => open.allows(one))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['127.0.0.2', '192.168.0.1', 'fe80::1'].map((one) => open.allows(one))).toEqual([
      false,
      false,
      false,
    ]);
  });
});
