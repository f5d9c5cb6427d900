/**
 * The admin port of a drachtio-server, as far as one connection needs it: frames, authentication, and commands that
 * wait until the test answers them. It has no SIP.
 */
import { createServer, type Server, type Socket } from 'node:net';

export interface Command {
  readonly id: string;
  /** `sip|transaction|dialog|next hop`, or `route|invite`. */
  readonly head: string;
  readonly text: string;
  readonly bytes: number;
  answer(text: string): void;
}

export class FakeServer {
  readonly commands: Command[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  port = 0;
  listeners = 'udp/127.0.0.1:5060,tcp/127.0.0.1:5060';
  secret = 'right';
  /** Answers commands by itself; false leaves them to the test. */
  auto: (command: Command) => boolean = () => true;
  connections = 0;

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(port = 0): Promise<FakeServer> {
    const fake = new FakeServer();
    await fake.listen(port);
    return fake;
  }

  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', () => resolve()));
    const bound = this.#server.address();
    this.port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  }

  /** Commands that send SIP, without the probes of an engine that looks whether we are there. */
  get sip(): Command[] {
    return this.commands.filter(({ head }) => head.startsWith('sip|') && !head.includes('trunkline-probe'));
  }

  /** A message from the network. */
  deliver(head: string, text: string): void {
    for (const socket of this.#sockets) write(socket, `event|${head}\r\n${text}`);
  }

  /** Ends every connection as a crash does. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #serve(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    let buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk]);
      for (;;) {
        const hash = buffer.indexOf('#');
        if (hash < 0) return;
        const length = Number(buffer.toString('latin1', 0, hash));
        if (buffer.length < hash + 1 + length) return;
        const frame = buffer.toString('utf8', hash + 1, hash + 1 + length);
        buffer = buffer.subarray(hash + 1 + length);
        this.#onFrame(socket, frame, hash + 1 + length);
      }
    });
  }

  #onFrame(socket: Socket, frame: string, bytes: number): void {
    const end = frame.indexOf('\r\n');
    const line = end < 0 ? frame : frame.slice(0, end);
    const bar = line.indexOf('|');
    const id = line.slice(0, bar);
    const head = line.slice(bar + 1);
    const answer = (text: string): void => write(socket, `event|response|${id}|${text}`);
    if (head.startsWith('authenticate|')) {
      if (head.split('|')[1] === this.secret) answer(`OK|${this.listeners}|v0.9.10|${this.listeners}`);
      else {
        answer('NO|incorrect secret');
        socket.end();
      }
      return;
    }
    if (head.startsWith('route|')) {
      answer('OK');
      return;
    }
    const command: Command = { id, head, text: end < 0 ? '' : frame.slice(end + 2), bytes, answer };
    this.commands.push(command);
    if (this.auto(command)) answer('NOK|Server error: unable to find dialog for dialog id provided');
  }
}

function write(socket: Socket, text: string): void {
  socket.write(`${Buffer.byteLength(text, 'utf8')}#${text}`);
}
