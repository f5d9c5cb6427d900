import { createSocket } from 'node:dgram';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '#engine/embedded/limits.js';
import { EmbeddedTransports } from '#engine/embedded/transport/transports.js';
import { systemClock } from '#lib/wheel.js';
import { atEnd, message, Owner, outletOf, RecordingSink, running, udpPeer } from './rig.js';

describe('UDP', () => {
  it('receives octets untouched, with the source that the socket saw', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const peer = await udpPeer();
    const octets = message('utf8', 'f\xc3\xbcr \x00\xff');
    peer.send(octets, transports.listeners[0]!.port);
    await sink.until(() => sink.messages.length === 1);
    expect(sink.messages[0]).toEqual({
      octets,
      standing: 'known',
      source: {
        transport: 'udp',
        address: '127.0.0.1',
        port: peer.port,
        listener: transports.listeners[0],
        flow: 0,
      },
    });
  });

  it('gives the same source object for the same peer, and another for another', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const [one, two] = [await udpPeer(), await udpPeer()];
    const { port } = transports.listeners[0]!;
    for (const peer of [one, two, one, two]) {
      peer.send(message('x'), port);
      const before = sink.messages.length;
      await sink.until(() => sink.messages.length > before);
    }
    const [a, b, c, d] = sink.messages.map(({ source }) => source);
    expect(a).toBe(c);
    expect(b).toBe(d);
    expect(a!.port).toBe(one.port);
    expect(b!.port).toBe(two.port);
  });

  it('ignores keep-alives and STUN, skips leading line ends, and asks nobody about them', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const peer = await udpPeer();
    const { port } = transports.listeners[0]!;
    const stun = Buffer.from('000100002112a442000102030405060708090a0b', 'hex');
    for (const noise of ['', '\r\n', '\r\n\r\n', '\0', '\0\0\0\0', stun]) peer.send(noise, port);
    peer.send(`\r\n\r\n${message('last')}`, port);
    await sink.until(() => sink.messages.length > 0);
    expect(sink.messages.map(({ octets }) => octets)).toEqual([message('last')]);
    expect(sink.screens).toBe(1);
  });

  it('drops what the screen drops, and passes on who is a stranger', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const [dropped, stranger] = [await udpPeer(), await udpPeer()];
    sink.screening = (source) => (source.port === dropped.port ? 'drop' : 'stranger');
    dropped.send(message('dropped'), transports.listeners[0]!.port);
    stranger.send(message('stranger'), transports.listeners[0]!.port);
    await sink.until(() => sink.messages.length > 0 && sink.screens === 2);
    expect(sink.messages.map(({ standing, source }) => [standing, source.port])).toEqual([
      ['stranger', stranger.port],
    ]);
  });

  it('sends requests from the listener’s port, and answers by rport or sent-by', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const [peer, sentBy] = [await udpPeer(), await udpPeer()];
    const { port } = transports.listeners[0]!;
    outletOf(transports, { transport: 'udp', address: '127.0.0.1', port: peer.port }).send(
      'request \xff',
      null,
    );
    await peer.until(() => peer.received.length === 1);
    expect(peer.received[0]).toMatchObject({ text: 'request \xff', from: { port } });
    peer.send(message('x'), port);
    await sink.until(() => sink.messages.length === 1);
    const { source } = sink.messages[0]!;
    transports.reply(source, { host: 'ignored.example', port: sentBy.port, rport: true }, 'to rport');
    transports.reply(source, { host: 'ignored.example', port: sentBy.port, rport: false }, 'to sent-by');
    await peer.until(() => peer.received.length === 2);
    await sentBy.until(() => sentBy.received.length === 1);
    expect(peer.received[1]!.text).toBe('to rport');
    expect(sentBy.received[0]!.text).toBe('to sent-by');
  });

  it('takes no port that a peer made up', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const peer = await udpPeer();
    peer.send(message('x'), transports.listeners[0]!.port);
    await sink.until(() => sink.messages.length === 1);
    for (const port of [0, 65_536, 99_999, -1, 1.5, Number.NaN]) {
      transports.reply(sink.messages[0]!.source, { host: '127.0.0.1', port, rport: false }, 'x');
      expect(transports.outlet({ transport: 'udp', address: '127.0.0.1', port })).toMatchObject({
        kind: 'unreachable',
      });
    }
    for (const address of ['300.1.1.1', 'host.example', '']) {
      expect(transports.outlet({ transport: 'udp', address, port: 5060 })).toMatchObject({
        kind: 'unreachable',
      });
    }
  });

  it('tells the owner, later, that a datagram could not leave', async () => {
    const { transports } = await running([{ transport: 'udp' }]);
    const owner = new Owner();
    outletOf(transports, { transport: 'udp', address: '127.0.0.1', port: 9 }).send('x'.repeat(70_000), owner);
    expect(owner.faults).toEqual([]);
    expect(await owner.fault()).toMatchObject({
      kind: 'unreachable',
      detail: expect.stringContaining('70000'),
    });
  });

  it('listens on several addresses of both families and chooses between them', async () => {
    const { transports, sink } = await running([
      { transport: 'udp' },
      { transport: 'udp', host: '::1' },
      { transport: 'udp', host: '127.0.0.2', externalAddress: 'sip.example.com' },
    ]);
    const [v4, v6, second] = transports.listeners;
    expect(v6!.id).toBe(`udp:[::1]:${v6!.port}`);
    const peer = await udpPeer('::1');
    peer.send(message('six'), v6!.port, '::1');
    await sink.until(() => sink.messages.length === 1);
    expect(sink.messages[0]!.source).toMatchObject({ address: '::1', port: peer.port, listener: v6 });
    const six = outletOf(transports, { transport: 'udp', address: '::1', port: peer.port });
    expect([six.listener, six.sentBy, six.reliable]).toEqual([v6, `[::1]:${v6!.port}`, false]);
    six.send('hello', null);
    await peer.until(() => peer.received.length === 1);
    const four = { transport: 'udp', address: '127.0.0.1', port: 5060 } as const;
    expect(outletOf(transports, four).listener).toBe(v4);
    expect(outletOf(transports, { ...four, listenerId: second!.id }).listener).toBe(second);
    expect(transports.sentBy(second!)).toBe(`sip.example.com:${second!.port}`);
    // No stream listener anywhere: connections leave from the same places.
    const tcp = { transport: 'tcp', address: '127.0.0.1', port: 5060 } as const;
    expect(outletOf(transports, tcp).sentBy).toBe(`127.0.0.1:${v4!.port}`);
    const { sentBy } = outletOf(transports, { ...tcp, listenerId: `tcp:127.0.0.2:${second!.port}` });
    expect(sentBy).toBe(`sip.example.com:${second!.port}`);
    expect(transports.leavesFrom({ ...tcp, address: '::1' })?.sentBy).toBe(`[::1]:${v6!.port}`);
    expect(transports.leavesFrom({ ...tcp, address: 'localhost' })).toBeUndefined();
  });

  it('reports an IPv4-mapped address as IPv4, and sends back to it', async () => {
    const { transports, sink } = await running([{ transport: 'udp', host: '::' }]);
    const peer = await udpPeer();
    peer.send(message('mapped'), transports.listeners[0]!.port);
    await sink.until(() => sink.messages.length === 1);
    const { source } = sink.messages[0]!;
    expect(source.address).toBe('127.0.0.1');
    transports.reply(source, { host: source.address, port: undefined, rport: true }, 'answer');
    outletOf(transports, { transport: 'udp', address: '127.0.0.1', port: peer.port }).send('request', null);
    await peer.until(() => peer.received.length === 2);
    expect(peer.received.map(({ text }) => text)).toEqual(['answer', 'request']);
  });

  it('binds all or none, and says which one failed and what to do', async () => {
    const taken = createSocket('udp4');
    await new Promise<void>((resolve) => taken.bind(0, '127.0.0.1', resolve));
    const { port } = taken.address();
    const listen = (bad: { host: string; port: number }) => [
      { transport: 'udp' as const, host: '127.0.0.1', port: 0 },
      { transport: 'udp' as const, ...bad },
    ];
    const start = (bad: { host: string; port: number }): Promise<void> => {
      const transports = new EmbeddedTransports({
        listen: listen(bad),
        limits: DEFAULT_LIMITS,
        clock: systemClock(),
      });
      return transports.start(new RecordingSink()).finally(() => expect(transports.listeners).toEqual([]));
    };
    await expect(start({ host: '127.0.0.1', port })).rejects.toThrow(
      new RegExp(`udp:127\\.0\\.0\\.1:${port}.*taken.*EADDRINUSE.*choose another port`),
    );
    await expect(start({ host: '192.0.2.1', port: 0 })).rejects.toThrow(
      /192\.0\.2\.1.*EADDRNOTAVAIL.*127\.0\.0\.1/,
    );
    await expect(start({ host: 'sip.example.com', port: 0 })).rejects.toThrow(
      /not an IP address.*0\.0\.0\.0/,
    );
    taken.close();
    const free = new EmbeddedTransports({
      listen: listen({ host: '127.0.0.1', port }),
      limits: DEFAULT_LIMITS,
      clock: systemClock(),
    });
    atEnd(() => free.stop());
    await new Promise((resolve) => taken.once('close', resolve));
    await free.start(new RecordingSink());
    expect(free.listeners).toHaveLength(2);
  });

  it('is silent after stop', async () => {
    const { transports, sink } = await running([{ transport: 'udp' }]);
    const owner = new Owner();
    const outlet = outletOf(transports, { transport: 'udp', address: '127.0.0.1', port: 5060 });
    await transports.stop();
    outlet.send('too late', owner);
    expect(await owner.fault()).toMatchObject({ kind: 'engine-down' });
    expect(sink.messages).toEqual([]);
  });

  it('announces the address that this machine has now, on listeners on all addresses that name no other', async () => {
    let address = '192.0.2.1';
    const transports = new EmbeddedTransports({
      listen: [
        { transport: 'udp', host: '0.0.0.0', port: 0 },
        { transport: 'udp', host: '0.0.0.0', port: 0, externalAddress: 'sip.example.com' },
        { transport: 'udp', host: '127.0.0.1', port: 0 },
      ],
      limits: DEFAULT_LIMITS,
      clock: systemClock(),
      interfaces: () => ({
        eth0: [{ address, family: 'IPv4', internal: false, netmask: '', mac: '', cidr: null }],
      }),
    });
    await transports.start(new RecordingSink());
    atEnd(() => transports.stop());
    transports.refreshAddresses();
    const [any, named, one] = transports.listeners;
    const announced = () => [any, named, one].map((listener) => transports.sentBy(listener!));
    const others = [`sip.example.com:${named!.port}`, `127.0.0.1:${one!.port}`];
    expect(announced()).toEqual([`192.0.2.1:${any!.port}`, ...others]);
    expect(transports.refreshAddresses()).toBe(false);
    address = '192.0.2.77';
    expect(transports.refreshAddresses()).toBe(true);
    expect(announced()).toEqual([`192.0.2.77:${any!.port}`, ...others]);
    const tls = { transport: 'tls', address: '198.51.100.1', port: 5061 } as const;
    expect(outletOf(transports, tls).sentBy).toBe(`192.0.2.77:${any!.port}`);
    expect(transports.refreshAddresses()).toBe(false);
  });
});
