/** A TCP port in front of another: connections can be cut from outside, or go silent as behind a dead NAT. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class TcpRelay {
  readonly port: number;
  /** Connections accepted so far. */
  accepted = 0;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, port: number, sockets: Set<Socket>) {
    this.#server = server;
    this.port = port;
    this.#sockets = sockets;
  }

  /**
   * Relays to `to` on 127.0.0.1.
   * @param tap gets what crosses, in both directions
   */
  static async open(to: number, tap?: (octets: Buffer) => void): Promise<TcpRelay> {
    const sockets = new Set<Socket>();
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve());
    });
    const address = server.address();
    const relay = new TcpRelay(server, typeof address === 'object' ? (address?.port ?? 0) : 0, sockets);
    server.on('connection', (near) => {
      relay.accepted++;
      const far = connect({ host: '127.0.0.1', port: to });
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket);
        socket.setNoDelay(true);
        socket.pipe(other);
        if (tap !== undefined) socket.on('data', tap);
        // One end gone is both gone.
        socket.on('close', () => {
          sockets.delete(socket);
          other.destroy();
        });
        socket.on('error', () => undefined);
      }
    });
    return relay;
  }

  /** Resets every connection; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** From now on nothing crosses the present connections, and nobody is told; new ones work. */
  freeze(): void {
    for (const socket of this.#sockets) {
      socket.unpipe();
      // Read and thrown away, so that the sender's kernel is content.
      socket.resume();
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
