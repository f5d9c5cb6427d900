import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type TlsOptions as NodeTlsOptions, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '#engine/embedded/limits.js';
import type { EmbeddedTransports } from '#engine/embedded/transport/transports.js';
import { EmbeddedTransports as Transports } from '#engine/embedded/transport/transports.js';
import type { TlsOptions } from '#engine/engine.js';
import { systemClock } from '#lib/wheel.js';
import { type Authority, type CertificateFiles, createAuthority } from '../../kit/certificates.js';
import { temporaryFolder, until } from '../../kit/processes.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import {
  atEnd,
  message,
  Owner,
  outletOf,
  portOf,
  RecordingSink,
  running,
  StreamPeer,
  tcpPeer,
  Watched,
} from './rig.js';

let authority: Authority;
let stranger: Authority;
let valid: CertificateFiles;
let other: CertificateFiles;
let expired: CertificateFiles;
let unknown: CertificateFiles;
let client: CertificateFiles;

beforeAll(() => {
  authority = createAuthority();
  stranger = createAuthority('Nobody Knows');
  valid = authority.issue('sip.example.com', [
    'DNS:sip.example.com',
    'DNS:*.wild.example.com',
    'IP:127.0.0.1',
  ]);
  other = authority.issue('other', ['DNS:other.example.com', 'URI:sip:domain.example.com']);
  expired = authority.issue('sip.example.com', ['DNS:sip.example.com'], -1);
  unknown = stranger.issue('sip.example.com', ['DNS:sip.example.com']);
  client = authority.issue('client', ['DNS:client.example.com']);
});

const pem = (files: CertificateFiles) => ({
  cert: readFileSync(files.certFile, 'utf8'),
  key: readFileSync(files.keyFile, 'utf8'),
});

/** A TLS server of the peer's side. */
class TlsServer extends Watched {
  readonly connections: { readonly peer: StreamPeer; readonly socket: TLSSocket }[] = [];
  accepted = 0;
  port = 0;

  static async start(options: NodeTlsOptions): Promise<TlsServer> {
    const it = new TlsServer();
    const server = createServer(options, (socket) => {
      it.connections.push({ peer: new StreamPeer(socket), socket });
      it.changed();
    });
    server.on('connection', () => it.accepted++);
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    it.port = portOf(server.address());
    atEnd(() => {
      server.close();
    });
    return it;
  }

  async first(): Promise<{ readonly peer: StreamPeer; readonly socket: TLSSocket }> {
    await this.until(() => this.connections.length > 0);
    return this.connections[0]!;
  }
}

const listener = () => ({ transport: 'tls' as const, ...valid });
const portOn = (transports: EmbeddedTransports): number => transports.listeners[0]!.port;
const target = (port: number, tls: TlsOptions, name?: string) =>
  ({ transport: 'tls', address: '127.0.0.1', port, name, tls }) as const;

async function tlsPeer(port: number, options: object = {}): Promise<{ peer: StreamPeer; socket: TLSSocket }> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    ca: authority.ca,
    servername: 'sip.example.com',
    ...options,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('secureConnect', resolve);
  });
  return { peer: new StreamPeer(socket), socket };
}

describe('TLS, outgoing: whom we talk to', () => {
  it('verifies chain and name, sends SNI, and carries messages both ways', async () => {
    const { transports, sink } = await running([listener()]);
    const server = await TlsServer.start(pem(valid));
    const owner = new Owner();
    outletOf(transports, target(server.port, { ca: authority.ca }, 'sip.example.com')).send(
      message('out'),
      owner,
    );
    const { peer, socket } = await server.first();
    await peer.until(() => peer.text === message('out'));
    expect(socket.servername).toBe('sip.example.com');
    expect(socket.getProtocol()).toBe('TLSv1.3');
    await peer.send(message('in'));
    await sink.until(() => sink.messages.length === 1);
    expect(sink.messages[0]!.source).toMatchObject({ transport: 'tls', port: server.port });
    expect(owner.faults).toEqual([]);
  });

  it('accepts an address, a wildcard of one label and a SIP domain that the certificate names', async () => {
    const { transports } = await running([listener()]);
    const [one, two] = [await TlsServer.start(pem(valid)), await TlsServer.start(pem(other))];
    const accepted: readonly (readonly [server: TlsServer, name: string | undefined, sni: string | false])[] =
      [
        [one, undefined, false],
        [one, 'edge.wild.example.com', 'edge.wild.example.com'],
        [two, 'Domain.example.com', 'domain.example.com'],
      ];
    for (const [server, name, sni] of accepted) {
      const before = server.connections.length;
      outletOf(transports, target(server.port, { ca: authority.ca }, name)).send('x', null);
      await server.until(() => server.connections.length > before);
      expect(server.connections[before]!.socket.servername).toBe(sni);
    }
  });

  it('names why it does not trust a peer, and sends it nothing', async () => {
    const { transports, sink } = await running([listener()]);
    const ca = authority.ca;
    const verdicts: readonly (readonly [
      server: NodeTlsOptions,
      tls: TlsOptions,
      name: string,
      reason: string,
    ])[] = [
      [pem(unknown), { ca }, 'sip.example.com', 'untrusted'],
      [pem(valid), {}, 'sip.example.com', 'untrusted'],
      [pem(expired), { ca }, 'sip.example.com', 'expired'],
      [pem(other), { ca }, 'sip.example.com', 'wrong-name'],
      [pem(valid), { ca, serverName: 'other.example.com' }, 'sip.example.com', 'wrong-name'],
      [pem(valid), { ca }, 'a.b.wild.example.com', 'wrong-name'],
      [{ ...pem(valid), maxVersion: 'TLSv1.2' }, { ca, minVersion: 'TLSv1.3' }, 'sip.example.com', 'alert'],
      [
        { ...pem(valid), requestCert: true, rejectUnauthorized: true, maxVersion: 'TLSv1.2', ca },
        { ca },
        'sip.example.com',
        'other',
      ],
    ];
    for (const [options, tls, name, reason] of verdicts) {
      const server = await TlsServer.start(options);
      const owner = new Owner();
      outletOf(transports, target(server.port, tls, name)).send('secret', owner);
      const fault = await owner.fault();
      expect(fault, `${name} ${reason}`).toMatchObject({ kind: 'tls' });
      if (reason !== 'other') expect(fault).toMatchObject({ reason });
      expect(server.connections.map(({ peer }) => peer.text).join('')).toBe('');
      expect(
        sink.notices.at(-1)?.kind === 'connection-closed' || sink.notices.at(-1)?.kind === 'tls-failure',
      ).toBe(true);
    }
    expect(sink.notices.filter(({ kind }) => kind === 'tls-failure').length).toBeGreaterThanOrEqual(
      verdicts.length - 1,
    );
  });

  it('presents a client certificate to a server that wants one, and reports the alert without', async () => {
    const { transports } = await running([listener()]);
    const ca = authority.ca;
    const server = await TlsServer.start({ ...pem(valid), requestCert: true, rejectUnauthorized: true, ca });
    const refused = new Owner();
    outletOf(transports, target(server.port, { ca }, 'sip.example.com')).send('x', refused);
    const fault = await refused.fault();
    expect(['tls', 'flow-lost']).toContain(fault.kind);
    const { cert: clientCert, key: clientKey } = pem(client);
    outletOf(transports, target(server.port, { ca, clientCert, clientKey }, 'sip.example.com')).send(
      'hello',
      null,
    );
    const { peer, socket } = await server.first();
    await peer.until(() => peer.text === 'hello');
    expect(socket.getPeerCertificate().subject.CN).toBe('client');
  });

  it('takes any certificate when told not to verify, and says so once', async () => {
    const { transports, sink } = await running([listener()]);
    const server = await TlsServer.start(pem(unknown));
    for (const serverName of ['sip.example.com', 'sip.example.com']) {
      outletOf(transports, target(server.port, { verify: false, serverName })).send('x', null);
    }
    const { peer } = await server.first();
    await peer.until(() => peer.text === 'xx');
    const said = sink.notices.filter(({ kind }) => kind === 'tls-failure');
    expect(said).toMatchObject([{ detail: expect.stringMatching(/verification is off.*sip\.example\.com/) }]);
  });

  it('shares a connection only with targets of the same verified identity', async () => {
    const { transports } = await running([listener()]);
    const server = await TlsServer.start(pem(valid));
    const ca = authority.ca;
    const { cert: clientCert, key: clientKey } = pem(client);
    const identities: readonly (readonly [tls: TlsOptions, name: string])[] = [
      [{ ca }, 'sip.example.com'],
      [{ ca: `${ca}\n` }, 'sip.example.com'],
      [{ ca }, 'a.wild.example.com'],
      [{ ca, clientCert, clientKey }, 'sip.example.com'],
      [{ ca, verify: false }, 'sip.example.com'],
      [{ ca, minVersion: 'TLSv1.3' }, 'sip.example.com'],
    ];
    for (const [i, [tls, name]] of identities.entries()) {
      outletOf(transports, target(server.port, tls, name)).send('x', null);
      await server.until(() => server.connections.length === i + 1);
    }
    outletOf(transports, target(server.port, { ca }, 'sip.example.com')).send('y', null);
    outletOf(transports, target(server.port, { ca, serverName: 'SIP.example.com' })).send('z', null);
    const { peer } = await server.first();
    await peer.until(() => peer.text === 'xyz');
    expect(server.accepted).toBe(identities.length);
  });

  it('reports a certificate or key of ours that cannot be used', async () => {
    const { transports } = await running([listener()]);
    const owner = new Owner();
    outletOf(transports, target(5061, { clientCert: 'not PEM', clientKey: 'neither' }, 'x.example')).send(
      'x',
      owner,
    );
    expect(await owner.fault()).toMatchObject({ kind: 'tls', reason: 'other' });
  });

  it('tells a peer that speaks no TLS from one that is silent', async () => {
    const clock = new VirtualClock();
    const { transports } = await running([listener()], {}, clock);
    const start = async (onConnection: (socket: Socket) => void): Promise<number> => {
      const server = createTcpServer((socket) => {
        socket.on('error', () => undefined);
        onConnection(socket);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      atEnd(() => {
        server.close();
      });
      return portOf(server.address());
    };
    const plain = new Owner();
    const plainPort = await start((socket) => socket.end('SIP/2.0 400 Bad Request\r\n\r\n'));
    outletOf(transports, target(plainPort, {}, 'x.example')).send('x', plain);
    expect(await plain.fault()).toMatchObject({
      kind: 'tls',
      reason: 'other',
      detail: expect.stringContaining('does not speak TLS'),
    });
    const hangUp = new Owner();
    outletOf(transports, target(await start((socket) => socket.destroy()), {}, 'x.example')).send(
      'x',
      hangUp,
    );
    expect(await hangUp.fault()).toMatchObject({ kind: 'tls', reason: 'other' });
    const silent = new Owner();
    const reached = new Watched();
    let heard = false;
    const silentPort = await start((socket) => {
      socket.once('data', () => {
        heard = true;
        reached.changed();
      });
      atEnd(() => {
        socket.destroy();
      });
    });
    outletOf(transports, target(silentPort, {}, 'x.example')).send('x', silent);
    await reached.until(() => heard);
    clock.advance(10_020);
    expect(await silent.fault()).toMatchObject({
      kind: 'tls',
      reason: 'other',
      detail: expect.stringContaining('TLS handshake'),
    });
    expect(clock.armedCount).toBe(0);
  });
});

describe('TLS, incoming', () => {
  it('carries messages both ways', async () => {
    const { transports, sink } = await running([listener()]);
    const { peer } = await tlsPeer(portOn(transports));
    await peer.send(message('in') + message('more'));
    await sink.until(() => sink.messages.length === 2);
    const { source } = sink.messages[0]!;
    expect(source).toMatchObject({ transport: 'tls', address: '127.0.0.1', port: peer.socket.localPort });
    transports.reply(source, { host: 'x', port: 1, rport: false }, 'answer');
    outletOf(transports, { transport: 'tls', address: '127.0.0.1', port: 1, flow: source.flow }).send(
      ' request',
      null,
    );
    await peer.until(() => peer.text === 'answer request');
    expect(transports.connectionCount).toBe(1);
  });

  it('refuses old versions and clients without the certificate that it demands', async () => {
    const { transports, sink } = await running([
      { ...listener(), requestClientCert: true, caFile: authority.caFile, minVersion: 'TLSv1.3' },
    ]);
    await expect(tlsPeer(portOn(transports), { maxVersion: 'TLSv1.2' })).rejects.toThrow(
      /version|handshake/i,
    );
    for (const options of [{}, pem(unknown)]) {
      // In TLS 1.3 the client believes in the handshake until it hears otherwise.
      const { peer } = await tlsPeer(portOn(transports), options);
      await peer.until(() => peer.closed);
    }
    expect(sink.messages).toEqual([]);
    const { peer } = await tlsPeer(portOn(transports), pem(client));
    await peer.send(message('known'));
    await sink.until(() => sink.messages.length === 1);
    expect(sink.notices.flatMap((notice) => (notice.kind === 'tls-failure' ? [notice.detail] : []))).toEqual([
      expect.stringContaining('PROTOCOL'),
      expect.stringContaining('no certificate'),
      expect.stringMatching(/not valid.*UNABLE_TO/),
    ]);
    await until('refused connections are gone', () => transports.connectionCount === 1);
  });

  it('closes a connection that does not finish its handshake in ten seconds', async () => {
    const clock = new VirtualClock();
    const { transports, sink } = await running([listener()], {}, clock);
    const peer = await tcpPeer(portOn(transports));
    await peer.send('\x16\x03\x01');
    await until('accepted', () => transports.connectionCount === 1);
    clock.advance(9_900);
    expect(sink.closings()).toEqual([]);
    clock.advance(200);
    await peer.until(() => peer.closed);
    await until('gone', () => transports.connectionCount === 0);
    expect(sink.notices).toContainEqual(
      expect.objectContaining({ kind: 'tls-failure', detail: expect.stringContaining('handshake') }),
    );
    expect(clock.armedCount).toBe(0);
  });

  it('survives clients that speak no TLS or leave in the middle', async () => {
    const { transports, sink } = await running([listener()]);
    for (let i = 0; i < 50; i++) {
      const peer = await tcpPeer(portOn(transports));
      await peer.send(i % 2 ? 'OPTIONS sip:a SIP/2.0\r\n\r\n' : '\x16\x03\x01\x02');
      if (i % 3 === 0) peer.socket.resetAndDestroy();
      else if (i % 3 === 1) peer.socket.destroy();
      else peer.socket.end();
    }
    await until('all gone', () => transports.connectionCount === 0 && sink.closings().length >= 40);
    const { peer } = await tlsPeer(portOn(transports));
    await peer.send(message('still there'));
    await sink.until(() => sink.messages.length === 1);
  });

  it('takes a new certificate without a restart, and keeps the old one when the new is no good', async () => {
    const folder = temporaryFolder('listener');
    const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };
    const install = (from: CertificateFiles): void => {
      copyFileSync(from.certFile, files.certFile);
      copyFileSync(from.keyFile, files.keyFile);
    };
    const shown = async (): Promise<string> => {
      const { peer, socket } = await tlsPeer(portOn(transports), { rejectUnauthorized: false });
      const name = String(socket.getPeerCertificate().subject.CN);
      peer.socket.destroy();
      return name;
    };
    install(valid);
    const { transports, sink } = await running([{ transport: 'tls', ...files }]);
    const { peer } = await tlsPeer(portOn(transports));
    expect(await shown()).toBe('sip.example.com');
    install(other);
    transports.reloadCertificates();
    expect(await shown()).toBe('other');
    writeFileSync(files.certFile, 'garbage');
    transports.reloadCertificates();
    expect(await shown()).toBe('other');
    expect(sink.notices).toContainEqual(
      expect.objectContaining({
        kind: 'tls-failure',
        detail: expect.stringMatching(/old certificate.*cert\.pem/),
      }),
    );
    await peer.send(message('old connection'));
    await sink.until(() => sink.messages.length === 1);
  });

  it('says what is wrong with the files of a listener, and binds nothing', async () => {
    const missing = join(temporaryFolder('missing'), 'cert.pem');
    const faults: readonly (readonly [files: Partial<CertificateFiles>, message: RegExp])[] = [
      [{ ...valid, certFile: missing }, /tls:127\.0\.0\.1:0.*certFile .*cert\.pem.*ENOENT.*correct the path/],
      [{ certFile: valid.certFile }, /keyFile is missing/],
      [{ ...valid, keyFile: other.keyFile }, /certFile .* and keyFile .* cannot be used/],
    ];
    for (const [files, said] of faults) {
      const transports = new Transports({
        listen: [
          { transport: 'tcp', host: '127.0.0.1', port: 0 },
          { transport: 'tls', host: '127.0.0.1', port: 0, ...files },
        ],
        limits: DEFAULT_LIMITS,
        clock: systemClock(),
      });
      await expect(transports.start(new RecordingSink())).rejects.toThrow(said);
      expect(transports.listeners).toEqual([]);
    }
  });
});
