/** Goal: nobody who may write where calls go has the gateway speak to what listens beside it. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '#engine/embedded/limits.js';
import { closedTo } from '#engine/embedded/transport/own-services.js';
import { EmbeddedTransports } from '#engine/embedded/transport/transports.js';
import { systemClock } from '#lib/wheel.js';
import { RecordingSink } from './rig.js';

const interfaces = () => ({
  eth0: [
    { address: '192.0.2.10', netmask: '', family: 'IPv4' as const, mac: '', internal: false, cidr: null },
  ],
});
const REDIS = { name: 'Redis', port: 6379 };
const closed = (service: string, address: string, port = 6379, transport: 'udp' | 'tcp' | 'tls' = 'tcp') =>
  closedTo({ transport, address, port }, [{ ...REDIS, address: service }], interfaces);

describe('services of the gateway itself', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', '127.8.8.8'],
    ['127.0.0.1', '::1'],
    ['127.0.0.1', '0:0:0:0:0:0:0:1'],
    ['127.0.0.1', '::ffff:127.0.0.1'],
    ['127.0.0.1', '::FFFF:7f00:1'],
    ['127.0.0.1', '0.0.0.0'],
    ['127.0.0.1', '192.0.2.10'],
    ['::1', '127.0.0.1'],
    ['192.0.2.10', '127.0.0.1'],
    ['198.51.100.5', '198.51.100.5'],
    ['198.51.100.5', '::ffff:198.51.100.5'],
    ['2001:db8::5', '2001:DB8:0::5'],
  ])('%s is closed by the name of %s', (service, address) => {
    expect(closed(service, address)).toMatchObject({
      kind: 'unreachable',
      detail: `${address}:6379 is the gateway's own Redis: no SIP goes there`,
    });
    expect(closed(service, address, 6379, 'tls')).toBeDefined();
  });

  it.each([
    ['127.0.0.1', '192.0.2.11', 6379, 'tcp'],
    ['127.0.0.1', '127.0.0.1', 5060, 'tcp'],
    ['127.0.0.1', '127.0.0.1', 6379, 'udp'],
    ['198.51.100.5', '127.0.0.1', 6379, 'tcp'],
  ] as const)('%s does not close %s:%i over %s', (service, address, port, transport) => {
    expect(closed(service, address, port, transport)).toBeUndefined();
  });

  it('get no connection', async () => {
    const transports = new EmbeddedTransports({
      listen: [{ transport: 'tcp', host: '127.0.0.1', port: 0 }],
      limits: DEFAULT_LIMITS,
      clock: systemClock(),
      ownServices: () => [{ ...REDIS, address: '127.0.0.1' }],
    });
    await transports.start(new RecordingSink());
    const to = (port: number) => transports.outlet({ transport: 'tcp', address: '127.0.0.1', port });
    expect(to(6379)).toMatchObject({ kind: 'unreachable' });
    expect(to(6380)).not.toHaveProperty('kind');
    await transports.stop();
  });
});
