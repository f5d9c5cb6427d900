import { readdirSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { EmbeddedTransports } from '#engine/embedded/transport/transports.js';
import { until } from '../../kit/processes.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import {
  atEnd,
  message,
  Owner,
  outletOf,
  portOf,
  type Running,
  running,
  StreamPeer,
  tcpPeer,
  Watched,
} from './rig.js';

/** A server of the peer's side; every connection it takes is recorded. */
class PeerServer extends Watched {
  readonly connections: StreamPeer[] = [];
  port = 0;

  static async start(host = '127.0.0.1'): Promise<PeerServer> {
    const peer = new PeerServer();
    const server = createServer((socket: Socket) => {
      peer.connections.push(new StreamPeer(socket));
      peer.changed();
    });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    peer.port = portOf(server.address());
    atEnd(() => {
      server.close();
    });
    return peer;
  }
}

const portOn = (transports: EmbeddedTransports, index = 0): number => transports.listeners[index]!.port;
const tcp = (port: number, more: object = {}) =>
  ({ transport: 'tcp', address: '127.0.0.1', port, ...more }) as const;

/** A port of which the kernel says that nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function connected({ transports, sink }: Running, octets = message('hello')): Promise<StreamPeer> {
  const peer = await tcpPeer(portOn(transports));
  const before = sink.messages.length;
  await peer.send(octets);
  await sink.until(() => sink.messages.length > before);
  return peer;
}

describe('TCP, incoming', () => {
  it('delivers messages with their source, and answers on the connection they came by', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const peer = await connected(rig, message('one', 'f\xfc\0r') + message('two'));
    const [one, two] = rig.sink.messages;
    expect([one!.octets, two!.octets]).toEqual([message('one', 'f\xfc\0r'), message('two')]);
    expect(one!.source).toMatchObject({
      transport: 'tcp',
      address: '127.0.0.1',
      port: peer.socket.localPort,
    });
    expect(one!.source.flow).toBeGreaterThan(0);
    rig.transports.reply(one!.source, { host: '127.0.0.1', port: 9, rport: false }, 'answer \xff one ');
    rig.transports.reply(two!.source, { host: '127.0.0.1', port: 9, rport: false }, 'answer two');
    await peer.until(() => peer.text === 'answer \xff one answer two');
    expect(rig.transports.connectionCount).toBe(1);
  });

  it('listens on IPv6, and reports an IPv4-mapped address as IPv4', async () => {
    const { transports, sink } = await running([
      { transport: 'tcp', host: '::1' },
      { transport: 'tcp', host: '::' },
    ]);
    const six = await tcpPeer(portOn(transports), '::1');
    await six.send(message('six'));
    await sink.until(() => sink.messages.length === 1);
    const four = await tcpPeer(portOn(transports, 1));
    await four.send(message('four'));
    await sink.until(() => sink.messages.length === 2);
    expect(sink.messages.map(({ source }) => source.address)).toEqual(['::1', '127.0.0.1']);
  });

  it('lets an IPv4 and an IPv6 listener share a port', async () => {
    const { transports } = await running([{ transport: 'tcp' }]);
    const port = portOn(transports);
    await transports.stop();
    const both = await running([
      { transport: 'tcp', host: '0.0.0.0', port },
      { transport: 'tcp', host: '::', port },
      { transport: 'udp', host: '::', port },
      { transport: 'udp', host: '0.0.0.0', port },
    ]);
    expect(both.transports.listeners.map(({ id }) => id)).toEqual([
      `tcp:0.0.0.0:${port}`,
      `tcp:[::]:${port}`,
      `udp:[::]:${port}`,
      `udp:0.0.0.0:${port}`,
    ]);
  });

  it('answers a double CRLF by a single one, and nothing else by itself', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const peer = await tcpPeer(portOn(rig.transports));
    await peer.send('\r\n\r\n');
    await peer.until(() => peer.text !== '');
    await peer.send(message('next'));
    await rig.sink.until(() => rig.sink.messages.length === 1);
    rig.transports.reply(rig.sink.messages[0]!.source, { host: 'x', port: 1, rport: false }, 'end');
    await peer.until(() => peer.text.endsWith('end'));
    expect(peer.text).toBe('\r\nend');
  });

  it('asks about each message before decoding it', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    let asked = 0;
    rig.sink.screening = () => (++asked === 1 ? 'drop' : 'stranger');
    const peer = await tcpPeer(portOn(rig.transports));
    await peer.send(message('one') + message('two'));
    await rig.sink.until(() => rig.sink.messages.length === 1);
    expect(rig.sink.messages[0]).toMatchObject({ octets: message('two'), standing: 'stranger' });
  });

  it('writes why it cannot go on, and closes', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    rig.sink.answer = 'SIP/2.0 400 why\r\n\r\n';
    const peer = await tcpPeer(portOn(rig.transports));
    const bad = 'OPTIONS sip:a SIP/2.0\r\nVia: v\r\n\r\n';
    await peer.send(`${message('good')}${bad}${message('never seen')}`);
    await peer.until(() => peer.closed);
    expect(peer.text).toBe('SIP/2.0 400 why\r\n\r\n');
    expect(rig.sink.messages.map(({ octets }) => octets)).toEqual([message('good')]);
    expect(rig.sink.unframeable).toMatchObject([{ head: bad, status: 400 }]);
    await rig.sink.until(() => rig.transports.connectionCount === 0 || rig.sink.closings().length > 0);
  });

  it('answers 513 to four megabytes of header and lets the peer read it', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    rig.sink.answer = 'SIP/2.0 513 too large\r\n\r\n';
    const peer = await tcpPeer(portOn(rig.transports));
    peer.socket.write(`OPTIONS sip:a SIP/2.0\r\nVia: v\r\nX: ${'a'.repeat(4_000_000)}`, 'latin1');
    await peer.until(() => peer.closed);
    expect(peer.text).toBe('SIP/2.0 513 too large\r\n\r\n');
    expect(rig.sink.unframeable).toMatchObject([
      { head: 'OPTIONS sip:a SIP/2.0\r\nVia: v\r\n\r\n', status: 513 },
    ]);
  });

  it('does not answer a stream that the screen drops', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    rig.sink.screening = () => 'drop';
    rig.sink.answer = 'never';
    const peer = await tcpPeer(portOn(rig.transports));
    await peer.send('\x16\x03\x01');
    await peer.until(() => peer.closed);
    expect(peer.text).toBe('');
    expect(rig.sink.unframeable).toEqual([]);
  });

  it('closes on half a message that does not go on, however it trickles', async () => {
    const clock = new VirtualClock();
    const rig = await running([{ transport: 'tcp' }], { messageTimeoutMs: 30_000 }, clock);
    const peer = await connected(rig, `${message('whole')}OPT`);
    for (const octet of 'IONS') {
      clock.advance(7_000);
      expect(peer.closed).toBe(false);
      await peer.send(octet);
    }
    clock.advance(3_000);
    await peer.until(() => peer.closed);
    expect(rig.sink.closings()).toEqual([expect.stringContaining('half a message')]);
  });

  it('gives each message its own time', async () => {
    const clock = new VirtualClock();
    const rig = await running([{ transport: 'tcp' }], { messageTimeoutMs: 30_000 }, clock);
    const text = message('next');
    const peer = await connected(rig, message('first') + text.slice(0, 10));
    for (let i = 0; i < 5; i++) {
      clock.advance(20_000);
      const before = rig.sink.messages.length;
      await peer.send(text.slice(10) + text.slice(0, 10));
      await rig.sink.until(() => rig.sink.messages.length > before);
    }
    expect(peer.closed).toBe(false);
    clock.advance(30_020);
    await peer.until(() => peer.closed);
  });

  it('closes an idle connection, but not one that keeps itself alive, is waited on, or is watched', async () => {
    const clock = new VirtualClock();
    const rig = await running([{ transport: 'tcp' }], { idleTimeoutMs: 60_000 }, clock);
    const idle = await connected(rig);
    const alive = await connected(rig);
    const waitedOn = await connected(rig);
    const watched = await connected(rig);
    const [, , third, fourth] = rig.sink.messages;
    const owner = new Owner();
    const outlet = outletOf(rig.transports, tcp(third!.source.port, { flow: third!.source.flow }));
    outlet.send('request', owner);
    const watcher = new Owner();
    expect(rig.transports.watch(fourth!.source.flow, watcher)).toBe(true);
    clock.advance(40_000);
    await alive.send('\r\n\r\n');
    await alive.until(() => alive.text !== '');
    clock.advance(30_000);
    await idle.until(() => idle.closed);
    expect([alive.closed, waitedOn.closed, watched.closed]).toEqual([false, false, false]);
    outlet.forget(owner);
    rig.transports.unwatch(fourth!.source.flow, watcher);
    clock.advance(120_000);
    await Promise.all([alive, waitedOn, watched].map((peer) => peer.until(() => peer.closed)));
    expect([...owner.faults, ...watcher.faults]).toEqual([]);
  });

  it('tells who watches a connection that it is gone', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const peer = await connected(rig);
    const { flow } = rig.sink.messages[0]!.source;
    const [watcher, gone] = [new Owner(), new Owner()];
    for (const owner of [watcher, gone]) rig.transports.watch(flow, owner);
    rig.transports.unwatch(flow, gone);
    peer.socket.resetAndDestroy();
    expect(await watcher.fault()).toMatchObject({ kind: 'flow-lost' });
    expect(gone.faults).toEqual([]);
    expect(rig.transports.watch(flow, gone)).toBe(false);
  });

  it('refuses connections over its bounds at once, with a notice, and takes others again later', async () => {
    const rig = await running([{ transport: 'tcp' }, { transport: 'tcp' }], { connectionsPerAddress: 3 });
    const peers = [await connected(rig), await connected(rig), await connected(rig)];
    const refused = await tcpPeer(portOn(rig.transports, 1));
    await refused.until(() => refused.closed);
    expect(rig.sink.notices).toContainEqual(
      expect.objectContaining({
        kind: 'limit',
        limit: 'connectionsPerAddress',
        source: expect.objectContaining({ address: '127.0.0.1' }),
      }),
    );
    peers[0]!.socket.destroy();
    await rig.sink.until(() => rig.sink.closings().length === 1);
    await connected(rig, message('again'));
    expect(rig.transports.connectionCount).toBe(3);
  });

  it('keeps room for its own connections when strangers take all they can', async () => {
    const rig = await running([{ transport: 'tcp' }], { connections: 10 });
    for (let i = 0; i < 9; i++) await connected(rig);
    const refused = await tcpPeer(portOn(rig.transports));
    await refused.until(() => refused.closed);
    expect(rig.sink.notices).toContainEqual(expect.objectContaining({ kind: 'limit', limit: 'connections' }));
    const server = await PeerServer.start();
    outletOf(rig.transports, tcp(server.port)).send('out', null);
    await server.until(() => server.connections.length === 1);
    await server.connections[0]!.until(() => server.connections[0]!.text === 'out');
    expect(rig.transports.connectionCount).toBe(10);
    // The idle one of ours makes way for the next; one that somebody waits on does not.
    const owner = new Owner();
    const second = await PeerServer.start();
    outletOf(rig.transports, tcp(second.port)).send('out', owner);
    await second.until(() => second.connections.length === 1);
    await server.connections[0]!.until(() => server.connections[0]!.closed);
    const third = new Owner();
    outletOf(rig.transports, tcp(await closedPort())).send('out', third);
    expect(await third.fault()).toMatchObject({ kind: 'capacity' });
    expect(owner.faults).toEqual([]);
  });

  it('leaves no descriptor behind when connections are aborted half-way', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    await connected(rig).then((peer) => peer.socket.destroy());
    await rig.sink.until(() => rig.sink.closings().length === 1);
    const before = descriptors();
    for (let round = 0; round < 25; round++) {
      const peers = await Promise.all(Array.from({ length: 100 }, () => tcpPeer(portOn(rig.transports))));
      await Promise.all(
        peers.map((peer, i) => (i % 2 ? peer.send('INVITE sip:a@b SIP/2.0\r\nVia: SIP') : undefined)),
      );
      for (const [i, peer] of peers.entries()) {
        if (i % 4 < 2) peer.socket.resetAndDestroy();
        else peer.socket.destroy();
      }
    }
    await until(
      'no descriptor left',
      () => rig.transports.connectionCount === 0 && descriptors() <= before + 5,
    );
    expect(rig.sink.closings().length).toBeGreaterThan(1_000);
    expect(rig.clock.armedCount).toBe(0);
  });
});

describe('TCP, outgoing', () => {
  it('opens one connection per target, sends what waited, and hears the answers', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const server = await PeerServer.start();
    const outlet = outletOf(rig.transports, tcp(server.port));
    expect([outlet.reliable, outlet.sentBy]).toEqual([true, `127.0.0.1:${portOn(rig.transports)}`]);
    outlet.send('one ', null);
    outlet.send('two ', null);
    outletOf(rig.transports, tcp(server.port)).send('three', null);
    await server.until(() => server.connections.length === 1);
    const [peer] = server.connections;
    await peer!.until(() => peer!.text === 'one two three');
    await peer!.send(message('answer'));
    await rig.sink.until(() => rig.sink.messages.length === 1);
    expect(rig.sink.messages[0]!.source).toMatchObject({ address: '127.0.0.1', port: server.port });
    expect(server.connections).toHaveLength(1);
    expect(rig.transports.connectionCount).toBe(1);
  });

  it('uses the connection that a peer opened: by its flow, and by its address and port', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const peer = await connected(rig);
    const { source } = rig.sink.messages[0]!;
    outletOf(rig.transports, tcp(1, { flow: source.flow })).send('by flow ', null);
    outletOf(rig.transports, tcp(source.port)).send('by address', null);
    await peer.until(() => peer.text === 'by flow by address');
    expect(rig.transports.connectionCount).toBe(1);
  });

  it('says refused, later, to everybody who sent', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const [one, two, gone] = [new Owner(), new Owner(), new Owner()];
    const outlet = outletOf(rig.transports, tcp(await closedPort()));
    for (const owner of [one, two, gone]) outlet.send('x', owner);
    outlet.forget(gone);
    expect(one.faults).toEqual([]);
    expect(await one.fault()).toMatchObject({
      kind: 'refused',
      detail: expect.stringContaining('ECONNREFUSED'),
    });
    expect(await two.fault()).toMatchObject({ kind: 'refused' });
    expect(gone.faults).toEqual([]);
    expect(one.faults).toHaveLength(1);
  });

  it('gives up connecting after its time', async () => {
    const clock = new VirtualClock();
    // Documentation address (RFC 5737): a machine without a route says unreachable, one with a route hears nothing.
    const rig = await running([{ transport: 'tcp', host: '0.0.0.0' }], { connectTimeoutMs: 5_000 }, clock);
    const owner = new Owner();
    outletOf(rig.transports, { transport: 'tcp', address: '192.0.2.1', port: 5060 }).send('x', owner);
    clock.advance(5_010);
    const fault = await owner.fault();
    expect(['timeout', 'unreachable']).toContain(fault.kind);
    expect(rig.clock.armedCount).toBe(0);
  });

  it('tells who waits that the connection is lost, and nobody else', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const server = await PeerServer.start();
    const [waiting, served] = [new Owner(), new Owner()];
    const outlet = outletOf(rig.transports, tcp(server.port));
    outlet.send('one ', waiting);
    outlet.send('two', served);
    await server.until(() => server.connections.length === 1);
    const [peer] = server.connections;
    await peer!.until(() => peer!.text === 'one two');
    outlet.forget(served);
    peer!.socket.end();
    expect(await waiting.fault()).toMatchObject({ kind: 'flow-lost' });
    expect(served.faults).toEqual([]);
    // The next request opens another.
    outlet.send('three', null);
    await server.until(() => server.connections.length === 2);
    await server.connections[1]!.until(() => server.connections[1]!.text === 'three');
  });

  it('answers on a new connection to sent-by when the request’s is gone', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const server = await PeerServer.start();
    const peer = await connected(rig);
    peer.socket.destroy();
    await rig.sink.until(() => rig.sink.closings().length === 1);
    rig.transports.reply(
      rig.sink.messages[0]!.source,
      { host: 'name.example', port: server.port, rport: true },
      'late',
    );
    await server.until(() => server.connections.length === 1);
    await server.connections[0]!.until(() => server.connections[0]!.text === 'late');
  });

  it('drops a peer that does not read when its queue is full', async () => {
    const rig = await running([{ transport: 'tcp' }], { sendQueueBytes: 100_000 });
    const server = createServer((socket) => socket.pause());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    atEnd(() => {
      server.close();
    });
    const owner = new Owner();
    const outlet = outletOf(rig.transports, tcp(portOf(server.address())));
    outlet.send('first', owner);
    const more = 'x'.repeat(50_000);
    // The kernel takes some megabytes before it says stop.
    for (let sent = 0; sent < 2_000 && owner.faults.length === 0; sent++) {
      outlet.send(more, null);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await owner.fault()).toMatchObject({
      kind: 'flow-lost',
      detail: expect.stringContaining('queue'),
    });
    expect(rig.sink.notices).toContainEqual(
      expect.objectContaining({ kind: 'limit', limit: 'sendQueueBytes' }),
    );
  });

  it('drops a peer that takes nothing for the time of a message', async () => {
    const clock = new VirtualClock();
    const rig = await running(
      [{ transport: 'tcp' }],
      { sendQueueBytes: 64_000_000, messageTimeoutMs: 30_000 },
      clock,
    );
    const server = createServer((socket) => socket.pause());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    atEnd(() => {
      server.close();
    });
    const owner = new Owner();
    const outlet = outletOf(rig.transports, tcp(portOf(server.address())));
    outlet.send('x'.repeat(30_000_000), owner);
    await rig.sink.until(() => rig.transports.connectionCount === 1);
    while (rig.clock.armedCount > 0 && owner.faults.length === 0) {
      clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await owner.fault()).toMatchObject({
      kind: 'flow-lost',
      detail: expect.stringContaining('took nothing'),
    });
  });

  it('writes what one turn sends in one go', async () => {
    const rig = await running([{ transport: 'tcp' }]);
    const peer = await connected(rig);
    const { source } = rig.sink.messages[0]!;
    const segments: string[] = [];
    peer.socket.on('data', (text) => segments.push(String(text)));
    for (let i = 0; i < 50; i++)
      rig.transports.reply(source, { host: 'x', port: 1, rport: false }, `${i % 10}`);
    await peer.until(() => peer.text.length === 50);
    expect(segments).toHaveLength(1);
  });
});

describe('stopping', () => {
  it('flushes, closes everything, and leaves nothing armed', async () => {
    const rig = await running([{ transport: 'tcp' }, { transport: 'udp' }]);
    const peer = await connected(rig);
    const server = await PeerServer.start();
    const owner = new Owner();
    const outlet = outletOf(rig.transports, tcp(server.port));
    outlet.send('request', owner);
    await server.until(() => server.connections.length === 1);
    rig.transports.reply(
      rig.sink.messages[0]!.source,
      { host: 'x', port: 1, rport: false },
      'b'.repeat(200_000),
    );
    await rig.transports.stop();
    expect(rig.transports.connectionCount).toBe(0);
    expect(rig.clock.armedCount).toBe(0);
    expect(owner.faults).toMatchObject([{ kind: 'engine-down' }]);
    await peer.until(() => peer.closed);
    expect(peer.text).toHaveLength(200_000);
    outlet.send('too late', owner);
    await owner.until(() => owner.faults.length === 2);
    expect(owner.faults[1]).toMatchObject({ kind: 'engine-down' });
    await expect(tcpPeer(portOn(rig.transports))).rejects.toThrow('ECONNREFUSED');
  });
});
