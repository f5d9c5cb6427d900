/** What the transport tests share: transports with a sink that records, and raw peers on loopback. */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach } from 'vitest';
import { DEFAULT_LIMITS, type Limits } from '#engine/embedded/limits.js';
import type { ListenOptions } from '#engine/embedded/transport/listen-options.js';
import type { Outlet, SendOwner, TransportSink } from '#engine/embedded/transport/transport.js';
import { EmbeddedTransports } from '#engine/embedded/transport/transports.js';
import type { EngineNotice, Source } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { Clock } from '#lib/clock.js';
import { systemClock, type TimerWheel } from '#lib/wheel.js';

const cleanups: (() => void | Promise<void>)[] = [];

/** Runs after the test, last registered first. */
export function atEnd(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup);
}

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Waits, without polling, until something recorded makes `condition` true. The test's own time-out ends it otherwise. */
export class Watched {
  readonly #waiting = new Set<() => void>();

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

export interface Received {
  readonly octets: string;
  readonly source: Source;
  readonly standing: string;
}

export class RecordingSink extends Watched implements TransportSink {
  readonly messages: Received[] = [];
  readonly unframeable: { head: string; source: Source; status: number; detail: string }[] = [];
  readonly notices: EngineNotice[] = [];
  screens = 0;
  screening: (source: Source) => 'known' | 'stranger' | 'drop' = () => 'known';
  answer: string | undefined;
  onEach: ((received: Received) => void) | undefined;

  screen(source: Source): 'known' | 'stranger' | 'drop' {
    this.screens++;
    return this.screening(source);
  }

  onMessage(octets: string, source: Source, standing: 'known' | 'stranger'): void {
    const received = { octets, source, standing };
    this.messages.push(received);
    this.onEach?.(received);
    this.changed();
  }

  onUnframeable(
    head: string,
    source: Source,
    problem: { status: 400 | 413 | 513; detail: string },
  ): string | undefined {
    this.unframeable.push({ head, source, ...problem });
    this.changed();
    return this.answer;
  }

  onNotice(notice: EngineNotice): void {
    this.notices.push(notice);
    this.changed();
  }

  closings(): string[] {
    return this.notices.flatMap((notice) => (notice.kind === 'connection-closed' ? [notice.reason] : []));
  }
}

/** Records what it is told. */
export class Owner extends Watched implements SendOwner {
  readonly faults: EngineFault[] = [];

  sendFailed(fault: EngineFault): void {
    this.faults.push(fault);
    this.changed();
  }

  async fault(): Promise<EngineFault> {
    await this.until(() => this.faults.length > 0);
    return this.faults[0]!;
  }
}

export interface Running {
  readonly transports: EmbeddedTransports;
  readonly sink: RecordingSink;
  readonly clock: Clock & { readonly armedCount: number };
}

export async function running(
  listen: readonly (Partial<ListenOptions> & Pick<ListenOptions, 'transport'>)[],
  limits: Partial<Limits> = {},
  clock: Clock & { readonly armedCount: number } = systemClock() as TimerWheel,
): Promise<Running> {
  const transports = new EmbeddedTransports({
    listen: listen.map((options) => ({ host: '127.0.0.1', port: 0, ...options })),
    limits: { ...DEFAULT_LIMITS, ...limits },
    clock,
  });
  const sink = new RecordingSink();
  await transports.start(sink);
  atEnd(() => transports.stop());
  return { transports, sink, clock };
}

export function outletOf(
  transports: EmbeddedTransports,
  target: Parameters<EmbeddedTransports['outlet']>[0],
): Outlet {
  const outlet = transports.outlet(target);
  if ('kind' in outlet) throw new Error(`no outlet: ${outlet.kind}: ${outlet.detail}`);
  return outlet;
}

class UdpPeer extends Watched {
  readonly socket: UdpSocket;
  readonly received: { readonly text: string; readonly from: RemoteInfo }[] = [];

  constructor(socket: UdpSocket) {
    super();
    this.socket = socket;
    socket.on('message', (bytes, from) => {
      this.received.push({ text: bytes.toString('latin1'), from });
      this.changed();
    });
    atEnd(() => {
      socket.close();
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(octets: string | Buffer, port: number, address = '127.0.0.1'): void {
    this.socket.send(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets, port, address);
  }
}

export function udpPeer(address = '127.0.0.1'): Promise<UdpPeer> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, address, () => resolve(new UdpPeer(socket)));
  });
}

/** A stream peer that records what it gets, and how it ends. */
export class StreamPeer extends Watched {
  readonly socket: Socket;
  text = '';
  ended = false;
  closed = false;

  constructor(socket: Socket) {
    super();
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.text += text;
      this.changed();
    });
    socket.on('end', () => {
      this.ended = true;
      this.changed();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.changed();
    });
    atEnd(() => {
      socket.destroy();
    });
  }

  send(octets: string): Promise<void> {
    return new Promise((resolve) => this.socket.write(octets, 'latin1', () => resolve()));
  }
}

export function tcpPeer(port: number, host = '127.0.0.1'): Promise<StreamPeer> {
  const socket = connect({ port, host });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => resolve(new StreamPeer(socket)));
  });
}

export function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return address.port;
}

/** A request as it goes on the wire, with its Content-Length. */
export function message(id: string, body = '', name = 'Content-Length'): string {
  return `OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK${id}\r\nCall-ID: ${id}\r\n${name}: ${body.length}\r\n\r\n${body}`;
}
